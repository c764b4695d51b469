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
    /// What else there is before, in another suite.
    more: &'static [&'static [&'static str]],
    before: &'static [&'static str],
    after: &'static [&'static str],
}

const ADD: Case = Case {
    command: &["add", "repo", "c_1_amd64.deb", "d_1_all.deb"],
    more: &[],
    before: &["a_1_amd64", "b_1_all"],
    after: &["a_1_amd64", "b_1_all", "c_1_amd64", "d_1_all"],
};

const REMOVE: Case = Case {
    command: &["remove", "repo", "b"],
    more: &[],
    before: &["a_1_amd64", "b_1_all"],
    after: &["a_1_amd64"],
};

const COPY: Case = Case {
    command: &["copy", "repo", "testing", "stable", "c", "d"],
    more: &[
        &["init", "repo", "--suite", "testing", "--arch", "amd64"],
        &["add", "repo", "--suite", "testing", "c_1_amd64.deb", "d_1_all.deb"],
    ],
    before: &["a_1_amd64", "b_1_all"],
    after: &["a_1_amd64", "b_1_all", "c_1_amd64", "d_1_all"],
};

fn prepare(world: &World, case: &Case) {
    for (name, arch) in [("a", "amd64"), ("b", "all"), ("c", "amd64"), ("d", "all")] {
        world.deb(name, "1", arch, "");
    }
    world.bk(&["init", "repo", "--arch", "amd64", "--compression", "gz,xz,zst"]).ok();
    world.bk(&["add", "repo", "a_1_amd64.deb", "b_1_all.deb"]).ok();
    case.more.iter().for_each(|args| drop(world.bk(args).ok()));
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
    world.bk(&["list", "repo", "--suite", "stable"]).ok().lines().map(String::from).collect()
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
    prepare(&first, case);
    let calls = calls(&first, case.command);
    let kinds: HashSet<&str> = calls.iter().map(|(name, _)| *name).collect();
    assert!(calls.len() > 30 && kinds.len() >= 8, "{calls:?}");
    drop(first);
    let next = AtomicUsize::new(0);
    let hit = AtomicUsize::new(0);
    let seen = Mutex::new(HashSet::new());
    let work = || {
        let world = World::new();
        prepare(&world, case);
        restore(&world);
        let apt = world.apt_file();
        // What another suite has must not be taken for this one's.
        let sources = fs::read_to_string(world.path("apt/test.sources")).unwrap();
        world
            .write("apt/test.sources", sources.replace("Suites: stable testing", "Suites: stable"));
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

#[test]
fn remove_survives_a_full_and_a_failing_disk_at_every_write() {
    survive(&REMOVE, "error=ENOSPC");
    survive(&REMOVE, "error=EIO");
}

#[test]
fn copy_survives_sigkill_at_every_write() {
    survive(&COPY, "signal=SIGKILL");
}

#[test]
fn copy_survives_a_full_and_a_failing_disk_at_every_write() {
    survive(&COPY, "error=ENOSPC");
    survive(&COPY, "error=EIO");
}

/// Two packages that nothing needs any more, and all looks old.
fn with_garbage(world: &World) {
    for name in ["a", "x", "y"] {
        world.deb(name, "1", "amd64", "");
    }
    world.bk(&["add", "repo", "a_1_amd64.deb"]).ok();
    world.bk(&["add", "repo", "x_1_amd64.deb", "y_1_amd64.deb"]).ok();
    world.bk(&["remove", "repo", "x", "y"]).ok();
    for version in ["2", "3", "4"] {
        let deb = world.deb("a", version, "amd64", "");
        world.bk(&["add", "repo", &deb]).ok();
    }
    let old = ["repo", "-type", "f", "-exec", "touch", "-d", "9 days ago", "{}", "+"];
    run(&world.path(""), "find", &old);
    fs::rename(world.path("repo"), world.path("template")).unwrap();
}

#[test]
fn gc_survives_sigkill_and_errors_at_every_write() {
    let world = World::new();
    with_garbage(&world);
    let gc = ["gc", "repo"];
    let calls = calls(&world, &gc);
    assert!(calls.len() >= 6, "{calls:?}");
    restore(&world);
    let removed = world.bk(&gc).ok().lines().count();
    assert!(removed >= 4, "{removed}");
    let apt = world.apt_file();
    let mut hit = 0;
    for (name, number) in calls {
        for inject in ["signal=SIGKILL", "error=EIO", "error=ENOSPC"] {
            restore(&world);
            let option = format!("inject={name}:{inject}:when={number}");
            let ran = traced(&world, &["-e", &format!("trace={name}"), "-e", &option], &gc);
            let what = format!("{option}: {} {}", ran.code, ran.stderr);
            hit += usize::from(ran.code != 0);
            assert_eq!(world.bk(&["list", "repo"]).ok().lines().count(), 4, "{what}");
            assert_eq!(world.bk(&["check", "repo"]).ok(), "", "{what}");
            world.bk(&gc).ok();
            assert_eq!(world.bk(&gc).ok(), "", "{what}");
            assert_eq!(world.bk(&["check", "repo"]).ok(), "", "{what}");
            // What two generations before had is there still.
            world.bk(&["rollback", "repo"]).ok();
        }
    }
    assert!(hit > 6, "{hit}");
    apt.update(&[]);
}

/// A .changes file over one package, as a person's program would send it.
fn changes(world: &World, deb: &str) {
    let sum = |program: &str| {
        let hash = run(&world.path(""), program, &[deb]);
        hash.split(' ').next().unwrap().to_owned()
    };
    let size = fs::metadata(world.path(deb)).unwrap().len();
    let text = format!(
        "Format: 1.8\nSource: c\nBinary: c\nArchitecture: amd64\nVersion: 1\nDistribution: stable\n\
         Maintainer: A <a@example.com>\nChecksums-Sha256:\n {} {size} {deb}\nFiles:\n {} {size} misc \
         optional {deb}\n",
        sum("sha256sum"),
        sum("md5sum")
    );
    world.write("c_1_amd64.changes", text);
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Uploads a package and its .changes file to a server, under strace if there are options; says
/// whether both were taken.
fn upload(world: &World, options: &[&str]) -> bool {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let mut command = Command::new("strace");
    let binary = env!("CARGO_BIN_EXE_bk-repo");
    command.args(["-f", "-qq", "-o", "trace"]).args(options).arg(binary);
    command.args(["serve", "repo", "--listen", "127.0.0.1:0", "--tokens", "tokens"]);
    command.current_dir(world.path("")).env("BK_ROOT", world.path("root"));
    command.env("RAYON_NUM_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = command.spawn().unwrap();
    let mut url = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let mut taken = !url.is_empty();
    for file in ["c_1_amd64.deb", "c_1_amd64.changes"] {
        let to = format!("{}upload/", url.trim());
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-f", "-m", "30", "-H", &format!("Authorization: Bearer {TOKEN}")]);
        let sent = curl.args(["-T", file, &to]).current_dir(world.path("")).output().unwrap();
        taken &= sent.status.success();
    }
    // The server is strace's child, if it was not killed.
    let children = format!("/proc/{0}/task/{0}/children", server.id());
    let children = fs::read_to_string(children).unwrap_or_default();
    let kill = |signal: &str| {
        for pid in children.split_whitespace() {
            let _ = Command::new("kill").args([signal, pid]).status();
        }
    };
    kill("-TERM");
    // A thread that could not be woken, since the call that failed was to wake it, ends in no other way.
    let patience = std::time::Instant::now();
    while server.try_wait().unwrap().is_none() {
        if patience.elapsed() > std::time::Duration::from_secs(20) {
            kill("-KILL");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    taken
}

#[test]
fn an_upload_survives_sigkill_at_every_write() {
    let (refused, published) = survive_upload("signal=SIGKILL");
    assert!(refused > 20 && published > 0, "{refused} {published}");
}

#[test]
fn an_upload_survives_a_full_and_a_failing_disk_at_every_write() {
    for error in ["error=ENOSPC", "error=EIO"] {
        let (refused, _) = survive_upload(error);
        assert!(refused > 20, "{refused}");
    }
}

/// How many uploads were refused, and how many of these were published all the same.
fn survive_upload(inject: &str) -> (usize, usize) {
    let world = World::new();
    prepare(&world, &ADD);
    changes(&world, "c_1_amd64.deb");
    world.write("tokens", format!("{TOKEN}\n"));
    restore(&world);
    let writing = WRITING.join(",");
    assert!(upload(&world, &["-e", &format!("trace={writing}")]));
    assert!(listed(&world).contains(&"c_1_amd64".to_owned()));
    let trace = fs::read_to_string(world.path("trace")).unwrap();
    // The nth call of a name by any one thread: threads come and go as they like.
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        let Some(name) = WRITING.into_iter().find(|known| *known == name) else { continue };
        *counts.entry((thread, name)).or_default() += 1;
    }
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    for ((_, name), count) in counts {
        let most = calls.entry(name).or_default();
        *most = (*most).max(count);
    }
    let (mut refused, mut published) = (0, 0);
    let apt = world.apt_file();
    for (name, most) in calls {
        // Opening libraries and configuration writes nothing.
        let step = if name == "openat" { 4 } else { 1 };
        for number in (1..=most).step_by(step) {
            restore(&world);
            let option = format!("inject={name}:{inject}:when={number}");
            let taken = upload(&world, &["-e", &format!("trace={name}"), "-e", &option]);
            let state = listed(&world);
            let there = state.contains(&"c_1_amd64".to_owned());
            assert!(there || !taken, "acknowledged and lost after {option}");
            refused += usize::from(!taken);
            published += usize::from(there && !taken);
            // With a server that lives the same is tried again: it is done, or was done before.
            let again = upload(&world, &["-e", "trace=none"]);
            assert!(again || there, "{option}");
            assert!(listed(&world).contains(&"c_1_amd64".to_owned()), "{option}");
            let problems = world.bk(&["check", "repo"]);
            assert_eq!((problems.code, problems.stdout.as_str()), (0, ""), "{option}");
        }
    }
    apt.update(&[]);
    assert_eq!(apt.versions("c"), ["1"]);
    (refused, published)
}
