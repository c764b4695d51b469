//! `bk-vm create`: what is chosen, what is made, and what an interrupted one leaves.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use common::{bases, done, root, said, vm};

/// What a machine has beside what is essential and required.
const MACHINE: &str = "apt ca-certificates dbus iproute2 klibc-utils netbase openssh-server sudo \
                       systemd-sysv udev usr-is-merged";

/// Each test makes bases of its own, in one place.
static ALONE: Mutex<()> = Mutex::new(());

/// Bases that are there were made by the program as it is now.
fn alone() -> MutexGuard<'static, ()> {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| drop(std::fs::remove_dir_all(bases())));
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_packages_are_those_apt_chooses() {
    let dir = tempfile::tempdir().unwrap();
    // A system with nothing on it, and the indexes as they are now.
    let state = dir.path().join("state");
    std::fs::create_dir_all(state.join("lists/partial")).unwrap();
    bk::file::write(&dir.path().join("status"), "").unwrap();
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("-o").arg(format!("Dir::State={}", state.display()));
        apt.arg("-o").arg(format!("Dir::State::status={}/status", dir.path().display()));
        apt.arg("-o").arg(format!("Dir::Cache={}", dir.path().display()));
        apt.args(["-o", "APT::Sandbox::User=root", "-o", "APT::Install-Recommends=0", "-q"]);
        done(apt.args(words))
    };
    apt(&["update"]);
    let arch = done(Command::new("dpkg").arg("--print-architecture"));
    let kernel = format!("linux-image-cloud-{}", arch.trim());
    for more in [&[][..], &["python3", "git", "default-mta"]] {
        let mut words = vec!["-s", "install", "?essential", "?priority(required)", &kernel];
        words.extend(MACHINE.split_ascii_whitespace());
        words.extend(more);
        let simulated = apt(&words);
        let pair = |line: &str| {
            // Inst apt (2.6.1 Debian:12/stable [amd64])
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
            let version = rest.trim_start_matches('(').split(' ').next()?;
            Some(format!("{name} {version}"))
        };
        let theirs: BTreeSet<String> = simulated.lines().filter_map(pair).collect();
        assert!(theirs.len() > 100, "{simulated}");

        let mut create = vm(&["create", "--dry-run", "1"]);
        create.args(more.iter().flat_map(|name| ["-a", name]));
        let ours: BTreeSet<String> = done(&mut create).lines().map(str::to_owned).collect();
        let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
            a.difference(b).cloned().collect::<Vec<_>>()
        };
        assert_eq!((only(&ours, &theirs), only(&theirs, &ours)), (vec![], vec![]), "{more:?}");
    }
}

/// The files of a disk as a folder, by e2fsprogs.
fn dump(disk: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    let mut debugfs = Command::new("debugfs");
    done(debugfs.args(["-R", &format!("rdump / {}", to.display())]).arg(disk));
}

/// Owners and permissions are those of the packages, and of Debian's own systems.
fn check_owners(disk: &Path) {
    let stat = |path: &str| {
        let mut debugfs = Command::new("debugfs");
        let text = done(debugfs.args(["-R", &format!("stat {path}")]).arg(disk));
        let after = |word: &str| {
            let rest = text.split(word).nth(1).unwrap().trim_start();
            rest.split_ascii_whitespace().next().unwrap().to_owned()
        };
        (after("Mode:"), after("User:"), after("Group:"))
    };
    let are =
        |mode: &str, user: &str, group: &str| (mode.to_owned(), user.to_owned(), group.to_owned());
    for (path, expected) in [
        ("/usr/bin/sudo", are("04755", "0", "0")),
        ("/tmp", are("01777", "0", "0")),
        ("/var/local", are("02775", "0", "50")),
        ("/etc/shadow", are("0640", "0", "42")),
        ("/root", are("0700", "0", "0")),
        ("/home/ubuntu", are("0700", "1000", "1000")),
        ("/home/ubuntu/.ssh/authorized_keys", are("0600", "1000", "1000")),
        ("/etc/ssh/ssh_host_ed25519_key", are("0600", "0", "0")),
    ] {
        assert_eq!(stat(path), expected, "{path}");
    }
}

