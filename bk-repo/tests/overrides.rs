//! `bk-repo override`, against apt-ftparchive with an override file, and apt.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{World, run};

fn packages(world: &World) -> String {
    fs::read_to_string(world.path("repo/dists/stable/main/binary-amd64/Packages")).unwrap()
}

fn fields(text: &str, package: &str, names: &[&str]) -> Vec<String> {
    let stanza =
        text.split("\n\n").find(|s| s.starts_with(&format!("Package: {package}\n"))).unwrap();
    let field = |name: &&str| {
        let start = format!("{name}: ");
        stanza.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("-").to_owned()
    };
    names.iter().map(field).collect()
}

#[test]
fn an_override_file_says_what_it_says_to_apt_ftparchive() {
    let world = World::new();
    let debs = [
        world.deb("a", "1", "amd64", "Section: net\nPriority: extra\n"),
        world.deb("b", "1", "all", ""),
        world.deb("c", "1", "all", "Section: misc\nPriority: optional\n"),
    ];
    world.bk(&["add", "repo", &debs[0], &debs[2]]).ok();
    let before = packages(&world);
    let file = "# package priority section\na optional utils\nb important admin # a note\n";
    world.write("override.main", file);
    let told = world.bk(&["override", "repo", "--file", "override.main"]).ok();
    assert_eq!(told, "stable\ta\toptional\tutils\t-\nstable\tb\timportant\tadmin\t-\n");
    // Also those that come later.
    world.bk(&["add", "repo", &debs[1]]).ok();
    let oracle = run(&world.repo(), "apt-ftparchive", &["packages", "pool", "../override.main"]);
    for package in ["a", "b", "c"] {
        let names = ["Section", "Priority", "Version", "SHA256"];
        let ours = fields(&packages(&world), package, &names);
        let mut theirs = fields(&oracle, package, &names);
        // With an override file, apt-ftparchive forgets what a package says that is not in it.
        if package == "c" {
            theirs[..2].clone_from_slice(&["misc".to_owned(), "optional".into()]);
        }
        assert_eq!(ours, theirs);
    }
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    world.bk(&["override", "repo", "a", "b", "--remove"]).ok();
    world.bk(&["remove", "repo", "b"]).ok();
    assert_eq!(packages(&world), before);
    assert_eq!(world.bk(&["override", "repo"]).ok(), "");
}

#[test]
fn apt_holds_a_phased_update_back() {
    let world = World::new();
    let debs = [world.deb("a", "1", "all", ""), world.deb("a", "2", "all", "")];
    world.bk(&["add", "repo", &debs[0], &debs[1]]).ok();
    world.bk(&["override", "repo", "a", "--phased", "0"]).ok();
    assert_eq!(fields(&packages(&world), "a", &["Phased-Update-Percentage"]), ["0"]);
    let apt = world.apt_file();
    let status = "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\
                  Maintainer: A <a@example.com>\nDescription: x\n\n";
    world.write("apt/status", status);
    apt.update(&[]);
    let upgraded = |apt: &common::Apt| {
        // apt asks for the machine's number; any will do.
        let options = ["-o", "APT::Machine-ID=0123456789abcdef0123456789abcdef", "-s", "upgrade"];
        apt.get(&options).ok().contains("Inst a [1]")
    };
    assert!(!upgraded(&apt));
    world.bk(&["override", "repo", "a", "--phased", "100"]).ok();
    apt.update(&[]);
    assert!(upgraded(&apt));
    assert_eq!(world.bk(&["override", "repo"]).ok(), "");
    world.bk(&["override", "repo", "a"]).code(2).says("--section");
    world.bk(&["override", "repo", "a", "--section", "../x"]).code(2);
}
