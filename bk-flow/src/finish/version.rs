//! `bk-flow release finish`, and the same of a hotfix.

use std::io::IsTerminal;
use std::path::PathBuf;

use bk::{Context, Error, Result, Session, Status, display, sanitize};
use clap::Args;

use super::{clean_up, merge};
use crate::branch::Branch;
use crate::hooks;
use crate::repo::{Kind, Order, Repo, named, resolved};
use crate::switches::{Known, Switches};

#[derive(Clone, Debug)]
pub struct On;

impl Known for On {
    const ALL: &'static [(&'static str, Option<char>, &'static str)] = &[
        ("fetch", Some('F'), "Fetch what it is merged into from the remote repository first"),
        ("sign", Some('s'), "Sign the tag"),
        ("push", Some('p'), "Push all of it afterwards"),
        ("pushproduction", None, "Push master"),
        ("pushdevelop", None, "Push develop"),
        ("pushtag", None, "Push the tags"),
        ("keep", Some('k'), "Keep the branch"),
        ("keepremote", None, "Keep the remote repository's branch"),
        ("keeplocal", None, "Keep the branch that is here"),
        ("force-delete", Some('D'), "Delete it even if git thinks that something would be lost"),
        ("notag", Some('n'), "Make no tag"),
        ("nobackmerge", Some('b'), "Merge the branch into develop, not what it became in master"),
        ("squash", Some('S'), "Make one commit of all of its commits"),
        ("squash-info", None, "Say in that commit what the others said"),
        ("ff-master", None, "Bring master up to the remote repository's if that has more"),
        ("nodevelopmerge", None, "Merge nothing into develop"),
    ];
}

/// What a tag says, and who signs it.
#[derive(Args)]
pub struct Tag {
    /// Sign the tag with this key
    #[arg(short = 'u', long, value_name = "KEY")]
    signingkey: Option<String>,
    /// What the tag says
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The file with what the tag says
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "message")]
    messagefile: Option<PathBuf>,
}

impl Tag {
    /// Tags a commit, with the words of the filter `filter-flow-FILTER`, if it has any to filter.
    pub fn make(
        &self,
        repo: &Repo,
        kind: Kind,
        (action, filter): (&str, &str),
        tag: &str,
        sign: bool,
    ) -> Result<()> {
        let setting = |name: &str| repo.get(&format!("gitflow.{}.{action}.{name}", kind.name()));
        let said = |given: &Option<String>, name: &str| {
            given.clone().or_else(|| setting(name).map(str::to_owned)).filter(|s| !s.is_empty())
        };
        let key = said(&self.signingkey, "signingkey");
        let file = match (&self.messagefile, &self.message) {
            (Some(file), _) => Some(display(file)),
            (None, Some(_)) => None,
            _ => setting("messagefile").map(str::to_owned).filter(|file| !file.is_empty()),
        };
        let message = said(&self.message, "message").filter(|_| file.is_none());
        let message = match message {
            Some(message) => Some(hooks::filter(repo, filter, &[&message, tag])?),
            // Where nobody can be asked, it says what it is called.
            None if file.is_none() && !std::io::stdin().is_terminal() => Some(tag.to_owned()),
            None => None,
        };
        let mut args = vec!["tag", "-a"];
        if sign || key.is_some() {
            args.push("-s");
        }
        if let Some(key) = &key {
            args.extend(["-u", key]);
        }
        if let Some(message) = &message {
            args.extend(["-m", message]);
        }
        if let Some(file) = &file {
            args.extend(["-F", file]);
        }
        args.push(tag);
        let failed = || format!("cannot make the tag '{}'", sanitize(tag));
        let hint =
            || "what was merged stays: say the same again, and it goes on with the tag".into();
        if message.is_some() || file.is_some() {
            return repo.git(&args).context(failed).hint(hint);
        }
        // An editor asks.
        match repo.git_here(&args)?.success() {
            true => Ok(()),
            false => Err(Error::new("git did not make it").context(failed()).hint(hint())),
        }
    }
}

/// Merge a version into master, tag it there, merge that into develop, and delete the branch
///
/// Prints the tag. What was begun from another branch than usual is merged into that one. If something
/// fails on the way, mend it and say the same again: what is done is not done again.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow release finish 1.2 -m 'Version 1.2' --push
      Release 1.2, and push master, develop and the tag.
  bk-flow hotfix finish -s
      Finish the hotfix that is checked out, and sign its tag.

