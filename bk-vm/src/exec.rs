//! `bk-vm exec`

use bk::{Error, Result, Session, Status};
use clap::Args;

use crate::{remote, running};

/// Run a command in a running machine
///
/// It is the user ubuntu's, who may do all by sudo. Its words arrive as they are; stdin, stdout and stderr
/// are ours.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-vm exec 10 sh -c \"sudo apt-get update && sudo apt-get install -y hello\"
      Install a package in it.
  tar -c src | bk-vm exec 10 tar -x
      Take a folder there.

Exit status:
  1   it does not run
  2   the command line or the configuration is wrong
  255 ssh failed
  Otherwise the status is that of the command.
")]
pub struct Exec {
    /// Its number, name, address or folder
    machine: String,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "WORD"
    )]
    words: Vec<String>,
}

impl Exec {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let (machine, running) = running::found(&self.machine, &session.dirs)?;
        let mut words = remote::options(&machine, &running, "-p");
        words.push(remote::login(&running).into());
        // ssh puts them together for a shell on the other side.
        let line: Vec<String> = self.words.iter().map(|word| remote::quoted(word)).collect();
        if line.is_empty() {
            return Err(Error::new("no command is given").status(Status::Usage));
        }
        words.extend(["--".into(), line.join(" ").into()]);
        remote::become_program("ssh", &words, &session.console).map(|()| Status::Done)
    }
}
