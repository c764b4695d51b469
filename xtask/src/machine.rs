//! A throw-away Debian in a folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bk::{Console, Context, Error, Result, display};
use rustix::process::{Pid, Signal};

use crate::process;

/// Makes the tarball of a Debian root with apt and Python, where there is none yet; `suite` is its code
/// name, if it is not to be this system's Debian, and `cache` is where an apt cache is,
/// `http://ADDRESS`.
pub fn tarball(dir: &Path, suite: Option<&str>, cache: Option<&str>) -> Result<PathBuf> {
    let own = own_suite()?;
    let suite = suite.unwrap_or(&own);
    let tarball = dir.join(format!("{suite}.tar"));
    if tarball.is_file() {
        return Ok(tarball);
    }
    let new = dir.join(format!("{suite}.new.tar"));
    // Through env(1), since sudo keeps no variable.
    let mut command = process::as_root("env");
    command.args(cache.map(|cache| format!("http_proxy={cache}")));
    command
        .arg("mmdebstrap")
        // The indexes stay, so that apt-get update has little to fetch.
        .args(["--variant=apt", "--include=python3,ca-certificates", "--skip=cleanup/apt/lists"])
        .arg(suite)
        .arg(&new)
        .args(mirrors(&own, suite)?);
    process::run(&mut command)?;
    std::fs::rename(&new, &tarball)?;
    Ok(tarball)
}

/// The code name of this system's Debian.
pub fn own_suite() -> Result<String> {
    let text = std::fs::read_to_string("/etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.map(|name| name.trim_matches('"').to_owned());
    name.ok_or_else(|| Error::new("'/etc/os-release' names no code name").hint("run it on Debian"))
}

/// This system's own sources, a line of sources.list(5) each, with `suite` in the place of its `own`.
fn mirrors(own: &str, suite: &str) -> Result<Vec<String>> {
    let mut apt_get = Command::new("apt-get");
    apt_get.args(["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"]);
    let text = process::stdout(apt_get.arg("Created-By: Packages"))?;
    let line = |line: &str| {
        let (uri, rest) = line.split_once(' ')?;
        let (name, component) = rest.split_once(' ')?;
        let end = name.strip_prefix(own)?;
        matches!(end, "" | "-updates" | "-security")
            .then(|| format!("deb {uri} {suite}{end} {component}"))
    };
    let lines: BTreeSet<String> = text.lines().filter_map(line).collect();
    match lines.is_empty() {
        false => Ok(lines.into_iter().collect()),
        true => Err(Error::new(format!("apt knows no mirror of '{own}'"))
            .hint("run apt-get update, and see sources.list(5)")),
    }
}

/// A Debian root; dropped, or ended by a signal, it is removed with all that runs in it.
pub struct Machine {
    root: PathBuf,
    _cleanup: bk::Cleanup,
}

impl Machine {
    /// Unpacks the tarball into a new folder in `dir`.
    pub fn unpack(tarball: &Path, dir: &Path, console: &Console) -> Result<Self> {
        let root = dir.canonicalize()?.join("root");
        let doomed = root.clone();
        let cleanup = bk::Cleanup::new(move || {
            if let Err(error) = remove(&doomed, true) {
                eprintln!("xtask: {error}");
            }
        });
        // Left by a run that was killed.
        remove(&root, false)?;
        bk::file::create_dir(&root)?;
        let machine = Machine { root, _cleanup: cleanup };
        bk::Cmd::new("setpriv", console)
            .args([
                "--pdeathsig",
                "KILL",
                "tar",
                "--extract",
                "--numeric-owner",
                "--xattrs",
                "--file",
            ])
            .arg(tarball)
            .arg("--directory")
            .arg(&machine.root)
            .output()?;
        // The host's network is the machine's.
        machine.copy(Path::new("/etc/resolv.conf"), "etc/resolv.conf")?;
        Ok(machine)
    }

    /// The path of a file in it, as the host sees it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Copies a file of the host into it.
    pub fn copy(&self, from: &Path, to: &str) -> Result<()> {
        std::fs::copy(from, self.path(to))
            .map(drop)
            .context(|| format!("cannot copy '{}'", display(from)))
    }

    /// A command that runs in it, and ends when we do.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "chroot"]).arg(&self.root).args(words);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs a command in it; its output is shown if it fails.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        eprintln!("+ {}", words.join(" "));
        let output = self.command(words).stdin(std::process::Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = format!("{text}{said}");
                Err(Error::new(said.trim()).context(format!("'{}' failed", words.join(" "))))
            }
        }
    }

    /// The packages installed in it, with their versions.
    pub fn installed(&self) -> Result<BTreeSet<(String, String)>> {
        let mut query = self.command(&["dpkg-query", "-W", "-f", "${Package} ${Version}\n"]);
        let text = process::stdout(&mut query)?;
        let pair = |line: &str| line.split_once(' ').map(|(n, v)| (n.to_owned(), v.to_owned()));
        Ok(text.lines().filter_map(pair).collect())
    }

    /// Has apt in it fetch from other machines through a cache, `http://ADDRESS`.
    pub fn fetch_through(&self, cache: &str) -> Result<()> {
        let text = format!(
            "Acquire::http::Proxy \"{cache}\";\nAcquire::http::Proxy::127.0.0.1 \"DIRECT\";\n"
        );
        bk::file::write(&self.path("etc/apt/apt.conf.d/cache"), text)
    }

    /// Imports the top-level modules of a package, and tells which.
    pub fn import(&self, package: &str) -> Result<String> {
        let files = self.run(&["dpkg", "-L", package])?;
        let module = |file: &str| {
            let file = file.strip_prefix("/usr/lib/python3/dist-packages/")?;
            let name = file.strip_suffix("/__init__.py").or(file.strip_suffix(".py"))?;
            (!name.contains('/')).then(|| name.to_owned())
        };
        let modules: BTreeSet<String> = files.lines().filter_map(module).collect();
        let words: Vec<&str> = modules.iter().map(String::as_str).collect();
        if words.is_empty() {
            return Err(Error::new(format!("'{package}' has no module to import")));
        }
        let list = words.join(", ");
        self.run(&["python3", "-c", &format!("import {list}")])?;
        Ok(format!("  imported there: {list}\n"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.root, false) {
            eprintln!("xtask: {error}");
        }
    }
}

