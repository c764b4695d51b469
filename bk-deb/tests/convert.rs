//! Wheels become packages: what dpkg-deb, Python and lintian say of the result.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bk_deb::convert::{Options, Package, installed_paths};
use bk_deb::debian::compression::Compression;
use common::{Wheel, build, built, field, output, package, read, unpacked};

const SITE: &str = "usr/lib/python3/dist-packages";

fn mode(dir: &tempfile::TempDir, path: &str) -> u32 {
    dir.path().join(path).metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_pure_wheel_is_for_all_machines_and_python_imports_it() {
    let entry_points =
        "[console_scripts]\na = a.cli:Main.run [x]\nb = a:f\n[gui_scripts]\nc = a:f\n";
    let (deb, _dir) = built(
        Wheel::new("a", "1.0", "py3-none-any")
            .file("a/__init__.py", "def f():\n    print('f runs')\n")
            .file(
                "a/cli.py",
                "class Main:\n    @staticmethod\n    def run():\n        print('run runs')\n",
            )
            .file("a/__pycache__/x.cpython-311.pyc", "old")
            .dist_info("entry_points.txt", entry_points),
    );
    assert_eq!(field(&deb.path, "Architecture"), "all");
    assert_eq!(field(&deb.path, "Depends"), "python3:any");
    assert_eq!(field(&deb.path, "Description").lines().next(), Some("test of things"));
    let root = unpacked(&deb.path);
    for (command, says) in [("a", "run runs"), ("b", "f runs"), ("c", "f runs")] {
        let path = root.path().join("usr/bin").join(command);
        assert_eq!(mode(&root, &format!("usr/bin/{command}")), 0o755);
        assert!(read(&root, &format!("usr/bin/{command}")).starts_with("#!/usr/bin/python3\n"));
        let run = Command::new("/usr/bin/python3")
            .arg(&path)
            .env("PYTHONPATH", root.path().join(SITE))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), says, "{run:?}");
        assert!(root.path().join(format!("usr/share/man/man1/{command}.1.gz")).exists());
    }
    assert!(!root.path().join(SITE).join("a/__pycache__").exists());
    assert!(deb.files.contains(&"usr/bin/a".to_owned()));
    assert_eq!(deb.size, deb.path.metadata().unwrap().len());
}

#[test]
fn importlib_metadata_finds_the_files_with_their_hashes() {
    let (deb, _dir) = built(
        Wheel::new("a", "1.0", "py3-none-any")
            .file("a/__init__.py", "")
            .data("scripts/x", "#!python\nprint('x')\n")
            .data("data/share/a/b c,d", "text"),
    );
    let root = unpacked(&deb.path);
    let check = "import importlib.metadata as m, hashlib, base64, sys\n\
        d = m.distribution('a')\n\
        assert d.read_text('INSTALLER') == 'debian\\n'\n\
        n = 0\n\
        for f in d.files:\n\
        \tif f.hash:\n\
        \t\tb = f.locate().read_bytes()\n\
        \t\th = base64.urlsafe_b64encode(hashlib.sha256(b).digest()).rstrip(b'=').decode()\n\
        \t\tassert (f.hash.value, f.size) == (h, len(b)), f\n\
        \t\tn += 1\n\
        print(n)\n";
    let run = Command::new("/usr/bin/python3")
        .args(["-c", check])
        .env("PYTHONPATH", root.path().join(SITE))
        .output()
        .unwrap();
    // METADATA, WHEEL, INSTALLER, the module, the script with its manual page, and the data.
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "7", "{run:?}");
}

