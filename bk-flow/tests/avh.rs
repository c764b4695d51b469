//! What commands leave, beside git-flow AVH: the same branches, tags, commits to their hashes, settings
//! and calls of hooks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Who, World};

#[test]
fn features_and_bugfixes() {
    for kind in ["feature", "bugfix"] {
        let world = World::new();
        let (ours, avh) = world.both(&[kind, "start", "one"]);
        assert_eq!(ours.stdout, format!("{kind}/one\n"));
        assert!(avh.stdout.contains(&format!("{kind}/one")));
        world.both(&[kind, "start", "one"]).0.code(1);
        world.both(&[kind, "finish"]);
        // One commit goes on top, two are merged, and one may be.
        for (name, commits, options) in [
            ("single", 1, &[][..]),
            ("double", 2, &[]),
            ("wanted", 1, &["--no-ff"]),
            ("kept", 1, &["-k"]),
            ("squashed", 3, &["-S"]),
            ("told", 2, &["-S", "--squash-info"]),
            ("rebased", 2, &["-r"]),
        ] {
            world.both(&[kind, "start", name]);
            for number in 0..commits {
                world.each(|who| world.commit(who, &format!("{name}{number}"), "x\n"));
            }
            if name == "rebased" {
                world.each(|who| {
                    world.git(who, &["checkout", "-q", "develop"]).ok();
                    world.commit(who, "meanwhile", "x\n");
                    world.git(who, &["checkout", "-q", &format!("{kind}/{name}")]).ok();
                });
            }
            world.both(&[&[kind, "finish"], options, &[name]].concat()).0.ok();
        }
        world.both(&[kind, "list"]);
        world.both(&[kind, "checkout", "ke"]).0.ok();
        world.both(&[kind, "rename", "renamed"]).0.ok();
        world.both(&[kind, "delete", "renamed"]).0.ok();
        world.both(&[kind, "start", "based", "master"]).0.ok();
        world.both(&[kind, "start", "unbased", "nowhere"]).0.code(1);
        world.each(|who| world.commit(who, "based", "x\n"));
        // AVH has left it by then.
        world.flow(Who::Ours, &[kind, "delete", "based"]).code(1).says("is not merged");
        world.both(&["finish"]).0.ok();
        world.both(&[kind, "start", "dropped"]).0.ok();
        world.each(|who| world.commit(who, "dropped", "x\n"));
        world.each(|who| {
            world.git(who, &["checkout", "-q", "develop"]).ok();
        });
        world.both(&[kind, "delete", "dropped"]).0.code(1);
        world.both(&[kind, "delete", "-f", "dropped"]).0.ok();
    }
}

#[test]
fn what_others_see() {
    let world = World::new();
    world.both(&["feature", "start", "shared"]);
    world.each(|who| world.commit(who, "shared", "x\n"));
    world.both(&["feature", "publish"]).0.ok();
    world.both(&["feature", "publish"]).0.ok();
    // Somebody else, who goes on with it.
    world.each(|who| {
        let dir = format!("../other-{who:?}");
        world.git(who, &["clone", "-q", world.remote(who).to_str().unwrap(), &dir]).ok();
        world.git(who, &["-C", &dir, "checkout", "-q", "feature/shared"]).ok();
        world.git(who, &["-C", &dir, "commit", "-q", "--allow-empty", "-m", "theirs"]).ok();
        world.git(who, &["-C", &dir, "push", "-q"]).ok();
    });
    world.both(&["feature", "finish", "shared"]).0.code(1).says("diverged");
    world.both(&["feature", "pull", "origin", "shared"]).0.ok();
    world.both(&["feature", "finish", "--push", "shared"]).0.ok();
    world.both(&["feature", "start", "-F", "next"]).0.ok();
    world.each(|who| {
        let dir = format!("../other-{who:?}");
        world.git(who, &["-C", &dir, "checkout", "-q", "-b", "feature/theirs"]).ok();
        world.git(who, &["-C", &dir, "push", "-q", "origin", "feature/theirs"]).ok();
    });
    world.both(&["feature", "track", "theirs"]).0.ok();
    world.both(&["feature", "track", "nobodys"]).0.code(1);
    world.both(&["feature", "delete", "-r", "-f", "theirs"]).0.ok();
    world.both(&["feature", "finish", "--keepremote", "next"]).0.ok();
}

