//! `bk-repo check`

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bk::record::Record;
use bk::{Result, Session, Status};
use bk_deb::debian::control::{field, paragraphs};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::archive::commit::{self, Commit, Suite, holds_packages};
use crate::archive::index::by_hash;
use crate::archive::manifest::Key;
use crate::archive::repository::{KEYS, Repository, public_keys};
use crate::archive::retention::folder;
use crate::archive::{chunk, pdiff, release};
use crate::command;
use crate::openpgp::{armor_keys, verify_cleartext, verify_detached};
use crate::store::PRIVATE;
use crate::{repair, state};

/// Check every hash, signature and reference; exit status 3 if something is wrong
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo check /srv/apt
      Nothing printed: all is as it was published.
  bk-repo check --json /srv/apt | jq -r .path
      The files that are not.
  bk-repo check --repair /srv/apt
      Tell, and make good what can be made good.

Exit status:
  0   nothing is wrong, or not any more
  1   the repository cannot be read
  2   the command line or the configuration is wrong
  3   something is wrong; stdout says what
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// Make again what can be made from the rest: indexes, signatures, names. Packages and the log are
    /// there once; what is damaged of these is told
    #[arg(long)]
    repair: bool,
    /// How long to wait for another process that writes to the repository, with --repair
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

impl Args {
    fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(tag = "type", rename = "problem")]
pub struct Problem {
    /// The file, from the repository's folder on.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// Whether it is so no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repaired: bool,
}

impl Record for Problem {
    fn line(&self) -> Cow<'_, [u8]> {
        let end = if self.repaired { "\trepaired" } else { "" };
        format!("{}\t{}{end}", self.path, self.problem).into_bytes().into()
    }
}

/// Checks a repository.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let mut problems = check(&repository)?;
    if args.repair && !problems.is_empty() {
        // Nobody changes what is looked at; and what a crash left unfinished is finished by this.
        let writer = repository.write(args.wait(), &session.console)?;
        let before = problems;
        if let Some(head) = writer.head() {
            repair::repair(&repository, head, &before)?;
        }
        problems = check(&repository)?;
        let left: BTreeSet<String> = problems.iter().map(|p| p.path.clone()).collect();
        for problem in before.into_iter().filter(|problem| !left.contains(&problem.path)) {
            session.out.record(&Problem { repaired: true, ..problem })?;
        }
    }
    for problem in &problems {
        session.out.record(problem)?;
    }
    Ok(if problems.is_empty() { Status::Done } else { Status::No })
}

/// What is wrong with a repository, sorted by file.
pub fn check(repository: &Repository) -> Result<Vec<Problem>> {
    let head = repository.head()?;
    let mut checker = Checker { repository, problems: Vec::new(), pool: BTreeMap::new() };
    checker.log(&head)?;
    let keys = public_keys(&head)?;
    if checker
        .read(KEYS)?
        .is_some_and(|text| Ok(text) != armor_keys(&keys).map(String::into_bytes).map_err(drop))
    {
        checker.problem(KEYS, "not the keys that sign");
    }
    for (name, suite) in &head.suites {
        checker.suite(name, suite, &keys)?;
    }
    checker.kept()?;
    checker.pool()?;
    checker.problems.sort();
    checker.problems.dedup();
    Ok(checker.problems)
}

/// The files in the pool that a stanza names, with their sizes and SHA-256.
pub fn pool_files(stanza: &[u8]) -> Result<Vec<(String, (u64, String))>> {
    let key = Key::of(stanza)?;
    let get = |name| field(stanza, name).map(String::from_utf8_lossy);
    let number = |text: &str| text.parse::<u64>().ok();
    if key.architecture == "source" {
        let dir = get("Directory").unwrap_or_default();
        let sums = get("Checksums-Sha256").unwrap_or_default();
        let file = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let (hash, size, file) = (words.next()?, number(words.next()?)?, words.next()?);
            Some((format!("{dir}/{file}"), (size, hash.to_owned())))
        };
        return Ok(sums.lines().filter_map(file).collect());
    }
    let size = get("Size").and_then(|size| number(&size));
    Ok(match (get("Filename"), size, get("SHA256")) {
        (Some(file), Some(size), Some(hash)) => {
            vec![(file.into_owned(), (size, hash.into_owned()))]
        }
        _ => Vec::new(),
    })
}

struct Checker<'a> {
    repository: &'a Repository,
    problems: Vec<Problem>,
    /// What stanzas say of files in the pool: size and SHA-256.
    pool: BTreeMap<String, (u64, String)>,
}

