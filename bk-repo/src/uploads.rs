//! Uploads: who may publish where, and that what was uploaded once is not published again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bk::{Console, Context, Error, Result, Status, display};
use bk_deb::debian::control::Paragraph;
use sha2::{Digest, Sha256};

use crate::add::{self, Input, Job, Sign};
use crate::archive::chunk;
use crate::archive::commit::{self, Commit};
use crate::archive::repository::Repository;
use crate::incoming::changes;
use crate::openpgp::{PublicKey, read_ring, signed_by};
use crate::record::Package;
use crate::store::{PRIVATE, Scratch};

/// A .changes file has some KiB; one with thousands of packages has some hundred.
pub const CHANGES_LIMIT: u64 = 4 << 20;

/// Parts of uploads that were never finished go after this: the next one of 4 GiB takes four hours and a
/// half with 2 Mbit/s.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// Who may publish, and where.
#[derive(Default)]
pub struct Access {
    tokens: Vec<(String, Suites)>,
    uploaders: Vec<(PublicKey, Suites)>,
}

/// The suites somebody may publish in; all if none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suites(BTreeSet<String>);

impl Suites {
    /// Whether one is among them.
    pub fn allow(&self, suite: &str) -> bool {
        self.0.is_empty() || self.0.contains(suite)
    }
}

impl Access {
    /// Reads a file of tokens: `TOKEN [SUITE]…` a line, `#` before a note.
    pub fn add_tokens(&mut self, path: &Path) -> Result<()> {
        // A line has some 60 bytes: thousands of people's tokens.
        let text = bk::file::read(path, 1 << 20)?;
        for line in String::from_utf8_lossy(&text).lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(token) = words.next() else { continue };
            if token.len() < 16 {
                return Err(Error::new("a token has less than 16 characters: it can be guessed")
                    .context(format!("cannot use '{}'", display(path)))
                    .hint("'openssl rand -hex 16' makes one")
                    .status(Status::Usage));
            }
            self.tokens.push((hash(token), Suites(words.map(str::to_owned).collect())));
        }
        Ok(())
    }

    /// Reads `FILE` or `SUITE=FILE`: the keys of those who may publish, everywhere or in a suite.
    pub fn add_uploaders(&mut self, text: &str) -> Result<()> {
        let (suite, path) = match text.split_once('=') {
            Some((suite, path)) => (Some(suite.to_owned()), Path::new(path)),
            None => (None, Path::new(text)),
        };
        let keys = bk::file::read(path, 16 << 20).and_then(|bytes| read_ring(&bytes));
        let keys = keys
            .context(|| format!("cannot use the keyring '{}'", display(path)))
            .hint(|| "'gpg --armor --export KEY' writes one".into())
            .status(Status::Usage)?;
        let suites = Suites(suite.into_iter().collect());
        self.uploaders.extend(keys.into_iter().map(|key| (key, suites.clone())));
        Ok(())
    }

    /// Whether anybody may.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.uploaders.is_empty()
    }

    /// Whether some may by their signature.
    pub fn has_uploaders(&self) -> bool {
        !self.uploaders.is_empty()
    }

    /// Where the holder of a token may publish.
    pub fn token(&self, token: &str) -> Option<&Suites> {
        // Hashes are compared: how long that takes tells nothing of the token.
        let hash = hash(token);
        self.tokens.iter().find(|(known, _)| *known == hash).map(|(_, suites)| suites)
    }

    /// The text of a .changes file, and whether its signature allows a suite.
    fn signed(&self, text: &[u8]) -> Result<(Vec<u8>, Vec<&Suites>)> {
        let text = String::from_utf8_lossy(text);
        let keys = self.uploaders.iter().map(|(key, _)| key);
        let (text, good) = signed_by(&text, keys)?;
        let names: BTreeSet<String> = good.iter().map(|key| key.fingerprint()).collect();
        let mine = self.uploaders.iter().filter(|(key, _)| names.contains(&key.fingerprint()));
        Ok((text.into_bytes(), mine.map(|(_, suites)| suites).collect()))
    }
}

fn hash(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// Who sends an upload.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// Who may send one.
    pub access: &'a Access,
    /// Where the token allows it that came with it; without one its signature does.
    pub token: Option<&'a Suites>,
    /// Whether it may come without both, where no signatures are asked for.
    pub trusted: bool,
}

/// Why an upload was not published.
pub enum Refused {
    /// Who sent it may not.
    Forbidden(Error),
    /// It was published before.
    Replayed(Error),
    /// It is not what it should be.
    Bad(Error),
    /// Not its fault.
    Failed(Error),
}

impl Refused {
    /// What to tell.
    pub fn error(&self) -> &Error {
        match self {
            Refused::Forbidden(e) | Refused::Replayed(e) | Refused::Bad(e) | Refused::Failed(e) => {
                e
            }
        }
    }
}

/// Where the parts of uploads wait for their .changes file.
pub struct Incoming {
    dir: PathBuf,
    /// One at a time: two uploads of one package would take each other's parts.
    turn: Mutex<()>,
    _scratch: Option<Scratch>,
}

