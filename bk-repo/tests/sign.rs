//! `bk-repo sign`, against apt.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::World;

#[test]
fn a_suite_is_signed_again_when_half_its_time_is_over() {
    let world = World::new();
    let deb = world.deb("a", "1", "all", "");
    world.bk(&["key", "create"]).ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let at = |seconds: u64, args: &[&str]| {
        let mut command = world.command(args);
        command.env("SOURCE_DATE_EPOCH", seconds.to_string());
        common::Ran::new(command.output().unwrap()).ok()
    };
    let day = 24 * 3600;
    at(now - 9 * day, &["init", "repo", "--valid-for", "7d"]);
    at(now - 9 * day, &["add", "repo", &deb]);
    // Whatever this machine's own configuration says.
    let check = ["-o", "Acquire::Check-Valid-Until=true", "-o", "Acquire::Check-Date=true"];
    let apt = world.apt_file();
    let ran = apt.get(&[&check[..], &["update"]].concat());
    assert!(ran.code != 0 && ran.stderr.contains("expired"), "{}", ran.stderr);
    assert_eq!(at(now - 6 * day, &["sign", "repo"]), "", "that is early");
    assert!(at(now - 5 * day, &["sign", "repo"]).contains("\tsign\t"));
    let before = world.tree("repo");
    world.bk(&["sign", "repo", "-n"]).says("would sign 'stable'").ok();
    assert!(before == world.tree("repo"));
    world.bk(&["sign", "repo"]).ok();
    apt.update(&check);
    assert_eq!(apt.versions("a"), ["1"]);
    assert_eq!(world.bk(&["sign", "repo"]).ok(), "");
    assert!(world.bk(&["sign", "repo", "--all"]).ok().contains("\tsign\t"));
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    world.bk(&["init", "repo", "--valid-for", "0"]).ok();
    let release = std::fs::read_to_string(world.path("repo/dists/stable/Release")).unwrap();
    assert!(!release.contains("Valid-Until"), "{release}");
}

#[test]
fn a_server_signs_again_what_would_expire() {
    let world = World::new();
    let deb = world.deb("a", "1", "all", "");
    world.bk(&["key", "create"]).ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let at = |seconds: u64, args: &[&str]| {
        let mut command = world.command(args);
        command.env("SOURCE_DATE_EPOCH", seconds.to_string());
        common::Ran::new(command.output().unwrap()).ok()
    };
    let day = 24 * 3600;
    at(now - 9 * day, &["init", "repo", "--suite", "old", "--suite", "new", "--valid-for", "7d"]);
    at(now - 9 * day, &["add", "repo", "--suite", "old", &deb]);
    at(now - day, &["sign", "repo", "--all", "--suite", "new"]);
    let release = |suite: &str| {
        std::fs::read_to_string(world.path(&format!("repo/dists/{suite}/InRelease"))).unwrap()
    };
    let (old, new) = (release("old"), release("new"));
    let server = common::Server::start(&world, &["repo"]);
    let start = std::time::Instant::now();
    while release("old") == old {
        assert!(start.elapsed() < std::time::Duration::from_secs(60));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let apt = world.apt(&server.url());
    let check = ["-o", "Acquire::Check-Valid-Until=true", "-o", "Acquire::Check-Date=true"];
    apt.update(&check);
    assert_eq!(apt.versions("a"), ["1"]);
    assert!(release("new") == new, "that was early");
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    server.stop();
}
