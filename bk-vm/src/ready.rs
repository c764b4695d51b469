//! Whether a machine that was started can be logged in to, or why not.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use bk::{Error, Result, file};

/// A connection is made at once, by qemu itself, or not for lack of an answer: then the next try is due.
const CONNECT: Duration = Duration::from_secs(5);

/// The greeting may take a minute where many machines are emulated; who asks again sooner makes the
/// machine start another server each time, which takes longer still.
const GREETING: Duration = Duration::from_secs(60);

/// Between two tries that failed at once.
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is looked whether there is any sense in waiting on.
const LOOK: Duration = Duration::from_secs(1);

/// What a console may have said: a boot has some 10 kB.
const SERIAL: u64 = 16 << 20;

/// Waits for the greeting of an ssh server (RFC 4253 4.2). Ends early when the machine has ended, or its
/// kernel has given up.
pub fn wait(
    ssh: SocketAddr,
    limit: Duration,
    serial: &Path,
    mut ended: impl FnMut() -> Option<ExitStatus>,
) -> Result<()> {
    let start = Instant::now();
    let mut trouble = || -> Result<()> {
        if let Some(status) = ended() {
            return Err(Error::new(format!("qemu has ended with {status}")));
        }
        if let Some(line) = panic(serial) {
            return Err(Error::new(bk::sanitize(&line)).context("its kernel has given up"));
        }
        match start.elapsed() >= limit {
            true => Err(Error::new(format!("no ssh server has answered in {} s", limit.as_secs()))),
            false => Ok(()),
        }
    };
    while !greeting(ssh, &mut trouble)? {
        trouble()?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Whether a server greets. One connection waits for long: see [`GREETING`].
fn greeting(ssh: SocketAddr, mut trouble: impl FnMut() -> Result<()>) -> Result<bool> {
    let Ok(mut stream) = TcpStream::connect_timeout(&ssh, CONNECT) else { return Ok(false) };
    if stream.set_read_timeout(Some(LOOK)).is_err() {
        return Ok(false);
    }
    let start = Instant::now();
    let (mut got, mut buffer) = (Vec::new(), [0; 4]);
    while got.len() < buffer.len() && start.elapsed() < GREETING {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(n) => got.extend(buffer.iter().take(n)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => trouble()?,
                _ => return Ok(false),
            },
        }
    }
    Ok(got.starts_with(b"SSH-"))
}

/// The last words of a kernel.
fn panic(serial: &Path) -> Option<String> {
    let log = file::read(serial, SERIAL).ok()?;
    let log = String::from_utf8_lossy(&log);
    let words = ["Kernel panic - not syncing", "buildkit: no disk to mount"];
    log.lines().rev().find(|line| words.iter().any(|w| line.contains(w))).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    /// Waits for a server that says `greeting` after accepting, and then nothing more.
    fn wait_for(greeting: &'static str, limit: Duration, serial: &str) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("serial.log");
        bk::file::write(&log, serial)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            let mut streams = Vec::new();
            for mut stream in listener.incoming().flatten() {
                drop(stream.write_all(greeting.as_bytes()));
                streams.push(stream);
            }
        });
        wait(address, limit, &log, || None)
    }

    #[test]
    fn a_greeting_is_waited_for_and_trouble_is_not() {
        let long = Duration::from_secs(60);
        assert!(wait_for("SSH-2.0-x\r\n", long, "").is_ok());
        // What accepts and says nothing may be qemu itself, for a machine that has given up.
        let error = wait_for("", long, "[1.0] Kernel panic - not syncing: x\n").unwrap_err();
        assert!(error.to_string().contains("not syncing"), "{error}");
        let error = wait_for("", Duration::from_secs(1), "").unwrap_err();
        assert!(error.to_string().contains("no ssh server"), "{error}");
    }
}
