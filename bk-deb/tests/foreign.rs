//! `bk-deb convert`, held against rpmbuild, rpm, tar and alien.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{bk_deb, field, output, read, sample, sample_tree, unpacked};

/// An .rpm of a program, configuration, a hard link, a link, and scripts, made by rpmbuild.
fn rpm(dir: &Path, compression: &str, more: &str) -> PathBuf {
    let spec = dir.join("tool.spec");
    let text = format!(
        "Name: Tool_X
Version: 1.2~rc1
Release: 3
Epoch: 2
Summary: A tool
License: MIT
URL: https://example.com/
Packager: A B <a@example.com>
Requires: bash, other >= 2
BuildArch: noarch
%define _build_id_links none
%define _binary_payload {compression}
%description
It does things.

All of them.
%install
mkdir -p %{{buildroot}}/usr/bin %{{buildroot}}/etc %{{buildroot}}/usr/share/tool/empty
printf '#!/bin/sh\\necho runs\\n' > %{{buildroot}}/usr/bin/tool
chmod 755 %{{buildroot}}/usr/bin/tool
ln -s tool %{{buildroot}}/usr/bin/alias
echo a > %{{buildroot}}/etc/tool.conf
echo data > %{{buildroot}}/usr/share/tool/data
ln %{{buildroot}}/usr/share/tool/data %{{buildroot}}/usr/share/tool/same
%files
/usr/bin/*
%config(noreplace) /etc/tool.conf
%attr(0750,root,games) /usr/share/tool
%ghost /var/log/tool.log
%pre
echo pre $1
%post
echo post $1
%preun
echo preun $1
%postun
echo postun $1
{more}
"
    );
    fs::write(&spec, text).unwrap();
    let top = dir.join(format!("rpmbuild-{}", compression.replace('.', "-")));
    let define = format!("_topdir {}", top.display());
    output("rpmbuild", &["-bb", "--quiet", "--define", &define, spec.to_str().unwrap()]);
    top.join("RPMS/noarch/Tool_X-1.2~rc1-3.noarch.rpm")
}

#[test]
fn an_rpm_becomes_a_deb_that_dpkg_installs() {
    let dir = tempfile::tempdir().unwrap();
    for compression in ["w9.gzdio", "w6.xzdio", "w3.zstdio"] {
        let rpm = rpm(dir.path(), compression, "");
        let out = dir.path().join(compression);
        let words = ["convert", rpm.to_str().unwrap(), "-o", out.to_str().unwrap()];
        let (paths, said) = bk_deb(&words, 0);
        assert!(said.contains("bash, other >= 2"), "{said}");
        let deb = out.join("tool-x_1.2~rc1-3_all.deb");
        assert_eq!(paths.trim(), deb.to_str().unwrap());
        assert_eq!(field(&deb, "Version"), "2:1.2~rc1-3");
        assert_eq!(field(&deb, "Maintainer"), "A B <a@example.com>");
        assert_eq!(field(&deb, "Homepage"), "https://example.com/");
        assert_eq!(field(&deb, "Description"), "A tool\n It does things.\n .\n All of them.");

        // The files are what rpm itself unpacks.
        let raw = unpacked(&deb);
        let theirs = dir.path().join(format!("theirs-{compression}"));
        fs::create_dir(&theirs).unwrap();
        let unpack = "rpm2cpio \"$1\" | cpio --quiet -idm --no-absolute-filenames";
        let cpio = Command::new("bash")
            .args(["-euo", "pipefail", "-c", unpack, "x", rpm.to_str().unwrap()])
            .current_dir(&theirs)
            .output()
            .unwrap();
        assert!(cpio.status.success(), "{cpio:?}");
        let (a, b) = (raw.path().to_str().unwrap(), theirs.to_str().unwrap());
        output("diff", &["-r", "--no-dereference", "--exclude", "DEBIAN", a, b]);
        assert_eq!(read(&raw, "DEBIAN/conffiles"), "/etc/tool.conf\n");
        let listing = output("dpkg-deb", &["-c", deb.to_str().unwrap()]);
        assert!(listing.contains("drwxr-x--- root/games"), "{listing}");
        assert!(listing.contains("link to ./usr/share/tool/"), "{listing}");
        assert!(!listing.contains("tool.log"), "{listing}");

        // dpkg calls the scripts, and they hear what rpm would say.
        let root = dir.path().join(format!("root-{compression}"));
        let said = dpkg(&root, &["--install", deb.to_str().unwrap()]);
        assert!(said.contains("pre 1") && said.contains("post 1"), "{said}");
        let said = dpkg(&root, &["--install", deb.to_str().unwrap()]);
        assert!(said.contains("pre 2") && said.contains("post 2"), "{said}");
        assert!(said.contains("preun 1") && said.contains("postun 1"), "{said}");
        let said = dpkg(&root, &["--purge", "tool-x"]);
        assert!(said.contains("preun 0") && said.contains("postun 0"), "{said}");
        assert!(!root.join("usr/bin/tool").exists());
    }
}

/// Runs dpkg on a root of its own, where scripts run outside of it.
fn dpkg(root: &Path, words: &[&str]) -> String {
    fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
    fs::create_dir_all(root.join("var/lib/dpkg/updates")).unwrap();
    for file in ["status", "available"] {
        let path = root.join("var/lib/dpkg").join(file);
        if !path.exists() {
            fs::write(path, "").unwrap();
        }
    }
    let said = Command::new("dpkg")
        .args(["--root", root.to_str().unwrap(), "--force-script-chrootless", "--force-depends"])
        .args(words)
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[test]
fn what_cannot_be_carried_is_refused_until_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    for (more, why) in [
        ("%posttrans\necho x\n", "'%posttrans' cannot be carried over"),
        ("%triggerin -- bash\necho x\n", "'%trigger' cannot be carried over"),
        ("%pretrans -p <lua>\nprint(1)\n", "'%pretrans' cannot be carried over"),
    ] {
        let rpm = rpm(dir.path(), "w1.gzdio", more);
        let (rpm, out) = (rpm.to_str().unwrap(), dir.path().to_str().unwrap());
        let (_, said) = bk_deb(&["convert", rpm, "-o", out], 1);
        assert!(said.contains(why) && said.contains("--drop-scripts"), "{said}");
        let (path, _) = bk_deb(&["convert", "--drop-scripts", rpm, "-o", out], 0);
        let raw = unpacked(Path::new(path.trim()));
        assert!(!raw.path().join("DEBIAN/postinst").exists());
    }
}

#[test]
fn a_deb_becomes_an_rpm_that_rpm_verifies_and_installs() {
    let dir = tempfile::tempdir().unwrap();
    let deb = sample(dir.path());
    let out = dir.path().to_str().unwrap();
    let (path, said) = bk_deb(&["convert", "--to", "rpm", deb.to_str().unwrap(), "-o", out], 0);
    assert!(said.contains("libc6"), "{said}");
    let rpm = path.trim();
    assert!(rpm.ends_with("/tool-1.0-1.noarch.rpm"), "{rpm}");
    assert!(output("rpm", &["-K", rpm]).contains("digests OK"));
    let query = "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{SUMMARY} %{PACKAGER}";
    assert_eq!(
        output("rpm", &["-qp", "--qf", query, rpm]),
        "tool 1.0 1 noarch a tool A <a@example.com>"
    );
    assert_eq!(output("rpm", &["-qpc", rpm]), "/etc/tool.conf\n");
    let files = output("rpm", &["-qpl", rpm]);
    assert_eq!(
        files.lines().collect::<Vec<_>>(),
        [
            "/etc/tool.conf",
            "/usr/bin/alias",
            "/usr/bin/tool",
            "/usr/share/tool",
            "/usr/share/tool/data"
        ]
    );
    let (db, root) = (dir.path().join("db"), dir.path().join("root"));
    fs::create_dir_all(&root).unwrap();
    let installed = Command::new("rpm")
        .args(["--dbpath", db.to_str().unwrap(), "--root", root.to_str().unwrap()])
        .args(["--nodeps", "--noscripts", "--ignoreos", "-i", rpm])
        .output()
        .unwrap();
    assert!(installed.status.success(), "{installed:?}");
    assert_eq!(fs::read_to_string(root.join("etc/tool.conf")).unwrap(), "colour = blue\n");
    assert!(output("rpm", &["-qp", "--scripts", rpm]).contains("set -- configure ''"));

    // There and back: what both know is the same.
    let back = dir.path().join("back");
    let (path, _) = bk_deb(&["convert", rpm, "-o", back.to_str().unwrap()], 0);
    let (a, b) = (unpacked(&deb), unpacked(Path::new(path.trim())));
    output(
        "diff",
        &[
            "-r",
            "--no-dereference",
            "--exclude",
            "DEBIAN",
            a.path().to_str().unwrap(),
            b.path().to_str().unwrap(),
        ],
    );
}

#[test]
fn an_rpm_holds_what_alien_puts_into_it() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    sample_tree(&tree);
    fs::remove_file(tree.join("DEBIAN/postinst")).unwrap();
    let deb = dir.path().join("tool_1.0-1_all.deb");
    output(
        "dpkg-deb",
        &["-b", "--root-owner-group", tree.to_str().unwrap(), deb.to_str().unwrap()],
    );
    let alien = Command::new("alien")
        .args(["--to-rpm", "--keep-version", deb.to_str().unwrap()])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(alien.status.success(), "{alien:?}");
    let out = dir.path().join("ours");
    let words = ["convert", "--to", "rpm", deb.to_str().unwrap(), "-o", out.to_str().unwrap()];
    let ours = bk_deb(&words, 0).0;
    let list = |rpm: &str| -> Vec<String> {
        let query =
            "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES} %{FILEDIGESTS} %{FILELINKTOS}\\n]";
        let text = output("rpm", &["-qp", "--qf", query, rpm]);
        // alien owns folders too, and digests by another algorithm's name.
        text.lines().filter(|line| !line.starts_with('d')).map(str::to_owned).collect()
    };
    let theirs = dir.path().join("tool-1.0-1.noarch.rpm");
    let theirs = list(theirs.to_str().unwrap());
    let paths = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|l| l.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(paths(&list(ours.trim())), paths(&theirs));
}

#[test]
fn tar_archives_become_debs_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    sample_tree(&tree);
    fs::remove_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir(tree.join("install")).unwrap();
    fs::write(tree.join("install/doinst.sh"), "echo in $(pwd)\n").unwrap();
    let out = dir.path().to_str().unwrap();
    for (name, option) in [("tool-1.5.tgz", "z"), ("tool-1.6.tar.xz", "J")] {
        let archive = dir.path().join(name);
        let archive = archive.to_str().unwrap();
        output("tar", &["-C", tree.to_str().unwrap(), &format!("-c{option}f"), archive, "."]);
        let (_, said) = bk_deb(&["convert", archive, "-o", out], 1);
        assert!(said.contains("--maintainer"), "{said}");
        let words = ["convert", archive, "-o", out, "--maintainer", "A <a@example.com>"];
        let deb = PathBuf::from(bk_deb(&words, 0).0.trim());
        assert_eq!(field(&deb, "Package"), "tool");
        assert!(["1.5", "1.6"].contains(&field(&deb, "Version").as_str()));
        let raw = unpacked(&deb);
        assert_eq!(read(&raw, "DEBIAN/conffiles"), "/etc/tool.conf\n");
        let root = dir.path().join(format!("root-{option}"));
        assert!(dpkg(&root, &["--install", deb.to_str().unwrap()]).contains("in /"));

        let (_, said) = bk_deb(&["convert", "--to", "tgz", deb.to_str().unwrap(), "-o", out], 1);
        assert!(said.contains("a .tgz has no scripts"), "{said}");
        let back = dir.path().join("back");
        let words = ["convert", "--to", "tgz", "--drop-scripts", deb.to_str().unwrap(), "-o"];
        let (path, _) = bk_deb(&[&words[..], &[back.to_str().unwrap()]].concat(), 0);
        let listed = output("tar", &["-tzvf", path.trim()]);
        assert!(listed.contains("./usr/bin/alias -> tool"), "{listed}");
    }
    let bad = dir.path().join("x-1.tgz");
    fs::write(&bad, "hello").unwrap();
    let (_, said) = bk_deb(&["convert", bad.to_str().unwrap(), "-o", out], 1);
    assert!(said.contains("cannot convert"), "{said}");
}
