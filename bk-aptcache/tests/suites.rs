//! Suites are sets: a client sees an old one or a new one, and never a mixture.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Archive, Suite, World, noise, read_answer, serve};

/// Longer than an archive is believed.
const ASKED: Duration = Duration::from_millis(2100);

fn suite(age: u32) -> Suite {
    Suite { age, ..Suite::new(vec![("a".into(), noise(5000, u64::from(age)))]) }
}

#[test]
fn a_new_set_is_seen_when_it_is_whole() {
    let world = World::new();
    let archive = Archive::new();
    let (old, new) = (suite(1), suite(2));
    old.publish(&archive, "");
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let index = format!("/x/{}", Suite::INDEX);
    server.gives("/x/dists/stable/InRelease", old.in_release().as_bytes());
    server.gives(&index, &old.index());
    std::thread::sleep(ASKED);
    // Half-way: the Release file is new, and its index is not there.
    archive.put("dists/stable/InRelease", new.in_release());
    let got = server.gives("/x/dists/stable/InRelease", old.in_release().as_bytes());
    assert_eq!(got.header("x-cache"), Some("STALE"));
    server.gives(&index, &old.index());
    server.gives(&format!("/x/{}", old.hashed()), &old.index());
    std::thread::sleep(ASKED);
    // The index is that of yet another set: the name is new, what it has is not what is listed.
    archive.put(Suite::INDEX, suite(3).index());
    server.gives("/x/dists/stable/InRelease", old.in_release().as_bytes());
    server.gives(&index, &old.index());
    std::thread::sleep(ASKED);
    new.publish(&archive, "");
    server.gives("/x/dists/stable/InRelease", new.in_release().as_bytes());
    server.gives(&index, &new.index());
    assert_eq!(std::fs::read(world.cache(&format!("x/{}", Suite::INDEX))).unwrap(), new.index());
    // A mirror that is behind does not turn the time back.
    std::thread::sleep(ASKED);
    old.publish(&archive, "");
    server.gives("/x/dists/stable/InRelease", new.in_release().as_bytes());
    server.gives(&index, &new.index());
}

