//! A repository: its settings and branches, read at once, and git to change it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bk::{Cmd, Console, Context, Error, Result, Session, sanitize};

/// What branches are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the next release will have.
    Feature,
    /// What it will no longer have.
    Bugfix,
    /// A release that is prepared.
    Release,
    /// A release that cannot wait for develop.
    Hotfix,
    /// An old release that lives on.
    Support,
}

impl Kind {
    /// Its name, in commands and settings.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Feature => "feature",
            Kind::Bugfix => "bugfix",
            Kind::Release => "release",
            Kind::Hotfix => "hotfix",
            Kind::Support => "support",
        }
    }

    /// Whether its branches are called by versions, and tagged.
    pub fn is_version(self) -> bool {
        matches!(self, Kind::Release | Kind::Hotfix)
    }
}

/// How two commits are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They are the same.
    Same,
    /// The second has all that the first has, and more.
    Behind,
    /// The first has all that the second has, and more.
    Ahead,
    /// Each has what the other lacks.
    Apart,
}

/// A repository.
pub struct Repo {
    /// Its folder `.git`, or that of this work tree.
    pub git_dir: PathBuf,
    /// Settings, the later ones overrule: whose they are, key in small letters but for its middle, value.
    settings: Vec<(String, String, String)>,
    refs: BTreeMap<String, String>,
    head: Option<String>,
    /// Whether each change is told as it is made.
    show: bool,
    console: Console,
}

impl Repo {
    /// The one that the working directory is in.
    pub fn open(session: &Session, show: bool) -> Result<Self> {
        let ask = |args: &[&str]| Cmd::new("git", &session.console).args(args).output_unchecked();
        let dir = ask(&["rev-parse", "--absolute-git-dir"])?;
        if !dir.status.success() {
            return Err(Error::new("not a git repository").hint("bk-flow init begins one"));
        }
        let git_dir =
            String::from_utf8(dir.stdout).context(|| "cannot read where .git is".into())?;
        let mut repo = Repo {
            git_dir: PathBuf::from(git_dir.trim_end_matches('\n')),
            settings: Vec::new(),
            refs: BTreeMap::new(),
            head: None,
            show,
            console: session.console.clone(),
        };
        repo.read_settings()?;
        repo.show |= repo.flag("gitflow.showcommands").unwrap_or_default();
        repo.look()?;
        Ok(repo)
    }

    /// The same, where git-flow knows its branches.
    pub fn flow(session: &Session, show: bool) -> Result<Self> {
        let repo = Self::open(session, show)?;
        if !repo.is_initialized() {
            return Err(Error::new("this repository is not set up for git-flow")
                .hint("bk-flow init sets it up"));
        }
        Ok(repo)
    }

    /// Whether git-flow knows its branches.
    pub fn is_initialized(&self) -> bool {
        let (master, develop) =
            (self.get("gitflow.branch.master"), self.get("gitflow.branch.develop"));
        let there = |branch: Option<&str>| branch.is_some_and(|branch| self.has(branch));
        there(master)
            && there(develop)
            && master != develop
            && self.settings.iter().any(|(_, key, _)| key.starts_with("gitflow.prefix."))
    }

