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
        machine::tarball(&dir, None, None).unwrap()
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
        // Debian has the C part of cffi in a package of its own: ours conflicts with it.
        build.args(["--contents", "fetch"]);
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

    /// Neither lintian nor our own check finds an error in what was built; lintian warns of one package
    /// in five at most.
    fn check(&self) {
        let debs = std::fs::read_dir(self.dir.path().join("debs")).unwrap();
        let debs: Vec<PathBuf> = debs.map(|entry| entry.unwrap().path()).collect();
        done(tool("bk-deb", self.dir.path()).arg("check").args(&debs));
        let mut lintian = Command::new("lintian");
        let tags = done(lintian.args(["--allow-root", "--fail-on", "error"]).args(&debs));
        let warnings: Vec<&str> = tags.lines().filter(|line| line.starts_with("W: ")).collect();
        // A tree of one or two packages may have one.
        assert!(warnings.len() <= 1.max(debs.len() / 5), "{}: {warnings:#?}", debs.len());
    }

    /// Builds anew, beside nothing of what was built before.
    fn renew(&self, words: &[&str]) {
        std::fs::remove_dir_all(self.dir.path().join("debs")).unwrap();
        self.publish(words);
    }

    fn version(&self, packages: &str) -> String {
        let first = packages.split(' ').next().unwrap();
        let query = ["dpkg-query", "-W", "-f", "${Version}", first];
        self.machine.run(&query).unwrap()
    }

    /// Whether a file is of a package that is there and was not built here.
    fn is_debians(&self, path: &str) -> bool {
        let Ok(owner) = self.machine.run(&["dpkg-query", "-S", path]) else { return false };
        let owner = owner.split([':', ',']).next().unwrap_or_default().to_owned();
        let debs = std::fs::read_dir(self.dir.path().join("debs")).unwrap();
        let ours = |name: &str| name.split('_').next() == Some(owner.as_str());
        !debs.map(|entry| entry.unwrap().file_name()).any(|name| ours(&name.to_string_lossy()))
    }

    /// Each command of a package starts, and says how it is used.
    fn ask_for_help(&self, package: &str) {
        let files = self.machine.run(&["dpkg", "-L", package]).unwrap();
        for command in files.lines().filter(|path| path.starts_with("/usr/bin/")) {
            let said = self.machine.run(&[command, "--help"]).unwrap();
            assert!(!said.trim().is_empty(), "{command} says nothing");
        }
    }

    /// In the machine, where apt reads it as a file.
    fn repo(&self) -> PathBuf {
        self.machine.path("srv/repo")
    }

    /// Installs what is named, with spaces between.
    fn install(&self, packages: &str) {
        self.apt(&["install"], packages);
    }

    fn apt(&self, words: &[&str], packages: &str) {
        let packages: Vec<&str> = packages.split(' ').collect();
        self.machine.run(&[&["apt-get", "-q", "-y"], words, &packages].concat()).unwrap();
    }

    fn python(&self, script: &str) -> String {
        self.machine.run(&["python3", "-c", script]).unwrap()
    }
}

/// One tree: an older version of what is named is built and installed, then the newest is built, and
/// apt upgrades to it; it is used, every command of it is asked for help, and it is removed without a
/// trace.
fn journey(words: &[&str], before: &[&str], package: &str, script: &str, says: &str) {
    let journey = Journey::new();
    bk::file::write(&journey.dir.path().join("bk.yaml"), MOVED).unwrap();
    let there = files(&journey);
    if !before.is_empty() {
        journey.publish(before);
        journey.install(package);
        let older = journey.version(package);
        journey.renew(words);
        journey.machine.run(&["apt-get", "-q", "-y", "dist-upgrade"]).unwrap();
        assert_ne!(journey.version(package), older, "{package} is not upgraded");
    } else {
        journey.publish(words);
        journey.install(package);
    }
    journey.check();
    let said = journey.python(script);
    assert!(said.contains(says), "{package}: {said}");
    package.split(' ').for_each(|package| journey.ask_for_help(package));
    let broken = journey.machine.run(&["dpkg", "--audit"]).unwrap();
    assert!(broken.is_empty(), "{broken}");
    journey.apt(&["purge", "--autoremove"], package);
    let mut left: Vec<String> = files(&journey).difference(&there).cloned().collect();
    // apt keeps what others of Debian's packages suggest; that is theirs.
    left.retain(|path| !journey.is_debians(path));
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
    journey(&["flask"], &["flask<3.1"], "python3-flask", script, "served by flask");
}

#[test]
fn requests_has_its_extra() {
    let script = "
import requests, socks
from urllib3.contrib.socks import SOCKSProxyManager
print(requests.__name__, socks.__name__)";
    let before = &["requests[socks]<2.32"];
    journey(&["requests[socks]"], before, "python3-requests", script, "requests socks");
}

#[test]
fn cryptography_encrypts() {
    let script = "
from cryptography.fernet import Fernet
f = Fernet(Fernet.generate_key())
print(f.decrypt(f.encrypt(b'kept secret')).decode())";
    journey(&["cryptography"], &["cryptography<45"], "python3-cryptography", script, "kept secret");
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
    journey(&["--all", "sphinx"], &["--all", "sphinx<8.2"], "python3-sphinx", script, "True");
}

#[test]
fn pandas_computes() {
    let script = "
import pandas
print(pandas.DataFrame({'a': [1, 2, 39]}).a.sum())";
    journey(&["pandas"], &["pandas<2.3"], "python3-pandas", script, "42");
}

/// A command that went from one distribution to another between two versions: only who packages them
/// can know.
const MOVED: &str = "deb:
  packages:
    jupyter-builder:
      breaks: ['python3-jupyterlab (<< 4.5)']
      replaces: ['python3-jupyterlab (<< 4.5)']