#[test]
fn a_connection_keeps_the_set_it_was_given() {
    let world = World::new();
    let archive = Archive::new();
    let (old, new) = (suite(1), suite(2));
    old.publish(&archive, "");
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    server.gives("/x/dists/stable/InRelease", old.in_release().as_bytes());
    server.gives(&format!("/x/{}", Suite::INDEX), &old.index());
    let client = server.connect();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut ask = |path: &str| {
        write!(&client, "GET /x/{path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        read_answer(&mut reader, "GET")
    };
    assert_eq!(ask("dists/stable/InRelease").body, old.in_release().as_bytes());
    std::thread::sleep(ASKED);
    new.publish(&archive, "");
    server.gives("/x/dists/stable/InRelease", new.in_release().as_bytes());
    // By the name that now means the new index, this client gets the one it was promised.
    assert_eq!(ask(Suite::INDEX).body, old.index());
    assert_eq!(ask("dists/stable/InRelease").body, new.in_release().as_bytes());
    assert_eq!(ask(Suite::INDEX).body, new.index());
}

#[test]
fn a_release_file_and_its_signature_are_of_one_set() {
    let world = World::new();
    let archive = Archive::new();
    let (old, new) = (suite(1), suite(2));
    old.publish(&archive, "");
    archive.files.lock().unwrap().remove("dists/stable/InRelease");
    archive.put("dists/stable/Release.gpg", b"signature 1\n".to_vec());
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    assert_eq!(server.get("/x/dists/stable/InRelease").code, 404);
    server.gives("/x/dists/stable/Release", old.release().as_bytes());
    server.gives("/x/dists/stable/Release.gpg", b"signature 1\n");
    std::thread::sleep(ASKED);
    // The archive flips between our two requests, once.
    let (files, flipped) = (archive.files.clone(), AtomicBool::new(false));
    let text = new.release();
    archive.does(move |asked, stream| {
        let then = serve(asked, stream, &files);
        if asked.target.ends_with("Release.gpg") && !flipped.swap(true, Ordering::SeqCst) {
            files.lock().unwrap().insert("dists/stable/Release".into(), text.clone().into_bytes());
            files
                .lock()
                .unwrap()
                .insert("dists/stable/Release.gpg".into(), b"signature 2\n".to_vec());
        }
        then
    });
    let mut third = suite(1);
    third.age = 5;
    archive.put("dists/stable/Release", third.release());
    for _ in 0..2 {
        let release = server.get("/x/dists/stable/Release").body;
        let signature = server.get("/x/dists/stable/Release.gpg").body;
        let pair = (release == old.release().as_bytes(), release == new.release().as_bytes());
        match pair {
            (true, _) => assert_eq!(signature, b"signature 1\n"),
            (_, true) => assert_eq!(signature, b"signature 2\n"),
            _ => panic!("{}", String::from_utf8_lossy(&release)),
        }
        std::thread::sleep(ASKED);
    }
}

#[test]
fn what_was_rebuilt_under_its_old_name_is_fetched_anew() {
    let world = World::new();
    let archive = Archive::new();
    let (old, new) = (suite(1), suite(2));
    old.publish(&archive, "");
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let (index, package) = (format!("/x/{}", Suite::INDEX), format!("/x/{}", Suite::path("a")));
    server.gives("/x/dists/stable/InRelease", old.in_release().as_bytes());
    server.gives(&index, &old.index());
    server.gives(&package, &old.packages[0].1);
    server.gives(&package, &old.packages[0].1);
    std::thread::sleep(ASKED);
    new.publish(&archive, "");
    server.gives("/x/dists/stable/InRelease", new.in_release().as_bytes());
    server.gives(&package, &new.packages[0].1);
    assert_eq!(server.gives(&package, &new.packages[0].1).header("x-cache"), Some("HIT"));
}

#[test]
fn flat_archives_are_suites_too() {
    let world = World::new();
    let archive = Archive::new();
    let bytes = noise(70_000, 1);
    let index = format!(
        "Package: a\nVersion: 1\nArchitecture: all\nFilename: ./a_1_all.deb\nSize: {}\nSHA256: {}\n\n",
        bytes.len(),
        common::sha256(&bytes)
    );
    let release = format!(
        "Date: Wed, 01 Jan 2025 00:00:00 UTC\nSHA256:\n {} {} Packages\n",
        common::sha256(index.as_bytes()),
        index.len()
    );
    archive.put("flat/Release", release.clone());
    archive.put("flat/Packages", index.clone());
    let mut wrong = bytes.clone();
    wrong[69_999] ^= 1;
    archive.put("flat/a_1_all.deb", wrong);
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    server.gives("/x/flat/./Release", release.as_bytes());
    server.gives("/x/flat/./Packages", index.as_bytes());
    let got = server.get("/x/flat/./a_1_all.deb");
    assert!(got.code == 502 || !got.whole, "{}", got.head);
    archive.put("flat/a_1_all.deb", bytes.clone());
    server.gives("/x/flat/./a_1_all.deb", &bytes);
}

#[test]
fn equal_content_is_kept_and_fetched_once() {
    let world = World::new();
    let (one, two) = (Archive::new(), Archive::new());
    let suite = suite(1);
    suite.publish(&one, "");
    suite.publish(&two, "");
    let server = world.serve(&[&format!("x={}", one.url("")), &format!("y={}", two.url(""))], &[]);
    for name in ["x", "y"] {
        server.gives(&format!("/{name}/dists/stable/InRelease"), suite.in_release().as_bytes());
        server.gives(&format!("/{name}/{}", Suite::INDEX), &suite.index());
        server.gives(&format!("/{name}/{}", Suite::path("a")), &suite.packages[0].1);
    }
    assert_eq!(two.count(&Suite::path("a")), 0, "the same bytes were fetched twice");
    let inode = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        world.cache(&format!("{name}/{}", Suite::path("a"))).metadata().unwrap().ino()
    };
    assert_eq!(inode("x"), inode("y"));
}

