//! `bk-repo snapshot`

use std::borrow::Cow;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display};

use crate::archive::commit;
use crate::command::{self, Writing, check_word};
use crate::rollback::whole;
use crate::state::{self, Snapshot};
use crate::turn::{Side, Turn};

/// Keep what a suite has now under a name, or list such names
///
/// A snapshot takes no room and no time; 'bk-repo gc' keeps what it needs. Wherever a state is asked
/// for, its name can be given: 'diff', 'copy', 'merge', 'rollback --to', 'list --suite'. Prints
/// name, suite, commit and time, separated by tabs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo snapshot /srv/apt before-upgrade --suite stable
      Keep what stable has now.
  bk-repo snapshot /srv/apt
      All snapshots.
  bk-repo rollback /srv/apt --suite stable --to before-upgrade
      Publish it again.
  bk-repo snapshot /srv/apt before-upgrade --remove
      Forget it.

Exit status:
  0   done
  1   there is another snapshot of that name, or none
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The snapshot's name; without it, all are listed
    #[arg(value_name = "NAME", value_parser = check_word)]
    name: Option<String>,
    /// The state to keep: a suite, or SUITE@COMMIT [default: the suite there is]
    #[arg(long, value_name = "STATE", requires = "name")]
    suite: Option<String>,
    /// Forget the snapshot; what only it needed goes with the next 'bk-repo gc'
    #[arg(long, requires = "name", conflicts_with = "suite")]
    remove: bool,
    #[command(flatten)]
    writing: Writing,
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "snapshot")]
struct Told<'a> {
    name: &'a str,
    suite: &'a str,
    commit: u64,
    time: String,
}

impl Record for Told<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let Told { name, suite, commit, time } = self;
        format!("{name}\t{suite}\t{commit}\t{time}").into_bytes().into()
    }
}

fn tell(session: &mut Session, snapshot: &Snapshot) -> Result<()> {
    let Snapshot { name, suite, commit, time } = snapshot;
    let time = jiff::Timestamp::from_second(*time)
        .context(|| format!("the snapshot '{name}' is damaged"))?
        .to_string();
    session.out.record(&Told { name, suite, commit: *commit, time })
}

/// Makes, removes or lists snapshots.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let head = repository.head()?;
    let store = repository.store();
    let Some(name) = args.name else {
        for snapshot in state::snapshots(store)? {
            tell(session, &snapshot)?;
        }
        return Ok(Status::Done);
    };
    // The lock keeps gc away: it must not miss a snapshot that is being made.
    let writer = match args.writing.dry_run {
        true => None,
        false => Some(repository.write(args.writing.wait(), &session.console)?),
    };
    let head = writer.as_ref().and_then(|w| w.head().cloned()).unwrap_or(head);
    let old = args.suite.as_deref().and_then(|text| text.split_once('@'));
    let turn = Turn::take(store, Side::Recall, old.is_some() && !args.writing.dry_run)?;
    let known = state::snapshot(store, &name)?;
    if args.remove {
        let known = known.ok_or_else(|| {
            Error::new(format!("there is no snapshot '{name}'"))
                .hint(format!("'bk-repo snapshot {}' lists them", display(&args.repo)))
        })?;
        if !args.writing.dry_run {
            store.remove(&state::key(&name))?;
            store.settle(&[state::key(&name)])?;
        }
        tell(session, &known)?;
        return Ok(Status::Done);
    }
    if head.suites.contains_key(&name) {
        return Err(Error::new(format!("'{name}' is a suite"))
            .hint("give the snapshot another name")
            .status(Status::Usage));
    }
    let (suite, number) = match old {
        Some((suite, number)) => {
            let state = format!("{suite}@{number}");
            whole(&repository, &state::resolve(&repository, &head, &state)?)
                .context(|| format!("cannot keep '{state}'"))?;
            (suite.to_owned(), number.parse().unwrap_or_default())
        }
        None => (command::suite(&head, args.suite.as_deref())?, head.number),
    };
    let time = command::now(session);
    let snapshot = Snapshot { name: name.clone(), suite, commit: number, time };
    let text = commit::seal(&serde_json::to_vec(&snapshot)?);
    turn.keep()?;
    let taken = match args.writing.dry_run {
        true => known.is_some(),
        false => !store.create(&state::key(&name), &text)?,
    };
    if taken {
        return Err(Error::new(format!("there is a snapshot '{name}' already"))
            .hint("give this one another name, or remove that one with --remove"));
    }
    tell(session, &snapshot)?;
    Ok(Status::Done)
}
