//! Wheels that are odd, broken or malicious: each becomes the right .deb, or is refused with the
//! package, the reason and the remedy, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::house::{House, names};
use common::{Wheel, field, output, read, unpacked};

const ANY: &str = "py3-none-any";

fn wheel(name: &str) -> Wheel {
    Wheel::new(name, "1.0", ANY).file(&format!("{name}.py"), "x = 1\n")
}

/// Makes a wheel with Python's zipfile, which does what the zip crate will not; `z` is the archive,
/// and `add` writes a member.
fn zipped(house: &House, name: &str, code: &str) -> PathBuf {
    let path = house.path("wheels").join(format!("{name}-1.0-{ANY}.whl"));
    let script = format!(
        "import sys, warnings, zipfile, struct
warnings.simplefilter('ignore')
path = sys.argv[1]
def add(name, data, kind=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10))
    info.compress_type = kind
    z.writestr(info, data)
with zipfile.ZipFile(path, 'w') as z:
    add('{name}-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\nSummary: x\\n')
    add('{name}-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nTag: {ANY}\\n')
{code}
"
    );
    output("python3", &["-c", &script, path.to_str().unwrap()]);
    path
}

/// The package is refused: it is named, so is the reason, and there is a remedy; the package beside
/// it is built, and no other file is left.
fn refused(house: &House, path: &Path, reason: &str) {
    house.wheel("good", "1.0", &[]);
    let said = house.fails(&[path.to_str().unwrap(), "good"], 1);
    let name = path.file_name().unwrap().to_str().unwrap();
    let stem = name.split('-').next().unwrap();
    assert!(said.contains(name) || said.contains(&format!("'{stem}'")), "{stem}: {said}");
    assert!(said.contains(reason), "{stem}: {reason}: {said}");
    assert!(said.contains("  hint: "), "{stem}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(house.debs(), ["python3-good_1.0-1_all.deb"], "{stem}");
    assert!(!house.path("evil").exists() && !Path::new("/tmp/bk-evil").exists());
}

#[test]
fn what_wants_out_or_is_not_one_thing_is_refused() {
    let house = House::new();
    for (name, member, reason) in [
        ("slip", "../../../evil", "leaves its folder"),
        ("absolute", "/tmp/bk-evil", "has an absolute path"),
        ("inside", "slip/../../evil", "leaves its folder"),
        ("backslash", "a\\b.py", "has a backslash in its name"),
        ("newline", "a\nb.py", "has a control character in its name"),
        ("empty", "a//b.py", "has an empty part in its path"),
        ("long", &format!("{}.py", "n".repeat(300)), "has a too long name"),
    ] {
        let path = house.add(wheel(name).file(member, "evil"), &[]);
        refused(&house, &path, reason);
    }
    let code = "    add('twice.py', 'a'); add('twice.py', 'b')";
    refused(&house, &zipped(&house, "twice", code), "is in it twice");
    let both = wheel("both").file("a", "x").file("a/b", "x");
    refused(&house, &house.add(both, &[]), "is a file and a folder");
    let link = wheel("link").mode("evil", "/etc/passwd", 0o120777);
    refused(&house, &house.add(link, &[]), "is a link or a device");
    let script = wheel("entry").dist_info("entry_points.txt", "[console_scripts]\n../evil = a:b\n");
    refused(&house, &house.add(script, &[]), "is no command");
}

#[test]
fn what_is_made_to_fill_the_machine_is_refused() {
    let house = House::new();
    // 2 GiB of zeros in 2 MB.
    let bomb = "    with z.open('bomb.bin', 'w', force_zip64=True) as f:
        z.compresslevel = 9
        for _ in range(512): f.write(bytes(4 << 20))";
    let code = bomb.replace("z.open('bomb.bin'", "z.open(zipinfo('bomb.bin')");
    let code = format!(
        "    def zipinfo(name):
        i = zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10)); i.compress_type = zipfile.ZIP_DEFLATED; return i\n{code}"
    );
    refused(&house, &zipped(&house, "bomb", &code), "times its own size");
    let large = house.add(wheel("large").file("large.bin", vec![b'x'; 3 << 20]), &[]);
    house.wheel("good", "1.0", &[]);
    let said = house.fails(&[large.to_str().unwrap(), "--max-size", "1M"], 1);
    assert!(said.contains("more than 1048576") && said.contains("--max-size"), "{said}");
    // A file that says it is small, and is not.
    let code = "    add('liar.py', b'x' * 100000)
data = bytearray(open(path, 'rb').read())
at = data.rfind(b'PK\\x01\\x02')
data[at + 24:at + 28] = struct.pack('<I', 10)
open(path, 'wb').write(data)";
    refused(&house, &zipped(&house, "liar", code), "liar.py");
}

