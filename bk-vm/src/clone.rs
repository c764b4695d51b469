//! `bk-vm clone`

use std::path::PathBuf;

use bk::{Context, Error, Result, Session, Status, display};
use clap::Args;

use crate::address::Address;
use crate::create::Made;
use crate::identity::{self, Identity, KEYS};
use crate::machine::{self, About, DISK, Machine};
use crate::running;

/// Make another machine of one that is stopped, with all that was done in it
///
/// It gets a name, an address and keys of its own. Where the file system can refer to the same blocks twice
/// (btrfs, xfs), it takes no room.
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0   the machine is there
  1   it could not be made, there is one already, or the other runs
  2   the command line or the configuration is wrong
")]
pub struct Clone {
    /// The machine's number, name, address or folder
    machine: String,
    /// The new one's number, or its address
    #[arg(value_name = "N|IP")]
    address: Address,
    /// The folder to make it in [default: where the other is]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print the disk there would be, and make nothing
    #[arg(long)]
    dry_run: bool,
}

impl Clone {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let console = session.console.clone();
        let source = Machine::find(&self.machine, &session.dirs)?;
        let failed = || format!("cannot clone '{}'", source.name());
        let output = match (self.output, source.dir.parent()) {
            (Some(output), _) => output,
            (None, Some(parent)) => parent.to_owned(),
            (None, None) => return Err(Error::new("it has no folder").context(failed())),
        };
        // Its disk stays as it is meanwhile.
        let _lock = running::keep(&source, &session.dirs).context(failed)?;
        let keys = [source.path(KEYS)];
        let fill = |new: &std::path::Path| {
            machine::copy_disk(&source.disk(), &new.join(DISK), &console)?;
            machine::link_kernel(&source.dir, new)?;
            let identity = Identity { address: self.address, keys: &keys };
            identity::files(&identity, new, &console)?.write(&new.join(DISK), new, &console)?;
            Machine::save(new, &About { address: self.address, ..source.about.clone() })
        };
        let name = self.address.name();
        let dir = output.join(&name);
        let failed = || format!("{} as '{}'", failed(), display(&dir));
        match self.dry_run {
            true => machine::refuse(&dir).context(failed)?,
            false => {
                let made = machine::make(&output, self.address, fill, &console).context(failed)?;
                machine::remember(&made, &session.dirs, &console);
            }
        }
        session.out.record(&Made { path: dir.join(DISK), address: self.address, name })?;
        Ok(Status::Done)
    }
}
