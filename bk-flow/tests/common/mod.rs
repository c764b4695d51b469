//! What the tests share: the same repository twice, for bk-flow and for git-flow AVH.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

#[path = "../../../tests/common/ran.rs"]
mod ran;

use std::path::PathBuf;
use std::process::Command;

pub use ran::Ran;

/// Who works on a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Ours,
    Avh,
}

/// A folder with a repository and its remote one for each, gone after the test.
pub struct World(tempfile::TempDir);

impl World {
    /// Two empty folders.
    pub fn empty() -> Self {
        let world = World(tempfile::tempdir().unwrap());
        for who in [Who::Ours, Who::Avh] {
            bk::file::create_dir(&world.dir(who)).unwrap();
        }
        world
    }

    /// Two repositories with a commit, set up for git-flow by git-flow itself, and a remote one for each.
    pub fn new() -> Self {
        let world = World::empty();
        for who in [Who::Ours, Who::Avh] {
            let git = |args: &[&str]| world.git(who, args).ok();
            git(&["init", "-q", "-b", "master"]);
            world.commit(who, "README", "first\n");
            git(&["flow", "init", "-d"]);
            git(&["config", "gitflow.path.hooks", ".git/hooks"]);
            // Without it, AVH puts the tag after the words.
            for kind in ["release-finish", "release-branch", "hotfix-finish"] {
                let filter = format!(".git/hooks/filter-flow-{kind}-tag-message");
                world.script(who, &filter, "printf %s \"$1\"");
            }
            let remote = world.remote(who);
            git(&["init", "-q", "--bare", remote.to_str().unwrap()]);
            git(&["remote", "add", "origin", "../../remote"]);
            let at = format!("../{}", remote.file_name().unwrap().to_str().unwrap());
            git(&["remote", "set-url", "origin", &at]);
            git(&["push", "-q", "origin", "master", "develop"]);
        }
        world
    }

    pub fn dir(&self, who: Who) -> PathBuf {
        self.0.path().join(if who == Who::Ours { "ours" } else { "avhs" })
    }

    /// The remote repository.
    pub fn remote(&self, who: Who) -> PathBuf {
        self.0.path().join(if who == Who::Ours { "ours.git" } else { "avhs.git" })
    }

    fn command(&self, who: Who, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir(who)).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.0.path());
        // The same commits at the same time have the same hashes.
        for (name, value) in [
            ("GIT_AUTHOR_DATE", "@1000000000 +0000"),
            ("GIT_COMMITTER_DATE", "@1000000000 +0000"),
            ("GIT_AUTHOR_NAME", "Jane"),
            ("GIT_COMMITTER_NAME", "Jane"),
            ("GIT_AUTHOR_EMAIL", "jane@example.com"),
            ("GIT_COMMITTER_EMAIL", "jane@example.com"),
            ("GIT_EDITOR", "true"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("LC_ALL", "C.UTF-8"),
        ] {
            command.env(name, value);
        }
        command
    }

    pub fn run(&self, mut command: Command) -> Ran {
        Ran::new(command.stdin(std::process::Stdio::null()).output().unwrap())
    }

    pub fn git(&self, who: Who, args: &[&str]) -> Ran {
        self.run(self.command(who, "git", args))
    }

    pub fn flow(&self, who: Who, args: &[&str]) -> Ran {
        match who {
            Who::Ours => self.run(self.command(who, env!("CARGO_BIN_EXE_bk-flow"), args)),
            Who::Avh => self.git(who, &[&["flow"], args].concat()),
        }
    }

    /// The same with answers to what it asks.
    pub fn asked(&self, who: Who, args: &[&str], answers: &str) -> Ran {
        use std::io::Write;
        let (program, args) = match who {
            Who::Ours => (env!("CARGO_BIN_EXE_bk-flow"), args.to_vec()),
            Who::Avh => ("git", [&["flow"], args].concat()),
        };
        let mut command = self.command(who, program, &args);
        let piped = std::process::Stdio::piped;
        command.stdin(piped()).stdout(piped()).stderr(piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
        Ran::new(child.wait_with_output().unwrap())
    }

    pub fn write(&self, who: Who, file: &str, text: &str) {
        bk::file::write(&self.dir(who).join(file), text).unwrap();
    }

    pub fn script(&self, who: Who, file: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(who, file, &format!("#!/bin/sh\n{text}\n"));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.dir(who).join(file), mode).unwrap();
    }

    pub fn commit(&self, who: Who, file: &str, text: &str) {
        self.write(who, file, text);
        self.git(who, &["add", file]).ok();
        self.git(who, &["commit", "-q", "-m", &format!("change {file} to {}", text.trim())]).ok();
    }

    /// All that a command may leave: branches and tags with their hashes here and at the remote
    /// repository, what is checked out and its state, and git-flow's settings.
    pub fn state(&self, who: Who) -> Vec<String> {
        let refs =
            self.git(who, &["for-each-ref", "--format=%(HEAD) %(refname) %(objectname)"]).stdout;
        let remote = self.remote(who);
        let theirs = match remote.exists() {
            true => self.git(who, &["ls-remote", "origin"]).stdout,
            false => String::new(),
        };
        let status = self.git(who, &["status", "--porcelain", "--branch"]).stdout;
        let settings = self.git(who, &["config", "--local", "--get-regexp", "^gitflow|^branch"]);
        let mut settings: Vec<&str> = settings.stdout.lines().collect();
        settings.sort_unstable();
        let hook = std::fs::read_to_string(self.dir(who).join("hooked")).unwrap_or_default();
        let own = self.dir(who).to_str().unwrap().to_owned();
        [refs, theirs, status, settings.join("\n"), hook]
            .map(|text| text.replace(&own, "HERE"))
            .to_vec()
    }

    /// Runs a command for both: it does the same, to the hash of each commit.
    #[track_caller]
    pub fn both(&self, args: &[&str]) -> (Ran, Ran) {
        let avh = self.flow(Who::Avh, args);
        let ours = self.flow(Who::Ours, args);
        let words =
            format!("\nours: {}{}\nAVH: {}{}", ours.stdout, ours.stderr, avh.stdout, avh.stderr);
        // AVH lets some of git's own statuses through.
        assert_eq!(ours.code != 0, avh.code != 0, "{args:?}: {} {}{words}", ours.code, avh.code);
        let (left, right) = (self.state(Who::Ours), self.state(Who::Avh));
        assert_eq!(left, right, "{args:?}{words}");
        (ours, avh)
    }

    /// Does something for both, without git-flow.
    pub fn each(&self, what: impl Fn(Who)) {
        what(Who::Ours);
        what(Who::Avh);
    }
}
