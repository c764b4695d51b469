//! `bk-docsite diff`

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Error, Result, Session, Status, sanitize};
use clap::Args;
use serde::Serialize;

use crate::html::read;
use crate::site::{Package, Site, normal};

/// What a page may have, as when it is published.
const PAGE_LIMIT: u64 = 256 << 20;

/// Say which pages are different in two versions
///
/// What people read counts, not how it is written: a page that only has another style or other links to
/// it is the same.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-docsite diff /srv/docs libfoo 1.1 1.2
      The pages that are new, gone or other in 1.2, a line each.

Exit status:
  0   none
  1   it cannot be read
  2   the command line is wrong
  3   some; each is printed
")]
pub struct Diff {
    /// The site
    #[arg(value_name = "SITE")]
    site: PathBuf,
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// A version or alias
    #[arg(value_name = "OLD")]
    old: String,
    /// Another one
    #[arg(value_name = "NEW")]
    new: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "page")]
struct Changed<'a> {
    change: &'static str,
    page: &'a str,
    /// Words that only the new one has, and the old one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
}

impl Record for Changed<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        format!("{}\t{}", self.change, self.page).into_bytes().into()
    }
}

impl Diff {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let site = Site::open(&self.site)?;
        let package = site.existing(&self.package)?;
        let (old, new) = (known(&package, &self.old)?, known(&package, &self.new)?);
        let pages = |version: &str| -> BTreeSet<&str> {
            let found = package.versions.iter().find(|v| v.version == version);
            found.iter().flat_map(|v| &v.pages).map(String::as_str).collect()
        };
        let (before, after) = (pages(&old), pages(&new));
        let dir = site.root.join(normal(&package.name));
        let text = |version: &str, page: &str| -> Result<String> {
            let bytes = bk::file::read(&dir.join(version).join(page), PAGE_LIMIT)?;
            Ok(read(&String::from_utf8_lossy(&bytes)).text)
        };
        let mut status = Status::Done;
        for page in before.union(&after).copied() {
            let mut changed =
                Changed { change: "changed", page, added: Vec::new(), removed: Vec::new() };
            match (before.contains(page), after.contains(page)) {
                (true, false) => changed.change = "removed",
                (false, _) => changed.change = "added",
                _ => {
                    let (old, new) = (text(&old, page)?, text(&new, page)?);
                    if old == new {
                        continue;
                    }
                    let words =
                        |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
                    let (old, new) = (words(&old), words(&new));
                    changed.added = new.difference(&old).cloned().collect();
                    changed.removed = old.difference(&new).cloned().collect();
                }
            }
            status = Status::No;
            session.out.record(&changed)?;
        }
        Ok(status)
    }
}

/// The version of a name.
fn known(package: &Package, name: &str) -> Result<String> {
    if let Some(version) = package.aliases.get(name) {
        return Ok(version.clone());
    }
    let all: Vec<&str> = package.versions.iter().map(|v| v.version.as_str()).collect();
    match all.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(Error::new(format!("no version '{}' has documentation", sanitize(name)))
            .hint(format!("there are {}", all.join(", ")))),
    }
}
