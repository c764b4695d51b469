//! `bk-docsite check`

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bk::record::Record;
use bk::{Context, Result, Session, Status, sanitize};
use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::html::{read, resolve};
use crate::site::{Site, normal};

/// What a page may have, as when it is published.
const PAGE_LIMIT: u64 = 256 << 20;

/// Say what is wrong on a site
///
/// Links of published pages that lead nowhere on the site, to places in pages that are not there, aliases
/// without a version, and files that are not what they were. Nothing elsewhere is asked for.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-docsite check /srv/docs
      What is wrong, a line each.
  bk-docsite check /srv/docs libfoo --latest
      Only in the latest version of one package.

Exit status:
  0   nothing
  1   it cannot be read
  2   the command line is wrong
  3   something; each thing is printed
")]
pub struct Check {
    /// The site
    #[arg(value_name = "SITE")]
    site: PathBuf,
    /// Only these packages
    #[arg(value_name = "PACKAGE")]
    packages: Vec<String>,
    /// Only their latest versions
    #[arg(long)]
    latest: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "finding")]
struct Finding {
    path: String,
    text: String,
}

impl Record for Finding {
    fn line(&self) -> Cow<'_, [u8]> {
        format!("{}: {}", self.path, self.text).into_bytes().into()
    }
}

impl Check {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let site = Site::open(&self.site)?;
        let names = if self.packages.is_empty() { site.packages()? } else { self.packages };
        let mut links = Links { root: &site.root, ids: BTreeMap::new() };
        let mut status = Status::Done;
        let mut say = |path: &str, text: String| {
            status = Status::No;
            session.out.record(&Finding { path: path.to_owned(), text })
        };
        for name in names {
            let package = site.existing(&name)?;
            let folder = normal(&package.name);
            for (alias, version) in &package.aliases {
                let path = site.root.join(&folder).join(alias);
                if std::fs::read_link(&path).ok().as_deref() != Some(Path::new(version)) {
                    say(&format!("{folder}/{alias}"), format!("it does not lead to {version}"))?;
                }
            }
            let latest = package.aliases.get(crate::site::LATEST);
            for version in &package.versions {
                if self.latest && latest != Some(&version.version) {
                    continue;
                }
                for page in &version.pages {
                    let path = format!("{folder}/{}/{page}", version.version);
                    for text in links.check(&path)? {
                        say(&path, text)?;
                    }
                }
            }
            for file in &package.files {
                let path = format!("files/{folder}/{}", file.name);
                match sha256(&site.root.join(&path)) {
                    Some(sha256) if sha256 == file.sha256 => {}
                    Some(_) => say(&path, "it is not the file that was published".into())?,
                    None => say(&path, "it is not there".into())?,
                }
            }
        }
        Ok(status)
    }
}

/// The SHA-256 of a file, in hex, if it can be read.
fn sha256(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).ok()?;
    Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Follows links.
struct Links<'a> {
    root: &'a Path,
    /// What can be pointed to in pages that were read.
    ids: BTreeMap<String, BTreeSet<String>>,
}

impl Links<'_> {
    /// What is wrong with the links of a page.
    fn check(&mut self, path: &str) -> Result<Vec<String>> {
        let Some(page) = self.page(path)? else {
            return Ok(vec!["it is not there".to_owned()]);
        };
        let mut wrong = BTreeSet::new();
        for link in &page.links {
            let Some((target, id)) = resolve(path, link) else { continue };
            let at = self.root.join(&target);
            let (target, at) = match at.is_dir() {
                true => (format!("{target}/index.html"), at.join("index.html")),
                false => (target, at),
            };
            if !at.is_file() {
                wrong.insert(format!("'{}' leads nowhere", sanitize(link)));
                continue;
            }
            // These are the top of every page (HTML, 7.4.6.4), and words of its text.
            let any = id.is_empty() || id == "top" || id.starts_with(":~:");
            if any || !target.ends_with(".html") {
                continue;
            }
            if !self.ids.contains_key(&target) {
                let ids = self.page(&target)?.map(|page| page.ids).unwrap_or_default();
                self.ids.insert(target.clone(), ids);
            }
            if self.ids.get(&target).is_some_and(|ids| !ids.contains(&id)) {
                wrong.insert(format!("'{}' is no place in that page", sanitize(link)));
            }
        }
        Ok(wrong.into_iter().collect())
    }

    fn page(&self, path: &str) -> Result<Option<crate::html::Page>> {
        let at = self.root.join(path);
        if !at.is_file() {
            return Ok(None);
        }
        let bytes = bk::file::read(&at, PAGE_LIMIT).context(|| format!("cannot read '{path}'"))?;
        Ok(Some(read(&String::from_utf8_lossy(&bytes))))
    }
}
