//! `bk-repo add`, against apt-get, gpgv, sqv and apt-ftparchive.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{World, run};

#[test]
fn apt_installs_what_was_added_over_file_in_every_compression() {
    let world = World::new();
    let deb = world.deb("hello", "1:1.0-1", "amd64", "Depends: data (>= 1)\n");
    let data = world.deb("data", "1.5", "all", "");
    let out = world.bk(&["add", "repo", &deb, &data]).says("made the repository").ok();
    assert_eq!(
        out,
        "repo/pool/main/h/hello/hello_1.0-1_amd64.deb\nrepo/pool/main/d/data/data_1.5_all.deb\n"
    );
    let apt = world.apt_file();
    for kind in ["gz", "zst"] {
        for by_hash in ["yes", "no"] {
            apt.forget();
            let order = format!("Acquire::CompressionTypes::Order::={kind}");
            apt.update(&["-o", &order, "-o", &format!("Acquire::By-Hash={by_hash}")]);
            assert_eq!(apt.versions("hello"), ["1:1.0-1"], "{kind}");
        }
    }
    let plan = apt.get(&["-s", "install", "hello"]).ok();
    assert!(plan.contains("Inst data (1.5") && plan.contains("Inst hello (1:1.0-1"), "{plan}");
    apt.get(&["-d", "-y", "install", "hello"]).ok();
    let fetched = fs::read(apt.path("cache/archives/hello_1%3a1.0-1_amd64.deb"));
    // file: does not copy; over http it does (tests/serve.rs).
    assert!(fetched.is_err());
}

