//! `bk-vm ssh`

use std::ffi::OsString;

use bk::{Result, Session, Status};
use clap::Args;

use crate::{remote, running};

/// Log in to a running machine, or let ssh do what its arguments say
///
/// ssh is given the machine's own keys, and none of this user's settings.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-vm ssh 10
      A shell in it.
  bk-vm ssh 10 -- -L 8080:127.0.0.1:80
      With its port 80 as ours.

Exit status:
  1   it does not run
  2   the command line or the configuration is wrong
  255 ssh failed
  Otherwise the status is that of the shell.
")]
pub struct Ssh {
    /// Its number, name, address or folder
    machine: String,
    /// Options of ssh
    #[arg(last = true, value_name = "SSH_OPTION")]
    more: Vec<OsString>,
}

impl Ssh {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let (machine, running) = running::found(&self.machine, &session.dirs)?;
        let mut words = remote::options(&machine, &running, "-p");
        words.extend(self.more);
        words.push(remote::login(&running).into());
        remote::become_program("ssh", &words, &session.console).map(|()| Status::Done)
    }
}