Exit status:
  0   released
  1   there is a conflict, changes are not committed, or a hook said no
  2   the command line is wrong
")]
pub struct VersionFinish {
    /// The version; what is checked out if not given
    version: Option<String>,
    #[command(flatten)]
    tag: Tag,
    /// What the tag is called after its prefix, if not as the version
    #[arg(short = 'T', long, value_name = "NAME")]
    tagname: Option<String>,
    #[command(flatten)]
    on: Switches<On>,
    /// Change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Where a version goes.
struct Way {
    branch: String,
    /// What it is merged into.
    target: String,
    develop: String,
    /// Whether it began where its kind does.
    usual: bool,
    /// Whether develop gets it as well.
    back: bool,
    tag: Option<String>,
}

impl VersionFinish {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
        let mut repo = Repo::flow(session, show)?;
        let mut version = named(&repo, kind, self.version.as_deref())?;
        if kind == Kind::Release {
            version = hooks::filter(&repo, "release-finish-version", &[&version])?;
        }
        let version = resolved(&repo, kind, &version)?;
        let branch = format!("{}{version}", repo.prefix(kind)?);
        let (master, develop) = (repo.master(), repo.develop());
        let begins = if kind == Kind::Release { &develop } else { &master };
        let base = repo.base(&branch).unwrap_or_else(|| begins.clone());
        let usual = base == *begins;
        repo.require_local(&base)?;
        let tag = repo.tag(self.tagname.as_deref().unwrap_or(&version))?;
        let way = Way {
            branch,
            target: if usual && kind == Kind::Release { master } else { base },
            usual,
            back: usual && !self.on(&repo, kind, "nodevelopmerge"),
            develop,
            tag: (!self.on(&repo, kind, "notag")).then_some(tag.clone()),
        };
        let record = Branch::of(&way.branch).into(&way.target).tagged(way.tag.clone());
        if self.dry_run {
            return record.print(session);
        }
        self.check(&mut repo, kind, &way)?;
        let told = [tag.as_str(), &repo.origin(), &way.branch];
        hooks::run(&repo, "pre", kind, "finish", &told)?;
        self.release(&mut repo, kind, &way)?;
        hooks::run(&repo, "post", kind, "finish", &told)?;
        self.push(&repo, kind, &way)?;
        self.clean_up(&mut repo, kind, &way)?;
        record.print(session)
    }

    fn on(&self, repo: &Repo, kind: Kind, switch: &str) -> bool {
        self.on.on(repo, kind, "finish", switch)
    }

    /// Sees that nothing is in the way.
    fn check(&self, repo: &mut Repo, kind: Kind, way: &Way) -> Result<()> {
        repo.require(&way.branch)?;
        repo.require_clean()?;
        if repo.has_remote(&way.branch) {
            repo.fetch(&way.branch)?;
        }
        if self.on(repo, kind, "fetch") {
            repo.fetch(&way.target)?;
            if way.usual {
                repo.fetch(&way.develop)?;
            }
        }
        repo.require_local(&way.branch)?;
        repo.require_up_to_date(&way.branch)?;
        if self.on(repo, kind, "ff-master") && way.usual && repo.has_remote(&way.target) {
            let theirs = format!("{}/{}", repo.origin(), way.target);
            if repo.order(&way.target, &theirs)? == Order::Behind {
                repo.git(&["checkout", "--quiet", &way.target])?;
                repo.git(&["merge", "--quiet", "--ff-only", &theirs])?;
                repo.git(&["checkout", "--quiet", &way.branch])?;
                repo.look()?;
            }
        }
        repo.require_up_to_date(&way.target)?;
        if way.usual {
            repo.require_up_to_date(&way.develop)?;
        }
        if kind == Kind::Hotfix {
            if repo.ask(&["merge-base", &way.branch, &way.target]).is_err() {
                let (branch, target) = (&way.branch, &way.target);
                return Err(Error::new(format!(
                    "'{branch}' and '{target}' have no commit in common"
                )));
            }
            let tagged = way.tag.as_deref().is_some_and(|tag| repo.has_tag(tag));
            if !tagged && repo.order(&way.branch, &way.target)? == Order::Same {
                return Err(Error::new(format!("the hotfix '{}' has no commits", way.branch))
                    .hint(format!("to drop it: bk-flow hotfix delete {}", way.branch)));
            }
        }
        if let Some(tag) = way.tag.as_ref().filter(|tag| repo.has_tag(tag)) {
            // A tag of an earlier try is on a merge of the branch.
            let second = repo.ask(&["rev-parse", "--verify", "--quiet", &format!("{tag}^{{}}^2")]);
            let branch = repo.ask(&["rev-parse", "--verify", &format!("{}^{{}}", way.branch)])?;
            if !second.is_ok_and(|second| second == branch) {
                return Err(Error::new(format!(
                    "there is a tag '{}' already, of another commit",
                    sanitize(tag)
                ))
                .hint("say another with --tagname, or none with --notag"));
            }
        }
        Ok(())
    }

