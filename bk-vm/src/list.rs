//! `bk-vm list`

use std::borrow::Cow;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Result, Session, Status};
use clap::Args;
use serde::Serialize;

use crate::machine;
use crate::running::Running;

/// Print the machines there are, a line each: name, address, state, folder
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-vm list --json | jq -r 'select(.state == \"running\").name'
      The names of those that run.
")]
pub struct List {}

#[derive(Serialize)]
#[serde(tag = "type", rename = "machine")]
struct Line {
    name: String,
    address: String,
    /// `running` or `stopped`
    state: &'static str,
    suite: String,
    #[serde(serialize_with = "bk::record::path")]
    path: PathBuf,
    /// Where its ssh is.
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accel: Option<String>,
}

impl Record for Line {
    fn line(&self) -> Cow<'_, [u8]> {
        use std::os::unix::ffi::OsStrExt;
        let mut line = format!("{}\t{}\t{}\t", self.name, self.address, self.state).into_bytes();
        line.extend(self.path.as_os_str().as_bytes());
        line.into()
    }
}

impl List {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        for machine in machine::all(&session.dirs) {
            let running = Running::find(&machine, &session.dirs);
            session.out.record(&Line {
                name: machine.name(),
                address: machine.about.address.to_string(),
                state: if running.is_some() { "running" } else { "stopped" },
                suite: machine.about.suite.clone(),
                path: machine.dir.clone(),
                ssh: running.as_ref().map(|running| running.ssh.to_string()),
                accel: running.map(|running| running.accel),
            })?;
        }
        Ok(Status::Done)
    }
}
