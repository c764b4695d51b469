//! `bk-vm snapshot`

use std::path::PathBuf;

use bk::{Context, Error, Result, Session, Status, display, file};
use clap::Args;

use crate::machine::{self, Machine};
use crate::running;

/// Keep the state of a stopped machine's disk under a name
///
/// Without a name, print those there are.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-vm snapshot 10 clean
      Keep it as it is now. 'bk-vm restore 10 clean' brings that back.

Exit status:
  0   it is kept
  1   it is not: the machine runs, or there is one of that name
  2   the command line or the configuration is wrong
")]
pub struct Snapshot {
    /// The machine's number, name, address or folder
    machine: String,
    /// The snapshot's name
    name: Option<String>,
    /// Remove the snapshot of that name
    #[arg(long, requires = "name")]
    delete: bool,
    /// Say whether it can be done, and change nothing
    #[arg(long, requires = "name")]
    dry_run: bool,
}

/// Where a machine's snapshots are.
const FOLDER: &str = "snapshots";

/// The disk of a snapshot.
pub(crate) fn path(machine: &Machine, name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    match !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) {
        true => Ok(machine.path(FOLDER).join(format!("{name}.raw"))),
        false => Err(Error::new(format!("'{}' is no name of a snapshot", bk::sanitize(name)))
            .hint("letters, digits, and any of -_.+ inside")
            .status(Status::Usage)),
    }
}

/// The names there are, in their order.
pub(crate) fn names(machine: &Machine) -> Vec<String> {
    let entries = std::fs::read_dir(machine.path(FOLDER)).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_str()?.strip_suffix(".raw")?.to_owned();
        (!name.starts_with('.')).then_some(name)
    };
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names
}

impl Snapshot {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let machine = Machine::find(&self.machine, &session.dirs)?;
        let Some(name) = &self.name else {
            for name in names(&machine) {
                session.out.raw(name + "\n")?;
            }
            return Ok(Status::Done);
        };
        let failed = || format!("cannot keep '{}' as '{}'", machine.name(), bk::sanitize(name));
        let path = path(&machine, name)?;
        if self.delete {
            return match self.dry_run {
                true => path.metadata().map(drop),
                false => std::fs::remove_file(&path),
            }
            .context(|| format!("cannot remove '{}'", display(&path)))
            .map(|()| Status::Done);
        }
        let _lock = running::keep(&machine, &session.dirs).context(failed)?;
        if path.exists() {
            return Err(Error::new("there is one of that name").context(failed()));
        }
        if self.dry_run {
            return Ok(Status::Done);
        }
        let folder = machine.path(FOLDER);
        file::create_dir(&folder)?;
        let new = file::TempDir::new_in(&folder)?;
        let copy = new.path().join("disk");
        machine::copy_disk(&machine.disk(), &copy, &session.console).context(failed)?;
        std::fs::rename(&copy, &path).context(failed)?;
        file::sync_dir(&folder).map(|()| Status::Done)
    }
}