/// Ends what runs in the root, and our own children if need be, and removes the root.
fn remove(root: &Path, children: bool) -> Result<()> {
    if !root.exists() {
        return Ok(());
    }
    let mut tries = 0;
    loop {
        for pid in processes(root, children) {
            // It may have ended by itself.
            let _gone = rustix::process::kill_process(pid, Signal::KILL);
        }
        match std::fs::remove_dir_all(root) {
            Ok(()) => return Ok(()),
            // What was killed may write until the kernel has ended it: two seconds are plenty.
            Err(_) if tries < 100 => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => {
                return Err(
                    Error::from(error).context(format!("cannot remove '{}'", display(root)))
                );
            }
        }
        tries += 1;
    }
}

/// The processes whose root is this folder, and those we started.
fn processes(root: &Path, children: bool) -> Vec<Pid> {
    let entries = Path::new("/proc").read_dir().into_iter().flatten().flatten();
    let own = std::process::id().to_string();
    let pid = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let inside = std::fs::read_link(entry.path().join("root")).is_ok_and(|link| link == root);
        // proc(5): PID (NAME) STATE PARENT …, and the name may have blanks and brackets.
        let child = || {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some(stat.rsplit(')').next()?.split(' ').nth(2)? == own)
        };
        (inside || children && child() == Some(true)).then(|| Pid::from_raw(pid)).flatten()
    };
    entries.filter_map(pid).collect()
}
