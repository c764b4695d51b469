//! `bk-flow log`

use bk::{Result, Session, Status};
use clap::Args;

use crate::diff::shown;
use crate::repo::Repo;

/// Show what was committed since a branch left its base
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow log --oneline
      The commits of what is checked out, a line each.

Exit status:
  0   shown
  1   this is no repository for git-flow
  2   the command line is wrong
")]
pub struct Log {
    /// Options of git log
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<String>,
}

impl Log {
    /// Runs the command.
    pub fn run(self, session: &mut Session, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, show)?;
        let base = repo.current().and_then(|branch| repo.base(branch));
        let base = base.unwrap_or_else(|| repo.master());
        session.console.note(&format!("since '{base}'"));
        let since = format!("{base}..");
        let mut args = vec!["log"];
        args.extend(self.options.iter().map(String::as_str));
        args.push(&since);
        shown(repo.git_here(&args)?)
    }
}