#[test]
fn what_is_damaged_or_no_wheel_is_refused() {
    let house = House::new();
    let whole = house.add(wheel("cut"), &[]);
    let bytes = fs::read(&whole).unwrap();
    fs::write(&whole, &bytes[..bytes.len() * 2 / 3]).unwrap();
    refused(&house, &whole, "not a zip archive, or cut short");
    let text = house.path("wheels").join(format!("text-1.0-{ANY}.whl"));
    fs::write(&text, "hello").unwrap();
    refused(&house, &text, "not a zip archive");
    let record = "hash.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,6\n";
    let hash = wheel("hash").dist_info("RECORD", record);
    refused(&house, &house.add(hash, &[]), "its sha256 is not the one in RECORD");
    let code = "    add('crc.py', b'x = 1')
data = bytearray(open(path, 'rb').read())
at = data.find(b'crc.py') + len('crc.py')
data[at + 1] ^= 0xff
open(path, 'wb').write(data)";
    refused(&house, &zipped(&house, "crc", code), "crc.py");
    for (name, file, content, reason) in [
        ("noversion", "METADATA", "Metadata-Version: 2.1\nName: noversion\n", "no field 'Version'"),
        ("future", "WHEEL", "Wheel-Version: 2.0\nTag: py3-none-any\n", "its format is '2.0'"),
        ("other", "METADATA", "Name: someone\nVersion: 1.0\n", "its METADATA 'someone'"),
        ("record", "RECORD", "record.py,sha256,6\n", "its RECORD has a hash of no kind"),
    ] {
        let path = Wheel::new(name, "1.0", ANY).file("x.py", "").dist_info(file, content);
        refused(&house, &path.write(&house.path("wheels")), reason);
    }
    let none = house.path("wheels").join(format!("none-1.0-{ANY}.whl"));
    output(
        "python3",
        &[
            "-c",
            "import sys, zipfile; zipfile.ZipFile(sys.argv[1], 'w').writestr('none.py', '')",
            none.to_str().unwrap(),
        ],
    );
    refused(&house, &none, "no .dist-info folder with METADATA");
}

#[test]
fn what_is_not_for_the_target_is_refused() {
    let house = House::new();
    for tag in [
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "cp311-cp311-win_amd64",
        "py2-none-any",
    ] {
        let path = house.add(Wheel::new("tagged", "1.0", tag).file("tagged.py", ""), &[]);
        refused(&house, &path, "no wheel of 'tagged 1.0' runs on Python 3.11 on amd64");
        fs::remove_file(path).unwrap();
    }
    let metadata = "Metadata-Version: 2.1\nName: newer\nVersion: 1.0\nRequires-Python: >=3.12\n";
    let path = wheel("newer").dist_info("METADATA", metadata).write(&house.path("wheels"));
    refused(&house, &path, "requires Python >=3.12");
    let path = house.add(wheel("requirement"), &["not a requirement !!"]);
    refused(&house, &path, "requirement");

    // dpkg keeps an epoch in an int.
    let path = house.add(Wheel::new("epochal", "2147483648!1.0", ANY).file("epochal.py", ""), &[]);
    refused(&house, &path, "its epoch is no number up to 2147483647");

    // A lock whose hash is another's, and one that is right.
    let good = house.wheel("locked", "1.0", &[]);
    let sum = output("sha256sum", &[good.to_str().unwrap()]);
    let lock = |sum: &str| {
        let text = format!(
            "lock-version = '1.0'\ncreated-by = 'a test'\n[[packages]]\nname = 'locked'\nversion = '1.0'\n\
             [[packages.wheels]]\nname = 'locked-1.0-py3-none-any.whl'\npath = 'wheels/locked-1.0-py3-none-any.whl'\n\
             hashes = {{sha256 = '{sum}'}}\n"
        );
        fs::write(house.path("pylock.toml"), text).unwrap();
    };
    lock(&"0".repeat(64));
    let said = house.fails(&["pylock.toml"], 1);
    assert!(
        said.contains("'locked'") && said.contains("is not the file that was locked"),
        "{said}"
    );
    assert!(said.contains("make the lock anew"), "{said}");
    lock(&sum[..64]);
    assert_eq!(house.built(&["pylock.toml"]), ["debs/python3-locked_1.0-1_all.deb"]);
}

