//! `bk-vm restore`

use bk::{Context, Error, Result, Session, Status, file, nearest};
use clap::Args;

use crate::machine::{self, Machine};
use crate::{running, snapshot};

/// Bring a stopped machine's disk back to a snapshot
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0   it is as it was
  1   it is not: the machine runs, or there is no such snapshot
  2   the command line or the configuration is wrong
")]
pub struct Restore {
    /// The machine's number, name, address or folder
    machine: String,
    /// The snapshot's name
    name: String,
    /// Say whether it can be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Restore {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let machine = Machine::find(&self.machine, &session.dirs)?;
        let path = snapshot::path(&machine, &self.name)?;
        let failed = || format!("cannot bring '{}' back", machine.name());
        if !path.exists() {
            let names = snapshot::names(&machine);
            let near = nearest(&self.name, names.iter().map(String::as_str)).join(", ");
            let error = Error::new(format!("there is no snapshot '{}'", bk::sanitize(&self.name)));
            let error = error.context(failed());
            return Err(if near.is_empty() {
                error
            } else {
                error.hint(format!("there is {near}"))
            });
        }
        let _lock = running::keep(&machine, &session.dirs).context(failed)?;
        if self.dry_run {
            return Ok(Status::Done);
        }
        let new = file::TempDir::new_in(&machine.dir)?;
        let copy = new.path().join("disk");
        machine::copy_disk(&path, &copy, &session.console).context(failed)?;
        std::fs::rename(&copy, machine.disk()).context(failed)?;
        file::sync_dir(&machine.dir).map(|()| Status::Done)
    }
}
