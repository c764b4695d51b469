//! Packages from Python's index, with all they need, published, and installed by apt-get in a clean
//! Debian that is told the name of one package.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use bk::Console;
use common::{done, tool};
use xtask::machine::{self, Machine};

/// The tarball of the clean Debian, made once.
fn tarball() -> &'static Path {
    static TARBALL: OnceLock<PathBuf> = OnceLock::new();
    TARBALL.get_or_init(|| {
        let dir = common::programs().join("../journeys");
        bk::file::create_dir(&dir).unwrap();
        machine::tarball(&dir).unwrap()
    })
}

/// A clean Debian, and a repository in it.
struct Journey {
    dir: tempfile::TempDir,
    machine: Machine,
}

impl Journey {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::unpack(tarball(), dir.path(), &Console::silent()).unwrap();
        Journey { dir, machine }
    }

    /// Builds, publishes, and lets apt in the machine know.
    fn publish(&self, words: &[&str]) {
        let mut build = tool("bk-deb", self.dir.path());
        build.args(["build", "-o", "debs"]).args(words).stdout(Stdio::piped());
        // Wheels are fetched once for all journeys.
        build.arg("--cache").arg(tarball().parent().unwrap().join("cache"));
        let mut build = build.spawn().unwrap();
        let mut add = tool("bk-repo", self.dir.path());
        done(add.args(["add"]).arg(self.repo()).arg("-").stdin(build.stdout.take().unwrap()));
        assert!(build.wait().unwrap().success());
        let mut sources = tool("bk-repo", self.dir.path());
        let text = done(sources.arg("sources").arg(self.repo()).args(["--uri", "file:/srv/repo"]));
        let path = self.machine.path("etc/apt/sources.list.d/buildkit.sources");
        bk::file::write(&path, text).unwrap();
        self.machine.run(&["apt-get", "-q", "update"]).unwrap();
    }

    /// Neither lintian nor our own check finds an error in what was built.
    fn check(&self) {
        let debs = std::fs::read_dir(self.dir.path().join("debs")).unwrap();
        let debs: Vec<PathBuf> = debs.map(|entry| entry.unwrap().path()).collect();
        done(tool("bk-deb", self.dir.path()).arg("check").args(&debs));
        let mut lintian = Command::new("lintian");
        done(lintian.args(["--allow-root", "--fail-on", "error"]).args(&debs));
    }

    /// In the machine, where apt reads it as a file.
    fn repo(&self) -> PathBuf {
        self.machine.path("srv/repo")
    }

    fn install(&self, package: &str) {
        self.machine.run(&["apt-get", "-q", "-y", "install", package]).unwrap();
    }

    fn python(&self, script: &str) -> String {
        self.machine.run(&["python3", "-c", script]).unwrap()
    }
}

/// One tree: built, installed by one name, used, removed without a trace.
fn journey(words: &[&str], package: &str, script: &str, says: &str) {
    let journey = Journey::new();
    let before = files(&journey);
    journey.publish(words);
    journey.check();
    journey.install(package);
    let said = journey.python(script);
    assert!(said.contains(says), "{package}: {said}");
    let broken = journey.machine.run(&["dpkg", "--audit"]).unwrap();
    assert!(broken.is_empty(), "{broken}");
    journey.machine.run(&["apt-get", "-q", "-y", "purge", "--autoremove", package]).unwrap();
    let left: Vec<String> = files(&journey).difference(&before).cloned().collect();
    assert!(left.is_empty(), "{package} leaves files behind: {left:?}");
}

/// What is below the folders that only packages of Python modules and programs install into, and
/// what dpkg keeps of packages that are gone.
fn files(journey: &Journey) -> BTreeSet<String> {
    let files = journey.machine.run(&["find", "/usr/lib/python3", "/usr/bin"]).unwrap();
    let packages = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"];
    let packages = journey.machine.run(&packages).unwrap();
    let gone = packages.lines().filter(|line| !line.starts_with("installed "));
    files.lines().chain(gone).map(str::to_owned).collect()
}

#[test]
fn flask_serves_a_page() {
    let script = "
from flask import Flask
app = Flask('x')
app.route('/')(lambda: 'served by flask')
print(app.test_client().get('/').get_data(as_text=True))";
    journey(&["flask"], "python3-flask", script, "served by flask");
}

#[test]
fn requests_has_its_extra() {
    let script = "
import requests, socks
from urllib3.contrib.socks import SOCKSProxyManager
print(requests.__name__, socks.__name__)";
    journey(&["requests[socks]"], "python3-requests", script, "requests socks");
}

#[test]
fn cryptography_encrypts() {
    let script = "
from cryptography.fernet import Fernet
f = Fernet(Fernet.generate_key())
print(f.decrypt(f.encrypt(b'kept secret')).decode())";
    journey(&["cryptography"], "python3-cryptography", script, "kept secret");
}

#[test]
fn sphinx_builds_a_page() {
    let script = "
import os, subprocess, tempfile
d = tempfile.mkdtemp()
open(d + '/conf.py', 'w').write('project = \"x\"')
open(d + '/index.rst', 'w').write('Title\\n=====\\n\\nbuilt by sphinx\\n')
subprocess.run(['sphinx-build', '-q', d, d + '/out'], check=True)
print('built by sphinx' in open(d + '/out/index.html').read())";
    journey(&["--all", "sphinx"], "python3-sphinx", script, "True");
}

#[test]
fn pandas_computes() {
    let script = "
import pandas
print(pandas.DataFrame({'a': [1, 2, 39]}).a.sum())";
    journey(&["pandas"], "python3-pandas", script, "42");
}

#[test]
fn a_project_and_a_list_of_requirements_are_installed_and_upgraded() {
    let journey = Journey::new();
    let dir = journey.dir.path();
    common::project(dir, "mine");
    bk::file::write(&dir.join("list.txt"), "itsdangerous>=2.2\n").unwrap();
    journey.publish(&["./mine", "-r", "list.txt"]);
    journey.install("python3-mine");
    assert_eq!(journey.machine.run(&["mine"]).unwrap(), "mine runs\n");
    journey.install("python3-itsdangerous");
    journey.publish(&["./mine", "-p", "2"]);
    journey.machine.run(&["apt-get", "-q", "-y", "upgrade"]).unwrap();
    let version = ["dpkg-query", "-W", "-f", "${Version}", "python3-mine"];
    assert_eq!(journey.machine.run(&version).unwrap(), "1.0-2");
    assert_eq!(journey.machine.run(&["mine"]).unwrap(), "mine runs\n");
}
