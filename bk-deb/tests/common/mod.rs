//! Wheels made for a test, and what to ask of the packages that come of them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses a part of it"
)]

pub mod house;
pub mod index;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bk::Console;
use bk_deb::convert::{Built, Options, Package, convert};
use bk_deb::distro::shlibs::Installed;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;

/// A wheel to be written.
pub struct Wheel {
    pub file_name: String,
    members: Vec<(String, Vec<u8>, u32)>,
    record: bool,
}

impl Wheel {
    /// `NAME-VERSION-TAG.whl` with METADATA and WHEEL.
    pub fn new(name: &str, version: &str, tag: &str) -> Self {
        let metadata = format!(
            "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: A test of things.\n"
        );
        let wheel = Wheel {
            file_name: format!("{name}-{version}-{tag}.whl"),
            members: Vec::new(),
            record: true,
        };
        wheel
            .dist_info("METADATA", metadata)
            .dist_info("WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
    }

    fn stem(&self) -> String {
        self.file_name.split('-').take(2).collect::<Vec<_>>().join("-")
    }

    /// A file of `.dist-info`, in place of one that may be there.
    pub fn dist_info(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        let path = format!("{}.dist-info/{name}", self.stem());
        self.members.retain(|(known, ..)| *known != path);
        self.file(&path, content)
    }

    /// A file of `.data`.
    pub fn data(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        let path = format!("{}.data/{path}", self.stem());
        self.file(&path, content)
    }

    /// A file.
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.mode(path, content, 0o100644)
    }

    /// A file with a mode as in stat(2).
    pub fn mode(mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.members.push((path.to_owned(), content.into(), mode));
        self
    }

    /// Without RECORD.
    pub fn without_record(mut self) -> Self {
        self.record = false;
        self
    }

    /// Writes it into a folder.
    pub fn write(self, dir: &Path) -> PathBuf {
        let mut record = String::new();
        let own = format!("{}.dist-info/RECORD", self.stem());
        for (path, content, _) in &self.members {
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
            let quoted = path.replace('"', "\"\"");
            record += &format!("\"{quoted}\",sha256={hash},{}\n", content.len());
        }
        record += &format!("{own},,\n");
        let path = dir.join(&self.file_name);
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        let time = zip::DateTime::from_date_and_time(2024, 5, 6, 7, 8, 10).unwrap();
        let mut members = self.members;
        if self.record && !members.iter().any(|(path, ..)| *path == own) {
            members.push((own, record.into_bytes(), 0o100644));
        }
        for (path, content, mode) in &members {
            let options = SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Deflated)
                .last_modified_time(time);
            if mode & 0o170000 == 0o120000 {
                zip.add_symlink(path, String::from_utf8_lossy(content), options).unwrap();
            } else {
                zip.start_file(path, options.unix_permissions(*mode)).unwrap();
                zip.write_all(content).unwrap();
            }
        }
        zip.finish().unwrap();
        path
    }
}

/// A package for a distribution.
pub fn package(name: &str) -> Package {
    Package { name: format!("python3-{name}"), version: "1.0-1".into(), ..Package::default() }
}

/// Converts for this system.
pub fn build(wheel: &Path, package: &Package, options: &Options, out: &Path) -> bk::Result<Built> {
    let libraries = Installed::new(Path::new("/var/lib/dpkg/info"), "amd64").unwrap();
    convert(wheel, package, options, &libraries, out, &Console::silent())
}

/// Writes a wheel, converts it, and returns the package and what it is in.
pub fn built(wheel: Wheel) -> (Built, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let name = wheel.file_name.split('-').next().unwrap().to_lowercase();
    let path = wheel.write(dir.path());
    let built = build(&path, &package(&name), &Options::default(), dir.path()).unwrap();
    (built, dir)
}

/// What a program prints; it must succeed.
pub fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A field, as dpkg-deb reads it.
pub fn field(deb: &Path, name: &str) -> String {
    output("dpkg-deb", &["--field", deb.to_str().unwrap(), name]).trim_end().to_owned()
}

/// A package unpacked by dpkg-deb, control files under DEBIAN.
pub fn unpacked(deb: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    output("dpkg-deb", &["--raw-extract", deb.to_str().unwrap(), dir.path().to_str().unwrap()]);
    dir
}

