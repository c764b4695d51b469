//! The command line of qemu.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use bk::{Context, Error, Result, Status, display};

use crate::kvm;
use crate::machine::Machine;
use crate::net::Tap;

/// How guests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// KVM where a timed guest says it is one, else emulation
    Auto,
    /// By the processor, or not at all
    Kvm,
    /// Emulated
    Tcg,
}

impl Accel {
    /// How it is run, and why it is not by the processor.
    pub fn decide(self, machine: &Machine) -> Result<(Accel, Option<String>)> {
        let own = bk_deb::debian::own_arch();
        let verdict = || match machine.about.arch == own || machine.about.arch == "i386" {
            true => kvm::probe(),
            false => kvm::Verdict {
                good: false,
                reason: format!("this system's processor runs no '{}'", machine.about.arch),
                speed: None,
            },
        };
        match self {
            Accel::Tcg => Ok((Accel::Tcg, None)),
            wanted => match (verdict(), wanted) {
                (verdict, _) if verdict.good => Ok((Accel::Kvm, None)),
                (verdict, Accel::Kvm) => Err(Error::new(verdict.reason)
                    .context("KVM is of no use here")
                    .hint("leave --accel out: the machine is emulated then")),
                (verdict, _) => Ok((Accel::Tcg, Some(verdict.reason))),
            },
        }
    }

    /// As it is told of.
    pub fn word(self) -> &'static str {
        if self == Accel::Kvm { "kvm" } else { "tcg" }
    }
}

/// The machine's way out.
#[derive(Clone, Debug)]
pub enum Net {
    /// A tap device of the host.
    Tap(Tap),
    /// qemu's own network, with the machine's ssh on a port of the host's loopback.
    User(u16),
}

/// What a machine is started with.
pub struct Start<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// Its disk.
    pub disk: &'a Path,
    /// Where its console is written to.
    pub serial: &'a Path,
    /// Its memory in MiB.
    pub memory: u64,
    /// Its processors.
    pub cpus: u32,
    /// Whether the processor runs it.
    pub kvm: bool,
    /// Its network.
    pub net: &'a Net,
    /// Where the monitor's socket is to be.
    pub monitor: &'a Path,
    /// More of qemu's own arguments.
    pub more: &'a [OsString],
}

impl Start<'_> {
    /// The program and its arguments.
    pub fn command(&self) -> Result<Vec<OsString>> {
        let Start { machine, memory, cpus, kvm, .. } = self;
        let about = &machine.about;
        let (program, board, console, more) = match about.arch.as_str() {
            // Under load an emulated timer is late, which the kernel takes for a broken one.
            "amd64" | "i386" => ("qemu-system-x86_64", "q35", "ttyS0", " no_timer_check"),
            "arm64" => ("qemu-system-aarch64", "virt", "ttyAMA0", ""),
            other => {
                return Err(Error::new(format!("no qemu is known for '{}'", bk::sanitize(other))));
            }
        };
        let mut words: Vec<OsString> = [program, "-name"].map(OsString::from).into();
        words.push(machine.name().into());
        let [kernel, initrd] = ["vmlinuz", "initrd"].map(|name| machine.path(name));
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-machine", board]);
        match (kvm, about.arch.as_str()) {
            (true, _) => add(&["-accel", "kvm", "-cpu", "host"]),
            (false, "arm64") => add(&["-accel", "tcg", "-cpu", "cortex-a57"]),
            (false, _) => add(&["-accel", "tcg"]),
        }
        add(&["-m", &memory.to_string(), "-smp", &cpus.to_string()]);
        add(&["-serial", &format!("file:{}", utf8(self.serial)?)]);
        let format = format(self.disk)?;
        add(&["-drive", &format!("file={},if=virtio,format={format}", text(self.disk)?)]);
        let (address, mac) = (about.address, about.address.mac());
        let net = match self.net {
            Net::Tap(tap) => format!("tap,id=net,ifname={},script=no,downscript=no", tap.tap),
            Net::User(port) => format!(
                "user,id=net,net={},host={},hostfwd=tcp:127.0.0.1:{port}-{address}:22",
                address.network(),
                address.gateway()
            ),
        };
        add(&[
            "-netdev",
            &net,
            "-device",
            &format!("virtio-net-pci,netdev=net,mac={mac},romfile="),
        ]);
        add(&["-qmp", &format!("unix:{},server=on,wait=off", text(self.monitor)?)]);
        add(&["-kernel", utf8(&kernel)?]);
        add(&["-initrd", utf8(&initrd)?]);
        let mut line = format!("console={console} quiet net.ifnames=0{more}");
        if !kvm {
            // Services that take a second take minutes when the host is busy.
            line += " systemd.default_timeout_start_sec=600s";
        }
        words.extend(["-append".into(), line.into()]);
        words.extend(self.more.iter().cloned());
        Ok(words)
    }
}

/// A path as qemu's options take it: with its commas doubled.
fn text(path: &Path) -> Result<String> {
    Ok(utf8(path)?.replace(',', ",,"))
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| Error::new(format!("'{}' is no name that qemu can be given", display(path))))
}

/// What a disk is, by its first bytes; qemu is never to guess, since a guest writes those of a raw disk.
/// So a name that ends with .raw decides.
fn format(disk: &Path) -> Result<&'static str> {
    if disk.extension().is_some_and(|end| end == "raw") {
        return Ok("raw");
    }
    let mut magic = [0; 4];
    let failed = || format!("cannot read '{}'", display(disk));
    std::fs::File::open(disk).and_then(|mut file| file.read_exact(&mut magic)).context(failed)?;
    // "QFI" and 0xfb (qemu's qcow2.txt)
    Ok(if magic == *b"QFI\xfb" { "qcow2" } else { "raw" })
}

/// A machine's memory, as `512M`, in MiB.
pub fn memory(text: &str) -> Result<u64> {
    let bytes =
        crate::create::size(text).context(|| format!("'{}' is no memory", bk::sanitize(text)));
    let mib = bytes.status(Status::Usage)? >> 20;
    // Debian's kernel and systemd need some 100 MiB.
    match mib {
        128.. => Ok(mib),
        _ => Err(Error::new(format!("'{}' is too little memory", bk::sanitize(text)))
            .hint("give it 128M at least")
            .status(Status::Usage)),
    }
}
