//! Other targets than this system: suites, architectures and Pythons, from archives the test makes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;
use std::path::Path;

use common::house::House;
use common::{Wheel, field, output};

/// An archive with a suite of these packages, by component and architecture.
fn archive(dir: &Path, suite: &str, indexes: &[(&str, &str, &str)]) {
    let base = dir.join("dists").join(suite);
    let mut sums = String::new();
    let mut components: Vec<&str> = Vec::new();
    for (component, arch, packages) in indexes {
        let name = format!("{component}/binary-{arch}/Packages.gz");
        let path = base.join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let plain = path.with_extension("");
        fs::write(&plain, packages).unwrap();
        output("gzip", &["-n", plain.to_str().unwrap()]);
        let sum = output("sha256sum", &[path.to_str().unwrap()]);
        let size = path.metadata().unwrap().len();
        sums += &format!(" {} {size} {name}\n", &sum[..64]);
        if !components.contains(component) {
            components.push(component);
        }
    }
    let release = format!(
        "Origin: Ubuntu\nCodename: {suite}\nComponents: {}\nSHA256:\n{sums}",
        components.join(" ")
    );
    fs::write(base.join("InRelease"), release).unwrap();
}

/// Ubuntu 24.04 as far as it matters: Python 3.12, a newer dpkg and C library, two components.
fn noble(house: &House) {
    let main = "Package: dpkg\nVersion: 1.22.6ubuntu6\n\nPackage: libc6\nVersion: 2.39-0ubuntu8\n\n\
                Package: python3\nVersion: 3.12.3-0ubuntu2\n\nPackage: python3.12\nVersion: 3.12.3-1\n";
    let universe = "Package: python3-click\nVersion: 8.1.6-2\n";
    archive(
        &house.path("ubuntu"),
        "noble",
        &[
            ("main", "amd64", main),
            ("universe", "amd64", universe),
            ("main", "arm64", main),
            ("universe", "arm64", universe),
        ],
    );
}

/// A package with an extension for several machines and Pythons, and requirements that tell which one
/// was meant.
fn native(house: &House) {
    for (python, platform) in [
        ("cp311", "manylinux_2_17_x86_64"),
        ("cp312", "manylinux_2_17_x86_64"),
        ("cp312", "manylinux_2_17_aarch64"),
        ("cp313", "manylinux_2_17_x86_64"),
        ("cp312", "manylinux_2_99_x86_64"),
    ] {
        let tag = format!("{python}-{python}-{platform}");
        let wheel = Wheel::new("native", "1.0", &tag).file("native.py", format!("tag = '{tag}'\n"));
        let requires =
            ["arm; platform_machine == 'aarch64'", "new; python_version >= '3.13'", "click>=8"];
        house.add(wheel, &requires);
    }
    for name in ["arm", "new", "click"] {
        house.wheel(name, "8.0", &[]);
    }
}

