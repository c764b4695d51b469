//! The log of a repository: each commit says what was wanted and what came of it.
//!
//! `commits/000000000123` is written by create-if-absent and never changed: whoever writes it has
//! decided what 123 is. It holds the signed Release files too, so that whoever finds a publication
//! unfinished can finish it without the key.

use std::collections::BTreeMap;
use std::io::{self, BufReader, BufWriter, Read};

use bk::{Context, Error, Result};
use serde::{Deserialize, Serialize};

use super::index::IndexFile;
use super::manifest::Key;
use crate::store::{PRIVATE, Store};

/// The format of a commit. Those before 2 had all their intents in them, and objects without sums.
const VERSION: u32 = 2;

/// Beyond this many, intents have a file of their own. A commit is read by every command that writes,
/// and again by the two that come after; who asks what came with it is the log.
const INTENTS: usize = 64;

/// What a file of intents may unpack to: one has about 150 bytes, and few archives 1,000,000 packages.
const INTENTS_LIMIT: u64 = 1 << 30;

/// A state of the repository, and how it came about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Commit {
    /// The format.
    pub version: u32,
    /// Its place in the log; the first is 1.
    pub number: u64,
    /// When it was made, in seconds since 1970.
    pub time: i64,
    /// The command that made it.
    pub action: String,
    /// What it was to do; nothing where [`intents`] is to be asked.
    pub intents: Vec<Intent>,
    /// The hash that names the file with the intents, where they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<String>,
    /// What tells the upload it published, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// Who signs; who came last, last.
    pub keys: Vec<Signer>,
    /// The suites by name.
    pub suites: BTreeMap<String, Suite>,
}

/// One who signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// The fingerprint, in upper-case hex.
    pub fingerprint: String,
    /// The public key, armored.
    pub public: String,
}

/// One thing a commit was to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Intent {
    /// Publish a package.
    Add {
        /// In this suite.
        suite: String,
        /// In these indexes.
        indexes: Vec<String>,
        /// Which.
        package: Key,
    },
    /// Publish a package no more.
    Remove {
        /// In this suite.
        suite: String,
        /// In these indexes.
        indexes: Vec<String>,
        /// Which.
        package: Key,
    },
    /// Publish a package of another suite.
    Copy {
        /// Of this suite.
        from: String,
        /// In this one.
        suite: String,
        /// In these indexes.
        indexes: Vec<String>,
        /// Which.
        package: Key,
    },
    /// Publish a suite as it was.
    Rollback {
        /// The suite.
        suite: String,
        /// The commit that had it so.
        to: u64,
    },
    /// Change what the suite is called, what it has room for, or who signs.
    Configure {
        /// The suite.
        suite: String,
    },
}

impl Intent {
    /// The suite it changes.
    pub fn suite(&self) -> &str {
        match self {
            Intent::Add { suite, .. }
            | Intent::Remove { suite, .. }
            | Intent::Copy { suite, .. }
            | Intent::Rollback { suite, .. }
            | Intent::Configure { suite } => suite,
        }
    }
}

/// A suite, as `dists/NAME` publishes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Suite {
    /// What it is called and has room for.
    pub settings: Settings,
    /// Its indexes by their path below `dists/NAME`, without suffix: `main/binary-amd64/Packages`.
    pub indexes: BTreeMap<String, Index>,
    /// What was signed.
    pub published: Published,
    /// The commits that published the generations before this one, the latest last.
    pub previous: Vec<u64>,
    /// What leads from earlier states of an index to this one, the earliest first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub patches: BTreeMap<String, Vec<Patch>>,
}

impl Suite {
    /// The indexes that say which packages there are, by their paths.
    pub fn packages(&self) -> impl Iterator<Item = (&String, &Index)> {
        self.indexes.iter().filter(|(path, _)| holds_packages(path))
    }
}

/// Whether an index says which packages there are; others describe or search those.
pub fn holds_packages(path: &str) -> bool {
    path.ends_with("/Packages") || path.ends_with("/Sources")
}

/// A step from one state of an index to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Its name in `Packages.diff`.
    pub name: String,
    /// The hash of the index it starts from.
    pub from: String,
    /// The size of that in bytes.
    pub from_size: u64,
    /// The hash of the patch itself.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// How an index is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// gzip, which every apt reads.
    Gz,
    /// xz: some hundredths smaller than zstd, and read in many times as long; apt takes it where it can.
    Xz,
    /// zstd, the quickest to read; apt reads it since 1.7.
    Zst,
}