";

#[test]
fn notebook_has_its_server() {
    let script = "
import notebook, jupyter_server, os
from jupyter_core.paths import jupyter_path
print('etc' if os.path.exists('/etc/jupyter/jupyter_server_config.d/notebook.json') else 'no etc', notebook.__name__)";
    journey(&["notebook"], &["notebook<7.4"], "python3-notebook", script, "etc notebook");
}

#[test]
fn pyyaml_reads_yaml() {
    // Of its source: its wheels have a copy of libyaml in them, which lintian takes for an error; it needs
    // the one of the suite then.
    let script = "
import yaml
from subprocess import getoutput
print('libyaml-0-2' in getoutput('dpkg-query -W -f \\${Depends} python3-yaml'))
print(yaml.load('a: [1, 2, {b: 39}]', yaml.CSafeLoader))";
    let words = |version| ["--no-binary", ":embedded:", version];
    journey(
        &words("PyYAML"),
        &words("PyYAML<6.0.2"),
        "python3-yaml",
        script,
        "True\n{'a': [1, 2, {'b': 39}]}",
    );
}

#[test]
fn sources_of_another_age_are_built() {
    let script = "
import simplejson
from paste.request import parse_querystring
print(simplejson.dumps(parse_querystring({'QUERY_STRING': 'a=b'})))";
    let words = ["--no-binary", ":all:", "Paste", "simplejson"];
    let before = ["--no-binary", ":all:", "Paste<3.10", "simplejson<3.19"];
    journey(&words, &before, "python3-paste python3-simplejson", script, "[[\"a\", \"b\"]]");
}

#[test]
fn a_project_and_a_list_of_requirements_are_installed_and_upgraded() {
    let journey = Journey::new();
    let dir = journey.dir.path();
    common::project(dir, "mine");
    // And a module in the syntax of a Python that this one is not: only that one would import it.
    let (backend, last) =
        (dir.join("mine/backend.py"), "        z.writestr(info + 'RECORD', '')\n");
    let text = std::fs::read_to_string(&backend).unwrap();
    assert!(text.contains(last));
    let newer = "        z.writestr('mine_newer.py', 'type X = = int')\n";
    bk::file::write(&backend, text.replace(last, &format!("{newer}{last}"))).unwrap();
    bk::file::write(&dir.join("list.txt"), "itsdangerous>=2.2\n").unwrap();
    journey.publish(&["./mine", "-r", "list.txt"]);
    journey.install("python3-mine");
    assert_eq!(journey.machine.run(&["mine"]).unwrap(), "mine runs\n");
    let compiled = ["find", "/usr/lib/python3/dist-packages/__pycache__", "-name", "mine*"];
    assert_eq!(journey.machine.run(&compiled).unwrap().lines().count(), 1);
    journey.install("python3-itsdangerous");
    journey.publish(&["./mine", "-p", "2"]);
    journey.machine.run(&["apt-get", "-q", "-y", "upgrade"]).unwrap();
    let version = ["dpkg-query", "-W", "-f", "${Version}", "python3-mine"];
    assert_eq!(journey.machine.run(&version).unwrap(), "1.0-2");
    assert_eq!(journey.machine.run(&["mine"]).unwrap(), "mine runs\n");
}

/// A wheel of a module that requires a series of itsdangerous, of which Debian 12 has 2.1.2.
fn needy(dir: &Path, version: &str, requires: &str) {
    let script = "
import sys, zipfile
name, version, requires = sys.argv[1:]
with zipfile.ZipFile(name, 'w') as z:
    info = f'needy-{version}.dist-info/'
    z.writestr('needy.py', 'import itsdangerous')
    z.writestr(info + 'METADATA', f'Metadata-Version: 2.1\\nName: needy\\nVersion: {version}\\nSummary: x\\n'
               f'Requires-Dist: {requires}\\n')
    z.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nTag: py3-none-any\\n')
    z.writestr(info + 'RECORD', '')";
    let name = dir.join(format!("needy-{version}-py3-none-any.whl"));
    done(Command::new("python3").args(["-c", script]).arg(name).args([version, requires]));
}

#[test]
fn an_upgrade_goes_from_series_to_series_and_back() {
    let journey = Journey::new();
    let (dir, there) = (journey.dir.path(), files(&journey));
    // From a series to the next, to the one that has the plain name, and back.
    for (version, requires, series) in [
        ("1", "itsdangerous<2", "python3-itsdangerous-v1"),
        ("2", "itsdangerous<2.1", "python3-itsdangerous-v2"),
        ("3", "itsdangerous>=2.2", "python3-itsdangerous"),
        ("4", "itsdangerous<2.1", "python3-itsdangerous-v2"),
    ] {
        needy(dir, version, requires);
        journey.publish(&[&format!("./needy-{version}-py3-none-any.whl")]);
        match version {
            "1" => journey.install("python3-needy"),
            _ => drop(journey.machine.run(&["apt-get", "-q", "-y", "dist-upgrade"]).unwrap()),
        }
        assert_eq!(journey.version("python3-needy"), format!("{version}-1"));
        let query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"];
        let all = journey.machine.run(&query).unwrap();
        let of = |line: &&str| line.contains("installed python3-itsdangerous");
        let all: Vec<&str> = all.lines().filter(|l| !l.starts_with("not-")).filter(of).collect();
        assert_eq!(all, [format!("installed {series}")]);
        journey.python("import needy");
    }
    // Those an upgrade removed are not purged by it.
    let all = "python3-needy python3-itsdangerous python3-itsdangerous-v1 python3-itsdangerous-v2";
    journey.apt(&["purge", "--autoremove"], all);
    let left: Vec<String> = files(&journey).difference(&there).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
}
