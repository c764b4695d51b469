//! The commands beside `serve`.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use common::{Archive, Server, Suite, World, exists, noise, sha256};

/// A cache with a suite in it, and three of its packages.
fn held() -> (World, Archive, Server, Suite) {
    let world = World::new();
    let archive = Archive::new();
    let packages = (0..5_u64).map(|i| (format!("p{i}"), noise(20_000, i))).collect();
    let suite = Suite::new(packages);
    suite.publish(&archive, "");
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    server.gives("/x/dists/stable/InRelease", suite.in_release().as_bytes());
    server.gives(&format!("/x/{}", Suite::INDEX), &suite.index());
    for i in 0..3 {
        server.gives(&format!("/x/{}", Suite::path(&format!("p{i}"))), &noise(20_000, i));
    }
    (world, archive, server, suite)
}

/// As if a file had last been used days ago.
fn age(world: &World, name: &str, days: u32) {
    let path = world.cache(name);
    let mut touch = Command::new("touch");
    touch.args(["-a", "-d", &format!("{days} days ago")]).arg(&path);
    assert!(touch.status().unwrap().success());
}

#[test]
fn gc_keeps_what_suites_name_and_what_is_used() {
    let (world, archive, server, suite) = held();
    archive.put("pool/gone_1.deb", noise(1000, 50));
    archive.put("README", b"x".to_vec());
    server.gives("/x/pool/gone_1.deb", &noise(1000, 50));
    server.gives("/x/README", b"x");
    // A new set, which no longer names p0; its old index lies beside the new one.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let new = Suite { age: 9, ..Suite::new(suite.packages[1..].to_vec()) };
    new.publish(&archive, "");
    server.gives("/x/dists/stable/InRelease", new.in_release().as_bytes());
    server.gives(&format!("/x/{}", Suite::INDEX), &new.index());
    drop(server);
    let names = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(&world.bk(&["gc"]).ok()), [""; 0]);
    // Unused for longer than is kept: what the suite names stays, the rest goes.
    let old = [Suite::path("p0"), Suite::path("p1"), "pool/gone_1.deb".into(), suite.hashed()];
    for path in &old {
        age(&world, &format!("x/{path}"), 40);
    }
    let expected: Vec<String> =
        [&old[3], &old[2], &old[0]].iter().map(|path| format!("x/{path}")).collect();
    let mut removed = names(&world.bk(&["gc", "--dry-run"]).ok());
    removed.sort();
    assert_eq!(removed, expected);
    assert_eq!(names(&world.bk(&["gc", "--keep-days", "50"]).ok()), [""; 0]);
    assert!(exists(&world.cache("x/pool/gone_1.deb")));
    world.bk(&["gc"]).ok();
    assert!(!exists(&world.cache("x/pool/gone_1.deb")));
    assert!(exists(&world.cache(&format!("x/{}", Suite::path("p1")))));
    // A suite of which nothing can be read protects its archive, and is told.
    std::fs::rename(world.cache("x/dists/stable/InRelease"), world.path("kept")).unwrap();
    bk::file::write(&world.cache("x/dists/stable/InRelease"), "<html>").unwrap();
    let broken = world.bk(&["gc", "--dry-run"]).code(0).says("what it names is kept");
    assert_eq!(broken.stdout, "");
    std::fs::rename(world.path("kept"), world.cache("x/dists/stable/InRelease")).unwrap();
    // The size counts each content once; what was used longest ago goes first.
    age(&world, &format!("x/{}", Suite::path("p2")), 3);
    let removed = names(&world.bk(&["gc", "--max-size", "10K", "--dry-run", "--json"]).ok());
    assert!(removed[0].contains("\"reason\":\"size\""), "{removed:?}");
    world.bk(&["gc", "--max-size", "0"]).ok();
    assert!(exists(&world.cache("x/dists/stable/InRelease")));
    assert!(!exists(&world.cache(&format!("x/{}", Suite::path("p1")))));
    let blobs =
        Command::new("find").arg(world.cache(".bk/sha256")).args(["-type", "f"]).output().unwrap();
    assert_eq!(String::from_utf8(blobs.stdout).unwrap(), "", "contents without a name are left");
    world.bk(&["gc", "--max-size", "x"]).code(2);
    let other = World::new();
    other.bk(&["gc"]).code(1).says("cannot open the cache");
}

