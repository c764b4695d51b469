//! `i18n/Translation-en`: long descriptions beside the index instead of in it, as Debian has them.
//!
//! `Packages` then has the first line and `Description-md5`, by which apt finds the rest.

use std::collections::{BTreeMap, BTreeSet};

use bk::Result;
use bk_deb::debian::control::{field, fields, paragraphs};
use md5::{Digest, Md5};

use super::commit::Suite;
use super::manifest::{Changes, Key};
use super::repository::Repository;
use crate::record::component;
use crate::transfer::Packages;

/// The index with the descriptions of a component.
pub fn path(component: &str) -> String {
    format!("{component}/i18n/Translation-en")
}

/// A stanza without its long description, and the stanza that has it; `None` where there is none.
pub fn split(stanza: &[u8]) -> Option<(Vec<u8>, Key, Vec<u8>)> {
    let description = field(stanza, "Description")?;
    let short = description.split(|&b| b == b'\n').next()?;
    if short.len() == description.len() {
        return None;
    }
    let name = String::from_utf8_lossy(field(stanza, "Package")?).into_owned();
    // The value and a newline, whatever the field's own end is (apt's debListParser).
    let md5 = format!("{:x}", Md5::new().chain_update(description).chain_update("\n").finalize());
    let mut rest = Vec::new();
    for (field, value) in fields(stanza) {
        let value = if field.eq_ignore_ascii_case(b"Description") { short } else { value };
        write(&mut rest, field, value);
    }
    write(&mut rest, b"Description-md5", md5.as_bytes());
    let mut long = format!("Package: {name}\nDescription-md5: {md5}\n").into_bytes();
    write(&mut long, b"Description-en", description);
    Some((rest, Key { name, version: md5, architecture: "en".into() }, long))
}

fn write(text: &mut Vec<u8>, field: &[u8], value: &[u8]) {
    // A value of continuation lines alone follows the colon at once.
    let between: &[u8] = if value.starts_with(b"\n") || value.is_empty() { b":" } else { b": " };
    text.extend([field, between, value, b"\n"].concat());
}

/// The stanzas of a `Translation-en`, by package and hash.
pub fn descriptions(text: &[u8]) -> BTreeMap<Key, Vec<u8>> {
    let key = |stanza: &[u8]| Some((Key::of(stanza).ok()?, stanza.to_vec()));
    paragraphs(text).filter_map(key).filter(|(key, _)| key.architecture == "en").collect()
}

/// A stanza with its long description, if it is known.
pub fn join(stanza: &[u8], descriptions: &BTreeMap<Key, Vec<u8>>) -> Vec<u8> {
    let text = |name| field(stanza, name).map(|v| String::from_utf8_lossy(v).into_owned());
    let (Some(name), Some(version)) = (text("Package"), text("Description-md5")) else {
        return stanza.to_vec();
    };
    let key = Key { name, version, architecture: "en".into() };
    match descriptions.get(&key).and_then(|text| field(text, "Description-en")) {
        Some(long) => with_description(stanza, long),
        None => stanza.to_vec(),
    }
}

fn with_description(stanza: &[u8], long: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    for (field, value) in fields(stanza) {
        if field.eq_ignore_ascii_case(b"Description") {
            write(&mut whole, field, long);
        } else if !field.eq_ignore_ascii_case(b"Description-md5") {
            write(&mut whole, field, value);
        }
    }
    whole
}

/// Gives stanzas of a suite their long descriptions back.
pub fn rejoin(repository: &Repository, suite: &Suite, found: &mut Packages) -> Result<()> {
    let mut wanted: BTreeMap<String, BTreeSet<Key>> = BTreeMap::new();
    for (place, stanza) in found.iter() {
        if let Some(md5) = field(stanza, "Description-md5") {
            let version = String::from_utf8_lossy(md5).into_owned();
            let key = Key { name: place.key.name.clone(), version, architecture: "en".into() };
            wanted.entry(path(&place.component)).or_default().insert(key);
        }
    }
    let mut descriptions = BTreeMap::new();
    for (path, keys) in wanted {
        let Some(index) = suite.indexes.get(&path) else { continue };
        let there = repository.manifest(index)?.find(&keys, &|id| repository.chunk(id))?;
        descriptions.extend(
            there.into_iter().map(|(key, text)| ((component(&path).to_owned(), key), text)),
        );
    }
    for (place, stanza) in found.iter_mut() {
        let Some(md5) = field(stanza, "Description-md5") else { continue };
        let version = String::from_utf8_lossy(md5).into_owned();
        let key = Key { name: place.key.name.clone(), version, architecture: "en".into() };
        let Some(text) = descriptions.get(&(place.component.clone(), key)) else { continue };
        let Some(long) = field(text, "Description-en") else { continue };
        *stanza = with_description(stanza, long).into();
    }
    Ok(())
}

/// Takes the long descriptions out of the edits of a suite's indexes, and says what becomes of its
/// `Translation-en` indexes by that.
pub fn derive(
    repository: &Repository,
    suite: &Suite,
    edits: &mut BTreeMap<String, Changes>,
) -> Result<()> {
    let mut texts: BTreeMap<String, Changes> = BTreeMap::new();
    // Names whose descriptions may be needed no more, by component.
    let mut loose: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, changes) in edits.iter_mut().filter(|(path, _)| path.ends_with("/Packages")) {
        for (key, stanza) in changes.iter_mut() {
            let component = component(path).to_owned();
            loose.entry(component.clone()).or_default().insert(key.name.clone());
            let Some(text) = stanza else { continue };
            if let Some((rest, key, long)) = split(text) {
                *text = rest.into();
                texts.entry(self::path(&component)).or_default().insert(key, Some(long.into()));
            }
        }
    }
    for (component, names) in loose {
        let translation = self::path(&component);
        let Some(index) = suite.indexes.get(&translation) else { continue };
        let manifest = repository.manifest(index)?;
        let load = |id: &str| repository.chunk(id);
        for name in names {
            let mut needed = BTreeSet::new();
            let inside = |path: &&String| path.starts_with(&format!("{component}/"));
            for (path, index) in suite.packages().filter(|(path, _)| inside(path)) {
                let changes = edits.get(path);
                for (key, stanza) in repository.manifest(index)?.named(&name, &load)? {
                    if changes.is_none_or(|changes| !changes.contains_key(&key)) {
                        needed.extend(field(&stanza, "Description-md5").map(<[u8]>::to_vec));
                    }
                }
            }
            let changes = texts.entry(translation.clone()).or_default();
            for (key, _) in manifest.named(&name, &load)? {
                if !needed.contains(key.version.as_bytes()) {
                    changes.entry(key).or_insert(None);
                }
            }
        }
    }
    texts.retain(|_, changes| !changes.is_empty());
    edits.extend(texts);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_split_off_and_named_by_its_hash() {
        let stanza = b"Package: a\nVersion: 1\nDescription: short\n long\n .\n more\nX: y\n";
        let (rest, key, long) = split(stanza).unwrap();
        // printf 'short\n long\n .\n more\n' | md5sum
        assert_eq!(key.version, "33e1633f49893339a9eb932602dcf910");
        assert!(
            rest.starts_with(
                b"Package: a\nVersion: 1\nDescription: short\nX: y\nDescription-md5: "
            )
        );
        assert!(long.ends_with(b"\nDescription-en: short\n long\n .\n more\n"));
        assert_eq!(Key::of(&long).unwrap(), key);
        assert!(split(b"Package: a\nDescription: short\n").is_none());
    }
}
