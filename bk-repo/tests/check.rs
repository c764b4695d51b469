//! `bk-repo check`

// In place, as a failing disk would: what else has the file as its name sees it too.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs;

use common::{Numbers, World};

#[test]
fn every_kind_of_damage_is_found() {
    let world = World::new();
    let deb = world.deb("a", "1", "amd64", "");
    world.bk(&["add", "repo", &deb]).ok();
    world.bk(&["check", "repo"]).ok();
    let clean = world.tree("repo");
    for (name, bytes) in &clean {
        // The lock has no content, and the hint of the latest commit may say anything.
        if name.ends_with("/lock") || name.ends_with("/head") {
            continue;
        }
        let path = world.path("repo").join(name);
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        for harm in ["changed", "truncated", "removed"] {
            match harm {
                "changed" => fs::write(&path, &damaged).unwrap(),
                "truncated" => fs::write(&path, &bytes[..middle]).unwrap(),
                _ => fs::remove_file(&path).unwrap(),
            }
            let ran = world.bk(&["check", "repo"]);
            // Without its only commit it is no repository, which is status 1.
            assert!(
                ran.code == 3 || (ran.code == 1 && name.contains("commits")),
                "{harm} {name}: {}",
                ran.code
            );
            // By-hash files and index names are one file: write it anew, for both.
            fs::write(&path, bytes).unwrap();
        }
    }
    world.bk(&["check", "repo"]).ok();
}

#[test]
fn two_hundred_corruptions_are_found_and_what_can_be_derived_is_repaired() {
    let world = World::new();
    let init = ["init", "repo", "--arch", "amd64", "--translations", "--contents", "--pdiffs", "3"];
    world.bk(&init).ok();
    let debs: Vec<String> = (0..30)
        .map(|i| world.deb(&format!("p{i}"), "1", if i % 3 == 0 { "all" } else { "amd64" }, ""))
        .collect();
    let first: Vec<&str> = debs[..20].iter().map(String::as_str).collect();
    world.bk(&[&["add", "repo"], &first[..]].concat()).ok();
    world.bk(&["snapshot", "repo", "first"]).ok();
    for deb in &debs[20..] {
        world.bk(&["add", "repo", deb]).ok();
    }
    world.bk(&["contents", "repo"]).ok();
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    let mut files = world.tree("repo");
    // The lock has no content, the hint of the latest commit may say anything; a file is one
    // whatever its names, but the signed ones move with each generation.
    let signed = ["Release", "Release.gpg", "InRelease"];
    files.retain(|(name, bytes)| {
        let link = fs::symlink_metadata(world.path("repo").join(name)).unwrap().is_symlink();
        !name.ends_with("/lock")
            && !name.ends_with("/head")
            && !bytes.is_empty()
            && !name.contains("/.generations/")
            && !name.contains("/.current/")
            && (!link || signed.iter().any(|file| name.ends_with(&format!("stable/{file}"))))
    });
    let head = fs::read_to_string(world.path("repo/.buildkit/head")).unwrap();
    let mut numbers = Numbers(20_261_125);
    let (mut repaired, mut kinds) = (0, std::collections::BTreeSet::new());
    for round in 0..200 {
        let (name, bytes) = &files[numbers.below(files.len())];
        let path = world.path("repo").join(name);
        let at = numbers.below(bytes.len());
        let mut damaged = bytes.clone();
        match round % 4 {
            0 => damaged[at] ^= 1 << numbers.below(8),
            1 => damaged.truncate(at),
            2 => damaged.extend_from_slice(b"x"),
            _ => damaged[at..].iter_mut().for_each(|byte| *byte = 0),
        }
        if damaged == *bytes {
            continue;
        }
        fs::write(&path, &damaged).unwrap();
        let ran = world.bk(&["check", "repo"]);
        let of_head =
            name.contains("/commits/") && name.ends_with(&format!("{:0>12}", head.trim()));
        assert!(ran.code == 3 || (ran.code == 1 && of_head), "{name}: {} {}", ran.code, ran.stderr);
        let derived = name.starts_with("dists/")
            || name.starts_with("key.asc")
            || name.starts_with(".buildkit/contents/");
        // Objects of today can be derived; those of states of before often.
        if derived || name.starts_with(".buildkit/objects/") {
            let told = world.bk(&["check", "repo", "--repair"]);
            if derived {
                assert_eq!(told.code, 0, "{name}: {}{}", told.stdout, told.stderr);
                assert!(told.stdout.lines().all(|line| line.ends_with("\trepaired")));
            }
            repaired += usize::from(told.code == 0);
            let again = fs::read(&path).unwrap_or_default();
            assert!(
                again == *bytes
                    || told.code == 3
                    || again.is_empty()
                    || name.contains("/.generations/"),
                "{name}"
            );
            kinds.insert(name.split('/').take(2).collect::<Vec<_>>().join("/"));
        } else if !of_head {
            // The only copy there is: it is told, and told again.
            let told = world.bk(&["check", "repo", "--repair"]).code(3);
            assert!(told.stdout.contains(name.as_str()), "{name}: {}", told.stdout);
        }
        if fs::read(&path).ok().as_deref() != Some(bytes) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
        }
    }
    assert!(repaired > 60 && kinds.len() >= 3, "{repaired} {kinds:?}");
    world.apt_file().update(&[]);
}

#[test]
fn what_a_crash_left_in_the_pool_takes_no_name() {
    let world = World::new();
    let a = world.deb("a", "1", "all", "");
    world.bk(&["add", "repo", &a]).ok();
    // Placed, and then killed before the commit.
    world.write("repo/pool/main/b/b/b_1_all.deb", "other bytes");
    let b = world.deb("b", "1", "all", "");
    world.bk(&["add", "repo", &b]).ok();
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    // What was published once keeps its name for ever.
    world.bk(&["remove", "repo", "a"]).ok();
    let other = world.deb("a", "1", "all", "Section: net\n");
    world.bk(&["add", "repo", &other]).code(1).says("is taken by a file with other content");
}
