//! `bk-deb diff` on packages that dpkg-deb makes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{bk_deb, output, sample, sample_tree};

#[test]
fn every_kind_of_difference_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let old = sample(dir.path());
    let tree = dir.path().join("new");
    sample_tree(&tree);
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap().replace("Version: 1.0-1", "Version: 1.1-1");
    fs::write(&control, text).unwrap();
    fs::write(tree.join("DEBIAN/postinst"), "#!/bin/sh\necho other\n").unwrap();
    fs::write(tree.join("etc/tool.conf"), "colour = red\n").unwrap();
    fs::set_permissions(tree.join("usr/bin/tool"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(tree.join("usr/bin/alias")).unwrap();
    std::os::unix::fs::symlink("other", tree.join("usr/bin/alias")).unwrap();
    fs::remove_file(tree.join("usr/share/tool/data")).unwrap();
    fs::write(tree.join("usr/share/tool/more"), "x").unwrap();
    let new = dir.path().join("new.deb");
    output(
        "dpkg-deb",
        &["-b", "--root-owner-group", tree.to_str().unwrap(), new.to_str().unwrap()],
    );
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let (said, _) = bk_deb(&["diff", old, new], 3);
    let lines: Vec<&str> = said.lines().collect();
    let starts = [
        "field Version: 1.0-1 -> 1.1-1",
        "control postinst: 2 lines -> 2 lines",
        "content /etc/tool.conf: 14 bytes, md5 ",
        "target /usr/bin/alias: tool -> other",
        "mode /usr/bin/tool: 0755 -> 0700",
        "- /usr/share/tool/data",
        "+ /usr/share/tool/more",
    ];
    assert_eq!(lines.len(), starts.len(), "{said}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line} is not {start}");
    }
    let (json, _) = bk_deb(&["diff", "--json", old, new], 3);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["type"], &first["what"]), (&"difference".into(), &"field".into()));
}

#[test]
fn nothing_is_told_of_times_and_compression() {
    let dir = tempfile::tempdir().unwrap();
    let one = sample(dir.path());
    let tree = dir.path().join("again");
    sample_tree(&tree);
    output(
        "find",
        &[tree.to_str().unwrap(), "-exec", "touch", "-h", "-d", "2001-02-03", "{}", "+"],
    );
    let two = dir.path().join("two.deb");
    let (tree, two) = (tree.to_str().unwrap(), two.to_str().unwrap());
    output("dpkg-deb", &["-b", "-Zgzip", "--root-owner-group", tree, two]);
    assert_eq!(bk_deb(&["diff", one.to_str().unwrap(), two], 0).0, "");
    assert!(bk_deb(&["diff", one.to_str().unwrap(), tree], 1).1.contains("cannot compare"));
}
