//! `bk-docsite alias`

use std::path::PathBuf;

use bk::{Error, Result, Session, Status, sanitize};
use clap::Args;

use crate::init::Made;
use crate::site::{LATEST, Site, check_name, normal};

/// Give a version another name, or take one away
///
/// Links to an alias lead to another version from one moment to the next.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-docsite alias /srv/docs libfoo stable 1.2
      libfoo/stable/ is libfoo/1.2/ from now on.
  bk-docsite alias /srv/docs libfoo stable --remove
      No longer.

Exit status:
  0   done
  1   there is no such version
  2   the command line is wrong
")]
pub struct Alias {
    /// The site
    #[arg(value_name = "SITE")]
    site: PathBuf,
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// The name
    #[arg(value_name = "ALIAS")]
    alias: String,
    /// The version
    #[arg(value_name = "VERSION", required_unless_present = "remove")]
    version: Option<String>,
    /// Take the name away
    #[arg(long, conflicts_with = "version")]
    remove: bool,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Alias {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        check_name("alias", &self.alias)?;
        let site = Site::change(&self.site, &session.console)?;
        let mut package = site.existing(&self.package)?;
        if self.alias == LATEST {
            return Err(Error::new("'latest' follows the newest release by itself")
                .hint("take another alias, as stable")
                .status(Status::Usage));
        }
        let known = |version: &str| package.versions.iter().any(|v| v.version == version);
        if known(&self.alias) {
            return Err(Error::new(format!(
                "'{}' is a version, and so cannot be an alias",
                self.alias
            )));
        }
        if let Some(version) = &self.version {
            if !known(version) {
                let all: Vec<&str> = package.versions.iter().map(|v| v.version.as_str()).collect();
                return Err(Error::new(format!(
                    "no version '{}' has documentation",
                    sanitize(version)
                ))
                .hint(format!("there are {}", all.join(", "))));
            }
            package.aliases.insert(self.alias.clone(), version.clone());
        } else if package.aliases.remove(&self.alias).is_none() {
            return Err(Error::new(format!("there is no alias '{}'", self.alias)));
        }
        if !self.dry_run {
            site.save(&mut package)?;
        }
        let path = self.site.join(normal(&self.package)).join(&self.alias);
        session.out.record(&Made { path })?;
        Ok(Status::Done)
    }
}
