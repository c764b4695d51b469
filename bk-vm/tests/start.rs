//! `bk-vm start --user-net`, and the commands for a machine that runs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;

use common::{done, said, vm};

/// Stops the machine, whatever becomes of the test.
struct Stopped(&'static str);

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(vm(&["stop", "--timeout", "1", self.0]).output());
    }
}

fn made(number: &str, dir: &Path) -> String {
    done(vm(&["create", number, "-o"]).arg(dir)).trim_end().to_owned()
}

#[test]
fn a_machine_runs_in_the_background_without_root() {
    let dir = tempfile::tempdir().unwrap();
    let disk = made("20", dir.path());
    let dry =
        done(&mut vm(&["start", "--user-net", "--dry-run", "300M", "2", &disk, "--", "-snapshot"]));
    assert!(dry.starts_with("qemu-system-") && dry.contains(" -m 300 -smp 2 "), "{dry}");
    assert!(dry.trim_end().ends_with(" -snapshot"), "{dry}");

    let _stopped = Stopped("20");
    let ssh = done(&mut vm(&["start", "--detach", "--user-net", "512M", "1", "20"]));
    assert!(ssh.starts_with("127.0.0.1:"), "{ssh}");
    let json = done(&mut vm(&["list", "--json"]));
    let machine = json.lines().find(|line| line.contains("buildkit20")).unwrap();
    let machine: serde_json::Value = serde_json::from_str(machine).unwrap();
    assert_eq!((&machine["state"], &machine["ssh"]), (&"running".into(), &ssh.trim_end().into()));

    // Words arrive as they are, and the status comes back.
    let exec = |words: &[&str]| vm(&[&["exec", "20"], words].concat());
    assert_eq!(done(&mut exec(&["printf", "%s|", "a b", "$HOME", "it's", ""])), "a b|$HOME|it's||");
    assert_eq!(exec(&["sh", "-c", "exit 7"]).output().unwrap().status.code(), Some(7));

    // There and back again.
    let tree = dir.path().join("tree with a blank");
    bk::file::create_dir(&tree.join("inner")).unwrap();
    bk::file::write(&tree.join("inner/file"), "there\n").unwrap();
    let dry = done(vm(&["copy", "--dry-run"]).arg(&tree).arg("20:there"));
    assert!(dry.starts_with("scp ") && dry.trim_end().ends_with(":there"), "{dry}");
    done(vm(&["copy"]).arg(&tree).arg("20:there"));
    assert_eq!(done(&mut exec(&["cat", "there/inner/file"])), "there\n");
    done(vm(&["copy", "20:there/inner/file"]).arg(dir.path().join("back")));
    assert_eq!(std::fs::read(dir.path().join("back")).unwrap(), b"there\n");
    let two = vm(&["copy", "20:a", "21:b"]).output().unwrap();
    assert!(!two.status.success());

    let removed = vm(&["remove", "20"]).output().unwrap();
    assert!(said(&removed).contains("running"), "{}", said(&removed));
    assert_eq!(done(&mut vm(&["stop", "--dry-run", "20"])), "buildkit20\n");
    assert_eq!(done(&mut vm(&["exec", "20", "echo", "there"])), "there\n");
    done(&mut vm(&["stop", "20"]));
    assert_eq!(done(&mut vm(&["stop", "--dry-run", "20"])), "");
    // It has shut down, and was not cut off.
    done(std::process::Command::new("e2fsck").arg("-fn").arg(&disk));
    assert!(done(&mut vm(&["log", "20"])).contains("buildkit20 login:"));
    let exec = exec(&["true"]).output().unwrap();
    assert!(said(&exec).contains("does not run"), "{}", said(&exec));
    done(&mut vm(&["remove", "20"]));
    assert!(!Path::new(&disk).exists());
    assert!(!done(&mut vm(&["list"])).contains("buildkit20"));
}

#[test]
fn why_a_machine_does_not_start_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let disk = made("22", dir.path());
    let start = |words: &[&str]| {
        let output = vm(&[&["start", "--user-net"], words].concat()).output().unwrap();
        (output.status.code(), said(&output))
    };
    for (words, status, why) in [
        (&["512M", "1"][..], 2, "too few"),
        (&["512M", "0", &disk], 2, "processors"),
        (&["64M", "1", &disk], 2, "128M"),
        (&["512M", "1", "99"], 1, "no machine"),
        (&["512M", "1", &disk, "--", "-no-such-option"], 1, "no-such-option"),
        (&["512M", "1", "--accel", "tcg", "--timeout", "1", &disk], 1, "no ssh server"),
    ] {
        let (code, said) = start(words);
        assert_eq!(code, Some(status), "{words:?}: {said}");
        assert!(said.contains(why), "{words:?}: {said}");
    }
    // A disk with nothing on it.
    std::fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    let (code, said) = start(&["512M", "1", "--detach", &disk]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no disk to mount") || said.contains("Kernel panic"), "{said}");
    assert!(done(&mut vm(&["list"])).contains("buildkit22\t192.168.100.22\tstopped\t"));
}