/// What is built of a wheel, which must satisfy dpkg, and our own check.
fn right(house: &House, path: &Path) -> (PathBuf, String) {
    let out = house.build(&[path.to_str().unwrap(), "--no-deps"]).output().unwrap();
    assert!(out.status.success(), "{}: {out:?}", path.display());
    let deb = house.path(String::from_utf8(out.stdout).unwrap().trim());
    let checked =
        Command::new(env!("CARGO_BIN_EXE_bk-deb")).arg("check").arg(&deb).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let raw = unpacked(&deb);
    let sums = Command::new("md5sum")
        .args(["--quiet", "-c", "DEBIAN/md5sums"])
        .current_dir(raw.path())
        .output()
        .unwrap();
    assert!(sums.status.success(), "{sums:?}");
    (deb, String::from_utf8(out.stderr).unwrap())
}

#[test]
fn odd_versions_become_debians() {
    let house = House::new();
    for (version, debian, file) in [
        ("2!1.0", "2:1.0-1", "1.0-1"),
        ("1.0+cu118.1", "1.0+0.cu118.1-1", "1.0+0.cu118.1-1"),
        ("1.0rc1", "1.0~rc1-1", "1.0~rc1-1"),
        ("1.0.post2.dev3", "1.0+post2~dev3-1", "1.0+post2~dev3-1"),
        ("0", "0-1", "0-1"),
    ] {
        let path = house.add(Wheel::new("odd", version, ANY).file("odd.py", ""), &[]);
        let (deb, _) = right(&house, &path);
        assert_eq!(field(&deb, "Version"), debian);
        assert!(deb.ends_with(format!("python3-odd_{file}_all.deb")), "{deb:?}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn text_of_any_kind_becomes_a_clean_description() {
    let house = House::new();
    let metadata = |name: &str, rest: &[u8]| {
        let head = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
        let path = wheel(name).dist_info("METADATA", [head.as_bytes(), rest].concat());
        path.write(&house.path("wheels"))
    };
    let (deb, _) =
        right(&house, &metadata("latin", b"Summary: caf\xe9\nAuthor: Andr\xe9\n\nNa\xefve.\n"));
    assert!(
        field(&deb, "Description").starts_with("café (Python 3)\n"),
        "{}",
        field(&deb, "Description")
    );
    let crlf = b"Summary: lines\r\nLicense: MIT\r\n\r\nOne.\r\n\r\nTwo.\r\n";
    let (deb, _) = right(&house, &metadata("crlf", crlf));
    assert!(!field(&deb, "Description").contains('\r'));
    assert!(field(&deb, "Description").starts_with("lines (Python 3)\n"));
    let html = b"Summary: <div align=\"center\">A tool</div>\nDescription-Content-Type: text/markdown\n\n\
                 <div align=\"center\">\n<img src=\"x.png\">\n</div>\n\n# Title\n\nIt *does* things.\n";
    let (deb, _) = right(&house, &metadata("html", html));
    let text = field(&deb, "Description");
    assert!(
        text.contains("It does things.") && !text.contains("<div") && !text.contains("<img"),
        "{text}"
    );
    let (deb, _) = right(&house, &metadata("silent", b""));
    assert!(!field(&deb, "Description").is_empty());
    let bidi = "Summary: right\u{202e}left \u{1b}[31mred\nKeywords: a\n\n\u{0}\u{7}\u{feff}x\n";
    let (deb, _) = right(&house, &metadata("control", bidi.as_bytes()));
    let text = field(&deb, "Description");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn odd_names_stay_what_they_are() {
    let house = House::new();
    let deep = format!("deep/{}/{}/x.py", "d".repeat(100), "e".repeat(100));
    let odd = [
        "a b/c d.txt",
        "a b/100%.txt",
        "a b/ünï-文字.txt",
        "a b/quo\"te,comma.txt",
        "a b/$(x) `y`;'z'.txt",
    ];
    let mut wheel =
        wheel("named").file(&deep, "x = 1\n").file("named/UP.txt", "1").file("named/up.txt", "2");
    for name in odd {
        wheel = wheel.file(name, "x\n");
    }
    let (deb, said) = right(&house, &house.add(wheel, &[]));
    assert!(said.contains("only case keeps"), "{said}");
    let raw = unpacked(&deb);
    let site = raw.path().join("usr/lib/python3/dist-packages");
    for name in odd.iter().copied().chain([deep.as_str(), "named/UP.txt", "named/up.txt"]) {
        assert!(site.join(name).exists(), "{name}");
    }
    // Python finds every one of them by its RECORD, with its hash.
    let script = "import importlib.metadata, sys
sys.path.insert(0, sys.argv[1])
files = importlib.metadata.distribution('named').files
print(len(files), [str(f) for f in files if not f.locate().exists()])";
    let found = output("python3", &["-c", script, site.to_str().unwrap()]);
    assert!(found.trim().ends_with("[]"), "{found}");
}

#[test]
fn what_is_missing_or_in_a_circle_is_no_obstacle() {
    let house = House::new();
    let path = house.add(wheel("norecord").without_record(), &[]);
    let (deb, said) = right(&house, &path);
    assert!(said.contains("it has no RECORD"), "{said}");
    let record = "usr/lib/python3/dist-packages/norecord-1.0.dist-info/RECORD";
    assert!(read(&unpacked(&deb), record).contains("norecord.py,sha256="));

    house.wheel("hen", "1.0", &["egg>=1"]);
    house.wheel(
        "egg",
        "1.0",
        &["hen>=1", "egg[shell]; extra == 'all'", "hen[wing]; extra == 'shell'"],
    );
    let paths = house.built(&["egg[all]"]);
    assert_eq!(paths, ["debs/python3-egg_1.0-1_all.deb", "debs/python3-hen_1.0-1_all.deb"]);
    assert_eq!(field(&house.path(&paths[1]), "Depends"), "python3:any, python3-egg (>= 1)");
    assert!(names(&house.path("debs")).iter().all(|name| name.ends_with(".deb")));
}

#[test]
fn large_members_are_streams_from_end_to_end() {
    /// What a build of any tree may have, in KiB.
    const LIMIT: u64 = 128 << 10;
    let house = House::new();
    // Not compressed, nor do they need to be: what is held of a member is held of this one, too.
    for (name, file, start, size) in [
        ("big", "big.bin", "", 300),
        ("other", "other.bin", "", 150),
        ("native", "native.so", "\\x7fELF", 150),
        ("small", "small.so", "\\x7fELF", 3),
    ] {
        let code = format!(
            "    with z.open(zipfile.ZipInfo('{file}', (2024, 5, 6, 7, 8, 10)), 'w') as f:
        f.write(b'{start}')
        for _ in range({size}): f.write(bytes(1 << 20))"
        );
        zipped(&house, name, &code);
    }
    for compression in ["gzip", "zstd"] {
        let words = ["--compression", compression, "-p", compression];
        let alone = common::peak(&house.build(&[&["big"], &words[..]].concat()));
        assert!(alone <= LIMIT, "{compression}: {alone} KiB");
        let several = [&["-j2", "native", "other", "small"], &words[..]].concat();
        let together = common::peak(&house.build(&several));
        assert!(together <= LIMIT, "{compression}, two at once: {together} KiB");
        let debs = ["big", "native", "other", "small"]
            .map(|name| format!("python3-{name}_1.0-{compression}_all.deb"));
        assert_eq!(house.debs(), debs);
        let big = house.path(&format!("debs/{}", debs[0]));
        let installed: u64 = field(&big, "Installed-Size").parse().unwrap();
        assert!(installed > 300 * 1024, "{installed}");
        fs::remove_dir_all(house.path("debs")).unwrap();
    }
}

/// Whatever names a file that is not there says what may have been meant.
#[test]
fn what_is_not_there_has_a_hint() {
    let house = House::new();
    house.wheel("good", "1.0", &[]);
    fs::write(house.path("wanted.txt"), "good\n").unwrap();
    let name = "flask' or 'flask>=3";
    for (words, hint) in [
        (&["nowhere.whl"][..], name),
        (&["./nowhere"], name),
        (&["nothing/"], name),
        (&["no/such"], "there is no folder 'no'"),
        (&[&format!("wheels/goof-1.0-{ANY}.whl")], "did you mean 'wheels/good-1.0-"),
        (&["./wnated.txt"], "did you mean './wanted.txt'?"),
        (&["wanted.txt"], "give lists of requirements with -r"),
        (&["-r", "wnated.txt"], "did you mean 'wanted.txt'?"),
        (&["uv.lock"], "uv lock"),
        (&["-r", "uv.lock"], "uv lock"),
    ] {
        let said = house.fails(words, 1);
        assert!(said.contains("  hint: ") && said.contains(hint), "{words:?}: {said}");
    }
    let folder = house.path("wheels");
    let here = folder.to_str().unwrap();
    fs::write(folder.join("a.deb"), "").unwrap();
    for command in ["info", "contents", "check", "diff", "convert", "pack"] {
        for (file, hint) in [("b.deb", "did you mean '"), ("nowhere", "name a")] {
            let path = format!("{here}/{file}");
            let both = [command, &path, &path];
            let words = if command == "diff" { &both[..] } else { &both[..2] };
            let output = Command::new(env!("CARGO_BIN_EXE_bk-deb")).args(words).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && said.contains(file), "{words:?}: {said}");
            assert!(said.contains(&format!("  hint: {hint}")), "{words:?}: {said}");
        }
    }
}
