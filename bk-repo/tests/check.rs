//! `bk-repo check`

// In place, as a failing disk would: what else has the file as its name sees it too.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs;

use common::World;

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
