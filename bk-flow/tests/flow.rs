//! What bk-flow does where users of git-flow AVH ask for something else, and the commands it has beside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Ran, Who, World};

fn flow(world: &World, args: &[&str]) -> Ran {
    world.flow(Who::Ours, args)
}

fn git(world: &World, args: &[&str]) -> String {
    world.git(Who::Ours, args).ok()
}

/// Web pages of forges delete a branch that was merged there: that is no reason not to finish it here.
#[test]
fn a_branch_that_is_gone_from_the_remote_can_be_finished() {
    let world = World::new();
    flow(&world, &["feature", "start", "one"]).ok();
    world.commit(Who::Ours, "one", "x\n");
    flow(&world, &["feature", "publish"]).ok();
    let remote = world.remote(Who::Ours);
    git(&world, &["-C", remote.to_str().unwrap(), "branch", "-D", "feature/one"]);
    let said = flow(&world, &["feature", "finish"]).code(0).says("no longer in 'origin'");
    assert_eq!(said.stdout, "develop\n");
    let left = git(&world, &["for-each-ref", "--format=%(refname)"]);
    assert!(!left.contains("one"), "{left}");
    // A remote repository that cannot be reached is another matter.
    flow(&world, &["feature", "start", "two"]).ok();
    world.commit(Who::Ours, "two", "x\n");
    flow(&world, &["feature", "publish"]).ok();
    std::fs::rename(&remote, remote.with_extension("away")).unwrap();
    flow(&world, &["feature", "finish"]).code(1).says("cannot fetch 'feature/two'");
    assert!(git(&world, &["branch"]).contains("feature/two"));
}

/// Where nobody can be asked, a tag says what it is called; the words are those that were given.
#[test]
fn a_tag_needs_no_editor() {
    let world = World::new();
    git(&world, &["config", "gitflow.prefix.versiontag", "v"]);
    std::fs::remove_dir_all(world.dir(Who::Ours).join(".git/hooks")).unwrap();
    let words = |tag: &str| git(&world, &["tag", "-l", "--format=%(contents:subject)", tag]);
    flow(&world, &["release", "start", "1"]).ok();
    world.commit(Who::Ours, "one", "x\n");
    assert_eq!(flow(&world, &["release", "finish"]).ok(), "v1\n");
    assert_eq!(words("v1"), "v1\n");
    flow(&world, &["release", "start", "2"]).ok();
    world.commit(Who::Ours, "one", "y\n");
    let json = flow(&world, &["release", "finish", "-m", "It's \"2\" $HOME", "--json"]).ok();
    assert_eq!(
        json,
        "{\"type\":\"branch\",\"name\":\"release/2\",\"into\":\"master\",\"tag\":\"v2\"}\n"
    );
    assert_eq!(words("v2"), "It's \"2\" $HOME\n");
    // git-describe(1) knows in develop what was released.
    assert_eq!(git(&world, &["describe", "--abbrev=0", "develop"]), "v2\n");
    world.write(Who::Ours, "words.txt", "From a file\n");
    git(&world, &["add", "."]);
    git(&world, &["commit", "-q", "-m", "words"]);
    flow(&world, &["hotfix", "start", "2.1"]).ok();
    flow(&world, &["hotfix", "finish"]).code(1).says("has no commits");
    world.commit(Who::Ours, "fix", "x\n");
    git(&world, &["checkout", "-q", "develop", "--", "words.txt"]);
    git(&world, &["commit", "-q", "-m", "words"]);
    flow(&world, &["hotfix", "finish", "-f", "words.txt", "-m", "x"]).code(2);
    flow(&world, &["hotfix", "finish", "-f", "words.txt", "-S"]).ok();
    assert_eq!(words("v2.1"), "From a file\n");
    // AVH leaves the branch of a hotfix that was squashed.
    assert!(!git(&world, &["branch"]).contains("hotfix"));
}

/// Nothing is half done where it can be seen before.
#[test]
fn what_cannot_be_done_changes_nothing() {
    let world = World::new();
    flow(&world, &["feature", "start", "one"]).ok();
    world.commit(Who::Ours, "one", "x\n");
    let before = world.state(Who::Ours);
    for (args, code, why) in [
        (&["feature", "delete", "one"][..], 1, "--force"),
        (&["feature", "delete", "on"], 1, "feature/one"),
        (&["feature", "start", "a b"], 1, "a b"),
        (&["feature", "start", "x..y"], 1, "x..y"),
        (&["feature", "start"], 2, "NAME"),
        (&["feature", "start", "one"], 1, "already"),
        (&["feature", "start", "one/two"], 1, "feature/one"),
        (&["feature", "start", "two", "develo"], 1, "develo"),
        (&["support", "start", "1.x"], 2, "begins from a commit"),
        (&["release", "finish"], 1, "no release branch"),
        (&["release", "finish", "9"], 1, "release/9"),
        (&["feature", "finish", "--sign"], 2, "--sign"),
        (&["feature", "track", "none"], 1, "has no branch"),
        (&["feature", "finish", "one", "--dry-run"], 0, "develop"),
        (&["feature", "rename", "two", "--dry-run"], 0, "feature/two"),
        (&["feature", "delete", "-f", "one", "--dry-run"], 0, "feature/one"),
        (&["release", "start", "1", "--dry-run"], 0, "release/1"),
        (&["feature", "nothing"], 2, "unrecognized subcommand"),
    ] {
        flow(&world, args).code(code).says(why);
        assert_eq!(world.state(Who::Ours), before, "{args:?}");
    }
    let world = World::empty();
    flow(&world, &["feature", "list"]).code(1).says("not a git repository");
    git(&world, &["init", "-q"]);
    flow(&world, &["feature", "list"]).code(1).says("bk-flow init");
}

