//! A wheelhouse and a suite that a test makes, and bk-deb at work there: no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Wheel;

/// A wheelhouse, an archive with a suite, and everything that bk-deb keeps.
pub struct House {
    pub dir: tempfile::TempDir,
}

impl House {
    pub fn new() -> Self {
        let house = House { dir: tempfile::tempdir().unwrap() };
        for name in ["wheels", "debs"] {
            fs::create_dir(house.path(name)).unwrap();
        }
        super::archive(&house.path("archive"));
        house
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A wheel of one module, with requirements.
    pub fn wheel(&self, name: &str, version: &str, requires: &[&str]) -> PathBuf {
        let module = format!("{name}/__init__.py");
        self.add(Wheel::new(name, version, "py3-none-any").file(&module, "x = 1\n"), requires)
    }

    pub fn add(&self, wheel: Wheel, requires: &[&str]) -> PathBuf {
        let mut stem = wheel.file_name.split('-');
        let (name, version) = (stem.next().unwrap(), stem.next().unwrap());
        let mut metadata = format!(
            "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: A test of things.\n"
        );
        for requirement in requires {
            metadata += &format!("Requires-Dist: {requirement}\n");
        }
        wheel.dist_info("METADATA", metadata).write(&self.path("wheels"))
    }

    pub fn build(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bk-deb"));
        command
            .current_dir(self.dir.path())
            .args(["--root", "root", "build", "--no-index", "-f", "wheels", "-o", "debs"])
            .args(["--suite", "test", "--arch", "amd64", "--mirror"])
            .arg(self.path("archive"))
            .args(words);
        command
    }

    /// Runs a build that does what it should; the paths it prints.
    pub fn built(&self, words: &[&str]) -> Vec<String> {
        let output = self.build(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Runs a build that fails with a status; what it says.
    pub fn fails(&self, words: &[&str], status: i32) -> String {
        let output = self.build(words).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Puts another index into the suite, or in place of the one that is there.
    pub fn publish(&self, name: &str, text: &str) {
        let suite = self.path("archive/dists/test");
        bk::file::write(&suite.join(name), text).unwrap();
        let sum = super::output("sha256sum", &[suite.join(name).to_str().unwrap()]);
        let release = fs::read_to_string(suite.join("InRelease")).unwrap();
        let others: String = release.split_inclusive('\n').filter(|l| !l.contains(name)).collect();
        let line = format!(" {} {} {name}\n", &sum[..64], text.len());
        bk::file::write(&suite.join("InRelease"), others + &line).unwrap();
    }

    /// All that is in `debs`, hidden files too.
    pub fn debs(&self) -> Vec<String> {
        names(&self.path("debs"))
    }
}

/// What is in a folder, hidden files too, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
