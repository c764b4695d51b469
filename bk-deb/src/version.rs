//! `bk-deb version`: what Python versions are as Debian versions.

use bk::record::Record;
use bk::{Context, Result, Session, Status};
use pep440_rs::Version as Pep440;
use serde::Serialize;

use crate::mapping::version::debian;

/// Print what Python versions (PEP 440) are as Debian versions
///
/// dpkg orders them as Python does: 1.0rc1 is 1.0~rc1, 1.0.post1 is 1.0+post1.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-deb version 1.0rc1 1.0.post1 2!1.0.dev3
      Prints 1.0~rc1, 1.0+post1 and 2:1.0~~dev3.
  pip list --format freeze | sed 's/.*==//' | bk-deb version -
      Those of all that pip has installed.

Exit status:
  0   every version was mapped
  1   some text was no Python version; all others were mapped
  2   the command line or the configuration is wrong
")]
pub struct Version {
    /// Versions as Python writes them; `-` reads them from stdin
    #[arg(required = true, value_name = "PEP440")]
    versions: Vec<std::path::PathBuf>,
    /// Append a Debian revision
    #[arg(short, long, value_name = "REVISION")]
    packaging_version: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "version")]
struct Mapped {
    pep440: String,
    debian: String,
}

impl Record for Mapped {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        self.debian.as_bytes().into()
    }
}

impl Version {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let mut status = Status::Done;
        for text in session.inputs(&self.versions) {
            let text = bk::display(text?);
            match text.parse::<Pep440>().context(|| format!("'{text}' is no Python version")) {
                Ok(version) => {
                    let revision = self.packaging_version.as_ref().map(|r| format!("-{r}"));
                    let debian = debian(&version, 0) + &revision.unwrap_or_default();
                    session.out.record(&Mapped { pep440: version.to_string(), debian })?;
                }
                Err(error) => {
                    session.console.error(&error);
                    status = Status::Failed;
                }
            }
        }
        Ok(status)
    }
}
