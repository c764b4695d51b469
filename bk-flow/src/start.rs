//! `bk-flow … start`

use bk::{Error, Result, Session, Status, sanitize};
use clap::Args;

use crate::branch::Branch;
use crate::hooks;
use crate::repo::{Kind, Repo};
use crate::switches::{Known, Switches};

#[derive(Clone, Debug)]
pub struct On;

impl Known for On {
    const ALL: &'static [(&'static str, Option<char>, &'static str)] =
        &[("fetch", Some('F'), "Fetch the base from the remote repository first")];
}

/// Begin a branch
///
/// Prints its whole name. A feature or bugfix begins from develop, as a release does, a hotfix from
/// master, a support branch from a commit of master, unless another base is named. There is one release at
/// a time, and one hotfix (setting gitflow.multi-hotfix); for these, and for support, all changes have to
/// be committed (gitflow.allowdirty), and the tag of the version must not be there.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow feature start counting
      Begin feature/counting from develop, and check it out.
  bk-flow release start 1.2
      Begin release/1.2.

Exit status:
  0   begun
  1   it could not be, or a hook said no; nothing was changed
  2   the command line is wrong
")]
pub struct Start {
    /// What it is called after its prefix, or the version
    name: String,
    /// What it begins from
    base: Option<String>,
    #[command(flatten)]
    on: Switches<On>,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Start {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let mut repo = Repo::flow(session, show)?;
        let prefix = repo.prefix(kind)?;
        let name = match kind.is_version() {
            true => hooks::filter(&repo, &format!("{}-start-version", kind.name()), &[&self.name])?,
            false => self.name,
        };
        let base = match (self.base, kind) {
            (Some(base), _) => base,
            (None, Kind::Hotfix) => repo.master(),
            (None, Kind::Support) => {
                return Err(Error::new("a support branch begins from a commit that is said")
                    .hint("a tag, as in: bk-flow support start 1.x 1.4")
                    .status(Status::Usage));
            }
            (None, _) => repo.develop(),
        };
        let branch = format!("{prefix}{name}");
        if kind != Kind::Support {
            repo.require_local(&base)?;
        }
        if kind == Kind::Release
            || (kind == Kind::Hotfix && !repo.flag("gitflow.multi-hotfix").unwrap_or_default())
        {
            let there = repo.branches().find(|branch| branch.starts_with(&prefix));
            if let Some(there) = there {
                return Err(Error::new(format!(
                    "there is a {} already: '{}'",
                    kind.name(),
                    sanitize(there)
                ))
                .hint("finish that one first"));
            }
        }
        let fetch = self.on.on(&repo, kind, "start", "fetch");
        if fetch && !self.dry_run {
            repo.fetch(&base)?;
        }
        let tag = repo.tag(&name)?;
        if matches!(kind, Kind::Release | Kind::Hotfix | Kind::Support)
            && !repo.flag("gitflow.allowdirty").unwrap_or_default()
        {
            repo.require_clean()?;
        }
        if kind == Kind::Support && !repo.is_merged(&base, &repo.master())? {
            return Err(Error::new(format!(
                "'{}' is no commit of '{}'",
                sanitize(&base),
                repo.master()
            ))
            .hint("a support branch begins from what was released"));
        }
        repo.require_absent(&branch)?;
        if kind.is_version() && repo.has_tag(&tag) {
            return Err(Error::new(format!("there is a tag '{}' already", sanitize(&tag)))
                .hint("take another version"));
        }
        if kind != Kind::Support {
            repo.require_up_to_date(&base)?;
        }
        if self.dry_run {
            return Branch::of(&branch).from(&base).print(session);
        }
        let origin = repo.origin();
        let called = if kind.is_version() { &tag } else { &name };
        let told = [called.as_str(), &origin, &branch, &base];
        if kind != Kind::Support {
            hooks::run(&repo, "pre", kind, "start", &told)?;
        }
        repo.git(&["checkout", "--quiet", "-b", &branch, &base])?;
        if kind != Kind::Support {
            repo.set_base(&branch, &base)?;
            hooks::run(&repo, "post", kind, "start", &told)?;
            session.console.note(&format!("when done: bk-flow {} finish {name}", kind.name()));
        }
        Branch::of(&branch).from(&base).print(session)
    }
}
