//! `bk-test inside`: the part of `bk-test run --deb` that runs in namespaces of its own.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use bk::{Result, Session, Status};
use clap::Args;

use crate::deb;

/// Install packages in an overlay of this system and run a command there (for `bk-test run --deb`)
#[derive(Args)]
pub struct Inside {
    scratch: PathBuf,
    #[arg(long)]
    deb: Vec<PathBuf>,
    #[arg(long)]
    name: Vec<String>,
    #[arg(last = true, required = true)]
    words: Vec<OsString>,
}

impl Inside {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let (debs, names) = (&self.deb, &self.name);
        let status = deb::inside(&self.scratch, debs, names, &self.words, &session.console)?;
        // As a shell has it.
        let code =
            status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        Ok(match u8::try_from(code).unwrap_or(1) {
            0 => Status::Done,
            code => Status::Child(code),
        })
    }
}
