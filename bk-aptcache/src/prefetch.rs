//! `bk-aptcache prefetch`

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bk::record::Record;
use bk::{Context, Error, Result, Session, Status};
use bk_deb::debian::compression::decode;
use bk_deb::debian::control::{field, paragraphs};
use bk_deb::debian::version::compare;
use serde::Serialize;

use crate::detect::get;
use crate::import::each_index;
use crate::setup::Folder;

/// Fetch packages into the cache before somebody needs them
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Of each package the newest version that the held indexes have is fetched, through the running server.

Examples:
  bk-aptcache prefetch build-essential git
  bk-aptcache prefetch --status /var/lib/dpkg/status
      What this machine has installed.
  apt-cache depends --recurse --no-suggests nginx | grep '^[a-z]' | bk-aptcache prefetch -

Exit status:
  0   every package is in the cache
  1   some are not; all others are
  75  the server does not answer
")]
pub struct Args {
    /// Names of packages, `NAME` or `NAME:ARCH`; `-` reads them from stdin
    package: Vec<String>,
    /// The packages that are installed by this file of dpkg's
    #[arg(long, value_name = "FILE")]
    status: Option<PathBuf>,
    /// Where the server listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9999")]
    server: SocketAddr,
    #[command(flatten)]
    folder: Folder,
    /// Say what would be fetched, and fetch nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "prefetched")]
struct Prefetched {
    package: String,
    version: String,
    path: String,
}

impl Record for Prefetched {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_bytes().into()
    }
}

/// Runs the command.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let wanted = wanted(&args)?;
    if wanted.is_empty() {
        return Err(Error::new("no packages to fetch")
            .hint("name some, or give --status /var/lib/dpkg/status")
            .status(Status::Usage));
    }
    let store = args.folder.store(session)?;
    let mut found: BTreeMap<&str, Vec<(String, Prefetched)>> = BTreeMap::new();
    each_index(&store, &mut |base, index| {
        let start = index.try_clone()?;
        std::io::Seek::rewind(&mut &start)?;
        let mut reader = BufReader::new(decode(BufReader::new(start))?);
        let mut text = Vec::new();
        loop {
            let size = reader.read_until(b'\n', &mut text)?;
            if size > 1 {
                continue;
            }
            if let Some(paragraph) = paragraphs(&text).next() {
                offer(&wanted, base, paragraph, &mut found);
            }
            if size == 0 {
                return Ok(());
            }
            text.clear();
        }
    })?;
    let mut failed = false;
    for name in &wanted {
        let Some(offers) = found.remove(name.as_str()) else {
            let error = Error::new("no index that is held has it");
            let error = error.hint("run apt-get update through the cache first");
            session.console.error(&error.context(format!("cannot fetch '{name}'")));
            failed = true;
            continue;
        };
        for (_, offer) in offers {
            if !args.dry_run {
                let (status, _) =
                    get(args.server, &format!("/{}", crate::path::encode(&offer.path)))
                        .context(|| format!("cannot ask the server '{}'", args.server))
                        .hint(|| {
                            "start it with bk-aptcache serve, or say where with --server".into()
                        })
                        .status(Status::Temporary)?;
                if status != 200 {
                    let error = Error::new(format!("the server answers with status {status}"));
                    session.console.error(&error.context(format!("cannot fetch '{}'", offer.path)));
                    failed = true;
                    continue;
                }
            }
            session.out.record(&offer)?;
        }
    }
    Ok(if failed { Status::Failed } else { Status::Done })
}

fn wanted(args: &Args) -> Result<Vec<String>> {
    let mut wanted = Vec::new();
    for name in &args.package {
        if name == "-" {
            for line in std::io::stdin().lines() {
                let line = line.context(|| "cannot read stdin".into())?;
                wanted.extend(line.split_ascii_whitespace().map(str::to_owned));
            }
        } else {
            wanted.push(name.clone());
        }
    }
    if let Some(path) = &args.status {
        wanted.extend(installed(path)?);
    }
    let mut seen = std::collections::HashSet::new();
    wanted.retain(|name| seen.insert(name.clone()));
    Ok(wanted)
}

fn installed(path: &Path) -> Result<Vec<String>> {
    let text = bk::file::read(path, 1 << 30)?;
    let value = |paragraph: &[u8], name: &str| {
        field(paragraph, name).map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let installed = |paragraph: &&[u8]| {
        value(paragraph, "Status").is_some_and(|status| status.ends_with(" installed"))
    };
    let name = |paragraph: &[u8]| {
        let (name, arch) = (value(paragraph, "Package")?, value(paragraph, "Architecture")?);
        Some(if arch == "all" { name } else { format!("{name}:{arch}") })
    };
    Ok(paragraphs(&text).filter(installed).filter_map(name).collect())
}

/// Takes a package of an index, if it is wanted and newer than what was found before.
fn offer<'a>(
    wanted: &'a [String],
    base: &str,
    paragraph: &[u8],
    found: &mut BTreeMap<&'a str, Vec<(String, Prefetched)>>,
) {
    let value = |name: &str| field(paragraph, name).and_then(|v| std::str::from_utf8(v).ok());
    let (Some(package), Some(version)) = (value("Package"), value("Version")) else { return };
    let (Some(arch), Some(file)) = (value("Architecture"), value("Filename")) else { return };
    let Ok(file) = crate::path::canonical(file) else { return };
    for name in wanted {
        let same = match name.split_once(':') {
            Some((name, wanted)) => name == package && (wanted == arch || arch == "all"),
            None => name == package,
        };
        if !same {
            continue;
        }
        let offers = found.entry(name).or_default();
        let offer = Prefetched {
            package: package.to_owned(),
            version: version.to_owned(),
            path: format!("{base}/{file}"),
        };
        match offers.iter_mut().find(|(known, _)| known == arch) {
            Some((_, known)) => {
                if compare(&known.version, version) == Ordering::Less {
                    *known = offer;
                }
            }
            None => offers.push((arch.to_owned(), offer)),
        }
    }
}