impl Compression {
    /// All of them, in the order that Release files have.
    pub const ALL: [Self; 3] = [Compression::Gz, Compression::Xz, Compression::Zst];

    /// What the names of such files end with.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::Gz => ".gz",
            Compression::Xz => ".xz",
            Compression::Zst => ".zst",
        }
    }
}

/// The compressions of a suite's indexes: gzip for every client there is, and zstd for quick ones, unless
/// said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Compressions(pub Vec<Compression>);

impl Default for Compressions {
    fn default() -> Self {
        Compressions(vec![Compression::Gz, Compression::Zst])
    }
}

/// What a suite is called and has room for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Components, in their order.
    pub components: Vec<String>,
    /// Architectures, in their order, without `all`.
    pub architectures: Vec<String>,
    /// The field `Suite`, where it is not the name.
    pub suite: Option<String>,
    /// The field `Codename`.
    pub codename: Option<String>,
    /// The field `Origin`.
    pub origin: Option<String>,
    /// The field `Label`.
    pub label: Option<String>,
    /// The field `Description`.
    pub description: Option<String>,
    /// After how many seconds apt shall believe the Release file no more.
    pub valid_for: Option<u64>,
    /// Whether apt shall install from here only when asked to.
    pub not_automatic: bool,
    /// Whether apt shall upgrade from here all the same.
    pub but_automatic_upgrades: bool,
    /// Whether packages for all architectures have an index of their own, `binary-all`.
    pub binary_all: bool,
    /// Whether long descriptions are in `Translation-en` instead of in `Packages`.
    pub translations: bool,
    /// Whether there are `Contents` indexes.
    pub contents: bool,
    /// How many steps back `Packages.diff` reaches; 0 for none.
    pub pdiffs: usize,
    /// How many versions of a package stay; all unless said.
    pub keep: Option<usize>,
    /// Whether the Release file names the keys that may sign it.
    pub signed_by: bool,
    /// The forms that indexes are published in, beside the uncompressed one.
    pub compression: Compressions,
    /// What the indexes say instead of the packages, by their names.
    pub overrides: BTreeMap<String, Override>,
}

/// What an index says instead of the package itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The field `Section`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The field `Priority`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// The field `Phased-Update-Percentage`: how many of a hundred machines get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phased: Option<u8>,
}

impl Settings {
    /// The indexes a package belongs to; none if the suite is not for its architecture.
    pub fn indexes_of(&self, component: &str, architecture: &str, udeb: bool) -> Vec<String> {
        if architecture == "source" {
            return vec![format!("{component}/source/Sources")];
        }
        let folder = match udeb {
            true => format!("{component}/debian-installer"),
            false => component.to_owned(),
        };
        let path = |a: &str| format!("{folder}/binary-{a}/Packages");
        if architecture == "all" && self.binary_all {
            return vec![path("all")];
        }
        let wanted = |a: &&String| architecture == "all" || **a == architecture;
        self.architectures.iter().filter(wanted).map(|a| path(a)).collect()
    }
}

/// An index: its manifest's hash, and its published forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The object with the manifest.
    pub manifest: String,
    /// How many stanzas it has.
    pub count: u64,
    /// Its forms.
    pub files: Vec<IndexFile>,
}

impl Index {
    /// What the names of its published forms end with.
    pub fn suffixes(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.suffix.as_str())
    }
}

/// The signed words of a suite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The field `Date`, in seconds since 1970.
    pub date: i64,
    /// The file `Release`.
    pub release: String,
    /// The file `Release.gpg`.
    pub signature: String,
    /// The file `InRelease`.
    pub in_release: String,
}

/// The name of commit `number`.
pub fn key(number: u64) -> String {
    format!("{PRIVATE}/commits/{number:012}")
}

/// A note of the latest commit known when it was written; it may lag.
fn hint() -> String {
    format!("{PRIVATE}/head")
}

/// A line of text, and below it its SHA-256: nothing else says whether it is still what was written.
pub fn seal(text: &[u8]) -> Vec<u8> {
    [text, b"\n", super::chunk::id(text).as_bytes(), b"\n"].concat()
}

/// The line above its hash.
pub fn unseal(bytes: &[u8]) -> Result<&[u8]> {
    let damaged = || Error::new("it is not what was written").hint("'bk-repo check' tells more");
    // 64 digits and a newline each.
    let (text, hash) = bytes.split_at_checked(bytes.len().wrapping_sub(66)).ok_or_else(damaged)?;
    match hash == format!("\n{}\n", super::chunk::id(text)).as_bytes() {
        true => Ok(text),
        false => Err(damaged()),
    }
}

