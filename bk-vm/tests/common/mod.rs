//! What the tests share: the programs, and a folder whose packages and bases outlive a run.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Everything the tool keeps; what was fetched is not fetched again by the next test.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bk-vm");
    bk::file::create_dir(&root).unwrap();
    root
}

/// Where bases are kept.
pub fn bases() -> PathBuf {
    root().join("var/cache/buildkit/vm/bases")
}

/// The tool.
pub fn vm(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bk-vm"));
    command.env("BK_ROOT", root()).args(words);
    command
}

/// Runs a command that does what it should.
pub fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// All a program said.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
