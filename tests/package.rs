//! `bk-pypkg new` and `bk-deb build`: from nothing to a Debian package, in two commands.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::process::Command;

use common::{done, tool};

#[test]
fn what_bk_pypkg_makes_is_packaged_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let new =
        ["new", "libfoo", "-d", "Counts things", "--author", "Jane", "--email", "j@example.com"];
    done(tool("bk-pypkg", dir.path()).args(new));
    let build = ["build", "./libfoo", "--no-deps", "-o", "debs"];
    let deb = done(tool("bk-deb", dir.path()).args(build));
    assert_eq!(deb, "debs/python3-libfoo_0.1.0-1_all.deb\n");
    let deb = dir.path().join(deb.trim());
    let lintian = ["--allow-root", "--fail-on", "error,warning"];
    assert_eq!(done(Command::new("lintian").args(lintian).arg(&deb)), "");
    let root = dir.path().join("root");
    done(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&root));
    let mut program = Command::new("/usr/bin/python3");
    program.arg(root.join("usr/bin/libfoo")).arg("Ada");
    program.env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"));
    assert_eq!(done(&mut program), "Hello, Ada!\n");
}
