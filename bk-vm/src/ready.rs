//! Whether a machine that was started can be logged in to, or why not.

use std::io::Read;
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
    loop {
        if greeting(ssh) {
            return Ok(());
        }
        if let Some(status) = ended() {
            return Err(Error::new(format!("qemu has ended with {status}")));
        }
        if let Some(line) = panic(serial) {
            return Err(Error::new(bk::sanitize(&line)).context("its kernel has given up"));
        }
        if start.elapsed() >= limit {
            return Err(Error::new(format!("no ssh server has answered in {} s", limit.as_secs())));
        }
        std::thread::sleep(PAUSE);
    }
}

fn greeting(ssh: SocketAddr) -> bool {
    let read = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&ssh, CONNECT)?;
        stream.set_read_timeout(Some(GREETING))?;
        let mut start = [0; 4];
        stream.read_exact(&mut start)?;
        Ok(start == *b"SSH-")
    };
    read().unwrap_or(false)
}

/// The last words of a kernel.
fn panic(serial: &Path) -> Option<String> {
    let log = file::read(serial, SERIAL).ok()?;
    let log = String::from_utf8_lossy(&log);
    let words = ["Kernel panic - not syncing", "buildkit: no disk to mount"];
    log.lines().rev().find(|line| words.iter().any(|w| line.contains(w))).map(str::to_owned)
}
