//! `bk-docsite yank`

use std::path::PathBuf;

use bk::{Error, Result, Session, Status, sanitize};
use clap::Args;

use crate::init::Made;
use crate::site::{Site, normal};

/// Withdraw the files of a version (PEP 592)
///
/// They stay, for those who ask for exactly this version; pip takes them for nobody else.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-docsite yank /srv/docs libfoo 1.1 --reason 'loses data'
      Withdraw libfoo 1.1.
  bk-docsite yank /srv/docs libfoo 1.1 --undo
      Offer it again.

Exit status:
  0   done
  1   the version has no files
  2   the command line is wrong
")]
pub struct Yank {
    /// The site
    #[arg(value_name = "SITE")]
    site: PathBuf,
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// The version
    #[arg(value_name = "VERSION")]
    version: String,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Offer them again
    #[arg(long, conflicts_with = "reason")]
    undo: bool,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Yank {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let site = Site::change(&self.site, &session.console)?;
        let mut package = site.existing(&self.package)?;
        let folder = normal(&package.name);
        let mut paths = Vec::new();
        for file in package.files.iter_mut().filter(|file| file.version == self.version) {
            file.yanked = (!self.undo).then(|| self.reason.clone());
            paths.push(self.site.join("files").join(&folder).join(&file.name));
        }
        if paths.is_empty() {
            return Err(Error::new(format!("version '{}' has no files", sanitize(&self.version)))
                .hint("bk-docsite list says which have"));
        }
        if !self.dry_run {
            site.save(&mut package)?;
        }
        for path in paths {
            session.out.record(&Made { path })?;
        }
        Ok(Status::Done)
    }
}
