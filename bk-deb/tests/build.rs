//! `bk-deb build` on a wheelhouse that the test makes, for a suite that it makes: no network.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::house::{House, names};
use common::{Wheel, field, unpacked};

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

/// What converters spend their time on: a Python, tar, ar or dpkg-deb for each package.
#[test]
fn wheels_are_built_without_another_process() {
    let house = House::new();
    house.wheel("app", "1.0", &["lib"]);
    house.wheel("lib", "2.0", &[]);
    let build = house.build(&["app"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=execve", "-e", "signal=none", "-o", "trace"]);
    strace.current_dir(house.dir.path()).arg(build.get_program()).args(build.get_args());
    let output = strace.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(house.debs().len(), 2);
    let trace = fs::read_to_string(house.path("trace")).unwrap();
    // gpgv is what checks the suite's signature.
    let program = |line: &&str| line.contains("execve(") && !line.contains("/gpgv\"");
    let started: Vec<&str> = trace.lines().filter(program).collect();
    assert!(started.len() == 1 && started[0].contains("bk-deb"), "{started:#?}");
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

#[test]
fn nothing_is_made_twice() {
    let house = House::new();
    house.wheel("app", "1.0", &["lib"]);
    let lib = house.wheel("lib", "2.0", &[]);
    let unchanged = |words: &[&str]| -> Vec<bool> {
        let words = [&["app", "--json"], words].concat();
        let output = house.build(&words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let record = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        lines.lines().map(record).map(|r| r["unchanged"].as_bool().unwrap()).collect()
    };
    let app = house.path("debs/python3-app_1.0-1_all.deb");
    let inode = || std::os::unix::fs::MetadataExt::ino(&app.metadata().unwrap());
    assert_eq!(unchanged(&[]), [false, false]);
    let first = inode();
    assert_eq!(unchanged(&[]), [true, true]);
    assert_eq!(inode(), first);
    // Another option, another wheel, a package that someone changed or took away: made anew.
    assert_eq!(unchanged(&["--compression", "xz"]), [false, false]);
    assert_eq!(unchanged(&["--compression", "xz"]), [true, true]);
    assert_eq!(unchanged(&[]), [false, false]);
    fs::remove_file(lib).unwrap();
    house.wheel("lib", "2.0", &[]);
    assert_eq!(unchanged(&[]), [true, false]);
    fs::write(&app, "something else").unwrap();
    assert_eq!(unchanged(&[]), [false, true]);
    fs::remove_file(&app).unwrap();
    assert_eq!(unchanged(&[]), [false, true]);
    assert_eq!(unchanged(&["--no-cache"]), [false, false]);
}

#[test]
fn the_options_of_the_2011_tool_do_what_they_did() {
    let house = House::new();
    let wheel = |name: &str| {
        Wheel::new(name, "1.0", "py3-none-any")
            .file(&format!("{name}/__init__.py"), "x = 1\n")
            .file("tests/__init__.py", "")
            .file("tests/test_it.py", "x = 1\n")
    };
    house.add(wheel("app"), &["lib", "numpy>=1"]);
    house.add(wheel("lib"), &[]);
    house.wheel("numpy", "2.1.0", &[]);
    let said = house.fails(&["app"], 1);
    assert!(said.contains("'python3-app' and 'python3-lib' both have"), "{said}");
    assert!(said.contains("--conflict-module 'lib -> tests'"), "{said}");
    assert!(house.debs().is_empty());

    fs::write(house.path("LICENCE"), "Copyright 2011 The Packager\nDo what you want.\n").unwrap();
    let paths = house.built(&[
        "app",
        "-p",
        "01+2011",
        "--conflict-module",
        "lib -> tests",
        "--packager-name",
        "The Packager",
        "--packager-email",
        "packager@example.com",
        "--author-name",
        "The Author",
        "--author-email",
        "author@example.com",
        "--url",
        "https://example.com/app",
        "--license-file",
        "LICENCE",
        "--rename",
        "lib -> python3-library",
        "--delete",
        "numpy",
        "-x",
        "test_it.py",
    ]);
    assert_eq!(
        paths,
        ["debs/python3-app_1.0-01+2011_all.deb", "debs/python3-library_1.0-01+2011_all.deb"]
    );
    let (app, lib) = (house.path(&paths[0]), house.path(&paths[1]));
    assert_eq!(field(&app, "Maintainer"), "The Packager <packager@example.com>");
    assert_eq!(field(&app, "Homepage"), "https://example.com/app");
    assert_eq!(field(&lib, "Homepage"), "");
    assert_eq!(field(&app, "Depends"), "python3:any, python3-library");
    let (app, lib) = (unpacked(&app), unpacked(&lib));
    let copyright = common::read(&app, "usr/share/doc/python3-app/copyright");
    assert!(copyright.contains("Upstream-Contact: The Author <author@example.com>"), "{copyright}");
    assert!(copyright.contains("Do what you want."), "{copyright}");
    let tests = "usr/lib/python3/dist-packages/tests";
    assert_eq!(names(&app.path().join(tests)), ["__init__.py"]);
    assert!(!lib.path().join(tests).exists());

    // Debian's numpy does, and is not built; without it nothing but what is named is.
    let debians = ["--rename", "numpy -> python3-numpy", "--distro-dep", "python3-numpy"];
    let built =
        |word: &str| house.built(&[&["app", word, "--delete", "lib"], &debians[..]].concat());
    assert_eq!(built("--no-present"), ["debs/python3-app_1.0-1_all.deb"]);
    assert_eq!(built("--no-missing"), ["debs/python3-app_1.0-1_all.deb"]);
    let said = house.fails(&["app", "--no-missing"], 1);
    assert!(said.contains("lib"), "{said}");
}

#[test]
fn a_project_says_in_its_configuration_what_differs_per_package() {
    let house = House::new();
    house.wheel("app", "1.0", &["lib"]);
    house.add(
        Wheel::new("lib", "2.0", "py3-none-any").file("lib.py", "").file("docs/x.py", ""),
        &[],
    );
    let yaml = "deb:
  packages:
    lib:
      rename: python3-library
      section: libdevel
      conflicts: [python3-lib]
      replaces: [python3-lib]
      recommends: [python3-numpy]
      conflict-module: [docs]
";
    fs::write(house.path("bk.yaml"), yaml).unwrap();
    let paths = house.built(&["app"]);
    assert_eq!(paths[1], "debs/python3-library_2.0-1_all.deb");
    let lib = house.path(&paths[1]);
    assert_eq!(field(&lib, "Section"), "libdevel");
    assert_eq!(field(&lib, "Conflicts"), "python3-lib");
    assert_eq!(field(&lib, "Replaces"), "python3-lib");
    assert_eq!(field(&lib, "Recommends"), "python3-numpy");
    assert!(!unpacked(&lib).path().join("usr/lib/python3/dist-packages/docs").exists());
    fs::write(house.path("bk.yaml"), yaml.replace("section", "sektion")).unwrap();
    assert!(house.fails(&["app"], 2).contains("sektion"));
}

#[test]
fn a_file_of_the_distribution_is_no_surprise_to_dpkg() {
    let house = House::new();
    let app = Wheel::new("app", "1.0", "py3-none-any")
        .file("app.py", "x = 1\n")
        .dist_info("entry_points.txt", "[console_scripts]\njupyter = app:main\n");
    house.add(app, &["lib"]);
    house
        .add(Wheel::new("lib", "2.0", "py3-none-any").file("lib.py", "").file("moved.py", ""), &[]);
    // As apt-ftparchive writes it; /usr/bin/jupyter really is jupyter-core's in Debian.
    let contents = "usr/bin/jupyter python/jupyter-core\n\
                    usr/lib/python3/dist-packages/moved.py python/python3-app\n\
                    usr/lib/python3/dist-packages/lib.py python/python3-lib\n";
    house.publish("main/Contents-amd64", contents);

    // Without the index nothing is known of it.
    let paths = house.built(&["app"]);
    assert_eq!(field(&house.path(&paths[0]), "Conflicts"), "");
    let output = house.build(&["app", "--contents", "fetch"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(
            "'python3-app' and the distribution's 'jupyter-core' both have '/usr/bin/jupyter'"
        ) && said.contains("--exclude 'usr/bin/jupyter'"),
        "{said}"
    );
    let (app, lib) = (house.path(&paths[0]), house.path(&paths[1]));
    assert_eq!(field(&app, "Conflicts"), "jupyter-core");
    assert_eq!(field(&lib, "Conflicts"), "");
    assert_eq!(field(&lib, "Breaks"), "python3-app (<< 1.0-1)");
    assert_eq!(field(&lib, "Replaces"), "python3-app (<< 1.0-1)");
    // What was fetched once is looked into without being asked for.
    house.built(&["app"]);
    assert_eq!(field(&app, "Conflicts"), "jupyter-core");
    house.built(&["app", "--contents", "never"]);
    assert_eq!(field(&app, "Conflicts"), "");
    house.built(&["app", "-x", "usr/bin/jupyter"]);
    assert_eq!(field(&app, "Conflicts"), "");

    // Of what is there only that is made anew which other files of the distribution's concern.
    house.built(&["app"]);
    let inode = |deb| std::os::unix::fs::MetadataExt::ino(&fs::metadata(deb).unwrap());
    let (first, second) = (inode(&app), inode(&lib));
    house.built(&["app"]);
    assert_eq!((inode(&app), inode(&lib)), (first, second));
    house.publish("main/Contents-amd64", &contents.replace("jupyter-core", "other"));
    fs::remove_file(house.path("root/var/cache/buildkit/deb/distro/test-amd64.contents")).unwrap();
    house.built(&["app", "--contents", "fetch"]);
    assert_eq!(field(&app, "Conflicts"), "other");
    assert_eq!(inode(&lib), second);
}

#[test]
fn what_the_distribution_splits_is_replaced_as_a_whole() {
    let house = House::new();
    let split = Wheel::new("split", "2.0", "py3-none-any");
    let split = split.file("split.py", "").file("_backend.py", "").file("_lib.py", "");
    house.add(split, &[]);
    // As python-cffi and pandas are in Debian, and a package that has a file by chance.
    let suite = [
        ("python3-split", "split", "split.py", "python3-split-lib, python3-split-backend (<< 2)"),
        ("python3-split-lib", "split (1.0-1)", "_lib.py", ""),
        ("python3-split-backend", "split (1.0-1)", "_backend.py", ""),
        ("user", "user", "user.py", "python3-split-backend (>= 1)"),
    ];
    let (mut packages, mut contents) = (String::new(), String::new());
    packages += "Package: dpkg\nVersion: 1.21.22\n\nPackage: python3\nVersion: 3.11.2-1+b1\n\n\
                 Package: libc6\nVersion: 2.36-9\n\n";
    let root = house.path("system");
    let dpkg = |words: &[&str]| {
        let root = format!("--root={}", root.display());
        common::output("dpkg", &[&[&root, "--force-depends", "--no-debsig"], words].concat())
    };
    for dir in ["var/lib/dpkg/updates", "var/lib/dpkg/info"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    for (name, source, file, depends) in suite {
        let paragraph = format!(
            "Package: {name}\nVersion: 1.0-1\nArchitecture: all\nSource: {source}\n\
             Depends: {depends}\nMaintainer: A <a@example.com>\nDescription: x\n"
        )
        .replace("Depends: \n", "");
        packages += &format!("{paragraph}\n");
        contents += &format!("usr/lib/python3/dist-packages/{file} python/{name}\n");
        let tree = house.path(name);
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("usr/lib/python3/dist-packages")).unwrap();
        fs::write(tree.join("DEBIAN/control"), paragraph).unwrap();
        fs::write(tree.join("usr/lib/python3/dist-packages").join(file), "").unwrap();
        let deb = format!("{}.deb", tree.display());
        common::output("dpkg-deb", &["-b", "--root-owner-group", tree.to_str().unwrap(), &deb]);
        dpkg(&["--unpack", &deb]);
    }
    house.publish("main/binary-amd64/Packages", &packages);
    house.publish("main/Contents-amd64", &contents);

    let paths = house.built(&["split", "--contents", "fetch"]);
    let deb = house.path(&paths[0]);
    let parts = "python3-split-backend, python3-split-lib";
    // Beside the series that could have had names of their own.
    let parts = format!("python3-split-v0, python3-split-v1, {parts}");
    assert_eq!(field(&deb, "Conflicts"), parts);
    assert_eq!(field(&deb, "Replaces"), parts);
    assert_eq!(field(&deb, "Provides"), "python3-split-backend (= 2.0-1)");
    // dpkg takes the parts away, and finds nothing that is overwritten.
    dpkg(&["--unpack", deb.to_str().unwrap()]);
    let shown = ["-W", "--showformat=${Package} ${Version}\n"];
    let admin = format!("--admindir={}", root.join("var/lib/dpkg").display());
    let there = common::output("dpkg-query", &[&[admin.as_str()], &shown[..]].concat());
    assert_eq!(there, "python3-split 2.0-1\nuser 1.0-1\n");
}

#[test]
fn a_source_is_preferred_where_it_is_asked_for() {
    let house = House::new();
    house.add(Wheel::new("app", "1.0", "py3-none-any").file("app.py", "of = 'wheel'\n"), &[]);
    // The source of the same version, with a build system that needs nothing.
    let source = house.path("app-1.0");
    fs::create_dir(&source).unwrap();
    let settings =
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n";
    fs::write(source.join("pyproject.toml"), settings).unwrap();
    fs::write(source.join("PKG-INFO"), "Metadata-Version: 2.1\nName: app\nVersion: 1.0\n").unwrap();
    let backend = "import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = 'app-1.0-py3-none-any.whl'
    with zipfile.ZipFile(folder + '/' + name, 'w') as z:
        z.writestr('app.py', 'of = \"source\"\\n')
        z.writestr('app-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: app\\nVersion: 1.0\\nSummary: x\\n')
        z.writestr('app-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nTag: py3-none-any\\n')
        z.writestr('app-1.0.dist-info/RECORD', '')
    return name
";
    fs::write(source.join("backend.py"), backend).unwrap();
    let archive = house.path("wheels/app-1.0.tar.gz");
    let (from, to) = (house.dir.path().to_str().unwrap(), archive.to_str().unwrap());
    common::output("tar", &["-C", from, "-czf", to, "app-1.0"]);
    let of = |words: &[&str]| {
        let paths = house.built(words);
        common::read(&unpacked(&house.path(&paths[0])), "usr/lib/python3/dist-packages/app.py")
    };
    assert_eq!(of(&["app"]), "of = 'wheel'\n");
    assert_eq!(of(&["app", "--no-binary", "App"]), "of = \"source\"\n");
    assert_eq!(of(&["app", "--no-binary", ":all:"]), "of = \"source\"\n");
    assert_eq!(of(&["app", "--no-binary", "other"]), "of = 'wheel'\n");
    // Nothing is known to be inside of it.
    assert_eq!(of(&["app", "--no-binary", ":embedded:"]), "of = 'wheel'\n");
}

#[test]
fn libraries_inside_of_wheels_are_told_where_the_suite_has_them() {
    let house = House::new();
    let mut packages = fs::read_to_string(house.path("archive").join(PACKAGES)).unwrap();
    packages += "\nPackage: python3-app\nVersion: 1.0-1\nArchitecture: amd64\n\
                 Depends: libc6 (>= 2), libwidget2 (>= 2.1), python3\n\n\
                 Package: libwidget2\nVersion: 2.1-1\nArchitecture: amd64\nSource: widget\n\n\
                 Package: libwidget-dev\nVersion: 2.1-1\nArchitecture: amd64\nSource: widget\n";
    house.publish("main/binary-amd64/Packages", &packages);
    house.add(Wheel::new("app", "2.0", "py3-none-manylinux2014_x86_64").file("app.py", ""), &[]);
    fs::write(house.path("wheels/app-2.0.tar.gz"), "").unwrap();
    let said = |words: &[&str]| {
        let output = house.build(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, told) = said(&["app"]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("python3-app (libwidget2); --no-binary :embedded: builds"), "{told}");
    // It is not built against the libraries of a system of another suite.
    let (status, told) = said(&["app", "--no-binary", "other,:embedded:"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("the libraries of this system are not those of test on amd64"), "{told}");
    // One that is made for this system uses its libraries.
    house.add(Wheel::new("app", "3.0", "py3-none-linux_x86_64").file("app.py", ""), &[]);
    assert!(!said(&["app"]).1.contains("libwidget2"));
}

/// The suite's index of packages.
const PACKAGES: &str = "dists/test/main/binary-amd64/Packages";
