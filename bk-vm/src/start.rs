//! `bk-vm start`

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display, file};
use clap::Args;
use serde::Serialize;

use crate::keeper::{Keeper, Place};
use crate::machine::Machine;
use crate::net::{self, Tap};
use crate::qemu::{self, Accel, Net};
use crate::running;

/// How long a machine may take until its ssh answers: a boot takes 2 s on a processor, some 15 s
/// emulated, and minutes where many are emulated at once.
pub(crate) const READY: Duration = Duration::from_secs(600);

/// Boot a machine, and keep it in the foreground
///
/// It gets the tap device TAP and a way out through the interface IFACE, by NAT. When its ssh answers, its
/// address is printed: `ssh ubuntu@192.168.100.10`. When it shuts down, or this is ended, device and NAT are
/// taken down again.
#[derive(Args)]
#[command(
    override_usage = "bk-vm start [OPTIONS] IFACE TAP MEMORY CPUS DISK [-- QEMU_ARGUMENT…]\n       \
                      bk-vm start [OPTIONS] --user-net MEMORY CPUS DISK [-- QEMU_ARGUMENT…]",
    after_long_help = "\
Examples:
  bk-vm-start eth1 qtap0 512M 1 vms/buildkit10/disk.raw
      Then, from another terminal: ssh ubuntu@192.168.100.10
  bk-vm start --detach --user-net 1G 2 10
      Without root, and back when ssh answers: bk-vm ssh 10
  bk-vm start eth1 qtap0 512M 1 10 -- -drive file=data.raw,format=raw,if=virtio
      With another disk.

Exit status:
  0   the machine has shut down; with --detach: its ssh answers
  1   it could not be started, or its ssh did not answer
  2   the command line or the configuration is wrong
"
)]
pub struct Start {
    /// The host's interface to the world, the tap device, memory as 512M, processors, and the disk or
    /// machine
    #[arg(required = true, num_args = 1.., value_name = "ARGUMENT")]
    words: Vec<OsString>,
    /// qemu's own network, which needs no root: only ssh leads in, by a port of this system's loopback
    #[arg(long)]
    user_net: bool,
    /// Come back when ssh answers, and leave the machine running
    #[arg(short, long)]
    detach: bool,
    /// How it is run
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    accel: Accel,
    /// Seconds until its ssh must answer
    #[arg(long, value_name = "SECONDS", default_value_t = READY.as_secs())]
    timeout: u64,
    /// Print what would be run, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// What `--detach` leaves behind
    #[arg(long, hide = true)]
    attached: bool,
    /// Arguments for qemu
    #[arg(last = true, value_name = "QEMU_ARGUMENT")]
    more: Vec<OsString>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "running")]
struct Started {
    name: String,
    /// Where its ssh is.
    host: String,
    port: u16,
    accel: String,
}

impl Record for Started {
    fn line(&self) -> Cow<'_, [u8]> {
        match self.port {
            22 => self.host.clone().into_bytes().into(),
            port => format!("{}:{port}", self.host).into_bytes().into(),
        }
    }
}

/// What the words of the command line say.
struct Asked {
    net: Option<(String, String)>,
    memory: u64,
    cpus: u32,
    disk: PathBuf,
    machine: Machine,
}

