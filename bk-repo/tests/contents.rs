//! `bk-repo contents`, against apt-ftparchive and apt-file.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{World, run};

fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, who)| (name.trim_end().to_owned(), who.to_owned()))
        .collect()
}

fn contents(world: &World, name: &str) -> BTreeMap<String, String> {
    let dir = world.path("repo/dists/stable/main");
    parse(&run(&dir, "zcat", &[&format!("{name}.gz")]))
}

#[test]
fn what_is_in_packages_is_what_apt_ftparchive_and_apt_file_say() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64", "--contents"]).ok();
    let debs = [
        world.deb("a", "1", "amd64", "Section: net\n"),
        world.deb("b", "1", "all", ""),
        world.deb_with("zst", "1", "amd64", "Section: misc\n", &["-Zzstd"]),
        // The same files as a version before.
        world.deb("a", "2", "amd64", "Section: net\n"),
    ];
    for deb in &debs {
        world.bk(&["add", "repo", deb]).ok();
    }
    let told = world.bk(&["contents", "repo"]).ok();
    assert!(told.contains("\tcontents\t"), "{told}");
    assert_eq!(world.bk(&["contents", "repo"]).ok(), "", "nothing changed");
    let oracle = parse(&run(&world.repo(), "apt-ftparchive", &["contents", "pool"]));
    assert_eq!(oracle.len(), 3);
    // Debian's have the section before the name; apt-ftparchive leaves it out here.
    let ours = contents(&world, "Contents-amd64");
    assert_eq!(ours["usr/share/doc/a/README"], "net/a");
    let bare = |who: &String| who.rsplit('/').next().unwrap().to_owned();
    let ours: BTreeMap<_, _> = ours.iter().map(|(name, who)| (name.clone(), bare(who))).collect();
    assert_eq!(ours, oracle);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    let apt = world.apt_file();
    apt.update(&[]);
    let conf = std::fs::read_to_string(apt.path("apt.conf")).unwrap();
    // What apt-file's package brings into apt's configuration.
    let extra = std::fs::read_to_string("/etc/apt/apt.conf.d/50apt-file.conf").unwrap();
    world.write("apt/apt.conf", format!("{extra}\n{conf}"));
    apt.update(&[]);
    let found = apt.run("apt-file", &["search", "doc/zst"]).ok();
    assert_eq!(found, "zst: /usr/share/doc/zst/README\n");
    world.bk(&["remove", "repo", "zst"]).ok();
    world.bk(&["contents", "repo"]).ok();
    apt.update(&[]);
    assert!(!contents(&world, "Contents-amd64").keys().any(|name| name.contains("zst")));
    // What was read of packages stays while they do.
    let old = ["repo", "-type", "f", "-exec", "touch", "-d", "9 days ago", "{}", "+"];
    run(&world.path(""), "find", &old);
    world.bk(&["gc", "repo"]).ok();
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
}

#[test]
fn a_package_that_cannot_be_read_is_named() {
    let world = World::new();
    let deb = world.deb("a", "1", "amd64", "");
    world.bk(&["add", "repo", &deb]).ok();
    world.bk(&["contents", "repo"]).ok();
    std::fs::remove_file(world.path("repo/pool/main/a/a/a_1_amd64.deb")).unwrap();
    world.bk(&["contents", "repo", "--suite", "stable"]).code(1).says("a_1_amd64.deb' is missing");
    world.bk(&["contents", "repo", "--suite", "none"]).code(2);
}
