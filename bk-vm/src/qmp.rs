//! Talking to a running qemu (its QMP specification).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bk::{Context, Error, Result};
use serde_json::{Value, json};

/// qemu answers at once, but on a machine that is busy with other guests.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer has some hundred bytes, and the state of a whole machine some kB.
const LINE: u64 = 1 << 20;

/// A connection to a monitor.
pub struct Monitor {
    reader: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the monitor's socket.
    pub fn connect(path: &Path) -> Result<Self> {
        let failed = || "cannot talk to qemu".to_owned();
        let stream = UnixStream::connect(path).context(failed)?;
        stream.set_read_timeout(Some(TIMEOUT)).context(failed)?;
        stream.set_write_timeout(Some(TIMEOUT)).context(failed)?;
        let mut monitor = Monitor { reader: BufReader::new(stream) };
        // It greets first.
        monitor.answer().context(failed)?;
        monitor.execute("qmp_capabilities", json!({})).context(failed)?;
        Ok(monitor)
    }

    /// Runs a command, and returns what it says.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let failed = || format!("qemu does not do '{command}'");
        let line = json!({"execute": command, "arguments": arguments}).to_string() + "\n";
        self.reader.get_mut().write_all(line.as_bytes()).context(failed)?;
        loop {
            let mut answer = self.answer().context(failed)?;
            if let Some(why) = answer["error"]["desc"].as_str() {
                return Err(Error::new(bk::sanitize(why)).context(failed()));
            }
            // Events come between.
            if answer.get("return").is_some() {
                return Ok(answer["return"].take());
            }
        }
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = Vec::new();
        std::io::Read::take(&mut self.reader, LINE).read_until(b'\n', &mut line)?;
        match line.is_empty() {
            true => Err(Error::new("it has ended")),
            false => Ok(serde_json::from_slice(&line)?),
        }
    }
}
