//! `bk-template new`

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Context, Result, Session, Status, display};
use clap::Args;
use serde::Serialize;
use serde_yaml::Mapping;

use crate::question::Answer;
use crate::template::{self, Template};
use crate::tree::{self, There};

/// Make a project of a template
///
/// Asks what the template asks for, on a terminal; otherwise the usual answers count. A folder that is not
/// there yet appears with all that belongs in it, or not at all; in one that is there, nothing is written
/// if a file would be replaced. Templates of copier and cookiecutter are filled in as well; the commands
/// and hooks in them are not run.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-template new templates/package libfoo -D name=foo
      Fill the template in, and print the files that were made.
  bk-template new templates/package libfoo --defaults --dry-run
      Only say which files would be made.

Exit status:
  0   made
  1   the template cannot be filled in, or files there are other; nothing was written
  2   the command line is wrong, or an answer is missing
")]
pub struct New {
    /// The template
    #[arg(value_name = "TEMPLATE")]
    template: PathBuf,
    /// The folder of the project
    #[arg(value_name = "DEST")]
    to: PathBuf,
    /// An answer
    #[arg(short = 'D', long = "define", value_name = "NAME=VALUE")]
    define: Vec<Answer>,
    /// A YAML or JSON file with answers
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
    /// Take the usual answers, and ask nobody
    #[arg(long)]
    defaults: bool,
    /// Replace files that are there
    #[arg(long, conflicts_with = "keep")]
    overwrite: bool,
    /// Keep files that are there
    #[arg(long)]
    keep: bool,
    /// Print what would be made, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A file that was made.
#[derive(Serialize)]
#[serde(tag = "type", rename = "file")]
struct Made {
    #[serde(serialize_with = "bk::record::path")]
    path: PathBuf,
}

impl Record for Made {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_os_str().as_bytes().into()
    }
}

/// What a file of answers may have.
const DATA_LIMIT: u64 = 16 << 20;

/// Reads a file of answers.
pub fn data(path: Option<&PathBuf>) -> Result<Mapping> {
    let Some(path) = path else { return Ok(Mapping::new()) };
    let context = || format!("cannot read the answers in '{}'", display(path));
    let bytes = bk::file::read(path, DATA_LIMIT)?;
    serde_yaml::from_slice(&bytes).context(context)
}

impl New {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let template = Template::open(&self.template)?;
        let engine = template.engine(session.epoch)?;
        let data = data(self.data_file.as_ref())?;
        let mut ask = template::ask;
        let answers = match !self.defaults && template::somebody_is_there() {
            true => template.answer(&engine, &self.define, &data, Some(&mut ask))?,
            false => template.answer(&engine, &self.define, &data, None)?,
        };
        let made = template.make(&engine, &answers)?;
        let keeps = template.keeps(&engine, &answers)?;
        let kept =
            |path: &std::path::Path| keeps.matched_path_or_any_parents(path, false).is_ignore();
        let there = match (self.overwrite, self.keep) {
            (true, _) => There::Replace,
            (_, true) => There::Keep,
            _ => There::Refuse,
        };
        let written = tree::write(&made, &self.to, there, &kept, self.dry_run)?;
        for path in written {
            session.out.record(&Made { path: self.to.join(path) })?;
        }
        if !template.commands.is_empty() {
            session.console.warn(&format!(
                "the template has commands that were not run: {}",
                template.commands.join(", ")
            ));
        }
        Ok(Status::Done)
    }
}
