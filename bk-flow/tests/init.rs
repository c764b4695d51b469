//! `bk-flow init`, beside git-flow AVH.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Who, World};

/// A way to prepare a repository for both, then the command, and answers to it.
#[test]
fn a_repository_is_set_up_as_avh_does_it() {
    type Before<'a> = &'a [&'a [&'a str]];
    let commit: &[&str] = &["commit", "-q", "--allow-empty", "-m", "x"];
    let cases: [(Before, &[&str], &str); 12] = [
        (&[], &["init", "-d"], ""),
        (&[&["init", "-q", "-b", "main"]], &["init", "-d"], ""),
        (&[&["init", "-q", "-b", "main"], commit], &["init", "-d"], ""),
        (&[&["init", "-q", "-b", "trunk"], commit], &["init", "-d"], ""),
        (&[&["init", "-q", "-b", "main"], commit, &["branch", "develop"]], &["init", "-d"], ""),
        (&[&["init", "-q", "-b", "main"], commit, &["branch", "other"]], &["init", "-d"], ""),
        (&[], &["init"], "prod\nnext\nf-\nb-\nr-\nh-\ns-\nv\n\n"),
        (&[], &["init"], "\n\n\n\n\n\n\n\n\n"),
        (&[], &["init"], "same\nsame\n"),
        (&[&["init", "-q", "-b", "main"], commit], &["init"], "\n\n-\n\n\n\n\nv\nhooks\n"),
        (&[], &["init", "-d", "-p", "topic/", "-t", "v", "-r", "rel/"], ""),
        (
            &[&["init", "-q", "-b", "main"], commit, &["flow", "init", "-d"]],
            &["init", "-f", "-d", "--tag", "v"],
            "",
        ),
    ];
    for (before, args, answers) in cases {
        let world = World::empty();
        world.each(|who| {
            for args in before {
                world.git(who, args).ok();
            }
        });
        let avh = world.asked(Who::Avh, args, answers);
        let ours = world.asked(Who::Ours, args, answers);
        assert_eq!(
            ours.code != 0,
            avh.code != 0,
            "{before:?} {args:?}: {}{}",
            ours.stderr,
            avh.stderr
        );
        assert_eq!(
            world.state(Who::Ours),
            world.state(Who::Avh),
            "{before:?} {args:?} {answers:?}"
        );
    }
}

#[test]
fn what_is_set_up_stays() {
    let world = World::new();
    let before = world.state(Who::Ours);
    world.flow(Who::Ours, &["init", "-d"]).code(0).says("already");
    world.flow(Who::Ours, &["init", "-f", "-d", "-p", "x/", "--dry-run"]).code(0);
    assert_eq!(world.state(Who::Ours), before);
    world.write(Who::Ours, "README", "changed\n");
    world.flow(Who::Ours, &["init", "-f", "-d"]).code(1).says("git stash");
}
