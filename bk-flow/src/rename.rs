//! `bk-flow … rename`

use bk::{Result, Session, Status};
use clap::Args;

use crate::branch::Branch;
use crate::hooks;
use crate::repo::{Kind, Repo, named};

/// Call a branch otherwise
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow feature rename counting-twice
      Call the feature that is checked out so.

Exit status:
  0   renamed
  1   there is none, or the name is taken
  2   the command line is wrong
")]
pub struct Rename {
    /// The new name
    new: String,
    /// The old one; what is checked out if not given
    old: Option<String>,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Rename {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, show)?;
        let prefix = repo.prefix(kind)?;
        let old = named(&repo, kind, self.old.as_deref())?;
        let (from, to) = (format!("{prefix}{old}"), format!("{prefix}{}", self.new));
        repo.require_local(&from)?;
        repo.require_absent(&to)?;
        if !self.dry_run {
            let origin = repo.origin();
            let told = [old.as_str(), &origin, &from];
            hooks::run(&repo, "pre", kind, "rename", &told)?;
            repo.git(&["branch", "-m", &from, &to])?;
            if repo.base(&from).is_some() {
                let sections = [&from, &to].map(|branch| format!("gitflow.branch.{branch}"));
                let [old, new] = &sections;
                repo.git(&["config", "--local", "--rename-section", old, new])?;
            }
            hooks::run(&repo, "post", kind, "rename", &told)?;
        }
        Branch::of(&to).print(session)
    }
}
