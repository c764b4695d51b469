//! The command line of bk-vm.

use std::path::PathBuf;
use std::process::ExitCode;

use bk::{Common, Console, Context, Error, Level, Needs, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::clone::Clone;
use crate::copy::Copy;
use crate::create::Create;
use crate::exec::Exec;
use crate::inside::Inside;
use crate::kvm_ok::KvmOk;
use crate::list::List;
use crate::log::Log;
use crate::remove::Remove;
use crate::restore::Restore;
use crate::snapshot::Snapshot;
use crate::ssh::Ssh;
use crate::start::Start;
use crate::stop::Stop;
use crate::test::Test;

/// Virtual machines to test packages in
#[derive(Parser)]
#[command(name = "bk-vm", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// The program itself, though it may have been called as one of its commands.
pub(crate) fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context(|| "cannot find this program itself".into())?;
    Ok(own.with_file_name("bk-vm"))
}

/// Becomes `bk-vm COMMAND` with our arguments: what small programs of the commands' own names do.
pub fn become_command(command: &str) -> ExitCode {
    use std::os::unix::process::CommandExt;
    let error = program().map(|program| {
        let mut own = std::process::Command::new(program);
        Error::from(own.arg0("bk-vm").arg(command).args(std::env::args_os().skip(1)).exec())
            .context("cannot run 'bk-vm', which belongs beside this program")
    });
    let (Ok(error) | Err(error)) = error;
    Console::new(&format!("bk-vm-{command}"), Level::Normal, false).error(&error);
    // As a shell says of a program that it cannot run.
    ExitCode::from(126)
}

#[derive(Subcommand)]
enum Command {
    Create(Create),
    Start(Start),
    Ssh(Ssh),
    Exec(Exec),
    Copy(Copy),
    Stop(Stop),
    Test(Test),
    Clone(Clone),
    Snapshot(Snapshot),
    Restore(Restore),
    List(List),
    Log(Log),
    Remove(Remove),
    KvmOk(KvmOk),
    #[command(hide = true)]
    Inside(Inside),
}

impl Tool for Cli {
    const NEEDS: &'static [Needs] = &[
        Needs { program: "mke2fs", package: "e2fsprogs", what_for: "to write disks" },
        Needs { program: "qemu-img", package: "qemu-utils", what_for: "to write disks" },
        Needs { program: "ssh-keygen", package: "openssh-client", what_for: "to make keys" },
        Needs {
            program: "qemu-system-x86_64",
            package: "qemu-system-x86",
            what_for: "to run machines",
        },
        Needs { program: "ssh", package: "openssh-client", what_for: "to log in to machines" },
        Needs { program: "nft", package: "nftables", what_for: "to connect machines" },
        Needs { program: "ip", package: "iproute2", what_for: "to connect machines" },
        Needs { program: "gpgv", package: "gpgv", what_for: "to check archives' signatures" },
    ];

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::Create(command) => command.run(session),
            Command::Start(command) => command.run(session),
            Command::Ssh(command) => command.run(session),
            Command::Exec(command) => command.run(session),
            Command::Copy(command) => command.run(session),
            Command::Stop(command) => command.run(session),
            Command::Test(command) => command.run(session),
            Command::Clone(command) => command.run(session),
            Command::Snapshot(command) => command.run(session),
            Command::Restore(command) => command.run(session),
            Command::List(command) => command.run(session),
            Command::Log(command) => command.run(session),
            Command::Remove(command) => command.run(session),
            Command::KvmOk(command) => command.run(session),
            Command::Inside(command) => command.run(session),
        }
    }
}
