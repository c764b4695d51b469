//! `bk-vm kvm-ok`: the answer and its status agree, and `start --accel kvm` goes by it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{done, said, vm};

#[test]
fn the_answer_is_that_of_a_guest_that_ran() {
    let output = vm(&["kvm-ok", "--json"]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let ok = answer["ok"].as_bool().unwrap();
    assert_eq!(output.status.code(), Some(if ok { 0 } else { 3 }), "{}", said(&output));
    let device = std::path::Path::new("/dev/kvm").exists();
    // Where it can be opened, a guest has run, and its speed decides.
    assert_eq!(
        answer["speed"].as_f64().map(|speed| speed >= 20.0),
        device.then_some(ok),
        "{answer}"
    );

    let dir = tempfile::tempdir().unwrap();
    let disk = done(vm(&["create", "30", "-o"]).arg(dir.path()));
    let words =
        ["start", "--user-net", "--dry-run", "--accel", "kvm", "512M", "1", disk.trim_end()];
    let output = vm(&words).output().unwrap();
    assert_eq!(output.status.success(), ok, "{}", said(&output));
    let words = ["start", "--user-net", "--dry-run", "512M", "1", disk.trim_end()];
    let output = vm(&words).output().unwrap();
    assert_eq!(said(&output).contains("-accel kvm"), ok);
    assert_eq!(said(&output).contains("emulated, for"), !ok, "the fallback is said aloud");
}
