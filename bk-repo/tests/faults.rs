//! What stays when a writer is killed, or refused, at any system call that writes: strace does it.
//!
//! Each state found in `dists/` is tried with apt-get once, with and without by-hash; what comes
//! after is tried after each fault.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Ran, World, run};

/// The system calls that change a file system.
const WRITING: [&str; 18] = [
    "openat",
    "write",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "fsync",
    "fdatasync",
    "syncfs",
    "unlink",
    "unlinkat",
    "mkdir",
    "rmdir",
    "utimensat",
];

/// A repository with the packages a and b, and what is to be done to it.
struct Case {
    command: &'static [&'static str],
    before: &'static [&'static str],
    after: &'static [&'static str],
}

const ADD: Case = Case {
    command: &["add", "repo", "c_1_amd64.deb", "d_1_all.deb"],
    before: &["a_1_amd64", "b_1_all"],
    after: &["a_1_amd64", "b_1_all", "c_1_amd64", "d_1_all"],
};

const REMOVE: Case = Case {
    command: &["remove", "repo", "b"],
    before: &["a_1_amd64", "b_1_all"],
    after: &["a_1_amd64"],
};

fn prepare(world: &World) {
    for (name, arch) in [("a", "amd64"), ("b", "all"), ("c", "amd64"), ("d", "all")] {
        world.deb(name, "1", arch, "");
    }
    world.bk(&["add", "repo", "a_1_amd64.deb", "b_1_all.deb"]).ok();
    fs::rename(world.path("repo"), world.path("template")).unwrap();
}

fn traced(world: &World, options: &[&str], command: &[&str]) -> Ran {
    let mut strace = Command::new("strace");
    let binary = env!("CARGO_BIN_EXE_bk-repo");
    strace.args(["-f", "-qq", "-o", "trace"]).args(options).arg(binary).args(command);
    strace.current_dir(world.path("")).env("BK_ROOT", world.path("root"));
    // The same calls by the same threads each time.
    strace.env("RAYON_NUM_THREADS", "1").env_remove("SOURCE_DATE_EPOCH");
    Ran::new(strace.output().unwrap())
}

fn restore(world: &World) {
    let _ = fs::remove_dir_all(world.path("repo"));
    run(&world.path(""), "cp", &["-a", "template", "repo"]);
}

/// Every call to interfere with: its name, and which of a thread's calls of that name it is.
fn calls(world: &World, command: &[&str]) -> Vec<(&'static str, usize)> {
    restore(world);
    traced(world, &["-e", &format!("trace={}", WRITING.join(","))], command).ok();
    let trace = fs::read_to_string(world.path("trace")).unwrap();
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        let Some((name, arguments)) = call.trim_start().split_once('(') else { continue };
        let Some(name) = WRITING.into_iter().find(|known| *known == name) else { continue };
        let count = counts.entry((thread.to_owned(), name)).or_default();
        *count += 1;
        if name != "openat" || arguments.contains("O_CREAT") {
            found.insert((name, *count));
        }
    }
    found.into_iter().collect()
}

fn listed(world: &World) -> Vec<String> {
    world.bk(&["list", "repo"]).ok().lines().map(String::from).collect()
}

/// The part of a state that apt sees, as far as it can differ.
fn published(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for name in [
        "InRelease",
        "Release",
        "Release.gpg",
        "main/binary-amd64/Packages",
        "main/binary-amd64/Packages.gz",
        "main/binary-amd64/Packages.xz",
        "main/binary-amd64/Packages.zst",
    ] {
        let path = root.join("dists/stable").join(name);
        all.push((name.to_owned(), fs::read(path).unwrap_or_default()));
    }
    all
}

