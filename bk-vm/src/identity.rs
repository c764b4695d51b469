//! What makes a machine itself: written into a copy of the base, without a mount.

use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Context, Error, Result, display, file};

use crate::address::Address;
use crate::archive::Archive;

/// The user's number, the first that adduser(8) gives.
const USER: u32 = 1000;

/// A public key, or the addresses of name servers.
const LIMIT: u64 = 1 << 20;

/// What a machine is to be.
pub struct Identity<'a> {
    /// Where it is.
    pub address: Address,
    /// What apt in it uses.
    pub archives: &'a [Archive],
    /// The apt cache, `HOST:PORT`, that it uses.
    pub proxy: Option<&'a str>,
    /// Public keys that may log in, beside its own.
    pub keys: &'a [PathBuf],
}

/// Files to write into a disk.
#[derive(Default)]
pub struct Files {
    files: Vec<File>,
    folders: Vec<(String, u32)>,
}

struct File {
    path: String,
    source: Source,
    mode: u32,
    owner: u32,
}

enum Source {
    Text(Vec<u8>),
    Path(PathBuf),
}

impl Files {
    /// A file of root's with this text.
    pub fn text(&mut self, path: &str, text: impl Into<Vec<u8>>, mode: u32) {
        let source = Source::Text(text.into());
        self.files.push(File { path: path.to_owned(), source, mode, owner: 0 });
    }

    /// A file of root's with the content of the host's.
    pub fn copy(&mut self, path: &str, from: &Path, mode: u32) {
        let source = Source::Path(from.to_owned());
        self.files.push(File { path: path.to_owned(), source, mode, owner: 0 });
    }

    /// A folder of root's; those above it come before it.
    pub fn folder(&mut self, path: &str, mode: u32) {
        if !self.folders.iter().any(|(known, _)| known == path) {
            self.folders.push((path.to_owned(), mode));
        }
    }

    /// Writes them all into a disk by debugfs(8), with temporary files in `dir`.
    pub fn write(self, disk: &Path, dir: &Path, console: &Console) -> Result<()> {
        let failed = || format!("cannot write into '{}'", display(disk));
        let dir = file::TempDir::new_in(dir)?;
        let mut script = String::new();
        for (path, mode) in &self.folders {
            check(path)?;
            let _ =
                write!(script, "mkdir \"{path}\"\nsif \"{path}\" mode 0{:o}\n", 0o040000 | mode);
        }
        for (number, file) in self.files.iter().enumerate() {
            check(&file.path)?;
            let source = match &file.source {
                Source::Path(path) => path.clone(),
                Source::Text(text) => {
                    let path = dir.path().join(number.to_string());
                    file::write(&path, text)?;
                    path
                }
            };
            let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            let source = source.to_str().ok_or_else(|| {
                Error::new(format!("'{}' is no name debugfs can read", display(&source)))
            })?;
            check(source)?;
            let _ = write!(
                script,
                "cd \"{folder}/\"\nwrite \"{source}\" \"{name}\"\nsif \"{name}\" mode 0{:o}\n\
                 sif \"{name}\" uid {owner}\nsif \"{name}\" gid {owner}\n",
                0o100000 | file.mode,
                owner = file.owner
            );
        }
        let list = dir.path().join("script");
        file::write(&list, script)?;
        let debugfs = Cmd::new("debugfs", console).arg("-w").arg("-f").arg(&list).arg(disk);
        let output = debugfs.env("LC_ALL", "C").output_unchecked().context(failed)?;
        // It says its version first, and ends with 0 whatever happened.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let wrong: Vec<&str> =
            said.lines().filter(|line| !line.starts_with("debugfs 1.")).collect();
        match wrong.is_empty() && output.status.success() {
            true => Ok(()),
            false => Err(Error::new(wrong.join("\n")).context(failed())),
        }
    }
}

/// debugfs knows quotes and no way to write one.
fn check(path: &str) -> Result<()> {
    match path.contains(['"', '\n', '\\']) {
        false => Ok(()),
        true => {
            Err(Error::new(format!("'{}' has a quote or a line's end in it", bk::sanitize(path))))
        }
    }
}

