//! `bk-vm remove`

use std::time::Duration;

use bk::{Context, Error, Result, Session, Status, display};
use clap::Args;

use crate::machine::{self, Machine};
use crate::running::{self, Running};

/// Remove machines, with their disks
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0   they are gone
  1   some are not: they run, or clones stand on them
  2   the command line or the configuration is wrong
")]
pub struct Remove {
    /// Its number, name, address or folder
    #[arg(required = true, value_name = "MACHINE")]
    machines: Vec<String>,
    /// Stop it first, if it runs
    #[arg(short, long)]
    force: bool,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

impl Remove {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let mut status = Status::Done;
        for word in &self.machines {
            if let Err(error) = self.one(word, session) {
                session.console.error(&error);
                status = Status::Failed;
            }
        }
        Ok(status)
    }

    fn one(&self, word: &str, session: &mut Session) -> Result<()> {
        let machine = Machine::find(word, &session.dirs)?;
        let failed = || format!("cannot remove '{}'", machine.name());
        if self.dry_run {
            return session.out.raw(format!("{}\n", display(&machine.dir)));
        }
        if Running::find(&machine, &session.dirs).is_some() {
            if !self.force {
                return Err(Error::new("it is running")
                    .context(failed())
                    .hint("stop it, or say --force"));
            }
            // Its disk is of no further use: it need not be left in order.
            running::stop(&machine, Duration::from_secs(5), &session.dirs, &session.console)?;
        }
        let _lock = running::keep(&machine, &session.dirs)?;
        // Out of sight at once, however long it takes.
        let doomed = machine.dir.with_file_name(format!(".bk-removed-{}", machine.name()));
        drop(std::fs::remove_dir_all(&doomed));
        std::fs::rename(&machine.dir, &doomed).context(failed)?;
        std::fs::remove_dir_all(&doomed).context(failed)?;
        let link = machine::home(&session.dirs).join(machine.name());
        if link.is_symlink() && !link.exists() {
            drop(std::fs::remove_file(link));
        }
        Ok(())
    }
}
