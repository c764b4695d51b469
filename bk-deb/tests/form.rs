//! What `bk-deb build` makes beside .debs and in place of them, held against dpkg-buildpackage,
//! dpkg-source, gpgv, lintian, rpm and Python.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::house::{House, names};
use common::{Wheel, bk_deb, field, output, read, unpacked};

/// A program, configuration, data, and a library it needs.
fn house() -> House {
    let house = House::new();
    let app = Wheel::new("app", "1.0", "py3-none-any")
        .file(
            "app/__init__.py",
            "import lib\ndef main():\n    import sys\n    print('app', lib.x, sys.prefix)\n",
        )
        .file("app/data.txt", "data\n")
        .dist_info("entry_points.txt", "[console_scripts]\napp = app:main\n")
        .dist_info("licenses/LICENSE", "Copyright 2024 A B\n\nDo what you want.\n")
        .data("data/etc/app.conf", "colour = blue\n")
        .data("data/share/app/x.txt", "x\n")
        .data("scripts/app-tool", "#!python\nimport lib\nprint('tool', lib.x)\n");
    house.add(app, &["lib>=1.0"]);
    let lib = Wheel::new("lib", "1.5", "py3-none-any")
        .file("lib.py", "x = 1\n")
        .dist_info("entry_points.txt", "[console_scripts]\nlib-cmd = lib:x\n");
    house.add(lib, &[]);
    house
}

