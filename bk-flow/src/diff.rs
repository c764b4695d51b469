//! `bk-flow … diff`

use bk::{Error, Result, Session, Status};
use clap::Args;

use crate::repo::{Kind, Repo, named, resolved};

/// Show what a branch changes
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow feature diff
      What the feature that is checked out changes, as git shows it.

Exit status:
  0   shown
  1   there is no such branch
  2   the command line is wrong
")]
pub struct Diff {
    /// Its name, or how that begins; what is checked out if not given
    name: Option<String>,
}

impl Diff {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, show)?;
        let name = resolved(&repo, kind, &named(&repo, kind, self.name.as_deref())?)?;
        let branch = format!("{}{name}", repo.prefix(kind)?);
        let base = repo.base(&branch).unwrap_or_else(|| repo.develop());
        shown(repo.git_here(&["diff", &format!("{base}...{branch}")])?)
    }
}

/// What came of a git that shows something: it has said itself what is wrong.
pub fn shown(status: std::process::ExitStatus) -> Result<Status> {
    use std::os::unix::process::ExitStatusExt;
    match status.success() || status.signal() == Some(rustix::process::Signal::PIPE.as_raw()) {
        true => Ok(Status::Done),
        false => Err(Error::new(format!("git could not show it: {status}"))),
    }
}