#[test]
fn releases() {
    for (options, prefix) in [
        (&["-m", "it is 1.0"][..], ""),
        (&["-m", "one"], "v"),
        (&["-n"], ""),
        (&["-b", "-m", "x"], ""),
        (&["-S", "-m", "x"], ""),
        (&["-k", "-m", "x"], ""),
        (&["-m", "x", "-T", "named"], "r-"),
        (&["-p", "-m", "x"], ""),
        (&["--pushtag", "-m", "x"], ""),
        (&["--nodevelopmerge", "-m", "x"], ""),
        (&["-m", "x", "--keepremote"], ""),
        (&["-F", "-m", "x"], ""),
    ] {
        let world = World::new();
        world.each(|who| {
            world.git(who, &["config", "gitflow.prefix.versiontag", prefix]).ok();
            world.git(who, &["checkout", "-q", "develop"]).ok();
            world.commit(who, "new", "x\n");
            world.git(who, &["push", "-q", "origin", "develop"]).ok();
        });
        world.both(&["release", "start", "1.0"]).0.ok();
        world.both(&["release", "start", "2.0"]).0.code(1);
        world.each(|who| world.commit(who, "version", "1.0\n"));
        world.both(&["release", "publish"]).0.ok();
        let finish = [&["release", "finish"], options, &["1.0"]].concat();
        world.both(&finish).0.ok();
        world.both(&["release", "start", "1.0"]);
        world.both(&["release", "list"]);
    }
    // From another branch, and without one of its own.
    let world = World::new();
    world.each(|who| world.git(who, &["branch", "maintained"]).ok().clear());
    world.both(&["release", "start", "1.1", "maintained"]).0.ok();
    world.each(|who| world.commit(who, "version", "1.1\n"));
    world.both(&["release", "finish", "-m", "x"]).0.ok();
    world.each(|who| {
        world.git(who, &["checkout", "-q", "develop"]).ok();
        world.commit(who, "new", "x\n");
    });
    world.both(&["release", "branch", "1.2", "-m", "x"]).0.ok();
    world.both(&["release", "branch", "1.3", "master"]).0.code(1);
    world.both(&["release", "start", "1.4"]).0.ok();
    world.both(&["release", "delete", "1.4"]);
    world.both(&["release", "start", "1.5"]).0.ok();
    world.each(|who| world.commit(who, "version", "1.5\n"));
    world.each(|who| {
        world.git(who, &["checkout", "-q", "develop"]).ok();
    });
    world.both(&["release", "delete", "1.5"]).0.code(1);
    world.both(&["release", "delete", "-f", "1.5"]).0.ok();
}

#[test]
fn hotfixes_and_support() {
    for options in [
        &["-m", "x"][..],
        &["-n"],
        &["-b", "-m", "x"],
        &["-k", "-m", "x"],
        &["-p", "-m", "x"],
        &["-F", "-m", "x"],
    ] {
        let world = World::new();
        world.each(|who| {
            world.git(who, &["checkout", "-q", "develop"]).ok();
            world.commit(who, "new", "x\n");
            world.git(who, &["push", "-q", "origin", "develop"]).ok();
        });
        world.both(&["hotfix", "start", "1.0.1"]).0.ok();
        world.both(&["hotfix", "start", "1.0.2"]).0.code(1);
        world.each(|who| world.commit(who, "fix", "x\n"));
        world.both(&["hotfix", "publish"]).0.ok();
        world.both(&[&["hotfix", "finish"], options].concat()).0.ok();
        world.both(&["support", "start", "1.x", "master"]).0.ok();
        world.both(&["support", "start", "2.x", "develop"]).0.code(1);
        world.both(&["hotfix", "start", "1.0.3", "support/1.x"]);
    }
    let world = World::new();
    world.each(|who| {
        world.git(who, &["config", "gitflow.multi-hotfix", "true"]).ok();
    });
    for name in ["1", "2"] {
        world.both(&["hotfix", "start", name]).0.ok();
        world.each(|who| world.commit(who, &format!("fix{name}"), "x\n"));
    }
    world.both(&["hotfix", "rename", "3", "2"]).0.ok();
    world.each(|who| {
        world.git(who, &["checkout", "-q", "master"]).ok();
    });
    world.both(&["hotfix", "delete", "3"]).0.code(1);
    world.both(&["hotfix", "finish", "-m", "x", "3"]).0.ok();
    world.both(&["hotfix", "finish", "-m", "x", "1"]).0.ok();
}

