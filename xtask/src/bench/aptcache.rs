//! bk-aptcache beside nginx, as a plain server and as a cache, apt-cacher-ng and approx.
//!
//! What is measured of a server is its processor time while a client does the same to each in turn.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use bk::{Error, Result};

use super::server::{Load, Server, load, ports};
use crate::{install, process};

const APT: &[&str] = &["apt-cacher-ng", "approx", "curl", "nginx-light", "socat", "wrk"];

/// The archive: as many small files as a desktop has packages, and some large ones.
const SMALL: (usize, usize) = (5000, 20 << 10);
const LARGE: (usize, usize) = (4, 20 << 20);

/// The archive's speed where it is slow, in bytes a second.
const SLOW: usize = 20_000_000;

/// If the rounds of nginx as a plain server are farther from each other, the machine was busy with
/// something else.
const SPREAD: f64 = 1.2;

/// What the rounds found of one server.
#[derive(Default)]
struct Found {
    cold: Vec<(f64, f64)>,
    hits: Vec<Load>,
    cost: Vec<f64>,
    large: Vec<f64>,
    memory: Vec<u64>,
}

/// Runs all cases in each of some rounds, prints tables.
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
    // Each round has a folder of its own, and all are removed at the end: ext4 spares the inodes that
    // were deleted a moment ago, and to look for others costs whoever makes files next several times
    // what making them does.
    let caches = tempfile::tempdir_in(&dir)?;
    let caches = caches.path();
    let mut found: Vec<(&str, Found)> = Vec::new();
    for round in 0..runs.max(1) {
        let servers = servers(&dir, &caches.join(round.to_string()), program)?;
        found.resize_with(servers.len(), Default::default);
        for (server, (name, found)) in servers.iter().zip(&mut found).skip(1) {
            *name = server.name;
            found.cold.push(cold(&dir, server)?);
        }
        for (server, (name, found)) in servers.iter().zip(&mut found) {
            *name = server.name;
            let before = server.cpu();
            let hits = load(&script, server)?;
            found.cost.push((server.cpu() - before) * 1e6 / hits.requests);
            found.hits.push(hits);
            found.large.push(big(server)?);
            found.memory.push(server.memory());
        }
    }
    table(&found);
    let servers = servers(&dir, &caches.join("last"), program)?;
    herds(&dir, &servers)?;
    for server in &servers {
        let answer = half_open(server).unwrap_or_else(|error| error.to_string());
        println!("aptcache half-open: {:<20} {answer}", server.name);
    }
    if let Some(ours) = servers.last() {
        passes(&dir, ours)?;
    }
    let rates: Vec<f64> = found[0].1.hits.iter().map(|load| load.rate).collect();
    let (least, most) = rates.iter().fold((f64::MAX, 0_f64), |(a, b), &r| (a.min(r), b.max(r)));
    match most / least > SPREAD {
        true => Err(Error::new(format!(
            "nginx as a plain server had from {least:.0} to {most:.0} requests a second: the machine is busy"
        ))
        .hint("these figures say nothing; run it again")),
        false => Ok(()),
    }
}

fn table(found: &[(&str, Found)]) {
    println!(
        "aptcache: server       cold s  CPU s   requests/s   of plain   CPU us each   of plain   p99 ms   CPU s/GB   MiB"
    );
    let plain = &found[0].1;
    for (name, found) in found {
        // In each round beside the plain server of that round.
        let beside = |of: &dyn Fn(&Found, usize) -> f64| {
            median((0..found.hits.len()).map(|at| of(found, at) / of(plain, at)).collect())
        };
        println!(
            "aptcache: {name:<18} {:>7.2} {:>6.2} {:>10.0} {:>10.2} {:>13.1} {:>10.2} {:>8.1} {:>10.3} {:>5}",
            median(found.cold.iter().map(|cost| cost.0).collect()),
            median(found.cold.iter().map(|cost| cost.1).collect()),
            median(found.hits.iter().map(|load| load.rate).collect()),
            beside(&|found, at| found.hits[at].rate),
            median(found.cost.clone()),
            beside(&|found, at| found.cost[at]),
            median(found.hits.iter().map(|load| load.tail).collect()),
            median(found.large.clone()),
            found.memory.iter().max().unwrap_or(&0) >> 20
        );
    }
}

