//! Tests of installed Debian packages, in an overlay of this system that is gone afterwards.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bk::{Cmd, Console, Context, Error, Result, Status, display, file};
use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::project::is_test;
use crate::tree;

/// What apt-get is told besides what it installs: to ask nothing, and to let nothing in the overlay be kept.
const INSTALL: &[&str] = &[
    "apt-get",
    "install",
    "-y",
    "-q",
    "--no-install-recommends",
    "--allow-downgrades",
    "--reinstall",
    "-o",
    "Dpkg::Use-Pty=0",
];

/// How long others may install packages; upgrades take minutes.
const WAIT: Duration = Duration::from_secs(600);
/// How often it is looked whether they do: they do so for seconds at least.
const LOOK: Duration = Duration::from_millis(200);

/// Services of a package must not start: they would be this system's (policy-rc.d, 101: not allowed).
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// The command that runs what follows it where `packages` are installed: `program inside …`, in namespaces
/// of its own.
pub fn command(
    program: &Path,
    scratch: &Path,
    packages: &[PathBuf],
    names: &[String],
    console: &Console,
) -> Result<Vec<OsString>> {
    let remedy = "bk-vm test runs tests in a machine of its own";
    let refused =
        |why: String| Error::new(why).context("cannot make an overlay of this system").hint(remedy);
    if !rustix::process::geteuid().is_root() {
        return Err(refused("only root may install packages in it".into()));
    }
    let device = |path: &str| fs::metadata(path).map(|meta| meta.dev()).ok();
    for part in ["/usr", "/var", "/etc"] {
        if device(part) != device("/") {
            return Err(refused(format!("'{part}' is another file system than '/'")));
        }
    }
    let unshare =
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"];
    let (first, rest) = unshare.split_first().ok_or_else(|| refused("no words".into()))?;
    let allowed = Cmd::new(first, console).args(rest).arg("true").output();
    allowed
        .map_err(|error| error.context("cannot make an overlay of this system"))
        .hint(|| remedy.into())?;
    settled(console)?;
    let mut words: Vec<OsString> = unshare.iter().map(OsString::from).collect();
    words.extend([program.into(), "inside".into(), scratch.into()]);
    // Only this folder is seen in the overlay as it is.
    let debs = scratch.join("debs");
    file::create_dir(&debs)?;
    for package in packages {
        let failed = || format!("cannot open '{}'", display(package));
        let name = package.file_name().ok_or_else(|| Error::new(failed()))?;
        fs::copy(package, debs.join(name)).context(failed)?;
        words.extend(["--deb".into(), debs.join(name).into()]);
    }
    for name in names {
        words.extend(["--name".into(), name.into()]);
    }
    words.push("--".into());
    Ok(words)
}

/// Waits until nobody changes what is installed: an overlay would show half of it.
fn settled(console: &Console) -> Result<()> {
    let held = |name: &str| -> bool {
        let file = fs::File::open(Path::new("/var/lib/dpkg").join(name));
        let lock = Flock::from(FlockType::WriteLock);
        file.is_ok_and(|file| fcntl_getlk(&file, &lock).is_ok_and(|holder| holder.is_some()))
    };
    let start = Instant::now();
    let mut told = false;
    // apt's lock, and dpkg's own.
    while held("lock-frontend") || held("lock") {
        if start.elapsed() >= WAIT {
            return Err(Error::new("another process installs packages")
                .context("cannot make an overlay of this system")
                .hint("try again when it is done")
                .status(Status::Temporary));
        }
        if !told {
            told = true;
            console.note("waiting for a process that installs packages");
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Removes from a project's copy what the packages install, so that it is those that are tested; tests
/// among it stay.
pub fn remove_sources(packages: &[PathBuf], tree: &Path, console: &Console) -> Result<()> {
    let mut tops = BTreeSet::new();
    for package in packages {
        let listed = Cmd::new("dpkg-deb", console).arg("--contents").arg(package).output()?;
        for line in String::from_utf8_lossy(&listed).lines() {
            let found =
                line.split_once("/dist-packages/").and_then(|(_, rest)| rest.split('/').next());
            tops.extend(found.filter(|top| !top.is_empty()).map(str::to_owned));
        }
    }
    for top in tops {
        for place in ["src", "", "lib", "python"].map(|dir| tree.join(dir).join(&top)) {
            if place.is_dir() {
                for entry in tree::files(&place)? {
                    if !is_test(&entry.relative) {
                        fs::remove_file(&entry.path)?;
                    }
                }
            } else if place.is_file() {
                fs::remove_file(&place)?;
            }
        }
    }
    Ok(())
}

/// In the namespaces: makes the overlay, installs the packages and runs `words` there; its status.
pub fn inside(
    scratch: &Path,
    packages: &[PathBuf],
    names: &[String],
    words: &[OsString],
    console: &Console,
) -> Result<std::process::ExitStatus> {
    // Not removed from in here, where the mounts are seen: they end with the namespace, the folder with the scratch.
    let dir = scratch.join("overlay");
    file::create_dir(&dir)?;
    let failed = || "cannot make an overlay of this system".to_owned();
    let mount = |words: &[&str], target: &Path| -> Result<()> {
        Cmd::new("mount", console).args(words).arg(target).output().map(drop).context(failed)
    };
    // In memory, so that nothing of it is left whatever ends us, and on no file system that is an overlay.
    mount(&["-t", "tmpfs", "tmpfs"], &dir)?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| dir.join(name));
    for made in [&upper, &work, &root] {
        file::create_dir(made)?;
    }
    let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    mount(&["-t", "overlay", "overlay", "-o", &options], &root)?;
    mount(&["-t", "proc", "proc"], &root.join("proc"))?;
    // A /dev of its own, since root in there could remove what is in this system's.
    let dev = root.join("dev");
    mount(&["-t", "tmpfs", "tmpfs"], &dev)?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        file::write(&dev.join(name), "")?;
        mount(&["--bind", &format!("/dev/{name}")], &dev.join(name))?;
    }
    file::create_dir(&dev.join("shm"))?;
    for (name, to) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{to}"), dev.join(name))?;
    }
    // What is run, and what it tells.
    let outer = scratch.to_str();
    let outer = outer.ok_or_else(|| Error::new(format!("'{}' is no UTF-8", display(scratch))))?;
    let inner = root.join(outer.trim_start_matches('/'));
    file::create_dir(&inner)?;
    mount(&["--bind", outer], &inner)?;
    // It may be a link to what is mounted over.
    if let Ok(text) = fs::read("/etc/resolv.conf") {
        drop(fs::remove_file(root.join("etc/resolv.conf")));
        file::write(&root.join("etc/resolv.conf"), text)?;
    }
    let policy = root.join("usr/sbin/policy-rc.d");
    file::write(&policy, POLICY)?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))?;
    let within = |words: &[OsString]| {
        let mut command = std::process::Command::new("chroot");
        command.arg(&root).args(words).stdin(std::process::Stdio::null());
        command
    };
    let mut install: Vec<OsString> = INSTALL.iter().map(OsString::from).collect();
    install.extend(packages.iter().map(|path| path.clone().into()));
    install.extend(names.iter().map(OsString::from));
    let status = within(&install).env("DEBIAN_FRONTEND", "noninteractive").status();
    let status = status.context(|| "cannot run apt-get".into())?;
    if !status.success() {
        return Err(Error::new(format!("apt-get says why above ({status})"))
            .context("cannot install the packages")
            .hint("what they depend on comes from apt's sources, or as more --deb"));
    }
    within(words).status().context(|| "cannot run the tests".into())
}
