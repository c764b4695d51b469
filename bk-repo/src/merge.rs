//! `bk-repo merge`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bk::{Context, Result, Session, Status, display};

use crate::archive::commit::Suite;
use crate::archive::manifest::Key;
use crate::archive::repository::Change;
use crate::archive::translation;
use crate::command::{self, Writing, check_word};
use crate::list::{Place, find_in};
use crate::record::{Named, Package};
use crate::transfer::{self, Packages};
use crate::turn::{Side, Turn};
use crate::{log, state};

/// Publish the packages of several states in one suite
///
/// Of a package in several of them, the last one named counts, in all its versions. A state is a
/// suite, a suite as a commit had it (stable@12), or a snapshot's name. A suite that is not there is
/// made like the first of them. Prints the packages that came.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo merge /srv/apt next stable testing
      The packages of stable, but those of testing where it has them.
  bk-repo merge /srv/apt next stable testing --latest
      Of each package the newest version alone.
  bk-repo merge /srv/apt copy stable@12 --exact
      Exactly what stable had then, and nothing else.

Exit status:
  0   done, or there was nothing to do
  1   the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The suite to publish in
    #[arg(value_name = "TO", value_parser = check_word)]
    to: String,
    /// The states: SUITE, SUITE@COMMIT or a snapshot
    #[arg(value_name = "FROM", required = true)]
    from: Vec<String>,
    /// Of each package and architecture keep the newest version alone
    #[arg(long, conflicts_with = "all_versions")]
    latest: bool,
    /// Keep all versions of all of them
    #[arg(long)]
    all_versions: bool,
    /// Let what the suite has now count for nothing
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    writing: Writing,
}

/// Merges states.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let mut head = repository.head()?;
    let old = args.from.iter().any(|text| text.contains('@'));
    let turn = Turn::take(repository.store(), Side::Recall, old && !args.writing.dry_run)?;
    let mut writer = match args.writing.dry_run {
        true => None,
        false => Some(repository.write(args.writing.wait(), &session.console)?),
    };
    if let Some(latest) = writer.as_ref().and_then(|writer| writer.head()) {
        head = latest.clone();
    }
    let mut sources: Vec<(&str, Suite)> = Vec::new();
    if !args.exact {
        sources.extend(head.suites.get(&args.to).map(|suite| (args.to.as_str(), suite.clone())));
    }
    for text in &args.from {
        sources.push((text, state::resolve(&repository, &head, text)?));
    }
    let mut change = Change { action: "merge".into(), ..Change::default() };
    let target = match head.suites.get(&args.to) {
        Some(suite) => suite.clone(),
        None => {
            let first = sources.first().map(|(_, suite)| suite.settings.clone());
            let settings = first.unwrap_or_default();
            change.settings.insert(args.to.clone(), settings.clone());
            Suite { settings, ..Suite::default() }
        }
    };
    let mut merged = Packages::new();
    for (name, suite) in &sources {
        let mut found = find_in(&repository, name, suite, None)?;
        translation::rejoin(&repository, suite, &mut found)?;
        // One suite or another: here they are the same package.
        let found = found
            .into_iter()
            .map(|(place, stanza)| (Place { suite: args.to.clone(), ..place }, stanza));
        let found: Packages = found.collect();
        if !args.all_versions && !args.latest {
            let names: BTreeSet<(&str, &str)> =
                found.keys().map(|place| same(&place.key)).collect();
            merged.retain(|place, _| !names.contains(&same(&place.key)));
        }
        merged.extend(found);
    }
    if args.latest {
        let mut newest: BTreeMap<(String, String), Key> = BTreeMap::new();
        for Place { key, .. } in merged.keys() {
            let (name, architecture) = same(key);
            let known = newest.entry((name.into(), architecture.into())).or_insert(key.clone());
            if *known < *key {
                *known = key.clone();
            }
        }
        let newest: BTreeSet<Key> = newest.into_values().collect();
        merged.retain(|place, _| newest.contains(&place.key));
    }
    let keep: BTreeSet<Key> = merged.keys().map(|place| place.key.clone()).collect();
    let there = transfer::keys(&repository, &target)?;
    let gone: BTreeSet<Key> = there.difference(&keep).cloned().collect();
    transfer::remove(&repository, &args.to, &target, &gone, &mut change)?;
    let from = args.from.join(" ");
    transfer::add(&repository, (&args.to, &target), &from, &merged, &mut change)?;
    if let Some(writer) = writer.as_mut().filter(|_| !change.is_empty()) {
        let signers = args.writing.signers(session, &head)?;
        turn.keep()?;
        writer
            .commit(change, command::now(session), &signers)
            .context(|| format!("cannot publish in '{}'", display(&args.repo)))?;
        if let Some(head) = writer.head().cloned() {
            session.console.info(&String::from_utf8_lossy(&bk::record::Record::line(&log::entry(
                repository.store(),
                head,
            )?)));
        }
    }
    for (Place { key, index, .. }, stanza) in merged {
        if !there.contains(&key) {
            session.out.record(&Named(Package::new(
                repository.path(),
                &args.to,
                &index,
                &key,
                &stanza,
            )))?;
        }
    }
    Ok(Status::Done)
}

/// What packages that replace each other have in common.
fn same(key: &Key) -> (&str, &str) {
    (&key.name, &key.architecture)
}
