//! The stanzas of an index: sorted, in chunks whose borders depend on nothing but the stanzas.
//!
//! A border stands before a stanza whose key hashes low, once the chunk has its least size, and
//! wherever the chunk has its most. The same set of stanzas thus has the same chunks whatever its
//! history, and a change reaches no further than the next border.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bk::{Context, Error, Result};
use bk_deb::debian::control::{field, fields, paragraphs};
use bk_deb::debian::version;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::chunk;

/// Below this, a chunk's own overhead in each compression passes some percent.
const LEAST: usize = 32 << 10;

/// One stanza in this many may end a chunk: stanzas have about 0.8 KiB, which makes about 128 KiB.
const ONE_IN: u32 = 128;

/// Above this, a change costs too much.
const MOST: usize = 256 << 10;

/// What tells two packages in an index apart. The order is by name, then by version as dpkg
/// compares them, then by architecture.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(String, String, String)", into = "(String, String, String)")]
pub struct Key {
    /// The package.
    pub name: String,
    /// Its version, as written.
    pub version: String,
    /// Its architecture; `source` for a source package.
    pub architecture: String,
}

impl From<(String, String, String)> for Key {
    fn from((name, version, architecture): (String, String, String)) -> Self {
        Key { name, version, architecture }
    }
}

impl From<Key> for (String, String, String) {
    fn from(key: Key) -> Self {
        (key.name, key.version, key.architecture)
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name
            .cmp(&other.name)
            .then_with(|| version::compare(&self.version, &other.version))
            // Versions that dpkg calls equal may be written differently.
            .then_with(|| self.version.cmp(&other.version))
            .then_with(|| self.architecture.cmp(&other.architecture))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}_{}", self.name, self.version, self.architecture)
    }
}

impl Key {
    /// The key of a stanza of `Packages` or, if it has a `Directory`, of `Sources`. One of
    /// `Translation-en` has no version: the hash of its description stands for it.
    pub fn of(stanza: &[u8]) -> Result<Self> {
        const FIELDS: [&str; 6] = [
            "Package",
            "Version",
            "Architecture",
            "Directory",
            "Description-md5",
            "Description-en",
        ];
        // In one pass: this is done for every stanza there is. The first of a name counts.
        let mut found = [None; FIELDS.len()];
        for (name, value) in fields(stanza) {
            let known = FIELDS.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            if let Some(place) = known.and_then(|known| found.get_mut(known)) {
                place.get_or_insert(value);
            }
        }
        let text = |value: Option<&[u8]>| value.map(|v| String::from_utf8_lossy(v).into_owned());
        let [package, version, architecture, directory, md5, long] = found;
        if let (Some(name), Some(version), Some(_)) = (text(package), text(md5), long) {
            return Ok(Key { name, version, architecture: "en".into() });
        }
        let architecture = match directory {
            Some(_) => Some("source".into()),
            None => text(architecture),
        };
        match (text(package), text(version), architecture) {
            (Some(name), Some(version), Some(architecture)) => {
                Ok(Key { name, version, architecture })
            }
            _ => Err(Error::new("a stanza without Package, Version or Architecture")),
        }
    }

    /// Whether a chunk may end before this stanza.
    fn border(&self) -> bool {
        let hash = Sha256::digest(self.to_string());
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) < u32::MAX / ONE_IN
    }
}

/// A chunk in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The hash of its text.
    pub id: String,
    /// The length of its text.
    pub size: u64,
    /// How many stanzas it has.
    pub count: u64,
    /// How many lines its text has.
    pub lines: u64,
    /// The key of the first.
    pub first: Key,
}

/// What an index consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its chunks in their order.
    pub chunks: Vec<Chunk>,
}

/// Where chunks' texts come from.
pub type Load<'a> = &'a (dyn Fn(&str) -> Result<Vec<u8>> + Sync);

/// Where chunks' texts go, with their hashes.
pub type Take<'a> = &'a mut dyn FnMut(&str, Vec<u8>) -> Result<()>;

/// A stanza, which ends with a newline. All that is being changed is held until it is published, and
/// this by several at a time.
pub type Stanza = Arc<[u8]>;

/// What shall become of some stanzas: `None` removes one.
pub type Changes = BTreeMap<Key, Option<Stanza>>;

