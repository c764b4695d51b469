//! `bk-deb contents`.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Output};

use common::{Wheel, built, output};

fn contents(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bk-deb"));
    command.arg("contents").args(args).env("TZ", "UTC").output().unwrap()
}

/// The words of a listing, for columns differ.
fn words(listing: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8(listing.to_vec()).unwrap();
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn files_are_those_that_dpkg_deb_lists() {
    let (deb, _dir) = built(
        Wheel::new("a", "1.0", "py3-none-any")
            .file("a.py", "")
            .file("a b/x.txt", "text")
            .data("scripts/x", "#!python\n"),
    );
    let path = deb.path.to_str().unwrap();
    let lines = String::from_utf8(contents(&[path]).stdout).unwrap();
    let mut files: Vec<&str> = lines.lines().map(|line| line.trim_start_matches('/')).collect();
    files.sort();
    assert_eq!(files, deb.files);
    let json = contents(&["--json", path]).stdout;
    let first: serde_json::Value =
        serde_json::from_slice(json.split(|&b| b == b'\n').next().unwrap()).unwrap();
    assert_eq!(
        (&first["type"], &first["kind"], &first["file"]),
        (&"file".into(), &"dir".into(), &"/".into())
    );
    let null = contents(&["-0", path]).stdout;
    assert_eq!(null.split(|&b| b == 0).count(), files.len() + 1);

    let listing =
        Command::new("dpkg-deb").args(["--contents", path]).env("TZ", "UTC").output().unwrap();
    let expected: Vec<Vec<String>> = words(&listing.stdout)
        .into_iter()
        .map(|mut line| {
            // dpkg-deb shows `./usr/`.
            let name = line[5..].join(" ");
            let name = name.trim_start_matches('.').trim_end_matches('/');
            line.truncate(5);
            line.extend((if name.is_empty() { "/" } else { name }).split(' ').map(str::to_owned));
            line
        })
        .collect();
    assert_eq!(words(&contents(&["-v", path]).stdout), expected);
}

#[test]
fn a_real_package_is_listed_whatever_its_compression() {
    let dir = tempfile::tempdir().unwrap();
    let download = Command::new("apt-get").args(["download", "hello"]).current_dir(&dir).status();
    assert!(download.unwrap().success());
    let path = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    let lines = contents(&[path.to_str().unwrap()]).stdout;
    let listed = output("dpkg-deb", &["--contents", path.to_str().unwrap()]);
    let files = listed.lines().filter(|line| !line.starts_with('d')).count();
    assert_eq!(lines.split(|&b| b == b'\n').count() - 1, files);
}
