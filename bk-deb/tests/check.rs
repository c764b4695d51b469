//! `bk-deb check`: what it finds in broken packages is what lintian finds in them.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Wheel, built, output};

fn check(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bk-deb")).arg("check").args(args).output().unwrap()
}

const CONTROL: &str = "Package: python3-x
Version: 1.0-1
Architecture: all
Maintainer: A Person <person@example.com>
Depends: python3:any
Section: python
Priority: optional
Description: test of things
 It is here to be checked by several programs, and has nothing to do in real life.
";

/// A tree to pack, good until it is changed.
struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let tree = Tree { dir: tempfile::tempdir().unwrap() };
        tree.write("DEBIAN/control", CONTROL);
        tree.write("usr/lib/python3/dist-packages/x.py", "x = 1\n");
        tree.write("usr/share/doc/python3-x/copyright", "Copyright 2020 A Person\n");
        let changelog = "python3-x (1.0-1) unstable; urgency=medium\n\n  * Made.\n\n -- A Person <person@example.com>  Mon, 06 May 2024 07:08:10 +0000\n";
        tree.write("usr/share/doc/python3-x/changelog.Debian", changelog);
        let path = tree.path("usr/share/doc/python3-x/changelog.Debian");
        output("gzip", &["-9n", path.to_str().unwrap()]);
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        self.mode(path, content.as_bytes(), 0o644);
    }

    fn mode(&self, path: &str, content: &[u8], mode: u32) {
        let path = self.path(path);
        bk::file::create_dir(path.parent().unwrap()).unwrap();
        bk::file::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn control(&self, from: &str, to: &str) {
        assert!(CONTROL.contains(from));
        self.write("DEBIAN/control", &CONTROL.replace(from, to));
    }

    fn pack(&self, path: &Path) {
        // The umask is not what is tested.
        let dir = self.dir.path().to_str().unwrap();
        output("find", &[dir, "-type", "d", "-exec", "chmod", "755", "{}", "+"]);
        let path = path.to_str().unwrap();
        output("dpkg-deb", &["-Zgzip", "--root-owner-group", "--nocheck", "--build", dir, path]);
    }
}

type Break = fn(&Tree);