    /// Reads the settings again.
    pub fn read_settings(&mut self) -> Result<()> {
        let all = self.ask(&["config", "--list", "--null", "--show-scope"])?;
        let mut fields = all.split('\0');
        self.settings.clear();
        while let (Some(scope), Some(setting)) = (fields.next(), fields.next()) {
            let (key, value) = setting.split_once('\n').unwrap_or((setting, "true"));
            self.settings.push((scope.to_owned(), key.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    /// Looks at the branches and tags again.
    pub fn look(&mut self) -> Result<()> {
        let all = self.ask(&["for-each-ref", "--format=%(HEAD)%(refname) %(objectname)"])?;
        self.refs.clear();
        self.head = None;
        for line in all.lines() {
            let (mark, rest) = line.split_at_checked(1).unwrap_or_default();
            let (name, hash) = rest.split_once(' ').unwrap_or_default();
            if mark == "*" {
                self.head = name.strip_prefix("refs/heads/").map(str::to_owned);
            }
            self.refs.insert(name.to_owned(), hash.to_owned());
        }
        Ok(())
    }

    /// A setting.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(_, k, _)| k == key).map(|(_, _, value)| value.as_str())
    }

    /// A setting of this scope: `local`, `global` or `system`.
    pub fn get_of(&self, scope: &str, key: &str) -> Option<&str> {
        let all = self.settings.iter().rev();
        all.filter(|(s, ..)| s == scope)
            .find(|(_, k, _)| k == key)
            .map(|(_, _, value)| value.as_str())
    }

    /// A setting that is yes or no (git-config(1), "Values").
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" | "" => Some(false),
            _ => None,
        }
    }

    /// The branch of what is released.
    pub fn master(&self) -> String {
        self.get("gitflow.branch.master").unwrap_or("master").to_owned()
    }

    /// The branch of what will be.
    pub fn develop(&self) -> String {
        self.get("gitflow.branch.develop").unwrap_or("develop").to_owned()
    }

    /// The remote repository.
    pub fn origin(&self) -> String {
        self.get("gitflow.origin").unwrap_or("origin").to_owned()
    }

    /// How the branches of a kind begin.
    pub fn prefix(&self, kind: Kind) -> Result<String> {
        let key = format!("gitflow.prefix.{}", kind.name());
        self.get(&key).map(str::to_owned).ok_or_else(|| {
            Error::new(format!("it is not said how {} branches begin ({key})", kind.name()))
                .hint("bk-flow init asks for it")
        })
    }

    /// The tag of a version.
    pub fn tag(&self, version: &str) -> Result<String> {
        let prefix = self.get("gitflow.prefix.versiontag").ok_or_else(|| {
            Error::new("it is not said how tags begin (gitflow.prefix.versiontag)")
                .hint("bk-flow init asks for it")
        })?;
        Ok(format!("{prefix}{version}"))
    }

    /// The branch that is checked out.
    pub fn current(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// Local branches, in order.
    pub fn branches(&self) -> impl Iterator<Item = &str> {
        self.refs.keys().filter_map(|name| name.strip_prefix("refs/heads/"))
    }

    /// Whether a local branch is there.
    pub fn has(&self, branch: &str) -> bool {
        self.refs.contains_key(&format!("refs/heads/{branch}"))
    }

    /// Whether the remote repository has a branch, as far as is known here.
    pub fn has_remote(&self, branch: &str) -> bool {
        self.refs.contains_key(&format!("refs/remotes/{}/{branch}", self.origin()))
    }

    /// Whether a tag is there.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.refs.contains_key(&format!("refs/tags/{tag}"))
    }

    /// Refuses a branch that is not there, nor at the remote repository.
    pub fn require(&self, branch: &str) -> Result<()> {
        match self.has_remote(branch) {
            true => Ok(()),
            false => self.require_local(branch),
        }
    }

    /// Refuses a branch that is not here.
    pub fn require_local(&self, branch: &str) -> Result<()> {
        if self.has(branch) {
            return Ok(());
        }
        let error = Error::new(format!("there is no local branch '{}'", sanitize(branch)));
        if self.has_remote(branch) {
            return Err(error.hint(format!("git checkout {branch} makes one of the remote's")));
        }
        let near = bk::nearest(branch, self.branches());
        Err(match near.as_slice() {
            [] => error,
            near => error.hint(format!("there is {}", near.join(", "))),
        })
    }

    /// Refuses a branch that is here or at the remote repository, and one whose name would be a folder of
    /// one that is here, or the other way round.
    pub fn require_absent(&self, branch: &str) -> Result<()> {
        let within = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
        let in_the_way =
            |name: &&str| *name == branch || within(name, branch) || within(branch, name);
        let there = self.branches().find(in_the_way);
        let Some(there) = there.or_else(|| self.has_remote(branch).then_some(branch)) else {
            return Ok(());
        };
        Err(Error::new(format!("there is a branch '{}' already", sanitize(there)))
            .hint("take another name, or delete that one"))
    }

    /// Refuses to go on with changes that are not committed.
    pub fn require_clean(&self) -> Result<()> {
        let dirty =
            |what: &str| Error::new(what).hint("commit them, or put them aside with git stash");
        let status = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules"];
        for line in self.ask(&status)?.lines() {
            let mut marks = line.chars();
            let (staged, changed) = (marks.next(), marks.next());
            if changed != Some(' ') {
                return Err(dirty("the work tree has changes that are not staged"));
            }
            if staged != Some(' ') {
                return Err(dirty("the index has changes that are not committed"));
            }
        }
        Ok(())
    }

    /// What a branch was begun from, if that is known.
    pub fn base(&self, branch: &str) -> Option<String> {
        self.get_of("local", &format!("gitflow.branch.{branch}.base")).map(str::to_owned)
    }

    /// Notes what a branch was begun from.
    pub fn set_base(&self, branch: &str, base: &str) -> Result<()> {
        self.git(&["config", "--local", &format!("gitflow.branch.{branch}.base"), base])
    }

    /// Forgets what a branch was begun from.
    pub fn forget_base(&self, branch: &str) -> Result<()> {
        match self.base(branch) {
            Some(_) => {
                let section = format!("gitflow.branch.{branch}");
                self.git(&["config", "--local", "--remove-section", &section])
            }
            None => Ok(()),
        }
    }

    /// Whether all that `a` has is in `b`.
    pub fn is_merged(&self, a: &str, b: &str) -> Result<bool> {
        let hash = |name: &str| self.refs.get(&format!("refs/heads/{name}"));
        if hash(a).is_some() && hash(a) == hash(b) {
            return Ok(true);
        }
        let args = ["merge-base", "--is-ancestor", a, b];
        let asked = self.run(&args)?;
        match asked.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(self.failed(&args, &asked)),
        }
    }