#[test]
fn data_goes_where_debian_has_it_and_etc_is_conffiles() {
    let (deb, _dir) = built(
        Wheel::new("a", "1.0", "py3-none-any")
            .file("a.py", "")
            .data("data/etc/jupyter/a.json", "{}")
            .data("data/share/icons/a.svg", "<svg/>")
            .data("data/share/man/man1/a.1", ".TH A 1\n")
            .data("headers/a.h", "")
            .data("platlib/b.py", "")
            .mode(
                "a-1.0.data/scripts/long",
                "#!/bin/sh\n'''exec' /x/python3.11 \"$0\" \"$@\"\n' '''\nprint()\n",
                0o100644,
            )
            .mode("tool.py", "#!/usr/bin/env python\n", 0o100755)
            .mode("plain.txt", "text", 0o100755),
    );
    let root = unpacked(&deb.path);
    assert_eq!(read(&root, "DEBIAN/conffiles"), "/etc/jupyter/a.json\n");
    assert!(!read(&root, "DEBIAN/md5sums").contains("etc/jupyter"));
    assert_eq!(read(&root, "usr/bin/long"), "#!/usr/bin/python3\nprint()\n");
    assert_eq!(mode(&root, "usr/bin/long"), 0o755);
    assert_eq!(read(&root, &format!("{SITE}/tool.py")), "#!/usr/bin/python3\n");
    assert_eq!(mode(&root, &format!("{SITE}/tool.py")), 0o755);
    assert_eq!(mode(&root, &format!("{SITE}/plain.txt")), 0o644);
    for path in
        ["usr/include/python3.11/a/a.h", "usr/share/icons/a.svg", "usr/share/man/man1/a.1.gz"]
    {
        assert!(root.path().join(path).exists(), "{path}");
    }
    assert!(root.path().join(SITE).join("b.py").exists());
}

#[test]
fn an_extension_module_is_bound_to_its_python_and_libraries() {
    let zlib = output("find", &["/usr/lib/python3.11/lib-dynload", "-name", "_ctypes.*.so"]);
    let module = std::fs::read(zlib.trim()).unwrap();
    let (deb, _dir) = built(Wheel::new("a", "1.0", "cp311-cp311-manylinux_2_17_x86_64").mode(
        "a.so",
        module.clone(),
        0o100755,
    ));
    assert_eq!(field(&deb.path, "Architecture"), "amd64");
    assert_eq!(deb.path.file_name().unwrap(), "python3-a_1.0-1_amd64.deb");
    let depends = field(&deb.path, "Depends");
    assert!(depends.starts_with("python3 (>= 3.11~), python3 (<< 3.12), libc6 (>= "), "{depends}");
    assert!(depends.contains("libffi8 (>= "), "{depends}");
    assert_eq!(mode(&unpacked(&deb.path), &format!("{SITE}/a.so")), 0o644);
    let (deb, _dir) =
        built(Wheel::new("a", "1.0", "cp39-abi3-manylinux_2_17_x86_64").file("a.so", module));
    assert!(field(&deb.path, "Depends").starts_with("python3 (>= 3.9~), libc6"));
}

#[test]
fn namespaces_are_shared_without_a_file() {
    let (deb, _dir) = built(
        Wheel::new("zope.a", "1.0", "py3-none-any")
            .file("zope/__init__.py", "__import__('pkg_resources').declare_namespace(__name__)\n")
            .file("zope/a/__init__.py", "x = 1\n")
            .file("zope.a-1.0-nspkg.pth", "import sys\n")
            .file("other.pth", "import sys\n"),
    );
    let root = unpacked(&deb.path);
    assert!(!root.path().join(SITE).join("zope/__init__.py").exists());
    assert!(!root.path().join(SITE).join("zope.a-1.0-nspkg.pth").exists());
    assert!(root.path().join(SITE).join("zope/a/__init__.py").exists());
    assert!(root.path().join(SITE).join("other.pth").exists());
}

