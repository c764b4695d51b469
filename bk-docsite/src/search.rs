//! The search: what words are on which pages, in small files that a page loads as scripts, so that it works
//! without a server too.
//!
//! Each version has an index of its own, made when it is published. The site has those of the latest
//! versions, cut by how words begin: who searches fetches only what their words need.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use bk::{Context, Result, display};
use flate2::read::ZlibDecoder;
use serde::{Deserialize, Serialize};

use crate::html::Page;
use crate::site::Site;

/// What an index may have: that of 10,000 pages has some 30 MB.
const INDEX_LIMIT: u64 = 1 << 30;
/// What an inventory of Sphinx may have, unpacked: Python's own has 1.5 MB.
const INVENTORY_LIMIT: u64 = 64 << 20;
/// Longer words are numbers and encoded data.
const WORD: usize = 40;
/// What a word in a title, a heading, the name of something, or the text counts.
const WEIGHTS: [u32; 4] = [20, 8, 30, 1];
/// More of the same word on a page says no more of it.
const TIMES: u32 = 10;

/// What is where: for each word the places that have it, and what it counts there.
pub type Words = BTreeMap<String, Vec<(usize, u32)>>;

/// The index of a version.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Index {
    /// Where words can be: link and title.
    pub places: Vec<(String, String)>,
    /// The words.
    pub words: Words,
}

/// The words of a text, as they are looked for: in small letters, without signs.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().nth(1).is_some() && word.chars().count() <= WORD)
        .map(str::to_lowercase)
}

/// The file that a word is in: how it begins, as a name of a file.
pub fn shard(word: &str) -> String {
    let name = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_string(),
        false => format!("u{:x}", u32::from(c)),
    };
    word.chars().take(2).map(name).collect::<Vec<_>>().concat()
}

impl Index {
    /// Adds a page.
    pub fn add(&mut self, path: &str, page: &Page) {
        let title = if page.title.is_empty() { path } else { &page.title };
        let place = self.places.len();
        self.places.push((path.to_owned(), title.to_owned()));
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for word in words(&page.text) {
            let count = counts.entry(word).or_default();
            *count = (*count + WEIGHTS[3]).min(TIMES);
        }
        for (text, weight) in [(&page.title, WEIGHTS[0]), (&page.headings, WEIGHTS[1])] {
            let all: BTreeSet<String> = words(text).collect();
            for word in all {
                *counts.entry(word).or_default() += weight;
            }
        }
        for (word, count) in counts {
            self.words.entry(word).or_default().push((place, count));
        }
    }

    /// Adds what an inventory of Sphinx (`objects.inv`) names: functions, classes, options.
    pub fn add_inventory(&mut self, bytes: &[u8]) -> Result<()> {
        // Four lines of text, then lines that are compressed: sphinx.util.inventory, version 2.
        let mut lines = bytes.splitn(5, |b| *b == b'\n');
        if lines.next().is_none_or(|line| line.trim_ascii() != b"# Sphinx inventory version 2") {
            return Ok(());
        }
        let packed = lines.nth(3).unwrap_or_default();
        let mut text = String::new();
        let mut reader = ZlibDecoder::new(packed).take(INVENTORY_LIMIT);
        reader.read_to_string(&mut text).context(|| "cannot read its objects.inv".into())?;
        for line in text.lines() {
            // `name domain:role priority uri display`, where names may have spaces.
            let mut parts = line.rsplitn(2, ' ');
            let (Some(_), Some(rest)) = (parts.next(), parts.next()) else { continue };
            let mut parts = rest.rsplitn(4, ' ');
            let (Some(uri), Some(_), Some(role), Some(name)) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            // Pages and headings are found by their words.
            if role.starts_with("std:doc") || role.starts_with("std:label") {
                continue;
            }
            let uri = match uri.strip_suffix('$') {
                Some(start) => format!("{start}{name}"),
                None => uri.to_owned(),
            };
            let place = self.places.len();
            let role = role.split(':').next_back().unwrap_or_default();
            self.places.push((uri, format!("{name} ({role})")));
            let all: BTreeSet<String> = words(name).chain([name.to_lowercase()]).collect();
            for word in all {
                self.words.entry(word).or_default().push((place, WEIGHTS[2]));
            }
        }
        Ok(())
    }

    fn path(site: &Site, folder: &str, version: &str) -> PathBuf {
        site.hidden().join("search").join(folder).join(format!("{version}.json"))
    }

    /// Reads the index of a version; an empty one where there is none.
    pub fn open(site: &Site, folder: &str, version: &str) -> Result<Self> {
        let path = Self::path(site, folder, version);
        if !path.is_file() {
            return Ok(Index::default());
        }
        let bytes = bk::file::read(&path, INDEX_LIMIT)?;
        serde_json::from_slice(&bytes).context(|| format!("cannot read '{}'", display(&path)))
    }