/// A conflict is a person's; who says the same again goes on.
#[test]
fn conflicts() {
    let world = World::new();
    world.both(&["feature", "start", "mine"]).0.ok();
    world.each(|who| {
        world.commit(who, "README", "mine\n");
        world.commit(who, "more", "x\n");
        world.git(who, &["checkout", "-q", "develop"]).ok();
        world.commit(who, "README", "theirs\n");
    });
    world.both(&["feature", "finish", "mine"]).0.code(1);
    world.both(&["feature", "finish", "mine"]).0.code(1);
    world.each(|who| world.commit(who, "README", "both\n"));
    world.both(&["feature", "finish", "mine"]).0.ok();

    for kind in ["release", "hotfix"] {
        let world = World::new();
        world.both(&[kind, "start", "1.0"]).0.ok();
        world.each(|who| {
            world.commit(who, "README", "mine\n");
            world.git(who, &["checkout", "-q", "develop"]).ok();
            world.commit(who, "README", "theirs\n");
        });
        // It is in master by then, and tagged.
        world.both(&[kind, "finish", "-m", "x", "1.0"]).0.code(1);
        world.both(&[kind, "finish", "-m", "x", "1.0"]).0.code(1);
        world.each(|who| world.commit(who, "README", "both\n"));
        world.both(&[kind, "finish", "-m", "x", "1.0"]).0.ok();
    }
}

/// Hooks run, with what they are told, and may say no; filters decide what a version is.
#[test]
fn hooks_and_filters() {
    let world = World::new();
    world.each(|who| {
        for kind in ["feature", "release", "hotfix"] {
            for action in ["start", "finish", "publish", "delete", "track"] {
                for when in ["pre", "post"] {
                    let name = format!(".git/hooks/{when}-flow-{kind}-{action}");
                    let text = format!(
                        "echo {when} {kind} {action} \"$@\" $MASTER_BRANCH $ORIGIN >> hooked\n\
                         [ \"$1\" != no ]"
                    );
                    world.script(who, &name, &text);
                }
            }
        }
        for (name, text) in [
            ("release-start-version", "echo $1.0"),
            ("release-finish-tag-message", "echo \"$1 of $2\""),
            ("hotfix-start-version", "[ $1 != stop ] || exit 127; echo $1"),
        ] {
            world.script(who, &format!(".git/hooks/filter-flow-{name}"), text);
        }
        world.git(who, &["checkout", "-q", "develop"]).ok();
    });
    world.both(&["feature", "start", "no"]).0.code(1).says("says no");
    world.both(&["feature", "start", "yes"]).0.ok();
    world.each(|who| world.commit(who, "yes", "x\n"));
    world.both(&["feature", "publish"]).0.ok();
    world.both(&["feature", "finish"]).0.ok();
    world.each(|who| {
        world.git(who, &["push", "-q", "origin", "develop"]).ok();
    });
    world.both(&["release", "start", "3"]).0.ok();
    world.each(|who| world.commit(who, "version", "3\n"));
    world.both(&["release", "finish", "-m", "the words"]).0.ok();
    let said = world.git(Who::Ours, &["tag", "-l", "--format=%(contents)", "3.0"]).ok();
    assert!(said.contains("the words of 3.0"), "{said}");
    world.both(&["hotfix", "start", "stop"]).0.code(1);
    world.both(&["hotfix", "start", "go"]).0.ok();
    world.both(&["hotfix", "delete", "go"]);
}

