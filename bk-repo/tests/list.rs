//! `bk-repo list` and `bk-repo remove`

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::World;

fn world() -> World {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64", "--arch", "arm64"]).ok();
    let mut args = vec!["add".to_owned(), "repo".into()];
    for (name, version, arch) in [
        ("a", "1", "all"),
        ("a", "1.10", "all"),
        ("a", "1.9", "all"),
        ("b", "1:2", "amd64"),
        ("b", "1:2", "arm64"),
    ] {
        args.push(world.deb(name, version, arch, ""));
    }
    world.bk(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    world
}

#[test]
fn packages_are_listed_in_order_each_once() {
    let world = world();
    let all = "a_1_all\na_1.9_all\na_1.10_all\nb_1:2_amd64\nb_1:2_arm64\n";
    assert_eq!(world.bk(&["list", "repo"]).ok(), all);
    assert_eq!(world.bk(&["list", "repo", "b"]).ok(), "b_1:2_amd64\nb_1:2_arm64\n");
    assert_eq!(world.bk(&["list", "repo", "a=1.9"]).ok(), "a_1.9_all\n");
    assert_eq!(world.bk(&["list", "repo", "*_*_arm64"]).ok(), "b_1:2_arm64\n");
    assert_eq!(world.bk(&["list", "repo", "none"]).ok(), "");
    let json = world.bk(&["list", "repo", "--json", "b=1:2"]).ok();
    for line in json.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = world.path(record["path"].as_str().unwrap());
        assert_eq!(record["size"], fs::metadata(path).unwrap().len());
    }
    assert_eq!(json.lines().count(), 2);
    let stanzas = world.bk(&["list", "repo", "--stanzas", "a=1"]).ok();
    assert!(stanzas.starts_with("Package: a\n") && stanzas.ends_with("a package for tests\n\n"));
    world.bk(&["list", "repo", "--suite", "x"]).code(2).says("it has stable");
}

#[test]
fn remove_takes_a_package_from_every_index() {
    let world = world();
    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["1.10", "1.9", "1"]);
    let before = world.tree("repo");
    assert_eq!(world.bk(&["remove", "-n", "repo", "a=1.9"]).ok(), "a_1.9_all\n");
    assert!(before == world.tree("repo"));
    assert_eq!(
        world.bk(&["remove", "repo", "a=1.9", "b_*_arm64"]).ok(),
        "a_1.9_all\nb_1:2_arm64\n"
    );
    assert_eq!(world.bk(&["list", "repo"]).ok(), "a_1_all\na_1.10_all\nb_1:2_amd64\n");
    for arch in ["amd64", "arm64"] {
        let path = world.path(&format!("repo/dists/stable/main/binary-{arch}/Packages"));
        assert!(!fs::read_to_string(path).unwrap().contains("Version: 1.9"));
    }
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["1.10", "1"]);
    world.bk(&["check", "repo"]).ok();
    let ran = world.bk(&["remove", "repo", "aa", "b"]).code(1);
    assert_eq!(ran.stdout, "b_1:2_amd64\n");
    ran.says("no package is 'aa'");
}
