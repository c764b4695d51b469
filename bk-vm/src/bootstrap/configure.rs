//! Running the maintainer scripts in the tree, once for all packages.

use std::fs::{self, File};
use std::path::Path;

use bk::{Cmd, Console, Context, Error, Result, display, file};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::Plan;

/// The devices scripts use. They are the host's: not even root may make any in a user namespace.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Where dpkg has control files, of what is unpacked and of what is being unpacked.
const INFO: &str = "/var/lib/dpkg/info";
const UNPACKING: &str = "/var/lib/dpkg/tmp.ci";

/// No service is started in a tree (Debian's invoke-rc.d interface, policy-rc.d).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes the tree the root of this process, which has mounts of its own.
pub(super) fn enter(tree: &Path) -> Result<()> {
    let failed = || format!("cannot make '{}' the root", display(tree));
    // No mount of ours reaches the host.
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .context(failed)?;
    for dir in ["dev", "proc", "sys"] {
        file::create_dir(&tree.join(dir))?;
    }
    for name in DEVICES {
        let at = tree.join("dev").join(name);
        File::create(&at).context(failed)?;
        rustix::mount::mount_bind(Path::new("/dev").join(name), &at).context(failed)?;
    }
    rustix::process::chroot(tree).context(failed)?;
    rustix::process::chdir("/").context(failed)
}

/// Takes away what [`enter`] and [`run`] put there.
pub(super) fn leave() -> Result<()> {
    let failed = || "cannot leave the tree".to_owned();
    for name in DEVICES {
        let at = Path::new("/dev").join(name);
        rustix::mount::unmount(&at, UnmountFlags::DETACH).context(failed)?;
        fs::remove_file(&at).context(failed)?;
    }
    rustix::mount::unmount("/proc", UnmountFlags::DETACH).context(failed)
}

/// Runs preinst of all, and then dpkg, which runs the rest.
pub(super) fn run(plan: &Plan, console: &Console) -> Result<()> {
    // Not before the folder has the owner that its package says: then it is the kernel's.
    let none = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", none, None)
        .context(|| "cannot mount '/proc'".into())?;
    file::write(Path::new(POLICY), "#!/bin/sh\nexit 101\n")?;
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
    let mut items: Vec<_> = plan.packages.iter().collect();
    // Users and groups come with base-passwd; other scripts name them.
    items.sort_by_key(|item| item.name != "base-passwd");
    for item in items {
        let names = [item.name.clone(), format!("{}:{}", item.name, item.architecture)];
        let path = |name: &String| Path::new(INFO).join(format!("{name}.preinst"));
        let Some(script) = names.iter().map(path).find(|path| path.exists()) else { continue };
        preinst(&item.name, &script, plan, console)?;
    }
    environment(Cmd::new("dpkg", console), plan)
        .args(["--force-unsafe-io", "--configure", "--pending"])
        .output()?;
    let audit = Cmd::new("dpkg", console).arg("--audit").output()?;
    if !audit.is_empty() {
        return Err(Error::new(String::from_utf8_lossy(&audit).trim())
            .context("dpkg finds packages that are not whole"));
    }
    fs::remove_file(POLICY).context(|| format!("cannot remove '{POLICY}'"))
}

/// Runs one where dpkg has the control files of what it unpacks: debconf learns from there whose it is.
fn preinst(name: &str, script: &Path, plan: &Plan, console: &Console) -> Result<()> {
    let folder = Path::new(UNPACKING);
    let failed = || format!("cannot run the preinst of '{name}'");
    file::create_dir(folder)?;
    file::write(&folder.join("control"), format!("Package: {name}\n"))?;
    let place = folder.join("preinst");
    fs::hard_link(script, &place).context(failed)?;
    environment(Cmd::new(&place, console), plan)
        .arg("install")
        .env("DPKG_MAINTSCRIPT_PACKAGE", name)
        .env("DPKG_MAINTSCRIPT_NAME", "preinst")
        .env("DPKG_MAINTSCRIPT_ARCH", &plan.arch)
        .output()
        .context(failed)?;
    fs::remove_dir_all(folder).context(failed)
}

fn environment(cmd: Cmd, plan: &Plan) -> Cmd {
    cmd.env("DEBIAN_FRONTEND", "noninteractive")
        .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
        .env("DPKG_ROOT", "")
        .env("DPKG_ARCH", &plan.arch)
        // Machines boot with an initrd of our own: update-initramfs(8) would take more time than all
        // other scripts together.
        .env("INITRD", "No")
}
