//! `bk-repo adopt`, `import-reprepro` and `import-aptly`: archives of apt-ftparchive, reprepro and aptly.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{World, run};

/// A key of gpg's that is ours too; returns its fingerprint.
fn key(world: &World) -> String {
    let home = world.path("gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let options = ["--homedir", "gnupg", "--batch", "--pinentry-mode", "loopback"];
    let gpg = |args: &[&str]| run(&world.path(""), "gpg", &[&options[..], args].concat());
    let user = "A <a@example.com>";
    gpg(&["--passphrase", "", "--quick-gen-key", user, "ed25519", "sign", "never"]);
    gpg(&["--armor", "--output", "secret.asc", "--export-secret-keys"]);
    world.bk(&["key", "import", "secret.asc"]).ok().trim().to_owned()
}

fn done_with_gpg(world: &World) {
    run(&world.path(""), "gpgconf", &["--homedir", "gnupg", "--kill", "all"]);
}

fn inodes(dir: &Path) -> Vec<(String, u64)> {
    let found = run(dir, "find", &["pool", "-name", "*.deb"]);
    let mut all: Vec<(String, u64)> = found
        .lines()
        .map(|name| (name.to_owned(), fs::metadata(dir.join(name)).unwrap().ino()))
        .collect();
    all.sort();
    all
}

fn gpg_env(world: &World, program: &str, args: &[&str]) -> String {
    let mut command = std::process::Command::new(program);
    command.args(args).current_dir(world.path("")).env("GNUPGHOME", world.path("gnupg"));
    common::Ran::new(command.output().unwrap()).ok()
}

#[test]
fn a_repository_of_reprepro_goes_on_under_its_names_and_its_key() {
    let world = World::new();
    let key = key(&world);
    world.write(
        "repo/conf/distributions",
        format!(
            "Codename: bookworm\nSuite: stable\nComponents: main contrib\nArchitectures: amd64 source\n\
             Origin: O\nLabel: L\nDescription: d\nValidFor: 14d\nSignWith: {key}\n\
             DebOverride: override\n\nCodename: empty\nComponents: main\nArchitectures: amd64\n\
             SignWith: {key}\n"
        ),
    );
    world.write("repo/conf/override", "a Section utils\na Priority optional\n");
    let debs = [
        world.deb("a", "1", "amd64", "Section: net\nPriority: extra\n"),
        world.deb("b", "1:2", "all", "Section: contrib/net\nPriority: optional\n"),
    ];
    for deb in &debs {
        gpg_env(&world, "reprepro", &["-b", "repo", "--silent", "includedeb", "bookworm", deb]);
    }
    gpg_env(&world, "reprepro", &["-b", "repo", "--silent", "export"]);
    done_with_gpg(&world);
    let apt = |world: &World| {
        let apt = world.apt_file();
        apt.update(&[]);
        (apt.versions("a"), apt.versions("b"))
    };
    // The client was there before.
    world.bk(&["key", "export", &key, "-o", "key.asc"]).ok();
    let before = inodes(&world.repo());
    assert_eq!(before.len(), 2);
    assert_eq!(world.bk(&["import-reprepro", "-n", "repo"]).ok(), "repo\n");
    assert!(!world.path("repo/.buildkit").exists());
    assert_eq!(world.bk(&["import-reprepro", "repo"]).ok(), "repo\n");
    // The forms are reprepro's, whose clients may ask for them by name.
    let index = world.path("repo/dists/bookworm/main/binary-amd64");
    assert!(index.join("Packages.gz").exists() && !index.join("Packages.zst").exists());
    assert_eq!(inodes(&world.repo()), before, "no package was copied");
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    let list = world.bk(&["list", "repo", "--suite", "bookworm"]).ok();
    assert_eq!(list, "b_1:2_all\na_1_amd64\n", "contrib, main");
    let release = fs::read_to_string(world.path("repo/dists/bookworm/Release")).unwrap();
    for line in ["Suite: stable", "Codename: bookworm", "Origin: O", "Label: L", "Description: d"] {
        assert!(release.lines().any(|l| l == line), "{line} is not in {release}");
    }
    assert_eq!(apt(&world), (vec!["1".to_owned()], vec!["1:2".to_owned()]));
    let told = world.bk(&["override", "repo"]).ok();
    assert_eq!(told, "bookworm\ta\toptional\tutils\t-\n");
    let stanza = world.bk(&["list", "repo", "a", "--stanzas"]).ok();
    assert!(stanza.contains("Section: utils\n"), "{stanza}");
    // reprepro keeps one version, unless told.
    let next = world.deb("a", "2", "amd64", "");
    world.bk(&["add", "repo", "--suite", "bookworm", &next]).ok();
    assert_eq!(apt(&world).0, ["2"]);
    world.bk(&["import-reprepro", "repo"]).code(1).says("a repository already");
}

#[test]
fn what_aptly_has_published_goes_on() {
    let world = World::new();
    let key = key(&world);
    let root = world.path("aptly");
    world.write("aptly.conf", format!("{{\"rootDir\": \"{}\"}}", root.display()));
    let debs = [world.deb("aa", "1", "amd64", ""), world.deb("bb", "1", "all", "")];
    let aptly = |args: &[&str]| {
        gpg_env(&world, "aptly", &[&["-config=aptly.conf"], args].concat());
    };
    aptly(&["repo", "create", "r"]);
    aptly(&["repo", "add", "r", &debs[0], &debs[1]]);
    let key_option = format!("-gpg-key={key}");
    for prefix in ["", "team/x"] {
        let args = ["publish", "repo", "-batch", &key_option, "-distribution=stable"];
        let args = [&args[..], &["-architectures=amd64", "-acquire-by-hash", "r"]].concat();
        let place = [prefix];
        aptly(&[&args[..], &place[usize::from(prefix.is_empty())..]].concat());
    }
    done_with_gpg(&world);
    let public = root.join("public");
    let before = inodes(&public);
    let out = world.bk(&["import-aptly", "aptly"]).ok();
    assert_eq!(out, "aptly/public\naptly/public/team/x\n");
    assert_eq!(inodes(&public), before);
    for place in ["aptly/public", "aptly/public/team/x"] {
        assert_eq!(world.bk(&["check", place]).ok(), "");
        assert_eq!(world.bk(&["list", place]).ok(), "aa_1_amd64\nbb_1_all\n");
    }
    fs::rename(&public, world.repo()).unwrap();
    let apt = world.apt_file();
    for by_hash in ["yes", "no"] {
        apt.forget();
        apt.update(&["-o", &format!("Acquire::By-Hash={by_hash}")]);
        assert_eq!(apt.versions("aa"), ["1"]);
    }
    world.bk(&["import-aptly", "gnupg"]).code(1).says("nothing is published");
}

#[test]
fn an_archive_of_apt_ftparchive_is_adopted_if_its_packages_are_right() {
    let world = World::new();
    key(&world);
    done_with_gpg(&world);
    let deb = world.deb("a", "1", "amd64", "");
    let dist = world.path("repo/dists/stable/main/binary-amd64");
    fs::create_dir_all(&dist).unwrap();
    fs::create_dir_all(world.path("repo/pool/a")).unwrap();
    fs::copy(world.path(&deb), world.path("repo/pool/a").join(&deb)).unwrap();
    let packages = run(&world.repo(), "apt-ftparchive", &["packages", "pool"]);
    fs::write(dist.join("Packages"), packages).unwrap();
    let option = |name: &str, value: &str| format!("APT::FTPArchive::Release::{name}={value}");
    let options: Vec<String> = [
        ("Suite", "stable"),
        ("Codename", "nova"),
        ("Components", "main"),
        ("Architectures", "amd64"),
    ]
    .iter()
    .flat_map(|(name, value)| ["-o".to_owned(), option(name, value)])
    .collect();
    let mut args: Vec<&str> = options.iter().map(String::as_str).collect();
    args.extend(["release", "dists/stable"]);
    let release = run(&world.repo(), "apt-ftparchive", &args);
    fs::write(world.path("repo/dists/stable/Release"), release).unwrap();
    fs::write(world.path("repo/pool/a").join(&deb), "damaged").unwrap();
    world.bk(&["adopt", "repo"]).code(1).says("not what its index says");
    assert!(!world.path("repo/.buildkit/commits").exists());
    fs::copy(world.path(&deb), world.path("repo/pool/a").join(&deb)).unwrap();
    world.bk(&["adopt", "repo"]).ok();
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    let apt = world.apt_file();
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["1"]);
    world.bk(&["adopt", "gnupg"]).code(1).says("cannot take over 'gnupg'");
}
