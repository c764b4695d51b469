//! How long superseded indexes stay under their hashes, for clients that hold an older InRelease.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bk::Result;

use super::commit::{self, Index, Suite};
use super::index::by_hash;
use crate::store::{Entry, Store};

/// This many generations stay in any case, the current one among them.
pub const GENERATIONS: usize = 3;

/// Caches and slow clients are at most a day behind.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A client that has begun is done after this.
const UPDATE: Duration = Duration::from_secs(600);

/// What superseded indexes of one folder may take beyond that: a busy day of a large repository
/// would fill any disk.
const BUDGET: u64 = 1 << 30;

/// Marks what `new` superseded in `old` as needed until now, and removes what is due in the folders
/// of the indexes that changed.
pub fn prune(store: &dyn Store, name: &str, old: Option<&Suite>, new: &Suite) -> Result<()> {
    let mut previous = Vec::new();
    let none = Index::default();
    for number in &new.previous {
        previous.extend(commit::read(store, *number)?.and_then(|mut c| c.suites.remove(name)));
    }
    for (path, before) in old.iter().flat_map(|old| &old.indexes) {
        let index = new.indexes.get(path).unwrap_or(&none);
        if before == index {
            continue;
        }
        let dir = folder(name, path);
        let generations = previous.iter().filter_map(|suite| suite.indexes.get(path));
        let needed: BTreeSet<String> = generations
            .chain([index])
            .flat_map(|index| index.files.iter().map(|file| by_hash(&dir, &file.sha256)))
            .collect();
        for file in &before.files {
            store.touch(&by_hash(&dir, &file.sha256))?;
        }
        let mut superseded = store.list(&by_hash(&dir, ""))?;
        superseded.retain(|entry| !needed.contains(&entry.key));
        for entry in due(superseded, SystemTime::now()) {
            store.remove(&entry.key)?;
        }
    }
    Ok(())
}

/// The folder of an index in the repository.
pub fn folder(suite: &str, index: &str) -> String {
    let dir = index.rsplit_once('/').map_or("", |(dir, _)| dir);
    format!("dists/{suite}/{dir}")
}

/// Which of the superseded files go; their times say until when they were needed.
fn due(mut superseded: Vec<Entry>, now: SystemTime) -> Vec<Entry> {
    let age = |entry: &Entry| now.duration_since(entry.modified).unwrap_or_default();
    superseded.sort_by_key(|entry| std::cmp::Reverse(entry.modified));
    let mut kept = 0;
    superseded.retain(|entry| {
        kept += entry.size;
        age(entry) > DAY || (kept > BUDGET && age(entry) > UPDATE)
    });
    superseded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_decides_and_then_the_budget() {
        let now = SystemTime::now();
        let entry = |key: &str, size, seconds| Entry {
            key: key.into(),
            size,
            modified: now - Duration::from_secs(seconds),
        };
        let all = vec![
            entry("old", 1, 25 * 3600),
            entry("hour", BUDGET / 2, 3600),
            entry("two hours", BUDGET, 7200),
            entry("fresh", BUDGET, 60),
            entry("day", 1, 23 * 3600),
        ];
        let gone: BTreeSet<String> =
            due(all[..2].to_vec(), now).into_iter().map(|e| e.key).collect();
        assert_eq!(gone, ["old".to_owned()].into());
        let gone: BTreeSet<String> = due(all, now).into_iter().map(|e| e.key).collect();
        assert_eq!(gone, ["old", "hour", "two hours", "day"].map(String::from).into());
    }
}