impl Start {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let asked = self.asked(session)?;
        if self.detach && !self.attached && !self.dry_run {
            return detach(&asked.machine, session);
        }
        let console = session.console.clone();
        // Held until the keeper has cleared up.
        let _lock = running::keep(&asked.machine, &session.dirs)?;
        let (accel, why) = self.accel.decide(&asked.machine)?;
        if let Some(why) = why {
            console.note(&format!("emulated, for {why}"));
        }
        let net = match asked.net.clone() {
            Some((iface, tap)) => {
                Net::Tap(Tap { tap, iface, address: asked.machine.about.address })
            }
            None => Net::User(free_port()?),
        };
        let place = Place {
            name: asked.machine.name(),
            folder: running::folder(&session.dirs),
            logs: asked.machine.dir.clone(),
        };
        let command = qemu::Start {
            machine: &asked.machine,
            disk: &asked.disk,
            serial: &asked.machine.path("serial.log"),
            memory: asked.memory,
            cpus: asked.cpus,
            kvm: accel == Accel::Kvm,
            net: &net,
            monitor: &place.monitor(),
            more: &self.more,
        }
        .command()?;
        if self.dry_run {
            let words: Vec<String> = command.iter().map(display).collect();
            session.out.raw(words.join(" ") + "\n")?;
            return Ok(Status::Done);
        }
        let accel = accel.word();
        let mut keeper = Keeper::start(&asked.machine, place, &net, accel, &command, &console)?;
        let limit = Duration::from_secs(self.timeout);
        keeper.wait_ready(limit)?;
        let ssh = keeper.running.ssh;
        session.out.record(&Started {
            name: asked.machine.name(),
            host: ssh.ip().to_string(),
            port: ssh.port(),
            accel: accel.to_owned(),
        })?;
        session.out.flush()?;
        keeper.wait().map(|()| Status::Done)
    }

    fn asked(&self, session: &Session) -> Result<Asked> {
        let usage = |what: String| Error::new(what).status(Status::Usage);
        let words: Vec<&str> = self
            .words
            .iter()
            .map(|word| {
                word.to_str().ok_or_else(|| usage(format!("'{}' is not UTF-8", display(word))))
            })
            .collect::<Result<_>>()?;
        let (net, rest) = match (&words[..], self.user_net) {
            ([iface, tap, rest @ ..], false) => {
                (Some((net::device(iface)?, net::device(tap)?)), rest)
            }
            (rest, _) => (None, rest),
        };
        let [memory, cpus, disk] = *rest else {
            return Err(usage("there are too many words, or too few".into()).hint(
                "bk-vm start IFACE TAP MEMORY CPUS DISK, or bk-vm start --user-net MEMORY CPUS DISK",
            ));
        };
        let memory = qemu::memory(memory)?;
        // qemu's q35 board takes 255.
        let cpus =
            cpus.parse().ok().filter(|n| (1..=255).contains(n)).ok_or_else(|| {
                usage(format!("'{}' is no number of processors", bk::sanitize(cpus)))
            })?;
        let machine = Machine::find(disk, &session.dirs)?;
        let path = Path::new(disk);
        let path = if path.is_file() { path.to_owned() } else { machine.disk() };
        Ok(Asked { net, memory, cpus, disk: path, machine })
    }
}

/// A port of loopback that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context(|| "no port is free".into())?;
    Ok(listener.local_addr()?.port())
}

/// Starts this program again, in the background, and waits for what it says.
fn detach(machine: &Machine, session: &mut Session) -> Result<Status> {
    let failed = || format!("cannot start '{}' in the background", machine.name());
    let own = crate::cli::program().context(failed)?;
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.insert(end, "--attached".into());
    let said = machine.path("start.log");
    let mut command = Command::new(own);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(File::create(&said).context(failed)?);
    // A terminal's signals are for what runs in its foreground.
    let mut child = command.process_group(0).spawn().context(failed)?;
    let mut line = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let end = if session.null { 0 } else { b'\n' };
        BufReader::new(stdout).read_until(end, &mut line).context(failed)?;
    }
    // What an error may have: a screenful.
    let told = file::read(&said, 1 << 16).unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    if line.is_empty() {
        let status = child.wait().context(failed)?;
        let why = told.trim().trim_start_matches("bk-vm: ");
        return Err(Error::new(why).context(format!("{} ({status})", failed())));
    }
    for line in told.lines() {
        session.console.note(line.trim_start_matches("bk-vm: "));
    }
    session.out.raw(line)?;
    Ok(Status::Done)
}
