//! Indexes that are made of those before them: the same as made at once, whatever became of those.

// In place, as a failing disk would: what else has the file as its name sees it too.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use common::{Numbers, World, run};

const FORMS: [&str; 4] = ["Packages", "Packages.gz", "Packages.xz", "Packages.zst"];

/// A field that compresses like text.
fn text(numbers: &mut Numbers, words: usize) -> String {
    let words: Vec<String> = (0..words).map(|_| format!("w{}", numbers.below(3000))).collect();
    format!("Tag: {}\n", words.join(", "))
}

/// Packages whose stanzas have about so many words; `count` times `words` is 7 bytes for each, and a
/// chunk has 256 KiB at most.
fn packages(world: &World, count: usize, words: usize) -> Vec<String> {
    let mut numbers = Numbers(20_261_127);
    (0..count)
        .map(|i| world.deb(&format!("p{i:03}"), "1", "amd64", &text(&mut numbers, words)))
        .collect()
}

/// An empty repository with all forms.
fn init(world: &World, repo: &str) {
    world.bk(&["init", repo, "--arch", "amd64", "--compression", "gz,xz,zst"]).ok();
}

fn prepared() -> World {
    let world = World::new();
    init(&world, "repo");
    world
}

fn add(world: &World, repo: &str, debs: &[&str]) -> common::Ran {
    world.bk(&[&["add", repo], debs].concat())
}

fn published(world: &World, repo: &str, form: &str) -> PathBuf {
    let path = world.path(repo).join("dists/stable/main/binary-amd64").join(form);
    path.canonicalize().unwrap()
}

/// The objects that are chunks.
fn chunks(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let files = world.tree("repo").into_iter();
    let chunks = files.filter(|(name, bytes)| {
        name.starts_with(".buildkit/objects/") && bytes.starts_with(b"BKC2")
    });
    chunks.map(|(name, bytes)| (world.path("repo").join(name), bytes)).collect()
}

/// Makes the repository `fresh` of these packages at once.
fn at_once(world: &World, debs: &[&str]) {
    let _ = fs::remove_dir_all(world.path("fresh"));
    init(world, "fresh");
    if !debs.is_empty() {
        add(world, "fresh", debs).ok();
    }
}

/// The published forms are those of `fresh`, and what the programs that made the formats unpack.
#[track_caller]
fn is_as_fresh(world: &World) {
    for form in FORMS {
        let (found, expected) = (published(world, "repo", form), published(world, "fresh", form));
        assert!(fs::read(found).unwrap() == fs::read(expected).unwrap(), "{form}");
    }
    let plain = fs::read_to_string(published(world, "repo", "Packages")).unwrap();
    for (program, form) in [("gzip", ".gz"), ("xz", ".xz"), ("zstd", ".zst")] {
        let path = published(world, "repo", &format!("Packages{form}"));
        world.write(&format!("copy{form}"), fs::read(path).unwrap());
        assert!(run(&world.path(""), program, &["-dc", &format!("copy{form}")]) == plain);
    }
}

#[track_caller]
fn is_as_if_made_at_once(world: &World, debs: &[&str]) {
    at_once(world, debs);
    is_as_fresh(world);
}

/// Begins again with what `template` has.
fn begin(world: &World) {
    let _ = fs::remove_dir_all(world.path("repo"));
    run(&world.path(""), "cp", &["-a", "template", "repo"]);
}