#[test]
fn what_programs_wrote_into_its_folders_goes_when_it_is_purged() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("system");
    let dpkg = |words: &[&str]| {
        let root = format!("--root={}", root.display());
        let forced = ["--force-depends", "--no-debsig", "--force-script-chrootless"];
        output("dpkg", &[&[root.as_str()], &forced[..], words].concat())
    };
    for folder in ["var/lib/dpkg/updates", "var/lib/dpkg/info"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    bk::file::write(&root.join("var/lib/dpkg/status"), "").unwrap();
    let wheel = |name: &str| Wheel::new(name, "1.0", "py3-none-any");
    let (mine, _mine) = built(
        wheel("mine")
            .file("mine/__init__.py", "")
            .file("mine/plugins/__init__.py", "")
            .file("space/mine/__init__.py", "")
            .file("both/__init__.py", "")
            .file("mine_too.py", ""),
    );
    let (other, _other) =
        built(wheel("other").file("both/other.py", "").file("space/other/__init__.py", ""));
    dpkg(&["--unpack", mine.path.to_str().unwrap(), other.path.to_str().unwrap()]);
    let site = root.join(SITE);
    for cache in ["mine/cache", "mine/plugins/a b", "space/mine/x", "both/x", "space/x"] {
        bk::file::write(&site.join(cache), "").unwrap();
    }
    dpkg(&["--purge", "python3-mine"]);
    let mut left = common::listing(&site);
    left.retain(|path| !path.contains("dist-info"));
    // What another package has too may be the other's cache.
    assert_eq!(
        left,
        [
            "both",
            "both/other.py",
            "both/x",
            "space",
            "space/other",
            "space/other/__init__.py",
            "space/x"
        ]
    );
}

#[test]
fn what_is_installed_is_known_before_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let wheel = Wheel::new("a", "1.0", "py3-none-any")
        .file("a.py", "")
        .file("tests/x.py", "")
        .dist_info("entry_points.txt", "[console_scripts]\na = a:f\n")
        .write(dir.path());
    let options = Options { exclude: vec!["tests/".into()], ..Options::default() };
    let paths = installed_paths(&wheel, &package("a"), &options).unwrap();
    let built = build(&wheel, &package("a"), &options, dir.path()).unwrap();
    assert!(paths.iter().all(|path| built.files.contains(path)), "{paths:?}");
    assert!(paths.contains(&"usr/bin/a".into()));
    assert!(!built.files.iter().any(|path| path.contains("tests")));
}

#[test]
fn bad_wheels_are_refused_with_the_reason_and_leave_nothing() {
    let plain = || Wheel::new("a", "1.0", "py3-none-any");
    let record = |text: &str| plain().file("a.py", "").dist_info("RECORD", text);
    for (wheel, reason) in [
        (plain().file("../evil.py", ""), "leaves its folder"),
        (plain().file("/etc/passwd", ""), "absolute"),
        (plain().file("a/./b.py", ""), "leaves its folder"),
        (plain().file("a//b.py", ""), "empty part"),
        (plain().file("a\nb.py", ""), "control character"),
        (plain().file("a\\b.py", ""), "backslash"),
        (plain().mode("link", "/etc/passwd", 0o120777), "is a link or a device"),
        (plain().file("a", "").file("a/b.py", ""), "a file and a folder"),
        (
            record("a.py,sha256=57DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"),
            "not the one in RECORD",
        ),
        (record("a.py,sha256=x,0\n"), "a hash that is none"),
        (record("a.py,nothing,0\n"), "hash of no kind"),
        (plain().dist_info("METADATA", "Name: b\nVersion: 1\n"), "its file name says 'a'"),
        (plain().dist_info("METADATA", ""), "no field 'Name'"),
        (plain().dist_info("WHEEL", "Wheel-Version: 2.0\n"), "its format is '2.0'"),
        (plain().dist_info("entry_points.txt", "[console_scripts]\n../x = a:f\n"), "is no command"),
        (Wheel::new("a", "1.0", "cp310-cp310-manylinux1_x86_64"), "not for Python 3.11"),
        (Wheel::new("a", "1.0", "cp311-cp311-win_amd64"), "not for Python 3.11 on amd64"),
        (
            plain().data("data/bin/x", "").data("scripts/x", ""),
            "two of its files would be '/usr/bin/x'",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = wheel.write(dir.path());
        let error = build(&path, &package("a"), &Options::default(), dir.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains("a-1.0-"), "{text}\nnot: {reason}");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "{reason}");
    }
}

