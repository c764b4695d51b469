//! `bk-flow … rebase`

use bk::{Context, Error, Result, Session, Status};
use clap::Args;

use crate::branch::Branch;
use crate::repo::{Kind, Repo, named, resolved};
use crate::switches::{Known, Switches};

#[derive(Clone, Debug)]
pub struct On;

impl Known for On {
    const ALL: &'static [(&'static str, Option<char>, &'static str)] = &[
        ("interactive", Some('i'), "Ask what becomes of each commit"),
        ("preserve-merges", Some('p'), "Keep merges"),
    ];
}

/// Put a branch on top of what its base is by now
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow feature rebase
      Rebase the feature that is checked out on develop.

Exit status:
  0   rebased
  1   there is a conflict, or changes are not committed
  2   the command line is wrong
")]
pub struct Rebase {
    /// Its name, or how that begins; what is checked out if not given
    name: Option<String>,
    #[command(flatten)]
    on: Switches<On>,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Rebase {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, show)?;
        let name = resolved(&repo, kind, &named(&repo, kind, self.name.as_deref())?)?;
        let branch = format!("{}{name}", repo.prefix(kind)?);
        let base = repo.base(&branch).unwrap_or_else(|| repo.develop());
        if !repo.flag("rebase.autostash").unwrap_or_default() {
            repo.require_clean()?;
        }
        repo.require(&branch)?;
        repo.require_local(&base)?;
        if !self.dry_run {
            let on = |name| self.on.on(&repo, kind, "rebase", name);
            rebase(&repo, &branch, &base, on("interactive"), on("preserve-merges"))
                .hint(|| "mend it and git rebase --continue, or git rebase --abort".into())?;
        }
        Branch::of(&branch).from(&base).print(session)
    }
}

/// Puts a branch on top of its base.
pub fn rebase(repo: &Repo, branch: &str, base: &str, ask: bool, merges: bool) -> Result<()> {
    repo.git(&["checkout", "--quiet", branch])?;
    let mut args = vec!["rebase"];
    // git has it instead of --preserve-merges, since 2.34.
    args.extend(merges.then_some("--rebase-merges"));
    if ask {
        args.extend(["--interactive", base]);
        return match repo.git_here(&args)?.success() {
            true => Ok(()),
            false => Err(Error::new(format!("'{branch}' could not be rebased on '{base}'"))),
        };
    }
    args.extend(["--quiet", base]);
    repo.git(&args).context(|| format!("cannot rebase '{branch}' on '{base}'"))
}
