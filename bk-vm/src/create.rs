//! `bk-vm create`

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display};
use bk_deb::debian::own_arch;
use bk_deb::fetch::Fetch;
use clap::Args;
use serde::Serialize;

use crate::address::Address;
use crate::bootstrap::{Item, Store, Wanted};
use crate::identity::{self, Identity};
use crate::machine::{self, About, DISK, Machine};
use crate::{archive, disk};

/// The port of apt caches: bk-aptcache's, and apt-proxy's before it.
const PORT: u16 = 9999;

/// A disk that grows as it is filled; a test of a large tree of packages takes some GB.
const SIZE: &str = "8G";

/// Make a machine: buildkitN at 192.168.100.N
///
/// A Debian of the suite is made from its packages, with a kernel, systemd, ssh and sudo, as the folder
/// DIR/buildkitN. The first one takes some seconds of computing; every further one of the same packages is
/// a copy with a name, an address and keys of its own.
///
/// User and password are `ubuntu`. `host.buildkit` is this system, as the machine sees it.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-vm-create --proxy 127.0.0.1 -o vms 10
      vms/buildkit10/disk.raw, at 192.168.100.10, through the cache on this system; so does apt in it.
  bk-vm-create --suite trixie -a python3 -a git --key ~/.ssh/id_ed25519.pub 11
      With more packages, for somebody's key.
  bk-vm-create --copy-dir 'debs -> /srv/debs' --exec-on-boot setup.sh 12
      With the folder debs, and a program that runs whenever it boots.

Exit status:
  0   the machine is there
  1   it could not be made, or there is one already
  2   the command line or the configuration is wrong
  75  the archive does not answer, or another create is running: try again
")]
pub struct Create {
    /// Its number, or its address
    #[arg(value_name = "N|IP")]
    address: Address,
    /// The folder to make it in [default: /var/lib/buildkit/vm]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// An apt cache to fetch everything through; apt in the machine uses it, too [default port: 9999]
    #[arg(long, value_name = "IP[:PORT]", value_parser = proxy)]
    proxy: Option<String>,
    /// The suite [default: this system's]
    #[arg(long)]
    suite: Option<String>,
    /// The Debian architecture
    #[arg(long, default_value = own_arch())]
    arch: String,
    /// The archive [default: those of this system's apt sources]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Install this package, too
    #[arg(short, long = "add", value_name = "PACKAGE")]
    add: Vec<String>,
    /// A public key that may log in
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// The size of its disk, which takes no more room than what is in it
    #[arg(long, default_value = SIZE, value_parser = size)]
    size: u64,
    /// Copy a file into it
    #[arg(long, value_name = "SRC -> DST", value_parser = disk::pair)]
    copy_file: Vec<(PathBuf, String)>,
    /// Copy a folder into it, with all that is in it
    #[arg(long, value_name = "SRC -> DST", value_parser = disk::pair)]
    copy_dir: Vec<(PathBuf, String)>,
    /// A program that it runs at every boot, as root
    #[arg(long, value_name = "FILE")]
    exec_on_boot: Vec<PathBuf>,
    /// Print the packages it would have, and make nothing
    #[arg(long)]
    dry_run: bool,
}

/// `HOST[:PORT]`, maybe with `http://` in front.
fn proxy(text: &str) -> Result<String> {
    let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    let port = if port.is_empty() { Some(PORT) } else { port.parse().ok() };
    match port.filter(|_| !host.is_empty() && host.chars().all(plain)) {
        Some(port) => Ok(format!("{host}:{port}")),
        None => Err(Error::new("it is no address of a cache").hint("write it as 127.0.0.1:9999")),
    }
}

/// Bytes, or a number with K, M, G or T.
pub(crate) fn size(text: &str) -> Result<u64> {
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let found = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = found.unwrap_or((text, 0));
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    bytes.ok_or_else(|| Error::new("it is no size").hint("write it as 8G or 512M"))
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "machine")]
pub(crate) struct Made {
    /// Its name.
    pub name: String,
    /// Where it is on the network.
    pub address: Address,
    /// Its disk.
    #[serde(serialize_with = "bk::record::path")]
    pub path: PathBuf,
}

