//! The workspace keeps the invariants of ARCHITECTURE.md.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use xtask::{layout, workspace};

#[test]
fn the_dependencies_are_the_allowed_ones() {
    let metadata = workspace::metadata().unwrap();
    assert_eq!(layout::dependencies(&metadata), Vec::<String>::new());
}

#[test]
fn every_tool_has_the_same_shape() {
    let metadata = workspace::metadata().unwrap();
    assert_eq!(layout::packages(&metadata), Vec::<String>::new());
    let programs = workspace::programs(&metadata);
    assert!(programs.contains(&"bk".to_owned()) && programs.len() > 1, "{programs:?}");
}
