//! Repositories in an object store: Ceph's gateway, and one that loses writes.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::ceph::{ACCESS, Ceph};
use common::s3s::Engine;
use common::{World, with_access};

fn ask(world: &World, args: &[&str]) -> common::Ran {
    with_access(&mut world.command(args))
}

/// What an engine refuses is final, and said without the engine's own words. `place` is a bucket's, and
/// `stranger` what the engine says to one it does not know.
fn refuses(world: &World, url: &dyn Fn(&str) -> String, stranger: &str) {
    let (access, secret) = ACCESS;
    let all = &["list", "check", "init"][..];
    let cases = [
        (all, "bucket/apt", "AKOTHER", secret, stranger),
        (all, "bucket/apt", access, "SKOTHER", "the secret is not that of the access key"),
        (&["init"], "A_bad.Name/apt", access, secret, "the engine takes no bucket of this name"),
    ];
    for (commands, place, access, secret, says) in cases {
        for arg in commands {
            let mut command = world.command(&[arg, &url(place)]);
            command.env("AWS_ACCESS_KEY_ID", access).env("AWS_SECRET_ACCESS_KEY", secret);
            let ran = common::Ran::new(command.output().unwrap());
            is_plain(&ran.code(1).says(says).stderr);
        }
    }
}

fn is_plain(said: &str) {
    assert!(said.contains("hint: ") && !said.contains('<') && !said.contains("Error"), "{said}");
}

/// A machine's life with a repository that is served from a bucket.
fn apt_uses_what_is_served(world: &World, repo: &str) {
    let (one, two) = (world.deb("up", "1", "amd64", ""), world.deb("up", "2", "amd64", ""));
    let source = "up (1) stable; urgency=low\n\n  * x\n\n -- A <a@example.com>  Thu, 01 Jan 2026 00:00:00 \
                  +0000\n";
    world.write("src/up-1/debian/changelog", source);
    let control = "Source: up\nMaintainer: A <a@example.com>\nStandards-Version: 4.6.2\n\nPackage: up\n\
                   Architecture: all\nDescription: x\n y\n";
    world.write("src/up-1/debian/control", control);
    world.write("src/up-1/debian/source/format", "3.0 (native)\n");
    common::run(&world.path("src"), "dpkg-source", &["-b", "up-1"]);
    ask(world, &["add", repo, &one, "src/up_1.dsc"]).ok();
    ask(world, &["contents", repo, "--suite", "stable"]).ok();

    let server = common::Server::start(world, &[repo]);
    let sources = ask(world, &["sources", repo, "--uri", &server.url()]).ok();
    let apt = world.apt_with(&sources);
    let conf = std::fs::read_to_string(apt.path("apt.conf")).unwrap();
    let contents = std::fs::read_to_string("/etc/apt/apt.conf.d/50apt-file.conf").unwrap();
    let root = world.path("root");
    let r = root.display();
    for folder in ["info", "updates", "triggers"] {
        std::fs::create_dir_all(root.join("var/lib/dpkg").join(folder)).unwrap();
    }
    world.write("root/var/lib/dpkg/status", "");
    let conf = format!(
        "{contents}\n{conf}Dir::State::status \"{r}/var/lib/dpkg/status\";\n\
         DPkg::Options {{ \"--root={r}\"; }};\n"
    );
    world.write("apt/apt.conf", conf);
    let installed = || {
        let root = format!("--root={r}");
        common::run(
            &world.path(""),
            "dpkg-query",
            &[&root, "-W", "-f", "${Status} ${Version}", "up"],
        )
    };
    apt.update(&[]);
    apt.get(&["-y", "install", "up"]).ok();
    assert_eq!(installed(), "install ok installed 1");
    ask(world, &["add", repo, &two]).ok();
    apt.update(&[]);
    apt.get(&["-y", "upgrade"]).ok();
    assert_eq!(installed(), "install ok installed 2");
    assert_eq!(std::fs::read(root.join("usr/share/doc/up/README")).unwrap(), b"up 2\n");
    apt.get(&["source", "up"]).ok();
    assert_eq!(std::fs::read(apt.path("up-1/debian/changelog")).unwrap(), source.as_bytes());
    let found = apt.run("apt-file", &["search", "doc/up/README"]).ok();
    assert_eq!(found, "up: /usr/share/doc/up/README\n");
    // A folder is found without its slash, as in a repository that is a folder.
    for path in ["/pool", "/pool/main/u/up", "/dists/stable"] {
        let (code, head, _) = server.get(path, "");
        assert!(
            code == 301 && head.contains(&format!("\r\nlocation: {path}/\r\n")),
            "{path}: {head}"
        );
        assert_eq!(server.get(&format!("{path}/"), "").0, 200);
    }
    assert_eq!(server.get("/pool/none", "").0, 404);
    server.stop();
}

