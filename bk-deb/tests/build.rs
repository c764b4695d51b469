//! `bk-deb build` on a wheelhouse that the test makes, for a suite that it makes: no network.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Wheel, field, unpacked};

/// A wheelhouse, an archive with a suite, and everything that bk-deb keeps.
struct House {
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let house = House { dir: tempfile::tempdir().unwrap() };
        for name in ["wheels", "debs"] {
            fs::create_dir(house.path(name)).unwrap();
        }
        common::archive(&house.path("archive"));
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A wheel of one module, with requirements.
    fn wheel(&self, name: &str, version: &str, requires: &[&str]) -> PathBuf {
        let module = format!("{name}/__init__.py");
        self.add(Wheel::new(name, version, "py3-none-any").file(&module, "x = 1\n"), requires)
    }

    fn add(&self, wheel: Wheel, requires: &[&str]) -> PathBuf {
        let mut stem = wheel.file_name.split('-');
        let (name, version) = (stem.next().unwrap(), stem.next().unwrap());
        let mut metadata = format!(
            "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: A test of things.\n"
        );
        for requirement in requires {
            metadata += &format!("Requires-Dist: {requirement}\n");
        }
        wheel.dist_info("METADATA", metadata).write(&self.path("wheels"))
    }

    fn build(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bk-deb"));
        command
            .current_dir(self.dir.path())
            .args(["--root", "root", "build", "--no-index", "-f", "wheels", "-o", "debs"])
            .args(["--suite", "test", "--arch", "amd64", "--mirror"])
            .arg(self.path("archive"))
            .args(words);
        command
    }

