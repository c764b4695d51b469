//! Looking after a machine while it runs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bk::{Cleanup, Cmd, Console, Context, Error, Result, display, file};
use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::machine::Machine;
use crate::net::Tap;
use crate::qemu::Net;
use crate::qmp::Monitor;
use crate::ready;
use crate::running::{self, Running};

/// How long it may take to shut down when its keeper is ended: systemd gives a service 90 s.
const SHUTDOWN: Duration = Duration::from_secs(90);

/// Looks after a running machine, and clears up behind it.
pub struct Keeper {
    machine: Machine,
    /// What is told of it.
    pub running: Running,
    child: Child,
    end: Arc<End>,
    _cleanup: Cleanup,
}

/// Where what is told of a running machine lies.
#[derive(Clone, Debug)]
pub struct Place {
    /// What it is called there.
    pub name: String,
    /// The folder of all running machines.
    pub folder: PathBuf,
    /// The folder of its logs.
    pub logs: PathBuf,
}

impl Place {
    /// The socket of qemu's monitor.
    pub fn monitor(&self) -> PathBuf {
        self.folder.join(format!("{}.qmp", self.name))
    }

    /// What its console says.
    pub fn serial(&self) -> PathBuf {
        self.logs.join("serial.log")
    }

    fn qemu_log(&self) -> PathBuf {
        self.logs.join("qemu.log")
    }
}

/// What is to be done when the machine has ended, once.
struct End {
    place: Place,
    qemu: Mutex<Option<Pid>>,
    tap: Mutex<Option<Tap>>,
    console: Console,
}

impl Keeper {
    /// Sets up the network, starts qemu, and tells of it.
    pub fn start(
        machine: &Machine,
        place: Place,
        net: &Net,
        accel: &str,
        command: &[OsString],
        console: &Console,
    ) -> Result<Self> {
        let failed = || format!("cannot start '{}'", machine.name());
        let (ssh, tap) = match net {
            Net::Tap(tap) => (SocketAddr::from((machine.about.address.ip(), 22)), Some(tap)),
            Net::User(port) => (SocketAddr::from(([127, 0, 0, 1], *port)), None),
        };
        let running = Running {
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            dir: machine.dir.clone(),
            ssh,
            accel: accel.to_owned(),
            tap: tap.cloned(),
        };
        let end = Arc::new(End {
            place: place.clone(),
            qemu: Mutex::new(None),
            tap: Mutex::new(tap.cloned()),
            console: console.clone(),
        });
        let cleanup = {
            let end = end.clone();
            Cleanup::new(move || end.shut_down())
        };
        running.tell(&place.name, &place.folder)?;
        let child = || -> Result<Child> {
            if let Some(tap) = tap {
                tap.up(&place.folder, console)?;
            }
            drop(std::fs::remove_file(place.serial()));
            spawn(command, &place.qemu_log(), console)
        };
        match child().context(failed) {
            Ok(child) => {
                let pid = Pid::from_raw(child.id().cast_signed());
                *end.qemu.lock().unwrap_or_else(PoisonError::into_inner) = pid;
                Ok(Keeper { machine: machine.clone(), running, child, end, _cleanup: cleanup })
            }
            Err(error) => {
                end.clear();
                Err(error)
            }
        }
    }

    /// Waits for the ssh server's greeting, and says what went wrong if none comes.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let serial = self.end.place.serial();
        let ended = || self.child.try_wait().ok().flatten();
        ready::wait(self.running.ssh, limit, &serial, ended).map_err(|error| {
            let log = file::read(&self.end.place.qemu_log(), 1 << 16).unwrap_or_default();
            let said = String::from_utf8_lossy(&log).trim().to_owned();
            let error =
                if said.is_empty() { error } else { Error::new(said).context(error.to_string()) };
            error
                .context(format!("'{}' does not answer", self.machine.name()))
                .hint(format!("its console is in '{}'", display(&serial)))
        })
    }

    /// Waits until it has shut down.
    pub fn wait(&mut self) -> Result<()> {
        loop {
            match self.child.try_wait().context(|| "cannot wait for qemu".into())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(Error::new(format!("qemu has ended with {status}"))
                        .hint(format!("see '{}'", display(self.end.place.qemu_log()))));
                }
                // Short beside the time that a machine runs.
                None => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        *self.end.qemu.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.end.clear();
    }
}

impl End {
    /// Asks the machine to shut down, and ends it when it does not.
    fn shut_down(&self) {
        let pid = *self.qemu.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = pid {
            let asked = Monitor::connect(&self.place.monitor())
                .and_then(|mut monitor| monitor.execute("system_powerdown", json!({})));
            let start = Instant::now();
            // The thread that waits for it takes what is left of it.
            let alive = || rustix::process::test_kill_process(pid).is_ok();
            while asked.is_ok() && alive() && start.elapsed() < SHUTDOWN {
                std::thread::sleep(Duration::from_millis(50));
            }
            if alive() {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        self.clear();
    }

    fn clear(&self) {
        let tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tap) = tap
            && let Err(error) = tap.down(
                &self.place.folder,
                running::others(&self.place.name, &self.place.folder),
                &self.console,
            )
        {
            self.console.error(&error);
        }
        running::forget(&self.place.name, &self.place.folder);
    }
}

/// Starts qemu, which ends when we do, and which a terminal's signals do not reach.
fn spawn(words: &[OsString], log: &Path, console: &Console) -> Result<Child> {
    let program = words.first().map_or(OsStr::new("qemu"), |word| word);
    let shown: Vec<String> = words.iter().map(display).collect();
    console.info(&format!("+ {}", shown.join(" ")));
    let log = File::create(log).context(|| format!("cannot write '{}'", display(log)))?;
    // setpriv would say of a program that is missing what nobody understands.
    Cmd::new(program, console)
        .arg("--version")
        .output()
        .hint(|| "install qemu-system-x86, or qemu-system-arm for arm64".into())?;
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context(|| "cannot write qemu's log".into())?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context(|| "cannot run 'setpriv'".into())
        .hint(|| "install util-linux".into())
}