#[test]
fn after_fifty_changes_the_index_is_as_if_made_at_once() {
    let world = prepared();
    let debs = packages(&world, 400, 300);
    let mut numbers = Numbers(7);
    let mut there: BTreeSet<usize> = (0..300).collect();
    let of = |there: &BTreeSet<usize>| there.iter().map(|&i| debs[i].as_str()).collect::<Vec<_>>();
    add(&world, "repo", &of(&there)).ok();
    assert!(chunks(&world).len() >= 3);
    for round in 0..50 {
        let some: BTreeSet<usize> =
            (0..=numbers.below(3)).map(|_| numbers.below(debs.len())).collect();
        let (gone, new): (BTreeSet<usize>, BTreeSet<usize>) =
            some.iter().partition(|i| there.contains(i));
        if !new.is_empty() {
            add(&world, "repo", &of(&new)).ok();
        }
        if !gone.is_empty() {
            let names: Vec<String> = gone.iter().map(|i| format!("p{i:03}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            world.bk(&[&["remove", "repo"], &names[..]].concat()).ok();
        }
        there = there.symmetric_difference(&some).copied().collect();
        if round % 10 == 9 {
            is_as_if_made_at_once(&world, &of(&there));
            assert_eq!(world.bk(&["check", "repo"]).ok(), "");
        }
    }
    // To nothing and back.
    let names: Vec<String> = there.iter().map(|i| format!("p{i:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.bk(&[&["remove", "repo"], &names[..]].concat()).ok();
    is_as_if_made_at_once(&world, &[]);
    add(&world, "repo", &of(&there)).ok();
    is_as_if_made_at_once(&world, &of(&there));
}

#[test]
fn damage_in_what_is_copied_is_left_behind() {
    let world = prepared();
    let debs = packages(&world, 101, 1000);
    let debs: Vec<&str> = debs.iter().map(String::as_str).collect();
    init(&world, "template");
    add(&world, "template", &debs[..100]).ok();
    at_once(&world, &debs);
    for form in FORMS {
        for at in [3, 50, 97] {
            begin(&world);
            let path = published(&world, "repo", form);
            let mut bytes = fs::read(&path).unwrap();
            let at = bytes.len() * at / 100;
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            // Those who look find it, before and after.
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(world.bk(&["check", "repo"]).code(3).stdout.contains(&name));
            add(&world, "repo", &debs[100..]).ok();
            is_as_fresh(&world);
            let problems = world.bk(&["check", "repo"]).code(3).stdout;
            assert!(problems.lines().all(|line| line.contains(&name)), "{problems}");
        }
        // One that is shorter, and one that is gone.
        for length in [0, 10_000] {
            begin(&world);
            let path = published(&world, "repo", form);
            let bytes = fs::read(&path).unwrap();
            match length {
                0 => fs::remove_file(&path).unwrap(),
                _ => fs::write(&path, &bytes[..length]).unwrap(),
            }
            add(&world, "repo", &debs[100..]).ok();
            is_as_fresh(&world);
        }
    }
}

#[test]
fn a_damaged_object_is_never_published() {
    let world = prepared();
    let debs = packages(&world, 101, 1000);
    let debs: Vec<&str> = debs.iter().map(String::as_str).collect();
    add(&world, "repo", &debs[..100]).ok();
    let release = fs::read(world.path("repo/dists/stable/InRelease")).unwrap();
    assert!(chunks(&world).len() >= 3);
    // Their last bytes are those of the xz block.
    for (path, mut bytes) in chunks(&world) {
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    }
    // What did not change is copied from where it was published, and not read from them at all.
    fs::remove_dir_all(world.path("repo/.buildkit/layouts")).unwrap();
    add(&world, "repo", &debs[100..]).code(1).says("check --repair");
    assert_eq!(fs::read(world.path("repo/dists/stable/InRelease")).unwrap(), release);
    world.bk(&["check", "repo"]).code(3);
    world.bk(&["check", "repo", "--repair"]).ok();
    add(&world, "repo", &debs[100..]).ok();
    is_as_if_made_at_once(&world, &debs);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
}

#[test]
fn objects_without_sums_go_on_to_be_used() {
    let world = prepared();
    let debs = packages(&world, 101, 1000);
    let debs: Vec<&str> = debs.iter().map(String::as_str).collect();
    add(&world, "repo", &debs[..100]).ok();
    // As the version before wrote them: after the lengths come the parts.
    for (path, bytes) in chunks(&world) {
        fs::write(path, [b"BKC1", &bytes[4..24], &bytes[44..]].concat()).unwrap();
    }
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    add(&world, "repo", &debs[100..]).ok();
    is_as_if_made_at_once(&world, &debs);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
}

#[test]
fn what_a_large_addition_did_is_told_and_remembered() {
    let world = prepared();
    let debs: Vec<String> =
        (0..70).map(|i| world.deb(&format!("p{i:03}"), "1", "all", "")).collect();
    add(&world, "repo", &debs.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    let told =
        |repo: &str| world.bk(&["log", "--json", repo]).ok().matches("\"do\":\"add\"").count();
    assert_eq!(told("repo"), 70);
    world.bk(&["clone", "repo", "copy"]).ok();
    assert_eq!(told("copy"), 70);
    // What was published once keeps its name for ever.
    world.bk(&["remove", "repo", "p003"]).ok();
    let other = world.deb("p003", "1", "all", "Section: net\n");
    add(&world, "repo", &[&other]).code(1).says("is taken by a file with other content");
    let files: Vec<_> = fs::read_dir(world.path("repo/.buildkit/intents")).unwrap().collect();
    let [Ok(file)] = &files[..] else { panic!("{files:?}") };
    let bytes = fs::read(file.path()).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    let name = file.file_name().into_string().unwrap();
    for harm in [Some(damaged), None] {
        match harm {
            Some(damaged) => fs::write(file.path(), damaged).unwrap(),
            None => fs::remove_file(file.path()).unwrap(),
        }
        let problems = world.bk(&["check", "repo"]).code(3).stdout;
        assert!(problems.contains(&format!(".buildkit/intents/{name}")), "{problems}");
    }
    fs::write(file.path(), bytes).unwrap();
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
}