#[test]
fn a_debian_folder_is_built_by_dpkg_buildpackage_to_the_same() {
    let house = house();
    house.built(&["app"]);
    let paths = house.built(&["app", "--debian-dir", "source"]);
    assert_eq!(paths, ["source/python3-app-1.0", "source/python3-lib-1.5"]);
    let tree = house.path("source/python3-app-1.0");
    let built = Command::new("dpkg-buildpackage")
        .args(["-b", "-uc", "-us"])
        .current_dir(&tree)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let theirs = house.path("source/python3-app_1.0-1_all.deb");
    let ours = house.path("debs/python3-app_1.0-1_all.deb");
    let (said, _) = bk_deb(&["diff", ours.to_str().unwrap(), theirs.to_str().unwrap()], 3);
    // debhelper compresses with another zlib; its scripts have empty lines more; dpkg-gencontrol counts
    // the control files too.
    let expected = |line: &str| {
        line.contains("changelog.Debian.gz")
            || line.contains(".1.gz")
            || line.starts_with("control p")
            || line.starts_with("field Installed-Size")
    };
    let odd: Vec<&str> = said.lines().filter(|line| !expected(line)).collect();
    assert!(odd.is_empty(), "{odd:#?}");
    let code = |deb: &Path| {
        let text = read(&unpacked(deb), "DEBIAN/postinst");
        text.lines()
            .filter(|l| !l.trim().is_empty() && !l.starts_with('#'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(code(&ours), code(&theirs));
    let changes = house.path("source/python3-app_1.0-1_amd64.changes");
    // The suite is called `test` here alone.
    let lintian = Command::new("lintian")
        .args(["--fail-on=error", "--suppress-tags", "bad-distribution-in-changes-file"])
        .arg(&changes)
        .output()
        .unwrap();
    assert!(lintian.status.success(), "{}", String::from_utf8_lossy(&lintian.stdout));
    assert!(house.fails(&["app", "--debian-dir", "source"], 1).contains("it is there already"));
}

#[test]
fn sources_and_changes_are_signed_and_verified() {
    let house = house();
    let gnupg = house.path("gnupg");
    fs::create_dir(&gnupg).unwrap();
    fs::set_permissions(&gnupg, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let gpg = |words: &[&str]| {
        let output = Command::new("gpg").env("GNUPGHOME", &gnupg).args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let unprotected = ["--batch", "--passphrase", "", "--quick-generate-key"];
    gpg(&[&unprotected[..], &["A B <a@example.com>", "ed25519", "sign"]].concat());
    fs::write(house.path("ring.gpg"), gpg(&["--export"])).unwrap();

    let mut command =
        house.build(&["app", "--no-deps", "--source", "--changes", "--sign=a@example.com"]);
    let built = command.env("GNUPGHOME", &gnupg).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    let changes = "debs/python3-app_1.0-1_all.changes";
    assert_eq!(String::from_utf8(built.stdout).unwrap().trim(), changes);
    assert_eq!(
        names(&house.path("debs")),
        [
            "python3-app_1.0-1.debian.tar.xz",
            "python3-app_1.0-1.dsc",
            "python3-app_1.0-1_all.buildinfo",
            "python3-app_1.0-1_all.changes",
            "python3-app_1.0-1_all.deb",
            "python3-app_1.0.orig.tar.xz",
        ]
    );
    let text = |name: &str| fs::read_to_string(house.path("debs").join(name)).unwrap();
    for name in [
        "python3-app_1.0-1.dsc",
        "python3-app_1.0-1_all.buildinfo",
        "python3-app_1.0-1_all.changes",
    ] {
        let path = house.path("debs").join(name);
        let gpgv =
            Command::new("gpgv").arg("--keyring").arg(house.path("ring.gpg")).arg(&path).output();
        assert!(gpgv.unwrap().status.success(), "{name}");
    }
    // Every file the .changes lists is as it says, the signed ones too.
    let listed = text("python3-app_1.0-1_all.changes");
    let sums: String = listed
        .split("Checksums-Sha256:")
        .nth(1)
        .unwrap()
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            format!("{}  {}\n", words[0], words[2])
        })
        .collect();
    assert_eq!(sums.lines().count(), 5, "{sums}");
    fs::write(house.path("debs/sums"), sums).unwrap();
    let checked =
        Command::new("sha256sum").args(["-c", "sums"]).current_dir(house.path("debs")).output();
    assert!(checked.unwrap().status.success());

    let extracted = house.path("extracted");
    let dsc = house.path("debs/python3-app_1.0-1.dsc");
    output("dpkg-source", &["-x", dsc.to_str().unwrap(), extracted.to_str().unwrap()]);
    let again = Command::new("dpkg-buildpackage")
        .args(["-uc", "-us"])
        .current_dir(&extracted)
        .output()
        .unwrap();
    assert!(again.status.success(), "{again:?}");
    // What dpkg-genchanges writes of it has the same fields.
    let theirs = fs::read_to_string(house.path("python3-app_1.0-1_amd64.changes")).unwrap();
    let fields = |text: &str| -> Vec<String> {
        let mut names: Vec<String> = text
            .lines()
            .skip_while(|line| !line.starts_with("Format:"))
            .take_while(|line| !line.starts_with("-----BEGIN"))
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_once(':').map(|(name, _)| name.to_owned()))
            .collect();
        names.sort();
        names
    };
    assert_eq!(fields(&listed), fields(&theirs));
    assert!(house.fails(&["app", "--sign"], 2).contains("nothing to sign"));
}

#[test]
fn a_bundle_is_an_environment_of_its_own() {
    let house = house();
    let unit = "[Unit]\nDescription=app\n[Service]\nUser=app\nExecStart=/opt/acme/bin/app\n[Install]\nWantedBy=multi-user.target\n";
    fs::write(house.path("app.service"), unit).unwrap();
    let words = ["app", "--bundle", "acme", "--unit", "app.service", "--user", "acme-app"];
    let paths = house.built(&words);
    assert_eq!(paths, ["debs/acme_1.0-1_all.deb"]);
    let deb = house.path(&paths[0]);
    assert_eq!(field(&deb, "Depends"), "python3 (>= 3.11~), python3 (<< 3.12), adduser");
    let raw = unpacked(&deb);
    assert_eq!(names(&raw.path().join("usr/bin")), ["app", "app-tool"]);
    let site = "opt/acme/lib/python3.11/site-packages";
    for path in ["opt/acme/bin/lib-cmd", "opt/acme/share/app/x.txt", &format!("{site}/lib.py")] {
        assert!(raw.path().join(path).exists(), "{path}");
    }
    assert_eq!(read(&raw, "DEBIAN/conffiles"), "/opt/acme/etc/app.conf\n");
    let postinst = read(&raw, "DEBIAN/postinst");
    let at = |text: &str| postinst.find(text).unwrap_or_else(|| panic!("{text}: {postinst}"));
    assert!(at("py3compile -p acme /opt/acme") < at("adduser --system"));
    assert!(at("adduser --system") < at("deb-systemd-helper enable app.service"));

    // It runs wherever it is, through its link, and knows nothing of this system's modules.
    let moved = house.path("else where");
    fs::rename(raw.path().join("opt/acme"), &moved).unwrap();
    fs::create_dir(house.path("bin")).unwrap();
    std::os::unix::fs::symlink(moved.join("bin/app"), house.path("bin/app")).unwrap();
    let ran = output(house.path("bin/app").to_str().unwrap(), &[]);
    assert_eq!(ran.trim(), format!("app 1 {}", moved.display()));
    assert_eq!(output(moved.join("bin/app-tool").to_str().unwrap(), &[]).trim(), "tool 1");
    let python = moved.join("bin/python");
    let metadata = "import importlib.metadata as m
d = m.distribution('app')
missing = [f for f in d.files if not f.locate().exists()]
print(m.version('app'), missing, any('dist-packages' in p for p in __import__('sys').path))";
    assert_eq!(output(python.to_str().unwrap(), &["-c", metadata]).trim(), "1.0 [] False");
    // Nothing tells where it was made.
    let found =
        Command::new("grep").args(["-r", "-l"]).arg(house.dir.path()).arg(&moved).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "");
    for name in ["Bad_Name", "x"] {
        assert!(house.fails(&["app", "--bundle", name], 1).contains("is no package's name"));
    }
}

#[test]
fn rpms_are_verified_by_rpm_and_depend_on_each_other() {
    let house = house();
    let paths = house.built(&["app", "--rpm"]);
    assert_eq!(paths, ["debs/python3-app-1.0-1.noarch.rpm", "debs/python3-lib-1.5-1.noarch.rpm"]);
    let rpm = house.path(&paths[0]);
    let rpm = rpm.to_str().unwrap();
    assert!(output("rpm", &["-K", rpm]).contains("digests OK"));
    assert!(output("rpm", &["-qpR", rpm]).contains("python3-lib >= 1"));
    let files = output("rpm", &["-qpl", rpm]);
    assert!(files.contains("/usr/lib/python3.11/site-packages/app/__init__.py"), "{files}");
    assert!(!files.contains("dist-packages") && !files.contains("lintian"), "{files}");
    assert_eq!(output("rpm", &["-qp", "--scripts", rpm]), "");
    // rpm itself installs both, and what they hold runs.
    let root = house.path("root-of-rpm");
    fs::create_dir(&root).unwrap();
    let installed = Command::new("rpm")
        .args(["--root", root.to_str().unwrap(), "--dbpath", "/db", "--ignoreos", "--nodeps", "-i"])
        .args(paths.iter().map(|path| house.path(path)))
        .output()
        .unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let ran = Command::new("python3")
        .arg(root.join("usr/bin/app"))
        .env("PYTHONPATH", root.join("usr/lib/python3.11/site-packages"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&ran.stdout).starts_with("app 1"), "{ran:?}");
    assert_eq!(names(&house.path("debs")).len(), 2);
}
