//! The access log: a line a request, never waited for.

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use bk::{Console, Context, Level, Result, display};

use crate::statistics::Verdict;

/// So many lines may wait for the disk; more are dropped: clients do not wait for it.
const WAITING: usize = 4096;

/// The access log.
#[derive(Clone)]
pub struct Log {
    file: Option<SyncSender<String>>,
    console: Console,
}

impl Log {
    /// Logs to a file, if one is given, and at `-v` to stderr.
    pub fn new(path: Option<&Path>, console: &Console) -> Result<Self> {
        let file = path.map(|path| open(path, console)).transpose()?;
        Ok(Log { file, console: console.clone() })
    }

    /// Whether lines go anywhere.
    pub fn is_on(&self) -> bool {
        self.file.is_some() || self.console.level() >= Level::Verbose
    }

    /// Logs `TIME CLIENT STATUS VERDICT BYTES METHOD URL`.
    pub fn line(&self, client: IpAddr, status: u16, verdict: Verdict, bytes: u64, request: &str) {
        let (verdict, request) = (verdict.word(), bk::sanitize(request));
        self.console.info(&format!("{client} {status} {verdict} {bytes} {request}"));
        if let Some(file) = &self.file {
            let now = jiff::Timestamp::now();
            drop(
                file.try_send(format!("{now:.0} {client} {status} {verdict} {bytes} {request}\n")),
            );
        }
    }
}

fn open(path: &Path, console: &Console) -> Result<SyncSender<String>> {
    let mut file = File::options()
        .append(true)
        .create(true)
        .open(path)
        .context(|| format!("cannot open the log '{}'", display(path)))?;
    let (sender, lines) = sync_channel::<String>(WAITING);
    let (console, path) = (console.clone(), path.to_owned());
    std::thread::spawn(move || {
        for line in lines {
            if let Err(error) = file.write_all(line.as_bytes()) {
                console.warn(&format!("cannot write the log '{}': {error}", display(&path)));
                return;
            }
        }
    });
    Ok(sender)
}
