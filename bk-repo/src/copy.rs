//! `bk-repo copy`

use std::path::PathBuf;

use bk::{Context, Error, Result, Session, Status, display};

use crate::archive::repository::Change;
use crate::archive::translation;
use crate::command::{self, Writing, check_word};
use crate::dependency::NEEDS;
use crate::list::{Place, find_in, with_dependencies};
use crate::query::Query;
use crate::record::{Named, Package};
use crate::state;
use crate::transfer::{self, Packages};
use crate::turn::{Side, Turn};

/// Publish packages of one suite in another too
///
/// They are not copied in the pool: only the indexes change.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo copy /srv/apt testing stable hello
      Promote all versions of a package.
  bk-repo copy /srv/apt testing stable 'python3-acme (>= 2)' --with-deps
      Promote a package and what it needs.
  bk-repo copy /srv/apt testing stable '*'
      Promote everything.

Exit status:
  0   every package named is in the other suite
  1   some could not be copied; all others were
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// What has them: SUITE, SUITE@COMMIT or a snapshot
    #[arg(value_name = "FROM")]
    from: String,
    /// The suite to publish them in
    #[arg(value_name = "TO", value_parser = check_word)]
    to: String,
    /// name, name=version, name_version_arch, or an expression as 'bk-repo list' takes it
    #[arg(value_name = "PACKAGE", required = true)]
    packages: Vec<String>,
    /// And what these packages depend on
    #[arg(long)]
    with_deps: bool,
    #[command(flatten)]
    writing: Writing,
}

/// Copies packages.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let queries: Vec<Query> =
        args.packages.iter().map(|text| Query::parse(text)).collect::<Result<_>>()?;
    let mut head = repository.head()?;
    let old = args.from.contains('@');
    let turn = Turn::take(repository.store(), Side::Recall, old && !args.writing.dry_run)?;
    let mut writer = match args.writing.dry_run {
        true => None,
        false => Some(repository.write(args.writing.wait(), &session.console)?),
    };
    if let Some(latest) = writer.as_ref().and_then(|writer| writer.head()) {
        head = latest.clone();
    }
    let to = command::suite(&head, Some(&args.to))?;
    let target = head.suites.get(&to).cloned().unwrap_or_default();
    let from = state::resolve(&repository, &head, &args.from)?;
    let mut failed = false;
    let mut change = Change { action: "copy".into(), ..Change::default() };
    let mut done = Packages::new();
    for (query, text) in queries.iter().zip(&args.packages) {
        let found = find_in(&repository, &args.from, &from, Some(query))?;
        if found.is_empty() {
            failed = true;
            let what = format!("no package of '{}' is '{}'", args.from, bk::sanitize(text));
            let hint = format!("'bk-repo list REPO --suite {}' tells what is there", args.from);
            session.console.error(&Error::new(what).hint(hint));
        }
        done.extend(found);
    }
    if args.with_deps {
        let all = find_in(&repository, &args.from, &from, None)?;
        done = with_dependencies(&all, &done, &NEEDS).0;
    }
    let mut whole = done.clone();
    translation::rejoin(&repository, &from, &mut whole)?;
    transfer::add(&repository, (&to, &target), &args.from, &whole, &mut change)?;
    if let Some(writer) = writer.as_mut().filter(|_| !change.edits.is_empty()) {
        let signers = args.writing.signers(session, &head)?;
        turn.keep()?;
        writer
            .commit(change, command::now(session), &signers)
            .context(|| format!("cannot publish in '{}'", display(&args.repo)))?;
    }
    for (Place { key, index, .. }, stanza) in done {
        session.out.record(&Named(Package::new(repository.path(), &to, &index, &key, &stanza)))?;
    }
    Ok(if failed { Status::Failed } else { Status::Done })
}