impl Manifest {
    /// How many stanzas there are.
    pub fn count(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.count).sum()
    }

    /// The length of the whole text.
    pub fn size(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.size).sum()
    }

    /// The stanzas with some keys, as far as they are there.
    pub fn find(&self, keys: &BTreeSet<Key>, load: Load<'_>) -> Result<BTreeMap<Key, Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut keys = keys.iter().peekable();
        for (i, chunk) in self.chunks.iter().enumerate() {
            let end = self.chunks.get(i + 1).map(|next| &next.first);
            while keys.next_if(|key| **key < chunk.first).is_some() {}
            let mut wanted = BTreeSet::new();
            while let Some(key) = keys.next_if(|key| end.is_none_or(|end| *key < end)) {
                wanted.insert(key);
            }
            if wanted.is_empty() {
                continue;
            }
            for stanza in paragraphs(&load(&chunk.id)?) {
                let key = Key::of(stanza)?;
                if wanted.contains(&key) {
                    found.insert(key, stanza.to_vec());
                }
            }
        }
        Ok(found)
    }

    /// The stanzas of all packages with a name.
    pub fn named(&self, name: &str, load: Load<'_>) -> Result<Vec<(Key, Vec<u8>)>> {
        let start = self.chunks.partition_point(|c| c.first.name.as_str() < name).max(1) - 1;
        let mut found = Vec::new();
        for chunk in self.chunks[start.min(self.chunks.len())..].iter() {
            if chunk.first.name.as_str() > name {
                break;
            }
            for stanza in paragraphs(&load(&chunk.id)?) {
                if field(stanza, "Package") == Some(name.as_bytes()) {
                    found.push((Key::of(stanza)?, stanza.to_vec()));
                }
            }
        }
        Ok(found)
    }

    /// Makes the changes. Returns the manifest after them, and the texts of chunks it has and this
    /// one has not, by their hashes.
    pub fn apply(
        &self,
        changes: &Changes,
        load: Load<'_>,
    ) -> Result<(Manifest, BTreeMap<String, Vec<u8>>)> {
        let mut texts = BTreeMap::new();
        let manifest = self.apply_to(changes, load, &mut |id, text| {
            texts.insert(id.to_owned(), text);
            Ok(())
        })?;
        Ok((manifest, texts))
    }

    /// The same, giving the texts away one by one.
    pub fn apply_to(&self, changes: &Changes, load: Load<'_>, take: Take<'_>) -> Result<Manifest> {
        // A chunk may come back as it was, when a package is replaced by itself.
        let old: BTreeSet<&str> = self.chunks.iter().map(|chunk| chunk.id.as_str()).collect();
        let mut take = |id: &str, text| if old.contains(id) { Ok(()) } else { take(id, text) };
        let mut new = Rebuild::new(load, &mut take);
        let mut changes = changes.iter().peekable();
        for (i, chunk) in self.chunks.iter().enumerate() {
            let end = self.chunks.get(i + 1).map(|next| &next.first);
            let here = |key: &Key| end.is_none_or(|end| key < end);
            let touched = changes.peek().is_some_and(|(key, _)| here(key));
            if !touched && new.ends_before(&chunk.first) {
                new.flush()?;
                new.kept = Some(chunk.clone());
                continue;
            }
            let text = load(&chunk.id)?;
            for stanza in paragraphs(&text) {
                let key = Key::of(stanza)
                    .context(|| format!("the chunk '{}' of an index is damaged", chunk.id))?;
                while let Some((added, text)) = changes.next_if(|(k, _)| **k < key) {
                    text.iter().try_for_each(|text| new.push(added, text))?;
                }
                match changes.next_if(|(k, _)| **k == key) {
                    Some((_, Some(text))) => new.push(&key, text)?,
                    Some((_, None)) => {}
                    None => new.push(&key, stanza)?,
                }
            }
            while let Some((added, text)) = changes.next_if(|(k, _)| here(k)) {
                text.iter().try_for_each(|text| new.push(added, text))?;
            }
        }
        for (added, text) in changes {
            text.iter().try_for_each(|text| new.push(added, text))?;
        }
        new.flush()?;
        Ok(Manifest { chunks: new.chunks })
    }
}

