//! `bk-repo installkey`

use std::borrow::Cow;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bk::file::AtomicFile;
use bk::record::Record;
use bk::{Context, Result, Session, Status, display};

use crate::archive::repository::public_keys;
use crate::command;
use crate::openpgp::armor_keys;

/// Where apt keeps keys that sources name with Signed-By (sources.list(5)).
const KEYRINGS: &str = "/etc/apt/keyrings";

/// Write a repository's public keys where apt of this machine finds them
///
/// The file is /etc/apt/keyrings/NAME.asc, with the name of the repository's folder. Sources believe
/// it where they say so with Signed-By; 'bk-repo sources' has the key in it and needs no file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo installkey /srv/apt
      Write /etc/apt/keyrings/apt.asc.
  bk-repo installkey /srv/apt --keyring /mnt/etc/apt/keyrings/own.asc
      For another root.

Exit status:
  0   written, or there already
  1   it cannot be written
  2   the command line or the configuration is wrong
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "keyring")]
struct Installed<'a> {
    #[serde(serialize_with = "bk::record::path")]
    path: &'a Path,
}

impl Record for Installed<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_os_str().as_bytes().into()
    }
}

/// Installs the keys.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let head = command::repository(session, &args.repo)?.head()?;
    let path = match args.keyring {
        Some(path) => path,
        None => {
            let name = args.repo.canonicalize().unwrap_or(args.repo);
            let name = name.file_name().map(display).unwrap_or_else(|| "buildkit".into());
            Path::new(KEYRINGS).join(format!("{name}.asc"))
        }
    };
    let text = armor_keys(&public_keys(&head)?)?;
    let there = std::fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes());
    if !there && !args.dry_run {
        if let Some(dir) = path.parent() {
            bk::file::create_dir(dir)?;
        }
        // apt reads it as another user.
        let mut file = AtomicFile::create_mode(&path, 0o644)?;
        file.write_all(text.as_bytes()).context(|| format!("cannot write '{}'", display(&path)))?;
        file.commit()?;
    }
    session.out.record(&Installed { path: &path })?;
    Ok(Status::Done)
}
