//! Bringing packages of one state into a suite: what `copy`, `merge` and `mirror` share.

use std::collections::{BTreeMap, BTreeSet};

use bk::{Error, Result, Status};
use bk_deb::debian::control::paragraphs;

use crate::add::content;
use crate::archive::commit::{Intent, Settings, Suite};
use crate::archive::manifest::{Key, Stanza};
use crate::archive::repository::{Change, Repository};
use crate::list::Place;

/// Packages with their stanzas.
pub type Packages = BTreeMap<Place, Stanza>;

/// Says in `change` what it takes to have `packages` in the suite `to` as well. Those it has already
/// take nothing; one that it has with other content is an error.
pub fn add(
    repository: &Repository,
    to: (&str, &Suite),
    from: &str,
    packages: &Packages,
    change: &mut Change,
) -> Result<()> {
    let (name, suite) = to;
    let mut wanted: BTreeMap<String, BTreeMap<Key, &Stanza>> = BTreeMap::new();
    for (place, stanza) in packages {
        for index in targets(place, &suite.settings)? {
            wanted.entry(index).or_default().insert(place.key.clone(), stanza);
        }
    }
    let mut intents: BTreeMap<&Key, Vec<String>> = BTreeMap::new();
    for (index, stanzas) in &wanted {
        let there = match suite.indexes.get(index) {
            Some(state) => {
                let keys: BTreeSet<Key> = stanzas.keys().cloned().collect();
                repository.manifest(state)?.find(&keys, &|id| repository.chunk(id))?
            }
            None => BTreeMap::new(),
        };
        for (key, stanza) in stanzas {
            match there.get(key) {
                Some(known) if content(known) == content(stanza) => {}
                Some(_) => {
                    return Err(Error::new(format!("'{key}' is in '{name}' with other content"))
                        .hint("remove one of them first"));
                }
                None => {
                    let edits = change.edits.entry((name.to_owned(), index.clone())).or_default();
                    edits.insert(key.clone(), Some((*stanza).clone()));
                    intents.entry(key).or_default().push(index.clone());
                }
            }
        }
    }
    change.intents.extend(intents.into_iter().map(|(key, indexes)| Intent::Copy {
        from: from.to_owned(),
        suite: name.to_owned(),
        indexes,
        package: key.clone(),
    }));
    Ok(())
}

/// Says in `change` what it takes to have the packages with these keys in the suite no more.
pub fn remove(
    repository: &Repository,
    name: &str,
    suite: &Suite,
    keys: &BTreeSet<Key>,
    change: &mut Change,
) -> Result<()> {
    let mut gone: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    for (path, index) in suite.packages() {
        let there = repository.manifest(index)?.find(keys, &|id| repository.chunk(id))?;
        for key in there.into_keys() {
            let edits = change.edits.entry((name.to_owned(), path.clone())).or_default();
            edits.insert(key.clone(), None);
            gone.entry(key).or_default().push(path.clone());
        }
    }
    change.intents.extend(gone.into_iter().map(|(package, indexes)| Intent::Remove {
        suite: name.to_owned(),
        indexes,
        package,
    }));
    Ok(())
}

/// The keys of all packages of a suite.
pub fn keys(repository: &Repository, suite: &Suite) -> Result<BTreeSet<Key>> {
    let mut keys = BTreeSet::new();
    for (_, index) in suite.packages() {
        for chunk in repository.manifest(index)?.chunks {
            for stanza in paragraphs(&repository.chunk(&chunk.id)?) {
                keys.insert(Key::of(stanza)?);
            }
        }
    }
    Ok(keys)
}

/// The indexes of a suite that a package belongs to.
pub fn targets(place: &Place, settings: &Settings) -> Result<Vec<String>> {
    let Place { component, key, index, .. } = place;
    if !settings.components.contains(component) {
        return Err(Error::new(format!("the suite has no component '{component}'"))
            .context(format!("cannot publish '{key}'"))
            .hint("'bk-repo init' adds it")
            .status(Status::Usage));
    }
    let udeb = index.contains("/debian-installer/");
    let mine = settings.indexes_of(component, &key.architecture, udeb);
    match mine.is_empty() {
        true => {
            Err(Error::new(format!("the suite is not for the architecture '{}'", key.architecture))
                .context(format!("cannot publish '{key}'"))
                .hint("'bk-repo init --arch' adds it")
                .status(Status::Usage))
        }
        false => Ok(mine),
    }
}