    /// How two commits are related.
    pub fn order(&self, a: &str, b: &str) -> Result<Order> {
        let both = format!("{a}...{b}");
        let counts = self.ask(&["rev-list", "--left-right", "--count", &both, "--"])?;
        Ok(match counts.trim().split_once('\t') {
            Some(("0", "0")) | None => Order::Same,
            Some(("0", _)) => Order::Behind,
            Some((_, "0")) => Order::Ahead,
            Some(_) => Order::Apart,
        })
    }

    /// Refuses a branch that has not all that the remote repository's has.
    pub fn require_up_to_date(&self, branch: &str) -> Result<()> {
        if !self.has_remote(branch) {
            return Ok(());
        }
        self.require_local(branch)?;
        let theirs = format!("{}/{branch}", self.origin());
        let wrong = |what: &str, hint: String| {
            let (ours, theirs) = (sanitize(branch), sanitize(&theirs));
            Err(Error::new(format!("the branches '{ours}' and '{theirs}' {what}")).hint(hint))
        };
        match self.order(branch, &theirs)? {
            Order::Same => Ok(()),
            Order::Ahead => {
                self.console.warn(&format!("'{branch}' is ahead of '{theirs}'"));
                Ok(())
            }
            Order::Behind => wrong(
                "have diverged: the second has more",
                format!("git checkout {branch} && git merge --ff-only {theirs}"),
            ),
            Order::Apart => {
                wrong("have diverged", format!("merge '{theirs}' into '{branch}' first"))
            }
        }
    }

    /// Fetches a branch. Says whether the remote repository still has it: one that was deleted there, as
    /// after a merge in its web pages, is forgotten here.
    pub fn fetch(&mut self, branch: &str) -> Result<bool> {
        let origin = self.origin();
        if !self.has_remote(branch) {
            self.console.warn(&format!("'{origin}' has no branch '{branch}' that is known here"));
            return Ok(false);
        }
        let args = ["fetch", "--quiet", &origin, branch];
        self.tell(&args);
        let fetched = self.run(&args)?;
        if fetched.status.success() {
            self.look()?;
            return Ok(true);
        }
        let name = format!("refs/heads/{branch}");
        let asked = self.run(&["ls-remote", "--exit-code", &origin, &name])?;
        // git-ls-remote(1): 2 where no such reference is there.
        if asked.status.code() != Some(2) {
            return Err(self.failed(&args, &fetched).context(format!("cannot fetch '{branch}'")));
        }
        self.console.warn(&format!("'{branch}' is no longer in '{origin}'"));
        self.git(&["update-ref", "-d", &format!("refs/remotes/{origin}/{branch}")])?;
        self.look()?;
        Ok(false)
    }