/// One store for all that is tried: it takes half a minute to start.
#[test]
fn a_bucket_holds_a_repository_that_many_write_to() {
    let ceph = Ceph::start();
    let world = World::new();
    let repo = ceph.url("bucket/apt");
    ask(&world, &["init", &repo, "--arch", "amd64"]).ok();

    // All that a folder does.
    let (a, b) = (world.deb("a", "1", "amd64", ""), world.deb("b", "1", "all", ""));
    let out = ask(&world, &["add", &repo, &a, &b]).ok();
    assert_eq!(
        out,
        "s3://bucket/apt/pool/main/a/a/a_1_amd64.deb\ns3://bucket/apt/pool/main/b/b/b_1_all.deb\n"
    );
    ask(&world, &["snapshot", &repo, "first"]).ok();
    ask(&world, &["remove", &repo, "a"]).ok();
    assert_eq!(ask(&world, &["diff", &repo, "first", "stable"]).ok(), "-a_1_amd64\n");
    ask(&world, &["rollback", &repo, "--to", "first"]).ok();
    assert_eq!(ask(&world, &["list", &repo]).ok(), "a_1_amd64\nb_1_all\n");
    let other = ask(&world, &["add", &repo, &a]).ok();
    assert_eq!(other, "s3://bucket/apt/pool/main/a/a/a_1_amd64.deb\n");
    // One that is uploaded in parts: random bytes, which no compression makes smaller.
    let big = world.write("big.bin", vec![0; 0]);
    common::run(&world.path(""), "dd", &["if=/dev/urandom", "of=big.bin", "bs=1M", "count=20"]);
    let tree = world.path("tree");
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    std::fs::rename(big, tree.join("big.bin")).unwrap();
    let control = "Package: big\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.com>\n\
                   Description: big\n";
    bk::file::write(&tree.join("DEBIAN/control"), control).unwrap();
    common::run(
        &world.path(""),
        "dpkg-deb",
        &["--root-owner-group", "-Zgzip", "-b", "tree", "big_1_all.deb"],
    );
    ask(&world, &["add", &repo, "big_1_all.deb"]).ok();
    assert_eq!(ask(&world, &["check", &repo]).ok(), "");

    // The same inputs and time give the same files as in a folder.
    let at = |place: &str| {
        let mut command = world.command(&["add", place, &a, &b]);
        with_access(command.env("SOURCE_DATE_EPOCH", "1900000000")).ok();
    };
    let twin = ceph.url("bucket/twin");
    let init = |place: &str| {
        let mut command = world.command(&["init", place, "--arch", "amd64"]);
        with_access(command.env("SOURCE_DATE_EPOCH", "1900000000")).ok();
    };
    init(&twin);
    init("local");
    at(&twin);
    at("local");
    ask(&world, &["export", &twin, "-o", "from-bucket"]).ok();
    ask(&world, &["export", "local", "-o", "from-folder"]).ok();
    assert!(world.tree("from-bucket") == world.tree("from-folder"));

    // And so has the place that the one in a folder is published in, says another client.
    let published = ceph.url("bucket/published");
    assert_eq!(ask(&world, &["publish", "local", &published]).ok(), format!("{published}\n"));
    for (name, bytes) in world.tree("from-folder") {
        let url = format!("http://127.0.0.1:{}/bucket/published/{name}", ceph.port);
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sf", "--aws-sigv4", "aws:amz:us-east-1:s3"]);
        curl.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--user"]);
        let found = curl.arg(format!("{}:{}", ACCESS.0, ACCESS.1)).arg(url).output().unwrap();
        assert!(found.status.success() && found.stdout == bytes, "{name}: {}", found.status);
    }

    // Eight writers, of which half are killed at random: nothing acknowledged is lost.
    let start = Instant::now();
    let acknowledged: Vec<BTreeSet<String>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8u64)
            .map(|writer| {
                let (world, repo) = (&world, &repo);
                scope.spawn(move || {
                    let mut done = BTreeSet::new();
                    for i in 0..4u64 {
                        let deb = world.deb(&format!("w{writer}-{i}"), "1", "amd64", "");
                        let mut command = world.command(&["add", repo, &deb, "--wait", "300"]);
                        let (access, secret) = ACCESS;
                        command.env("AWS_ACCESS_KEY_ID", access);
                        command.env("AWS_SECRET_ACCESS_KEY", secret);
                        command.stdout(Stdio::piped()).stderr(Stdio::piped());
                        let mut child = command.spawn().unwrap();
                        if writer % 2 == 1 {
                            std::thread::sleep(Duration::from_millis(
                                150 + 173 * (writer + 3 * i) % 1500,
                            ));
                            let _ = child.kill();
                        }
                        let out = child.wait_with_output().unwrap();
                        let said = String::from_utf8_lossy(&out.stderr).into_owned();
                        assert!(writer % 2 == 1 || out.status.success(), "{said}");
                        if !out.stdout.is_empty() {
                            done.insert(format!("w{writer}-{i}_1_amd64"));
                        }
                    }
                    done
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let acknowledged: BTreeSet<String> = acknowledged.into_iter().flatten().collect();
    assert!(acknowledged.len() >= 16, "{acknowledged:?}");
    let last = world.deb("last", "1", "all", "");
    ask(&world, &["add", &repo, &last]).ok();
    let listed: BTreeSet<String> =
        ask(&world, &["list", &repo]).ok().lines().map(str::to_owned).collect();
    assert!(acknowledged.is_subset(&listed), "{:?}", acknowledged.difference(&listed));
    assert_eq!(ask(&world, &["check", &repo]).ok(), "");
    eprintln!("8 writers: {} adds in {:?}", acknowledged.len(), start.elapsed());

    // A mirror of another archive goes on where it was broken off.
    world.bk(&["init", "up", "--suite", "main", "--arch", "amd64"]).ok();
    let (one, two) = (world.deb("m1", "1", "amd64", ""), world.deb("m2", "1", "all", ""));
    world.bk(&["add", "up", &one, &two]).ok();
    world.bk(&["key", "export", "up", "-o", "up.asc"]).ok();
    let server = common::Server::start(&world, &["up"]);
    let url = server.url();
    let copy = ceph.url("bucket/mirror");
    ask(&world, &["init", &copy, "--arch", "amd64"]).ok();
    let mirror = ["mirror", &copy, &url, "main", "--keyring", "up.asc"];
    let lost = world.path("up/pool/main/m/m2/m2_1_all.deb");
    std::fs::rename(&lost, world.path("kept")).unwrap();
    ask(&world, &mirror).code(75);
    std::fs::rename(world.path("kept"), &lost).unwrap();
    // The other one is here already.
    std::fs::remove_file(world.path("up/pool/main/m/m1/m1_1_amd64.deb")).unwrap();
    assert_eq!(ask(&world, &mirror).ok(), "m1_1_amd64\nm2_1_all\n");
    assert_eq!(ask(&world, &mirror).ok(), "");
    assert_eq!(ask(&world, &["list", &copy, "--suite", "main"]).ok(), "m1_1_amd64\nm2_1_all\n");
    assert_eq!(ask(&world, &["check", &copy]).ok(), "");
    server.stop();

    apt_uses_what_is_served(&world, &repo);
    ask(&world, &["gc", &repo]).ok();
    assert_eq!(ask(&world, &["check", &repo]).ok(), "");
    ask(&world, &["init", "s3://?x=y"]).code(2);
    let url = |place: &str| ceph.url(place);
    refuses(&world, &url, "the engine does not know the access key");
    let ran = ask(&world, &["add", &url("nobucket/x"), &a]).code(1).says("there is no such bucket");
    is_plain(&ran.stderr);
    // Nobody is there, which may change.
    ask(&world, &["list", &repo.replace(&ceph.port.to_string(), "1")]).code(75);
}

#[test]
fn an_engine_that_loses_writes_is_refused() {
    let world = World::new();
    // It looks whether a name is free, and then writes.
    let engine = Engine::start(&world);
    let repo = engine.url("bucket/apt");
    let ran = ask(&world, &["init", &repo, "--arch", "amd64"]).code(1);
    ran.says("loses what several write at once").says("--single-writer");
    ask(&world, &["init", &repo, "--arch", "amd64", "--single-writer"]).ok();
    let deb = world.deb("a", "1", "amd64", "");
    ask(&world, &["add", &repo, &deb]).ok();
    assert_eq!(ask(&world, &["check", &repo]).ok(), "");
    let url = |place: &str| engine.url(place);
    refuses(&world, &url, "the engine does not let these credentials in");
    // What is said to be run can be.
    ask(&world, &["list", &url("bucket/none")])
        .code(1)
        .says(&format!("init {}'", url("bucket/none")));
}

/// What is there once and is not needed any more, and what calls it back: whatever comes of the two, what
/// is published is whole.
#[test]
fn gc_and_a_rollback_keep_out_of_each_others_way() {
    let world = World::new();
    let engine = Engine::start(&world);
    let repo = engine.url("bucket/0");
    ask(&world, &["init", &repo, "--arch", "amd64", "--single-writer"]).ok();
    // More than the generations that are kept.
    for name in ["a", "b", "c", "d", "e"] {
        ask(&world, &["add", &repo, &world.deb(name, "1", "amd64", "")]).ok();
        if name == "a" {
            ask(&world, &["remove", &repo, "a"]).ok();
        }
    }
    let old = ["engine/bucket/0", "-type", "f", "-exec", "touch", "-d", "9 days ago", "{}", "+"];
    common::run(&world.path(""), "find", &old);
    let (gc, back): (&[&str], &[&str]) = (&["gc"], &["rollback", "--to", "2"]);
    let mut place = 0;
    let (mut both, mut ways) = (0, BTreeSet::new());
    for (slow, quick) in [(gc, back), (back, gc)] {
        // Each request of theirs is one of these calls, or two: some of all, from the first to the last.
        for when in (1..).step_by(11) {
            place += 1;
            let (from, to) = ("engine/bucket/0", format!("engine/bucket/{place}"));
            common::run(&world.path(""), "cp", &["-a", from, &to]);
            let repo = engine.url(&format!("bucket/{place}"));
            let command = |args: &[&str]| {
                let mut command = world.command(&[&args[..1], &[&repo], &args[1..]].concat());
                command.env("AWS_ACCESS_KEY_ID", ACCESS.0).env("AWS_SECRET_ACCESS_KEY", ACCESS.1);
                command
            };
            let mut beside = None;
            let (stopped, ran) =
                common::stop(&command(slow), ("sendto,sendmsg,writev", &[]), when, |_| {
                    beside = Some(common::Ran::new(command(quick).output().unwrap()).code);
                });
            if !stopped {
                break;
            }
            both += 1;
            ways.insert((ran.code, beside));
            assert!([0, 1, 75].contains(&ran.code), "{}", ran.stderr);
            // One that was done before the other looked is no way to lose anything.
            assert_eq!(ask(&world, &["check", &repo]).ok(), "", "{slow:?} stopped at {when}");
        }
    }
    eprintln!("{both} pairs: {ways:?}");
    // Each gave way to the other.
    assert!(ways.iter().any(|(first, second)| *first == 0 && *second == Some(75)), "{ways:?}");
}

/// What is uploaded is what was looked into, or nothing: a package of a few bytes, and one that is uploaded
/// in parts.
#[test]
fn a_package_that_changes_before_its_upload_is_not_published() {
    let world = World::new();
    let engine = Engine::start(&world);
    let repo = engine.url("bucket/apt");
    ask(&world, &["init", &repo, "--arch", "amd64", "--single-writer"]).ok();
    world.write("tree/DEBIAN/control", "Package: big\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.com>\nDescription: big\n");
    common::run(
        &world.path(""),
        "dd",
        &["if=/dev/urandom", "of=tree/big.bin", "bs=1M", "count=12"],
    );
    let pack = ["--root-owner-group", "-Znone", "-b", "tree", "big_1_all.deb"];
    common::run(&world.path(""), "dpkg-deb", &pack);
    for deb in [world.deb("small", "1", "all", ""), "big_1_all.deb".to_owned()] {
        let path = world.path(&deb);
        let mut add = world.command(&["add", &repo, path.to_str().unwrap()]);
        add.env("AWS_ACCESS_KEY_ID", ACCESS.0).env("AWS_SECRET_ACCESS_KEY", ACCESS.1);
        // It is opened once to look into it, and then to upload it.
        let only = ["-P", path.to_str().unwrap()];
        let (stopped, ran) = common::stop(&add, ("openat", &only), 1, |process| {
            // The threads that upload come when it has been looked into.
            if std::fs::read_dir(format!("/proc/{process}/task")).unwrap().count() < 3 {
                return;
            }
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"x", 70).unwrap();
        });
        assert!(stopped);
        ran.code(1).says("has changed since it was looked into");
        assert_eq!(ask(&world, &["list", &repo]).ok(), "");
        assert!(!engine.dir.join("bucket/apt/pool").exists());
    }
}
