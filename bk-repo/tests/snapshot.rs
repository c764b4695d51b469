//! `bk-repo snapshot`, `diff` and `merge`, and states as other commands take them.

#![allow(clippy::unwrap_used)]

mod common;

use common::World;

/// Packages a 1 and b 1, then a 2 instead of a 1: commits 2, 3 and 4.
fn world() -> World {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    let (a, b) = (world.deb("a", "1", "all", ""), world.deb("b", "1", "amd64", ""));
    world.bk(&["add", "repo", &a, &b]).ok();
    world.bk(&["snapshot", "repo", "first"]).ok();
    let a = world.deb("a", "2", "all", "");
    world.bk(&["add", "repo", &a]).ok();
    world.bk(&["remove", "repo", "a=1"]).ok();
    world
}

#[test]
fn a_snapshot_is_a_state_wherever_one_is_asked_for() {
    let world = world();
    let listed = world.bk(&["snapshot", "repo"]).ok();
    assert!(listed.starts_with("first\tstable\t2\t"), "{listed}");
    assert_eq!(world.bk(&["list", "repo", "--suite", "first"]).ok(), "a_1_all\nb_1_amd64\n");
    assert_eq!(world.bk(&["list", "repo", "--suite", "stable@3"]).ok().lines().count(), 3);
    assert_eq!(world.bk(&["diff", "repo", "first", "stable"]).ok(), "-a_1_all\n+a_2_all\n");
    assert_eq!(world.bk(&["diff", "repo", "stable@3", "stable"]).ok(), "-a_1_all\n");
    assert_eq!(world.bk(&["diff", "repo", "stable", "stable"]).ok(), "");
    let json = world.bk(&["diff", "repo", "first", "stable", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(
        (json["change"].as_str(), json["component"].as_str()),
        (Some("removed"), Some("main"))
    );

    world.bk(&["snapshot", "repo", "first"]).code(1).says("already");
    world.bk(&["snapshot", "repo", "stable"]).code(2).says("is a suite");
    world.bk(&["diff", "repo", "first", "none"]).code(2).says("stable, first");
    world.bk(&["list", "repo", "--suite", "../x"]).code(2);
    world.bk(&["snapshot", "repo", "old", "--suite", "stable@2"]).ok();
    world.bk(&["snapshot", "repo", "none", "--suite", "stable@99"]).code(1);
    assert_eq!(world.bk(&["diff", "repo", "old", "first"]).ok(), "");

    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["2"]);
    world.bk(&["rollback", "repo", "--to", "first"]).ok();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["1"]);
    world.bk(&["snapshot", "repo", "first", "--remove"]).ok();
    world.bk(&["snapshot", "repo", "first", "--remove"]).code(1);
    assert_eq!(world.bk(&["snapshot", "repo"]).ok().lines().count(), 1);
}

#[test]
fn gc_keeps_what_a_snapshot_needs() {
    let world = world();
    for version in 3..8 {
        let deb = world.deb("c", &version.to_string(), "all", "");
        world.bk(&["add", "repo", &deb]).ok();
    }
    let old = ["-type", "f", "-exec", "touch", "-d", "9 days ago", "{}", "+"];
    common::run(&world.path(""), "find", &[&["repo"], &old[..]].concat());
    world.bk(&["gc", "repo"]).ok();
    assert!(world.path("repo/pool/main/a/a/a_1_all.deb").exists());
    world.bk(&["rollback", "repo", "--to", "first"]).ok();
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    world.bk(&["snapshot", "repo", "first", "--remove"]).ok();
    let more = world.deb("d", "1", "all", "");
    world.bk(&["remove", "repo", "a=1"]).ok();
    for version in 1..5 {
        let deb = world.deb("e", &version.to_string(), "all", "");
        world.bk(&["add", "repo", &deb]).ok();
    }
    world.bk(&["add", "repo", &more]).ok();
    common::run(&world.path(""), "find", &[&["repo"], &old[..]].concat());
    let gone = world.bk(&["gc", "repo"]).ok();
    assert!(gone.lines().any(|line| line == "pool/main/a/a/a_1_all.deb"), "{gone}");
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
}

#[test]
fn states_are_merged_by_name_by_version_or_exactly() {
    let world = world();
    let c = world.deb("c", "1", "all", "");
    world.bk(&["init", "repo", "--suite", "other", "--arch", "amd64"]).ok();
    world.bk(&["add", "repo", "--suite", "other", "a_1_all.deb", &c]).ok();
    let list = |suite: &str| world.bk(&["list", "repo", "--suite", suite]).ok().replace('\n', " ");
    assert_eq!(
        world.bk(&["merge", "-n", "repo", "next", "stable", "other"]).ok().lines().count(),
        3
    );
    world.bk(&["merge", "repo", "next", "stable", "other"]).ok();
    assert_eq!(list("next"), "a_1_all b_1_amd64 c_1_all ");
    world.bk(&["merge", "repo", "latest", "stable", "other", "--latest"]).ok();
    assert_eq!(list("latest"), "a_2_all b_1_amd64 c_1_all ");
    world.bk(&["merge", "repo", "all", "stable", "other", "--all-versions"]).ok();
    assert_eq!(list("all"), "a_1_all a_2_all b_1_amd64 c_1_all ");
    world.bk(&["merge", "repo", "all", "first", "--exact"]).ok();
    assert_eq!(list("all"), "a_1_all b_1_amd64 ");
    let before = world.bk(&["log", "repo"]).ok();
    assert_eq!(world.bk(&["merge", "repo", "all", "first", "--exact"]).ok(), "");
    assert_eq!(world.bk(&["log", "repo"]).ok(), before);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    world.apt_file().update(&[]);
}
