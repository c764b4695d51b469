//! What a suite can be told to have (`bk-repo init`), against apt-get, apt-cache and apt-ftparchive.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{World, run};

fn read(world: &World, path: &str) -> String {
    fs::read_to_string(world.path("repo/dists/stable").join(path)).unwrap()
}

#[test]
fn long_descriptions_come_from_translation_en() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64", "--arch", "arm64", "--translations"]).ok();
    let (a, b) = (world.deb("a", "1", "all", ""), world.deb("b", "1", "amd64", ""));
    world.bk(&["add", "repo", &a, &b]).ok();
    let packages = read(&world, "main/binary-amd64/Packages");
    assert!(!packages.contains("a package for tests"), "{packages}");
    // The hash is the one apt-ftparchive writes, and so are the other fields.
    let options = ["-o", "APT::FTPArchive::LongDescription=false"];
    let oracle =
        run(&world.repo(), "apt-ftparchive", &[&options[..], &["packages", "pool"]].concat());
    let md5 = |text: &str| {
        text.lines().find(|line| line.starts_with("Description-md5")).map(str::to_owned)
    };
    assert!(md5(&oracle).is_some());
    assert_eq!(md5(&packages), md5(&oracle));
    let apt = world.apt_file();
    let shown = |package: &str| {
        apt.forget();
        apt.update(&["-o", "Acquire::Languages=en"]);
        apt.run("apt-cache", &["-o", "Acquire::Languages=en", "show", package]).ok()
    };
    assert!(shown("a").contains("a package for tests"));
    // Both have the same description: it stays until the last that has it goes.
    let c = world.deb("a", "2", "all", "");
    world.bk(&["add", "repo", &c]).ok();
    world.bk(&["remove", "repo", "a=1"]).ok();
    assert!(shown("a").contains("a package for tests"));
    assert_eq!(read(&world, "main/i18n/Translation-en").matches("Package: a\n").count(), 1);
    world.bk(&["remove", "repo", "a"]).ok();
    assert!(!read(&world, "main/i18n/Translation-en").contains("Package: a\n"));
    // A suite without translations gets whole descriptions, and the other way round.
    world.bk(&["init", "repo", "--suite", "plain", "--arch", "amd64"]).ok();
    world.bk(&["copy", "repo", "stable", "plain", "b"]).ok();
    let plain = fs::read_to_string(world.path("repo/dists/plain/main/binary-amd64/Packages"));
    assert!(plain.unwrap().contains("a package for tests"));
    world.bk(&["init", "repo", "--suite", "plain", "--translations"]).ok();
    let plain = fs::read_to_string(world.path("repo/dists/plain/main/binary-amd64/Packages"));
    assert!(!plain.unwrap().contains("a package for tests"));
    assert!(
        world.bk(&["list", "repo", "--suite", "plain", "--stanzas"]).ok().contains("for tests")
    );
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    apt.update(&[]);
}