/// The text of a file below a folder.
pub fn read(dir: &tempfile::TempDir, path: &str) -> String {
    let path = dir.path().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// An archive with the suite `test`: Python 3.11, and numpy with Debian's epoch.
pub fn archive(dir: &Path) {
    let packages = "Package: dpkg\nVersion: 1.21.22\n\nPackage: libc6\nVersion: 2.36-9\n\n\
                    Package: python3\nVersion: 3.11.2-1+b1\n\n\
                    Package: python3-magic\nVersion: 2:0.4.26-3\nArchitecture: all\n\
                    Depends: libmagic1 (>= 1:5.39), libjs-x, python3:any\n\n\
                    Package: python3-numpy\nVersion: 1:1.24.2-1\n\n\
                    Package: python3-repacked\nVersion: 1.0+dfsg-1\n";
    let suite = dir.join("dists/test");
    let index = suite.join("main/binary-amd64/Packages");
    std::fs::create_dir_all(index.parent().unwrap()).unwrap();
    bk::file::write(&index, packages).unwrap();
    let sum = output("sha256sum", &[index.to_str().unwrap()]);
    let sum = sum.split(' ').next().unwrap();
    let release = format!(
        "Codename: test\nComponents: main\nSHA256:\n {sum} {} main/binary-amd64/Packages\n",
        packages.len()
    );
    bk::file::write(&suite.join("InRelease"), release).unwrap();
}

/// Runs bk-deb, which must end with `status`; what it prints, and what it says.
pub fn bk_deb(words: &[&str], status: i32) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bk-deb")).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{words:?}: {output:?}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

/// Runs a command, which must succeed, and returns the most memory it had, in KiB, as the kernel
/// counts it (getrusage(2)).
pub fn peak(command: &Command) -> u64 {
    let script = "import os, sys
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
status, usage = os.wait4(child, 0)[1:]
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))";
    let mut measured = Command::new("python3");
    measured.args(["-c", script]).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        measured.current_dir(dir);
    }
    let output = measured.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    // What the command itself printed comes before.
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap().parse().unwrap()
}

/// A tree as dpkg-deb takes it: a program, a link to it, configuration, data and a script.
pub fn sample_tree(tree: &Path) {
    let write = |path: &str, text: &str, mode: u32| {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        bk::file::write(&path, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&path, mode).unwrap();
    };
    let control = "Package: tool\nVersion: 1.0-1\nArchitecture: all\nMaintainer: A <a@example.com>\n\
                   Depends: libc6\nDescription: a tool\n It does things.\n";
    write("DEBIAN/control", control, 0o644);
    write("DEBIAN/conffiles", "/etc/tool.conf\n", 0o644);
    write("DEBIAN/postinst", "#!/bin/sh\necho configured $1\n", 0o755);
    write("etc/tool.conf", "colour = blue\n", 0o644);
    write("usr/bin/tool", "#!/bin/sh\necho runs\n", 0o755);
    write("usr/share/tool/data", "data\n", 0o644);
    std::os::unix::fs::symlink("tool", tree.join("usr/bin/alias")).unwrap();
    // What the umask left is not what is tested.
    let folders = ["", "DEBIAN", "etc", "usr", "usr/bin", "usr/share", "usr/share/tool"];
    for folder in folders {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(tree.join(folder), mode).unwrap();
    }
}

/// A package of that tree, made by dpkg-deb.
pub fn sample(dir: &Path) -> PathBuf {
    let (tree, deb) = (dir.join("sample"), dir.join("tool_1.0-1_all.deb"));
    sample_tree(&tree);
    let (from, to) = (tree.to_str().unwrap(), deb.to_str().unwrap());
    output("dpkg-deb", &["-b", "--root-owner-group", from, to]);
    deb
}

/// All below a folder, sorted.
pub fn listing(dir: &Path) -> Vec<String> {
    let found = output("find", &[dir.to_str().unwrap(), "-mindepth", "1", "-printf", "%P\\n"]);
    let mut all: Vec<String> = found.lines().map(str::to_owned).collect();
    all.sort();
    all
}
