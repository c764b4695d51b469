//! Child processes whose output the person sees as it comes.

use std::process::{Command, Stdio};

use bk::{Context, Error, Result, display};

/// cargo, as the one that started us.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command as a person would read it.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(display).collect::<Vec<_>>().join(" ")
}

/// Runs it, shown first; it writes where we write.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", line(command));
    let status =
        command.status().context(|| format!("cannot run '{}'", display(command.get_program())))?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::new(format!("'{}' failed: {status}", line(command)))),
    }
}

/// Its stdout as text, without the last newline; an error if it fails.
pub fn stdout(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context(|| format!("cannot run '{}'", display(command.get_program())))?;
    if !output.status.success() {
        return Err(Error::new(format!("'{}' failed: {}", line(command), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Whether it can be run and succeeds; nothing of it is shown.
pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// `program`, as root: itself for root, through sudo(8) for others, who are never asked.
pub fn as_root(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    command
}
