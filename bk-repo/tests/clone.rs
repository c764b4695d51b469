//! `bk-repo clone`, `export` and `installkey`.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::World;

fn world() -> World {
    let world = World::new();
    let (a, b) = (world.deb("a", "1", "all", ""), world.deb("b", "1", "amd64", ""));
    world.bk(&["add", "repo", &a]).ok();
    world.bk(&["snapshot", "repo", "first"]).ok();
    world.bk(&["add", "repo", &b]).ok();
    world
}

#[test]
fn a_clone_is_the_same_and_goes_its_own_way() {
    let world = world();
    world.bk(&["clone", "-n", "repo", "new"]).ok();
    assert!(!world.path("new").exists());
    assert_eq!(world.bk(&["clone", "repo", "new"]).ok(), "new\n");
    for args in [&["list"][..], &["log"], &["snapshot"]] {
        let of = |repo: &str| world.bk(&[args, &[repo]].concat()).ok();
        assert_eq!(of("new"), of("repo"), "{args:?}");
    }
    assert_eq!(world.bk(&["check", "new"]).ok(), "");
    let read = |repo: &str| fs::read(world.path(repo).join("dists/stable/InRelease")).unwrap();
    assert_eq!(read("new"), read("repo"));
    let c = world.deb("c", "1", "all", "");
    world.bk(&["add", "new", &c]).ok();
    world.bk(&["rollback", "new", "--to", "first"]).ok();
    assert_eq!(world.bk(&["list", "repo"]).ok(), "a_1_all\nb_1_amd64\n");
    assert_eq!(world.bk(&["check", "repo"]).ok() + &world.bk(&["check", "new"]).ok(), "");
    let uri = format!("file:{}", world.path("new").display());
    let apt = world.apt(&uri);
    apt.update(&[]);
    world.bk(&["clone", "repo", "new"]).code(1).says("'new' is not empty");
}

#[test]
fn an_export_has_plain_files_that_apt_takes() {
    let world = world();
    world.bk(&["export", "repo", "-o", "out"]).ok();
    let links = common::run(&world.path(""), "find", &["out", "-type", "l"]);
    assert_eq!(links, "");
    assert!(!world.path("out/.buildkit").exists());
    let uri = format!("file:{}", world.path("out").display());
    let apt = world.apt(&uri);
    for by_hash in ["yes", "no"] {
        apt.forget();
        apt.update(&["-o", &format!("Acquire::By-Hash={by_hash}")]);
        apt.get(&["-d", "-y", "install", "b"]).ok();
    }
    world.bk(&["export", "repo", "-o", "out"]).code(1).says("is there already");
    world.bk(&["export", "repo", "-o", "x", "--suite", "none"]).code(2);
    assert!(!world.path("x").exists());
}

#[test]
fn an_installed_key_is_what_signed_by_can_name() {
    let world = world();
    let out = world.bk(&["installkey", "repo", "--keyring", "keyrings/own.asc"]).ok();
    assert_eq!(out, "keyrings/own.asc\n");
    world.bk(&["installkey", "repo", "--keyring", "keyrings/own.asc"]).ok();
    let apt = world.apt_file();
    let (repo, key) = (world.repo(), world.path("keyrings/own.asc"));
    world.write(
        "apt/test.sources",
        format!(
            "Types: deb\nURIs: file:{}\nSuites: stable\nComponents: main\nSigned-By: {}\n",
            repo.display(),
            key.display()
        ),
    );
    apt.update(&[]);
    assert_eq!(apt.versions("b"), ["1"]);
}