/// How many lines a text has.
pub fn lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// The chunks of a text that is no list of stanzas: borders stand behind lines that hash low.
pub fn of_lines(text: &[u8], take: Take<'_>) -> Result<Manifest> {
    // Lines of Contents have about 80 bytes; this makes chunks of about 128 KiB of them.
    const ONE_IN: u32 = 1600;
    let mut chunks = Vec::new();
    let mut cut = |text: &[u8]| {
        let id = chunk::id(text);
        let first =
            Key { name: String::new(), version: String::new(), architecture: String::new() };
        let (size, lines) = (text.len() as u64, lines(text));
        chunks.push(Chunk { id: id.clone(), size, count: 0, lines, first });
        take(&id, text.to_vec())
    };
    let (mut start, mut end) = (0, 0);
    for line in text.split_inclusive(|&b| b == b'\n') {
        end += line.len();
        let size = end - start;
        let mut crc = flate2::Crc::new();
        crc.update(line);
        if size >= MOST || (size >= LEAST && crc.sum() < u32::MAX / ONE_IN) {
            cut(&text[start..end])?;
            start = end;
        }
    }
    if start < text.len() {
        cut(&text[start..])?;
    }
    Ok(Manifest { chunks })
}

struct Rebuild<'a> {
    chunks: Vec<Chunk>,
    load: Load<'a>,
    take: Take<'a>,
    /// A chunk as it was; then nothing is open. Whether it ends here is known with what comes next.
    kept: Option<Chunk>,
    open: Vec<u8>,
    count: u64,
    first: Option<Key>,
}

impl<'a> Rebuild<'a> {
    fn new(load: Load<'a>, take: Take<'a>) -> Self {
        let (chunks, open) = (Vec::new(), Vec::new());
        Rebuild { chunks, load, take, kept: None, open, count: 0, first: None }
    }

    fn ends_before(&self, key: &Key) -> bool {
        let size = self.kept.as_ref().map_or(self.open.len(), |chunk| chunk.size as usize);
        size == 0 || size >= MOST || (size >= LEAST && key.border())
    }

