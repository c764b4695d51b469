//! `bk-deb pack`, held against dpkg-deb and dpkg-buildpackage.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{bk_deb, field, output, read, sample, sample_tree, unpacked};

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn pack(words: &[&str], out: &Path) -> Vec<String> {
    let all = [&["pack", "-o", out.to_str().unwrap()], words].concat();
    bk_deb(&all, 0).0.lines().map(str::to_owned).collect()
}

#[test]
fn a_tree_becomes_what_dpkg_deb_makes_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = sample(dir.path());
    // Without it dpkg-deb would take files of /etc for data; here they are configuration anyway.
    fs::remove_file(dir.path().join("sample/DEBIAN/conffiles")).unwrap();
    let out = dir.path().join("out");
    let paths = pack(&[dir.path().join("sample").to_str().unwrap()], &out);
    assert_eq!(paths, [out.join("tool_1.0-1_all.deb").to_str().unwrap()]);
    let ours = Path::new(&paths[0]);
    let (said, _) = bk_deb(&["diff", theirs.to_str().unwrap(), &paths[0]], 3);
    assert_eq!(said.trim(), "field Installed-Size: - -> 9");
    // dpkg-deb puts links at the end; in what order files lie matters to nobody.
    let list = |deb: &Path| {
        let text = output("dpkg-deb", &["-c", deb.to_str().unwrap()]);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(list(ours), list(&theirs));
    let raw = unpacked(ours);
    let mut md5sum = Command::new("md5sum");
    md5sum.args(["--quiet", "-c", "DEBIAN/md5sums"]).current_dir(raw.path());
    assert!(md5sum.status().unwrap().success());
}

#[test]
fn templates_are_filled_in() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    sample_tree(&tree);
    let control = fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    fs::remove_file(tree.join("DEBIAN/control")).unwrap();
    let template = control.replace("1.0-1", "{{ version }}-{{ revision | default(2) }}");
    write(&tree, "DEBIAN/control.template", &template);
    let tree = tree.to_str().unwrap();
    let paths = pack(&[tree, "-D", "version=3.1"], dir.path());
    assert_eq!(field(Path::new(&paths[0]), "Version"), "3.1-2");
    let (_, said) = bk_deb(&["pack", tree], 1);
    assert!(said.contains("DEBIAN/control.template") && said.contains("-D NAME=VALUE"), "{said}");
    assert!(bk_deb(&["pack", tree, "-D", "=x"], 2).1.contains("defines nothing"));
}

#[test]
fn what_dpkg_would_refuse_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    sample_tree(&tree);
    let good = fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    for (from, to, why) in [
        ("Package: tool", "Package: Tool", "is no package's name"),
        ("Version: 1.0-1", "Version: a", "is no Debian version"),
        ("Architecture: all", "Architecture: any", "is no architecture of a binary package"),
        ("Maintainer: A <a@example.com>\n", "", "'Maintainer' is missing"),
        ("Depends: libc6\n", "Depends: libc6\nDepends: x\n", "twice"),
    ] {
        write(&tree, "DEBIAN/control", &good.replace(from, to));
        let (_, said) = bk_deb(&["pack", tree.to_str().unwrap()], 1);
        assert!(said.contains(why), "{said}");
    }
    write(&tree, "DEBIAN/control", &good);
    write(&tree, "DEBIAN/conffiles", "/etc/gone\n");
    assert!(bk_deb(&["pack", tree.to_str().unwrap()], 1).1.contains("'/etc/gone'"));
    assert!(bk_deb(&["pack", dir.path().to_str().unwrap()], 2).1.contains("no DEBIAN/control"));
}

#[test]
fn a_package_is_the_same_whoever_packs_it() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    sample_tree(&tree);
    let mut packed = Vec::new();
    for (out, zone, umask) in [("a", "UTC", "022"), ("b", "Asia/Tokyo", "077")] {
        let script = format!("umask {umask}; exec \"$0\" -q pack \"$1\" -o \"$2\" >/dev/null");
        let status = Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_bk-deb")])
            .args([&tree, &dir.path().join(out)])
            .env("TZ", zone)
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .status()
            .unwrap();
        assert!(status.success());
        packed.push(fs::read(dir.path().join(out).join("tool_1.0-1_all.deb")).unwrap());
    }
    assert!(packed[0] == packed[1], "they differ");
}

