//! Wheels of the real index: dpkg-shlibdeps tells what they need, and uv what its locks name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{field, output, unpacked};

/// bk-deb for this system, keeping what it fetches from one run to the next.
fn bk_deb(dir: &Path, words: &[&str]) -> String {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracles");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bk-deb"));
    let output = command.current_dir(dir).arg("--root").arg(root).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a field of relations asks of each package: the least versions, of all alternatives.
fn bounds(depends: &str) -> BTreeMap<String, Vec<String>> {
    let mut bounds = BTreeMap::<String, Vec<String>>::new();
    for relation in depends.split([',', '|']).map(str::trim).filter(|r| !r.is_empty()) {
        let (name, rest) = relation.split_once(' ').unwrap_or((relation, ""));
        let least = rest.trim_start_matches("(>= ").trim_end_matches(')');
        bounds.entry(name.to_owned()).or_default().push(least.to_owned());
    }
    bounds
}

fn shared_objects(tree: &Path) -> Vec<PathBuf> {
    let tree = tree.to_str().unwrap();
    let found = output("find", &[tree, "-type", "f", "-name", "*.so*", "-printf", "%p\\n"]);
    found.lines().map(PathBuf::from).collect()
}

#[test]
fn dpkg_shlibdeps_finds_nothing_that_we_do_not() {
    let dir = tempfile::tempdir().unwrap();
    // Rust with libssl inside, C++ and Fortran with vendored libraries, C, Cython.
    let names = ["cryptography", "numpy", "psycopg2-binary", "lxml", "pyzmq", "MarkupSafe"];
    let words = [&["build", "--no-deps", "-o", "debs"], &names[..]].concat();
    let debs = bk_deb(dir.path(), &words);
    assert_eq!(debs.lines().count(), names.len(), "{debs}");
    let mut checked = 0;
    for deb in debs.lines() {
        let deb = dir.path().join(deb);
        let ours = bounds(&field(&deb, "Depends"));
        let tree = unpacked(&deb);
        let debian = tree.path().join("debian");
        std::fs::create_dir(&debian).unwrap();
        bk::file::write(&debian.join("control"), "Source: x\n\nPackage: x\nArchitecture: any\n")
            .unwrap();
        let objects = shared_objects(tree.path());
        assert!(!objects.is_empty(), "{}", deb.display());
        // Vendored libraries are of no package, and those of the same tree are no dependency.
        let folders: BTreeSet<&Path> = objects.iter().map(|o| o.parent().unwrap()).collect();
        let oracle = Command::new("dpkg-shlibdeps")
            .args(["-O", "--ignore-missing-info"])
            .args(folders.iter().map(|folder| format!("-l{}", folder.display())))
            .args(objects.iter().map(|object| format!("-e{}", object.display())))
            .current_dir(tree.path())
            .output()
            .unwrap();
        assert!(oracle.status.success(), "{}: {oracle:?}", deb.display());
        let text = String::from_utf8(oracle.stdout).unwrap();
        let theirs = bounds(text.trim().strip_prefix("shlibs:Depends=").unwrap());
        for (name, least) in theirs {
            let have = ours.get(&name);
            assert!(have.is_some(), "{}: {name} is missing in {ours:?}", deb.display());
            for least in least.iter().filter(|least| !least.is_empty()) {
                let enough = |have: &String| {
                    let words = ["--compare-versions", have, "ge", least];
                    Command::new("dpkg").args(words).status().unwrap().success()
                };
                assert!(have.unwrap().iter().any(enough), "{}: {name} {least}", deb.display());
                checked += 1;
            }
        }
    }
    assert!(checked > names.len(), "only {checked} bounds");
}

#[test]
fn what_uv_has_locked_is_planned_as_uv_installs_it() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let settings = "[project]
name = \"app\"
version = \"1.0\"
requires-python = \">=3.11\"
dependencies = [\"flask>=2,<3.1\", \"requests[socks]\", \"pywin32; sys_platform == 'win32'\", \
                    \"tomli; python_version < '3.11'\"]

[project.optional-dependencies]
more = [\"colorama\"]

[dependency-groups]
dev = [\"six\"]
";
    bk::file::write(&project.join("pyproject.toml"), settings).unwrap();
    let uv = |words: &[&str]| {
        let output = Command::new("uv").args(words).current_dir(project).output().unwrap();
        assert!(output.status.success(), "uv {words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    uv(&["lock", "-q"]);
    let export = ["export", "-q", "--no-dev", "--no-emit-project"];
    for (format, file) in [("pylock.toml", "pylock.toml"), ("requirements-txt", "locked.txt")] {
        uv(&[&export[..], &["--format", format, "-o", file]].concat());
    }
    uv(&["sync", "-q", "--no-dev", "--no-install-project", "--python", "/usr/bin/python3"]);
    let installed = uv(&["pip", "list", "-q", "--format", "json"]);
    let installed: Vec<serde_json::Value> = serde_json::from_str(&installed).unwrap();
    let pair = |value: &serde_json::Value, version: &str| {
        let text =
            |name: &str| value[name].as_str().unwrap().to_lowercase().replace(['_', '.'], "-");
        (text("name"), value[version].as_str().unwrap().to_owned())
    };
    let theirs: BTreeSet<_> = installed.iter().map(|value| pair(value, "version")).collect();
    assert!(theirs.iter().any(|(name, _)| name == "pysocks"), "{theirs:?}");
    for words in [&["uv.lock"][..], &["pylock.toml"], &["-r", "locked.txt"]] {
        let plan = bk_deb(project, &[&["plan", "--all"], words].concat());
        let lines = plan.lines().map(|line| serde_json::from_str(line).unwrap());
        let ours: BTreeSet<_> =
            lines.map(|line: serde_json::Value| pair(&line, "python_version")).collect();
        // The project itself is what uv was told not to install.
        let ours: BTreeSet<_> = ours.into_iter().filter(|(name, _)| name != "app").collect();
        assert_eq!(ours, theirs, "{words:?}");
    }
}