fn servers(dir: &Path, caches: &Path, program: &Path) -> Result<Vec<Server>> {
    let ports = ports(5)?;
    for folder in ["nginx-cache", "cache", "acng", "approx"] {
        bk::file::create_dir(&caches.join(folder))?;
    }
    let (d, c) = (dir.display(), caches.display());
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let common = format!(
        "{user} worker_processes 2; daemon off; error_log {d}/error;\nevents {{ worker_connections 4096; }}\n"
    );
    let http = "access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; open_file_cache max=10000;";
    let plain = format!(
        "{common}pid {d}/plain.pid;\nhttp {{ {http} server {{ listen 127.0.0.1:{}; root {d}/www; \
         location /slow/ {{ alias {d}/www/pool/; limit_rate {SLOW}; access_log {d}/slow.log; }} }} }}\n",
        ports[0]
    );
    let proxy = format!(
        "{common}pid {d}/proxy.pid;\nhttp {{ {http} proxy_cache_path {c}/nginx-cache keys_zone=z:20m; \
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
        "CacheDir: {c}/acng\nLogDir: {d}\nPort: {}\nBindAddress: 127.0.0.1\nForeGround: 1\n\
         AllowUserPorts: 0\nExThreshold: 0\n",
        ports[2]
    );
    super::deb::fresh(&dir.join("acng-conf"))?;
    bk::file::write(&dir.join("acng-conf/acng.conf"), acng)?;
    let mut apt_cacher_ng = Command::new("/usr/sbin/apt-cacher-ng");
    apt_cacher_ng.arg("-c").arg(dir.join("acng-conf"));
    let approx =
        format!("x http://127.0.0.1:{}/\n$cache {c}/approx\n$user root\n$group root\n", ports[0]);
    bk::file::write(&dir.join("approx.conf"), approx)?;
    // It serves one connection and has its socket, as from inetd(8).
    let mut inetd = Command::new("socat");
    inetd.arg(format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr,fork,backlog=256", ports[4]));
    inetd.arg(format!("EXEC:/usr/sbin/approx -c {d}/approx.conf,nofork"));
    let mut ours = Command::new(program);
    ours.args(["serve", "--quiet", "--listen", &format!("127.0.0.1:{}", ports[3])]);
    ours.arg("--cache").arg(caches.join("cache"));
    ours.args(["--upstream", &format!("x=http://127.0.0.1:{}", ports[0])]);
    let plain = Server::start("nginx, plain files", &mut nginx("plain.conf"), ports[0], "/pool/")?;
    let below = format!("/127.0.0.1:{}/pool/", ports[0]);
    let peers = [
        Server::start("nginx proxy_cache", &mut nginx("proxy.conf"), ports[1], "/pool/"),
        Server::start("apt-cacher-ng", &mut apt_cacher_ng, ports[2], &below),
        Server::start("approx", &mut inetd, ports[4], "/x/pool/"),
    ];
    let ours = Server::start("bk-aptcache", &mut ours, ports[3], "/x/pool/")?;
    // A peer that does not run here is named, and keeps the others from nothing.
    let run = |peer: Result<Server>| {
        let answers = peer.and_then(|peer| {
            let file = format!("{}s0_1_all.deb", peer.url);
            let mut curl = Command::new("curl");
            process::run(curl.args(["--silent", "--fail", "--output", "/dev/null", &file]))?;
            Ok(peer)
        });
        answers.inspect_err(|error| eprintln!("not measured: {error}")).ok()
    };
    Ok(std::iter::once(plain).chain(peers.into_iter().filter_map(run)).chain([ours]).collect())
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

/// All files once, by eight clients, of a cache that has none: seconds, and those of the processor.
fn cold(dir: &Path, server: &Server) -> Result<(f64, f64)> {
    let config = everything(dir, server)?;
    let (before, start) = (server.cpu(), Instant::now());
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--no-progress-meter",
        "--fail",
        "--parallel",
        "--parallel-max",
        "8",
        "--config",
    ])
    .arg(config);
    process::stdout(&mut curl)?;
    Ok((start.elapsed().as_secs_f64(), server.cpu() - before))
}

fn everything(dir: &Path, server: &Server) -> Result<std::path::PathBuf> {
    let mut list = String::new();
    let all = (0..SMALL.0).map(|i| format!("s{i}")).chain((0..LARGE.0).map(|i| format!("b{i}")));
    for name in all {
        let _ = writeln!(list, "url = \"{}{name}_1_all.deb\"\noutput = /dev/null", server.url);
    }
    let config = dir.join("everything.curl");
    bk::file::write(&config, list)?;
    Ok(config)
}

