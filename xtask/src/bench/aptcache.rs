//! bk-aptcache beside nginx, as a plain server and as a cache, and apt-cacher-ng.
//!
//! What is measured of a server is its processor time while a client does the same to each in turn.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bk::{Context, Error, Result};

use crate::{install, process};

const APT: &[&str] = &["apt-cacher-ng", "curl", "nginx-light", "wrk"];

/// The archive: as many small files as a desktop has packages, and some large ones.
const SMALL: (usize, usize) = (5000, 20 << 10);
const LARGE: (usize, usize) = (4, 20 << 20);

/// A server that is measured: where it listens, what stands before the paths, its processes.
struct Server {
    name: &'static str,
    child: Child,
    url: String,
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
    fn start(name: &'static str, command: &mut Command, port: u16, prefix: &str) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = child.spawn().context(|| format!("cannot run '{name}'"))?;
        let server = Server { name, child, url: format!("http://127.0.0.1:{port}{prefix}") };
        let start = Instant::now();
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
            if start.elapsed() > Duration::from_secs(20) {
                return Err(Error::new(format!("'{name}' does not listen")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Processor seconds of it and of its children so far.
    fn cpu(&self) -> f64 {
        let own = self.child.id();
        let stats = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let texts = stats.filter_map(|e| std::fs::read_to_string(e.path().join("stat")).ok());
        let ticks = texts.filter_map(|text| {
            // PID (NAME) STATE PPID … utime is the 14th field, stime the 15th (proc_pid_stat(5)).
            let pid: u32 = text.split(' ').next()?.parse().ok()?;
            let rest: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
            let parent: u32 = rest.get(1)?.parse().ok()?;
            let time = |at: usize| rest.get(at).and_then(|t| t.parse::<u64>().ok());
            (pid == own || parent == own).then_some(time(11)? + time(12)?)
        });
        ticks.sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }
}

/// Runs all cases, prints a table.
pub fn run(dir: &Path, program: &Path, runs: usize) -> Result<()> {
    install::apt(APT)?;
    let dir = dir.join("aptcache");
    files(&dir.join("www/pool"))?;
    let script = dir.join("small.lua");
    bk::file::write(
        &script,
        format!(
            "local i = 0\nrequest = function()\n  i = (i * 7 + 13) % {}\n  \
             return wrk.format('GET', wrk.path .. 's' .. i .. '_1_all.deb')\nend\n",
            SMALL.0
        ),
    )?;
    let servers = servers(&dir, program)?;
    println!("aptcache: server                 requests/s   CPU µs each   p99 ms   CPU s/GB   MiB");
    let cached = &servers[1..];
    for server in cached {
        cold(&dir, server)?;
    }
    for server in &servers {
        let (mut rates, mut costs, mut tails, mut large) = (vec![], vec![], vec![], vec![]);
        for _ in 0..runs.max(1) {
            let before = server.cpu();
            let (requests, rate, tail) = wrk(&script, server)?;
            costs.push((server.cpu() - before) * 1e6 / requests);
            rates.push(rate);
            tails.push(tail);
            large.push(big(server)?);
        }
        println!(
            "aptcache hits: {:<18} {:>10.0} {:>13.1} {:>8.1} {:>10.3} {:>5}",
            server.name,
            median(rates),
            median(costs),
            median(tails),
            median(large),
            server.memory() >> 20
        );
    }
    Ok(())
}

fn servers(dir: &Path, program: &Path) -> Result<Vec<Server>> {
    let mut ports = [0_u16; 4];
    for port in &mut ports {
        *port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    }
    for folder in ["nginx-cache", "cache", "acng"] {
        super::deb::fresh(&dir.join(folder))?;
    }
    let d = dir.display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let common = format!(
        "{user} worker_processes 2; daemon off; error_log {d}/error;\nevents {{ worker_connections 4096; }}\n"
    );
    let http = "access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; open_file_cache max=10000;";
    let plain = format!(
        "{common}pid {d}/plain.pid;\nhttp {{ {http} server {{ listen 127.0.0.1:{}; root {d}/www; }} }}\n",
        ports[0]
    );
    let proxy = format!(
        "{common}pid {d}/proxy.pid;\nhttp {{ {http} proxy_cache_path {d}/nginx-cache keys_zone=z:20m; \
         server {{ listen 127.0.0.1:{}; location / {{ proxy_pass http://127.0.0.1:{}; \
         proxy_http_version 1.1; proxy_set_header Connection ''; proxy_cache z; \
         proxy_cache_valid 200 1d; proxy_cache_lock on; }} }} }}\n",
        ports[1], ports[0]
    );
    bk::file::write(&dir.join("plain.conf"), plain)?;
    bk::file::write(&dir.join("proxy.conf"), proxy)?;
    let nginx = |conf: &str| {
        let mut command = Command::new("nginx");
        command.arg("-c").arg(dir.join(conf));
        command
    };
    let acng = format!(
        "CacheDir: {d}/acng\nLogDir: {d}\nPort: {}\nBindAddress: 127.0.0.1\nForeGround: 1\n\
         AllowUserPorts: 0\nExThreshold: 0\n",
        ports[2]
    );
    super::deb::fresh(&dir.join("acng-conf"))?;
    bk::file::write(&dir.join("acng-conf/acng.conf"), acng)?;
    let mut apt_cacher_ng = Command::new("/usr/sbin/apt-cacher-ng");
    apt_cacher_ng.arg("-c").arg(dir.join("acng-conf"));
    let mut ours = Command::new(program);
    ours.args(["serve", "--quiet", "--listen", &format!("127.0.0.1:{}", ports[3])]);
    ours.arg("--cache").arg(dir.join("cache"));
    ours.args(["--upstream", &format!("x=http://127.0.0.1:{}", ports[0])]);
    Ok(vec![
        Server::start("nginx, plain files", &mut nginx("plain.conf"), ports[0], "/pool/")?,
        Server::start("nginx proxy_cache", &mut nginx("proxy.conf"), ports[1], "/pool/")?,
        Server::start(
            "apt-cacher-ng",
            &mut apt_cacher_ng,
            ports[2],
            &format!("/127.0.0.1:{}/pool/", ports[0]),
        )?,
        Server::start("bk-aptcache", &mut ours, ports[3], "/x/pool/")?,
    ])
}

/// Files that do not compress, the same every time.
fn files(dir: &Path) -> Result<()> {
    bk::file::create_dir(dir)?;
    let mut state = 1_u64;
    for (letter, (count, size)) in [('s', SMALL), ('b', LARGE)] {
        for i in 0..count {
            let path = dir.join(format!("{letter}{i}_1_all.deb"));
            if path.exists() {
                continue;
            }
            let bytes: Vec<u8> = (0..size / 8)
                .flat_map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()
                })
                .collect();
            bk::file::write(&path, bytes)?;
        }
    }
    Ok(())
}

/// All files once, by eight clients, of a cache that has none.
fn cold(dir: &Path, server: &Server) -> Result<()> {
    let mut list = String::new();
    let all = (0..SMALL.0).map(|i| format!("s{i}")).chain((0..LARGE.0).map(|i| format!("b{i}")));
    for name in all {
        let _ = writeln!(list, "url = \"{}{name}_1_all.deb\"\noutput = /dev/null", server.url);
    }
    let config = dir.join("cold.curl");
    bk::file::write(&config, list)?;
    let (before, start) = (server.cpu(), Instant::now());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--parallel", "--parallel-max", "8", "--config"]).arg(config);
    process::stdout(&mut curl)?;
    println!(
        "aptcache cold: {:<18} {:>8.2} s wall {:>8.2} CPU s",
        server.name,
        start.elapsed().as_secs_f64(),
        server.cpu() - before
    );
    Ok(())
}

/// Small files for some seconds: requests, requests a second, the 99th percentile in ms.
fn wrk(script: &PathBuf, server: &Server) -> Result<(f64, f64, f64)> {
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
    Ok((count.ok_or_else(wrong)?, rate, tail))
}

/// Large files, each eight times: processor seconds of the server for each GB.
fn big(server: &Server) -> Result<f64> {
    let before = server.cpu();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--parallel", "--parallel-max", "4"]);
    for _ in 0..8 {
        for i in 0..LARGE.0 {
            curl.args(["-o", "/dev/null"]).arg(format!("{}b{i}_1_all.deb", server.url));
        }
    }
    process::stdout(&mut curl)?;
    Ok((server.cpu() - before) / (8.0 * (LARGE.0 * LARGE.1) as f64 / f64::from(1 << 30)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
