//! Many writers and readers at once.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::World;
use sha2::{Digest, Sha256};

#[test]
fn sixteen_writers_lose_nothing() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    let debs: Vec<Vec<String>> = (0..16)
        .map(|w| (0..50).map(|i| world.deb(&format!("p{w}-{i}"), "1", "amd64", "")).collect())
        .collect();
    std::thread::scope(|scope| {
        for debs in &debs {
            let world = &world;
            scope.spawn(move || {
                for deb in debs {
                    world.bk(&["add", "repo", deb]).ok();
                }
            });
        }
    });
    let listed: BTreeSet<String> =
        world.bk(&["list", "repo"]).ok().lines().map(|line| format!("{line}.deb")).collect();
    assert_eq!(listed, debs.into_iter().flatten().collect());
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    world.apt_file().update(&[]);
    assert_eq!(fs::read_dir(world.path("repo/.buildkit/tmp")).unwrap().count(), 0);
}

#[test]
fn writers_that_are_killed_lose_nothing_that_was_acknowledged() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    let mut acknowledged = BTreeSet::new();
    for i in 0..40u64 {
        let deb = world.deb(&format!("p{i}"), "1", "amd64", "");
        let mut command = world.command(&["add", "repo", &deb]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // From before its first to after its last system call.
        std::thread::sleep(Duration::from_millis(i % 20));
        let _ = child.kill();
        let out = child.wait_with_output().unwrap();
        if !out.stdout.is_empty() {
            acknowledged.insert(deb.trim_end_matches(".deb").to_owned());
        }
    }
    world.bk(&["add", "repo", "p0_1_amd64.deb"]).ok();
    let listed: BTreeSet<String> =
        world.bk(&["list", "repo"]).ok().lines().map(String::from).collect();
    assert!(acknowledged.is_subset(&listed), "{:?}", acknowledged.difference(&listed));
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    assert_eq!(fs::read_dir(world.path("repo/.buildkit/tmp")).unwrap().count(), 0);
}

/// What InRelease says of an index: its size and hash.
fn announced<'a>(release: &'a str, index: &str) -> Option<(usize, &'a str)> {
    release.lines().find_map(|line| {
        let mut words = line.strip_prefix(' ')?.split_ascii_whitespace();
        let (hash, size, name) = (words.next()?, words.next()?, words.next()?);
        (name == index).then(|| (size.parse().unwrap(), hash))
    })
}

fn matches(bytes: &[u8], (size, hash): (usize, &str)) -> bool {
    bytes.len() == size && format!("{:x}", Sha256::digest(bytes)) == hash
}

#[test]
fn readers_see_one_state_while_it_changes_a_thousand_times() {
    let world = World::new();
    let debs = [world.deb("a", "1", "amd64", ""), world.deb("b", "1", "amd64", "")];
    world.bk(&["add", "repo", &debs[0]]).ok();
    let dist: PathBuf = world.path("repo/dists/stable");
    let done = AtomicBool::new(false);
    let (by_hash, by_name) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let index = "main/binary-amd64/Packages.gz";
    std::thread::scope(|scope| {
        // As apt does: what InRelease says is there under its hash, however late one comes.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let release = fs::read_to_string(dist.join("InRelease")).unwrap();
                std::thread::sleep(Duration::from_millis(20));
                let announced = announced(&release, index).unwrap();
                let path = format!("main/binary-amd64/by-hash/SHA256/{}", announced.1);
                assert!(matches(&fs::read(dist.join(path)).unwrap(), announced));
                by_hash.fetch_add(1, Ordering::Relaxed);
            }
        });
        // By names: if InRelease is the same before and after, the index belongs to it.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let before = fs::read_to_string(dist.join("InRelease")).unwrap();
                let bytes = fs::read(dist.join(index)).unwrap();
                let plain = fs::read_to_string(dist.join("Release")).unwrap();
                let after = fs::read_to_string(dist.join("InRelease")).unwrap();
                if before == after {
                    assert!(matches(&bytes, announced(&before, index).unwrap()));
                    assert!(before.contains(&plain));
                    by_name.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let work = || {
            for i in 0..1000 {
                let action: &[&str] = match i % 2 {
                    0 => &["add", "repo", &debs[1]],
                    _ => &["remove", "repo", "b"],
                };
                world.bk(action).ok();
            }
        };
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        worked.unwrap();
    });
    assert!(by_hash.into_inner() > 20 && by_name.into_inner() > 100);
}

#[test]
fn who_waits_too_long_is_told_who_holds_the_lock() {
    let world = World::new();
    let deb = world.deb("a", "1", "all", "");
    world.bk(&["init", "repo"]).ok();
    let lock = fs::File::open(world.path("repo/.buildkit/lock")).unwrap();
    lock.lock().unwrap();
    let start = Instant::now();
    world
        .bk(&["add", "repo", &deb, "--wait", "1"])
        .code(75)
        .says(&format!("process {}", std::process::id()))
        .says("--wait");
    assert!(start.elapsed() >= Duration::from_secs(1));
    // Readers wait for nobody.
    world.bk(&["list", "repo"]).ok();
    drop(lock);
    world.bk(&["add", "repo", &deb, "--wait", "0"]).ok();
    assert!(Path::new(&world.path("repo/pool/main/a/a/a_1_all.deb")).exists());
}