/// Settings stand for what was not said, and the command line overrules them.
#[test]
fn settings_of_options() {
    let world = World::new();
    world.each(|who| {
        for (key, value) in [
            ("gitflow.feature.finish.keep", "true"),
            ("gitflow.feature.finish.no-ff", "yes"),
            ("gitflow.release.finish.message", "by setting"),
            ("gitflow.release.finish.push", "on"),
            ("gitflow.hotfix.finish.notag", "1"),
            ("gitflow.allowdirty", "true"),
        ] {
            world.git(who, &["config", key, value]).ok();
        }
    });
    world.both(&["feature", "start", "kept"]).0.ok();
    world.each(|who| world.commit(who, "kept", "x\n"));
    world.both(&["feature", "finish"]).0.ok();
    world.both(&["feature", "start", "gone"]).0.ok();
    world.each(|who| world.commit(who, "gone", "x\n"));
    world.both(&["feature", "finish", "--nokeep"]).0.ok();
    world.each(|who| world.write(who, "README", "changed\n"));
    world.both(&["release", "start", "1"]).0.ok();
    world.both(&["release", "finish", "1"]).0.code(1);
    world.each(|who| world.commit(who, "README", "changed\n"));
    world.both(&["release", "finish", "1"]).0.ok();
    world.both(&["hotfix", "start", "2"]).0.ok();
    world.each(|who| world.commit(who, "fix", "x\n"));
    world.both(&["hotfix", "finish"]).0.ok();
    world.both(&["config", "set", "versiontagprefix", "v"]).0.ok();
    world.both(&["config", "set", "master", "nowhere"]).0.code(1);
    world.both(&["config", "set", "develop", "master"]).0.code(1);
    world.both(&["config", "set", "allowmultihotfix", "perhaps"]).0.code(1);
    world.both(&["feature", "start", "rebased"]).0.ok();
    world.both(&["config", "base", "--set", "feature/rebased", "master"]).0.ok();
}

/// One step of somebody's work, by number: a command, or something of git's own.
fn step(world: &World, at: usize, number: u8, name: u8) {
    let name = ["1", "2", "3"][usize::from(name) % 3];
    match number % 16 {
        0 => world.both(&["feature", "start", name]),
        1 => world.both(&["bugfix", "start", name]),
        2 => world.both(&["release", "start", name]),
        3 => world.both(&["hotfix", "start", name]),
        4 => world.both(&["feature", "finish", name]),
        5 => world.both(&["bugfix", "finish", "-k", name]),
        6 => world.both(&["release", "finish", "-m", "x", name]),
        7 => world.both(&["hotfix", "finish", "-m", "x", "-p", name]),
        8 => world.both(&["feature", "publish", name]),
        9 => world.both(&["feature", "rename", "4", name]),
        10 => world.both(&["support", "start", name, "master"]),
        11 => world.both(&["feature", "finish", "-S", "-F", name]),
        12 => world.both(&["release", "finish", "-b", "-n", name]),
        _ => {
            // Never in conflict: each has a file of its own.
            world.each(|who| world.commit(who, &format!("file{at}"), "x\n"));
            world.both(&["feature", "list"])
        }
    };
}

proptest::proptest! {
    // AVH takes a quarter of a second a step: few cases, and the first that fails as it is.
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 8,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Whatever is done in whatever order, both leave the same.
    #[test]
    fn any_work(steps in proptest::collection::vec((0u8..16, 0u8..3), 12)) {
        let world = World::new();
        for (at, (number, name)) in steps.into_iter().enumerate() {
            step(&world, at, number, name);
        }
    }
}
