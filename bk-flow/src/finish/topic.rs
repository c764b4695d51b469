//! `bk-flow feature finish`, and the same of a bugfix.

use bk::{Error, Result, Session, Status, sanitize};
use clap::Args;

use super::{clean_up, merge};
use crate::branch::Branch;
use crate::hooks;
use crate::rebase::rebase;
use crate::repo::{Kind, Repo, named, resolved};
use crate::switches::{Known, Switches};

#[derive(Clone, Debug)]
pub struct On;

impl Known for On {
    const ALL: &'static [(&'static str, Option<char>, &'static str)] = &[
        ("fetch", Some('F'), "Fetch the base from the remote repository first"),
        ("rebase", Some('r'), "Rebase it before it is merged"),
        ("preserve-merges", Some('p'), "Keep merges while it is rebased"),
        ("push", None, "Push the base afterwards"),
        ("keep", Some('k'), "Keep the branch"),
        ("keepremote", None, "Keep the remote repository's branch"),
        ("keeplocal", None, "Keep the branch that is here"),
        ("force-delete", Some('D'), "Delete it even if git thinks that something would be lost"),
        ("squash", Some('S'), "Make one commit of all of its commits"),
        ("squash-info", None, "Say in that commit what the others said"),
        ("no-ff", None, "Make a merge commit though it has one commit only"),
    ];
}

/// Merge a branch into its base, and delete it
///
/// Prints what it was merged into. One commit is put on top of the base where that can be, several become
/// a merge. If there is a conflict, mend and commit it, and say the same again: it goes on there.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow feature finish
      Finish the feature that is checked out.
  bk-flow feature finish counting --push
      Finish feature/counting, and push develop.

Exit status:
  0   merged
  1   there is a conflict, changes are not committed, or a hook said no
  2   the command line is wrong
")]
pub struct TopicFinish {
    /// Its name, or how that begins; what is checked out if not given
    name: Option<String>,
    #[command(flatten)]
    on: Switches<On>,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl TopicFinish {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let mut repo = Repo::flow(session, show)?;
        let name = resolved(&repo, kind, &named(&repo, kind, self.name.as_deref())?)?;
        let branch = format!("{}{name}", repo.prefix(kind)?);
        let base = repo.base(&branch).unwrap_or_else(|| repo.develop());
        repo.require_local(&base)?;
        if self.dry_run {
            return Branch::of(&branch).into(&base).print(session);
        }
        if !self.goes_on(&mut repo, kind, &branch)? {
            self.merge(&mut repo, kind, (&name, &branch, &base))?;
        }
        if self.on(&repo, kind, "push") {
            repo.git(&["push", "--quiet", &repo.origin(), &base])?;
        }
        let keep = self.on(&repo, kind, "keep");
        let keep_remote = keep || self.on(&repo, kind, "keepremote");
        let keep_local = keep || self.on(&repo, kind, "keeplocal");
        if !keep {
            clean_up(&mut repo, kind, &branch, &base, (keep_remote, keep_local))?;
        }
        Branch::of(&branch).into(&base).print(session)
    }

    fn on(&self, repo: &Repo, kind: Kind, switch: &str) -> bool {
        self.on.on(repo, kind, "finish", switch)
    }

    /// Whether this was begun before, and a person has merged since.
    fn goes_on(&self, repo: &mut Repo, kind: Kind, branch: &str) -> Result<bool> {
        let note = repo.merge_note();
        if !note.is_file() {
            return Ok(false);
        }
        repo.require_clean().map_err(|error| {
            let again = format!("then again: bk-flow {} finish", kind.name());
            error
                .context("the conflict of the merge is not mended yet")
                .hint(format!("git mergetool, git commit, {again}"))
        })?;
        // A path of at most 4,096 bytes.
        let base = String::from_utf8_lossy(&bk::file::read(&note, 4096)?).trim().to_owned();
        std::fs::remove_file(&note)?;
        repo.is_merged(branch, &base)
    }

    fn merge(
        &self,
        repo: &mut Repo,
        kind: Kind,
        (name, branch, base): (&str, &str, &str),
    ) -> Result<()> {
        repo.require_clean()?;
        if repo.has_remote(branch) {
            repo.fetch(branch)?;
        }
        if self.on(repo, kind, "fetch") {
            repo.fetch(base)?;
        }
        repo.require_local(branch)?;
        repo.require_up_to_date(branch)?;
        repo.require_up_to_date(base)?;
        let told = [name, &repo.origin(), branch];
        hooks::run(repo, "pre", kind, "finish", &told)?;
        if self.on(repo, kind, "rebase") {
            let merges = self.on(repo, kind, "preserve-merges");
            rebase(repo, branch, base, false, merges).map_err(|error| {
                error.hint(format!(
                    "finish the rebase (git rebase --continue), then again: bk-flow {} finish {name}",
                    kind.name()
                ))
            })?;
        }
        repo.git(&["checkout", "--quiet", base])?;
        let squash = self.on(repo, kind, "squash");
        let two = repo.ask(&["rev-list", "-n2", &format!("{base}..{branch}"), "--"])?;
        let one = two.lines().count() == 1 && !self.on(repo, kind, "no-ff");
        let merged = match one && !squash {
            true => repo.git(&["merge", "--ff", branch]),
            false => {
                let info = format!("Merged {} branch '{branch}'", kind.name());
                let info = self.on(repo, kind, "squash-info").then_some(info.as_str());
                merge(repo, branch, base, squash, info)
            }
        };
        if let Err(error) = merged {
            let note = repo.merge_note();
            if let Some(dir) = note.parent() {
                bk::file::create_dir(dir)?;
            }
            bk::file::write(&note, format!("{base}\n"))?;
            let what = format!("cannot merge '{}' into '{}'", sanitize(branch), sanitize(base));
            return Err(Error::context(error, what).hint(format!(
                "mend it (git mergetool), git commit, then again: bk-flow {} finish {name}",
                kind.name()
            )));
        }
        hooks::run(repo, "post", kind, "finish", &told)
    }
}
