//! `bk-flow … pull`

use bk::{Error, Result, Session, Status};
use clap::Args;

use crate::branch::Branch;
use crate::hooks;
use crate::repo::{Kind, Repo, named};

/// Bring in what somebody else has of a branch
///
/// `track` and git pull do the same for the usual remote repository.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow feature pull jane counting
      Merge jane's feature/counting into ours, or begin with hers.

Exit status:
  0   pulled
  1   there is a conflict, another branch is checked out, or there is none there
  2   the command line is wrong
")]
pub struct Pull {
    /// The remote repository
    remote: String,
    /// Its name; what is checked out if not given
    name: Option<String>,
    /// Rebase ours on theirs
    #[arg(short, long)]
    rebase: bool,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Pull {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, show)?;
        let name = named(&repo, kind, self.name.as_deref())?;
        let prefix = repo.prefix(kind)?;
        let branch = format!("{prefix}{name}");
        let here = repo.current().unwrap_or_default();
        if here != branch && (here.starts_with(&prefix) || repo.has(&branch)) {
            return Err(Error::new(format!("'{here}' is checked out, not '{branch}'"))
                .hint(format!("git checkout {branch} first: two would be merged by mistake")));
        }
        repo.require_clean()?;
        if self.dry_run {
            return Branch::of(&branch).print(session);
        }
        let told = [name.as_str(), &self.remote, &branch];
        hooks::run(&repo, "pre", kind, "pull", &told)?;
        if repo.has(&branch) {
            let how = if self.rebase { "--rebase" } else { "--no-rebase" };
            repo.git(&["pull", how, "--quiet", &self.remote, &branch])?;
        } else {
            repo.git(&["fetch", "--quiet", &self.remote, &branch])?;
            repo.git(&["branch", "--no-track", &branch, "FETCH_HEAD"])?;
            repo.git(&["checkout", "--quiet", &branch])?;
        }
        hooks::run(&repo, "post", kind, "pull", &told)?;
        Branch::of(&branch).print(session)
    }
}
