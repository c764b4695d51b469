//! Where the passphrase of a locked key comes from.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use bk::{Cmd, Console, Context, Error, Result, display};

/// What a passphrase may have.
const LIMIT: u64 = 4096;

/// Where a passphrase is.
#[derive(Clone, Debug)]
pub enum Passphrase {
    /// In a file, on its first line.
    File(PathBuf),
    /// Behind an open descriptor of this process.
    Descriptor(i32),
    /// With gpg-agent(1).
    Agent,
}

impl Passphrase {
    /// The passphrase of the key with this fingerprint.
    pub fn get(&self, fingerprint: &str, console: &Console) -> Result<String> {
        let text = match self {
            Passphrase::File(path) => String::from_utf8(bk::file::read(path, LIMIT)?)
                .context(|| format!("'{}' is no text", display(path)))?,
            Passphrase::Descriptor(number) => {
                let failed = || format!("cannot read a passphrase from descriptor {number}");
                // A descriptor of our own is opened, so that closing it closes nothing of others.
                let file = File::open(format!("/proc/self/fd/{number}")).context(failed)?;
                let mut text = String::new();
                file.take(LIMIT).read_to_string(&mut text).context(failed)?;
                text
            }
            Passphrase::Agent => {
                ask_agent(fingerprint, console).context(|| "gpg-agent gave no passphrase".into())?
            }
        };
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// Asks in the agent's language (gpg-agent(1), Assuan): it knows the passphrase, or asks a person.
fn ask_agent(fingerprint: &str, console: &Console) -> Result<String> {
    let socket = Cmd::new("gpgconf", console).args(["--list-dirs", "agent-socket"]).output()?;
    let socket = String::from_utf8_lossy(&socket);
    let connect = || UnixStream::connect(socket.trim_end());
    let stream = match connect() {
        Ok(stream) => stream,
        Err(_) => {
            Cmd::new("gpgconf", console).args(["--launch", "gpg-agent"]).output()?;
            connect().context(|| format!("cannot connect to '{}'", socket.trim_end()))?
        }
    };
    let mut lines = BufReader::new(stream.try_clone()?.take(1 << 16)).lines();
    let mut answer = || -> Result<Vec<u8>> {
        let mut data = Vec::new();
        for line in &mut lines {
            let line = line?;
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("D", text) => data.extend(decode(text)),
                ("OK", _) => return Ok(data),
                ("ERR", why) => {
                    return Err(Error::new(bk::sanitize(why)).hint(
                        "give it with gpg-preset-passphrase(1), or start it with a pinentry",
                    ));
                }
                _ => {}
            }
        }
        Err(Error::new("it closed the connection"))
    };
    answer()?;
    let prompt = format!("Passphrase+of+the+signing+key+{fingerprint}");
    let mut stream = stream;
    writeln!(stream, "GET_PASSPHRASE --data bk-repo:{fingerprint} X X {prompt}")?;
    Ok(String::from_utf8(answer()?)?)
}

/// Undoes the `%XX` of the agent's data lines.
fn decode(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, after.split_at_checked(2).and_then(|(digits, _)| hex(digits))) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}