/// The project of the next test, as its author keeps it for debhelper.
fn project(dir: &Path) {
    write(
        dir,
        "debian/control",
        "Source: served\nSection: net\nPriority: optional\nMaintainer: A B <a@example.com>\n\
         Build-Depends: debhelper-compat (= 13)\nStandards-Version: 4.6.2\n\
         Homepage: https://example.com/\nRules-Requires-Root: no\n\n\
         Package: served\nArchitecture: any\nDepends: ${shlibs:Depends}, ${misc:Depends},\n adduser\n\
         Description: a server of things\n It serves them.\n .\n All of them.\n\n\
         Package: served-doc\nSection: doc\nArchitecture: all\nDepends: ${misc:Depends}\n\
         Multi-Arch: foreign\nDescription: what is written about a server of things\n Read it.\n",
    );
    write(
        dir,
        "debian/changelog",
        "served (1:2.0-3) unstable; urgency=medium\n\n  * New.\n\n \
         -- A B <a@example.com>  Mon, 06 May 2024 07:08:10 +0200\n",
    );
    write(
        dir,
        "debian/rules",
        "#!/usr/bin/make -f\n%:\n\tdh $@\noverride_dh_auto_build override_dh_strip \
         override_dh_auto_test:\n",
    );
    fs::set_permissions(dir.join("debian/rules"), fs::Permissions::from_mode(0o755)).unwrap();
    write(dir, "debian/source/format", "3.0 (quilt)\n");
    write(
        dir,
        "debian/copyright",
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
         Files: *\nCopyright: 2024 A B\nLicense: MIT\n\nLicense: MIT\n Do what you want.\n",
    );
    write(
        dir,
        "debian/served.install",
        "build/served usr/bin\nconf/* etc/served\nshare/* usr/share/served\n",
    );
    write(dir, "debian/served.links", "usr/bin/served usr/bin/served-alias\n");
    write(dir, "debian/served.dirs", "var/lib/served\n");
    write(dir, "debian/served.manpages", "served.8\n");
    write(dir, "debian/served.default", "OPTIONS=\n");
    write(
        dir,
        "debian/served.service",
        "[Unit]\nDescription=a server of things\nDocumentation=man:served(8)\n\n[Service]\n\
         ExecStart=/usr/bin/served\nUser=served\n\n[Install]\nWantedBy=multi-user.target\n",
    );
    write(
        dir,
        "debian/served.postinst",
        "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n\tadduser --quiet --system served\nfi\n\
         #DEBHELPER#\n",
    );
    write(dir, "debian/served-doc.docs", "README.md\n");
    write(dir, "README.md", "# Served\n");
    write(dir, "served.8", ".TH served 8\n.SH NAME\nserved \\- serve things\n");
    write(dir, "conf/served.conf", "port = 1\n");
    write(dir, "share/a/one", "1\n");
    write(dir, "share/two", "2\n");
    fs::create_dir_all(dir.join("build")).unwrap();
    // It needs the C library: a program that is there already will do.
    fs::copy("/bin/true", dir.join("build/served")).unwrap();
}

#[test]
fn a_debian_folder_becomes_what_debhelper_makes_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("served-2.0");
    project(&source);
    let out = dir.path().join("ours");
    let paths = pack(&[source.to_str().unwrap(), "--arch", "amd64"], &out);
    let names: Vec<&str> = paths.iter().map(|p| p.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["served_2.0-3_amd64.deb", "served-doc_2.0-3_all.deb"]);

    let built = Command::new("dpkg-buildpackage")
        .args(["-b", "-uc", "-us", "-d", "--no-sign"])
        .current_dir(&source)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    for name in names {
        let (ours, theirs) = (out.join(name), dir.path().join(name));
        let (ours, theirs) = (ours.to_str().unwrap(), theirs.to_str().unwrap());
        let output = Command::new(env!("CARGO_BIN_EXE_bk-deb"))
            .args(["diff", theirs, ours])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        // Debian 13 and later have units below /usr, debhelper of Debian 12 below /lib; it compresses
        // with another zlib, and its scripts have more comments.
        let expected = |line: &&str| {
            line.contains("lib/systemd")
                || line == &"- /lib"
                || line.contains("/usr/lib")
                || line.starts_with("control p")
                || line.starts_with("field Installed-Size")
                || (line.starts_with("content ") && line.contains(".gz:"))
        };
        let odd: Vec<&str> = said.lines().filter(|line| !expected(line)).collect();
        assert!(odd.is_empty(), "{odd:#?}");
    }
    // It is debhelper's code that runs, where it counts.
    let ours = unpacked(&out.join("served_2.0-3_amd64.deb"));
    let theirs = unpacked(&dir.path().join("served_2.0-3_amd64.deb"));
    let code = |text: String| -> Vec<String> {
        let line = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with('#');
        // It quotes names that need it as little as ours.
        text.lines()
            .filter(line)
            .map(|line| line.replace("'served.service'", "served.service"))
            .collect()
    };
    assert_eq!(code(read(&ours, "DEBIAN/postinst")), code(read(&theirs, "DEBIAN/postinst")));
    assert_eq!(read(&ours, "DEBIAN/conffiles"), read(&theirs, "DEBIAN/conffiles"));
}

