//! `bk-repo rollback` and `bk-repo log`, against apt-get.

#![allow(clippy::unwrap_used)]

mod common;

use common::World;

#[test]
fn apt_takes_a_state_that_was_rolled_back() {
    let world = World::new();
    let debs = [world.deb("a", "1", "all", ""), world.deb("a", "2", "all", "")];
    world.bk(&["add", "repo", &debs[0]]).ok();
    world.bk(&["add", "repo", &debs[1]]).ok();
    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["2", "1"]);
    world.bk(&["rollback", "repo", "--dry-run"]).ok();
    let told = world.bk(&["rollback", "repo"]).ok();
    assert!(told.starts_with("3\t") && told.ends_with("\trollback\tstable to 1\n"), "{told}");
    // apt keeps what it has if the Date is older: it is not.
    for by_hash in ["yes", "no"] {
        apt.update(&["-o", &format!("Acquire::By-Hash={by_hash}")]);
        assert_eq!(apt.versions("a"), ["1"]);
    }
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    world.bk(&["rollback", "repo", "--to", "2"]).ok();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["2", "1"]);
    world.bk(&["rollback", "repo", "--to", "9"]).code(1).says("commit 9 has no suite 'stable'");

    let log = world.bk(&["log", "repo"]).ok();
    let told: Vec<String> = log
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            format!("{} {} {}", fields[0], fields[2], fields[3])
        })
        .collect();
    let expected = [
        "4 rollback stable to 2",
        "3 rollback stable to 1",
        "2 add stable +1 -0",
        "1 add stable +1 -0",
    ];
    assert_eq!(told, expected);
    assert_eq!(
        world.bk(&["log", "repo", "-n", "1"]).ok(),
        log.lines().next().unwrap().to_owned() + "\n"
    );
    let json = world.bk(&["log", "repo", "--json", "-n", "1"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["number"].as_u64(), json["type"].as_str()), (Some(4), Some("commit")));
}

#[test]
fn indexes_that_retention_removed_come_back() {
    let world = World::new();
    let debs: Vec<String> = (1..=6).map(|v| world.deb("a", &v.to_string(), "all", "")).collect();
    for deb in &debs {
        world.bk(&["add", "repo", deb]).ok();
    }
    let hashes = world.path("repo/dists/stable/main/binary-amd64/by-hash/SHA256");
    // As a day later: nothing is left but what is published.
    for entry in std::fs::read_dir(&hashes).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    world.bk(&["rollback", "repo", "--to", "1"]).ok();
    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["1"]);
}
