//! `bk-pypkg template`

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bk::file::TempDir;
use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display};
use clap::Args;
use serde::Serialize;

use crate::files;

/// Write down the template that packages are made of
///
/// To change it, and to make packages of it with `bk-pypkg new --template`, with bk-template or with
/// copier.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-pypkg template -o templates/python
      Write it down, and print where.
  bk-pypkg new libfoo --template templates/python
      Make a package of it, changed or not.

Exit status:
  0   written
  1   it could not be, or something is there already; nothing was written
  2   the command line is wrong
")]
pub struct Template {
    /// Where it goes; nothing may be there yet
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A file or folder that was made.
#[derive(Serialize)]
#[serde(tag = "type", rename = "file")]
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

impl Template {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let failed = || format!("cannot write the template '{}'", display(&self.output));
        if self.output.symlink_metadata().is_ok() {
            return Err(Error::new("something is there already")
                .context(failed())
                .hint("say another place, or remove it first"));
        }
        if !self.dry_run {
            let parent = self.output.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            bk::file::create_dir(parent)?;
            let scratch = TempDir::new_in(parent)?;
            let new = scratch.path().join("template");
            bk::file::create_dir(&new)?;
            files::write(&new)?;
            std::fs::rename(&new, &self.output).context(failed)?;
        }
        session.out.record(&Made { path: self.output })?;
        Ok(Status::Done)
    }
}
