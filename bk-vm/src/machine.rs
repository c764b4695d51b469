//! Machines as they lie in folders.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bk::{Cmd, Console, Context, Dirs, Error, Result, display, file};
use rustix::fs::{CWD, RenameFlags};
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::qcow2;

/// The disk's name in a machine's folder, which the manual has.
pub const DISK: &str = "disk.raw";

/// What is known of a machine has some hundred bytes.
const LIMIT: u64 = 1 << 20;

const ABOUT: &str = "machine.json";

/// What is known of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// Where it is on the network.
    pub address: Address,
    /// Its Debian architecture.
    pub arch: String,
    /// What it was made of.
    pub suite: String,
}

/// A machine: a folder with its disk, kernel, initrd and keys.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The folder.
    pub dir: PathBuf,
    /// What is known of it.
    pub about: About,
}

impl Machine {
    /// The machine in a folder.
    pub fn open(dir: &Path) -> Result<Self> {
        let failed = || format!("'{}' is no machine", display(dir));
        let text = file::read(&dir.join(ABOUT), LIMIT).context(failed)?;
        let about = serde_json::from_slice(&text).context(failed)?;
        let dir = dir.canonicalize().context(failed)?;
        Ok(Machine { dir, about })
    }

    /// The machine that is meant: a number, an address or a name, of a machine that was made here, or
    /// its folder, or a file in it.
    pub fn find(word: &str, dirs: &Dirs) -> Result<Self> {
        if let Ok(address) = word.parse::<Address>() {
            let dir = home(dirs).join(address.name());
            if dir.join(ABOUT).exists() {
                return Machine::open(&dir);
            }
        }
        let path = Path::new(word);
        let folder = if path.is_dir() { Some(path) } else { path.parent() };
        match folder.map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir }) {
            Some(dir) if path.exists() => Machine::open(dir),
            _ => Err(Error::new(format!("no machine is called '{}'", bk::sanitize(word))).hint(
                "'bk-vm list' names those there are; the path of a machine's folder does, too",
            )),
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.about.address.name()
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Its disk.
    pub fn disk(&self) -> PathBuf {
        self.path(DISK)
    }

    /// The private key that its user's account takes.
    pub fn key(&self) -> PathBuf {
        self.path("id_ed25519")
    }

    /// Writes what is known of it.
    pub(crate) fn save(dir: &Path, about: &About) -> Result<()> {
        file::write(&dir.join(ABOUT), serde_json::to_vec(about)?)
    }
}

/// Makes a machine in the folder `output`: `fill` fills a folder that is one of another name until it is
/// whole.
pub(crate) fn make(
    output: &Path,
    address: Address,
    fill: impl FnOnce(&Path) -> Result<()>,
    console: &Console,
) -> Result<Machine> {
    file::create_dir(output)?;
    // Two that make the same number: the second finds the first one's machine.
    let wait = Duration::from_secs(60);
    let _lock = file::Lock::exclusive(&output.join(".lock"), wait, console)?;
    let dir = output.join(address.name());
    refuse(&dir)?;
    let new = file::TempDir::new_in(output)?;
    let folder = new.path().join("machine");
    file::create_dir(&folder)?;
    fill(&folder)?;
    // One disk with two names: the blocks of the .qcow2 are those of the raw one.
    let name = address.name();
    let raw = dir.parent().unwrap_or(output).canonicalize()?.join(&name).join(DISK);
    let size = folder.join(DISK).metadata().context(|| "it has no disk".into())?.len();
    let (qcow2, place) = (folder.join(format!("{name}.qcow2")), new.path().join("blocks"));
    qcow2::make(&qcow2, &place, &raw, size, console)?;
    rustix::fs::renameat_with(CWD, &folder, CWD, &dir, RenameFlags::NOREPLACE)?;
    file::sync_dir(output)?;
    Machine::open(&dir)
}

/// Refuses a folder that is there.
pub(crate) fn refuse(dir: &Path) -> Result<()> {
    match dir.exists() {
        true => Err(Error::new("it is there already")
            .hint("take another number, or remove it: bk-vm remove NAME")),
        false => Ok(()),
    }
}

/// Gives a folder the kernel and the initrd of another, without a copy where that can be.
pub(crate) fn link_kernel(from: &Path, to: &Path) -> Result<()> {
    for name in ["vmlinuz", "initrd"] {
        let (from, to) = (from.join(name), to.join(name));
        std::fs::hard_link(&from, &to)
            .or_else(|_| std::fs::copy(&from, &to).map(drop))
            .context(|| format!("cannot copy '{}'", display(&from)))?;
    }
    Ok(())
}

/// Copies a disk: as a reference to the same blocks where the file system can do that, else without its
/// holes.
pub(crate) fn copy_disk(from: &Path, to: &Path, console: &Console) -> Result<()> {
    let cp = Cmd::new("cp", console).args(["--reflink=auto", "--sparse=always", "--"]);
    cp.args([from, to]).output().map(drop)
}

/// Where machines are made unless told otherwise, and where links to the others are.
pub fn home(dirs: &Dirs) -> PathBuf {
    dirs.data.join("vm")
}

/// Remembers a machine that is elsewhere. That it cannot be is no reason to fail.
pub(crate) fn remember(machine: &Machine, dirs: &Dirs, console: &Console) {
    let home = home(dirs);
    let link = home.join(machine.name());
    if machine.dir.parent().and_then(|p| p.canonicalize().ok()) == home.canonicalize().ok() {
        return;
    }
    let make = || -> std::io::Result<()> {
        std::fs::create_dir_all(&home)?;
        if link.symlink_metadata().is_ok_and(|about| about.is_symlink()) {
            std::fs::remove_file(&link)?;
        }
        std::os::unix::fs::symlink(&machine.dir, &link)
    };
    if let Err(error) = make() {
        console.info(&format!("'{}' is known by its path alone: {error}", machine.name()));
    }
}

/// The machines made here, by name.
pub fn all(dirs: &Dirs) -> Vec<Machine> {
    let entries = std::fs::read_dir(home(dirs)).into_iter().flatten().flatten();
    let mut machines: Vec<Machine> =
        entries.filter_map(|entry| Machine::open(&entry.path()).ok()).collect();
    machines.sort_by_key(|machine| machine.about.address.ip());
    machines.dedup_by(|a, b| a.dir == b.dir);
    machines
}
