//! `bk-aptcache detect`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bk::{Result, Session, Status};

/// A cache on the same network answers in a fraction of this; apt waits for the answer.
const WAIT: Duration = Duration::from_millis(500);

/// Say whether the cache is there, for apt's Proxy-Auto-Detect
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Prints the address of the first cache that answers, or DIRECT, so that apt works on when the cache is
away: a laptop that leaves the office, an image that keeps its configuration.

Examples:
  bk-aptcache detect --server 192.168.100.254:9999
  bk-aptcache config --detect > /etc/apt/apt.conf.d/01cache
      Make apt ask this command.

Exit status:
  0   printed
")]
pub struct Args {
    /// Where the cache may be; several are tried in turn
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9999")]
    server: Vec<SocketAddr>,
    /// What apt wants to fetch; it says so itself
    #[arg(value_name = "URL")]
    url: Option<String>,
}

/// Runs the command.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    // apt asks for https, too, which goes by CONNECT, or directly where it is not listed.
    let plain = args.url.as_deref().is_none_or(|url| url.starts_with("http://"));
    let there =
        |server: &&SocketAddr| get(**server, "/healthz").is_ok_and(|(status, _)| status == 200);
    match args.server.iter().find(|server| plain && there(server)) {
        Some(server) => session.out.raw(format!("http://{server}/\n"))?,
        None => session.out.raw("DIRECT\n")?,
    }
    Ok(Status::Done)
}

/// Asks a server of ours for a path, and reads the answer to its end: the status, and the bytes of
/// the body. A body that is cut short is an error.
pub fn get(server: SocketAddr, path: &str) -> std::io::Result<(u16, u64)> {
    let mut stream = TcpStream::connect_timeout(&server, WAIT)?;
    stream.set_nodelay(true)?;
    if path == "/healthz" {
        stream.set_read_timeout(Some(WAIT))?;
    }
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut head, mut size, mut buffer) = (Vec::new(), 0, vec![0; 64 << 10]);
    let mut length = None;
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        if length.is_some() {
            size += n as u64;
            continue;
        }
        head.extend_from_slice(&buffer[..n]);
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            size = (head.len() - end - 4) as u64;
            head.truncate(end);
            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let value = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            length = Some(value.and_then(|value| value.trim().parse::<u64>().ok()));
        } else if head.len() > buffer.len() {
            return Err(std::io::Error::other("it answers without end"));
        }
    }
    let text = String::from_utf8_lossy(&head);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    match (status, length) {
        (Some(status), Some(length)) if length.is_none_or(|length| length == size) => {
            Ok((status, size))
        }
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}
