//! `bk-docsite list`

use std::borrow::Cow;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Result, Session, Status};
use clap::Args;
use serde::Serialize;

use crate::site::{Site, newest_first};

/// List what a site has
///
/// A line for each version: the package, the version, its aliases, and how many files there are, with a tab
/// between two.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-docsite list /srv/docs
      All packages and versions.
  bk-docsite list /srv/docs libfoo --json | jq -r .version
      The versions of one package.

Exit status:
  0   listed
  1   it cannot be read
  2   the command line is wrong
")]
pub struct List {
    /// The site
    #[arg(value_name = "SITE")]
    site: PathBuf,
    /// Only these packages
    #[arg(value_name = "PACKAGE")]
    packages: Vec<String>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "version")]
struct Listed<'a> {
    package: &'a str,
    version: &'a str,
    documented: bool,
    aliases: Vec<&'a str>,
    files: Vec<&'a str>,
}

impl Record for Listed<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let aliases = self.aliases.join(",");
        let line = format!("{}\t{}\t{aliases}\t{}", self.package, self.version, self.files.len());
        line.into_bytes().into()
    }
}

impl List {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let site = Site::open(&self.site)?;
        let names = if self.packages.is_empty() { site.packages()? } else { self.packages };
        for name in names {
            let package = site.existing(&name)?;
            let mut versions: Vec<&str> =
                package.versions.iter().map(|v| v.version.as_str()).collect();
            versions.extend(package.files.iter().map(|file| file.version.as_str()));
            versions.sort_by(|a, b| newest_first(a, b));
            versions.dedup();
            for version in versions {
                let aliases = package.aliases.iter().filter(|(_, to)| *to == version);
                let files = package.files.iter().filter(|file| file.version == version);
                session.out.record(&Listed {
                    package: &package.name,
                    version,
                    documented: package.versions.iter().any(|v| v.version == version),
                    aliases: aliases.map(|(alias, _)| alias.as_str()).collect(),
                    files: files.map(|file| file.name.as_str()).collect(),
                })?;
            }
        }
        Ok(Status::Done)
    }
}
