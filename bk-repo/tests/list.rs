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

#[test]
fn expressions_find_what_aptlys_find() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64", "--arch", "i386"]).ok();
    let debs = [
        world.deb(
            "web",
            "1.0-1",
            "amd64",
            "Section: net\nPriority: optional\nDepends: lib (>= 1)\n",
        ),
        world.deb("web", "2.0~rc1-1", "amd64", "Section: net\nPriority: optional\n"),
        world.deb("web", "1:0.5", "i386", "Section: net\nPriority: extra\n"),
        world.deb(
            "lib",
            "1.5",
            "all",
            "Section: libs\nSource: libsrc (1.5-2)\nPriority: required\n",
        ),
        world.deb(
            "mailer",
            "3",
            "all",
            "Section: mail\nProvides: mail-agent, smtp\nPriority: optional\n",
        ),
        world.deb(
            "python3-web",
            "2.10",
            "all",
            "Section: python\nPriority: optional\nTag: role::x\n",
        ),
        world.deb(
            "python3-lib",
            "2.9",
            "all",
            "Section: python\nPriority: optional\nSource: libsrc\n",
        ),
    ];
    let words: Vec<&str> = debs.iter().map(String::as_str).collect();
    world.bk(&[&["add", "repo"], &words[..]].concat()).ok();
    let root = world.path("aptly");
    world.write("aptly.conf", format!("{{\"rootDir\": \"{}\"}}", root.display()));
    let aptly = |args: &[&str]| {
        let mut command = std::process::Command::new("aptly");
        command.arg("-config=aptly.conf").args(args).current_dir(world.path(""));
        common::Ran::new(command.output().unwrap())
    };
    aptly(&["repo", "create", "r"]).ok();
    aptly(&[&["repo", "add", "r"], &words[..]].concat()).ok();
    let mut hits = 0;
    for query in [
        "web (>= 1.0-1)",
        "web (<< 1.0)",
        "web (= 2.0~rc1-1)",
        "web (2.0~rc1-1)",
        "lib | web (>> 2)",
        "Name (% python3-*)",
        "Name (% *[bl]), Priority (optional)",
        "Name (~ '^(web|lib)$')",
        "Name (~ eb)",
        "!Name (% python3-*)",
        "(Section (net) | Section (libs)), !Priority (extra)",
        "$Architecture (i386)",
        "$Architecture (amd64)",
        "$Architecture (all)",
        "$PackageType (deb)",
        "$PackageType (source)",
        "$Source (libsrc)",
        "$Source (web)",
        "$SourceVersion (>= 1.5-2)",
        "$Version (>= 2)",
        "Version (<= 1.5)",
        "Tag",
        "!Tag, Section (python)",
        "Priority (~ ^op), $Version (<< 2.10)",
        "Depends (% lib*)",
        "web {i386}",
        "web (>= 0) {amd64}",
        "lib_1.5_all",
        "Name (= mailer) | Section ('python')",
        "Name (% 'python3-[a-k]*')",
    ] {
        let expected = aptly(&["repo", "search", "r", query]);
        let mut expected: Vec<&str> = expected.stdout.lines().collect();
        let found = world.bk(&["list", "repo", query]).ok();
        let mut found: Vec<&str> = found.lines().collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{query}");
        hits += usize::from(!found.is_empty());
    }
    assert!(hits > 22, "{hits}");
    // Where ours differs: only in brackets a name may be one that is provided.
    assert_eq!(world.bk(&["list", "repo", "mail-agent"]).ok(), "");
    assert_eq!(world.bk(&["list", "repo", "mail-agent ()"]).ok(), "mailer_3_all\n");
    assert_eq!(
        world.bk(&["list", "repo", "web=1.0-1", "--with-deps"]).ok(),
        "lib_1.5_all\nweb_1.0-1_amd64\n"
    );
    world.bk(&["list", "repo", "Name (~ '[')"]).code(2).says("bk-repo-list(1)");
}

#[test]
fn everything_is_removed_with_all() {
    let world = world();
    world.bk(&["remove", "repo"]).code(2);
    world.bk(&["remove", "repo", "-a", "a"]).code(2);
    assert_eq!(world.bk(&["remove", "repo", "-a"]).ok().lines().count(), 5);
    assert_eq!(world.bk(&["list", "repo"]).ok(), "");
    world.bk(&["remove", "repo", "-a"]).ok();
    let apt = world.apt_file();
    apt.update(&[]);
    assert!(apt.versions("a").is_empty());
}