    /// Keeps the index of a version.
    pub fn keep(&self, site: &Site, folder: &str, version: &str) -> Result<()> {
        let path = Self::path(site, folder, version);
        if let Some(parent) = path.parent() {
            bk::file::create_dir(parent)?;
        }
        let bytes = serde_json::to_vec(self).context(|| "cannot write the index".into())?;
        bk::file::write(&path, bytes)
    }

    /// Forgets the index of a version.
    pub fn forget(site: &Site, folder: &str, version: &str) -> Result<()> {
        match std::fs::remove_file(Self::path(site, folder, version)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// A file of the search as a script: `docsite("NAME", VALUE)`.
fn script(name: &str, value: &impl Serialize) -> Result<String> {
    let context = || "cannot write the search".to_owned();
    let name = serde_json::to_string(name).context(context)?;
    Ok(format!("docsite({name},{});\n", serde_json::to_string(value).context(context)?))
}

/// Reads such a file.
fn value<T: for<'de> Deserialize<'de> + Default>(path: &Path) -> Result<T> {
    if !path.is_file() {
        return Ok(T::default());
    }
    let text = bk::file::read(path, INDEX_LIMIT)?;
    let text = String::from_utf8_lossy(&text);
    let body = text.split_once(',').map_or("", |(_, body)| body.trim_end().trim_end_matches(");"));
    serde_json::from_str(body)
        .context(|| format!("cannot read '{}'", display(path)))
        .hint(|| "publish its packages again, or remove the folder _site/search and do so".into())
}

/// Puts the index of a package into the site's, in the place of what it had there; takes it out with `None`.
pub fn update(site: &Site, folder: &str, index: Option<&Index>) -> Result<()> {
    let dir = site.root.join("_site/search");
    bk::file::create_dir(&dir)?;
    let mut shards: BTreeMap<String, Words> = BTreeMap::new();
    for (word, places) in index.iter().flat_map(|index| &index.words) {
        shards.entry(shard(word)).or_default().insert(word.clone(), places.clone());
    }
    let note = site.hidden().join("search").join(format!("{folder}.shards"));
    let before = match note.is_file() {
        true => String::from_utf8_lossy(&bk::file::read(&note, INDEX_LIMIT)?).into_owned(),
        false => String::new(),
    };
    let now: Vec<String> = shards.keys().cloned().collect();
    // Those it was in are noted before they change, so that none is forgotten.
    let both: BTreeSet<&str> = before.lines().chain(now.iter().map(String::as_str)).collect();
    if let Some(parent) = note.parent() {
        bk::file::create_dir(parent)?;
    }
    let lines = |names: &mut dyn Iterator<Item = &str>| {
        names.fold(String::new(), |all, name| all + name + "\n")
    };
    bk::file::write(&note, lines(&mut both.iter().copied()))?;
    let places = dir.join(format!("places-{folder}.js"));
    if let Some(index) = index {
        bk::file::write(&places, script(&format!("places-{folder}"), &index.places)?)?;
    }
    for name in both {
        let path = dir.join(format!("{name}.js"));
        let mut all: BTreeMap<String, Words> = value(&path)?;
        let old = match shards.remove(name) {
            Some(words) if all.get(folder) == Some(&words) => continue,
            Some(words) => all.insert(folder.to_owned(), words),
            None => all.remove(folder),
        };
        match (all.is_empty(), old) {
            (true, Some(_)) => std::fs::remove_file(&path)?,
            (true, None) => {}
            // What a crash leaves half done is done by the next change: the note says where.
            (false, _) => {
                let file = bk::file::AtomicFile::create(&path)?;
                std::io::Write::write_all(&mut file.as_file(), script(name, &all)?.as_bytes())?;
                file.commit_unsettled()?;
            }
        }
    }
    if index.is_none() {
        drop(std::fs::remove_file(&places));
        drop(std::fs::remove_dir_all(site.hidden().join("search").join(folder)));
        drop(std::fs::remove_file(&note));
        return Ok(());
    }
    bk::file::write(&note, lines(&mut now.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_looked_for_as_people_write_them() {
        let all: Vec<String> = words("The HTTPServer's port: 8080, a Größe_x!").collect();
        assert_eq!(all, ["the", "httpserver", "port", "8080", "größe"]);
        for (word, name) in [("the", "th"), ("80", "80"), ("größe", "gr"), ("örtlich", "uf6r")] {
            assert_eq!(shard(word), name);
        }
    }
}
