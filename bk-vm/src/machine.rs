//! Machines as they lie in folders.

use std::path::{Path, PathBuf};

use bk::{Console, Context, Dirs, Error, Result, display, file};
use serde::{Deserialize, Serialize};

use crate::address::Address;

/// The disk's name in a machine's folder, which the manual has.
pub const DISK: &str = "disk.raw";

/// The disk's name in the folder of a clone.
pub const OVERLAY: &str = "disk.qcow2";

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

    /// Its disk: the raw one, or that of a clone, which stands on another's.
    pub fn disk(&self) -> PathBuf {
        let raw = self.path(DISK);
        if raw.exists() { raw } else { self.path(OVERLAY) }
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