#[test]
fn a_manifest_becomes_a_package_that_runs_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(
        at,
        "nfpm.yaml",
        "name: served
arch: all
version: v${VERSION}-rc1
release: 1
section: net
maintainer: A B <a@example.com>
homepage: https://example.com/
description: |
  a server of things
  It serves them.

  All of them.
depends: [python3, 'libc6 (>= 2.30)']
conflicts: [serve]
contents:
  - src: bin/served
    dst: /usr/bin/served
    file_info: { mode: 0755 }
  - src: conf/*.conf
    dst: /etc/served/
    type: config|noreplace
    file_info: { mode: 0640, group: adm }
  - src: share
    dst: /usr/share/served
    type: tree
  - src: served
    dst: /usr/bin/served-alias
    type: symlink
  - dst: /var/lib/served
    type: dir
    file_info: { owner: root, mode: 0750 }
  - src: gone
    dst: /only/for/rpm
    packager: rpm
scripts:
  postinstall: postinstall.sh
overrides:
  deb:
    conflicts: [other]
deb:
  fields: { Bugs: 'mailto:a@example.com' }
  triggers: { interest_noawait: [/usr/share/served] }
rpm: { group: x }
users: [ { name: served, home: /var/lib/served } ]
systemd: [ served.service ]
",
    );
    write(at, "bin/served", "#!/bin/sh\n");
    write(at, "conf/a.conf", "a\n");
    write(at, "conf/b.txt", "b\n");
    write(at, "share/x/y", "y\n");
    write(
        at,
        "served.service",
        "[Service]\nExecStart=/usr/bin/served\n[Install]\nWantedBy=multi-user.target\n",
    );
    write(at, "postinstall.sh", "#!/bin/sh\nset -e\nchown served /var/lib/served\n");
    let at = at.to_str().unwrap();
    let paths = pack(&[at, "-D", "VERSION=1.2"], dir.path());
    let deb = Path::new(&paths[0]);
    assert!(paths[0].ends_with("/served_1.2~rc1-1_all.deb"), "{paths:?}");
    assert_eq!(field(deb, "Conflicts"), "other");
    assert_eq!(field(deb, "Depends"), "python3, libc6 (>= 2.30), adduser");
    assert_eq!(field(deb, "Bugs"), "mailto:a@example.com");
    assert_eq!(
        field(deb, "Description"),
        "a server of things\n It serves them.\n .\n All of them."
    );
    let listing = output("dpkg-deb", &["-c", &paths[0]]);
    let line = |path: &str| {
        let found = listing.lines().find(|line| line.contains(&format!(" ./{path}")));
        found.unwrap_or_else(|| panic!("{path}: {listing}")).to_owned()
    };
    assert!(line("usr/bin/served").starts_with("-rwxr-xr-x root/root"));
    assert!(line("etc/served/a.conf").starts_with("-rw-r----- root/adm"));
    assert!(line("usr/bin/served-alias").ends_with("-> served"));
    assert!(line("var/lib/served/").starts_with("drwxr-x---"));
    assert!(!listing.contains("b.txt") && !listing.contains("rpm"), "{listing}");
    line("usr/share/served/x/y");
    let raw = unpacked(deb);
    assert_eq!(read(&raw, "DEBIAN/conffiles"), "/etc/served/a.conf\n");
    assert_eq!(read(&raw, "DEBIAN/triggers"), "interest-noawait /usr/share/served\n");
    let postinst = read(&raw, "DEBIAN/postinst");
    let place = |text: &str| postinst.find(text).unwrap_or_else(|| panic!("{text}: {postinst}"));
    assert!(place("adduser --system") < place("chown served"));
    assert!(place("chown served") < place("deb-systemd-helper enable served.service"));
    for script in ["postinst", "prerm", "postrm"] {
        output("sh", &["-n", raw.path().join("DEBIAN").join(script).to_str().unwrap()]);
    }
    // A slip of the pen and a missing value are told.
    assert!(bk_deb(&["pack", at], 1).1.contains("-D 'VERSION=VALUE'"));
    write(
        dir.path(),
        "bad.yaml",
        "name: x\nversion: 1\nmaintainer: m\ndescription: d\ndepend: []\n",
    );
    assert!(bk_deb(&["pack", &format!("{at}/bad.yaml")], 2).1.contains("depend"));
}
