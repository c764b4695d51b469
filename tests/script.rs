//! A build script as projects had one for the BuildKit of 2011: a shell, its options, and pipes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{done, programs, tool};

/// What the script says of every package, and of each.
const SCRIPT: &str = r#"#!/bin/sh
set -eu
build() {
    bk-deb build --suite test --arch amd64 --mirror "$PWD/archive" --no-index -o debs \
        -p 01+lucid --packager-name 'The Packager' --packager-email packager@example.com "$@"
}
common() {
    build "$@" --url https://example.com/portal --author-name 'The Author' \
        --author-email author@example.com --license-file LICENSE.txt
}

# The portal and what it is made of, in one go.
common ./portal ./vdm ./client --no-present \
    --rename 'vdm -> python3-versioned-models' --rename 'SQLAlchemy -> python3-sqlalchemy' \
    --distro-dep python3-sqlalchemy --delete argparse --conflict-module 'client -> tests' \
    -x 'portal/private/*' | bk-repo add repo -

# Nothing that the distribution lacks: what requires it cannot be built.
if build ./portal --no-missing --dry-run 2>missing; then exit 9; fi

# A source tree, for who builds on other machines.
common ./client --no-deps --debian-dir trees
"#;

/// A project's folder, 1.5, with these requirements and modules.
fn source(dir: &Path, name: &str, requires: &[&str], modules: &[&str]) {
    let requires: String = requires.iter().map(|r| format!("Requires-Dist: {r}\\n")).collect();
    let metadata =
        format!("Summary: Data of {name}\\n{requires}\\nIt has been packaged since 2011.\\n");
    common::source(dir, (name, "1.5"), modules, &metadata, &format!("{name}-run"));
}

/// An archive with the suite `test`, which has an SQLAlchemy.
fn archive(dir: &Path) {
    let packages = "Package: dpkg\nVersion: 1.21.22\n\nPackage: libc6\nVersion: 2.36-9\n\n\
                    Package: python3\nVersion: 3.11.2-1+b1\n\n\
                    Package: python3-sqlalchemy\nVersion: 1.4.46+ds1-1\n";
    let index = dir.join("archive/dists/test/main/binary-amd64/Packages");
    bk::file::create_dir(index.parent().unwrap()).unwrap();
    bk::file::write(&index, packages).unwrap();
    let sum = done(Command::new("sha256sum").arg(&index));
    let release = format!(
        "Codename: test\nComponents: main\nSHA256:\n {} {} main/binary-amd64/Packages\n",
        &sum[..64],
        packages.len()
    );
    bk::file::write(&dir.join("archive/dists/test/InRelease"), release).unwrap();
}

fn field(deb: &Path, name: &str) -> String {
    done(Command::new("dpkg-deb").arg("--field").arg(deb).arg(name)).trim_end().to_owned()
}

#[test]
fn a_build_script_of_2011_makes_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    archive(root);
    let wanted =
        ["vdm>=1", "client", "SQLAlchemy>=1.4,<2", "argparse", "absent; python_version<\"3\""];
    source(root, "portal", &wanted, &["portal/__init__.py", "portal/private/key.py", "tests/x.py"]);
    source(root, "vdm", &[], &["vdm.py"]);
    source(root, "client", &["vdm"], &["client.py", "tests/y.py"]);
    let license = "Copyright (c) 2011 The Author\n\nDo what you want with it.\n";
    bk::file::write(&root.join("LICENSE.txt"), license).unwrap();
    bk::file::write(&root.join("build.sh"), SCRIPT).unwrap();

    let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap());
    done(
        Command::new("sh")
            .arg("build.sh")
            .current_dir(root)
            .env("PATH", path)
            .env("BK_ROOT", root.join("state"))
            .env("SOURCE_DATE_EPOCH", "1700000000"),
    );

    let list = done(tool("bk-repo", root).args(["list", "repo"]));
    let names = ["python3-client", "python3-portal", "python3-versioned-models"];
    let all: String = names.iter().map(|name| format!("{name}_1.5-01+lucid_all\n")).collect();
    assert_eq!(list, all);
    let deb = |name: &str| root.join(format!("debs/{name}_1.5-01+lucid_all.deb"));
    let debs: Vec<PathBuf> = names.iter().map(|name| deb(name)).collect();
    for deb in &debs {
        assert_eq!(field(deb, "Maintainer"), "The Packager <packager@example.com>");
        assert_eq!(field(deb, "Homepage"), "https://example.com/portal");
        let tree = tempfile::tempdir().unwrap();
        done(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(tree.path()));
        let doc = tree.path().join("usr/share/doc").join(field(deb, "Package"));
        let copyright = std::fs::read_to_string(doc.join("copyright")).unwrap();
        for text in ["The Author <author@example.com>", "Do what you want with it."] {
            assert!(copyright.contains(text), "{copyright}");
        }
    }
    assert_eq!(
        field(&debs[1], "Depends"),
        "python3:any, python3-client, python3-sqlalchemy (>= 1.4), python3-sqlalchemy (<< 2~), \
         python3-versioned-models (>= 1)"
    );
    assert_eq!(field(&debs[0], "Depends"), "python3:any, python3-versioned-models");
    assert_eq!(field(&debs[2], "Provides"), "python3-vdm (= 1.5-01+lucid)");
    let files = |deb: &Path| done(Command::new("dpkg-deb").arg("--contents").arg(deb));
    assert!(!files(&debs[0]).contains("tests/") && files(&debs[1]).contains("tests/x.py"));
    assert!(!files(&debs[1]).contains("private") && files(&debs[1]).contains("bin/portal-run"));
    done(Command::new("lintian").args(["--allow-root", "--fail-on", "error"]).args(&debs));

    let missing = std::fs::read_to_string(root.join("missing")).unwrap();
    assert!(missing.contains("has no package of 'argparse', which 'portal 1.5'"), "{missing}");
    assert!(missing.contains("build it too"), "{missing}");
    let trees: Vec<PathBuf> =
        std::fs::read_dir(root.join("trees")).unwrap().map(|e| e.unwrap().path()).collect();
    let tree = trees.iter().find(|path| path.join("debian/control").is_file());
    let tree = tree.unwrap_or_else(|| panic!("{trees:?}"));
    let mut parse = Command::new("dpkg-parsechangelog");
    let version = done(parse.args(["--show-field", "Version"]).current_dir(tree));
    assert_eq!(version, "1.5-01+lucid\n");
}
