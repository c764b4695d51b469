//! `bk-vm snapshot` and `restore`: a disk is what it was.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{done, said, vm};

#[test]
fn a_disk_is_brought_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = done(vm(&["create", "50", "-o"]).arg(dir.path())).trim_end().to_owned();
    let before = dir.path().join("before");
    done(Command::new("cp").arg("--sparse=always").arg(&disk).arg(&before));
    // Without reading the holes, of which there are 8 GB.
    let same = |other: &Path, format: &str| {
        let mut compare = Command::new("qemu-img");
        compare.args(["compare", "-f", "raw", "-F", format, &disk]).arg(other);
        compare.output().unwrap().status.code() == Some(0)
    };
    done(&mut vm(&["snapshot", "50", "clean", "--dry-run"]));
    assert_eq!(done(&mut vm(&["snapshot", "50"])), "");
    done(&mut vm(&["snapshot", "50", "clean"]));
    assert_eq!(done(&mut vm(&["snapshot", "50"])), "clean\n");
    let again = vm(&["snapshot", "50", "clean"]).output().unwrap();
    assert!(said(&again).contains("one of that name"), "{}", said(&again));

    done(Command::new("debugfs").args(["-w", "-R", "rm /etc/hostname"]).arg(&disk));
    assert!(!same(&before, "raw"));
    let output = vm(&["restore", "50", "claen"]).output().unwrap();
    assert!(said(&output).contains("hint: there is clean"), "{}", said(&output));
    done(&mut vm(&["restore", "50", "clean", "--dry-run"]));
    assert!(!same(&before, "raw"));
    done(&mut vm(&["restore", "50", "clean"]));
    assert!(same(&before, "raw"));
    // The other name of the disk goes with it.
    assert!(same(&dir.path().join("buildkit50/buildkit50.qcow2"), "qcow2"));

    done(&mut vm(&["snapshot", "50", "clean", "--delete", "--dry-run"]));
    assert_eq!(done(&mut vm(&["snapshot", "50"])), "clean\n");
    done(&mut vm(&["snapshot", "50", "clean", "--delete"]));
    assert_eq!(done(&mut vm(&["snapshot", "50"])), "");
    for bad in ["../x", "", ".x"] {
        assert_eq!(vm(&["snapshot", "50", bad]).output().unwrap().status.code(), Some(2), "{bad}");
    }
}
