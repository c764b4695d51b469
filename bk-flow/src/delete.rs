//! `bk-flow … delete`

use bk::{Context, Error, Result, Session, Status};
use clap::Args;

use crate::branch::Branch;
use crate::hooks;
use crate::repo::{Kind, Repo, named};
use crate::switches::{Known, Switches};

#[derive(Clone, Debug)]
pub struct On;

impl Known for On {
    const ALL: &'static [(&'static str, Option<char>, &'static str)] = &[
        ("force", Some('f'), "Delete it though it is not merged"),
        ("remote", Some('r'), "Delete the remote repository's too"),
    ];
}

/// Delete a branch
///
/// One that is not merged is deleted with --force only.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow feature delete counting --remote
      Delete feature/counting, here and at the remote repository.

Exit status:
  0   deleted
  1   it is not merged, or changes are not committed; nothing was deleted
  2   the command line is wrong
")]
pub struct Delete {
    /// Its name; what is checked out if not given
    name: Option<String>,
    #[command(flatten)]
    on: Switches<On>,
    /// Delete nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Delete {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, show)?;
        let name = named(&repo, kind, self.name.as_deref())?;
        let branch = format!("{}{name}", repo.prefix(kind)?);
        repo.require_local(&branch)?;
        let (master, develop) = (repo.master(), repo.develop());
        let base = repo.base(&branch).unwrap_or_else(|| develop.clone());
        let into: &[&str] = match kind {
            Kind::Release => &[&master, &base],
            Kind::Hotfix => &[&master, &develop],
            _ => &[&base],
        };
        if !self.on.on(&repo, kind, "delete", "force") {
            for into in into {
                if !repo.has(into) || !repo.is_merged(&branch, into)? {
                    return Err(Error::new(format!("'{branch}' is not merged into '{into}'"))
                        .hint("--force deletes it with all that is in it"));
                }
            }
        }
        if self.dry_run {
            return Branch::of(&branch).print(session);
        }
        let origin = repo.origin();
        let told = [name.as_str(), &origin, &branch];
        hooks::run(&repo, "pre", kind, "delete", &told)?;
        if repo.current() == Some(branch.as_str()) {
            repo.require_clean()?;
            let usual = if kind == Kind::Hotfix { &master } else { &base };
            let to = if repo.has(usual) { usual } else { &develop };
            repo.git(&["checkout", "--quiet", to])?;
        }
        repo.git(&["branch", "--quiet", "-D", &branch])?;
        if self.on.on(&repo, kind, "delete", "remote") {
            if repo.has_remote(&branch) {
                repo.git(&["push", "--quiet", &origin, &format!(":{branch}")])
                    .context(|| format!("it is deleted here, but still in '{origin}'"))?;
            } else {
                session.console.warn(&format!("'{origin}' has no branch '{branch}'"));
            }
        }
        repo.forget_base(&branch)?;
        hooks::run(&repo, "post", kind, "delete", &told)?;
        Branch::of(&branch).print(session)
    }
}
