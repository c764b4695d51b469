//! What follows from a change by a suite's settings: overrides, and which old versions go.

use std::collections::{BTreeMap, BTreeSet};

use bk::Result;
use bk_deb::debian::control::Paragraph;

use super::commit::{Intent, Override, Settings, Suite};
use super::manifest::{Changes, Key};
use super::repository::Repository;

/// What an override says of a package, as one stanza says it.
pub fn overridden(settings: &Settings, key: &Key, stanza: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(Override { section, priority, phased }) = settings.overrides.get(&key.name) else {
        return Ok(None);
    };
    if key.architecture == "source" {
        return Ok(None);
    }
    let mut paragraph = Paragraph::parse(stanza)?;
    // Where a field is missing it comes before the description, the longest field.
    let description = paragraph.remove("Description");
    for (field, value) in [
        ("Section", section.clone()),
        ("Priority", priority.clone()),
        ("Phased-Update-Percentage", phased.map(|n| n.to_string())),
    ] {
        if let Some(value) = value {
            paragraph.set(field, value);
        }
    }
    if let Some(description) = description {
        paragraph.set("Description", description);
    }
    Ok(Some(paragraph.to_string().into_bytes()))
}

/// Applies the overrides of a suite to what its indexes get.
pub fn apply_overrides(settings: &Settings, edits: &mut BTreeMap<String, Changes>) -> Result<()> {
    if settings.overrides.is_empty() {
        return Ok(());
    }
    for changes in edits.values_mut() {
        for (key, stanza) in changes.iter_mut() {
            let Some(text) = stanza else { continue };
            if let Some(other) = overridden(settings, key, text)? {
                *text = other.into();
            }
        }
    }
    Ok(())
}

/// Removes the versions of packages that came beyond the newest that a suite keeps.
pub fn keep_newest(
    repository: &Repository,
    name: &str,
    suite: &Suite,
    edits: &mut BTreeMap<String, Changes>,
    intents: &mut Vec<Intent>,
) -> Result<()> {
    let Some(keep) = suite.settings.keep else { return Ok(()) };
    let mut gone: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    for (path, changes) in edits.iter_mut() {
        let manifest = match suite.indexes.get(path) {
            Some(index) => repository.manifest(index)?,
            None => Default::default(),
        };
        let names: BTreeSet<String> = changes
            .iter()
            .filter(|(_, stanza)| stanza.is_some())
            .map(|(key, _)| key.name.clone())
            .collect();
        for name in names {
            let there = manifest.named(&name, &|id| repository.chunk(id))?;
            let mut keys: BTreeSet<Key> = there.into_iter().map(|(key, _)| key).collect();
            for (key, stanza) in changes.iter().filter(|(key, _)| key.name == name) {
                match stanza {
                    Some(_) => keys.insert(key.clone()),
                    None => keys.remove(key),
                };
            }
            let mut count: BTreeMap<String, usize> = BTreeMap::new();
            for key in keys.into_iter().rev() {
                let count = count.entry(key.architecture.clone()).or_default();
                *count += 1;
                if *count > keep {
                    changes.insert(key.clone(), None);
                    gone.entry(key).or_default().push(path.clone());
                }
            }
        }
    }
    intents.extend(gone.into_iter().map(|(package, indexes)| Intent::Remove {
        suite: name.to_owned(),
        indexes,
        package,
    }));
    Ok(())
}
