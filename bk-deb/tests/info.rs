//! `bk-deb info`.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Output};

use common::{Wheel, built, field};

fn info(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bk-deb")).arg("info").args(args).output().unwrap()
}

#[test]
fn fields_are_those_that_dpkg_deb_shows() {
    let (one, _one) = built(Wheel::new("a", "1.0", "py3-none-any").file("a.py", ""));
    let (two, _two) = built(Wheel::new("b", "1.0", "py3-none-any").file("b.py", ""));
    let paths = [one.path.to_str().unwrap(), two.path.to_str().unwrap()];
    let expected: Vec<String> = [&one, &two]
        .map(|deb| common::output("dpkg-deb", &["--field", deb.path.to_str().unwrap()]))
        .into();
    let output = info(&paths);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected.join("\n"));

    let output = info(&["-f", "package", "-f", "Installed-Size", paths[0]]);
    let size = field(&one.path, "Installed-Size");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("python3-a\t{size}\n"));

    let output = info(&["--json", paths[0]]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["type"], "deb");
    assert_eq!(json["path"], paths[0]);
    assert_eq!(json["installed_size"], size);
}

#[test]
fn what_is_no_package_fails_and_the_others_are_shown() {
    let (deb, dir) = built(Wheel::new("a", "1.0", "py3-none-any").file("a.py", ""));
    let bad = dir.path().join("bad.deb");
    std::fs::copy("/bin/true", &bad).unwrap();
    let output = info(&[bad.to_str().unwrap(), "/nonexistent.deb", deb.path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.starts_with(b"Package: python3-a\n"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("bad.deb'\n  caused by: not a Debian package"), "{stderr}");
    assert!(stderr.contains("hint: name a .deb"), "{stderr}");
    assert!(stderr.contains("cannot open '/nonexistent.deb'"), "{stderr}");
}
