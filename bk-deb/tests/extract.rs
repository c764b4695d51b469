//! `bk-deb extract`, held against dpkg-deb.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{bk_deb, listing, output, sample};

#[test]
fn it_is_what_dpkg_deb_unpacks() {
    let dir = tempfile::tempdir().unwrap();
    let deb = sample(dir.path());
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let words = ["extract", "--control", deb.to_str().unwrap(), "-o", ours.to_str().unwrap()];
    assert_eq!(bk_deb(&words, 0).0.trim(), ours.to_str().unwrap());
    output("dpkg-deb", &["-R", deb.to_str().unwrap(), theirs.to_str().unwrap()]);
    assert_eq!(listing(&ours), listing(&theirs));
    output("diff", &["-r", "--no-dereference", ours.to_str().unwrap(), theirs.to_str().unwrap()]);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&ours.join("usr/bin/tool")), 0o755);
}

#[test]
fn a_folder_with_something_in_it_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let deb = sample(dir.path());
    let full = dir.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("mine"), "x").unwrap();
    let (_, said) = bk_deb(&["extract", deb.to_str().unwrap(), "-o", full.to_str().unwrap()], 1);
    assert!(said.contains("is there already"), "{said}");
    assert_eq!(listing(&full), ["mine"]);
}

#[test]
fn a_package_that_wants_out_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    // Only an archive made by hand has such a path: tar itself drops the dots.
    let deb = dir.path().join("evil.deb");
    let mut header = tar_header("./../evil", 4);
    header.extend_from_slice(b"evil");
    header.resize(1024, 0);
    header.resize(2048, 0);
    let control = b"Package: evil\nVersion: 1\n";
    let mut inner = tar_header("./control", control.len());
    inner.extend_from_slice(control);
    inner.resize(2048, 0);
    let mut ar = b"!<arch>\n".to_vec();
    for (name, bytes) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar", &inner), ("data.tar", &header)]
    {
        ar.extend_from_slice(
            format!("{name:<16}0           0     0     100644  {:<10}`\n", bytes.len()).as_bytes(),
        );
        ar.extend_from_slice(bytes);
    }
    std::fs::write(&deb, ar).unwrap();
    let out = dir.path().join("sub/out");
    let (_, said) = bk_deb(&["extract", deb.to_str().unwrap(), "-o", out.to_str().unwrap()], 1);
    assert!(said.contains("leaves the package"), "{said}");
    assert!(!dir.path().join("sub/evil").exists() && !out.exists());
    assert_eq!(std::fs::read_dir(dir.path().join("sub")).unwrap().count(), 0);
}

/// A header of tar for a file (POSIX.1-1988).
fn tar_header(name: &str, size: usize) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar  \0");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
