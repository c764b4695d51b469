//! `bk-vm test`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bk::{Context, Error, Result, Session, Status, display, file};
use clap::Args;

use crate::keeper::{Keeper, Place};
use crate::machine::Machine;
use crate::qemu::{self, Accel, Net};
use crate::{remote, running, start};

/// Run a command in a throw-away machine
///
/// The machine starts from IMAGE, another machine's disk, which stays as it is; what the command does is
/// gone afterwards. Many can run at once. No root is needed.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-vm test 10 --copy debs -- sh -c \"sudo apt-get update && sudo apt-get install -y ./debs/*.deb\"
      Whether a package can be installed in a clean Debian.

Exit status:
  1   the machine could not be started
  2   the command line or the configuration is wrong
  255 ssh failed
  Otherwise the status is that of the command.
")]
pub struct Test {
    /// The machine's number, name, address or folder
    #[arg(value_name = "IMAGE")]
    machine: String,
    /// Copy this into the home of its user first
    #[arg(long, value_name = "PATH")]
    copy: Vec<PathBuf>,
    /// Its memory
    #[arg(long, default_value = "512M")]
    memory: String,
    /// Its processors
    #[arg(long, default_value_t = 1)]
    cpus: u32,
    /// How it is run
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    accel: Accel,
    /// Seconds until its ssh must answer
    #[arg(long, value_name = "SECONDS", default_value_t = start::READY.as_secs())]
    timeout: u64,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "WORD")]
    words: Vec<String>,
}

impl Test {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let console = session.console.clone();
        let machine = Machine::find(&self.machine, &session.dirs)?;
        if running::Running::find(&machine, &session.dirs).is_some() {
            return Err(Error::new(format!(
                "'{}' is running, and changes its disk",
                machine.name()
            ))
            .hint("stop it, or clone it while it is stopped"));
        }
        let folder = running::folder(&session.dirs);
        file::create_dir(&folder)?;
        let logs = file::TempDir::new_in(&folder)?;
        let (accel, why) = self.accel.decide(&machine)?;
        if let Some(why) = why {
            console.note(&format!("emulated, for {why}"));
        }
        let net = Net::User(start::free_port()?);
        let place = Place {
            name: format!("test-{}", std::process::id()),
            folder,
            logs: logs.path().to_owned(),
        };
        let command = qemu::Start {
            machine: &machine,
            disk: &machine.disk(),
            serial: &place.serial(),
            memory: qemu::memory(&self.memory)?,
            cpus: self.cpus,
            kvm: accel == Accel::Kvm,
            net: &net,
            monitor: &place.monitor(),
            // What is written goes to a file that has no name.
            more: &["-snapshot".into()],
        }
        .command()?;
        let mut keeper = Keeper::start(&machine, place, &net, accel.word(), &command, &console)?;
        if let Err(error) = keeper.wait_ready(Duration::from_secs(self.timeout)) {
            // The log goes with the machine: its end is said here.
            let log = file::read(&logs.path().join("serial.log"), 16 << 20).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            let last = log.lines().rev().take(20).collect::<Vec<_>>();
            last.iter().rev().for_each(|line| console.note(line));
            return Err(error);
        }
        if !self.copy.is_empty() {
            let mut words = remote::options(&machine, &keeper.running, "-P");
            words.extend(["-q", "-r", "-p", "--"].map(OsString::from));
            words.extend(self.copy.iter().map(|path| match path.is_absolute() {
                true => path.clone().into_os_string(),
                false => Path::new(".").join(path).into_os_string(),
            }));
            words.push(format!("{}:", remote::login(&keeper.running)).into());
            let copied = child("scp", &words, Stdio::null())?;
            if copied != 0 {
                return Err(Error::new(format!("scp ended with {copied}"))
                    .context(format!("cannot copy into '{}'", display(&machine.dir))));
            }
        }
        let mut words = remote::options(&machine, &keeper.running, "-p");
        words.push(remote::login(&keeper.running).into());
        let line: Vec<String> = self.words.iter().map(|word| remote::quoted(word)).collect();
        words.extend(["--".into(), line.join(" ").into()]);
        child("ssh", &words, Stdio::inherit()).map(Status::Child)
    }
}

/// Runs a program whose output is ours, and returns its status.
fn child(program: &str, words: &[OsString], stdin: Stdio) -> Result<u8> {
    let status = Command::new(program)
        .args(words)
        .stdin(stdin)
        .status()
        .context(|| format!("cannot run '{program}'"))
        .hint(|| "install openssh-client".into())?;
    // A signal has ended it: as a shell says it.
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
}
