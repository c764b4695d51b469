//! `bk-vm copy`

use std::ffi::OsString;

use bk::{Error, Result, Session, Status};
use clap::Args;

use crate::machine::Machine;
use crate::running::Running;
use crate::{remote, running};

/// Copy files and folders into a running machine, or out of it
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-vm copy debs 10:
      The folder debs, into the home of the machine's user.
  bk-vm copy 10:/var/log/dpkg.log .
      A file of the machine.

Exit status:
  0   everything was copied
  1   something was not, or the machine does not run
  2   the command line or the configuration is wrong
")]
pub struct Copy {
    /// What to copy, and where to: PATH here, or MACHINE:PATH there
    #[arg(required = true, num_args = 2.., value_name = "PATH|MACHINE:PATH")]
    paths: Vec<String>,
    /// Print what would be run, and copy nothing
    #[arg(long)]
    dry_run: bool,
}

impl Copy {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let mut met: Option<(Machine, Running)> = None;
        let mut files = Vec::new();
        for path in &self.paths {
            // As scp reads it: a name before the first colon, and no slash before that.
            match path.split_once(':').filter(|(name, _)| !name.contains('/')) {
                Some((name, there)) => {
                    let found = running::found(name, &session.dirs)?;
                    if met.as_ref().is_some_and(|(machine, _)| machine.dir != found.0.dir) {
                        return Err(Error::new("two machines are named")
                            .hint("copy from one into a folder here, and from there into the other")
                            .status(Status::Usage));
                    }
                    files.push(OsString::from(format!("{}:{there}", remote::login(&found.1))));
                    met = Some(found);
                }
                None => files.push(match path.starts_with('-') {
                    true => format!("./{path}").into(),
                    false => path.into(),
                }),
            }
        }
        let Some((machine, running)) = met else {
            return Err(Error::new("no machine is named")
                .hint("a path in a machine is MACHINE:PATH")
                .status(Status::Usage));
        };
        let mut words = remote::options(&machine, &running, "-P");
        words.extend(["-r", "-p", "--"].map(OsString::from));
        words.extend(files);
        if self.dry_run {
            let shown: Vec<String> = words.iter().map(bk::display).collect();
            session.out.raw(format!("scp {}\n", shown.join(" ")))?;
            return Ok(Status::Done);
        }
        remote::become_program("scp", &words, &session.console).map(|()| Status::Done)
    }
}