#[test]
fn a_machine_is_made_and_every_further_one_is_a_copy_with_a_name_of_its_own() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key.pub");
    bk::file::write(&key, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI somebody\n").unwrap();
    let create = |number: &str| {
        let mut create = vm(&["create", "--proxy", "127.0.0.1:9", "-a", "hello", number]);
        create.args(["--size", "4G", "-o"]).arg(dir.path()).arg("--key").arg(&key);
        // What the cache has need not come through the proxy, and is there from the tests before.
        create
    };
    // Nothing listens there, and there is no other way.
    let output = create("10").output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    let without = |number: &str| {
        let mut create = vm(&["create", "-a", "hello", "--size", "4G", number, "-o"]);
        create.arg(dir.path()).arg("--key").arg(&key);
        create
    };
    let path = done(&mut without("10"));
    assert_eq!(Path::new(path.trim_end()), dir.path().join("buildkit10/disk.raw"));
    let count = || std::fs::read_dir(bases()).unwrap().count();
    let one = count();
    let json = done(without("192.168.100.11").arg("--json"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["type"], &json["name"]), (&"machine".into(), &"buildkit11".into()));
    assert_eq!(count(), one, "no second base");

    // There is one already.
    let output = without("10").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let left = std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name());
    let left: BTreeSet<_> = left.map(|name| name.to_string_lossy().into_owned()).collect();
    assert_eq!(left, [".lock", "buildkit10", "buildkit11", "key.pub"].map(str::to_owned).into());

    for name in ["buildkit10", "buildkit11"] {
        let machine = dir.path().join(name);
        done(Command::new("e2fsck").arg("-fn").arg(machine.join("disk.raw")));
        // The .qcow2 and the raw disk are one.
        let mut compare = Command::new("qemu-img");
        let both = [machine.join("disk.raw"), machine.join(format!("{name}.qcow2"))];
        done(compare.args(["compare", "-f", "raw", "-F", "qcow2"]).args(both));
    }
    check_owners(&dir.path().join("buildkit10/disk.raw"));
    let tree = dir.path().join("tree");
    dump(&dir.path().join("buildkit10/disk.raw"), &tree);
    let read = |path: &str| std::fs::read_to_string(tree.join(path)).unwrap();
    assert_eq!(read("etc/hostname"), "buildkit10\n");
    assert!(read("etc/hosts").contains("\n192.168.100.254 host.buildkit\n"));
    assert!(read("home/ubuntu/.ssh/authorized_keys").contains(" somebody\n"));
    let mut dpkg = Command::new("dpkg");
    assert_eq!(done(dpkg.arg("--root").arg(&tree).arg("--audit")), "");
    // Every file is what its package says, by its MD5.
    let mut dpkg = Command::new("dpkg");
    assert_eq!(done(dpkg.arg("--root").arg(&tree).arg("--verify")), "");
    let mut query = Command::new("dpkg-query");
    let admin = tree.join("var/lib/dpkg");
    let all = done(query.arg("--admindir").arg(&admin).args(["-W", "-f", "${db:Status-Status}\n"]));
    assert!(all.lines().count() > 100 && all.lines().all(|status| status == "installed"));
    let mark = ["showauto", "bash", "hello", "libkmod2"];
    let mut apt_mark = Command::new("apt-mark");
    apt_mark.arg("-o").arg(format!("Dir={}", tree.display()));
    apt_mark.arg("-o").arg(format!("Dir::State::status={}/status", admin.display()));
    assert_eq!(done(apt_mark.args(mark)), "libkmod2\n");

    let other = dir.path().join("other");
    dump(&dir.path().join("buildkit11/disk.raw"), &other);
    for own in ["etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ecdsa_key"] {
        let both = [&tree, &other].map(|tree| std::fs::read(tree.join(own)).unwrap());
        assert_ne!(both[0], both[1], "{own}");
    }
}

/// The processes that have a path in their command line.
fn processes(path: &Path) -> usize {
    let path = path.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(path)).count()
}

#[test]
fn a_create_that_is_ended_leaves_no_machine_and_no_process() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    // In the middle of each of the steps, which it names as it begins them.
    for (signal, step) in [("-TERM", "unpacking"), ("-KILL", "unpacking"), ("-KILL", "writing")] {
        let mut create = vm(&["create", "7", "-o"]);
        create.arg(dir.path()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = create.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let begun = said.any(|line| line.unwrap().contains(step));
        assert!(begun, "{step}");
        std::thread::sleep(Duration::from_millis(200));
        done(Command::new("kill").arg(signal).arg(child.id().to_string()));
        child.wait().unwrap();
        let start = Instant::now();
        while processes(&bases()) > 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "{signal} at {step}");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!dir.path().join("buildkit7").exists(), "{signal} at {step}");
    }
    let path = done(vm(&["create", "7", "-o"]).arg(dir.path()));
    done(Command::new("e2fsck").arg("-fn").arg(path.trim_end()));
    let hidden = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".bk-");
    assert!(!std::fs::read_dir(bases()).unwrap().flatten().any(hidden));
}

#[test]
fn what_nobody_has_signed_is_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let suite = dir.path().join("dists/bookworm");
    std::fs::create_dir_all(&suite).unwrap();
    bk::file::write(&suite.join("InRelease"), "Suite: bookworm\nSHA256:\n").unwrap();
    let mut create = vm(&["create", "5", "--suite", "bookworm", "-o"]);
    create.arg(dir.path()).arg("--mirror").arg(format!("file://{}", dir.path().display()));
    let output = create.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("has signed it"), "{}", said(&output));
    assert!(!dir.path().join("buildkit5").exists());
    let output = vm(&["create", "--dry-run", "-a", "no-such-package", "5"]).output().unwrap();
    assert!(said(&output).contains("'no-such-package'"), "{}", said(&output));
    for bad in ["0", "254", "8.8.8.8"] {
        assert_eq!(vm(&["create", bad]).output().unwrap().status.code(), Some(2), "{bad}");
    }
    assert!(root().exists());
}
