//! `bk-repo rollback`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bk::{Context, Error, Result, Session, Status, display};
use bk_deb::debian::control::paragraphs;

use crate::archive::commit::{Intent, Suite};
use crate::archive::repository::{Change, Repository};
use crate::check::pool_files;
use crate::command::{self, Writing, check_word};
use crate::log;
use crate::state;
use crate::turn::{Side, Turn};

/// Publish again what a suite had before
///
/// That is a new commit with the old indexes, signed with the time of now: apt takes no older one.
/// No package is copied, and a rollback can be rolled back.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo rollback /srv/apt
      As it was before the last change.
  bk-repo rollback /srv/apt --suite stable --to 12
      As commit 12 of 'bk-repo log' had it.

Exit status:
  0   published
  1   what it had is not there any more
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The suite [default: the one there is]
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Option<String>,
    /// The state that is wanted: a commit's number, SUITE@COMMIT or a snapshot [default: what was
    /// before the suite's last change]
    #[arg(long, value_name = "STATE")]
    to: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

/// Rolls a suite back. Prints the new commit as `log` does.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    repository.head()?;
    let turn = Turn::take(repository.store(), Side::Recall, !args.writing.dry_run)?;
    let mut writer = repository.write(args.writing.wait(), &session.console)?;
    let head = writer.head().cloned().unwrap_or_default();
    let name = command::suite(&head, args.suite.as_deref())?;
    let suite = head.suites.get(&name).cloned().unwrap_or_default();
    let previous = || suite.previous.last().map(u64::to_string);
    let wanted = args.to.or_else(previous).ok_or_else(|| {
        Error::new(format!("'{name}' has had no other state")).hint("see 'bk-repo log'")
    })?;
    let state = match wanted.parse::<u64>() {
        Ok(number) => format!("{name}@{number}"),
        Err(_) => wanted,
    };
    let to = match (state.split_once('@'), state::snapshot_of(repository.store(), &state)?) {
        (Some((_, number)), _) => number.parse().unwrap_or_default(),
        (None, Some(snapshot)) => snapshot.commit,
        (None, None) => head.number,
    };
    let old = state::resolve(&repository, &head, &state)?;
    let failed = || format!("cannot roll back '{}' to '{state}'", display(&args.repo));
    whole(&repository, &old).context(failed)?;
    if args.writing.dry_run {
        session.console.note(&format!("would publish '{name}' as {state} was"));
        return Ok(Status::Done);
    }
    let signers = args.writing.signers(session, &head)?;
    let change = Change {
        action: "rollback".into(),
        intents: vec![Intent::Rollback { suite: name.clone(), to }],
        roots: BTreeMap::from([(name, old.indexes)]),
        ..Change::default()
    };
    turn.keep().context(failed)?;
    writer.commit(change, command::now(session), &signers).context(failed)?;
    if let Some(head) = writer.head().cloned() {
        session.out.record(&log::entry(repository.store(), head)?)?;
    }
    Ok(Status::Done)
}

/// Finds what gc has removed before anything is changed.
pub fn whole(repository: &Repository, suite: &Suite) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (_, index) in suite.packages() {
        for chunk in repository.manifest(index)?.chunks {
            if !seen.insert(chunk.id.clone()) {
                continue;
            }
            for stanza in paragraphs(&repository.chunk(&chunk.id)?) {
                for (file, (size, _)) in pool_files(stanza)? {
                    if repository.store().size(&file)? != Some(size) {
                        return Err(Error::new(format!("'{file}' is missing"))
                            .hint("add the package again"));
                    }
                }
            }
        }
    }
    Ok(())
}
