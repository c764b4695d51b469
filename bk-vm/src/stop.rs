//! `bk-vm stop`

use std::time::Duration;

use bk::{Result, Session, Status};
use clap::Args;

use crate::machine::Machine;
use crate::running::{self, Running};

/// Shut machines down
///
/// They are asked as by their power button, and ended when that takes too long.
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0   they have shut down, or did not run
  1   some had to be ended, or could not be
  2   the command line or the configuration is wrong
")]
pub struct Stop {
    /// Its number, name, address or folder
    #[arg(required = true, value_name = "MACHINE")]
    machines: Vec<String>,
    /// Seconds until a machine that does not shut down is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 100)]
    timeout: u64,
    /// Print the machines that run, and leave them alone
    #[arg(long)]
    dry_run: bool,
}

impl Stop {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let mut status = Status::Done;
        let limit = Duration::from_secs(self.timeout);
        for word in &self.machines {
            let mut stop = |word: &str| {
                let machine = Machine::find(word, &session.dirs)?;
                if self.dry_run {
                    if Running::find(&machine, &session.dirs).is_some() {
                        session.out.raw(machine.name() + "\n")?;
                    }
                    return Ok(true);
                }
                running::stop(&machine, limit, &session.dirs, &session.console)
            };
            match stop(word) {
                Ok(true) => {}
                Ok(false) => status = Status::Failed,
                Err(error) => {
                    session.console.error(&error);
                    status = Status::Failed;
                }
            }
        }
        Ok(status)
    }
}