    /// What git says.
    pub fn ask(&self, args: &[&str]) -> Result<String> {
        let asked = self.run(args)?;
        match asked.status.success() {
            true => String::from_utf8(asked.stdout)
                .context(|| format!("cannot read git {}", args.join(" "))),
            false => Err(self.failed(args, &asked)),
        }
    }

    /// Changes something.
    pub fn git(&self, args: &[&str]) -> Result<()> {
        self.tell(args);
        let ran = self.run(args)?;
        match ran.status.success() {
            true => Ok(()),
            false => Err(self.failed(args, &ran)),
        }
    }

    /// Runs git where a person may be asked, or reads what it shows.
    pub fn git_here(&self, args: &[&str]) -> Result<std::process::ExitStatus> {
        self.tell(args);
        let mut command = self.command(args);
        command.stdin(Stdio::inherit());
        command.status().context(|| "cannot run git".into())
    }

    /// Says what is run, if that was asked for.
    fn tell(&self, args: &[&str]) {
        if self.show {
            self.console.note(&format!("git {}", args.join(" ")));
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Result<Output> {
        self.console.info(&format!("+ git {}", args.join(" ")));
        let mut command = self.command(args);
        // Nobody is asked for the words of a merge: with these, git takes its own.
        command.env("GIT_MERGE_AUTOEDIT", "no").stdin(Stdio::null());
        command.output().context(|| "cannot run git".into()).hint(|| "install git".into())
    }

    fn failed(&self, args: &[&str], output: &Output) -> Error {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        // A merge says on its stdout where it is in conflict.
        let said = [text(&output.stdout), text(&output.stderr)];
        let said: Vec<&str> = said.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
        let what = format!("git {} failed: {}", args.join(" "), output.status);
        match said.as_slice() {
            [] => Error::new(what),
            said => Error::new(said.join("\n")).context(what),
        }
    }

    /// What people are told.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Where it is checked out.
    pub fn top(&self) -> Option<PathBuf> {
        self.ask(&["rev-parse", "--show-toplevel"]).ok().map(|top| PathBuf::from(top.trim_end()))
    }

    /// Where hooks are.
    pub fn hooks(&self) -> PathBuf {
        self.get("gitflow.path.hooks").map_or_else(|| self.git_dir.join("hooks"), PathBuf::from)
    }

    /// The note of a merge that waits for a person: the branch that is merged into.
    pub fn merge_note(&self) -> PathBuf {
        self.git_dir.join(".gitflow/MERGE_BASE")
    }
}

/// Whether a file is there that can be run.
pub fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A name given, or what the current branch is called after its prefix.
pub fn named(repo: &Repo, kind: Kind, name: Option<&str>) -> Result<String> {
    let prefix = repo.prefix(kind)?;
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        let current = repo.current().and_then(|branch| branch.strip_prefix(prefix.as_str()));
        return current.map(str::to_owned).ok_or_else(|| {
            Error::new(format!("this is no {} branch", kind.name()))
                .hint(format!("say which: bk-flow {} … NAME", kind.name()))
        });
    };
    Ok(name.to_owned())
}

/// The name of a branch by its beginning, if no other begins so.
pub fn resolved(repo: &Repo, kind: Kind, name: &str) -> Result<String> {
    let prefix = repo.prefix(kind)?;
    let whole = format!("{prefix}{name}");
    if repo.has(&whole) || repo.has_remote(&whole) {
        return Ok(name.to_owned());
    }
    let all: Vec<&str> = repo.branches().filter(|branch| branch.starts_with(&whole)).collect();
    match all.as_slice() {
        [] => repo.require(&whole).map(|()| name.to_owned()),
        [one] => Ok(one[prefix.len()..].to_owned()),
        all => Err(Error::new(format!("several branches begin with '{}'", sanitize(&whole)))
            .hint(format!("there are {}", all.join(", ")))),
    }
}
