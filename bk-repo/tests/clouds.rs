//! Repositories in Google Cloud Storage and Azure Blob Storage.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{World, google};

/// All that a folder does, with several writers at once. `env` has the credentials.
fn holds_a_repository(repo: &str, env: &[(&str, &str)]) {
    let world = World::new();
    let ask = |args: &[&str]| {
        let mut command = world.command(args);
        common::Ran::new(
            command
                .envs(env.iter().copied())
                .env("SOURCE_DATE_EPOCH", "1900000000")
                .output()
                .unwrap(),
        )
    };
    let shown = repo.split('?').next().unwrap();
    let (a, b) = (world.deb("a", "1", "amd64", ""), world.deb("b", "1", "all", ""));
    for place in [repo, "local"] {
        ask(&["init", place, "--arch", "amd64"]).ok();
        ask(&["add", place, &a, &b]).ok();
    }
    ask(&["export", repo, "-o", "from-bucket"]).ok();
    ask(&["export", "local", "-o", "from-folder"]).ok();
    assert!(world.tree("from-bucket") == world.tree("from-folder"));

    ask(&["snapshot", repo, "first"]).ok();
    ask(&["remove", repo, "a"]).ok();
    assert_eq!(ask(&["diff", repo, "first", "stable"]).ok(), "-a_1_amd64\n");
    ask(&["rollback", repo, "--to", "first"]).ok();
    assert_eq!(ask(&["list", repo]).ok(), "a_1_amd64\nb_1_all\n");
    // One that is uploaded in parts: random bytes, which no compression makes smaller.
    let tree = world.path("tree");
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    common::run(&tree, "dd", &["if=/dev/urandom", "of=big.bin", "bs=1M", "count=40"]);
    let control = "Package: big\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.com>\n\
                   Description: big\n";
    bk::file::write(&tree.join("DEBIAN/control"), control).unwrap();
    let pack = ["--root-owner-group", "-Zgzip", "-b", "tree", "big_1_all.deb"];
    common::run(&world.path(""), "dpkg-deb", &pack);
    let big = ask(&["add", repo, "big_1_all.deb"]).ok();
    assert_eq!(big, format!("{shown}/pool/main/b/big/big_1_all.deb\n"));
    assert_eq!(ask(&["check", repo]).ok(), "");

    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (ask, world) = (&ask, &world);
            scope.spawn(move || {
                for i in 0..4 {
                    let deb = world.deb(&format!("w{writer}-{i}"), "1", "amd64", "");
                    ask(&["add", repo, &deb, "--wait", "300"]).ok();
                }
            });
        }
    });
    let listed = ask(&["list", repo]).ok();
    assert_eq!(listed.lines().count(), 19, "{listed}");
    ask(&["gc", repo]).ok();
    assert_eq!(ask(&["check", repo]).ok(), "");
}

#[test]
fn google_cloud_storage_holds_a_repository() {
    holds_a_repository(&google::start(), &[]);
}

/// Azurite, which is Azure's own emulator.
struct Azurite(Child);

impl Drop for Azurite {
    fn drop(&mut self) {
        // Node.js of Python's index is a child of its own.
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The account that Azurite has, and its key, as Azure's documentation gives them.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[test]
fn azure_blob_storage_holds_a_repository() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("azurite-blob");
    command.args(["--inMemoryPersistence", "--disableTelemetry", "--silent"]);
    // The library is newer than the emulator.
    command.args(["--skipApiVersionCheck", "--blobPort", &port.to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let _azurite = Azurite(command.spawn().unwrap());
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    let repo =
        format!("az://bucket/apt?account={ACCOUNT}&endpoint=http://127.0.0.1:{port}/{ACCOUNT}");
    holds_a_repository(&repo, &[("AZURE_STORAGE_ACCOUNT_KEY", KEY)]);
    let world = World::new();
    let ran = world.bk(&["init", "az://bucket/apt?region=x"]).code(2);
    ran.says("region");
}
