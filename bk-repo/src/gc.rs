//! `bk-repo gc`

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bk::record::Record;
use bk::{Result, Session, Status};
use bk_deb::debian::control::paragraphs;

use crate::archive::commit::{self, Commit, Suite, holds_packages};
use crate::archive::contents;
use crate::archive::index::by_hash;
use crate::archive::repository::{Repository, object};
use crate::archive::retention::folder;
use crate::check::pool_files;
use crate::command::{self, Writing};
use crate::init::seconds;
use crate::state::{self, Snapshot};
use crate::store::{Entry, GRACE, PRIVATE, Store};
use crate::turn::{Side, Turn};

/// Remove the packages and indexes that nothing has needed for a day
///
/// What is published is kept, what the last two generations of each suite published, and what any
/// commit did that is not older than --keep. Prints what it removes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo gc -n /srv/apt
      What would go.
  bk-repo gc /srv/apt --keep 4w
      Keep what the last four weeks need, for 'bk-repo rollback'.

Exit status:
  0   done, or there was nothing to do
  1   the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// For how long to keep what was published, such as 4w, 2d or 12h
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = seconds)]
    keep: u64,
    #[command(flatten)]
    writing: Writing,
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "removed")]
struct Removed {
    path: String,
    size: u64,
}

impl Record for Removed {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_bytes().into()
    }
}

/// Removes what is not needed.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    repository.head()?;
    let turn = Turn::take(repository.store(), Side::Gc, !args.writing.dry_run)?;
    let writer = repository.write(args.writing.wait(), &session.console)?;
    let head = writer.head().cloned().unwrap_or_default();
    let since = SystemTime::now().checked_sub(Duration::from_secs(args.keep));
    let since = since.unwrap_or(SystemTime::UNIX_EPOCH);
    let needed = mark(&repository, &head, since)?;
    let store = repository.store();
    let shared = store.local("").is_none();
    // Where nobody can be kept away, what is not marked may be a writer's who has yet to commit.
    let fresh = match shared {
        true => SystemTime::now().checked_sub(GRACE).map_or(since, |time| time.min(since)),
        false => since,
    };
    // Packages last: of what can still be read of an old state all packages are there.
    let mut folders = ["objects", "contents"].map(|name| format!("{PRIVATE}/{name}")).to_vec();
    folders.push("pool".into());
    if shared {
        // A folder's indexes go when they are superseded; here nobody lists them before.
        folders.extend(head.suites.keys().map(|name| format!("dists/{name}")));
    }
    for folder in folders {
        for Entry { key, size, modified } in store.list(&folder)? {
            // A crash left it, and the command may be tried again just now.
            let by_name = key.starts_with("dists/") && !key.contains("/by-hash/");
            if modified >= fresh || by_name || needed.contains(&key) {
                continue;
            }
            // A writer who needs it writes it again.
            if shared && store.modified(&key)?.is_none_or(|time| time >= fresh) {
                continue;
            }
            if !args.writing.dry_run {
                turn.keep()?;
                store.remove(&key)?;
            }
            session.out.record(&Removed { path: key, size })?;
        }
    }
    Ok(Status::Done)
}

/// The files in the pool and the objects that commits need: the latest, the generations before it,
/// and those written since a time.
fn mark(repository: &Repository, head: &Commit, since: SystemTime) -> Result<BTreeSet<String>> {
    let store = repository.store();
    let mut numbers: BTreeSet<u64> =
        head.suites.values().flat_map(|suite| suite.previous.clone()).collect();
    for number in (1..head.number).rev() {
        // Whoever came before the first that is older is older too; what it published was
        // superseded by that one, and so it is needed since then.
        numbers.insert(number);
        if store.modified(&commit::key(number))?.is_none_or(|time| time < since) {
            break;
        }
    }
    let mut suites: Vec<(String, Suite)> =
        head.suites.iter().map(|(name, suite)| (name.clone(), suite.clone())).collect();
    for number in numbers {
        suites.extend(commit::read(store, number)?.into_iter().flat_map(|c| c.suites));
    }
    for Snapshot { suite, commit, .. } in state::snapshots(store)? {
        let commit = commit::read(store, commit)?;
        let found = commit.and_then(|mut commit| commit.suites.remove(&suite));
        suites.extend(found.map(|found| (suite, found)));
    }
    let mut needed = needs(repository, suites.iter().map(|(_, suite)| suite))?;
    for (name, suite) in &suites {
        for (path, index) in &suite.indexes {
            let dir = folder(name, path);
            needed.extend(index.files.iter().map(|file| by_hash(&dir, &file.sha256)));
        }
    }
    build_infos(store, &mut needed)?;
    Ok(needed)
}

/// The objects and the files of the pool that suites need.
fn needs<'a>(
    repository: &Repository,
    suites: impl Iterator<Item = &'a Suite>,
) -> Result<BTreeSet<String>> {
    let mut needed = BTreeSet::new();
    for (path, index) in suites.flat_map(|suite| &suite.indexes) {
        if index.manifest.is_empty() || !needed.insert(object(&index.manifest)) {
            continue;
        }
        for chunk in repository.manifest(index)?.chunks {
            if needed.insert(object(&chunk.id)) && holds_packages(path) {
                for stanza in paragraphs(&repository.chunk(&chunk.id)?) {
                    for (file, (_, sha256)) in pool_files(stanza)? {
                        needed.insert(contents::key(&sha256));
                        needed.insert(file);
                    }
                }
            }
        }
    }
    Ok(needed)
}

/// A .buildinfo file stays as long as a package it stands beside.
pub fn build_infos(store: &dyn Store, needed: &mut BTreeSet<String>) -> Result<()> {
    let folder = |key: &str| key.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
    let alive: BTreeSet<String> =
        needed.iter().filter(|key| key.starts_with("pool/")).map(|key| folder(key)).collect();
    for Entry { key, .. } in store.list("pool")? {
        if key.ends_with(".buildinfo") && alive.contains(&folder(&key)) {
            needed.insert(key);
        }
    }
    Ok(())
}

/// All files that anything in the log or a snapshot needs and that are still there, with the indexes
/// of today under their hashes.
pub fn everything(repository: &Repository) -> Result<BTreeSet<String>> {
    let head = repository.head()?;
    let store = repository.store();
    let mut all = mark(repository, &head, SystemTime::now())?;
    for (name, suite) in &head.suites {
        for (path, index) in &suite.indexes {
            let dir = folder(name, path);
            all.extend(index.files.iter().map(|file| by_hash(&dir, &file.sha256)));
        }
    }
    // Of older commits as much as gc has left.
    all.extend(store.list(&format!("{PRIVATE}/objects"))?.into_iter().map(|entry| entry.key));
    all.extend(store.list("pool")?.into_iter().map(|entry| entry.key));
    Ok(all)
}