    /// Merges, tags and merges.
    fn release(&self, repo: &mut Repo, kind: Kind, way: &Way) -> Result<()> {
        let squash = self.on(repo, kind, "squash");
        let info = format!("Merged {} branch '{}'", kind.name(), way.branch);
        let info = self.on(repo, kind, "squash-info").then_some(info.as_str());
        let conflict = |error: Error, into: &str| {
            error.context(format!("cannot merge into '{}'", sanitize(into))).hint(format!(
                "mend it (git mergetool), git commit, then again: bk-flow {} finish",
                kind.name()
            ))
        };
        if !repo.is_merged(&way.branch, &way.target)? {
            repo.git(&["checkout", "--quiet", &way.target])?;
            merge(repo, &way.branch, &way.target, squash, info)
                .map_err(|error| conflict(error, &way.target))?;
            repo.look()?;
        }
        if let Some(tag) = way.tag.as_ref().filter(|tag| !repo.has_tag(tag)) {
            if repo.current() != Some(way.target.as_str()) {
                repo.git(&["checkout", "--quiet", &way.target])?;
                repo.look()?;
            }
            let filter = format!("{}-finish-tag-message", kind.name());
            let sign = self.on(repo, kind, "sign");
            self.tag.make(repo, kind, ("finish", &filter), tag, sign)?;
        }
        let whole = !self.on(repo, kind, "nobackmerge");
        let merged = if whole { &way.target } else { &way.branch };
        if way.back && !repo.is_merged(merged, &way.develop)? {
            repo.git(&["checkout", "--quiet", &way.develop])?;
            // With the tag, git-describe(1) knows in develop what was released.
            let commit = match &way.tag {
                Some(tag) if whole => tag,
                _ => merged,
            };
            let squash = squash && !whole && kind == Kind::Release;
            merge(repo, commit, &way.develop, squash, info)
                .map_err(|error| conflict(error, &way.develop))?;
        }
        repo.look()
    }

    fn push(&self, repo: &Repo, kind: Kind, way: &Way) -> Result<()> {
        let all = self.on(repo, kind, "push");
        let on = |name: &str| all || (kind == Kind::Release && self.on(repo, kind, name));
        let origin = repo.origin();
        let push = |what: &str| repo.git(&["push", "--quiet", &origin, what]);
        if way.usual && on("pushdevelop") {
            push(&way.develop)?;
        }
        // What is released into another branch is pushed by the word for develop.
        if on(if way.usual { "pushproduction" } else { "pushdevelop" }) {
            push(&way.target)?;
        }
        if way.tag.is_some() && on("pushtag") {
            push("--tags")?;
        }
        Ok(())
    }

    fn clean_up(&self, repo: &mut Repo, kind: Kind, way: &Way) -> Result<()> {
        let keep = self.on(repo, kind, "keep");
        if keep {
            return Ok(());
        }
        let keep_remote = self.on(repo, kind, "keepremote");
        let keep_local = self.on(repo, kind, "keeplocal");
        let to = if kind == Kind::Hotfix { &way.develop } else { &way.target };
        if keep_remote && keep_local {
            return Ok(());
        }
        clean_up(repo, kind, &way.branch, to, (keep_remote, keep_local))
    }
}
