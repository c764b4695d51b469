//! Speaking to a machine by ssh, with the keys in its folder and nothing of the user's own settings.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use bk::{Console, Error, Result, display};

use crate::machine::Machine;
use crate::running::Running;

/// The user of every machine.
pub const USER: &str = "ubuntu";

/// The options of ssh(1) and scp(1), which write the port each in its own way.
pub fn options(machine: &Machine, running: &Running, port: &str) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["-F", "none", port].map(OsString::from).into();
    words.push(running.ssh.port().to_string().into());
    let known = machine.path("known_hosts");
    for option in [
        format!("HostKeyAlias={}", machine.about.address),
        format!("UserKnownHostsFile=\"{}\"", display(&known)),
        "StrictHostKeyChecking=yes".into(),
        "IdentitiesOnly=yes".into(),
        "LogLevel=ERROR".into(),
        // A machine that is emulated takes its time, and a dead one is found out.
        "ServerAliveInterval=60".into(),
    ] {
        words.extend(["-o".into(), option.into()]);
    }
    words.extend(["-i".into(), machine.key().into()]);
    words
}

/// Where to log in.
pub fn login(running: &Running) -> String {
    format!("{USER}@{}", running.ssh.ip())
}

/// Becomes a program, whose status is then ours.
pub fn become_program(program: &str, words: &[OsString], console: &Console) -> Result<()> {
    let shown: Vec<String> = words.iter().map(display).collect();
    console.info(&format!("+ {program} {}", shown.join(" ")));
    let error = Command::new(program).args(words).exec();
    Err(Error::from(error)
        .context(format!("cannot run '{program}'"))
        .hint("install openssh-client"))
}

/// A word as a shell on the other side reads it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_that_were_meant() -> bk::Result<()> {
        for word in ["plain", "", "a b", "it's", "$(x)", "a\nb", "\"", "~", "*"] {
            let script = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output()?;
            assert_eq!(String::from_utf8(output.stdout)?, word);
        }
        Ok(())
    }
}
