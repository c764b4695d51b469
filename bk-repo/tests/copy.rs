//! `bk-repo copy`, against apt-get.

#![allow(clippy::unwrap_used)]

mod common;

use common::World;

#[test]
fn apt_sees_what_was_promoted_and_no_package_is_copied() {
    let world = World::new();
    let init = ["init", "repo", "--suite", "testing", "--suite", "stable", "--arch", "amd64"];
    world.bk(&[&init[..], &["--arch", "arm64"]].concat()).ok();
    let debs = [
        world.deb("a", "1", "amd64", ""),
        world.deb("b", "1", "all", ""),
        world.deb("c", "1", "all", ""),
    ];
    for deb in &debs {
        world.bk(&["add", "repo", "--suite", "testing", deb]).ok();
    }
    let pool = world.tree("repo/pool");
    let options = ["copy", "repo", "testing", "stable"];
    world.bk(&[&options[..], &["--dry-run", "*"]].concat()).ok();
    assert_eq!(world.bk(&["list", "repo", "--suite", "stable"]).ok(), "");
    let ran = world.bk(&[&options[..], &["a", "b", "b=1", "none"]].concat()).code(1);
    assert_eq!(ran.stdout, "a_1_amd64\nb_1_all\n");
    ran.says("no package of 'testing' is 'none'");
    assert_eq!(world.bk(&["list", "repo", "--suite", "stable"]).ok(), "a_1_amd64\nb_1_all\n");
    assert_eq!(world.tree("repo/pool"), pool);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");

    // One for all architectures is there for each.
    for arch in ["amd64", "arm64"] {
        let index = format!("repo/dists/stable/main/binary-{arch}/Packages");
        let text = std::fs::read_to_string(world.path(&index)).unwrap();
        assert!(text.contains("Package: b\n") && !text.contains("Package: c\n"), "{arch}: {text}");
    }
    let apt = world.apt_file();
    apt.update(&[]);
    let policy = apt.run("apt-cache", &["policy", "a"]).ok();
    assert!(policy.contains("stable/main") && policy.contains("testing/main"), "{policy}");
    // Nothing to do is done at once, without a commit.
    let before = world.bk(&["log", "repo"]).ok();
    world.bk(&[&options[..], &["a"]].concat()).ok();
    assert_eq!(world.bk(&["log", "repo"]).ok(), before);
    world.bk(&["copy", "repo", "testing", "none", "a"]).code(2).says("has no suite 'none'");
}