const BROKEN: &[(&str, Break)] = &[
    ("bad-package-name", |t| t.control("python3-x", "Python3_X")),
    ("bad-version-number", |t| t.control("1.0-1", "a_b")),
    ("no-phrase", |t| t.control("A Person <person@example.com>", "person@example.com")),
    ("malformed-contact", |t| t.control("A Person <person@example.com>", "A Person")),
    ("required-field", |t| t.control("Maintainer: A Person <person@example.com>\n", "")),
    ("recommended-field", |t| t.control("Section: python\n", "")),
    ("unknown-section", |t| t.control("Section: python", "Section: snakes")),
    ("unknown-priority", |t| t.control("optional", "urgent")),
    ("bad-homepage", |t| t.control("Section", "Homepage: example\nSection")),
    ("extended-description-is-empty", |t| {
        let (head, _) = CONTROL.split_once("\n It").unwrap();
        t.write("DEBIAN/control", &format!("{head}\n"));
    }),
    ("synopsis-too-long", |t| t.control("test of things", &"long words ".repeat(9))),
    ("description-starts-with-leading-spaces", |t| t.control(" It is", "  It is")),
    ("python-package-missing-depends-on-python", |t| t.control("Depends: python3:any\n", "")),
    ("package-installs-python-bytecode", |t| {
        t.write("usr/lib/python3/dist-packages/y.pyc", "x");
    }),
    ("package-installs-python-pycache-dir", |t| {
        t.write("usr/lib/python3/dist-packages/__pycache__/x.cpython-311.pyc", "x");
    }),
    ("python-module-has-overly-generic-name", |t| {
        t.write("usr/lib/python3/dist-packages/tests/__init__.py", "");
    }),
    ("file-in-etc-not-marked-as-conffile", |t| t.write("etc/x.conf", "")),
    ("missing-conffile", |t| t.write("DEBIAN/conffiles", "/etc/x.conf\n")),
    ("relative-conffile", |t| t.write("DEBIAN/conffiles", "etc/x.conf\n")),
    ("file-in-usr-marked-as-conffile", |t| {
        t.write("DEBIAN/conffiles", "/usr/lib/python3/dist-packages/x.py\n");
    }),
    ("duplicate-conffile", |t| {
        t.write("etc/x.conf", "");
        t.write("DEBIAN/conffiles", "/etc/x.conf\n/etc/x.conf\n");
    }),
    ("file-in-usr-local", |t| t.write("usr/local/x", "")),
    ("dir-or-file-in-opt", |t| t.write("opt/x/y", "")),
    ("dir-or-file-in-tmp", |t| t.write("tmp/x", "")),
    ("file-in-unusual-dir", |t| t.write("usr/odd/x", "")),
    ("md5sum-mismatch", |t| {
        t.write("DEBIAN/md5sums", &format!("{:032}  usr/lib/python3/dist-packages/x.py\n", 0));
    }),
    ("md5sums-lists-nonexistent-file", |t| {
        t.write("DEBIAN/md5sums", &format!("{:032}  usr/nothing\n", 0));
    }),
    ("file-missing-in-md5sums", |t| {
        t.write("DEBIAN/md5sums", &format!("{:032}  usr/nothing\n", 0));
    }),
    ("no-copyright-file", |t| {
        std::fs::remove_file(t.path("usr/share/doc/python3-x/copyright")).unwrap();
    }),
    ("no-changelog", |t| {
        std::fs::remove_file(t.path("usr/share/doc/python3-x/changelog.Debian.gz")).unwrap();
    }),
    ("non-standard-file-perm", |t| t.mode("usr/share/x/y", b"", 0o600)),
    ("non-standard-executable-perm", |t| t.mode("usr/bin/x", b"#!/bin/sh\n", 0o700)),
    ("elevated-privileges", |t| t.mode("usr/bin/x", b"#!/bin/sh\n", 0o4755)),
    ("executable-not-elf-or-script", |t| t.mode("usr/share/x/y", b"text", 0o755)),
    ("wrong-path-for-interpreter", |t| {
        t.mode("usr/bin/x", b"#!/opt/python3\n", 0o755);
    }),
    ("interpreter-in-usr-local", |t| {
        t.mode("usr/bin/x", b"#!/usr/local/bin/odd\n", 0o755);
    }),
    ("script-uses-unversioned-python-in-shebang", |t| {
        t.mode("usr/bin/x", b"#!/usr/bin/python\n", 0o755);
    }),
    ("symlink-has-too-many-up-segments", |t| {
        symlink("../../../../../../x", t.path("usr/share/x")).unwrap();
    }),
    ("absolute-symlink-in-top-level-folder", |t| {
        symlink("/usr/share/y", t.path("usr/share/x")).unwrap();
    }),
    ("symlink-has-double-slash", |t| symlink("y//z", t.path("usr/share/x")).unwrap()),
    ("symlink-is-self-recursive", |t| symlink("..", t.path("usr/share/x")).unwrap()),
    ("package-contains-hardlink", |t| {
        t.write("usr/share/x/y", "");
        std::fs::hard_link(t.path("usr/share/x/y"), t.path("usr/share/z")).unwrap();
    }),
    ("maintainer-script-empty", |t| {
        t.mode("DEBIAN/postinst", b"#!/bin/sh\nset -e\nexit 0\n", 0o755)
    }),
    ("unstripped-binary-or-object", |t| binary(t, &["-g"])),
    ("arch-independent-package-contains-binary-or-object", |t| binary(t, &["-s"])),
    ("missing-dependency-on-libc", |t| {
        t.control("Architecture: all", "Architecture: amd64");
        binary(t, &["-s"]);
    }),
    ("custom-library-search-path", |t| binary(t, &["-s", "-Wl,-rpath,/opt/x"])),
    ("arch-dependent-file-in-usr-share", |t| {
        binary(t, &["-s"]);
        let path = t.path("usr/share/x");
        std::fs::rename(t.path("usr/bin/x"), path).unwrap();
    }),
];

fn binary(tree: &Tree, options: &[&str]) {
    tree.write("x.c", "#include <stdio.h>\nint main(void) { return puts(\"x\"); }\n");
    tree.write("usr/bin/x", "");
    let (source, out) = (tree.path("x.c"), tree.path("usr/bin/x"));
    let files = [source.to_str().unwrap(), "-o", out.to_str().unwrap()];
    output("gcc", &[&files, options].concat());
    std::fs::remove_file(source).unwrap();
}

