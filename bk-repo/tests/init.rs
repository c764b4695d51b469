//! `bk-repo init`

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::World;

fn release(world: &World, suite: &str) -> String {
    fs::read_to_string(world.path(&format!("repo/dists/{suite}/Release"))).unwrap()
}

#[test]
fn the_defaults_are_stable_main_and_this_machine() {
    let world = World::new();
    assert_eq!(world.bk(&["init", "repo"]).ok(), "repo\n");
    let release = release(&world, "stable");
    let arch = common::run(&world.path(""), "dpkg", &["--print-architecture"]);
    assert!(release.contains(&format!("\nArchitectures: {}", arch)), "{release}");
    assert!(release.contains("\nComponents: main\n") && release.contains("\nSuite: stable\n"));
    // apt takes an empty repository for what it is, in every compression.
    let apt = world.apt_file();
    for kind in ["gz", "zst"] {
        apt.forget();
        apt.update(&["-o", &format!("Acquire::CompressionTypes::Order::={kind}")]);
    }
    let key = fs::read_dir(world.path("root/var/lib/buildkit/key")).unwrap().next().unwrap();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&key.unwrap().metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let listed = world.bk(&["key", "list", "--json"]).ok();
    assert!(listed.contains("BuildKit-Automatic-Packaging <buildkit@example.com>"), "{listed}");
}

#[test]
fn several_suites_components_and_architectures() {
    let world = World::new();
    let args = [
        "init",
        "repo",
        "--suite",
        "stable",
        "--suite",
        "testing",
        "--component",
        "main",
        "--component",
        "contrib",
        "--arch",
        "amd64",
        "--arch",
        "arm64",
        "--origin",
        "O o",
        "--label",
        "L",
        "--codename",
        "nova",
        "--valid-for",
        "7d",
        "--not-automatic",
        "--but-automatic-upgrades",
    ];
    world.bk(&args).ok();
    let text = release(&world, "testing");
    for line in [
        "Origin: O o",
        "Label: L",
        "Codename: nova",
        "NotAutomatic: yes",
        "ButAutomaticUpgrades: yes",
        "Architectures: amd64 arm64",
        "Components: main contrib",
        "Acquire-By-Hash: yes",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
    }
    let seconds = |field: &str| -> i64 {
        let date = text.lines().find_map(|l| l.strip_prefix(field)).unwrap();
        common::run(&world.path(""), "date", &["-d", date, "+%s"]).trim().parse().unwrap()
    };
    assert_eq!(seconds("Valid-Until: ") - seconds("Date: "), 7 * 24 * 3600);
    let everywhere = world.deb("all", "1", "all", "Section: contrib/net\n");
    let here = world.deb("here", "1", "arm64", "");
    world.bk(&["add", "repo", &here]).code(2).says("several suites");
    world.bk(&["add", "repo", "--suite", "testing", &everywhere, &here]).ok();
    let packages = |index: &str| {
        let path = world.path(&format!("repo/dists/testing/{index}/Packages"));
        fs::read_to_string(path).unwrap().lines().filter(|l| l.starts_with("Package: ")).count()
    };
    assert_eq!(packages("main/binary-arm64"), 1);
    assert_eq!(packages("main/binary-amd64"), 0);
    assert_eq!(packages("contrib/binary-arm64"), 1);
    assert_eq!(packages("contrib/binary-amd64"), 1);
    world.bk(&["check", "repo"]).ok();
    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("all"), ["1"]);
    // NotAutomatic with ButAutomaticUpgrades is priority 100 (apt_preferences(5)).
    let policy = apt.run("apt-cache", &["policy", "all"]).ok();
    assert!(policy.contains("1 100"), "{policy}");
}

#[test]
fn init_again_adds_what_is_new_and_else_writes_nothing() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    let before = world.tree("repo");
    world.bk(&["init", "repo"]).ok();
    assert!(before == world.tree("repo"));
    let deb = world.deb("a", "1", "all", "");
    world.bk(&["add", "repo", &deb]).ok();
    world.bk(&["init", "repo", "--arch", "arm64"]).ok();
    assert!(release(&world, "stable").contains("\nArchitectures: amd64 arm64\n"));
    assert!(world.path("repo/dists/stable/main/binary-arm64/Packages.zst").exists());
    world.bk(&["check", "repo"]).ok();
    world.bk(&["init", "-n", "other"]).ok();
    assert!(!world.path("other").exists());
    world.bk(&["init", "repo", "--suite", "../x"]).code(2);
    world.bk(&["list", "nowhere"]).code(1).says("'nowhere' is no repository");
}
