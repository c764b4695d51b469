//! What makes a Debian one of our machines; what differs from one to the next is in `identity`.

use std::fs;
use std::path::Path;

use bk::{Cmd, Console, Context, Result, display, file};

/// The user of every machine (the manual's), and the password's hash: `openssl passwd -6 -salt buildkit
/// ubuntu`. It is no secret.
const USER: &str = "ubuntu";
const PASSWORD: &str = "$6$buildkit$nTjvrrUIVX7oBfuv7LavMQo7BGl7naoqEJvvYlBkI9H25Mx8gZWqJ0vHbsIZsqJUg.3DoF2KIZRcATzmzf/b0.";

/// Jobs that a machine for tests has no use of; apt's would hold its lock just when a test needs it.
const MASKED: [&str; 6] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "systemd-networkd-wait-online.service",
];

/// What scripts left that is of this place, or of one machine alone. Host keys are every machine's own.
const LEFT: [&str; 13] = [
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/dbus/machine-id",
    "/etc/hosts",
    "/etc/machine-id",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/.pwd.lock",
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride-old",
    "/var/log/alternatives.log",
    "/var/log/bootstrap.log",
    "/var/log/dpkg.log",
];

/// Writes it into the root folder.
pub(super) fn write(console: &Console) -> Result<()> {
    let run = |words: &[&str]| -> Result<()> {
        let (program, words) = words.split_first().unwrap_or((&"true", &[]));
        Cmd::new(program, console).args(words).output().map(drop)
    };
    run(&["useradd", "--create-home", "--shell", "/bin/bash", "--password", PASSWORD, USER])?;
    run(&["usermod", "--append", "--groups", "sudo", USER])?;
    let sudo = Path::new("/etc/sudoers.d/buildkit");
    file::write(sudo, format!("{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n"))?;
    mode(sudo, 0o440)?;
    // As Debian's adduser(8) makes it.
    let home = Path::new("/home").join(USER);
    mode(&home, 0o700)?;
    let ssh = home.join(".ssh");
    file::create_dir(&ssh)?;
    mode(&ssh, 0o700)?;
    run(&["chown", &format!("{USER}:{USER}"), &display(&ssh)])?;

    run(&["systemctl", "--quiet", "enable", "systemd-networkd.service"])?;
    run(&[&["systemctl", "--quiet", "mask"][..], &MASKED].concat())?;
    // The initrd mounts the root folder; nothing else is to be mounted or checked.
    file::write(Path::new("/etc/fstab"), "/dev/vda / ext4 errors=remount-ro 0 0\n")?;

    let keys = fs::read_dir("/etc/ssh").into_iter().flatten().flatten().map(|entry| entry.path());
    let keys = keys.filter(|path| display(path).starts_with("/etc/ssh/ssh_host_"));
    for path in keys.chain(LEFT.iter().map(|path| Path::new(path).to_owned())) {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(
                    bk::Error::from(e).context(format!("cannot remove '{}'", display(&path)))
                );
            }
            _ => {}
        }
    }
    Ok(())
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .context(|| format!("cannot set the permissions of '{}'", display(path)))
}