#[test]
fn verify_finds_what_rotted_and_the_next_client_gets_it_right() {
    let (world, archive, server, _) = held();
    world.bk(&["verify"]).ok();
    // The content lies under three names: all have rotted.
    let path = world.cache(&format!("x/{}", Suite::path("p1")));
    let mut bytes = noise(20_000, 1);
    bytes[7] ^= 1;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    let index = world.cache(&format!("x/{}", Suite::INDEX));
    let hashed = std::fs::read_dir(index.parent().unwrap().join("by-hash/SHA256")).unwrap();
    let hashed = hashed.flatten().next().unwrap().path();
    assert_eq!(index.metadata().unwrap().ino(), hashed.metadata().unwrap().ino());
    let found = world.bk(&["verify", "--dry-run"]).code(3).stdout;
    assert_eq!(found, format!("x/{}\n", Suite::path("p1")));
    let found = world.bk(&["verify", "--json"]).code(3).stdout;
    assert!(
        found.contains(&sha256(&noise(20_000, 1))) && found.contains(&sha256(&bytes)),
        "{found}"
    );
    assert!(!exists(&path));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    server.gives(&format!("/x/{}", Suite::path("p1")), &noise(20_000, 1));
    assert_eq!(archive.count(&Suite::path("p1")), 2);
    world.bk(&["verify"]).ok();
}

#[test]
fn import_takes_what_indexes_know_whatever_it_is_called() {
    let (world, archive, server, _) = held();
    world.write("old/archives/p3_1%3a1_amd64.deb", noise(20_000, 3));
    world.write("old/acng/mirror/pool/p4.deb", noise(20_000, 4));
    world.write("old/archives/partial/p1.deb", noise(20, 1));
    world.write("old/lock", "");
    let taken = world.bk(&["import", "old", "--dry-run"]).ok();
    assert_eq!(taken, format!("x/{}\nx/{}\n", Suite::path("p4"), Suite::path("p3")));
    assert!(!exists(&world.cache(&format!("x/{}", Suite::path("p3")))));
    assert_eq!(world.bk(&["import", "old"]).ok(), taken);
    for i in 3..5 {
        server.gives(&format!("/x/{}", Suite::path(&format!("p{i}"))), &noise(20_000, i));
        assert_eq!(archive.count(&Suite::path(&format!("p{i}"))), 0);
    }
    // What no index has is left, and told.
    world.write("old/strange.deb", noise(20, 9));
    world.bk(&["import", "old"]).code(1).says("1 files are in no index");
    world.bk(&["import", "nowhere"]).code(1).says("cannot read the folder 'nowhere'");
    let empty = World::new();
    std::fs::create_dir(empty.path("cache")).unwrap();
    empty.bk(&["import", "."]).code(1).says("run apt-get update through the cache first");
}

#[test]
fn prefetch_brings_packages_by_their_names() {
    let (world, archive, server, _) = held();
    let address = server.address.clone();
    let fetch = |args: &[&str]| world.bk(&[&["prefetch", "--server", &address], args].concat());
    assert_eq!(fetch(&["p3"]).ok(), format!("x/{}\n", Suite::path("p3")));
    assert_eq!(archive.count(&Suite::path("p3")), 1);
    assert!(exists(&world.cache(&format!("x/{}", Suite::path("p3")))));
    let status = "Package: p4\nStatus: install ok installed\nArchitecture: amd64\nVersion: 0\n\n\
                  Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\n";
    world.write("status", status);
    assert_eq!(fetch(&["--status", "status"]).ok(), format!("x/{}\n", Suite::path("p4")));
    let some =
        fetch(&["p1", "nothing", "p2:amd64", "p2:arm64"]).code(1).says("cannot fetch 'nothing'");
    assert_eq!(some.stdout.lines().count(), 2);
    fetch(&[]).code(2).says("no packages to fetch");
    world.bk(&["prefetch", "--server", "127.0.0.1:1", "p3"]).code(75).says("cannot ask the server");
}

