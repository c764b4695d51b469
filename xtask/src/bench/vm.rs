//! bk-vm beside mmdebstrap, which makes the same system as an archive, without a disk or a kernel to start.

use std::path::Path;
use std::process::Command;

use bk::Result;

use super::deb::fresh;
use super::measure::{Case, Target};
use crate::{install, process};

/// What both run.
const APT: &[&str] = &["e2fsprogs", "gpgv", "mmdebstrap", "openssh-client", "qemu-utils"];

/// What a machine has beside what is required, but for its kernel.
const MACHINE: &str = "apt,ca-certificates,dbus,iproute2,klibc-utils,netbase,openssh-server,sudo,systemd-sysv,\
                       udev,usr-is-merged";

/// The cases: a machine from nothing, and a further one.
pub fn cases(dir: &Path, bk_vm: &Path) -> Result<Vec<Case>> {
    install::apt(APT)?;
    let state = dir.join("vm-state");
    let create = {
        let (program, state, out) = (bk_vm.to_owned(), state.clone(), dir.join("vms"));
        move || {
            fresh(&out)?;
            let mut command = Command::new(&program);
            command.args(["create", "--quiet", "1", "-o"]).arg(&out).env("BK_ROOT", &state);
            Ok(command)
        }
    };
    let cold = {
        let (create, state) = (create.clone(), state.clone());
        move || {
            // Nothing is known: not even what was fetched.
            fresh(&state)?;
            create()
        }
    };
    let suite = crate::machine::own_suite()?;
    let arch = process::stdout(Command::new("dpkg").arg("--print-architecture"))?;
    let include = format!("--include={MACHINE},linux-image-cloud-{arch}");
    let tar = dir.join("vm.tar");
    let theirs = move || {
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=required", &include, &suite]).arg(&tar);
        Ok(command)
    };
    let disk = dir.join("vms/buildkit1/disk.raw");
    let copy = dir.join("disk.copy");
    Ok(vec![
        Case {
            name: "vm create".into(),
            peer: "mmdebstrap".into(),
            batch: 1,
            target: Target::None,
            ours: Box::new(cold),
            theirs: Box::new(theirs),
        },
        // The least that a further machine can cost, where the file system makes no references.
        Case {
            name: "vm create again".into(),
            peer: "cp --sparse=always".into(),
            batch: 1,
            target: Target::None,
            ours: Box::new(create),
            theirs: Box::new(move || {
                let mut command = Command::new("cp");
                command.arg("--sparse=always").arg(&disk).arg(&copy);
                Ok(command)
            }),
        },
    ])
}