#[test]
fn a_hundred_flips_under_eight_clients_mix_nothing() {
    for by_hash in [true, false] {
        let world = World::new();
        let archive = Arc::new(Archive::new());
        let first = Suite { by_hash, ..suite(0) };
        first.publish(&archive, "");
        let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
        server.gives("/x/dists/stable/InRelease", first.in_release().as_bytes());
        server.gives(&format!("/x/{}", Suite::INDEX), &first.index());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        // As apt does: one connection for all of an update.
                        let client = server.connect();
                        let mut reader = BufReader::new(client.try_clone().unwrap());
                        let mut ask = |path: &str| {
                            write!(&client, "GET /x/{path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                            read_answer(&mut reader, "GET")
                        };
                        let release = ask("dists/stable/InRelease");
                        assert_eq!(release.code, 200);
                        let text = String::from_utf8(release.body).unwrap();
                        let line = text.lines().find(|l| l.contains("binary-amd64/Packages"));
                        let hash =
                            line.unwrap().split_ascii_whitespace().next().unwrap().to_owned();
                        let path = match by_hash {
                            true => format!("dists/stable/main/binary-amd64/by-hash/SHA256/{hash}"),
                            false => Suite::INDEX.to_owned(),
                        };
                        let index = ask(&path);
                        assert_eq!(
                            (index.code, common::sha256(&index.body)),
                            (200, hash),
                            "{path}"
                        );
                    }
                });
            }
            for age in 1..=100 {
                // The worst order there is: first the names, then the Release file.
                Suite { by_hash, ..suite(age) }.publish(&archive, "");
                std::thread::sleep(Duration::from_millis(120));
            }
            done.store(true, Ordering::SeqCst);
        });
    }
}

#[test]
fn signatures_are_checked_where_the_keys_are_known() {
    let world = World::new();
    let archive = Archive::new();
    let home = world.path("gnupg");
    std::fs::create_dir(&home).unwrap();
    let gpg = |args: &[&str]| {
        let mut command = std::process::Command::new("gpg");
        command.arg("--homedir").arg(&home).args(["--batch", "--yes", "--quiet"]).args(args);
        common::Ran::new(command.current_dir(world.path("")).output().unwrap())
    };
    for name in ["good", "other"] {
        gpg(&["--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never"]).ok();
    }
    // Both forms that Signed-By takes: armored and binary.
    gpg(&["--armor", "--output", "good.asc", "--export", "good"]).ok();
    gpg(&["--output", "good.gpg", "--export", "good"]).ok();
    let signed = |suite: &Suite, by: &str| {
        world.write("Release", suite.release());
        gpg(&["--local-user", by, "--output", "InRelease", "--clearsign", "Release"]).ok();
        std::fs::read(world.path("InRelease")).unwrap()
    };
    for (at, keyring) in ["good.asc", "good.gpg"].into_iter().enumerate() {
        let (old, new) = (suite(1), suite(2));
        let (first, forged) = (signed(&old, "good"), signed(&new, "other"));
        old.publish(&archive, "");
        archive.put("dists/stable/InRelease", first.clone());
        let name = format!("x{at}");
        let keyring = format!("{name}={}", world.path(keyring).display());
        let server =
            world.serve(&[&format!("{name}={}", archive.url(""))], &["--keyring", &keyring]);
        let path = format!("/{name}/dists/stable/InRelease");
        server.gives(&path, &first);
        std::thread::sleep(ASKED);
        new.publish(&archive, "");
        archive.put("dists/stable/InRelease", forged.clone());
        server.gives(&path, &first);
        let genuine = signed(&new, "good");
        archive.put("dists/stable/InRelease", genuine.clone());
        std::thread::sleep(ASKED);
        server.gives(&path, &genuine);
    }
    gpg(&["--version"]).ok();
    let mut kill = std::process::Command::new("gpgconf");
    kill.arg("--homedir").arg(&home).args(["--kill", "all"]).status().unwrap();
}