#[test]
fn odd_wheels_are_converted_right() {
    let plain = || Wheel::new("a", "1.0", "py3-none-any").file("a.py", "");
    let crlf = b"Metadata-Version: 2.1\r\nName: a\r\nVersion: 1.0\r\nSummary: caf\xe9\r\nAuthor: J\xf6rg\r\n\r\n# A\r\n";
    for wheel in [
        plain().without_record(),
        plain().dist_info("METADATA", &crlf[..]),
        plain().file("A.py", ""),
        plain().file(&format!("{}/{}.py", "d".repeat(120), "f".repeat(200)), ""),
        plain().file("a b/100%/\u{e9}\u{4e16}.txt", "text"),
        plain().file("zeros", vec![0; 3 << 20]),
    ] {
        let (deb, _dir) = built(wheel);
        let listed = output("dpkg-deb", &["--contents", deb.path.to_str().unwrap()]);
        let files = listed.lines().filter(|line| line.starts_with('-')).count();
        assert_eq!(files, deb.files.len(), "{listed}");
    }
}

#[test]
fn the_same_wheel_gives_the_same_bytes_wherever() {
    let dir = tempfile::tempdir().unwrap();
    let wheel = Wheel::new("a", "1.0", "py3-none-any").file("a.py", "").write(dir.path());
    let out = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let files = out.each_ref().map(|out| {
        let built = build(&wheel, &package("a"), &Options::default(), out.path()).unwrap();
        std::fs::read(built.path).unwrap()
    });
    assert_eq!(files[0], files[1]);
    let options = Options { mtime: Some(1_000_000_000), ..Options::default() };
    let built = build(&wheel, &package("a"), &options, dir.path()).unwrap();
    let listed = output("dpkg-deb", &["--contents", built.path.to_str().unwrap()]);
    assert!(listed.lines().all(|line| line.contains("2001-09-09")), "{listed}");
}

#[test]
fn lintian_has_nothing_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let text = "MIT License\n\nCopyright (c) 2020 Somebody\n\nPermission is hereby granted, free of charge.\n";
    let metadata = "Metadata-Version: 2.4\nName: a\nVersion: 1.0\nSummary: A test of things.\n\
        License-Expression: MIT\nLicense-File: LICENSE\nProject-URL: Homepage, https://example.com\n\n\
        # A\n\nThis distribution is here to see what lintian says of it.\n";
    let wheel = Wheel::new("a", "1.0", "py3-none-any")
        .dist_info("METADATA", metadata)
        .dist_info("licenses/LICENSE", text)
        .dist_info("entry_points.txt", "[console_scripts]\na-command = a:f\n")
        .file("a/__init__.py", "def f():\n    pass\n")
        .data("data/etc/a.conf", "x\n")
        .write(dir.path());
    // lintian of Debian 12 knows no zstd in packages.
    let options = Options { compression: Compression::Gzip(6), ..Options::default() };
    let built = build(&wheel, &package("a"), &options, dir.path()).unwrap();
    assert_eq!(lintian(&built.path), "");
    // A name for which a line of the change log is too short.
    let name = "a_".repeat(30) + "name";
    let wheel = Wheel::new(&name, "1.0", "py3-none-any")
        .dist_info("METADATA", metadata.replace("Name: a\n", &format!("Name: {name}\n")))
        .dist_info("licenses/LICENSE", text)
        .file("a/__init__.py", "def f():\n    pass\n")
        .write(dir.path());
    let built = build(&wheel, &package("python3-long"), &options, dir.path()).unwrap();
    assert_eq!(lintian(&built.path), "");
}