/// The tags that are told of each package.
fn tags(text: &str, package: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.split_once(": ")?.1.split_once(": "));
    let of = lines.filter(|(name, _)| name.eq_ignore_ascii_case(package));
    of.filter_map(|(_, rest)| rest.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn broken_packages_have_the_tags_that_lintian_gives_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (tag, change) in BROKEN {
        let tree = Tree::new();
        change(&tree);
        let path = dir.path().join(format!("{tag}.deb"));
        tree.pack(&path);
        paths.push(path);
    }
    let mut missing = Vec::new();
    for ((tag, _), path) in BROKEN.iter().zip(&paths) {
        let path = path.to_str().unwrap();
        let ours = check(&["-v", path]);
        let ours = String::from_utf8(ours.stdout).unwrap();
        let lintian = Command::new("lintian")
            .args([
                "--allow-root",
                "--tag-display-limit",
                "0",
                "--pedantic",
                "-I",
                "--tags",
                tag,
                path,
            ])
            .output()
            .unwrap();
        let theirs = String::from_utf8(lintian.stdout).unwrap();
        for (who, said) in [("bk-deb", &ours), ("lintian", &theirs)] {
            if !said.lines().any(|line| line.split(' ').any(|word| word == *tag)) {
                missing.push(format!("{who} does not give {tag}, but:\n{said}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_good_package_has_no_findings_but_what_policy_calls_for_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.deb");
    Tree::new().pack(&path);
    let output = check(&[path.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    // dpkg-deb packs what it is given: nothing compiles the module.
    assert_eq!(output.status.code(), Some(0), "{text}");
    let found = tags(&text, "python3-x");
    let all: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(all, ["python-modules-not-cleaned", "python-modules-not-compiled"], "{text}");
}

#[test]
fn findings_are_records_and_an_error_is_the_answer_no() {
    let dir = tempfile::tempdir().unwrap();
    let (good, _good) = built(Wheel::new("a", "1.0", "py3-none-any").file("a.py", ""));
    let tree = Tree::new();
    tree.write("usr/local/x", "");
    let bad = dir.path().join("bad.deb");
    tree.pack(&bad);
    let mut child = Command::new(env!("CARGO_BIN_EXE_bk-deb"))
        .args(["check", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = format!(
        "{}\n{}\n",
        serde_json::json!({"type": "deb", "path": good.path}),
        serde_json::json!({"type": "deb", "path": bad}),
    );
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    let all: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = all.iter().find(|f| f["tag"] == "file-in-usr-local").unwrap();
    assert_eq!(found["type"], "finding");
    assert_eq!(found["severity"], "error");
    assert_eq!(found["package"], "python3-x");
    assert_eq!(found["context"], "[usr/local/x]");
    assert_eq!(found["path"], bad.to_str().unwrap());
    assert!(all.iter().all(|f| f["path"] != good.path.to_str().unwrap()), "{text}");
    assert_eq!(check(&[good.path.to_str().unwrap()]).status.code(), Some(0));
}

#[test]
fn two_packages_with_one_file_are_told_unless_one_replaces_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let pack = |name: &str, more: &str| {
        let tree = Tree::new();
        let control =
            CONTROL.replace("python3-x", name).replace("Section", &format!("{more}Section"));
        tree.write("DEBIAN/control", &control);
        let path = dir.path().join(format!("{name}.deb"));
        tree.pack(&path);
        path.to_str().unwrap().to_owned()
    };
    let paths = [
        pack("python3-y", ""),
        pack("python3-z", ""),
        pack("python3-r", "Replaces: python3-y (<< 2)\n"),
    ];
    let text = |a: &str, b: &str| String::from_utf8(check(&[a, b]).stdout).unwrap();
    let conflict =
        "E: python3-z: file-conflict with python3-y [usr/lib/python3/dist-packages/x.py]";
    assert!(text(&paths[0], &paths[1]).contains(conflict));
    assert!(!text(&paths[0], &paths[2]).contains("file-conflict"));
}

#[test]
fn what_is_no_package_fails_and_the_others_are_checked() {
    let (good, dir) = built(Wheel::new("a", "1.0", "py3-none-any").file("a.py", ""));
    let bad = dir.path().join("bad.deb");
    std::fs::copy("/bin/true", &bad).unwrap();
    let output = check(&[bad.to_str().unwrap(), good.path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("bad.deb") && stderr.contains("not a Debian package"), "{stderr}");
    assert!(stderr.contains("hint: name a .deb"), "{stderr}");
}
