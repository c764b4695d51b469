//! Servers on loopback, and what they cost.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bk::{Context, Error, Result};

use crate::process;

/// A server that is measured.
pub struct Server {
    /// What it is called in tables.
    pub name: &'static str,
    /// What stands before the paths.
    pub url: String,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx and apt-cacher-ng end their own processes when they are asked to.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        drop(self.child.wait());
    }
}

impl Server {
    /// Starts one that will listen on a port of loopback, and waits until it does.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        port: u16,
        prefix: &str,
    ) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = child.spawn().context(|| format!("cannot run '{name}'"))?;
        let server = Server { name, child, url: format!("http://127.0.0.1:{port}{prefix}") };
        let start = Instant::now();
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
            if start.elapsed() > Duration::from_secs(5) {
                return Err(Error::new(format!("'{name}' does not listen")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Processor seconds of it and of its children so far.
    pub fn cpu(&self) -> f64 {
        let own = self.child.id();
        let stats = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let texts = stats.filter_map(|e| std::fs::read_to_string(e.path().join("stat")).ok());
        let ticks = texts.filter_map(|text| {
            // PID (NAME) STATE PPID … utime is the 14th field, stime the 15th, and then those of the
            // children that have ended (proc_pid_stat(5)).
            let pid: u32 = text.split(' ').next()?.parse().ok()?;
            let rest: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
            let parent: u32 = rest.get(1)?.parse().ok()?;
            let time = |at: usize| rest.get(at).and_then(|t| t.parse::<u64>().ok());
            let ended = if pid == own { time(13)? + time(14)? } else { 0 };
            (pid == own || parent == own).then_some(time(11)? + time(12)? + ended)
        });
        ticks.sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Resident bytes of its own process.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }
}

/// Ports of loopback that are free now. None is above 32767: apt-cacher-ng takes such a number for a
/// negative one.
pub fn ports(count: usize) -> Result<Vec<u16>> {
    // Above those that servers have by default.
    let all = (20_000..=0x7fff).filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let free: Vec<TcpListener> = all.take(count).collect();
    free.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// What a load was answered with.
pub struct Load {
    /// Requests in all.
    pub requests: f64,
    /// Requests a second.
    pub rate: f64,
    /// The 99th percentile of the times to an answer, in milliseconds.
    pub tail: f64,
}

/// Asks for small files on 64 connections for some seconds, as a script for wrk(1) says.
pub fn load(script: &Path, server: &Server) -> Result<Load> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", "-d4s", "--latency", "-s"]).arg(script).arg(&server.url);
    let text = process::stdout(&mut command)?;
    let wrong = || Error::new(text.clone()).context("wrk says something else");
    let word = |start: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(start))?;
        line.split_ascii_whitespace().nth(1).map(str::to_owned)
    };
    if text.contains("Non-2xx") {
        return Err(wrong());
    }
    let rate: f64 = word("Requests/sec:").and_then(|w| w.parse().ok()).ok_or_else(wrong)?;
    let line = text.lines().find(|line| line.contains("requests in")).ok_or_else(wrong)?;
    let count = line.split_ascii_whitespace().next().and_then(|w| w.parse().ok());
    let tail = word("99%").ok_or_else(wrong)?;
    let (digits, unit) = tail.split_at(tail.trim_end_matches(char::is_alphabetic).len());
    let scale = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        _ => 1e3,
    };
    let tail = digits.parse::<f64>().map_err(|_| wrong())? * scale;
    Ok(Load { requests: count.ok_or_else(wrong)?, rate, tail })
}
