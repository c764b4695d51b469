//! The way of a machine into the network: a tap device, and NAT through an interface of the host.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bk::{Cmd, Console, Context, Error, Result, Status, display, file};
use serde::{Deserialize, Serialize};

use crate::address::Address;

/// Devices of ours are called so: those of others stay when a machine stops.
const ALIAS: &str = "bk-vm";

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Setting up takes some tenths of a second.
const WAIT: Duration = Duration::from_secs(30);

/// A machine's tap device, and where it leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tap {
    /// The device.
    pub tap: String,
    /// The host's interface to the world.
    pub iface: String,
    /// The machine.
    pub address: Address,
}

/// What a device may be called: at most 15 bytes (IFNAMSIZ, netdevice(7)); of those nft(8) could read as
/// something else none.
pub fn device(name: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let good = (1..=15).contains(&name.len())
        && name.chars().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match good {
        true => Ok(name.to_owned()),
        false => Err(Error::new(format!("'{}' is no network device", bk::sanitize(name)))
            .status(Status::Usage)),
    }
}

impl Tap {
    /// Sets it up; what is there already is left or replaced. `run` is where the host's own setting is
    /// kept.
    pub fn up(&self, run: &Path, console: &Console) -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::new("only root makes network devices")
                .hint("run it as root, or without them: bk-vm start --user-net MEMORY CPUS DISK"));
        }
        let failed = || format!("cannot connect '{}' to '{}'", self.tap, self.iface);
        let _lock = lock(run, console)?;
        self.set_up(run, console).context(failed)
    }

    fn set_up(&self, run: &Path, console: &Console) -> Result<()> {
        let (tap, gateway, address) = (&self.tap, self.address.gateway(), self.address);
        link(&self.iface, console).hint(|| "'ip link' names the interfaces there are".into())?;
        if link(tap, console).is_err() {
            ip(&["tuntap", "add", "dev", tap, "mode", "tap"], console)?;
            ip(&["link", "set", "dev", tap, "alias", ALIAS], console)?;
        }
        ip(&["link", "set", "dev", tap, "up"], console)?;
        // One address for all machines' taps, and a route to each: so there may be many without a bridge.
        ip(&["address", "replace", &format!("{gateway}/32"), "dev", tap], console)?;
        let (to, from) = (format!("{address}/32"), gateway.to_string());
        ip(&["route", "replace", &to, "dev", tap, "src", &from], console)?;
        // And we answer for the others, which a machine takes to be its neighbours.
        set(&format!("/proc/sys/net/ipv4/conf/{tap}/proxy_arp"), "1")?;

        let old = run.join("ip_forward");
        if !old.exists() {
            file::write(&old, file::read(Path::new(FORWARD), 64)?)?;
        }
        set(FORWARD, "1")?;
        nft(&self.rules(), console)
    }

    fn table(&self) -> String {
        let name: String =
            self.tap.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        format!("bkvm_{name}")
    }

    /// Added and deleted before, so that it replaces what is there.
    fn rules(&self) -> String {
        let Tap { tap, iface, address } = self;
        let table = self.table();
        format!(
            "add table ip {table}
delete table ip {table}
table ip {table} {{
  chain bk_out {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr {address} oifname \"{iface}\" masquerade
  }}
  chain bk_in {{
    type filter hook forward priority 0; policy accept;
    iifname \"{iface}\" oifname \"{tap}\" ct state established,related accept
    iifname \"{iface}\" oifname \"{tap}\" drop
  }}
}}
"
        )
    }

    /// Takes it down; what is gone already is no error. `others` says whether other machines still need
    /// the host to pass packets on.
    pub fn down(&self, run: &Path, others: bool, console: &Console) -> Result<()> {
        let _lock = lock(run, console)?;
        let table = self.table();
        let rules = nft(&format!("add table ip {table}\ndelete table ip {table}\n"), console);
        let mut result = rules;
        if link(&self.tap, console).is_ok_and(|text| text.contains(&format!("alias {ALIAS}"))) {
            result = ip(&["link", "delete", "dev", &self.tap], console).and(result);
        }
        let old = run.join("ip_forward");
        if !others && let Ok(value) = file::read(&old, 64) {
            result = set(FORWARD, String::from_utf8_lossy(&value).trim()).and(result);
            drop(std::fs::remove_file(&old));
        }
        result.context(|| format!("cannot take down '{}'", self.tap))
    }
}

fn lock(run: &Path, console: &Console) -> Result<file::Lock> {
    file::create_dir(run)?;
    file::Lock::exclusive(&run.join(".net.lock"), WAIT, console)
}

/// What ip(8) says of a device, if there is one.
fn link(name: &str, console: &Console) -> Result<String> {
    let text = Cmd::new("ip", console).args(["link", "show", "dev", name]).output()?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn ip(words: &[&str], console: &Console) -> Result<()> {
    Cmd::new("ip", console).args(words).output().map(drop)
}

fn nft(rules: &str, console: &Console) -> Result<()> {
    console.debug(rules);
    Cmd::new("nft", console).args(["-f", "-"]).output_with(rules.as_bytes()).map(drop)
}

/// Sets a variable of the kernel (sysctl(8)); these are no files that could be written beside.
fn set(path: &str, value: &str) -> Result<()> {
    let path = PathBuf::from(path);
    let write = || File::options().write(true).open(&path)?.write_all(value.as_bytes());
    write().context(|| format!("cannot set '{}'", display(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> bk::Error {
        bk::Error::new("nothing there")
    }

    #[test]
    fn devices_are_words() -> bk::Result<()> {
        for good in ["eth1", "qtap0", "enp0s31f6", "br-lan", "eth0.100"] {
            assert_eq!(device(good)?, good);
        }
        for bad in ["", "-x", "a b", "a\"b", "sixteen-letters-", "a/b", "x;"] {
            assert_eq!(device(bad).unwrap_err().exit_status(), Status::Usage, "{bad}");
        }
        Ok(())
    }

    #[test]
    fn nft_takes_the_rules() -> bk::Result<()> {
        let tap = Tap { tap: "br-x.0".into(), iface: "eth0.100".into(), address: "10".parse()? };
        let mut child = std::process::Command::new("nft")
            .args(["--check", "-f", "-"])
            .stdin(std::process::Stdio::piped())
            .spawn()?;
        child.stdin.take().ok_or_else(none)?.write_all(tap.rules().as_bytes())?;
        assert!(child.wait()?.success());
        Ok(())
    }
}