#[test]
fn depends_that_would_be_too_long_are_said_by_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = |n: u32| {
        let name = format!("python3-something-with-a-name-as-long-as-azures-{n}");
        [format!("{name} (<< 2.{n}~)"), format!("{name} (>= 2)")]
    };
    let one = |count: u32| {
        let depends: Vec<String> = (0..count).flat_map(bounds).collect();
        let package = Package { depends: depends.clone(), ..package("a") };
        let wheel = Wheel::new("a", "1.0", "py3-none-any").file("a/__init__.py", "");
        let options = Options { compression: Compression::Gzip(6), ..Options::default() };
        let built = build(&wheel.write(dir.path()), &package, &options, dir.path()).unwrap();
        assert!(!lintian(&built.path).contains("field-too-long"));
        let fields = ["Depends", "Breaks"].map(|name| field(&built.path, name));
        let [there, breaks] = fields.each_ref().map(|text| text.split(", ").collect::<Vec<_>>());
        for relation in &depends {
            let broken = relation.replace("(<<", "(>=");
            // What is not below a version, and may not be there, is what is below it where it must be.
            let said = there.contains(&relation.as_str());
            assert_ne!(said, relation.contains("<<") && breaks.contains(&broken.as_str()));
        }
        fields
    };
    assert!(one(60)[1].lines().count() == 1);
    // Short enough as it is.
    assert_eq!(one(20)[1], "");
}

#[test]
fn lintian_warns_of_nothing_that_a_distribution_is_right_to_have() {
    let dir = tempfile::tempdir().unwrap();
    let text = "MIT License\n\nCopyright (c) 2020 Somebody\n";
    let wheel = |name: &str, rest: &[u8]| {
        let metadata = format!(
            "Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\nSummary: A test of things.\n\
             License-Expression: MIT\nLicense-File: LICENSE\n\
             Project-URL: Homepage, https://example.com\n\n\
             This distribution is here to see what lintian warns of.\n"
        );
        let wheel = Wheel::new(name, "1.0", "py3-none-any")
            .dist_info("METADATA", metadata)
            .dist_info("licenses/LICENSE", text)
            .data("scripts/its-script", "#!python\nprint(1)\n")
            .data("scripts/its-script.py", "#!python\nprint(1)\n")
            .data("scripts/its-completer", "complete -C its-script its\n")
            .data("scripts/its.cmd", "@echo off\n")
            .file("a/deploy/machine.sh", "#!/bin/sh\necho there\n")
            .mode("a/fixtures/spew.py", "#!<<PYTHON>>\nprint(1)\n", 0o100755)
            .file(
                "a/fixtures/racks.xml",
                "<racks><link href=\"http://10.60.12.7/racks\" rel=\"x\"/></racks>\n",
            )
            .dist_info("entry_points.txt", "[console_scripts]\na.py = a:f\n")
            .file("a/__init__.py", "def f():\n    pass\n")
            .file("a/template/.gitignore", "*.o\n")
            .file("a/fonts/DejaVuSans.ttf", "not really one")
            .file("a/webfonts/its-own.ttf", "not really one")
            .file("a/static/jquery-3.6.0.min.js", "/* not really it */\n")
            .file("a/data/hyph_de.dic", b"ISO8859-1\n.\xe4b1c\n.ab1s\n")
            .file(
                "a/theme/layout.html",
                "{% if id %}<script>'https://google-analytics.com/ga.js'</script>{% endif %}\n",
            )
            .file("a/data/pickle.gz", rest)
            .write(dir.path());
        let options = Options { compression: Compression::Gzip(6), ..Options::default() };
        lintian(&build(&wheel, &package(name), &options, dir.path()).unwrap().path)
    };
    assert_eq!(wheel("a", b"data of its own"), "");
    // One that gzip began, and did not end.
    let said = wheel("b", &[0x1f, 0x8b, 8, 0, 0]);
    assert!(said.lines().count() == 1 && said.contains("broken-gz"), "{said}");
}

fn lintian(deb: &Path) -> String {
    let output = Command::new("lintian")
        .args(["--allow-root", "--tag-display-limit", "0"])
        .arg(deb)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
