//! `bk-aptcache config`

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use bk::file::AtomicFile;
use bk::{Context, Result, Session, Status, display};

/// Print the lines of apt.conf that make apt use the cache
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-aptcache config > /etc/apt/apt.conf.d/01cache
  bk-aptcache config --detect /usr/local/bin/detect-cache --server 192.168.100.254:9999
      apt asks 'bk-aptcache detect' each time, and does without when the cache is away.

Exit status:
  0   printed
  1   the program cannot be written
")]
pub struct Args {
    /// Where the cache is
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9999")]
    server: SocketAddr,
    /// Write FILE, which apt runs to learn whether the cache is there
    #[arg(long, value_name = "FILE")]
    detect: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let server = args.server;
    let Some(path) = args.detect else {
        session.out.raw(format!("Acquire::http::Proxy \"http://{server}\";\n"))?;
        return Ok(Status::Done);
    };
    // apt runs a file, without arguments of ours.
    let failed = || format!("cannot write '{}'", display(&path));
    let script = format!("#!/bin/sh\nexec bk-aptcache detect --server {server} \"$@\"\n");
    let mut file = AtomicFile::create_mode(&path, 0o755)?;
    file.write_all(script.as_bytes()).context(failed)?;
    file.commit()?;
    let path = display(std::path::absolute(&path).context(failed)?);
    session.out.raw(format!("Acquire::http::Proxy-Auto-Detect \"{path}\";\n"))?;
    Ok(Status::Done)
}
