//! `bk-deb build … | bk-repo add REPO -`, in each of the forms that records have.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use common::{done, project, tool};

/// Runs the pipe with `option` for both; what the second one said.
fn pipe(root: &Path, words: &[&str], option: Option<&str>) -> (ExitStatus, ExitStatus, String) {
    let mut build = tool("bk-deb", root);
    build.args(["build", "--no-deps", "-o", "debs"]).args(words).args(option);
    // The project's build system writes the time it is run at into its wheels.
    build.env("SOURCE_DATE_EPOCH", "1700000000");
    let mut build = build.stdout(Stdio::piped()).spawn().unwrap();
    let mut add = tool("bk-repo", root);
    // --json is for what is written; what is read tells its form by its first byte.
    add.args(["add", "repo", "-"]).args(option).stdin(build.stdout.take().unwrap());
    let added = add.output().unwrap();
    (build.wait().unwrap(), added.status, common::said(&added))
}

#[test]
fn what_is_built_is_published_in_every_form() {
    for option in [None, Some("-0"), Some("--json")] {
        let dir = tempfile::tempdir().unwrap();
        project(dir.path(), "one");
        project(dir.path(), "two");
        let (built, added, says) = pipe(dir.path(), &["./one", "./two"], option);
        assert!(built.success() && added.success(), "{option:?}: {says}");
        let list = done(tool("bk-repo", dir.path()).args(["list", "repo"]));
        assert_eq!(list, "python3-one_1.0-1_all\npython3-two_1.0-1_all\n", "{option:?}");
        done(tool("bk-repo", dir.path()).args(["check", "repo"]));
    }
}

#[test]
fn what_fails_in_between_is_told_and_the_rest_published() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), "one");
    let (built, added, says) = pipe(dir.path(), &["./one", "./nowhere"], None);
    assert_eq!(built.code(), Some(1));
    assert!(added.success(), "{says}");
    let list = done(tool("bk-repo", dir.path()).args(["list", "repo"]));
    assert_eq!(list, "python3-one_1.0-1_all\n");
}

#[test]
fn the_same_again_changes_nothing_and_other_bytes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), "one");
    let release = || std::fs::read(dir.path().join("repo/dists/stable/InRelease")).unwrap();
    assert!(pipe(dir.path(), &["./one"], None).1.success());
    let before = release();
    assert!(pipe(dir.path(), &["./one"], None).1.success());
    assert!(release() == before, "published again though nothing changed");
    let maintainer = ["./one", "--maintainer", "Other <other@example.com>"];
    let (built, added, says) = pipe(dir.path(), &maintainer, None);
    assert!(built.success());
    assert_eq!(added.code(), Some(1), "{says}");
    assert!(says.contains("python3-one_1.0-1_all.deb") && says.contains("hint: "), "{says}");
    let (built, added, says) = pipe(dir.path(), &[&maintainer[..], &["-p", "2"]].concat(), None);
    assert!(built.success() && added.success(), "{says}");
    assert!(release() != before);
}
