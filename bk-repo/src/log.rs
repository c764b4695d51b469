//! `bk-repo log`

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Context, Result, Session, Status};

use crate::archive::commit::{self, Commit, Intent};
use crate::command;
use crate::store::Store;

/// Tell what was done to a repository, the latest first
///
/// Prints number, time, command, and what became of each suite, separated by tabs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo log /srv/apt
      All changes; the number is what 'bk-repo rollback --to' takes.
  bk-repo log /srv/apt -n 1 --json | jq .intents
      What the last one was asked to do.

Exit status:
  0   told
  1   the repository cannot be read
  2   the command line or the configuration is wrong
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// Only the latest N
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
}

/// A commit as the log tells it.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "commit")]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// When it was made, as RFC 3339 says it.
    pub time: String,
    /// The command that made it.
    pub action: String,
    /// What it was to do.
    pub intents: Vec<Intent>,
}

impl Record for Entry {
    fn line(&self) -> Cow<'_, [u8]> {
        let suites: BTreeSet<&str> = self.intents.iter().map(Intent::suite).collect();
        let told = |suite: &str| {
            let mine = self.intents.iter().filter(|intent| intent.suite() == suite);
            let (mut more, mut less) = (0, 0);
            for intent in mine {
                match intent {
                    Intent::Add { .. } | Intent::Copy { .. } => more += 1,
                    Intent::Remove { .. } => less += 1,
                    Intent::Rollback { to, .. } => return format!("{suite} to {to}"),
                    Intent::Configure { .. } => {}
                }
            }
            format!("{suite} +{more} -{less}")
        };
        let told: Vec<String> = suites.into_iter().map(told).collect();
        let Entry { number, time, action, .. } = self;
        format!("{number}\t{time}\t{action}\t{}", told.join(", ")).into_bytes().into()
    }
}

/// Tells the log.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let last = repository.head()?.number;
    let first = args.limit.map_or(1, |limit| (last + 1).saturating_sub(limit).max(1));
    for number in (first..=last).rev() {
        let Some(commit) = commit::read(repository.store(), number)? else { continue };
        session.out.record(&entry(repository.store(), commit)?)?;
    }
    Ok(Status::Done)
}

/// A commit as the log tells it.
pub fn entry(store: &dyn Store, commit: Commit) -> Result<Entry> {
    let intents = commit::intents(store, &commit)?;
    let Commit { number, time, action, .. } = commit;
    let time = jiff::Timestamp::from_second(time).context(|| "not a time".into())?.to_string();
    Ok(Entry { number, time, action, intents })
}
