//! `bk-repo publish`

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use bk::{Context, Error, Result, Session, Status, display};
use bk_deb::debian::control::paragraphs;

use crate::archive::commit::{self, Commit, Suite, holds_packages};
use crate::archive::index::by_hash;
use crate::archive::repository::Repository;
use crate::archive::retention::folder;
use crate::check::pool_files;
use crate::command::{self, Writing, check_word};
use crate::gc;
use crate::record::Made;
use crate::store::{Staged, Store};

/// Bring what clients need of a repository into an object store, and keep it up to date there
///
/// Only what is not there yet is uploaded, several files at a time; packages come first and InRelease
/// last, so that a client never sees what is not complete. What an earlier publication brought goes when
/// no client that is up to three generations behind needs it. Nothing is signed anew, and a publication
/// that was interrupted goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo publish /srv/apt 's3://bucket/apt?endpoint=http://HOST:9000'
      The whole repository; the variables of AWS have the credentials.
  bk-repo publish /srv/apt gs://bucket/apt --suite stable
      One suite, and nothing of the others.

Exit status:
  0   all is there
  1   the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository, or the store does not answer; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// s3://BUCKET/PREFIX?endpoint=URL, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX?account=NAME
    #[arg(value_name = "URL")]
    to: PathBuf,
    /// Only this suite; given several times: these
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Vec<String>,
    #[command(flatten)]
    writing: Writing,
}

/// What was brought to a place, by name with its hash: only that is ever removed there.
const NOTE: &str = ".buildkit/published";

/// How many files of a bucket wait on this machine's disk for their upload to another.
const AT_ONCE: usize = 64;

/// Files by their names, with their hashes where these are known.
type Files = BTreeMap<String, Option<String>>;

/// Publishes a repository.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let from = command::repository(session, &args.repo)?;
    let to = command::repository(session, &args.to)?;
    if to.store().local("").is_some() {
        return Err(Error::new(format!("'{}' is no place in an object store", display(&args.to)))
            .hint("name s3://BUCKET/PREFIX, or write a folder with 'bk-repo export'")
            .status(Status::Usage));
    }
    let failed = || format!("cannot publish '{}'", display(&args.repo));
    // The lock keeps gc away.
    let writer = match args.writing.dry_run {
        true => None,
        false => Some(from.write(args.writing.wait(), &session.console)?),
    };
    let mut head = from.head()?;
    for name in &args.suite {
        command::suite(&head, Some(name))?;
    }
    head.suites.retain(|name, _| args.suite.is_empty() || args.suite.contains(name));
    bring(&from, &to, &head, writer.is_none(), session).context(failed)?;
    session.out.record(&Made::new(&args.to, &head))?;
    Ok(Status::Done)
}

fn bring(
    from: &Repository,
    to: &Repository,
    head: &Commit,
    dry_run: bool,
    session: &Session,
) -> Result<()> {
    let store = to.store();
    if !dry_run {
        store.prepare()?;
    }
    if to.head_if_any()?.is_some() {
        let what = format!("'{}' is a repository of its own", display(to.path()));
        return Err(Error::new(what).hint(
            "name another prefix; 'bk-repo mirror' takes packages into a repository that is there",
        ));
    }
    let (here, there) = (sizes(from.store())?, sizes(store)?);
    let (wanted, brought) = (clients_need(from, head, &here)?, read_note(store)?);
    let (mut missing, mut changed) = (Vec::new(), Vec::new());
    for (key, hash) in &wanted {
        let same_size = there.get(key) == here.get(key);
        match (there.get(key), brought.get(key)) {
            // What is there of unknown origin is compared with what is uploaded.
            (None, _) => missing.push(key.clone()),
            (Some(_), None) if same_size => missing.push(key.clone()),
            (Some(_), None) => {
                let what = format!("'{}/{key}' is another file", display(to.path()));
                return Err(
                    Error::new(what).hint("something else is published there: name another prefix")
                );
            }
            (Some(_), Some(before)) if before == hash && same_size => {}
            (Some(_), Some(_)) => changed.push(key.clone()),
        }
    }
    let stale: Vec<&String> = brought.keys().filter(|key| !wanted.contains_key(*key)).collect();
    let note = format!(
        "{} of {} files to upload, {} to remove",
        missing.len() + changed.len(),
        wanted.len(),
        stale.len()
    );
    session.console.note(&note);
    if dry_run {
        return Ok(());
    }
    if !missing.is_empty() || !changed.is_empty() {
        // Whatever becomes of this run, the next one knows what is ours, and what is as it was.
        let mut all = wanted.clone();
        all.extend(brought.clone());
        write_note(store, &all)?;
    }
    // A package that was removed, and came again with other content.
    changed.iter().try_for_each(|key| store.remove(key))?;
    missing.extend(changed);
    upload(from.store(), store, missing)?;
    to.publish(head)?;
    // Suites that are published no more: what leads clients to the rest goes first.
    let suites: BTreeSet<&str> = brought.keys().filter_map(|key| suite_of(key)).collect();
    for name in suites.into_iter().filter(|name| !head.suites.contains_key(*name)) {
        store.remove(&format!("dists/{name}/InRelease"))?;
        let of_it = there.keys().filter(|key| suite_of(key) == Some(name));
        of_it.into_iter().try_for_each(|key| store.remove(key))?;
    }
    stale.iter().try_for_each(|key| store.remove(key))?;
    match brought == wanted {
        true => Ok(()),
        false => write_note(store, &wanted),
    }
}

