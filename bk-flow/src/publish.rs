//! `bk-flow … publish`

use bk::{Result, Session, Status};
use clap::Args;

use crate::branch::Branch;
use crate::hooks;
use crate::repo::{Kind, Repo, named};

/// Push a branch, for others to see
///
/// It follows the remote repository's from then on.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow feature publish
      Push the feature that is checked out.

Exit status:
  0   pushed
  1   the remote repository refused it, or changes are not committed
  2   the command line is wrong
")]
pub struct Publish {
    /// Its name; what is checked out if not given
    name: Option<String>,
    /// Push nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Publish {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, show)?;
        let name = named(&repo, kind, self.name.as_deref())?;
        let branch = format!("{}{name}", repo.prefix(kind)?);
        repo.require_clean()?;
        repo.require_local(&branch)?;
        let origin = repo.origin();
        if self.dry_run {
            return Branch::of(&branch).print(session);
        }
        let tag = repo.tag(&name)?;
        // A hotfix's hooks are told of its tag.
        let called = if kind == Kind::Hotfix { &tag } else { &name };
        let told = [called.as_str(), &origin, &branch];
        hooks::run(&repo, "pre", kind, "publish", &told)?;
        repo.git(&["fetch", "--quiet", &origin])?;
        repo.git(&["push", "--quiet", "-u", &origin, &format!("{branch}:{branch}")])?;
        repo.git(&["checkout", "--quiet", &branch])?;
        hooks::run(&repo, "post", kind, "publish", &told)?;
        Branch::of(&branch).print(session)
    }
}
