//! `bk-flow … checkout`

use bk::{Result, Session, Status};
use clap::Args;

use crate::branch::Branch;
use crate::repo::{Kind, Repo, resolved};

/// Check a branch out
#[derive(Args)]
#[command(
    visible_alias = "co",
    after_long_help = "\
Examples:
  bk-flow feature checkout cou
      Check out feature/counting, if no other begins so.

Exit status:
  0   checked out
  1   there is none, there are several, or changes are in the way
  2   the command line is wrong
"
)]
pub struct Checkout {
    /// Its name, or how that begins
    name: String,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Checkout {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, show)?;
        let branch = format!("{}{}", repo.prefix(kind)?, resolved(&repo, kind, &self.name)?);
        if !self.dry_run {
            repo.git(&["checkout", "--quiet", &branch])?;
        }
        Branch::of(&branch).print(session)
    }
}
