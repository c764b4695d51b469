//! `bk-aptcache stats`

use std::borrow::Cow;
use std::collections::BTreeMap;

use bk::record::Record;
use bk::{Result, Session, Status};
use serde::Serialize;

use crate::setup::Folder;
use crate::statistics::{Snapshot, read};

/// Say what the cache holds, and what it saved
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The counters are those of all runs of the server; a running one writes them once a minute.

Examples:
  bk-aptcache stats
  bk-aptcache stats --json | jq .hits

Exit status:
  0   done
  1   there is no cache
")]
pub struct Args {
    #[command(flatten)]
    folder: Folder,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "archive")]
struct Archive {
    name: String,
    files: u64,
    bytes: u64,
}

impl Record for Archive {
    fn line(&self) -> Cow<'_, [u8]> {
        format!("{}\t{} files\t{} bytes", self.name, self.files, self.bytes).into_bytes().into()
    }
}

impl Record for Snapshot {
    fn line(&self) -> Cow<'_, [u8]> {
        let mut lines = vec![
            format!("hits\t{}", self.hits),
            format!("misses\t{}", self.misses),
            format!("stale\t{}", self.stale),
            format!("coalesced\t{}", self.coalesced),
        ];
        lines.extend(self.counters().map(|(name, _, value)| {
            format!("{}\t{value}", name.trim_end_matches("_total").replace('_', " "))
        }));
        lines.join("; ").into_bytes().into()
    }
}

/// Runs the command.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let store = args.folder.store(session)?;
    let mut archives: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    store.walk("", &|_| true, &mut |key, meta| {
        let name = key.split('/').next().unwrap_or(key);
        let (files, bytes) = archives.entry(name.to_owned()).or_default();
        *files += 1;
        *bytes += meta.len();
    });
    for (name, (files, bytes)) in archives {
        session.out.record(&Archive { name, files, bytes })?;
    }
    session.out.record(&read(&store.inside("statistics")))?;
    Ok(Status::Done)
}
