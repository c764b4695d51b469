//! What the tests share: a folder, and the programs in it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

#[path = "../../../tests/common/ran.rs"]
mod ran;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub use ran::Ran;

/// A folder that is gone after the test.
pub struct World(tempfile::TempDir);

/// Who writes the packages.
pub const WHO: [&str; 4] = ["--author", "Jane Doe", "--email", "jane@example.com"];

impl World {
    pub fn new() -> Self {
        World(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        bk::file::create_dir(path.parent().unwrap()).unwrap();
        bk::file::write(&path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A program, as somebody whom git does not know.
    pub fn command(&self, program: &str, dir: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path(dir)).env("HOME", self.path("home"));
        command.env("BK_ROOT", self.path("state"));
        for name in ["DEBFULLNAME", "DEBEMAIL", "SOURCE_DATE_EPOCH", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, program: &str, dir: &str, args: &[&str]) -> Ran {
        Ran::new(self.command(program, dir, args).output().unwrap())
    }

    pub fn bk(&self, args: &[&str]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_bk-pypkg"), "", args)
    }

    pub fn ran(&self, mut command: Command) -> Ran {
        Ran::new(command.output().unwrap())
    }
}
