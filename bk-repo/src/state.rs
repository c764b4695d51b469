//! What packages there were: a suite now, a suite as a commit had it, a snapshot.
//!
//! A snapshot is a name for a suite of a commit. The log keeps every commit, so that is all it takes.

use bk::{Context, Error, Result, Status};
use serde::{Deserialize, Serialize};

use crate::archive::commit::{self, Commit, Suite};
use crate::archive::repository::Repository;
use crate::command::check_word;
use crate::store::{PRIVATE, Store};

/// A name for what a suite was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The suite.
    pub suite: String,
    /// The commit that had it so.
    pub commit: u64,
    /// When the snapshot was made, in seconds since 1970.
    pub time: i64,
}

/// The file of a snapshot.
pub fn key(name: &str) -> String {
    format!("{PRIVATE}/snapshots/{name}")
}

/// All snapshots, sorted by name.
pub fn snapshots(store: &dyn Store) -> Result<Vec<Snapshot>> {
    let mut all = Vec::new();
    for entry in store.list(&key(""))? {
        let name = entry.key.rsplit('/').next().unwrap_or_default();
        // It may just have been removed.
        all.extend(snapshot(store, name)?);
    }
    Ok(all)
}

/// A snapshot, if there is one of that name.
pub fn snapshot(store: &dyn Store, name: &str) -> Result<Option<Snapshot>> {
    let Some(bytes) = store.read(&key(name))? else { return Ok(None) };
    let parse = || -> Result<Snapshot> { Ok(serde_json::from_slice(commit::unseal(&bytes)?)?) };
    parse().context(|| format!("the snapshot '{name}' is damaged")).map(Some)
}

/// The snapshot a text names, if it can be a name.
pub fn snapshot_of(store: &dyn Store, text: &str) -> Result<Option<Snapshot>> {
    if check_word(text).is_err() {
        return Ok(None);
    }
    snapshot(store, text)
}

/// What a text such as `stable`, `stable@12` or the name of a snapshot means. A suite of today comes
/// before a snapshot of its name.
pub fn resolve(repository: &Repository, head: &Commit, text: &str) -> Result<Suite> {
    if let Some(suite) = head.suites.get(text) {
        return Ok(suite.clone());
    }
    let at = |suite: &str, number: u64| -> Result<Suite> {
        let commit = commit::read(repository.store(), number)?;
        commit.and_then(|mut commit| commit.suites.remove(suite)).ok_or_else(|| {
            Error::new(format!("commit {number} has no suite '{suite}'"))
                .hint("see 'bk-repo log REPO'")
        })
    };
    if let Some((suite, number)) = text.split_once('@') {
        let number = number.parse().map_err(|_| {
            Error::new(format!("'{}' is no number of a commit", bk::sanitize(number)))
                .hint("say a suite and a commit of 'bk-repo log', such as stable@12")
                .status(Status::Usage)
        })?;
        return at(suite, number);
    }
    check_word(text)
        .context(|| format!("'{}' is no suite", bk::sanitize(text)))
        .status(Status::Usage)?;
    match snapshot(repository.store(), text)? {
        Some(snapshot) => at(&snapshot.suite, snapshot.commit),
        None => {
            let names: Vec<String> =
                snapshots(repository.store())?.into_iter().map(|s| s.name).collect();
            let known: Vec<&str> = head
                .suites
                .keys()
                .map(String::as_str)
                .chain(names.iter().map(String::as_str))
                .collect();
            Err(Error::new(format!("the repository has no suite '{text}'"))
                .hint(format!("it has {}", known.join(", ")))
                .status(Status::Usage))
        }
    }
}
