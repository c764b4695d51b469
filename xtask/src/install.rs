//! What a task needs and a fresh Debian has not: packages of Debian, and of Python's index.

use std::path::{Path, PathBuf};
use std::process::Command;

use bk::{Context, Error, Result};

use crate::process::{as_root, run, succeeds};

/// Installs the Debian packages that are missing.
pub fn apt(packages: &[&str]) -> Result<()> {
    // One may take another away: Debian's qemu-system-x86 does so with a qemu-utils of its backports.
    let both = || install_missing(packages).and_then(|()| install_missing(packages));
    both().hint(|| by_hand(&missing(packages)))
}

fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    packages.iter().copied().filter(|name| !installed(name)).collect()
}

fn install_missing(packages: &[&str]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let install = || {
        let mut command = apt_get();
        command.args(["install", "-y", "--no-install-recommends"]).args(&missing);
        run(&mut command)
    };
    lists()?;
    // Old lists name files the mirror no longer has.
    install().or_else(|_| update().and_then(|()| install()))
}

/// Fetches the distribution's indexes where there are none.
pub fn lists() -> Result<()> {
    if lists_are_empty() { update() } else { Ok(()) }
}

fn update() -> Result<()> {
    run(apt_get().arg("update"))
}

fn by_hand(missing: &[&str]) -> String {
    format!("as root, run: apt-get update && apt-get install {}", missing.join(" "))
}

fn apt_get() -> Command {
    // Through env(1), since sudo keeps no variable.
    let mut command = as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    command
}

fn installed(name: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status}", name]).stderr(std::process::Stdio::null());
    query.output().is_ok_and(|output| output.stdout == b"installed")
}

fn lists_are_empty() -> bool {
    let index = |name: &std::ffi::OsStr| name.to_string_lossy().contains("_Packages");
    let mut lists = Path::new("/var/lib/apt/lists").read_dir().into_iter().flatten().flatten();
    !lists.any(|entry| index(&entry.file_name()))
}

/// Makes a virtual environment with `packages` in the folder `dir`, and returns its `bin`.
///
/// Debian's own Python takes no package from pip (PEP 668).
pub fn python(dir: &Path, packages: &[&str]) -> Result<PathBuf> {
    let bin = dir.join("bin");
    let wanted = packages.join("\n");
    let stamp = dir.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == wanted)
        && succeeds(Command::new(bin.join("python3")).arg("--version"))
    {
        return Ok(bin);
    }
    apt(&["python3", "python3-venv"])?;
    // Debian's, whatever python3 comes first on PATH.
    run(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(dir))?;
    run(Command::new(bin.join("pip"))
        .args(["--quiet", "--disable-pip-version-check", "install"])
        .args(packages))?;
    bk::file::write(&stamp, wanted)?;
    Ok(bin)
}

/// Builds the program of a crate, once, in the folder `dir`, and returns the folder it is in.
pub fn program(dir: &Path, name: &str, version: &str, features: &str) -> Result<PathBuf> {
    let bin = dir.join("bin");
    let stamp = dir.join(format!("{name}-{version}"));
    if stamp.is_file() && bin.join(name).is_file() {
        return Ok(bin);
    }
    let mut cargo = crate::process::cargo();
    cargo.args(["install", name, "--version", version, "--features", features, "--locked"]);
    // What it is built of is of no use afterwards.
    let build = dir.join("build");
    run(cargo.arg("--root").arg(dir).arg("--target-dir").arg(&build))?;
    std::fs::remove_dir_all(&build)?;
    bk::file::write(&stamp, "")?;
    Ok(bin)
}

/// Installs a program of npm's registry, once, in the folder `dir`, and returns the folder it is in.
/// `node` has Node.js: Debian's own npm would bring some hundred packages.
pub fn node(dir: &Path, node: &Path, package: &str) -> Result<PathBuf> {
    let bin = dir.join("node_modules/.bin");
    let stamp = dir.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == package) {
        return Ok(bin);
    }
    let mut npm = Command::new(node.join("npm"));
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix"]);
    run(npm.arg(dir).arg(package).env("PATH", path_with(&[node])?))?;
    bk::file::write(&stamp, package)?;
    Ok(bin)
}

/// `PATH` with `first` in front.
pub fn path_with(first: &[&Path]) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = first.iter().map(|folder| folder.to_path_buf());
    std::env::join_paths(first.chain(std::env::split_paths(&path)))
        .map_err(|error| Error::from(error).context("cannot set PATH"))
}