    fn push(&mut self, key: &Key, stanza: &[u8]) -> Result<()> {
        if self.ends_before(key) {
            self.flush()?;
        } else if let Some(Chunk { id, count, first, .. }) = self.kept.take() {
            // The stanza that had the border is gone.
            self.open = (self.load)(&id)?;
            (self.count, self.first) = (count, Some(first));
        }
        self.first.get_or_insert_with(|| key.clone());
        self.open.extend_from_slice(stanza.trim_ascii_end());
        self.open.extend_from_slice(b"\n\n");
        self.count += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.chunks.extend(self.kept.take());
        let Some(first) = self.first.take() else { return Ok(()) };
        let text = std::mem::take(&mut self.open);
        let id = chunk::id(&text);
        let count = std::mem::take(&mut self.count);
        let (size, lines) = (text.len() as u64, lines(&text));
        self.chunks.push(Chunk { id: id.clone(), size, count, lines, first });
        (self.take)(&id, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(i: u32) -> Key {
        Key {
            name: format!("p{:05}", i / 3),
            version: format!("{}", i % 3),
            architecture: "all".into(),
        }
    }

    fn stanza(i: u32, salt: u32) -> Vec<u8> {
        let Key { name, version, .. } = key(i);
        let filler = "x".repeat(700 + (i % 97) as usize);
        format!("Package: {name}\nVersion: {version}\nArchitecture: all\nX: {salt}{filler}\n")
            .into()
    }

    type Texts = BTreeMap<String, Vec<u8>>;

    fn change(manifest: &Manifest, texts: &mut Texts, changes: &Changes) -> Manifest {
        let load = |id: &str| Ok(texts[id].clone());
        let (new, added) = manifest.apply(changes, &load).unwrap();
        texts.extend(added);
        new
    }

    fn text(manifest: &Manifest, texts: &Texts) -> Vec<u8> {
        manifest.chunks.iter().flat_map(|chunk| texts[&chunk.id].clone()).collect()
    }

    proptest! {
        // Each case compresses nothing but sorts and hashes some MB.
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_chunks_depend_on_the_stanzas_alone(
            start in proptest::collection::btree_set(0u32..3000, 0..2500),
            edits in proptest::collection::vec(
                proptest::collection::btree_map(0u32..3000, proptest::option::of(1u32..9), 1..40),
                1..6,
            ),
        ) {
            let mut texts = Texts::new();
            let mut model: BTreeMap<Key, Vec<u8>> =
                start.iter().map(|&i| (key(i), stanza(i, 0))).collect();
            let all = model.iter().map(|(k, s)| (k.clone(), Some(s[..].into()))).collect();
            let mut manifest = change(&Manifest::default(), &mut texts, &all);
            for edit in edits {
                let changes: Changes =
                    edit.iter().map(|(&i, salt)| (key(i), salt.map(|s| stanza(i, s).into()))).collect();
                for (key, stanza) in &changes {
                    match stanza {
                        Some(stanza) => model.insert(key.clone(), stanza.to_vec()),
                        None => model.remove(key),
                    };
                }
                manifest = change(&manifest, &mut texts, &changes);
            }
            let all = model.iter().map(|(k, s)| (k.clone(), Some(s[..].into()))).collect();
            let fresh = change(&Manifest::default(), &mut texts, &all);
            prop_assert_eq!(&manifest, &fresh);
            let expected: Vec<u8> = model.values().flat_map(|s| [s, &b"\n"[..]].concat()).collect();
            prop_assert_eq!(text(&manifest, &texts), expected);
            for chunk in &manifest.chunks {
                prop_assert!(chunk.size <= (MOST + 1000) as u64);
            }
        }
    }

    #[test]
    fn a_chunk_goes_on_where_the_border_behind_it_goes() {
        let mut texts = Texts::new();
        let all: Changes = (0..3000).map(|i| (key(i), Some(stanza(i, 0).into()))).collect();
        let manifest = change(&Manifest::default(), &mut texts, &all);
        for Chunk { first, .. } in &manifest.chunks {
            let gone = change(&manifest, &mut texts, &Changes::from([(first.clone(), None)]));
            let mut rest = all.clone();
            rest.remove(first);
            assert_eq!(gone, change(&Manifest::default(), &mut texts, &rest));
            assert_eq!(change(&gone, &mut texts, &all), manifest);
        }
        // All but what is before and behind some chunks.
        let middle = manifest.chunks[2].first.clone()..manifest.chunks[5].first.clone();
        let gone: Changes = all.range(middle.clone()).map(|(k, _)| (k.clone(), None)).collect();
        let rest = all.iter().filter(|(k, _)| !middle.contains(k));
        let rest: Changes = rest.map(|(k, s)| (k.clone(), s.clone())).collect();
        let fresh = change(&Manifest::default(), &mut texts, &rest);
        assert_eq!(change(&manifest, &mut texts, &gone), fresh);
    }

    #[test]
    fn one_change_touches_few_chunks() {
        let mut texts = Texts::new();
        let all = (0..3000).map(|i| (key(i), Some(stanza(i, 0).into()))).collect();
        let manifest = change(&Manifest::default(), &mut texts, &all);
        assert!(manifest.chunks.len() > 8, "{}", manifest.chunks.len());
        let loaded = std::sync::Mutex::new(0);
        let load = |id: &str| {
            *loaded.lock().unwrap() += 1;
            Ok(texts[id].clone())
        };
        let one = Changes::from([(key(1500), Some(stanza(1500, 1).into()))]);
        let (_, added) = manifest.apply(&one, &load).unwrap();
        assert!(added.len() <= 2 && *loaded.lock().unwrap() <= 2);
    }

    #[test]
    fn stanzas_are_found_by_key_and_by_name() {
        let mut texts = Texts::new();
        let all = (0..3000).map(|i| (key(i), Some(stanza(i, 0).into()))).collect();
        let manifest = change(&Manifest::default(), &mut texts, &all);
        let load = |id: &str| Ok(texts[id].clone());
        let wanted = [0, 1, 1499, 2999, 3000];
        let found = manifest.find(&wanted.map(key).into(), &load).unwrap();
        assert_eq!(found.len(), 4);
        for i in [0, 1, 1499, 2999] {
            assert_eq!(found[&key(i)].trim_ascii_end(), stanza(i, 0).trim_ascii_end());
            assert_eq!(manifest.named(&key(i).name, &load).unwrap().len(), 3);
        }
        assert!(manifest.named("a", &load).unwrap().is_empty());
        assert!(Manifest::default().named("a", &load).unwrap().is_empty());
    }
}
