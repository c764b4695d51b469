//! `bk-vm test`: a command in a throw-away machine, and what `create` was told to put there.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::process::Command;

use common::{done, said, vm};

#[test]
fn a_command_runs_in_a_machine_that_is_gone_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    bk::file::create_dir(&place("tree/inner")).unwrap();
    bk::file::write(&place("tree/inner/file"), "of a folder\n").unwrap();
    bk::file::write(&place("one"), "of a file\n").unwrap();
    bk::file::write(&place("boot"), "#!/bin/sh\nid -un >/srv/who\n").unwrap();
    let mut create = vm(&["create", "40", "-o"]);
    create.arg(dir.path()).arg("--exec-on-boot").arg(place("boot"));
    create.arg("--copy-file").arg(format!("{} -> /srv/deep/one", place("one").display()));
    create.arg("--copy-dir").arg(format!("{} -> /srv/tree", place("tree").display()));
    let disk = done(&mut create).trim_end().to_owned();
    done(Command::new("e2fsck").arg("-fn").arg(&disk));
    let before = place("before");
    done(Command::new("cp").arg("--sparse=always").arg(&disk).arg(&before));

    let test = |words: &[&str]| {
        let mut test = vm(&["test", "40", "--copy"]);
        test.arg(place("one")).arg("--").args(words).output().unwrap()
    };
    let script = "cat one /srv/deep/one /srv/tree/inner/file; \
                  until cat /srv/who; do sleep 1; done; sudo rm -r /srv; echo \"$1\"; exit 7";
    let output = test(&["sh", "-c", script, "sh", "a b"]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "of a file\nof a file\nof a folder\nroot\na b\n");
    // The image stays as it is.
    let mut compare = Command::new("qemu-img");
    done(compare.args(["compare", "-f", "raw", "-F", "raw", &disk]).arg(&before));
    let output = vm(&["test", "40"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "no command is given");
    let run = common::root().join("run/buildkit/vm");
    let left = std::fs::read_dir(run).unwrap().flatten().map(|entry| entry.file_name());
    assert!(
        !left.map(|name| name.to_string_lossy().into_owned()).any(|name| name.contains("test-"))
    );
}
