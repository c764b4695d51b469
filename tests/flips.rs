//! An archive that is published five hundred times while eight apt clients update through a cache: each
//! sees one state of it or the next, and none an error.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Server, done, said, tool};

/// apt on its own, with folders below `dir`, that trusts what a .sources file says.
fn apt(dir: &Path, sources: &str) -> Command {
    for folder in ["lists/partial", "cache/archives/partial", "parts"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    bk::file::write(&dir.join("status"), "").unwrap();
    bk::file::write(&dir.join("test.sources"), sources).unwrap();
    let mut command = Command::new("apt-get");
    // As root apt fetches as another user, who cannot read this folder.
    command.args(["-o", "APT::Sandbox::User=root", "-o", "APT::Update::Error-Mode=any"]);
    for (name, value) in [
        ("Dir::State", ""),
        ("Dir::State::status", "status"),
        ("Dir::State::Lists", "lists"),
        ("Dir::Cache", "cache"),
        ("Dir::Etc::SourceList", "test.sources"),
        ("Dir::Etc::SourceParts", "parts"),
        ("Dir::Etc::TrustedParts", "parts"),
    ] {
        command.arg("-o").arg(format!("{name}={}", dir.join(value).display()));
    }
    command
}

#[test]
fn five_hundred_flips_under_eight_clients_disturb_none() {
    const FLIPS: usize = 500;
    let dir = tempfile::tempdir().unwrap();
    for version in 0..=FLIPS {
        let control = format!(
            "Package: flip\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
        );
        bk::file::create_dir(&dir.path().join("tree/DEBIAN")).unwrap();
        bk::file::write(&dir.path().join("tree/DEBIAN/control"), control).unwrap();
        done(tool("bk-deb", dir.path()).args(["pack", "tree"]));
    }
    let add = |version: usize| {
        let deb = format!("flip_{version}_all.deb");
        done(tool("bk-repo", dir.path()).args(["add", "repo", &deb]))
    };
    add(0);
    let archive = Server::start(tool("bk-repo", dir.path()).args([
        "serve",
        "repo",
        "--listen",
        "127.0.0.1:0",
    ]));
    let upstream = format!("x=http://127.0.0.1:{}/", archive.port);
    let words = ["serve", "--listen", "127.0.0.1:0", "--cache", "cache", "--upstream", &upstream];
    let cache = Server::start(tool("bk-aptcache", dir.path()).args(words));
    let uri = format!("http://127.0.0.1:{}/x", cache.port);
    let sources = done(tool("bk-repo", dir.path()).args(["sources", "repo", "--uri", &uri]));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (dir, sources, over) = (dir.path().join(client.to_string()), &sources, &over);
                scope.spawn(move || {
                    let (mut runs, mut seen) = (0, BTreeSet::new());
                    while !over.load(Ordering::SeqCst) {
                        let output = apt(&dir, sources).arg("update").output().unwrap();
                        let text = said(&output);
                        assert!(output.status.success(), "{text}");
                        assert!(!text.contains("W:") && !text.contains("E:"), "{text}");
                        let mut newest = apt(&dir, sources);
                        let text = done(newest.args(["--print-uris", "download", "flip"]));
                        seen.insert(text);
                        runs += 1;
                        // As a user's next command would; without it eight clients only wait for cores.
                        std::thread::sleep(std::time::Duration::from_millis(300));
                    }
                    (runs, seen.len())
                })
            })
            .collect();
        for version in 1..=FLIPS {
            add(version);
        }
        over.store(true, Ordering::SeqCst);
        for client in clients {
            let (runs, seen) = client.join().unwrap();
            assert!(runs > 10 && seen > 10, "{runs} updates, {seen} versions");
        }
    });
    // At rest it is the last one.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let client = dir.path().join("0");
    done(apt(&client, &sources).arg("update"));
    let text = done(apt(&client, &sources).args(["--print-uris", "download", "flip"]));
    assert!(text.contains(&format!("flip_{FLIPS}_all.deb")), "{text}");
}