impl Record for Made {
    fn line(&self) -> Cow<'_, [u8]> {
        use std::os::unix::ffi::OsStrExt;
        self.path.as_os_str().as_bytes().into()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "package")]
struct Planned<'a> {
    #[serde(flatten)]
    item: &'a Item,
}

impl Record for Planned<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        format!("{} {}", self.item.name, self.item.version).into_bytes().into()
    }
}

impl Create {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let console = session.console.clone();
        runnable(&self.arch)?;
        let output = self.output.clone().unwrap_or_else(|| machine::home(&session.dirs));
        let dir = output.join(self.address.name());
        let failed = || format!("cannot make '{}'", display(&dir));
        machine::refuse(&dir).context(failed)?;
        let fetch = Fetch::new(&console, false);
        let fetch = match &self.proxy {
            Some(proxy) => fetch.through(proxy),
            None => fetch,
        };
        let (suite, archives) = archive::archives(self.suite.as_deref(), self.mirror.as_deref())?;
        let wanted = Wanted {
            suite,
            archives,
            arch: self.arch.clone(),
            packages: self.add.clone(),
            size: self.size,
        };
        let store = Store::new(&session.dirs.cache, &crate::cli::program()?);
        let plan = store.plan(&wanted, &fetch, &console).context(failed)?;
        if self.dry_run {
            for item in &plan.packages {
                session.out.record(&Planned { item })?;
            }
            return Ok(Status::Done);
        }
        let base = store.make(&plan, &fetch, &console).context(failed)?;

        let identity = Identity { address: self.address, keys: &self.key };
        let fill = |new: &Path| self.fill(new, &base.dir, &wanted, &identity, session);
        let machine = machine::make(&output, self.address, fill, &console).context(failed)?;
        machine::remember(&machine, &session.dirs, &console);
        let path = dir.join(DISK);
        session.out.record(&Made { name: self.address.name(), address: self.address, path })?;
        Ok(Status::Done)
    }

    /// Makes a machine of a base, in a folder.
    fn fill(
        &self,
        dir: &Path,
        base: &Path,
        wanted: &Wanted,
        identity: &Identity<'_>,
        session: &Session,
    ) -> Result<()> {
        let console = &session.console;
        machine::copy_disk(&base.join(DISK), &dir.join(DISK), console)?;
        machine::link_kernel(base, dir)?;
        let mut files = identity::files(identity, dir, console)?;
        identity::apt(&mut files, &wanted.archives, self.proxy.as_deref());
        identity::boot(&mut files, &self.exec_on_boot)?;
        for (from, to) in self.copy_file.iter().chain(&self.copy_dir) {
            files.copy(from, to)?;
        }
        files.write(&dir.join(DISK), dir, console)?;
        let (arch, suite) = (self.arch.clone(), wanted.suite.clone());
        Machine::save(dir, &About { address: self.address, arch, suite })
    }
}

/// The scripts of packages are programs of the machine's architecture.
fn runnable(arch: &str) -> Result<()> {
    let own = own_arch();
    let cpu = match arch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "armhf" => "arm",
        "ppc64el" => "ppc64le",
        other => other,
    };
    let emulated = Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{cpu}")).exists();
    match arch == own || (own == "amd64" && arch == "i386") || emulated {
        true => Ok(()),
        false => {
            Err(Error::new(format!("this system runs no programs of '{}'", bk::sanitize(arch)))
                .hint("install qemu-user-static and binfmt-support, or leave --arch out"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_and_sizes_are_read() -> bk::Result<()> {
        for (text, read) in [
            ("127.0.0.1", "127.0.0.1:9999"),
            ("127.0.0.1:3142", "127.0.0.1:3142"),
            ("http://cache/", "cache:9999"),
        ] {
            assert_eq!(proxy(text)?, read);
        }
        for bad in ["", ":1", "a b", "a:x", "a:99999"] {
            assert!(proxy(bad).is_err(), "{bad}");
        }
        for (text, bytes) in [("512M", 512 << 20), ("8G", 8 << 30), ("4096", 4096)] {
            assert_eq!(size(text)?, bytes);
        }
        for bad in ["", "G", "-1M", "1.5G", "99999999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        Ok(())
    }
}