/// Memory while everything is read ten times.
fn passes(dir: &Path, server: &Server) -> Result<()> {
    let mut memory = String::new();
    for _ in 0..10 {
        cold(dir, server)?;
        let _ = write!(memory, " {}", server.memory() >> 20);
    }
    println!("aptcache memory: {:<20} MiB after each of ten passes:{memory}", server.name);
    Ok(())
}

/// Many clients at once want a file that is not there, from an archive with 20 MB/s.
fn herds(dir: &Path, servers: &[Server]) -> Result<()> {
    for (clients, file) in [(100, "b0"), (1000, "b1")] {
        // The plain server has the file: nobody's first bytes come sooner.
        for server in servers.iter().filter(|server| server.name != "approx") {
            let fetched = || -> Result<usize> {
                Ok(std::fs::read_to_string(dir.join("slow.log"))?.lines().count())
            };
            let before = fetched()?;
            let url = server.url.replace("/pool/", "/slow/");
            let mut times = match herd(&format!("{url}{file}_1_all.deb"), clients) {
                Ok(times) => times,
                // A thousand clients are the end of apt-cacher-ng.
                Err(error) => {
                    println!("aptcache herd: {:<20} {clients:>5} clients: {error}", server.name);
                    continue;
                }
            };
            let hits = fetched()? - before;
            times.sort_by(f64::total_cmp);
            println!(
                "aptcache herd: {:<20} {clients:>5} clients: {hits} fetched; first byte after {:.0} ms (median), {:.0} (last)",
                server.name,
                times[times.len() / 2] * 1e3,
                times[times.len() - 1] * 1e3
            );
        }
    }
    Ok(())
}

/// Seconds from a request to the first byte of a body, of each client.
fn herd(url: &str, clients: usize) -> Result<Vec<f64>> {
    let rest = url.trim_start_matches("http://");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let ready = Barrier::new(clients);
    let one = || -> Result<f64> {
        let mut stream = TcpStream::connect(host)?;
        // Twenty times what the archive needs for the file.
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        // Until all are let in: what is measured begins with the request.
        std::thread::sleep(Duration::from_millis(300));
        ready.wait();
        let start = Instant::now();
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let (mut buffer, mut head, mut first, mut size) = (vec![0; 64 << 10], Vec::new(), None, 0);
        loop {
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            if first.is_none() {
                head.extend_from_slice(&buffer[..n]);
                let end = head.windows(4).position(|four| four == b"\r\n\r\n");
                let Some(end) = end else { continue };
                size = head.len() - end - 4;
                first = (size > 0).then(|| start.elapsed());
            } else {
                size += n;
            }
        }
        match first {
            Some(first) if size == LARGE.1 => Ok(first.as_secs_f64()),
            _ => Err(Error::new(format!("'{url}' came with {size} bytes"))),
        }
    };
    std::thread::scope(|scope| {
        let small = || std::thread::Builder::new().stack_size(128 << 10);
        let threads = (0..clients).map(|_| small().spawn_scoped(scope, one));
        let threads = threads.collect::<std::io::Result<Vec<_>>>()?;
        let gone = || Err(Error::new("a client has panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| gone())).collect()
    })
}

/// How long a request takes while a thousand others have said half of theirs.
fn half_open(server: &Server) -> Result<String> {
    let rest = server.url.trim_start_matches("http://");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let half = (0..1000).map(|_| {
        let mut stream = TcpStream::connect(host)?;
        stream.write_all(b"GET /")?;
        Ok(stream)
    });
    let half = half.collect::<std::io::Result<Vec<_>>>()?;
    let start = Instant::now();
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(8)))?;
    write!(stream, "GET /{path}s0_1_all.deb HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
    let answered = stream.read(&mut [0; 64]).is_ok_and(|n| n > 0);
    let time = start.elapsed().as_secs_f64() * 1e3;
    drop(half);
    Ok(if answered { format!("answered after {time:.0} ms") } else { "no answer in 8 s".into() })
}

/// How often each large file is read: 5 GB in all, which takes each server some hundred ticks of the
/// clock that its time is counted in.
const TIMES: usize = 64;

/// Large files, again and again: processor seconds of the server for each GB.
fn big(server: &Server) -> Result<f64> {
    let before = server.cpu();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--no-progress-meter", "--fail", "--parallel", "--parallel-max", "4"]);
    for _ in 0..TIMES {
        for i in 0..LARGE.0 {
            curl.args(["-o", "/dev/null"]).arg(format!("{}b{i}_1_all.deb", server.url));
        }
    }
    process::stdout(&mut curl)?;
    Ok((server.cpu() - before) / ((TIMES * LARGE.0 * LARGE.1) as f64 / f64::from(1 << 30)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