#[test]
fn apt_updates_by_patches() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64", "--pdiffs", "3"]).ok();
    // Enough that a patch is worth it.
    let first: Vec<String> =
        (0..40).map(|i| world.deb(&format!("p{i}"), "1", "amd64", "")).collect();
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    world.bk(&[&["add", "repo"], &first[..]].concat()).ok();
    let server = common::Server::start(&world, &["repo"]);
    let apt = world.apt(&server.url());
    apt.update(&[]);
    let debug = ["-o", "Debug::pkgAcquire::Diffs=1", "-o", "Acquire::PDiffs=1"];
    let by_patches = |expected: bool| {
        let ran = apt.get(&[&debug[..], &["update"]].concat()).code(0);
        let told = ran.stdout + &ran.stderr;
        assert!(!told.contains("W:"), "{told}");
        assert_eq!(told.contains("Packages.diff/0"), expected, "{told}");
    };
    for (version, steps) in [(2, 1), (3, 2), (6, 3)] {
        for step in 0..steps {
            let deb = world.deb("p7", &format!("{version}.{step}"), "amd64", "");
            world.bk(&["add", "repo", &deb]).ok();
            world.bk(&["remove", "repo", &format!("p{}", version * 3 + step)]).ok();
            if step == 0 {
                by_patches(true);
            }
        }
        if steps == 3 {
            // Four changes back: further than patches reach.
            by_patches(false);
        } else {
            apt.update(&[]);
        }
        let ours = read(&world, "main/binary-amd64/Packages");
        let list = fs::read_dir(apt.path("lists")).unwrap().map(|e| e.unwrap().path());
        let list = list.into_iter().find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.contains("_binary-amd64_Packages") && !name.contains("diff")
        });
        let list = list.unwrap();
        let helper = ["cat-file", list.to_str().unwrap()];
        assert_eq!(run(&world.path(""), "/usr/lib/apt/apt-helper", &helper), ours);
    }
    // Back and forth: the way back is a patch too.
    world.bk(&["rollback", "repo"]).ok();
    by_patches(true);
    world.bk(&["rollback", "repo"]).ok();
    by_patches(true);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    world.bk(&["init", "repo", "--pdiffs", "0"]).ok();
    assert!(!read(&world, "Release").contains(".diff/"));
    apt.update(&[]);
    server.stop();
}

#[test]
fn packages_for_all_have_an_index_of_their_own() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64", "--arch", "arm64", "--binary-all"]).ok();
    let (a, b) = (world.deb("a", "1", "all", ""), world.deb("b", "1", "amd64", "Depends: a\n"));
    world.bk(&["add", "repo", &a, &b]).ok();
    assert!(read(&world, "Release").contains("\nArchitectures: all amd64 arm64\n"));
    assert!(!read(&world, "main/binary-amd64/Packages").contains("Package: a\n"));
    assert!(read(&world, "main/binary-all/Packages").contains("Package: a\n"));
    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["1"]);
    assert!(apt.get(&["-s", "install", "b"]).ok().contains("Inst a (1"));
    world.bk(&["init", "repo", "--binary-all=no"]).code(2).says("merge");
    world.bk(&["init", "repo", "--suite", "flat", "--arch", "amd64"]).ok();
    world.bk(&["merge", "repo", "flat", "stable"]).ok();
    let flat = fs::read_to_string(world.path("repo/dists/flat/main/binary-amd64/Packages"));
    assert!(flat.unwrap().contains("Package: a\n"));
    world.bk(&["remove", "repo", "a", "--suite", "stable"]).ok();
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
}

#[test]
fn the_newest_versions_stay() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64", "--keep", "2"]).ok();
    for version in ["1", "10", "9", "2"] {
        let deb = world.deb("a", version, "amd64", "");
        world.bk(&["add", "repo", &deb]).ok();
    }
    assert_eq!(world.bk(&["list", "repo"]).ok(), "a_9_amd64\na_10_amd64\n");
    let all: Vec<String> = (1..5).map(|v| world.deb("b", &v.to_string(), "all", "")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    world.bk(&[&["add", "repo"], &all[..]].concat()).ok();
    assert_eq!(world.bk(&["list", "repo", "b"]).ok(), "b_3_all\nb_4_all\n");
    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["10", "9"]);
    world.bk(&["init", "repo", "--keep", "0"]).ok();
    let deb = world.deb("b", "5", "all", "");
    world.bk(&["add", "repo", &deb]).ok();
    assert_eq!(world.bk(&["list", "repo", "b"]).ok().lines().count(), 3);
}

#[test]
fn apt_takes_only_the_keys_that_release_names() {
    let world = World::new();
    let deb = world.deb("a", "1", "all", "");
    world.bk(&["init", "repo", "--signed-by"]).ok();
    world.bk(&["add", "repo", &deb]).ok();
    let key = world.bk(&["key", "list"]).ok();
    assert!(read(&world, "Release").contains(&format!("\nSigned-By: {}\n", key.trim())));
    let apt = world.apt_file();
    apt.update(&[]);
    // With the old key and the new one named, apt follows a rotation.
    world.bk(&["key", "rotate", "repo"]).ok();
    apt.update(&[]);
    world.apt_file().update(&[]);
    world.bk(&["key", "rotate", "repo", "--finish"]).ok();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["1"]);
}

