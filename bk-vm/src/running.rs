//! Machines that run: who looks after each, and how it is reached.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bk::{Console, Context, Dirs, Error, Result, file};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::net::Tap;

/// What is told of a running machine has some hundred bytes.
const LIMIT: u64 = 1 << 16;

/// How often it is looked at: short beside a machine's end.
const TICK: Duration = Duration::from_millis(50);

/// A machine that runs. While it does, the process that started it holds a lock, which the kernel drops
/// however that process ends; and qemu ends with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// The process that looks after it.
    pub pid: i32,
    /// Its folder.
    pub dir: PathBuf,
    /// Where its ssh is.
    pub ssh: SocketAddr,
    /// `kvm` or `tcg`.
    pub accel: String,
    /// Its tap, if it has one.
    pub tap: Option<Tap>,
}

/// Where it is told of running machines.
pub fn folder(dirs: &Dirs) -> PathBuf {
    dirs.run.join("vm")
}

/// Takes a machine to be its keeper; an error if it has one.
pub fn keep(machine: &Machine, dirs: &Dirs) -> Result<file::Lock> {
    let folder = folder(dirs);
    file::create_dir(&folder)?;
    let path = folder.join(format!("{}.lock", machine.name()));
    // Who looks whether it is held holds it for a moment.
    let wait = Duration::from_millis(500);
    file::Lock::exclusive(&path, wait, &Console::silent()).map_err(|_| {
        Error::new(format!("'{}' is running already", machine.name()))
            .hint(format!("stop it: bk-vm stop {}", machine.name()))
    })
}

impl Running {
    /// The running machine of that name, if it runs.
    pub fn find(machine: &Machine, dirs: &Dirs) -> Option<Self> {
        Running::named(&machine.name(), &folder(dirs))
    }

    fn named(name: &str, folder: &Path) -> Option<Self> {
        let running = Running::left(name, folder)?;
        held(&folder.join(format!("{name}.lock"))).then_some(running)
    }

    /// What was told of a machine, whether it runs or its keeper was killed.
    pub fn left(name: &str, folder: &Path) -> Option<Self> {
        let text = file::read(&folder.join(format!("{name}.json")), LIMIT).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Tells of it.
    pub fn tell(&self, name: &str, folder: &Path) -> Result<()> {
        file::write(&folder.join(format!("{name}.json")), serde_json::to_vec(self)?)
    }
}

/// The running machine that a word means.
pub fn found(word: &str, dirs: &Dirs) -> Result<(Machine, Running)> {
    let machine = Machine::find(word, dirs)?;
    match Running::find(&machine, dirs) {
        Some(running) => Ok((machine, running)),
        None => Err(Error::new(format!("'{}' does not run", machine.name()))
            .hint("start it with bk-vm start")),
    }
}

/// Whether another process holds the lock.
fn held(path: &Path) -> bool {
    path.exists() && file::Lock::exclusive(path, Duration::ZERO, &Console::silent()).is_err()
}

/// Whether any other machine than `name` runs with a tap.
pub fn others(name: &str, folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
    names
        .filter(|other| other != name)
        .any(|other| Running::named(&other, folder).is_some_and(|running| running.tap.is_some()))
}

/// Removes what is told of a machine that has stopped.
pub fn forget(name: &str, folder: &Path) {
    for end in ["json", "qmp"] {
        drop(std::fs::remove_file(folder.join(format!("{name}.{end}"))));
    }
}

/// Stops a machine: its keeper asks it to shut down and takes its network down; after `limit` both are
/// ended. Returns whether it shut down by itself.
pub fn stop(machine: &Machine, limit: Duration, dirs: &Dirs, console: &Console) -> Result<bool> {
    let (name, folder) = (machine.name(), folder(dirs));
    let lock = folder.join(format!("{name}.lock"));
    let Some(running) = Running::left(&name, &folder) else { return Ok(true) };
    let mut good = true;
    if held(&lock)
        && let Some(pid) = Pid::from_raw(running.pid)
    {
        let gone = |limit: Duration| {
            let start = Instant::now();
            while held(&lock) && start.elapsed() < limit {
                std::thread::sleep(TICK);
            }
            !held(&lock)
        };
        // Any other error means that it has ended in between.
        if rustix::process::kill_process(pid, Signal::TERM) == Err(rustix::io::Errno::PERM) {
            return Err(Error::new(format!("'{name}' was started by another user"))
                .hint("stop it as that user, or as root"));
        }
        good = gone(limit);
        if !good {
            console.warn(&format!("'{name}' did not shut down in {} s", limit.as_secs()));
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            // The kernel ends a process within moments.
            if !gone(Duration::from_secs(10)) {
                return Err(Error::new(format!("cannot end '{name}'"))
                    .hint(format!("its process is {}", running.pid)));
            }
        }
    }
    // What a keeper left that was killed.
    if let Some(tap) = &running.tap {
        tap.down(&folder, others(&name, &folder), console)
            .context(|| format!("'{name}' has ended"))?;
    }
    forget(&name, &folder);
    Ok(good)
}
