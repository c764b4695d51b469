//! `bk-aptcache import`

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use bk::record::Record;
use bk::{Error, Result, Session, Status, display};
use serde::Serialize;

use crate::release::Release;
use crate::setup::Folder;
use crate::store::{Hash, Store, hash_file, hex};
use crate::table::{entries, stem};

/// Take files from another cache, each checked against the indexes that are held
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Names do not count, content does: a file whose SHA-256 an index has gets the place that index gives
it. So folders of apt (/var/cache/apt/archives), of apt-cacher-ng, of approx and trees of apt-proxy are
read alike. Indexes must be here first: run apt-get update through the cache.

Examples:
  bk-aptcache import /var/cache/apt/archives
      Prints the path in the cache of each file that was taken.
  bk-aptcache import /var/cache/apt-cacher-ng

Exit status:
  0   every package was taken
  1   some were not: no index has them
")]
pub struct Args {
    /// The folder, read with all below it
    #[arg(required = true)]
    dir: Vec<PathBuf>,
    #[command(flatten)]
    folder: Folder,
    /// Say what would be taken, and take nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "imported")]
struct Imported {
    path: String,
    #[serde(serialize_with = "bk::record::path")]
    from: PathBuf,
    size: u64,
}

impl Record for Imported {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_bytes().into()
    }
}

/// Runs the command.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let store = args.folder.store(session)?;
    let known = known(&store)?;
    if known.is_empty() {
        return Err(Error::new("the cache holds no indexes to check files against")
            .hint("run apt-get update through the cache first"));
    }
    let mut files = Vec::new();
    for dir in &args.dir {
        walk(dir, &mut files)?;
    }
    let progress = session.console.progress("importing", files.len() as u64);
    let mut left = 0;
    for path in files {
        progress.step(&display(&path));
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        let hash = hash_file(&file, size)?;
        let Some(keys) = known.get(&hash) else {
            left += 1;
            session.console.info(&format!("no index has '{}'", display(&path)));
            continue;
        };
        for key in keys {
            if !args.dry_run && store.identity(key).is_none() {
                store.import(&path, key, &hash)?;
            }
            session.out.record(&Imported { path: key.clone(), from: path.clone(), size })?;
        }
    }
    if left > 0 {
        session.console.warn(&format!("{left} files are in no index that is held"));
    }
    Ok(if left > 0 { Status::Failed } else { Status::Done })
}

/// The places of all files that the held indexes name, by their hashes.
fn known(store: &Store) -> Result<HashMap<Hash, Vec<String>>> {
    let mut known: HashMap<Hash, Vec<String>> = HashMap::new();
    each_index(store, &mut |base, index| {
        entries(index, &mut |path, expected| {
            let places = known.entry(expected.sha256).or_default();
            let key = if base.is_empty() { path.to_owned() } else { format!("{base}/{path}") };
            if !places.contains(&key) {
                places.push(key);
            }
        })
    })?;
    Ok(known)
}

/// Calls `each` with the indexes of packages that are held, and the folder, as a key, that their
/// paths start from.
pub fn each_index(
    store: &Store,
    each: &mut dyn FnMut(&str, &File) -> std::io::Result<()>,
) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for (root, _) in store.roots("") {
        let (folder, name) = root.rsplit_once('/').unwrap_or(("", &root));
        let text = bk::file::read(&store.root().join(&root), 64 << 20)?;
        let Ok(release) = Release::parse(text, name == "InRelease") else { continue };
        let base = match folder.split('/').position(|name| name == "dists") {
            Some(at) => folder.split('/').take(at).collect::<Vec<_>>().join("/"),
            None => folder.to_owned(),
        };
        for path in release.paths().filter(|path| stem(path).is_some()) {
            let Some(expected) = release.expected(path) else { continue };
            let below =
                path.rsplit_once('/').map_or(String::new(), |(below, _)| format!("{below}/"));
            let key = format!("{folder}/{below}by-hash/SHA256/{}", hex(&expected.sha256));
            if let Some(index) = store.get(&key)?
                && seen.insert((base.clone(), expected.sha256))
            {
                each(&base, &index.file)?;
            }
        }
    }
    Ok(())
}

/// Packages and parts of sources below a folder, sorted.
fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::from(e).context(format!("cannot read the folder '{}'", display(dir)))
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(failed)?;
    paths.sort();
    for path in paths {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if meta.is_dir() {
            // apt's own folder of what has not arrived.
            if name != "partial" {
                walk(&path, files)?;
            }
        } else if meta.is_file() && crate::path::is_immutable(&name) {
            files.push(path.clone());
        }
    }
    Ok(())
}