fn survive(case: &Case, inject: &str) {
    let first = World::new();
    prepare(&first);
    let calls = calls(&first, case.command);
    let kinds: HashSet<&str> = calls.iter().map(|(name, _)| *name).collect();
    assert!(calls.len() > 30 && kinds.len() >= 8, "{calls:?}");
    drop(first);
    let next = AtomicUsize::new(0);
    let hit = AtomicUsize::new(0);
    let seen = Mutex::new(HashSet::new());
    let work = || {
        let world = World::new();
        prepare(&world);
        restore(&world);
        let apt = world.apt_file();
        while let Some((name, number)) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
            restore(&world);
            let option = format!("inject={name}:{inject}:when={number}");
            let trace = format!("trace={name}");
            let ran = traced(&world, &["-e", &trace, "-e", &option], case.command);
            let what = format!("{option}: {} {}", ran.code, ran.stderr);
            assert!([0, 1, 137].contains(&ran.code), "{what}");
            hit.fetch_add(usize::from(ran.code != 0), Ordering::Relaxed);
            let state = listed(&world);
            // One file that cannot be copied keeps no other away.
            let copied = |package: &&str| {
                ran.code != 1 || case.before.contains(package) || state.iter().any(|p| p == package)
            };
            let mut less = case.after.to_vec();
            less.retain(copied);
            assert!(state == case.before || state == less, "{state:?} after {what}");
            // What was acknowledged is there.
            assert!(ran.code != 0 || state == case.after, "{what}");
            let said = |line: &str| state.iter().any(|p| line.ends_with(&format!("/{p}.deb")));
            assert!(case.command[0] != "add" || ran.stdout.lines().all(said), "{what}");
            // It says why, unless that is what could not be written.
            if ran.code == 1 && *name != "write" {
                assert!(ran.stderr.contains("bk-repo: "), "{what}");
            }
            let old = fs::read(world.path("template/dists/stable/InRelease")).unwrap();
            let seen_by_apt = published(&world.repo());
            let is_old = seen_by_apt[0].1 == old;
            // Signatures have the time in them: what tells states apart is which files are new.
            let template = published(&world.path("template"));
            let changed: Vec<bool> =
                seen_by_apt.iter().zip(&template).map(|(now, then)| now != then).collect();
            assert!(changed.iter().all(|new| *new == changed[0]), "mixed {changed:?} after {what}");
            if seen.lock().unwrap().insert((is_old, state.clone())) {
                for by_hash in ["yes", "no"] {
                    apt.forget();
                    apt.update(&["-o", &format!("Acquire::By-Hash={by_hash}")]);
                    let before: Vec<&str> = case.before.to_vec();
                    let expected = if is_old { &before } else { &less };
                    for package in ["a", "b", "c", "d"] {
                        let there = expected.iter().any(|p| p.starts_with(package));
                        assert_eq!(apt.versions(package).len(), usize::from(there), "{what}");
                    }
                }
            }
            // The same again, and all is well and clean.
            let again = world.bk(case.command);
            let done = again.code == 0 || (state == case.after && again.code == 1);
            assert!(done, "{} after {what}", again.stderr);
            assert_eq!(listed(&world), case.after, "{what}");
            let problems = world.bk(&["check", "repo"]);
            assert_eq!((problems.code, problems.stdout.as_str()), (0, ""), "{what}");
            let left = fs::read_dir(world.path("repo/.buildkit/tmp")).unwrap().count();
            assert_eq!(left, 0, "leftovers after {what}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    // Before the first commit's file there are many calls, and after it.
    assert!(hit.into_inner() > calls.len() / 2);
    assert!(seen.into_inner().unwrap().len() >= 2);
}

#[test]
fn add_survives_sigkill_at_every_write() {
    survive(&ADD, "signal=SIGKILL");
}

#[test]
fn remove_survives_sigkill_at_every_write() {
    survive(&REMOVE, "signal=SIGKILL");
}

#[test]
fn add_survives_a_full_disk_at_every_write() {
    survive(&ADD, "error=ENOSPC");
}

#[test]
fn add_survives_a_failing_disk_at_every_write() {
    survive(&ADD, "error=EIO");
}
