//! `bk-repo copy`

use std::collections::BTreeMap;
use std::path::PathBuf;

use bk::{Context, Error, Result, Session, Status, display};

use crate::add::content;
use crate::archive::commit::Intent;
use crate::archive::manifest::Manifest;
use crate::archive::repository::{Change, Repository};
use crate::command::{self, Writing, check_word};
use crate::list::{Place, find};
use crate::query::Query;
use crate::record::{Named, Package};

/// Publish packages of one suite in another too
///
/// They are not copied in the pool: only the indexes change.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo copy /srv/apt testing stable hello
      Promote all versions of a package.
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
    /// The suite that has them
    #[arg(value_name = "FROM", value_parser = check_word)]
    from: String,
    /// The suite to publish them in
    #[arg(value_name = "TO", value_parser = check_word)]
    to: String,
    /// name, name=version or name_version_arch, with * and ? if you like
    #[arg(value_name = "PACKAGE", required = true)]
    packages: Vec<String>,
    #[command(flatten)]
    writing: Writing,
}

/// Copies packages.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = Repository::at(&args.repo);
    let queries: Vec<Query> =
        args.packages.iter().map(|text| Query::parse(text)).collect::<Result<_>>()?;
    let mut head = repository.head()?;
    let mut writer = match args.writing.dry_run {
        true => None,
        false => Some(repository.write(args.writing.wait(), &session.console)?),
    };
    if let Some(latest) = writer.as_ref().and_then(|writer| writer.head()) {
        head = latest.clone();
    }
    let to = command::suite(&head, Some(&args.to))?;
    let settings = head.suites.get(&to).map(|suite| suite.settings.clone()).unwrap_or_default();
    let mut failed = false;
    let mut change = Change { action: "copy".into(), ..Change::default() };
    let mut manifests: BTreeMap<String, Manifest> = BTreeMap::new();
    let mut done = BTreeMap::new();
    for (query, text) in queries.iter().zip(&args.packages) {
        let found = find(&repository, &head, Some(&args.from), Some(query))?;
        if found.is_empty() {
            failed = true;
            let what = format!("no package of '{}' is '{}'", args.from, bk::sanitize(text));
            let hint = format!("'bk-repo list REPO --suite {}' tells what is there", args.from);
            session.console.error(&Error::new(what).hint(hint));
        }
        for (place, stanza) in found {
            if done.contains_key(&place) {
                continue;
            }
            let mut indexes = Vec::new();
            for index in targets(&place, &settings.components, &settings.architectures)
                .context(|| format!("cannot copy '{}'", place.key))?
            {
                if !manifests.contains_key(&index) {
                    let state = head.suites.get(&to).and_then(|suite| suite.indexes.get(&index));
                    let manifest =
                        state.map_or(Ok(Manifest::default()), |s| repository.manifest(s));
                    manifests.insert(index.clone(), manifest?);
                }
                let Some(manifest) = manifests.get(&index) else { continue };
                let wanted = [place.key.clone()].into();
                let there = manifest.find(&wanted, &|id| repository.chunk(id))?;
                match there.get(&place.key) {
                    Some(known) if content(known) == content(&stanza) => {}
                    Some(_) => {
                        let what = format!("'{}' is in '{to}' with other content", place.key);
                        return Err(Error::new(what).hint("remove one of them first"));
                    }
                    None => indexes.push(index),
                }
            }
            for index in &indexes {
                let edits = change.edits.entry((to.clone(), index.clone())).or_default();
                edits.insert(place.key.clone(), Some(stanza.clone()));
            }
            if !indexes.is_empty() {
                change.intents.push(Intent::Copy {
                    from: args.from.clone(),
                    suite: to.clone(),
                    indexes,
                    package: place.key.clone(),
                });
            }
            done.insert(place, stanza);
        }
    }
    if let Some(writer) = writer.as_mut().filter(|_| !change.edits.is_empty()) {
        let signers = command::signers(session, &head)?;
        writer
            .commit(change, command::now(session), &signers)
            .context(|| format!("cannot publish in '{}'", display(&args.repo)))?;
    }
    for (Place { key, index, .. }, stanza) in done {
        session.out.record(&Named(Package::new(&args.repo, &to, &index, &key, &stanza)))?;
    }
    Ok(if failed { Status::Failed } else { Status::Done })
}

/// The indexes of another suite that a package belongs to.
fn targets(place: &Place, components: &[String], architectures: &[String]) -> Result<Vec<String>> {
    let Place { component, key, index, .. } = place;
    if !components.contains(component) {
        return Err(Error::new(format!("the other suite has no component '{component}'"))
            .hint("'bk-repo init' adds it")
            .status(Status::Usage));
    }
    if key.architecture == "source" {
        return Ok(vec![index.clone()]);
    }
    let folder = match index.contains("/debian-installer/") {
        true => format!("{component}/debian-installer"),
        false => component.clone(),
    };
    let mine: Vec<String> = architectures
        .iter()
        .filter(|a| key.architecture == "all" || **a == key.architecture)
        .map(|a| format!("{folder}/binary-{a}/Packages"))
        .collect();
    match mine.is_empty() {
        true => Err(Error::new(format!(
            "the other suite is not for the architecture '{}'",
            key.architecture
        ))
        .hint("'bk-repo init --arch' adds it")
        .status(Status::Usage)),
        false => Ok(mine),
    }
}