/// What a machine has of its own. Its keys are made, and written into the folder `dir`, too.
pub fn files(identity: &Identity<'_>, dir: &Path, console: &Console) -> Result<Files> {
    let Identity { address, archives, proxy, keys } = identity;
    let (name, gateway) = (address.name(), address.gateway());
    let mut files = Files::default();
    files.text("/etc/hostname", format!("{name}\n"), 0o644);
    files.text(
        "/etc/hosts",
        format!(
            "127.0.0.1 localhost\n{address} {name}\n{gateway} host.buildkit\n\
             ::1 localhost ip6-localhost ip6-loopback\n"
        ),
        0o644,
    );
    files.text("/etc/machine-id", format!("{}\n", random_id()?), 0o444);
    files.text("/etc/resolv.conf", resolvers(gateway), 0o644);
    files.text(
        "/etc/systemd/network/10-buildkit.network",
        format!(
            "[Match]\nMACAddress={}\n\n[Network]\nAddress={address}/24\nGateway={gateway}\n\
             LinkLocalAddressing=no\nIPv6AcceptRA=no\n",
            address.mac()
        ),
        0o644,
    );
    let line = |a: &Archive| format!("deb {} {} main\n", seen_inside(&a.uri), a.suite);
    files.text("/etc/apt/sources.list", archives.iter().map(line).collect::<String>(), 0o644);
    if let Some(proxy) = proxy {
        let url = seen_inside(&format!("http://{proxy}"));
        files.text(
            "/etc/apt/apt.conf.d/01buildkit",
            format!("Acquire::http::Proxy \"{url}\";\n"),
            0o644,
        );
    }
    let mut known = String::new();
    for kind in ["ed25519", "ecdsa"] {
        let file = format!("ssh_host_{kind}_key");
        let (secret, public) = key_pair(kind, &dir.join(&file), &format!("root@{name}"), console)?;
        let _ = writeln!(known, "{address} {}", public.trim());
        files.text(&format!("/etc/ssh/{file}"), secret, 0o600);
        files.text(&format!("/etc/ssh/{file}.pub"), public, 0o644);
        // They are the machine's; nobody needs them here.
        for path in [dir.join(&file), dir.join(format!("{file}.pub"))] {
            std::fs::remove_file(&path)
                .context(|| format!("cannot remove '{}'", display(&path)))?;
        }
    }
    file::write(&dir.join("known_hosts"), known)?;
    let (_, mut allowed) = key_pair("ed25519", &dir.join("id_ed25519"), "buildkit", console)?;
    for key in *keys {
        let text = String::from_utf8(file::read(key, LIMIT)?)
            .context(|| format!("cannot use the key '{}'", display(key)))?;
        if text.contains("PRIVATE KEY") {
            return Err(Error::new(format!("'{}' is a private key", display(key)))
                .hint("name the public one, which ends with .pub"));
        }
        allowed += text.trim();
        allowed += "\n";
    }
    files.files.push(File {
        path: "/home/ubuntu/.ssh/authorized_keys".into(),
        source: Source::Text(allowed.into_bytes()),
        mode: 0o600,
        owner: USER,
    });
    Ok(files)
}

/// Makes a key pair as `path`, and returns both halves.
fn key_pair(kind: &str, path: &Path, name: &str, console: &Console) -> Result<(String, String)> {
    Cmd::new("ssh-keygen", console)
        .args(["-q", "-t", kind, "-N", "", "-C", name, "-f"])
        .arg(path)
        .output()?;
    let text = |path: &Path| -> Result<String> {
        Ok(String::from_utf8_lossy(&file::read(path, LIMIT)?).into_owned())
    };
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    Ok((text(path)?, text(Path::new(&public))?))
}

/// machine-id(5): 128 random bits in hexadecimal.
fn random_id() -> Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context(|| "cannot read '/dev/urandom'".into())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// An address of the host's loopback as the machine reaches it.
fn seen_inside(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.split_at(authority.rfind(':').unwrap_or(authority.len()));
    match host {
        "localhost" => {}
        _ if host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()) => {}
        _ => return url.to_owned(),
    }
    format!("{scheme}://host.buildkit{port}{path}")
}

/// The host's name servers, but for those that only the host reaches.
fn resolvers(gateway: std::net::Ipv4Addr) -> String {
    let read = |path: &str| {
        let text = String::from_utf8_lossy(&file::read(Path::new(path), LIMIT).unwrap_or_default())
            .into_owned();
        let server = |line: &str| {
            let address: std::net::IpAddr = line.strip_prefix("nameserver")?.trim().parse().ok()?;
            (!address.is_loopback()).then(|| format!("nameserver {address}\n"))
        };
        text.lines().filter_map(server).collect::<String>()
    };
    // systemd-resolved's own list stands behind the loopback address in the first.
    let found = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"].map(read);
    found
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| format!("nameserver {gateway}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_loopback_is_seen_as_the_host() {
        for (url, seen) in [
            ("http://127.0.0.1:9999", "http://host.buildkit:9999"),
            ("http://localhost:9999/debian", "http://host.buildkit:9999/debian"),
            ("http://127.0.0.1/debian", "http://host.buildkit/debian"),
            ("http://192.168.100.254:9999", "http://192.168.100.254:9999"),
            ("http://MIRROR/debian", "http://MIRROR/debian"),
        ] {
            assert_eq!(seen_inside(url), seen);
        }
    }

    #[test]
    fn names_that_debugfs_would_read_otherwise_are_refused() {
        assert!(check("/etc/a b").is_ok());
        for bad in ["a\"b", "a\nquit", "a\\b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