impl Incoming {
    /// The folder in a repository of this machine; for one elsewhere a folder that is there while it is
    /// served: what waits was not acknowledged as published, and is sent again.
    pub fn of(repository: &Repository) -> Result<Self> {
        match repository.store().local(&format!("{PRIVATE}/incoming")) {
            Some(dir) => Ok(Incoming::at(&dir)),
            None => {
                let scratch = repository.store().scratch()?;
                let dir = scratch.path().to_owned();
                Ok(Incoming { _scratch: Some(scratch), ..Incoming::at(&dir) })
            }
        }
    }

    /// A folder that somebody else fills.
    pub fn at(dir: &Path) -> Self {
        Incoming { dir: dir.to_owned(), turn: Mutex::new(()), _scratch: None }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of a sender, told by their token if they have one: nobody takes another's parts, or the
    /// room for them.
    pub fn folder(&self, token: Option<&str>) -> PathBuf {
        let mut name = token.map_or("open".into(), hash);
        // Enough to tell them apart.
        name.truncate(16);
        self.dir.join(name)
    }

    /// Removes what nobody came back for.
    pub fn sweep(&self) {
        sweep(&self.dir);
    }

    /// Publishes what a .changes file announces, and removes it and its files, which lie beside it.
    pub fn publish(
        &self,
        repository: &Repository,
        path: &Path,
        sender: Sender<'_>,
        job: Job<'_>,
        signers: Sign<'_>,
        console: &Console,
    ) -> Result<Vec<Package>, Refused> {
        let Sender { access, token, trusted } = sender;
        let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = path.file_name().map(display).unwrap_or_default();
        let bytes = bk::file::read(path, CHANGES_LIMIT).map_err(Refused::Bad)?;
        let (text, mine) = match (token, access.has_uploaders(), trusted) {
            (Some(suites), ..) => (crate::openpgp::strip_cleartext(&bytes), vec![suites]),
            (None, true, _) => {
                let (text, mine) = access.signed(&bytes).map_err(Refused::Forbidden)?;
                if mine.is_empty() {
                    let error = Error::new("no key of the uploaders signed it")
                        .context(format!("'{name}' is refused"));
                    return Err(Refused::Forbidden(error));
                }
                (text, mine)
            }
            (None, false, true) => (crate::openpgp::strip_cleartext(&bytes), Vec::new()),
            (None, false, false) => {
                return Err(Refused::Forbidden(Error::new("nobody may upload without a token")));
            }
        };
        let upload = chunk::id(&text);
        let head = repository.head().map_err(Refused::Failed)?;
        let announced = (|| {
            let paragraph = Paragraph::parse(&text)?;
            let suite = paragraph.require("Distribution")?.to_owned();
            Ok((changes::read_text(path, &text)?, suite))
        })();
        let (changes, suite) = announced.map_err(|e: Error| Refused::Bad(e))?;
        let allowed = mine.iter().any(|suites| suites.allow(&suite));
        if !allowed && (!trusted || access.has_uploaders()) {
            let error = Error::new(format!("not allowed to publish in '{}'", bk::sanitize(&suite)));
            return Err(Refused::Forbidden(error));
        }
        let suites = add::suites(Some(&head), None);
        if !suites.contains_key(&suite) {
            let error = Error::new(format!("there is no suite '{}'", bk::sanitize(&suite)));
            return Err(Refused::Bad(error));
        }
        if was_published(repository, &upload).map_err(Refused::Failed)? {
            let error = Error::new(format!("'{name}' was published before"));
            return Err(Refused::Replayed(error.hint("upload a later version")));
        }
        let inputs =
            changes.packages.iter().map(|path| Input { path: path.clone(), suite: suite.clone() });
        let job = Job { together: true, upload: Some(upload), ..job };
        let (published, errors) =
            add::publish(repository, &suites, inputs.collect(), &job, signers, console)
                .map_err(Refused::Failed)?;
        if let Some(error) = errors.into_iter().next() {
            return Err(Refused::Bad(error));
        }
        let parts = changes.files.iter().map(|name| path.with_file_name(name));
        for path in parts.chain([path.to_owned()]) {
            // What cannot be removed is swept later.
            drop(std::fs::remove_file(path));
        }
        Ok(published)
    }
}

fn sweep(dir: &Path) {
    let Ok(entries) = dir.read_dir() else { return };
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            sweep(&entry.path());
        }
        let age = meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if age.is_some_and(|age| age > PATIENCE) {
            // It may have been removed by now, or filled.
            drop(match meta.is_dir() {
                true => std::fs::remove_dir(entry.path()),
                false => std::fs::remove_file(entry.path()),
            });
        }
    }
}

fn key(upload: &str) -> String {
    format!("{PRIVATE}/uploads/{upload}")
}

/// Whether an upload was published.
fn was_published(repository: &Repository, upload: &str) -> Result<bool> {
    let store = repository.store();
    let Some(note) = store.read(&key(upload))? else { return Ok(false) };
    let number = std::str::from_utf8(&note).ok().and_then(|text| text.trim().parse().ok());
    // It was announced, and then another took the number, or the power failed.
    let Some(number) = number else { return Ok(false) };
    Ok(commit::read(store, number)?.is_some_and(|c| c.upload.as_deref() == Some(upload)))
}

/// Notes, before it is published, in which commit an upload will be.
pub fn announce(repository: &Repository, head: Option<&Commit>, upload: &str) -> Result<()> {
    let number = head.map_or(1, |head| head.number + 1);
    let key = key(upload);
    let store = repository.store();
    store.replace(&key, format!("{number}\n").as_bytes(), None)?;
    store.settle(&[key])
}
