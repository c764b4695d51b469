//! `bk-repo contents`

use std::path::PathBuf;

use bk::{Context, Result, Session, Status, display};

use crate::archive::commit::Commit;
use crate::archive::contents;
use crate::archive::repository::{Change, Repository};
use crate::command::{self, Writing, check_word};
use crate::log;

/// Bring the Contents indexes up to date, by which apt-file finds the package of a file
///
/// For the suites made with 'bk-repo init --contents', or those named. It reads each package once,
/// which is why 'add' does not do it; 'serve' does it while nothing else is to be done.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo contents /srv/apt
      After a day's additions, from a timer.
  bk-repo contents /srv/apt --suite stable
      For a suite that has none yet.

Exit status:
  0   they are up to date
  1   a package cannot be read, or the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// This suite, whatever its settings; given several times: these
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Vec<String>,
    #[command(flatten)]
    writing: Writing,
}

/// Makes the indexes.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let head = repository.head()?;
    for name in &args.suite {
        command::suite(&head, Some(name))?;
    }
    // All that takes time is done while others may write.
    prepare(&repository, &head, &args.suite)?;
    if args.writing.dry_run {
        return Ok(Status::Done);
    }
    let mut writer = repository.write(args.writing.wait(), &session.console)?;
    let head = writer.head().cloned().unwrap_or_default();
    let change = change(&repository, &head, &args.suite)?;
    if !change.is_empty() {
        let signers = args.writing.signers(session, &head)?;
        writer
            .commit(change, command::now(session), &signers)
            .context(|| format!("cannot publish in '{}'", display(&args.repo)))?;
        if let Some(head) = writer.head().cloned() {
            session.out.record(&log::entry(repository.store(), head)?)?;
        }
    }
    Ok(Status::Done)
}

fn prepare(repository: &Repository, head: &Commit, named: &[String]) -> Result<()> {
    for (_, suite) in
        head.suites.iter().filter(|(name, suite)| suite.settings.contents || named.contains(name))
    {
        contents::texts(repository, suite)?;
    }
    Ok(())
}

/// What it takes to have the indexes of today in the suites that want them.
pub fn change(repository: &Repository, head: &Commit, named: &[String]) -> Result<Change> {
    let mut change = Change { action: "contents".into(), ..Change::default() };
    for (name, suite) in &head.suites {
        if !suite.settings.contents && !named.contains(name) {
            continue;
        }
        for (path, text) in contents::texts(repository, suite)? {
            let manifest = crate::archive::manifest::of_lines(&text, &mut |_, _| Ok(()))?;
            let known =
                suite.indexes.get(&path).map(|index| repository.manifest(index)).transpose()?;
            if known.as_ref() != Some(&manifest) {
                change.texts.insert((name.clone(), path), text);
            }
        }
    }
    Ok(change)
}
