//! What the tests share: a folder, and the programs in it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

#[path = "../../../tests/common/ran.rs"]
mod ran;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

pub use ran::Ran;

/// A folder that is gone after the test.
pub struct World(tempfile::TempDir);

impl World {
    pub fn new() -> Self {
        World(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        bk::file::create_dir(path.parent().unwrap()).unwrap();
        bk::file::write(&path, text).unwrap();
    }

    pub fn executable(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn link(&self, name: &str, to: &str) {
        symlink(to, self.path(name)).unwrap();
    }

    pub fn bk(&self, args: &[&str]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_bk-test"), args)
    }

    pub fn run(&self, program: &str, args: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.0.path()).env("HOME", self.path("home"));
        Ran::new(command.output().unwrap())
    }

    /// All below a folder: what it has, or where it leads, and whether it can be executed.
    pub fn tree(&self, name: &str) -> BTreeMap<String, (Vec<u8>, bool)> {
        let mut all = BTreeMap::new();
        look(&self.path(name), &self.path(name), &mut all);
        all
    }
}

fn look(root: &Path, dir: &Path, all: &mut BTreeMap<String, (Vec<u8>, bool)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            look(root, &path, all);
            continue;
        }
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let what = match meta.is_symlink() {
            true => fs::read_link(&path).unwrap().to_str().unwrap().as_bytes().to_vec(),
            false => fs::read(&path).unwrap(),
        };
        all.insert(name, (what, !meta.is_symlink() && meta.permissions().mode() & 0o100 != 0));
    }
}
