//! `bk-repo gc`

#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::World;

/// Makes everything in the repository look as if it was written some days ago.
fn age(world: &World, days: u32) {
    let touch = format!("{days} days ago");
    let mut find = Command::new("find");
    find.arg(world.repo()).args(["-type", "f", "-exec", "touch", "-d", &touch, "{}", "+"]);
    assert!(find.status().unwrap().success());
}

#[test]
fn only_what_nothing_needs_goes() {
    let world = World::new();
    let debs: Vec<String> = (1..=6).map(|v| world.deb("a", &v.to_string(), "all", "")).collect();
    for deb in &debs {
        world.bk(&["add", "repo", deb]).ok();
    }
    for version in 1..=3 {
        world.bk(&["remove", "repo", &format!("a={version}")]).ok();
    }
    // A crash between the pool and the commit leaves this.
    let orphan = world.write("repo/pool/main/x/x/x_1_all.deb", "x");
    assert_eq!(world.bk(&["gc", "repo"]).ok(), "", "all is of today");
    age(&world, 3);
    assert_eq!(world.bk(&["gc", "repo", "--keep", "1w"]).ok(), "");
    let would = world.bk(&["gc", "repo", "-n"]).ok();
    let gone = world.bk(&["gc", "repo"]).ok();
    assert_eq!(would, gone);
    let pool: Vec<&str> = gone.lines().filter(|line| line.starts_with("pool/")).collect();
    // The two generations before this one need a_2 and a_3.
    assert_eq!(pool, ["pool/main/a/a/a_1_all.deb", "pool/main/x/x/x_1_all.deb"]);
    assert!(gone.lines().any(|line| line.starts_with(".buildkit/objects/")));
    assert!(!orphan.exists());
    assert_eq!(world.bk(&["gc", "repo"]).ok(), "");

    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["6", "5", "4"]);
    world.bk(&["rollback", "repo"]).ok();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["6", "5", "4", "3"]);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    // What is gone is missed before anything is changed.
    world.bk(&["rollback", "repo", "--to", "1"]).code(1).says("is missing");
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    world.bk(&["add", "repo", &debs[0]]).ok();
    apt.update(&[]);
}

#[test]
fn a_slow_writer_keeps_what_it_brought() {
    let world = World::new();
    let first = world.deb("a", "1", "all", "");
    world.bk(&["add", "repo", &first]).ok();
    let (mut kept_away, mut beside) = (0, 0);
    let mut versions = Vec::new();
    // At each call by which it takes a lock or gives a file its name.
    for when in 1.. {
        let version = format!("{when}");
        let deb = world.deb("slow", &version, "all", "");
        let add = world.command(&["add", "repo", &deb]);
        let (stopped, ran) = common::stop(&add, ("flock,renameat2", &[]), when, |_| {
            age(&world, 3);
            let gc = world.bk(&["gc", "repo", "--keep", "1m", "--wait", "0"]);
            if gc.code == 75 {
                kept_away += 1;
                return;
            }
            assert!(!gc.ok().contains("slow_"));
            beside += 1;
        });
        ran.ok();
        versions.insert(0, version);
        assert_eq!(world.bk(&["check", "repo"]).ok(), "", "stopped at call {when}");
        if !stopped {
            break;
        }
    }
    assert!(kept_away > 0 && beside > 0, "{kept_away} {beside}");
    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("slow"), versions);
    for version in &versions {
        apt.get(&["download", &format!("slow={version}")]).ok();
    }
}