#[test]
fn what_there_is_is_shown() {
    let world = World::new();
    assert_eq!(flow(&world, &["feature"]).code(0).says("bk-flow feature start").stdout, "");
    for name in ["one", "other"] {
        flow(&world, &["feature", "start", name]).ok();
    }
    world.commit(Who::Ours, "one", "x\n");
    // As AVH shows it.
    world.flow(Who::Avh, &["feature", "start", "one"]).ok();
    world.flow(Who::Avh, &["feature", "start", "other"]).ok();
    world.commit(Who::Avh, "one", "x\n");
    for args in [&["feature"][..], &["feature", "list"], &["feature", "list", "-v"]] {
        assert_eq!(flow(&world, args).ok(), world.flow(Who::Avh, args).ok(), "{args:?}");
    }
    let json = flow(&world, &["feature", "--json"]).ok();
    let first =
        "{\"type\":\"branch\",\"name\":\"feature/one\",\"short\":\"one\",\"current\":false}";
    assert_eq!(json.lines().next(), Some(first));
    let diff = flow(&world, &["feature", "diff"]).ok();
    assert_eq!(diff, world.flow(Who::Avh, &["feature", "diff"]).ok());
    assert!(diff.contains("+x"));
    assert_eq!(flow(&world, &["log", "--format=%s"]).ok(), "change one to x\n");
    let settings = flow(&world, &["config"]).ok();
    let theirs = world.flow(Who::Avh, &["config", "list"]).ok();
    let theirs: String = theirs.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let ours: String = settings.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    assert_eq!(ours, theirs);
    assert_eq!(flow(&world, &["config", "base", "feature/one"]).ok(), "feature/one: develop\n");
    // Each change is shown, and nothing that is only asked.
    let said = flow(&world, &["feature", "finish", "--showcommands"]).code(0).stderr;
    let told: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("bk-flow: git ")).collect();
    assert_eq!(told.first(), Some(&"checkout --quiet develop"), "{said}");
    assert!(told.contains(&"merge --ff feature/other"), "{said}");
}

/// In a work tree beside, the branches are the same.
#[test]
fn work_trees_share_it() {
    let world = World::new();
    git(&world, &["worktree", "add", "-q", "../beside", "-b", "feature/beside", "develop"]);
    let dir = world.dir(Who::Ours).join("../beside");
    let git_in = |args: &[&str]| git(&world, &[&["-C", dir.to_str().unwrap()], args].concat());
    git_in(&["commit", "-q", "--allow-empty", "-m", "x"]);
    // develop is checked out elsewhere: git says where.
    let listed = flow(&world, &["feature", "list"]).ok();
    assert_eq!(listed, "  beside\n");
    git(&world, &["checkout", "-q", "develop"]);
    flow(&world, &["feature", "finish", "beside"]).code(1).says("beside");
}

/// `git flow` runs this program once it is installed, and no longer once it is taken away.
#[test]
fn git_runs_it() {
    let world = World::new();
    let bin = world.dir(Who::Ours).join("../bin");
    let link = bin.join("git-flow");
    let dir = bin.to_str().unwrap();
    let said = flow(&world, &["install", "--dir", dir]).code(0).says("comes first");
    assert_eq!(said.stdout.trim(), link.to_str().unwrap());
    let version = || {
        let path = format!("{dir}:{}", std::env::var("PATH").unwrap());
        let mut command = std::process::Command::new("git");
        command.args(["flow", "version"]).env("PATH", path).current_dir(world.dir(Who::Ours));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(version().contains("BuildKit"), "{}", version());
    flow(&world, &["install", "--dir", dir]).ok();
    flow(&world, &["install", "--dir", dir, "--remove"]).ok();
    assert!(version().contains("AVH"), "{}", version());
    bk::file::write(&link, "somebody's").unwrap();
    flow(&world, &["install", "--dir", dir]).code(1).says("--force");
    assert_eq!(std::fs::read_to_string(&link).unwrap(), "somebody's");
}