/// The files that never change under their names and that clients of these suites need: those of today,
/// and those of the generations before.
fn clients_need(
    repository: &Repository,
    head: &Commit,
    here: &BTreeMap<String, u64>,
) -> Result<Files> {
    let mut suites: Vec<(String, Suite)> =
        head.suites.iter().map(|(name, suite)| (name.clone(), suite.clone())).collect();
    for (name, suite) in &head.suites {
        for number in &suite.previous {
            let before = commit::read(repository.store(), *number)?;
            let before = before.and_then(|mut before| before.suites.remove(name));
            suites.extend(before.map(|before| (name.clone(), before)));
        }
    }
    let (mut files, mut seen) = (Files::new(), BTreeSet::new());
    for (name, suite) in &suites {
        for (path, index) in &suite.indexes {
            let dir = folder(name, path);
            for file in &index.files {
                files.insert(by_hash(&dir, &file.sha256), Some(file.sha256.clone()));
            }
            if index.manifest.is_empty() || !holds_packages(path) {
                continue;
            }
            for chunk in repository.manifest(index)?.chunks {
                if !seen.insert(chunk.id.clone()) {
                    continue;
                }
                for stanza in paragraphs(&repository.chunk(&chunk.id)?) {
                    for (file, (_, sha256)) in pool_files(stanza)? {
                        // The suites of today come first.
                        files.entry(file).or_insert(Some(sha256));
                    }
                }
            }
        }
    }
    let mut beside = files.keys().cloned().collect();
    gc::build_infos(repository.store(), &mut beside)?;
    for key in beside {
        files.entry(key).or_insert(None);
    }
    // What is of a generation before may have gone.
    files.retain(|key, _| here.contains_key(key));
    Ok(files)
}

/// The suite a file of `dists` is of.
fn suite_of(key: &str) -> Option<&str> {
    key.strip_prefix("dists/")?.split('/').next()
}

/// The sizes of all files that a store has for clients, by name.
fn sizes(store: &dyn Store) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for folder in ["pool", "dists"] {
        all.extend(store.list(folder)?.into_iter().map(|entry| (entry.key, entry.size)));
    }
    Ok(all)
}

/// Uploads files of one store to another.
fn upload(from: &dyn Store, to: &dyn Store, keys: Vec<String>) -> Result<()> {
    if from.local("").is_some() {
        let local = |key: String| from.local(&key).map(|path| Staged::new(key, path));
        return to.place(keys.into_iter().filter_map(local).collect());
    }
    for some in keys.chunks(AT_ONCE) {
        let scratch = to.scratch()?;
        let mut staged = Vec::new();
        for (number, key) in some.iter().enumerate() {
            let path = scratch.path().join(number.to_string());
            let missing = || Error::new(format!("'{key}' is missing"));
            let mut file = from.open(key)?.ok_or_else(missing)?;
            let mut copy = std::fs::File::create(&path)?;
            io::copy(&mut file, &mut copy).context(|| format!("cannot copy '{key}'"))?;
            staged.push(Staged::new(key.clone(), path));
        }
        to.place(staged)?;
    }
    Ok(())
}

/// What was brought before: a line for each, `HASH  NAME` as sha256sum(1) writes it, `-` for none.
fn read_note(store: &dyn Store) -> Result<Files> {
    let text = store.read(NOTE)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let file = |line: &str| {
        let (hash, key) = line.split_once("  ")?;
        Some((key.to_owned(), (hash != "-").then(|| hash.to_owned())))
    };
    // Nothing but what a publication brings is ever removed, whatever the note says.
    let ours = |(key, _): &(String, _)| key.starts_with("pool/") || key.contains("/by-hash/");
    Ok(text.lines().filter_map(file).filter(ours).collect())
}

fn write_note(store: &dyn Store, files: &Files) -> Result<()> {
    let line = |(key, hash): (&String, &Option<String>)| {
        format!("{}  {key}\n", hash.as_deref().unwrap_or("-"))
    };
    let text: String = files.iter().map(line).collect();
    store.replace(NOTE, text.as_bytes(), None)
}
