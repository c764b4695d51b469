//! Disks that are full, read-only, forgetful or poor in features, and machines that stop.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::FileTimes;
use std::io::{BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use common::{Archive, Server, Suite, Then, World, exists, noise, read_answer, run};

/// Longer than a name is believed to mean the file that is open.
const LOOKED: Duration = Duration::from_millis(1100);

fn suite() -> Suite {
    Suite { age: 1, ..Suite::new(vec![("a".into(), noise(500_000, 1))]) }
}

/// A server of `archive` in mounts of its own, which a script has made.
fn start(world: &World, archive: &Archive, script: &str) -> Server {
    std::fs::create_dir_all(world.path("cache")).unwrap();
    let script = format!("{script} && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["-m", "bash", "-c", &script, "bash", env!("CARGO_BIN_EXE_bk-aptcache")]);
    command.args(["serve", "--cache", "cache", "--listen", "127.0.0.1:0", "--upstream"]);
    command.arg(format!("x={}", archive.url("")));
    command.current_dir(world.path("")).env("BK_ROOT", world.path("root"));
    Server::start(&mut command)
}

/// Has what the suite says of its package in the cache, and the package.
fn fill(server: &Server, suite: &Suite) -> String {
    server.gives("/x/dists/stable/InRelease", suite.in_release().as_bytes());
    server.gives(&format!("/x/{}", Suite::INDEX), &suite.index());
    let path = format!("x/{}", Suite::path("a"));
    server.gives(&format!("/{path}"), &suite.packages[0].1);
    path
}

#[test]
fn a_file_that_another_program_changes_is_fetched_anew() {
    let world = World::new();
    let archive = Archive::new();
    let suite = suite();
    suite.publish(&archive, "");
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let path = fill(&server, &suite);
    let bytes = &suite.packages[0].1;
    let file = std::fs::File::options().write(true).open(world.cache(&path)).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(&[!bytes[1000]], 1000).unwrap();
    // Even where it hides it.
    file.set_times(FileTimes::new().set_modified(modified)).unwrap();
    std::thread::sleep(LOOKED);
    let got = server.gives(&format!("/{path}"), bytes);
    assert_eq!(got.header("x-cache"), Some("MISS"));
    assert_eq!(server.gives(&format!("/{path}"), bytes).header("x-cache"), Some("HIT"));
    // And where it cuts it.
    std::fs::File::options().write(true).open(world.cache(&path)).unwrap().set_len(9).unwrap();
    std::thread::sleep(LOOKED);
    server.gives(&format!("/{path}"), bytes);
    assert_eq!(archive.count(&Suite::path("a")), 3);
}

#[test]
fn what_rotted_on_the_disk_is_not_served() {
    let world = World::new();
    let archive = Archive::new();
    let suite = suite();
    suite.publish(&archive, "");
    let image = world.write("image", []);
    std::fs::File::options().write(true).open(&image).unwrap().set_len(16 << 20).unwrap();
    run("mkfs.ext4", &["-q", image.to_str().unwrap()]).ok();
    let mount = "mount -o loop image cache";
    let server = start(&world, &archive, mount);
    let path = fill(&server, &suite);
    assert_eq!(server.stop(), 0);
    // Nothing tells but the bytes: the inode, its size, its times and its attributes stay.
    let bytes = &suite.packages[0].1;
    let disk = std::fs::read(&image).unwrap();
    let at = memchr::memmem::find(&disk, &bytes[..4096]).unwrap() as u64;
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    file.write_all_at(&[!bytes[7]], at + 7).unwrap();
    let server = start(&world, &archive, mount);
    let got = server.gives(&format!("/{path}"), bytes);
    assert_eq!((got.header("x-cache"), archive.count(&Suite::path("a"))), (Some("MISS"), 2));
}

#[test]
fn without_hard_links_files_are_copied() {
    let world = World::new();
    let archive = Archive::new();
    let suite = suite();
    suite.publish(&archive, "");
    archive.put("pool/again.deb", suite.packages[0].1.clone());
    // The tracer is the grandchild, so that it is the server that is our child.
    let trace = "strace -D -f -qq -o trace -e trace=link,linkat -e inject=link,linkat:error=EPERM";
    let script = format!("set -- {trace} \"$@\"");
    for round in 0..2 {
        let server = start(&world, &archive, &script);
        let path = fill(&server, &suite);
        assert_eq!(std::fs::read(world.cache(&path)).unwrap(), suite.packages[0].1);
        let index = std::fs::read(world.cache(&format!("x/{}", Suite::INDEX))).unwrap();
        assert_eq!(index, suite.index());
        server.gives("/x/pool/again.deb", &suite.packages[0].1);
        let trace = std::fs::read_to_string(world.path("trace")).unwrap();
        // What the first run has is all there for the second.
        assert_eq!(trace.contains("EPERM"), round == 0, "{trace}");
        archive.goes_down();
    }
    // A file that rotted is found here, too, where an index knows it.
    let path = world.cache(&format!("x/{}", Suite::path("a")));
    bk::file::write(&path, b"rotten").unwrap();
    world.bk(&["verify"]).code(3);
    assert!(!exists(&path));
}

#[test]
fn a_broken_disk_hides_nothing_from_clients() {
    let world = World::new();
    let archive = Archive::new();
    let suite = suite();
    suite.publish(&archive, "");
    let bytes = noise(3 << 20, 9);
    archive.put("pool/big.deb", bytes.clone());
    // A file system of 2 MiB.
    let server = start(&world, &archive, "mount -t tmpfs -o size=2m tmpfs cache");
    for _ in 0..2 {
        server.gives("/x/dists/stable/InRelease", suite.in_release().as_bytes());
        server.gives(&format!("/x/{}", Suite::INDEX), &suite.index());
        // Larger than the whole disk: passed through.
        server.gives("/x/pool/big.deb", &bytes);
        for i in 0..6 {
            // More than fits: what was used longest ago makes room.
            let bytes = noise(500_000, i);
            archive.put(&format!("pool/p{i}.deb"), bytes.clone());
            server.gives(&format!("/x/pool/p{i}.deb"), &bytes);
        }
    }
    drop(server);
    // No file may be made at all.
    let script = "mount -t tmpfs -o size=2m tmpfs cache && mkdir -p cache/.bk/{parts,sha256,tables} && \
                  touch cache/CACHEDIR.TAG && mount -o remount,ro cache";
    let server = start(&world, &archive, script);
    server.gives("/x/dists/stable/InRelease", suite.in_release().as_bytes());
    server.gives(&format!("/x/{}", Suite::INDEX), &suite.index());
    server.gives("/x/pool/big.deb", &bytes);
    drop(server);
    // No inode is left.
    let server = start(&world, &archive, "mount -t tmpfs -o nr_inodes=12 tmpfs cache");
    for i in 0..6 {
        server.gives(&format!("/x/pool/p{i}.deb"), &noise(500_000, i));
    }
}

#[test]
fn who_follows_a_transfer_does_not_hear_of_a_full_disk() {
    let world = World::new();
    let archive = Archive::new();
    let bytes = noise(4 << 20, 5);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (wait, body) = (std::sync::Mutex::new(wait), bytes.clone());
    archive.does(move |_, stream| {
        drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        drop(stream.write_all(&body[..1 << 20]));
        // The rest does not fit, and comes when all follow.
        wait.lock().unwrap().recv().unwrap();
        drop(stream.write_all(&body[1 << 20..]));
        Then::Next
    });
    let server = start(&world, &archive, "mount -t tmpfs -o size=2m tmpfs cache");
    let request = b"GET /x/pool/big.deb HTTP/1.1\r\nHost: x\r\n\r\n";
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = server.connect();
            client.write_all(request).unwrap();
            let reader = BufReader::new(client);
            std::thread::spawn(move || read_answer(&mut { reader }, "GET"))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    go.send(()).unwrap();
    for client in clients {
        let got = client.join().unwrap();
        assert!(got.code == 200 && got.whole && got.body == bytes, "{}", got.head);
    }
    assert_eq!(archive.count("pool/big.deb"), 1);
}

#[test]
fn kill_at_any_moment_leaves_nothing_wrong() {
    let world = World::new();
    let archive = Archive::new();
    let packages: Vec<(String, Vec<u8>)> =
        (0..40_u64).map(|i| (format!("p{i}"), noise(30_000 + 40_000 * i as usize, i))).collect();
    let suite = Suite::new(packages);
    suite.publish(&archive, "");
    let upstream = format!("x={}", archive.url(""));
    for round in 0..20_u64 {
        let server = world.serve(&[&upstream], &[]);
        let address = server.address.clone();
        let paths: Vec<String> = ["dists/stable/InRelease".to_owned(), Suite::INDEX.to_owned()]
            .into_iter()
            .chain((0..40).map(|i| Suite::path(&format!("p{}", (i + round) % 40))))
            .collect();
        let client = std::thread::spawn(move || {
            for path in paths {
                let Ok(mut stream) = std::net::TcpStream::connect(&address) else { return };
                let request =
                    format!("GET /x/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                drop(stream.write_all(request.as_bytes()));
                read_answer(&mut BufReader::new(stream), "GET");
            }
        });
        std::thread::sleep(Duration::from_millis(10 + 17 * round));
        server.kill();
        client.join().unwrap();
        // What is in the tree under its final name is what the archive has.
        for (name, bytes) in &suite.packages {
            let path = world.cache(&format!("x/{}", Suite::path(name)));
            if exists(&path) {
                assert!(std::fs::read(&path).unwrap() == *bytes, "{name} after round {round}");
            }
        }
    }
    archive.heals();
    let server = world.serve(&[&upstream], &[]);
    for (name, bytes) in &suite.packages {
        server.gives(&format!("/x/{}", Suite::path(name)), bytes);
    }
}
