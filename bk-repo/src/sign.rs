//! `bk-repo sign`

use std::path::PathBuf;

use bk::{Context, Result, Session, Status, display};

use crate::archive::commit::Commit;
use crate::archive::repository::Change;
use crate::command::{self, Writing, check_word};
use crate::log;

/// Sign suites again whose validity is half over, so that apt goes on believing them
///
/// For suites made with 'bk-repo init --valid-for'; 'serve' does the same by itself. With --all every
/// suite is signed again, with the time of now.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo sign /srv/apt
      Daily, from a timer.
  bk-repo sign /srv/apt --all
      Now, whatever the time.

Exit status:
  0   signed, or there was nothing to do
  1   the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// Only this suite; given several times: these
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Vec<String>,
    /// Also those that are good for long yet
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    writing: Writing,
}

/// Signs suites again.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let head = repository.head()?;
    for name in &args.suite {
        command::suite(&head, Some(name))?;
    }
    let now = command::now(session);
    let named = |name: &String| args.suite.is_empty() || args.suite.contains(name);
    let wanted = |head: &Commit| Change {
        action: "sign".into(),
        resign: match args.all {
            true => head.suites.keys().filter(|name| named(name)).cloned().collect(),
            false => due(head, now).resign.into_iter().filter(named).collect(),
        },
        ..Change::default()
    };
    let change = wanted(&head);
    if args.writing.dry_run || change.is_empty() {
        for name in change.resign {
            session.console.note(&format!("would sign '{name}' again"));
        }
        return Ok(Status::Done);
    }
    let mut writer = repository.write(args.writing.wait(), &session.console)?;
    let head = writer.head().cloned().unwrap_or_default();
    let signers = args.writing.signers(session, &head)?;
    writer
        .commit(wanted(&head), now, &signers)
        .context(|| format!("cannot sign '{}'", display(&args.repo)))?;
    if let Some(head) = writer.head().cloned() {
        session.out.record(&log::entry(repository.store(), head)?)?;
    }
    Ok(Status::Done)
}

/// The suites whose validity is half over at `now`, seconds since 1970. Half leaves time for a
/// failure to be noticed.
pub fn due(head: &Commit, now: i64) -> Change {
    let resign = head.suites.iter().filter_map(|(name, suite)| {
        let valid = i64::try_from(suite.settings.valid_for?).unwrap_or(i64::MAX);
        let half = suite.published.date.saturating_add(valid / 2);
        (now >= half).then(|| name.clone())
    });
    Change { action: "sign".into(), resign: resign.collect(), ..Change::default() }
}