impl Checker<'_> {
    fn problem(&mut self, path: &str, problem: impl Into<String>) {
        self.problems.push(Problem {
            path: path.to_owned(),
            problem: problem.into(),
            repaired: false,
        });
    }

    /// The bytes of a file that must be there.
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        let found = self.repository.store().read(path)?;
        if found.is_none() {
            self.problem(path, "missing");
        }
        Ok(found)
    }

    fn log(&mut self, head: &Commit) -> Result<()> {
        let store = self.repository.store();
        for number in 1..=head.number {
            match commit::read(store, number) {
                Ok(Some(commit)) => {
                    if let (Some(key), Err(error)) =
                        (commit::intents_key(&commit), commit::intents(store, &commit))
                    {
                        self.problem(&key, error.to_string());
                    }
                }
                Ok(None) => self.problem(&commit::key(number), "missing"),
                Err(error) => self.problem(&commit::key(number), error.to_string()),
            }
        }
        Ok(())
    }

    fn suite(
        &mut self,
        name: &str,
        suite: &Suite,
        keys: &[crate::openpgp::PublicKey],
    ) -> Result<()> {
        let path = |file: &str| format!("dists/{name}/{file}");
        let text = &suite.published.release;
        for (file, expected) in [
            ("InRelease", &suite.published.in_release),
            ("Release", text),
            ("Release.gpg", &suite.published.signature),
        ] {
            if self.read(&path(file))?.is_some_and(|found| found != expected.as_bytes()) {
                self.problem(&path(file), "not what the latest commit published");
            }
        }
        match verify_cleartext(&suite.published.in_release, keys) {
            Ok(signed) if signed == *text => {}
            Ok(_) => self.problem(&path("InRelease"), "signs another text than Release has"),
            Err(error) => self.problem(&path("InRelease"), error.to_string()),
        }
        if let Err(error) = verify_detached(&suite.published.signature, text.as_bytes(), keys) {
            self.problem(&path("Release.gpg"), error.to_string());
        }
        for (file, hash, size) in release::files(text) {
            let dir = folder(name, file);
            for path in [path(file), by_hash(&dir, hash)] {
                let Some(bytes) = self.read(&path)? else { continue };
                if bytes.len() as u64 != size || chunk::id(&bytes) != hash {
                    self.problem(&path, "not the bytes that Release announces");
                }
            }
        }
        for (index, state) in suite.indexes.iter().filter(|(path, _)| pdiff::is_patch(path)) {
            // `Release` does not announce them.
            for file in &state.files {
                let hashed = by_hash(&folder(name, index), &file.sha256);
                for path in [path(&format!("{index}{}", file.suffix)), hashed] {
                    let Some(bytes) = self.read(&path)? else { continue };
                    if chunk::id(&bytes) != file.sha256 {
                        self.problem(&path, "not the bytes that the log announces");
                    }
                }
            }
        }
        for (index, state) in &suite.indexes {
            if let Err(error) = self.index(index, state) {
                self.problem(&path(index), error.to_string());
            }
        }
        Ok(())
    }

    /// Reads an index from its chunks, and notes what it says of the pool.
    fn index(&mut self, path: &str, state: &crate::archive::commit::Index) -> Result<()> {
        let manifest = self.repository.manifest(state)?;
        for part in &manifest.chunks {
            let object = self.repository.object(&part.id)?;
            let text = chunk::unpack(&part.id, &object)?;
            if !holds_packages(path) {
                continue;
            }
            for stanza in paragraphs(&text) {
                self.pool.extend(pool_files(stanza)?);
            }
        }
        Ok(())
    }

    /// What is there for states of before, and for later: each file says by its name what it holds.
    fn kept(&mut self) -> Result<()> {
        let store = self.repository.store();
        let mut files = store.list(&format!("{PRIVATE}/objects"))?;
        files.extend(store.list(&format!("{PRIVATE}/contents"))?);
        for name in self.repository.head()?.suites.keys() {
            let all = store.list(&format!("dists/{name}"))?;
            // Another program may have left names there that say nothing.
            files.extend(all.into_iter().filter(|entry| {
                entry.key.split_once("/by-hash/SHA256/").is_some_and(|(_, hash)| hash.len() == 64)
            }));
        }
        let check = |key: &String| -> Result<bool> {
            // It may have gone since.
            let Some(bytes) = store.read(key)? else { return Ok(true) };
            let name: Vec<&str> = key.rsplit('/').take(2).collect();
            let id = match key.starts_with(PRIVATE) {
                true => format!("{}{}", name[1], name[0]),
                false => name[0].to_owned(),
            };
            Ok(if key.starts_with(&format!("{PRIVATE}/contents")) {
                repair::names_are_whole(&bytes)
            } else {
                chunk::id(&bytes) == id || chunk::is_whole(&id, &bytes)
            })
        };
        let found: Vec<bool> =
            files.par_iter().map(|entry| check(&entry.key)).collect::<Result<_>>()?;
        for (entry, _) in files.iter().zip(found).filter(|(_, whole)| !whole) {
            self.problem(&entry.key, "not what its name says");
        }
        for entry in store.list(&state::key(""))? {
            let name = entry.key.rsplit('/').next().unwrap_or_default();
            if let Err(error) = state::snapshot(store, name) {
                self.problem(&entry.key, error.to_string());
            }
        }
        Ok(())
    }

    fn pool(&mut self) -> Result<()> {
        let store = self.repository.store();
        let check = |(path, (size, hash)): (&String, &(u64, String))| -> Result<Option<Problem>> {
            let Some(mut file) = store.open(path)? else {
                let problem = "missing".into();
                return Ok(Some(Problem { path: path.clone(), problem, repaired: false }));
            };
            let mut sum = Sha256::new();
            let copied = std::io::copy(&mut file, &mut sum);
            let problem = match copied {
                Err(error) => format!("cannot be read: {error}"),
                Ok(n) if n != *size => format!("has {n} bytes, not {size}"),
                Ok(_) if format!("{:x}", sum.finalize()) != *hash => "its hash is another".into(),
                Ok(_) => return Ok(None),
            };
            Ok(Some(Problem { path: path.clone(), problem, repaired: false }))
        };
        let found: Vec<Option<Problem>> = self.pool.par_iter().map(check).collect::<Result<_>>()?;
        self.problems.extend(found.into_iter().flatten());
        Ok(())
    }
}