    /// Runs a build that does what it should; the paths it prints.
    fn built(&self, words: &[&str]) -> Vec<String> {
        let output = self.build(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Runs a build that fails with a status; what it says.
    fn fails(&self, words: &[&str], status: i32) -> String {
        let output = self.build(words).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// All that is in `debs`, hidden files too.
    fn debs(&self) -> Vec<String> {
        names(&self.path("debs"))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_tree_is_built_and_each_path_printed() {
    let house = House::new();
    house.wheel("app", "1.0", &["lib[more]>=1.0,<3", "numpy>=2", "no; sys_platform == 'win32'"]);
    house.wheel("lib", "2.0", &["extra!=1.5; extra == 'more'"]);
    house.wheel("extra", "1.0rc1", &[]);
    house.wheel("numpy", "2.1.0", &[]);
    let paths = house.built(&["app", "--pre"]);
    assert_eq!(
        paths,
        [
            "debs/python3-app_1.0-1_all.deb",
            "debs/python3-extra_1.0~rc1-1_all.deb",
            "debs/python3-lib_2.0-1_all.deb",
            "debs/python3-numpy_2.1.0-1_all.deb",
        ]
    );
    let of = |at: usize, name: &str| field(&house.path(&paths[at]), name);
    // Debian's numpy has the epoch 1: without it ours would be older than every one of Debian's.
    assert_eq!(of(3, "Version"), "1:2.1.0-1");
    assert_eq!(
        of(0, "Depends"),
        "python3:any, python3-lib (>= 1), python3-lib (<< 3~), python3-lib+more (>= 1), \
         python3-lib+more (<< 3~), python3-numpy (>= 1:2)"
    );
    assert_eq!(of(2, "Provides"), "python3-lib+more (= 2.0-1)");
    assert_eq!(
        of(2, "Depends"),
        "python3:any, python3-extra (<< 1.5) | python3-extra (>= 1.5+post)"
    );
    assert_eq!(house.debs().len(), 4);
}

#[test]
fn records_are_lines_nul_ended_or_json() {
    let house = House::new();
    house.wheel("app", "1.0", &[]);
    let output = |word: &str| house.build(&["app", word]).output().unwrap().stdout;
    assert_eq!(output("-0"), b"debs/python3-app_1.0-1_all.deb\0");
    let json: serde_json::Value = serde_json::from_slice(&output("--json")).unwrap();
    assert_eq!(json["type"], "deb");
    assert_eq!(json["path"], "debs/python3-app_1.0-1_all.deb");
    assert_eq!(json["package"], "python3-app");
    assert_eq!(json["architecture"], "all");
    let size = house.path("debs/python3-app_1.0-1_all.deb").metadata().unwrap().len();
    assert_eq!(json["size"], size);
}

#[test]
fn a_dry_run_writes_nothing() {
    let house = House::new();
    house.wheel("app", "1.0", &["lib"]);
    house.wheel("lib", "2.0", &[]);
    assert_eq!(house.built(&["app", "--dry-run"]), ["python3-app 1.0-1", "python3-lib 2.0-1"]);
    assert!(house.debs().is_empty());
}

#[test]
fn folders_sdists_files_and_lists_are_built() {
    let house = House::new();
    house.wheel("lib", "2.0", &[]);
    let other = house.wheel("other", "3.0", &["lib"]);
    let project = house.path("project");
    fs::create_dir(&project).unwrap();
    // A build system of its own needs nothing from an index.
    fs::write(
        project.join("pyproject.toml"),
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
    )
    .unwrap();
    let backend = "import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = 'mine-1.0-py3-none-any.whl'
    with zipfile.ZipFile(folder + '/' + name, 'w') as z:
        z.writestr('mine.py', 'x = 1\\n')
        z.writestr('mine-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\nSummary: mine\\nRequires-Dist: lib\\n')
        z.writestr('mine-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        z.writestr('mine-1.0.dist-info/RECORD', '')
    return name
";
    fs::write(project.join("backend.py"), backend).unwrap();
    let sdist = house.path("mine-1.0.tar.gz");
    common::output(
        "tar",
        &[
            "-C",
            house.dir.path().to_str().unwrap(),
            "--transform=s/^project/mine-1.0/",
            "-czf",
            sdist.to_str().unwrap(),
            "project",
        ],
    );
    let list = house.path("list.txt");
    fs::write(&list, format!("{}\n", other.display())).unwrap();
    let expected =
        ["python3-lib_2.0-1_all.deb", "python3-mine_1.0-1_all.deb", "python3-other_3.0-1_all.deb"];
    for source in ["./project", "mine-1.0.tar.gz"] {
        house.built(&[source, "-r", "list.txt"]);
        assert_eq!(house.debs(), expected, "{source}");
        expected.iter().for_each(|deb| fs::remove_file(house.path("debs").join(deb)).unwrap());
    }
}

#[test]
fn what_cannot_be_had_is_named_and_the_others_are_built() {
    let house = House::new();
    house.wheel("app", "1.0", &[]);
    house.wheel("needy", "1.0", &["missing>=7"]);
    for bad in ["nowhere-to-be-had", "app>=99", "needy"] {
        let says = house.fails(&[bad], 1);
        assert!(says.contains(bad) && says.contains("hint: "), "{says}");
        assert!(house.debs().is_empty());
    }
    let says = house.fails(&["nowhere-to-be-had", "app"], 1);
    assert!(says.contains("nowhere-to-be-had"), "{says}");
    assert_eq!(house.debs(), ["python3-app_1.0-1_all.deb"]);
    assert!(house.fails(&["app ="], 2).contains("'app =' is no requirement"));
    assert!(house.fails(&[], 2).contains("nothing to build"));
}

#[test]
fn bad_wheels_are_named_and_the_others_are_built() {
    let house = House::new();
    house.wheel("app", "1.0", &[]);
    let cut = house.wheel("cut", "1.0", &[]);
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let slip = Wheel::new("slip", "1.0", "py3-none-any").file("../../etc/cron.d/x", "evil");
    let slip = house.add(slip, &[]);
    for (path, why) in [(&cut, "cut short"), (&slip, "../../etc/cron.d/x")] {
        let says = house.fails(&[path.to_str().unwrap(), "app"], 1);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(says.contains(name) && says.contains(why), "{says}");
        assert_eq!(house.debs(), ["python3-app_1.0-1_all.deb"]);
    }
}

#[test]
fn a_wrong_hash_is_refused() {
    let house = House::new();
    let good = house.wheel("good", "1.0", &[]);
    house.wheel("bad", "1.0", &[]);
    let sum = common::output("sha256sum", &[good.to_str().unwrap()]);
    let sum = sum.split(' ').next().unwrap();
    let text =
        format!("good==1.0 --hash=sha256:{sum}\nbad==1.0 --hash=sha256:{}\n", "0".repeat(64));
    fs::write(house.path("list.txt"), text).unwrap();
    let says = house.fails(&["-r", "list.txt"], 1);
    assert!(says.contains("bad-1.0-py3-none-any.whl") && says.contains("SHA-256"), "{says}");
    assert_eq!(house.debs(), ["python3-good_1.0-1_all.deb"]);
}

#[test]
fn a_source_that_does_not_build_shows_why() {
    let house = House::new();
    house.wheel("app", "1.0", &[]);
    let project = house.path("broken");
    fs::create_dir(&project).unwrap();
    fs::write(
        project.join("pyproject.toml"),
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
    )
    .unwrap();
    fs::write(project.join("backend.py"), "raise RuntimeError('no compiler today')\n").unwrap();
    let says = house.fails(&["./broken", "app"], 1);
    assert!(says.contains("broken'") && says.contains("no compiler today"), "{says}");
    assert_eq!(house.debs(), ["python3-app_1.0-1_all.deb"]);
}

#[test]
fn two_packages_with_one_path_are_found_before_anything_is_written() {
    let house = House::new();
    for name in ["one", "two"] {
        let wheel = Wheel::new(name, "1.0", "py3-none-any");
        house.add(wheel.file(&format!("{name}.py"), "").file("shared.py", ""), &[]);
    }
    let says = house.fails(&["one", "two"], 1);
    assert!(
        says.contains("'python3-one' and 'python3-two'") && says.contains("shared.py"),
        "{says}"
    );
    assert!(house.debs().is_empty());
    house.built(&["one", "two", "--exclude", "shared.py"]);
    assert_eq!(house.debs().len(), 2);
}

#[test]
fn what_is_given_twice_is_built_once() {
    let house = House::new();
    let path = house.wheel("app", "1.0", &[]);
    let path = path.to_str().unwrap();
    assert_eq!(house.built(&[path, path, "app"]), ["debs/python3-app_1.0-1_all.deb"]);
}

#[test]
fn names_can_be_told_and_requirements_left_out() {
    let house = House::new();
    house.wheel("app", "1.0", &["lib", "unwanted"]);
    house.wheel("lib", "2.0", &[]);
    house.wheel("unwanted", "2.0", &[]);
    let paths = house.built(&[
        "app",
        "--rename",
        "lib -> python3-library",
        "--delete",
        "unwanted",
        "-p",
        "0acme1",
    ]);
    assert_eq!(
        paths,
        ["debs/python3-app_1.0-0acme1_all.deb", "debs/python3-library_2.0-0acme1_all.deb"]
    );
    assert_eq!(field(&house.path(&paths[0]), "Depends"), "python3:any, python3-library");
    assert_eq!(field(&house.path(&paths[1]), "Provides"), "python3-lib (= 2.0-0acme1)");
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let house = House::new();
    house.wheel("app", "1.0", &["lib"]);
    house.wheel("lib", "2.0", &[]);
    let mut first = None;
    for (jobs, umask, zone, locale) in
        [("1", "022", "UTC", "C"), ("2", "077", "Asia/Tokyo", "de_DE.UTF-8")]
    {
        let build = house.build(&["app", "-j", jobs]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(build.get_program());
        command.args(build.get_args()).current_dir(house.dir.path());
        command.env("SOURCE_DATE_EPOCH", "1700000000").env("TZ", zone).env("LC_ALL", locale);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let all: Vec<Vec<u8>> = house
            .debs()
            .iter()
            .map(|deb| fs::read(house.path("debs").join(deb)).unwrap())
            .collect();
        assert_eq!(all.len(), 2);
        assert!(*first.get_or_insert(all.clone()) == all);
    }
    let root = unpacked(&house.path("debs/python3-app_1.0-1_all.deb"));
    let module = root.path().join("usr/lib/python3/dist-packages/app/__init__.py");
    let time = module.metadata().unwrap().modified().unwrap();
    assert_eq!(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_700_000_000);
}

/// A wheel that takes some time: what does not compress is written at the speed of the compressor.
fn large(house: &House) {
    // xorshift: no pattern that a compressor would find.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(64 << 20);
    while bytes.len() < 64 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    house.add(Wheel::new("large", "1.0", "py3-none-any").file("large/data.bin", bytes), &[]);
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    let house = House::new();
    large(&house);
    let debs = house.path("debs");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(&debs)
        .status()
        .unwrap();
    assert!(mount.success());
    let output = house.build(&["large"]).output().unwrap();
    let left = house.debs();
    common::output("umount", &[debs.to_str().unwrap()]);
    let says = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{says}");
    assert!(says.contains("large") && says.contains("No space left on device"), "{says}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn sigint_leaves_no_temporary_behind() {
    let house = House::new();
    large(&house);
    let hidden = |dir: &str| {
        let mut found = Vec::new();
        let mut folders = vec![house.path(dir)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().contains(".bk-") {
                    found.push(entry.path());
                }
                if entry.path().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        found
    };
    let mut child = house
        .build(&["large", "--compression", "xz:9"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // In whatever it is at: choosing versions, or compressing.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "it was done before it could be stopped");
    common::output("kill", &["-INT", &child.id().to_string()]);
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it does not stop");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.signal(), Some(2), "{status:?}");
    assert!(house.debs().is_empty(), "{:?}", house.debs());
    assert!(hidden("root").is_empty(), "{:?}", hidden("root"));
}

#[test]
fn configuration_is_read_from_bk_yaml() {
    let house = House::new();
    house.wheel("app", "1.0", &[]);
    fs::write(house.path("bk.yaml"), "deb:\n  build:\n    packaging-version: 7\n").unwrap();
    assert_eq!(house.built(&["app"]), ["debs/python3-app_1.0-7_all.deb"]);
    assert_eq!(house.built(&["app", "-p", "8"]), ["debs/python3-app_1.0-8_all.deb"]);
    fs::write(house.path("bk.yaml"), "deb:\n  packaging-versoin: 7\n").unwrap();
    assert!(house.fails(&["app"], 2).contains("did you mean 'packaging-version'?"));
}

/// What a build prints must be whole before its reader sees the end.
#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let house = House::new();
    house.wheel("app", "1.0", &[]);
    let mut child =
        house.build(&["app"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!(status.signal(), Some(13), "{status:?} {}", String::from_utf8_lossy(&stderr));
    assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
}
