//! `bk-repo publish`: what clients need, in an object store, read by apt-get.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::process::Stdio;

use common::s3s::Engine;
use common::{Ran, World, with_access};

fn ask(world: &World, args: &[&str]) -> Ran {
    with_access(&mut world.command(args))
}

/// Every object of the bucket that clients see, with its bytes: not what the engine notes of it.
fn objects(world: &World, place: &str) -> BTreeMap<String, Vec<u8>> {
    let mut all: BTreeMap<_, _> =
        world.tree(&format!("engine/bucket/{place}")).into_iter().collect();
    all.retain(|name, _| !name.starts_with(".buildkit/"));
    all
}

#[test]
fn clients_find_in_a_bucket_what_the_repository_has() {
    let world = World::new();
    let engine = Engine::start(&world);
    let to = engine.url("bucket/apt");
    world.bk(&["init", "repo", "--suite", "stable", "--suite", "next", "--arch", "amd64"]).ok();
    let (a, b) = (world.deb("a", "1", "amd64", ""), world.deb("b", "1", "all", ""));
    world.bk(&["add", "repo", "--suite", "stable", &a, &b]).ok();
    world.bk(&["add", "repo", "--suite", "next", &world.deb("c", "1", "all", "")]).ok();
    let told = ask(&world, &["publish", "repo", &to, "-n"]).code(0);
    // Three packages; of each suite's one index three forms, before and after the addition.
    told.says("15 of 15 files to upload, 0 to remove");
    assert!(!engine.dir.join("bucket/apt").exists());
    assert_eq!(ask(&world, &["publish", "repo", &to]).ok(), format!("{to}\n"));

    // A plain copy of the repository is the oracle, and apt.
    let same = |exported: &str| {
        world.bk(&["export", "repo", "-o", exported]).ok();
        let there = objects(&world, "apt");
        for (name, bytes) in world.tree(exported) {
            assert!(there.get(&name) == Some(&bytes), "{name}");
        }
    };
    same("first");
    let apt = world.apt(&format!("file:{}", engine.dir.join("bucket/apt").display()));
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["1"]);
    apt.get(&["download", "a"]).ok();

    // Only what is new is brought; a client of the state before finds its indexes.
    let before = objects(&world, "apt");
    world.bk(&["add", "repo", "--suite", "stable", &world.deb("a", "2", "amd64", "")]).ok();
    ask(&world, &["publish", "repo", &to]).code(0).says("4 of 19 files to upload, 0 to remove");
    same("second");
    let after = objects(&world, "apt");
    for (name, bytes) in before.iter().filter(|(name, _)| name.contains("/by-hash/")) {
        assert!(after.get(name) == Some(bytes), "{name}");
    }
    apt.forget();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["2", "1"]);
    ask(&world, &["publish", "repo", &to]).code(0).says("0 of 19 files to upload, 0 to remove");

    // What no client needs goes after three generations, and what is not of a publication stays.
    common::run(&engine.dir, "touch", &["bucket/apt/pool/mine", "bucket/apt/index.html"]);
    world.bk(&["remove", "repo", "--suite", "stable", "b"]).ok();
    for version in ["3", "4"] {
        ask(&world, &["publish", "repo", &to]).ok();
        assert!(objects(&world, "apt").contains_key("pool/main/b/b/b_1_all.deb"), "{version}");
        let deb = world.deb("a", version, "amd64", "");
        world.bk(&["add", "repo", "--suite", "stable", &deb]).ok();
    }
    ask(&world, &["publish", "repo", &to]).ok();
    let now = objects(&world, "apt");
    assert!(!now.contains_key("pool/main/b/b/b_1_all.deb"));
    assert!(now.contains_key("pool/mine") && now.contains_key("index.html"));
    same("third");

    // One suite alone, and nothing of the other.
    ask(&world, &["publish", "repo", &to, "--suite", "stable"]).ok();
    let now = objects(&world, "apt");
    assert!(!now.keys().any(|name| name.starts_with("dists/next/") || name.contains("/c_1_")));
    assert!(now.contains_key("dists/stable/InRelease"));
    ask(&world, &["publish", "repo", &to]).ok();
    same("fourth");
    apt.forget();
    apt.update(&[]);
}

