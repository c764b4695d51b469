//! `bk-vm clone`: another machine, with what is in the first, and a name of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::process::Command;

use common::{done, said, vm};

#[test]
fn a_clone_has_what_the_other_has_and_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    bk::file::write(&place("one"), "there\n").unwrap();
    bk::file::write(&place("key.pub"), "ssh-ed25519 AAAA somebody\n").unwrap();
    let mut create = vm(&["create", "45", "-o"]);
    create.arg(dir.path()).arg("--key").arg(place("key.pub"));
    create.arg("--copy-file").arg(format!("{} -> /srv/one", place("one").display()));
    done(&mut create);
    let dry = done(&mut vm(&["clone", "45", "46", "--dry-run"]));
    assert!(!place("buildkit46").exists());
    let path = done(&mut vm(&["clone", "45", "46"]));
    assert_eq!(dry, path);
    assert_eq!(path.trim_end(), place("buildkit46/disk.raw").to_str().unwrap());
    let read = |machine: &str, path: &str| {
        let mut debugfs = Command::new("debugfs");
        done(debugfs.args(["-R", &format!("cat {path}")]).arg(place(machine).join("disk.raw")))
    };
    for own in ["/etc/hostname", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key"] {
        assert_ne!(read("buildkit45", own), read("buildkit46", own), "{own}");
    }
    assert_eq!(read("buildkit46", "/etc/hostname"), "buildkit46\n");
    assert_eq!(read("buildkit46", "/srv/one"), "there\n");
    assert!(read("buildkit46", "/home/ubuntu/.ssh/authorized_keys").contains(" somebody\n"));
    done(Command::new("e2fsck").arg("-fn").arg(place("buildkit46/disk.raw")));
    let again = vm(&["clone", "45", "46"]).output().unwrap();
    assert!(said(&again).contains("there already"), "{}", said(&again));
    // Its keys are in order: it answers to them.
    assert_eq!(done(&mut vm(&["test", "46", "--", "hostname"])), "buildkit46\n");
}
