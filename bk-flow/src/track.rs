//! `bk-flow … track`

use bk::{Error, Result, Session, Status};
use clap::Args;

use crate::branch::Branch;
use crate::hooks;
use crate::repo::{Kind, Repo};

/// Check out a branch that others have published
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow feature track counting
      Work on what others call feature/counting.

Exit status:
  0   checked out
  1   there is none, or one of that name is here already
  2   the command line is wrong
")]
pub struct Track {
    /// Its name
    name: String,
    /// Change nothing but what is known of the remote repository
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Track {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let mut repo = Repo::flow(session, show)?;
        let branch = format!("{}{}", repo.prefix(kind)?, self.name);
        repo.require_clean()?;
        if repo.has(&branch) {
            return Err(Error::new(format!("there is a branch '{branch}' already"))
                .hint(format!("git checkout {branch}")));
        }
        let origin = repo.origin();
        let told = [self.name.as_str(), &origin, &branch];
        if kind != Kind::Hotfix && !self.dry_run {
            hooks::run(&repo, "pre", kind, "track", &told)?;
        }
        repo.git(&["fetch", "--quiet", &origin])?;
        repo.look()?;
        if !repo.has_remote(&branch) {
            return Err(Error::new(format!("'{origin}' has no branch '{branch}'"))
                .hint("who works on it publishes it: bk-flow … publish"));
        }
        if self.dry_run {
            return Branch::of(&branch).print(session);
        }
        repo.git(&["checkout", "--quiet", "-b", &branch, &format!("{origin}/{branch}")])?;
        if kind != Kind::Hotfix {
            hooks::run(&repo, "post", kind, "track", &told)?;
        }
        Branch::of(&branch).print(session)
    }
}