#[test]
fn what_was_interrupted_goes_on() {
    let world = World::new();
    let engine = Engine::start(&world);
    let to = engine.url("bucket/apt");
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    let debs: Vec<String> = (0..40).map(|i| world.deb(&format!("p{i}"), "1", "all", "")).collect();
    let debs: Vec<&str> = debs.iter().map(String::as_str).collect();
    world.bk(&[&["add", "repo"], &debs[..]].concat()).ok();
    world.bk(&["export", "repo", "-o", "exported"]).ok();
    let exported = world.tree("exported");
    std::fs::create_dir_all(engine.dir.join("bucket/apt")).unwrap();
    // Killed at a later request each time, as each thread counts what it sends, until one comes through.
    let (mut kills, mut most) = (0, 0);
    for when in (2..).step_by(3) {
        let inject = format!("inject=sendto,sendmsg,writev:signal=SIGKILL:when={when}");
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", &inject]).arg(env!("CARGO_BIN_EXE_bk-repo"));
        command.args(["publish", "repo", &to, "--quiet"]).current_dir(world.path(""));
        command.env("BK_ROOT", world.path("root")).stderr(Stdio::null()).stdout(Stdio::null());
        let ran = with_access(&mut command);
        // A client sees nothing, or all: InRelease is the last.
        let there = objects(&world, "apt");
        assert!(there.len() >= most, "what was uploaded is not uploaded again");
        most = there.len();
        if there.contains_key("dists/stable/InRelease") {
            for (name, bytes) in &exported {
                assert!(there.get(name) == Some(bytes), "{name}");
            }
        }
        if ran.code == 0 {
            break;
        }
        kills += 1;
    }
    assert!(kills > 2, "{kills}");
    let apt = world.apt(&format!("file:{}", engine.dir.join("bucket/apt").display()));
    apt.update(&[]);
    assert_eq!(apt.versions("p39"), ["1"]);
}

#[test]
fn what_is_of_others_is_not_touched() {
    let world = World::new();
    let engine = Engine::start(&world);
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    world.bk(&["add", "repo", &world.deb("a", "1", "all", "")]).ok();
    // A repository that is kept there, and a file of somebody else's.
    let own = engine.url("bucket/own");
    ask(&world, &["init", &own, "--arch", "amd64", "--single-writer"]).ok();
    ask(&world, &["publish", "repo", &own]).code(1).says("a repository of its own");
    let to = engine.url("bucket/apt");
    let taken = engine.dir.join("bucket/apt/pool/main/a/a/a_1_all.deb");
    std::fs::create_dir_all(taken.parent().unwrap()).unwrap();
    bk::file::write(&taken, "another").unwrap();
    ask(&world, &["publish", "repo", &to]).code(1).says("is another file");
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "another");
    assert_eq!(objects(&world, "apt").len(), 1);
    // One of the same size is told by its bytes.
    let mut bytes = std::fs::read(world.path("repo/pool/main/a/a/a_1_all.deb")).unwrap();
    bytes[100] ^= 1;
    bk::file::write(&taken, &bytes).unwrap();
    ask(&world, &["publish", "repo", &to]).code(1).says("with other content");
    assert!(std::fs::read(&taken).unwrap() == bytes);
    assert!(!objects(&world, "apt").contains_key("dists/stable/InRelease"));
    // No place to publish in, no repository, no suite, no bucket.
    world.bk(&["publish", "repo", "folder"]).code(2).says("bk-repo export");
    ask(&world, &["publish", "nothing", &to]).code(1);
    ask(&world, &["publish", "repo", &to, "--suite", "x"]).code(2).says("stable");

    // A package that was removed and came again with other content, in the place of the first.
    std::fs::remove_file(&taken).unwrap();
    ask(&world, &["publish", "repo", &to]).ok();
    std::fs::remove_dir_all(world.repo()).unwrap();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    world.bk(&["add", "repo", &world.deb("a", "1", "all", "Section: misc\n")]).ok();
    ask(&world, &["publish", "repo", &to]).ok();
    let apt = world.apt(&format!("file:{}", engine.dir.join("bucket/apt").display()));
    apt.update(&[]);
    apt.get(&["download", "a"]).ok();

    // From one bucket into another.
    let other = engine.url("bucket/other");
    ask(&world, &["add", &own, &world.deb("b", "1", "all", "")]).ok();
    ask(&world, &["publish", &own, &other]).ok();
    ask(&world, &["export", &own, "-o", "exported"]).ok();
    let there = objects(&world, "other");
    for (name, bytes) in world.tree("exported") {
        assert!(there.get(&name) == Some(&bytes), "{name}");
    }
}