#[test]
fn detect_says_direct_when_the_cache_is_away() {
    let (world, _archive, server, _) = held();
    let detect = |args: &[&str]| {
        common::Ran::new(world.command(&["detect"]).args(args).output().unwrap()).ok()
    };
    let here = server.address.clone();
    let proxy = format!("http://{here}/\n");
    assert_eq!(detect(&["--server", &here]), proxy);
    assert_eq!(detect(&["--server", &here, "http://mirror/debian"]), proxy);
    assert_eq!(detect(&["--server", "127.0.0.1:1", "--server", &here]), proxy);
    assert_eq!(detect(&["--server", &here, "https://mirror/debian"]), "DIRECT\n");
    drop(server);
    assert_eq!(detect(&["--server", &here]), "DIRECT\n");
}

#[test]
fn config_is_what_apt_reads() {
    let world = World::new();
    let archive = Archive::new();
    let suite = Suite::new(vec![("a".into(), noise(500, 1))]);
    suite.publish(&archive, "");
    // Nobody signed it.
    archive.files.lock().unwrap().remove("dists/stable/InRelease");
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let config = |args: &[&str]| {
        let mut command = world.command(&["config", "--server", &server.address]);
        common::Ran::new(command.args(args).output().unwrap()).ok()
    };
    // apt itself, with the script that asks us, and an archive whose name leads nowhere.
    let script = world.path("detect");
    world.write("apt.conf", config(&["--detect", script.to_str().unwrap()]));
    let url = format!("http://{}", archive.address);
    world.write("sources.list", format!("deb [trusted=yes arch=amd64] {url} stable main\n"));
    for dir in ["lists/partial", "archives/partial", "empty"] {
        std::fs::create_dir_all(world.path(dir)).unwrap();
    }
    let before = server.get("/metrics").body;
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_bk-aptcache")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut apt = Command::new("apt-get");
    apt.env("APT_CONFIG", world.path("apt.conf")).env("PATH", path);
    for option in [
        "Dir::State::Lists=lists",
        "Dir::Etc::SourceList=sources.list",
        "Dir::Etc::SourceParts=empty",
    ] {
        let (name, value) = option.split_once('=').unwrap();
        apt.arg("-o").arg(format!("{name}={}", world.path(value).display()));
    }
    apt.args([
        "-o",
        "APT::Sandbox::User=root",
        "-o",
        "Debug::NoLocking=1",
        "-o",
        "Acquire::GzipIndexes=false",
        "-o",
        "APT::Get::List-Cleanup=0",
        "update",
    ]);
    let said = common::Ran::new(apt.output().unwrap());
    assert!(said.code == 0, "{}{}", said.stdout, said.stderr);
    assert_ne!(server.get("/metrics").body, before, "apt did not come by: {}", said.stdout);
    let lists = std::fs::read_dir(world.path("lists")).unwrap().flatten();
    let index =
        lists.map(|e| e.path()).find(|p| p.to_string_lossy().ends_with("_Packages")).unwrap();
    assert_eq!(std::fs::read(index).unwrap(), suite.index());
    assert_eq!(config(&[]), format!("Acquire::http::Proxy \"http://{}\";\n", server.address));
}

#[test]
fn mirrors_are_told_by_how_quickly_they_answer() {
    let world = World::new();
    let (slow, quick) = (Archive::new(), Archive::new());
    let files = slow.files.clone();
    slow.does(move |asked, stream| {
        std::thread::sleep(std::time::Duration::from_millis(300));
        common::serve(asked, stream, &files)
    });
    for archive in [&slow, &quick] {
        archive.put("a.deb", b"a".to_vec());
    }
    let upstream = format!("x={},{},http://127.0.0.1:1", slow.url(""), quick.url(""));
    let run = |upstream: &str| {
        let mut command = world.command(&["mirrors", "--upstream", upstream]);
        common::Ran::new(command.output().unwrap())
    };
    let text = run(&upstream).ok();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let urls: Vec<&str> = rows.iter().map(|row| row[1]).collect();
    assert_eq!(urls, [quick.url("").as_str(), slow.url("").as_str(), "http://127.0.0.1:1/"]);
    assert!(rows[1][2].parse::<u64>().unwrap() >= 300 && rows[2][2] == "-", "{text}");
    run("x=http://127.0.0.1:1").code(3);
    // The server asks the quickest first.
    let server = world.serve(&[&upstream], &["--fastest"]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    server.gives("/x/a.deb", b"a");
    assert_eq!((quick.count("a.deb"), slow.count("a.deb")), (1, 0));
}
