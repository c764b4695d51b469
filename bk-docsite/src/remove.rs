//! `bk-docsite remove`

use std::path::PathBuf;

use bk::{Error, Result, Session, Status, sanitize};
use clap::Args;

use crate::init::Made;
use crate::search::Index;
use crate::site::{Site, normal};

/// Take versions away, or a whole package
///
/// Their documentation and their files. Aliases that lead there go with them. Prints what was removed.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-docsite remove /srv/docs libfoo 1.0rc1
      Take a version away.
  bk-docsite remove /srv/docs libfoo --keep 5
      All but the newest five.
  bk-docsite remove /srv/docs libfoo --all
      The package.

Exit status:
  0   removed
  1   there is no such version
  2   the command line is wrong
")]
pub struct Remove {
    /// The site
    #[arg(value_name = "SITE")]
    site: PathBuf,
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// The versions
    #[arg(value_name = "VERSION", required_unless_present_any = ["all", "keep"])]
    versions: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "versions")]
    all: bool,
    /// All but the newest, and those with an alias
    #[arg(long, value_name = "N", conflicts_with_all = ["versions", "all"])]
    keep: Option<usize>,
    /// Only the documentation, and no files
    #[arg(long)]
    docs_only: bool,
    /// Remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Remove {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let site = Site::change(&self.site, &session.console)?;
        let mut package = site.existing(&self.package)?;
        let folder = normal(&package.name);
        let mut all: Vec<String> = package.versions.iter().map(|v| v.version.clone()).collect();
        all.extend(package.files.iter().map(|file| file.version.clone()));
        all.sort_by(|a, b| crate::site::newest_first(a, b));
        all.dedup();
        let gone: Vec<String> = match (self.all, self.keep) {
            (true, _) => all,
            (_, Some(keep)) => {
                let aliased = |version: &String| package.aliases.values().any(|to| to == version);
                all.into_iter().skip(keep).filter(|version| !aliased(version)).collect()
            }
            _ => {
                if let Some(unknown) = self.versions.iter().find(|version| !all.contains(version)) {
                    return Err(Error::new(format!("there is no version '{}'", sanitize(unknown)))
                        .hint(format!("there are {}", all.join(", "))));
                }
                self.versions.clone()
            }
        };
        let dir = site.root.join(&folder);
        let files = site.root.join("files").join(&folder);
        if !self.dry_run {
            // What pages and indexes no longer name goes last, so that nobody is sent where nothing is.
            let mut left = package.clone();
            left.versions.retain(|v| !gone.contains(&v.version));
            if !self.docs_only {
                left.files.retain(|file| !gone.contains(&file.version));
            }
            site.save(&mut left)?;
            for version in &gone {
                site.discard(&dir.join(version))?;
                Index::forget(&site, &folder, version)?;
            }
            for file in package.files.iter().filter(|file| !left.files.contains(file)) {
                for name in [file.name.clone(), format!("{}.metadata", file.name)] {
                    match std::fs::remove_file(files.join(name)) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(error.into());
                        }
                        _ => {}
                    }
                }
            }
            package = left;
        }
        drop(package);
        for version in gone {
            session.out.record(&Made { path: self.site.join(&folder).join(version) })?;
        }
        Ok(Status::Done)
    }
}
