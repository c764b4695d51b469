//! What makes a machine itself: written into a copy of the base, without a mount.

use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Context, Error, Result, display, file};

use crate::address::Address;
use crate::archive::Archive;
use crate::disk::Files;

/// A public key, or the addresses of name servers.
const LIMIT: u64 = 1 << 20;

/// A program for a machine's boot may be a binary.
const PROGRAM: u64 = 256 << 20;

/// What a machine is to be.
pub struct Identity<'a> {
    /// Where it is.
    pub address: Address,
    /// Public keys that may log in, beside its own.
    pub keys: &'a [PathBuf],
}

/// Where public keys that may log in are kept beside the disk, for clones.
pub const KEYS: &str = "authorized_keys";

/// What a machine has of its own. Its keys are made, and written into the folder `dir`, too.
pub fn files(identity: &Identity<'_>, dir: &Path, console: &Console) -> Result<Files> {
    let Identity { address, keys } = identity;
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
    let mut allowed = String::new();
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
    file::write(&dir.join(KEYS), &allowed)?;
    let (_, own) = key_pair("ed25519", &dir.join("id_ed25519"), "buildkit", console)?;
    files.text("/home/ubuntu/.ssh/authorized_keys", own + &allowed, 0o600);
    Ok(files)
}

/// What apt in a machine uses: the archives, and the apt cache, `HOST:PORT`.
pub fn apt(files: &mut Files, archives: &[Archive], proxy: Option<&str>) {
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
}

/// Programs of the host's that the machine runs at every boot, as root, in their order.
pub fn boot(files: &mut Files, programs: &[PathBuf]) -> Result<()> {
    let folder = "/usr/local/lib/buildkit/boot.d";
    for (number, program) in programs.iter().enumerate() {
        let failed = || format!("cannot use '{}'", display(program));
        // run-parts(8) goes by the names, and takes what may be run.
        let text = file::read(program, PROGRAM).context(failed)?;
        files.text(&format!("{folder}/{:02}", number + 1), text, 0o755);
    }
    if !programs.is_empty() {
        let unit = "buildkit-boot.service";
        files.text(
            &format!("/etc/systemd/system/{unit}"),
            format!(
                "[Unit]\nDescription=Programs of every boot\nAfter=network.target\n\n[Service]\n\
                 Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/run-parts --exit-on-error {folder}\n\
                 StandardOutput=journal+console\n\n[Install]\nWantedBy=multi-user.target\n"
            ),
            0o644,
        );
        let wants = format!("/etc/systemd/system/multi-user.target.wants/{unit}");
        files.link(&wants, &format!("/etc/systemd/system/{unit}"));
    }
    Ok(())
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
}