/// Reads a commit, if it is there.
pub fn read(store: &dyn Store, number: u64) -> Result<Option<Commit>> {
    let Some(bytes) = store.read(&key(number))? else { return Ok(None) };
    let parse = || -> Result<Commit> {
        let commit: Commit = serde_json::from_slice(unseal(&bytes)?)?;
        match (commit.version, commit.number == number) {
            (1..=VERSION, true) => Ok(commit),
            (1..=VERSION, false) => Err(Error::new("it says that it is another one")),
            (other, _) => Err(Error::new(format!("its format is {other}, not {VERSION}"))
                .hint("a later BuildKit wrote it: use that")),
        }
    };
    parse().context(|| format!("cannot read commit {number} of the repository")).map(Some)
}

/// The file with the intents of a commit, where they are not in it.
pub fn intents_key(commit: &Commit) -> Option<String> {
    commit.more.as_ref().map(|id| format!("{PRIVATE}/intents/{id}"))
}

/// What a commit was to do.
pub fn intents(store: &dyn Store, commit: &Commit) -> Result<Vec<Intent>> {
    let Some(key) = intents_key(commit) else { return Ok(commit.intents.clone()) };
    let read = || -> Result<Vec<Intent>> {
        let bytes = store.read(&key)?.ok_or_else(|| Error::new("missing"))?;
        if Some(super::chunk::id(&bytes)) != commit.more {
            return Err(Error::new("not what its name says"));
        }
        let reader = zstd::Decoder::new(&bytes[..])?.take(INTENTS_LIMIT);
        Ok(serde_json::from_reader(BufReader::new(reader))?)
    };
    read().context(|| format!("cannot read '{key}', which says what commit {} did", commit.number))
}

/// The number of the latest commit; 0 where there is none.
pub fn head(store: &dyn Store) -> Result<u64> {
    let hint = store.read(&hint())?.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
    let mut number: u64 = hint.unwrap_or(0);
    if number > 0 && store.size(&key(number))?.is_none() {
        number = 0;
    }
    if number == 0 {
        let all = store.list(&format!("{PRIVATE}/commits"))?;
        let last = all.iter().rev().find_map(|e| e.key.rsplit('/').next()?.parse().ok());
        number = last.unwrap_or(0);
    }
    while store.size(&key(number + 1))?.is_some() {
        number += 1;
    }
    Ok(number)
}

/// Writes a commit, and puts its intents elsewhere if they are many; says false where another has this
/// number.
pub fn create(store: &dyn Store, commit: &mut Commit) -> Result<bool> {
    commit.version = VERSION;
    let mut intents = Vec::new();
    if commit.intents.len() > INTENTS {
        intents = std::mem::take(&mut commit.intents);
        // Level 3, the default: they are read once in a while.
        let mut writer = BufWriter::new(zstd::Encoder::new(Vec::new(), 3)?);
        serde_json::to_writer(&mut writer, &intents)?;
        let bytes = writer.into_inner().map_err(io::Error::from)?.finish()?;
        commit.more = Some(super::chunk::id(&bytes));
        // Before the commit that names it; one that is there says the same.
        intents_key(commit).map(|key| store.create(&key, &bytes)).transpose()?;
    }
    let text = seal(&serde_json::to_vec(commit)?);
    let created = store.create(&key(commit.number), &text)?;
    if created {
        // Without it the head is found a little later.
        drop(store.note(&hint(), commit.number.to_string().as_bytes()));
    } else if !intents.is_empty() {
        // It is tried again.
        commit.intents = intents;
    }
    Ok(created)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Folder;

    #[test]
    fn the_head_is_found_with_any_hint() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let store = Folder::new(dir.path());
        assert_eq!(head(&store)?, 0);
        for number in 1..=12 {
            assert!(create(&store, &mut Commit { number, ..Commit::default() })?);
        }
        assert!(!create(&store, &mut Commit { number: 12, ..Commit::default() })?);
        for hint in ["12", "3", "99", "", "x"] {
            store.replace(&super::hint(), hint.as_bytes(), None)?;
            assert_eq!(head(&store)?, 12, "{hint}");
        }
        store.remove(&super::hint())?;
        assert_eq!(head(&store)?, 12);
        assert_eq!(read(&store, 5)?.map(|commit| commit.number), Some(5));
        assert!(read(&store, 13)?.is_none());
        Ok(())
    }
}