fn built(house: &House, words: &[&str]) -> Vec<String> {
    // The last of two options of the same name counts.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bk-deb"));
    command
        .current_dir(house.dir.path())
        .args(["--root", "root", "build", "--no-index", "-f", "wheels", "-o", "debs"])
        .args(["--suite", "noble", "--mirror"])
        .arg(house.path("ubuntu"))
        .args(["--rename", "click -> python3-click", "--distro-dep", "python3-click", "native"])
        .args(words);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn another_suite_has_its_own_python_compression_and_packages() {
    let house = House::new();
    noble(&house);
    native(&house);
    // Click is in universe, and the wheel for a C library of the future is not taken.
    assert_eq!(built(&house, &["--arch", "amd64"]), ["debs/python3-native_1.0-1_amd64.deb"]);
    let deb = house.path("debs/python3-native_1.0-1_amd64.deb");
    assert_eq!(
        field(&deb, "Depends"),
        "python3 (>= 3.12~), python3 (<< 3.13), python3-click (>= 8)"
    );
    let members = output("ar", &["t", deb.to_str().unwrap()]);
    assert_eq!(
        members.lines().collect::<Vec<_>>(),
        ["debian-binary", "control.tar.zst", "data.tar.zst"]
    );
    let module = common::read(&common::unpacked(&deb), "usr/lib/python3/dist-packages/native.py");
    assert_eq!(module, "tag = 'cp312-cp312-manylinux_2_17_x86_64'\n");
}

#[test]
fn another_architecture_gets_its_own_wheels_and_markers() {
    let house = House::new();
    noble(&house);
    native(&house);
    let paths = built(&house, &["--arch", "arm64"]);
    assert_eq!(paths, ["debs/python3-arm_8.0-1_all.deb", "debs/python3-native_1.0-1_arm64.deb"]);
    let deb = house.path(&paths[1]);
    assert_eq!(field(&deb, "Architecture"), "arm64");
    assert!(field(&deb, "Depends").contains("python3-arm"));
}

#[test]
fn another_python_is_what_markers_and_tags_are_held_against() {
    let house = House::new();
    noble(&house);
    native(&house);
    let paths = built(&house, &["--arch", "amd64", "--python", "3.13"]);
    assert_eq!(paths, ["debs/python3-native_1.0-1_amd64.deb", "debs/python3-new_8.0-1_all.deb"]);
    let depends = field(&house.path(&paths[0]), "Depends");
    assert!(depends.starts_with("python3 (>= 3.13~), python3 (<< 3.14)"), "{depends}");
}

#[test]
fn apt_takes_an_older_series_where_that_is_required() {
    let house = House::new();
    house.wheel("app", "1.0", &["numbers<2", "lib"]);
    house.wheel("lib", "1.0", &["numbers[fast]>=1"]);
    house.wheel("numbers", "1.5", &["fast; extra == 'fast'"]);
    house.wheel("numbers", "2.0", &[]);
    house.wheel("fast", "1.0", &[]);
    let paragraph = |name: &str, version: &str, more: &str| {
        let sum = "0".repeat(64);
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{more}Filename: ./x.deb\n\
             Size: 1\nSHA256: {sum}\nMaintainer: A <a@example.com>\nDescription: x\n\n"
        )
    };
    let suite = paragraph("dpkg", "1.22.6", "")
        + &paragraph("python3", "3.12.3-1", "Multi-Arch: allowed\n")
        + &paragraph("python3-numbers", "2:2.0-1", "")
        + &paragraph("user", "1.0-1", "Depends: python3-numbers (>= 2:1)\n");
    archive(&house.path("ubuntu"), "noble", &[("main", "amd64", &suite)]);
    let mut build = std::process::Command::new(env!("CARGO_BIN_EXE_bk-deb"));
    build.current_dir(house.dir.path());
    build.args(["--root", "root", "build", "--no-index", "-f", "wheels", "-o", "debs", "--all"]);
    build.args(["--suite", "noble", "--arch", "amd64", "--mirror"]).arg(house.path("ubuntu"));
    let built = build.arg("app").output().unwrap();
    assert!(built.status.success(), "{built:?}");

    // apt itself, with nothing installed.
    let debs = house.path("debs");
    for (folder, index) in [
        ("debs", output("apt-ftparchive", &["packages", debs.to_str().unwrap()])),
        ("suite", suite),
    ] {
        fs::create_dir_all(house.path(folder)).unwrap();
        fs::write(house.path(folder).join("Packages"), index).unwrap();
    }
    for folder in ["apt/lists/partial", "apt/etc/apt.conf.d", "apt/cache/archives/partial"] {
        fs::create_dir_all(house.path(folder)).unwrap();
    }
    let dir = house.dir.path().display();
    let sources =
        ["debs", "suite"].map(|folder| format!("deb [trusted=yes] copy:{dir}/{folder} ./\n"));
    fs::write(house.path("apt/sources"), sources.concat()).unwrap();
    fs::write(house.path("apt/status"), "").unwrap();
    fs::write(
        house.path("apt/conf"),
        format!(
            "Dir::Etc \"{dir}/apt/etc\";\nDir::Etc::sourcelist \"{dir}/apt/sources\";\n\
             Dir::State \"{dir}/apt\";\nDir::State::status \"{dir}/apt/status\";\n\
             Dir::Cache \"{dir}/apt/cache\";\nAPT::Architecture \"amd64\";\n\
             APT::Sandbox::User \"root\";\nAcquire::AllowInsecureRepositories \"yes\";\n"
        ),
    )
    .unwrap();
    let apt_get = |words: &[&str]| {
        let mut command = std::process::Command::new("apt-get");
        let output =
            command.env("APT_CONFIG", house.path("apt/conf")).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let installed = text.lines().filter_map(|line| line.strip_prefix("Inst "));
        let mut names: Vec<String> =
            installed.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    apt_get(&["update"]);
    let ours = ["python3", "python3-app", "python3-fast", "python3-lib", "python3-numbers-v1"];
    assert_eq!(apt_get(&["install", "-s", "python3-app"]), ours);
    // It does for others of the distribution's packages, too.
    let with_user = [&ours[..], &["user"]].concat();
    assert_eq!(apt_get(&["install", "-s", "python3-app", "user"]), with_user);
}

#[test]
fn who_asks_for_an_older_version_is_told_what_apt_will_do() {
    let house = House::new();
    // The suite `test` has 1:1.24.2.
    house.wheel("numpy", "1.23", &[]);
    let said = |words: &[&str]| {
        let output = house.build(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let warning = "test has python3-numpy 1:1.24.2-1, newer than the 1:1.23 that is built";
    assert!(said(&["numpy"]).contains(warning), "{}", said(&["numpy"]));
    for version in ["1.24.2", "1.25"] {
        house.wheel("numpy", version, &[]);
        assert_eq!(said(&["numpy"]), "", "{version}");
    }
    // That sources were left out makes no other version of it.
    house.wheel("repacked", "1.0", &[]);
    assert_eq!(said(&["repacked"]), "");
}

#[test]
fn libraries_that_modules_load_are_recommended_as_the_distribution_knows_them() {
    let house = House::new();
    house.add(Wheel::new("magic", "1.0", "py3-none-any").file("magic.py", ""), &[]);
    let paths = house.built(&["--all", "magic"]);
    let recommends = common::field(&house.path(&paths[0]), "Recommends");
    assert_eq!(recommends, "libmagic1 (>= 1:5.39)");
    // What has code for a machine may have the library with it.
    let tag = "cp311-cp311-manylinux_2_17_x86_64";
    house.add(Wheel::new("magic", "2.0", tag).file("magic.py", ""), &[]);
    let paths = house.built(&["--all", "magic"]);
    assert_eq!(common::field(&house.path(&paths[0]), "Recommends"), "");
}
