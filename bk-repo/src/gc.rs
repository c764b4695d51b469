//! `bk-repo gc`

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bk::record::Record;
use bk::{Result, Session, Status};
use bk_deb::debian::control::paragraphs;

use crate::archive::commit::{self, Commit};
use crate::archive::repository::{Repository, object};
use crate::check::pool_files;
use crate::command::Writing;
use crate::init::seconds;
use crate::store::{Entry, PRIVATE};

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
    let repository = Repository::at(&args.repo);
    repository.head()?;
    // Without writers, whatever is not marked is nobody's.
    let writer = repository.write(args.writing.wait(), &session.console)?;
    let head = writer.head().cloned().unwrap_or_default();
    let since = SystemTime::now().checked_sub(Duration::from_secs(args.keep));
    let since = since.unwrap_or(SystemTime::UNIX_EPOCH);
    let needed = mark(&repository, &head, since)?;
    let store = repository.store();
    for folder in ["pool".to_owned(), format!("{PRIVATE}/objects")] {
        for Entry { key, size, modified } in store.list(&folder)? {
            // A crash left it, and the command may be tried again just now.
            if modified >= since || needed.contains(&key) {
                continue;
            }
            if !args.writing.dry_run {
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
    let mut needed = BTreeSet::new();
    let mut commits = vec![head.clone()];
    for number in numbers {
        commits.extend(commit::read(store, number)?);
    }
    for index in commits.iter().flat_map(|c| c.suites.values()).flat_map(|s| s.indexes.values()) {
        if index.manifest.is_empty() || !needed.insert(object(&index.manifest)) {
            continue;
        }
        for chunk in repository.manifest(index)?.chunks {
            if needed.insert(object(&chunk.id)) {
                for stanza in paragraphs(&repository.chunk(&chunk.id)?) {
                    needed.extend(pool_files(stanza)?.into_iter().map(|(file, _)| file));
                }
            }
        }
    }
    Ok(needed)
}