#[test]
fn a_new_architecture_gets_what_is_for_all() {
    let world = World::new();
    let deb = world.deb("a", "1", "all", "");
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    world.bk(&["add", "repo", &deb]).ok();
    world.bk(&["init", "repo", "--arch", "arm64"]).ok();
    assert!(read(&world, "main/binary-arm64/Packages").contains("Package: a\n"));
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
}

#[test]
fn a_suite_has_the_forms_it_is_told_to_have() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64", "--compression", "gz", "--translations"]).ok();
    let a = world.deb("a", "1", "amd64", "");
    world.bk(&["add", "repo", &a]).ok();
    let forms = |suite: &str| {
        let dir = world.path(&format!("repo/dists/{suite}/main/binary-amd64"));
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != "by-hash");
        names.sort();
        // Each is the same text, says the program it is of.
        let plain = fs::read_to_string(dir.join("Packages")).unwrap();
        for (program, suffix) in [("gzip", ".gz"), ("xz", ".xz"), ("zstd", ".zst")] {
            let name = format!("Packages{suffix}");
            if names.contains(&name) {
                assert_eq!(run(&dir, program, &["-dcqf", &name]), plain, "{name}");
            }
        }
        let release = fs::read_to_string(dir.join("../../Release")).unwrap();
        let listed: Vec<&str> =
            release.lines().filter_map(|line| line.split("/binary-amd64/").nth(1)).collect();
        assert_eq!(listed, names);
        names
    };
    let all = ["Packages", "Packages.gz", "Packages.xz", "Packages.zst"];
    assert_eq!(forms("stable"), all[..2]);
    let apt = world.apt_file();
    let seen = |versions: &[&str]| {
        apt.forget();
        apt.update(&[]);
        assert_eq!(apt.versions("a"), versions);
    };
    seen(&["1"]);
    world.bk(&["snapshot", "repo", "first", "--suite", "stable"]).ok();

    // What came from a suite with fewer gets the others, and the other way round.
    world.bk(&["init", "repo", "--suite", "testing", "--arch", "amd64"]).ok();
    // By default what every client reads, and what it reads quickly.
    assert_eq!(forms("testing"), [all[0], all[1], all[3]]);
    world.bk(&["init", "repo", "--suite", "testing", "--compression", "gz,xz,zst"]).ok();
    world.bk(&["copy", "repo", "stable", "testing", "a"]).ok();
    assert_eq!(forms("testing"), all);
    world.bk(&["init", "repo", "--suite", "stable", "--compression", "zst,xz,xz"]).ok();
    assert_eq!(forms("stable"), [all[0], all[2], all[3]]);
    world.bk(&["add", "repo", "--suite", "stable", &world.deb("a", "2", "amd64", "")]).ok();
    seen(&["2", "1"]);
    world.bk(&["rollback", "repo", "--suite", "stable", "--to", "first"]).ok();
    assert_eq!(forms("stable"), [all[0], all[2], all[3]]);
    seen(&["1"]);
    world.bk(&["init", "repo", "--suite", "stable", "--compression", "none"]).ok();
    assert_eq!(forms("stable"), all[..1]);
    seen(&["1"]);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");

    // Objects that lack forms are repaired from those they have.
    let objects = world.path("repo/.buildkit/objects");
    let mut mended = 0;
    for object in run(&objects, "find", &[".", "-type", "f"]).lines() {
        let path = objects.join(object);
        let mut bytes = fs::read(&path).unwrap();
        if bytes.starts_with(b"BKC3") {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            bk::file::write(&path, bytes).unwrap();
            mended += 1;
        }
    }
    assert!(mended > 1, "{mended}");
    world.bk(&["check", "repo"]).code(3);
    world.bk(&["check", "repo", "--repair"]).code(0);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");

    for wrong in ["", "bz2", "gz,", "gz xz"] {
        world.bk(&["init", "repo", "--compression", wrong]).code(2).says("gz, xz and zst");
    }
}
