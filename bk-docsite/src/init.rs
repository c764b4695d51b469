//! `bk-docsite init`

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Error, Result, Session, Status, display};
use clap::Args;
use serde::Serialize;

use crate::site::{Settings, Site};

/// Begin a site
///
/// A folder, with `docsite.yaml` for what is said of it here; any web server can serve it, all of it but
/// what is hidden.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-docsite init /srv/docs --title 'Our packages' --url https://docs.example.com
      Begin a site, and print its folder.

Exit status:
  0   begun
  1   there is one already, or it cannot be written
  2   the command line is wrong
")]
pub struct Init {
    /// Its folder
    #[arg(value_name = "SITE")]
    site: PathBuf,
    /// What it is called
    #[arg(long, default_value = "Packages")]
    title: String,
    /// Where it will be: so old pages tell search engines which page counts
    #[arg(long)]
    url: Option<String>,
    /// The apt repository with its packages
    #[arg(long, value_name = "URL")]
    apt: Option<String>,
    /// Write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A site, or something on it.
#[derive(Serialize)]
#[serde(tag = "type", rename = "path")]
pub struct Made {
    /// Where it is.
    #[serde(serialize_with = "bk::record::path")]
    pub path: PathBuf,
}

impl Record for Made {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_os_str().as_bytes().into()
    }
}

impl Init {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let path = self.site.join("docsite.yaml");
        let failed = || format!("cannot begin a site in '{}'", display(&self.site));
        if path.exists() {
            return Err(Error::new("there is one already")
                .context(failed())
                .hint(format!("change '{}' to say other things of it", display(&path))));
        }
        for url in [&self.url, &self.apt].into_iter().flatten() {
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(Error::new(format!("'{}' is no URL of a page", bk::sanitize(url)))
                    .status(Status::Usage));
            }
        }
        let settings = Settings { title: self.title, url: self.url, apt: self.apt };
        if !self.dry_run {
            Site::begin(&self.site, &settings, &session.console)?;
        }
        session.out.record(&Made { path: self.site })?;
        Ok(Status::Done)
    }
}
