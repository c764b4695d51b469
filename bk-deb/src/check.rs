//! `bk-deb check`: what is wrong with packages.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use bk::record::Record;
use bk::{Level, Result, Session, Status};
use clap::Args;
use serde::Serialize;

use crate::policy::{self, Finding, Severity};

/// Check packages against Debian's policy
///
/// The findings have the names that lintian(1) has for them. It needs no lintian, and looks only at
/// what is wrong with any package, wherever it is installed from.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-deb check debs/*.deb
      A line a finding, `E: package: tag context`; more with -v.
  bk-deb build flask | bk-deb check - && echo good
      Errors stop a pipeline.

Exit status:
  0   no package has an error
  1   some could not be read; all others were checked
  2   the command line or the configuration is wrong
  3   a package has an error, or two have the same file
")]
pub struct Check {
    /// A .deb, or `-` for those named on stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// A finding about a package.
#[derive(Serialize)]
#[serde(tag = "type", rename = "finding")]
struct Told<'a> {
    severity: Severity,
    package: &'a str,
    tag: &'a str,
    context: &'a str,
    #[serde(serialize_with = "bk::record::path")]
    path: &'a Path,
}

impl Record for Told<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let letter = match self.severity {
            Severity::Error => 'E',
            Severity::Warning => 'W',
            Severity::Info => 'I',
        };
        let space = if self.context.is_empty() { "" } else { " " };
        let context = bk::sanitize(self.context);
        format!("{letter}: {}: {}{space}{context}", self.package, self.tag).into_bytes().into()
    }
}

impl Check {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let mut status = Status::Done;
        let mut owners = policy::Owners::default();
        for path in session.inputs(&self.files) {
            let checked = path.and_then(|path| Ok((policy::check(&path, &mut owners)?, path)));
            let (checked, path) = match checked {
                Ok(checked) => checked,
                Err(error) => {
                    session.console.error(&error);
                    status = Status::Failed;
                    continue;
                }
            };
            let shown = |finding: &&Finding| {
                finding.severity < Severity::Info || session.console.level() >= Level::Verbose
            };
            for Finding { severity, tag, context } in checked.findings.iter().filter(shown) {
                if *severity == Severity::Error && status == Status::Done {
                    status = Status::No;
                }
                let package = &checked.package;
                session.out.record(&Told {
                    severity: *severity,
                    package,
                    tag,
                    context,
                    path: &path,
                })?;
            }
            session.out.flush()?;
        }
        Ok(status)
    }
}
