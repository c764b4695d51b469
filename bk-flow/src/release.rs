//! `bk-flow release branch`

use bk::{Context, Error, Result, Session, Status};
use clap::Args;

use crate::branch::Branch;
use crate::finish::merge;
use crate::finish::version::Tag;
use crate::hooks;
use crate::repo::{Kind, Repo};
use crate::switches::{Known, Switches};

#[derive(Clone, Debug)]
pub struct On;

impl Known for On {
    const ALL: &'static [(&'static str, Option<char>, &'static str)] = &[
        ("fetch", Some('F'), "Fetch master from the remote repository first"),
        ("sign", Some('s'), "Sign the tag"),
        ("push", Some('p'), "Push master and the tag afterwards"),
        ("notag", Some('n'), "Make no tag"),
        ("squash", Some('S'), "Make one commit of all of its commits"),
        ("squash-info", None, "Say in that commit what the others said"),
    ];
}

/// Release a branch as it is, without one for the release
///
/// It is merged into master and tagged there.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow release branch 1.2
      Release what develop has.

Exit status:
  0   released
  1   there is a conflict, changes are not committed, or a hook said no
  2   the command line is wrong
")]
pub struct ReleaseBranch {
    /// The version
    version: String,
    /// The branch; develop if not given
    branch: Option<String>,
    #[command(flatten)]
    tag: Tag,
    #[command(flatten)]
    on: Switches<On>,
    /// Change nothing
    #[arg(long)]
    dry_run: bool,
}

impl ReleaseBranch {
    /// Runs the command.
    pub fn run(self, session: &mut Session, show: bool) -> Result<Status> {
        let kind = Kind::Release;
        let mut repo = Repo::flow(session, show)?;
        let version = hooks::filter(&repo, "branch-finish-version", &[&self.version])?;
        let branch = self.branch.clone().unwrap_or_else(|| repo.develop());
        let (master, origin, tag) = (repo.master(), repo.origin(), repo.tag(&version)?);
        let kinds = [Kind::Feature, Kind::Bugfix, Kind::Release, Kind::Hotfix, Kind::Support];
        if kinds.iter().any(|kind| repo.prefix(*kind).is_ok_and(|p| branch.starts_with(&p))) {
            return Err(Error::new(format!("'{branch}' is a branch of git-flow's"))
                .hint("finish it, or release develop"));
        }
        if branch == master {
            return Err(Error::new(format!("'{master}' is what was released")));
        }
        repo.require(&branch)?;
        repo.require_clean()?;
        let on = |repo: &Repo, name| self.on.on(repo, kind, "branch", name);
        let wanted = (!on(&repo, "notag")).then_some(tag.clone());
        let record = Branch::of(&branch).into(&master).tagged(wanted.clone());
        if self.dry_run {
            return record.print(session);
        }
        if repo.has_remote(&branch) {
            repo.fetch(&branch)?;
        }
        if on(&repo, "fetch") {
            repo.fetch(&master)?;
        }
        repo.require_up_to_date(&branch)?;
        repo.require_up_to_date(&master)?;
        let told = [tag.as_str(), &origin, &branch];
        hooks::run(&repo, "pre", kind, "branch", &told)?;
        if !repo.is_merged(&branch, &master)? {
            repo.git(&["checkout", "--quiet", &master])?;
            let info = format!("Merged release branch '{branch}'");
            let info = on(&repo, "squash-info").then_some(info.as_str());
            merge(&repo, &branch, &master, on(&repo, "squash"), info)
                .hint(|| "mend it, git commit, and say the same again".into())?;
        }
        repo.look()?;
        if let Some(tag) = wanted.as_ref().filter(|tag| !repo.has_tag(tag)) {
            if repo.current() != Some(master.as_str()) {
                repo.git(&["checkout", "--quiet", &master])?;
            }
            let filter = ("branch", "release-branch-tag-message");
            self.tag.make(&repo, kind, filter, tag, on(&repo, "sign"))?;
        }
        hooks::run(&repo, "post", kind, "branch", &told)?;
        if on(&repo, "push") {
            repo.git(&["push", "--quiet", &origin, &master])?;
            if wanted.is_some() {
                repo.git(&["push", "--quiet", &origin, "--tags"])?;
            }
        }
        record.print(session)
    }
}