#[test]
fn stanzas_are_apt_ftparchives() {
    let world = World::new();
    let fields = "Source: src-of-b (0.9)\nSection: contrib/net\nPriority: optional\n\
                  Depends: a,\n c (>= 1),\n d\nX-Odd: \u{e9}\u{2603}\nTag: x::y\nMulti-Arch: foreign\n\
                  Homepage: http://x.example/\nInstalled-Size: 12\n";
    let mut files = vec![
        world.deb("a", "1.0", "amd64", ""),
        world.deb("b", "2:1~rc1+dfsg-1", "all", fields),
        world.deb("libfoo", "1", "amd64", "Size: 99\nFilename: evil\n"),
    ];
    for compression in ["xz", "zstd", "none"] {
        let (name, option) = (format!("with-{compression}"), format!("-Z{compression}"));
        files.push(world.deb_with(&name, "1", "amd64", "", &[&option, "--uniform-compression"]));
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    world.bk(&[&["add", "repo"], &files[..]].concat()).ok();
    let off = |hash: &str| format!("APT::FTPArchive::{hash}=false");
    let offs = [off("MD5"), off("SHA1"), off("SHA512")];
    let mut args = Vec::new();
    offs.iter().for_each(|off| args.extend(["-o", off]));
    let oracle = run(&world.repo(), "apt-ftparchive", &[&args, &["packages", "pool"][..]].concat());
    let ours = fs::read_to_string(world.path("repo/dists/stable/main/binary-amd64/Packages"));
    let parse = |text: &str| -> Vec<BTreeMap<String, String>> {
        let mut all: Vec<BTreeMap<String, String>> = text
            .split("\n\n")
            .filter(|stanza| !stanza.trim().is_empty())
            .map(|stanza| {
                let joined = stanza.trim().replace("\n ", "\u{1}");
                let field = |line: &str| {
                    let (name, value) = line.split_once(':').unwrap();
                    (name.to_owned(), value.trim().to_owned())
                };
                joined.lines().map(field).collect()
            })
            .collect();
        all.sort();
        all
    };
    let (ours, mut oracle) = (parse(&ours.unwrap()), parse(&oracle));
    assert_eq!(oracle.len(), files.len());
    // apt-ftparchive lets a package overrule its own index; we do not.
    for stanza in &mut oracle {
        let real = ours.iter().find(|s| s["Package"] == stanza["Package"]).unwrap();
        if stanza["Package"] == "libfoo" {
            stanza.insert("Filename".into(), "pool/main/libf/libfoo/libfoo_1_amd64.deb".into());
            stanza.insert("Size".into(), real["Size"].clone());
        }
    }
    assert_eq!(ours, oracle);
}

#[test]
fn gpgv_and_sqv_accept_the_signatures() {
    let world = World::new();
    let deb = world.deb("a", "1", "amd64", "");
    world.bk(&["add", "repo", &deb]).ok();
    world.bk(&["key", "export", "repo", "--binary", "-o", "ring.gpg"]).ok();
    let ring = world.path("ring.gpg");
    let ring = ring.to_str().unwrap();
    let dist = world.path("repo/dists/stable");
    run(&dist, "gpgv", &["--keyring", ring, "InRelease"]);
    run(&dist, "gpgv", &["--keyring", ring, "Release.gpg", "Release"]);
    run(&dist, "sqv", &["--keyring", ring, "Release.gpg", "Release"]);
    // apt takes Release and Release.gpg where there is no InRelease.
    fs::remove_file(dist.join("InRelease")).unwrap();
    let apt = world.apt_file();
    apt.get(&["update"]).ok();
    assert_eq!(apt.versions("a"), ["1"]);
    // The next writer puts InRelease back.
    world.bk(&["add", "repo", &deb]).says("finishing the publication").ok();
    assert!(dist.join("InRelease").exists());
}

#[test]
fn paths_come_from_stdin_in_every_form() {
    let world = World::new();
    let debs: Vec<String> = ["a", "b", "c"].map(|name| world.deb(name, "1", "all", "")).into();
    let lines = debs.join("\n");
    let null = debs.join("\0");
    let json: String =
        debs.iter().map(|d| format!("{{\"type\":\"deb\",\"path\":\"{d}\"}}\n")).collect();
    let expected: Vec<String> =
        ["a", "b", "c"].map(|name| format!("/pool/main/{name}/{name}/{name}_1_all.deb")).into();
    let forms = [
        ("r1", &["add", "r1", "-"][..], lines),
        ("r2", &["add", "-0", "r2", "-"], null),
        ("r3", &["add", "r3", "-"], json),
    ];
    for (repo, args, stdin) in forms {
        let out = world.bk_with(args, stdin.as_bytes()).ok();
        let paths: Vec<&str> = out.split(['\n', '\0']).filter(|p| !p.is_empty()).collect();
        let expected: Vec<String> = expected.iter().map(|path| format!("{repo}{path}")).collect();
        assert_eq!(paths, expected);
    }
    let out = world.bk_with(&["add", "--json", "r4", "-"], debs.join("\n").as_bytes()).ok();
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(first["type"], "package");
    assert_eq!(first["path"], "r4/pool/main/a/a/a_1_all.deb");
    assert_eq!(first["size"], fs::metadata(world.path(&debs[0])).unwrap().len());
}

#[test]
fn bad_files_are_named_and_the_others_are_done() {
    let world = World::new();
    let good = world.deb("good", "1", "all", "");
    let arm = world.deb("arm", "1", "arm64", "");
    world.write("text.deb", "not a package");
    world.write("x.rpm", "x");
    world.write("notes", "x");
    let whole = fs::read(world.path(&good)).unwrap();
    world.write("half.deb", &whole[..whole.len() / 3]);
    let bad = ["text.deb", "half.deb", "missing.deb", "x.rpm", "notes"];
    let ran = world.bk(&[&["add", "repo"], &bad[..], &[&good, &good, &arm]].concat()).code(1);
    assert_eq!(ran.stdout, "repo/pool/main/g/good/good_1_all.deb\n");
    let ran = ran
        .says("cannot add 'text.deb'")
        .says("not a Debian package")
        .says("cannot add 'half.deb'")
        .says("'good_1_all.deb' is named twice")
        .says("cannot add 'missing.deb'")
        .says("'.rpm' is no file that can be published")
        .says("what has no suffix is no file that can be published")
        .says("the suite is not for the architecture 'arm64'");
    assert!(ran.stderr.contains("--arch arm64"), "{}", ran.stderr);
    world.bk(&["check", "repo"]).ok();
    let left: Vec<String> = world.tree("repo").into_iter().map(|(name, _)| name).collect();
    assert!(!left.iter().any(|name| name.contains("/tmp/") || name.contains(".bk-")), "{left:?}");
}

#[test]
fn the_same_version_with_other_bytes_is_refused_and_the_same_bytes_are_no_change() {
    let world = World::new();
    let deb = world.deb("a", "1", "all", "");
    world.bk(&["add", "repo", &deb]).ok();
    let before = world.tree("repo");
    let again = world.bk(&["add", "repo", &deb]).ok();
    assert_eq!(again, "repo/pool/main/a/a/a_1_all.deb\n");
    assert!(before == world.tree("repo"), "nothing was to be written");
    fs::rename(world.path(&deb), world.path("first.deb")).unwrap();
    let other = world.deb("a", "1", "all", "Section: net\n");
    let next = world.deb("b", "1", "all", "");
    let ran = world.bk(&["add", "repo", &other, &next]).code(1);
    assert_eq!(ran.stdout, "repo/pool/main/b/b/b_1_all.deb\n");
    ran.says("cannot add 'a_1_all.deb'").says("higher packaging version");
    // Also when it is no longer listed: caches may have the old file under this name.
    world.bk(&["remove", "repo", "a"]).ok();
    world.bk(&["add", "repo", &other]).code(1).says("is taken by a file with other content");
    world.bk(&["check", "repo"]).ok();
}

#[test]
fn sources_and_changes_are_published_and_apt_fetches_the_source() {
    let world = World::new();
    let tree = world.path("work/hello-1.0");
    world.write("work/hello-1.0/debian/changelog", "hello (1.0) stable; urgency=low\n\n  * x\n\n -- A <a@example.com>  Thu, 01 Jan 2026 00:00:00 +0000\n");
    world.write("work/hello-1.0/debian/control", "Source: hello\nSection: net\nPriority: optional\nMaintainer: A <a@example.com>\nStandards-Version: 4.6.2\n\nPackage: hello\nArchitecture: all\nDescription: x\n y\n");
    world.write("work/hello-1.0/debian/rules", "#!/usr/bin/make -f\nbinary:\n\tdh_gencontrol\n");
    world.write("work/hello-1.0/debian/source/format", "3.0 (native)\n");
    run(&world.path("work"), "dpkg-source", &["-b", tree.to_str().unwrap()]);
    let deb = world.deb("hello", "1.0", "all", "");
    fs::rename(world.path(&deb), world.path("work/hello_1.0_all.deb")).unwrap();
    world.write("work/hello-1.0/debian/files", "hello_1.0_all.deb net optional\n");
    let out = run(&tree, "dpkg-genchanges", &["-O../hello_1.0_all.changes"]);
    assert_eq!(out.lines().count(), 1, "{out}");
    let out = world.bk(&["add", "repo", "work/hello_1.0_all.changes"]).ok();
    assert!(out.contains("repo/pool/main/h/hello/hello_1.0.dsc\n"), "{out}");
    assert!(out.contains("repo/pool/main/h/hello/hello_1.0_all.deb\n"), "{out}");
    world.bk(&["check", "repo"]).ok();
    let apt = world.apt_file();
    apt.update(&[]);
    apt.get(&["source", "-d", "hello"]).ok();
    assert!(apt.path("hello_1.0.dsc").exists() && apt.path("hello_1.0.tar.xz").exists());
    let oracle = run(&world.repo(), "apt-ftparchive", &["sources", "pool"]);
    let ours = fs::read_to_string(world.path("repo/dists/stable/main/source/Sources")).unwrap();
    for field in
        ["Package: ", "Binary: ", "Version: ", "Directory: ", "Format: ", "Standards-Version: "]
    {
        let find = |text: &str| text.lines().find(|l| l.starts_with(field)).map(str::to_owned);
        assert_eq!(find(&ours), find(&oracle), "{field}");
    }
    for line in oracle.lines().skip_while(|l| !l.starts_with("Checksums-Sha256")).skip(1).take(2) {
        assert!(ours.contains(line), "{line} is not in {ours}");
    }
    // A part that is not what the .changes file says.
    world.write("work/hello_1.0.tar.xz", "x");
    world.bk(&["add", "r2", "work/hello_1.0_all.changes"]).code(1).says("hello_1.0.tar.xz");
}

#[test]
fn dry_run_writes_nothing() {
    let world = World::new();
    let deb = world.deb("a", "1", "all", "");
    let out = world.bk(&["add", "-n", "repo", &deb]).ok();
    assert_eq!(out, "repo/pool/main/a/a/a_1_all.deb\n");
    assert!(!world.repo().exists() && !world.path("root").exists());
}

#[test]
fn a_locked_repository_is_a_temporary_failure() {
    let world = World::new();
    let (a, b) = (world.deb("a", "1", "all", ""), world.deb("b", "1", "all", ""));
    world.bk(&["add", "repo", &a]).ok();
    let lock = fs::File::open(world.path("repo/.buildkit/lock")).unwrap();
    lock.lock().unwrap();
    let before = world.tree("repo");
    world.bk(&["add", "--wait", "0", "repo", &b]).code(75).says("another process holds it");
    assert!(before == world.tree("repo"));
    drop(lock);
    world.bk(&["add", "repo", &b]).ok();
}

#[test]
fn a_full_disk_leaves_the_old_state() {
    let world = World::new();
    let (a, b) = (world.deb("a", "1", "all", ""), world.deb("b", "1", "all", ""));
    let disk = world.repo();
    fs::create_dir(&disk).unwrap();
    // 256 KiB: room for the first package and its indexes, not for what is added below.
    run(
        &world.path(""),
        "mount",
        &["-t", "tmpfs", "-o", "size=256k", "tmpfs", disk.to_str().unwrap()],
    );
    let ran = std::panic::catch_unwind(|| {
        world.bk(&["add", "repo", &a]).ok();
        let filler = vec![0; 1 << 20];
        let file = fs::File::create(world.path("repo/filler")).unwrap();
        assert!(std::io::Write::write_all(&mut &file, &filler).is_err());
        drop(file);
        let ran = world.bk(&["add", "repo", &b]).code(1);
        let apt = world.apt_file();
        apt.update(&[]);
        assert_eq!(apt.versions("a"), ["1"]);
        fs::remove_file(world.path("repo/filler")).unwrap();
        world.bk(&["check", "repo"]).ok();
        world.bk(&["add", "repo", &b]).ok();
        ran.says("No space left on device").says("'b_1_all.deb'");
    });
    run(&world.path(""), "umount", &[disk.to_str().unwrap()]);
    ran.unwrap();
}

#[test]
fn the_same_inputs_and_time_give_the_same_tree() {
    let world = World::new();
    let debs: Vec<String> = (0..5).map(|i| world.deb(&format!("p{i}"), "1", "all", "")).collect();
    world.bk(&["key", "create"]).ok();
    let mut trees = Vec::new();
    for (repo, order) in [("r1", [0, 1, 2, 3, 4]), ("r2", [4, 2, 0, 1, 3])] {
        let mut args = vec!["add", repo];
        args.extend(order.map(|i| debs[i].as_str()));
        let mut command = world.command(&args);
        command.env("SOURCE_DATE_EPOCH", "1700000000").env("TZ", "Asia/Tokyo");
        assert!(command.status().unwrap().success());
        let mut tree = world.tree(repo);
        // The log tells the order in which things were asked for.
        tree.retain(|(name, _)| !name.contains("/commits/"));
        trees.push(tree);
    }
    assert!(trees[0] == trees[1]);
}

#[test]
fn an_interrupt_leaves_no_temporary() {
    let world = World::new();
    let a = world.deb("a", "1", "all", "");
    world.bk(&["add", "repo", &a]).ok();
    let before = world.tree("repo");
    // A package that never ends: the command is in the middle of its work.
    run(&world.path(""), "mkfifo", &["endless.deb"]);
    let mut child = world.command(&["add", "repo", "endless.deb"]).spawn().unwrap();
    let tmp = world.path("repo/.buildkit/tmp");
    while fs::read_dir(&tmp).unwrap().count() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    run(&world.path(""), "kill", &["-INT", &child.id().to_string()]);
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    assert!(before == world.tree("repo"));
}
