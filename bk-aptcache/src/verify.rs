//! `bk-aptcache verify`

use std::borrow::Cow;
use std::collections::HashMap;

use bk::record::Record;
use bk::{Result, Session, Status};
use serde::Serialize;

use crate::marks::Marks;
use crate::path::by_hash;
use crate::setup::Folder;
use crate::store::{Hash, Store, hash_file, hex, parse_hash};

/// Read every file of the cache, and remove those that are not what they should be
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A file is held against the indexes, its own name where that is a hash, and the hash it had when it
came. What is removed is fetched again when it is next asked for.

Examples:
  bk-aptcache verify
      Prints the path of each wrong file, which is removed.
  bk-aptcache verify --dry-run

Exit status:
  0   every file is right
  1   the cache cannot be read
  3   some files were wrong
")]
pub struct Args {
    #[command(flatten)]
    folder: Folder,
    /// Say which files are wrong, and leave them
    #[arg(long)]
    dry_run: bool,
}

/// A file that is not what it should be.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "wrong")]
struct Wrong {
    path: String,
    expected: String,
    found: Option<String>,
}

impl Record for Wrong {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_bytes().into()
    }
}

/// Runs the command.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let store = args.folder.store(session)?;
    let marks = Marks::read(&store, 0, &session.console);
    let mut keys = Vec::new();
    store.walk("", &|_| true, &mut |key, _| keys.push(key.to_owned()));
    keys.sort();
    let hashes = store.hashes();
    let progress = session.console.progress("verifying", keys.len() as u64);
    let mut wrong = 0;
    for key in keys {
        progress.step(&key);
        let Some(found) = check(&store, (&marks, &hashes), &key) else { continue };
        wrong += 1;
        if !args.dry_run {
            store.disown(&found.0);
            store.remove(&key)?;
        }
        let found = Wrong { path: key, expected: hex(&found.0), found: found.1.map(|h| hex(&h)) };
        session.out.record(&found)?;
    }
    Ok(if wrong > 0 { Status::No } else { Status::Done })
}

/// What a file should be and what it is, if these differ.
fn check(
    store: &Store,
    (marks, hashes): (&Marks, &HashMap<u64, Hash>),
    key: &str,
) -> Option<(Hash, Option<Hash>)> {
    let held = store.get(key).ok()??;
    let named = by_hash(key).filter(|(_, algorithm, _)| *algorithm == "SHA256");
    let mut expected: Vec<Hash> = marks.expected(key).iter().map(|e| e.sha256).collect();
    expected.extend(named.and_then(|(.., hash)| parse_hash(hash)));
    if expected.is_empty() {
        expected.extend(hashes.get(&held.identity.0));
    }
    let first = *expected.first()?;
    match hash_file(&held.file, held.size) {
        Ok(hash) if expected.contains(&hash) => None,
        hash => Some((first, hash.ok())),
    }
}
