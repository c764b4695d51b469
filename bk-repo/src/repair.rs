//! Making again what is damaged, from what is not.
//!
//! An index is there many times: as chunks with three compressions each, and published in four forms.
//! Any one of them gives all the others. Packages and the log are there once.

use std::collections::BTreeMap;
use std::io::Read;

use bk::Result;
use bk_deb::debian::compression;
use bk_deb::debian::control::paragraphs;

use crate::archive::commit::{Commit, Index, holds_packages};
use crate::archive::index::by_hash;
use crate::archive::manifest::{Changes, Key, Manifest, of_lines};
use crate::archive::repository::{KEYS, Repository, object, public_keys};
use crate::archive::retention::folder;
use crate::archive::{chunk, contents};
use crate::check::Problem;
use crate::openpgp::armor_keys;
use crate::store::{PRIVATE, Store};

/// What an index unpacks to: as much as is read of any one file.
const LIMIT: u64 = 1 << 30;

/// Repairs what it can of what is wrong.
pub fn repair(repository: &Repository, head: &Commit, problems: &[Problem]) -> Result<()> {
    let store = repository.store();
    let damaged = |start: &str| -> Vec<&Problem> {
        problems.iter().filter(|problem| problem.path.starts_with(start)).collect()
    };
    for problem in damaged(&format!("{PRIVATE}/contents/")) {
        // It is read from the package again when it is asked for.
        store.remove(&problem.path)?;
    }
    for problem in damaged(&format!("{PRIVATE}/objects/")) {
        repack(store, &problem.path)?;
    }
    for (name, suite) in &head.suites {
        let mut again = false;
        for (path, index) in &suite.indexes {
            let dir = folder(name, path);
            objects(repository, &dir, path, index)?;
            for file in &index.files {
                let key = by_hash(&dir, &file.sha256);
                if store.read(&key)?.is_some_and(|bytes| chunk::id(&bytes) != file.sha256) {
                    store.remove(&key)?;
                }
            }
            // Without its chunks an index stays as it is; the check says so.
            drop(repository.restore(name, path, index));
        }
        for problem in damaged(&format!("dists/{name}/")) {
            match problem.path.contains("/by-hash/") {
                // One of before that is still there is damaged: nobody can use it.
                true => {
                    let hash = problem.path.rsplit('/').next().unwrap_or_default();
                    if store.read(&problem.path)?.is_some_and(|bytes| chunk::id(&bytes) != hash) {
                        store.remove(&problem.path)?;
                    }
                }
                false => again = true,
            }
        }
        if again {
            // What a damaged name leads to must not keep the good one away.
            repository.project(name, head.number, suite)?;
        }
    }
    if !damaged(KEYS).is_empty() {
        store.replace(KEYS, armor_keys(&public_keys(head)?)?.as_bytes(), None)?;
        store.settle(&[KEYS.to_owned()])?;
    }
    Ok(())
}

/// Compresses a chunk again, if one of its forms is whole.
fn repack(store: &dyn Store, key: &str) -> Result<()> {
    // The first two digits are a folder's name.
    let mut names = key.rsplit('/');
    let (rest, first) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    let id = &format!("{first}{rest}");
    let Some(bytes) = store.read(key)? else { return Ok(()) };
    if let Some(object) = chunk::repack(id, &bytes)? {
        store.replace(key, &object, None)?;
    }
    Ok(())
}

/// Makes the objects of an index again from any of its published forms.
fn objects(repository: &Repository, dir: &str, path: &str, index: &Index) -> Result<()> {
    let store = repository.store();
    let whole =
        |manifest: Manifest| manifest.chunks.iter().all(|part| repository.chunk(&part.id).is_ok());
    if repository.manifest(index).is_ok_and(whole) {
        return Ok(());
    }
    for file in &index.files {
        let Some(bytes) = store.read(&by_hash(dir, &file.sha256))? else { continue };
        if chunk::id(&bytes) != file.sha256 {
            continue;
        }
        let mut text = Vec::new();
        let read = match file.suffix.as_str() {
            "" => {
                text = bytes;
                Ok(0)
            }
            _ => compression::decode(&bytes[..])
                .and_then(|reader| reader.take(LIMIT).read_to_end(&mut text)),
        };
        if read.is_err() {
            continue;
        }
        let (manifest, texts) = manifest_of(path, &text)?;
        let json = serde_json::to_vec(&manifest)?;
        if chunk::id(&json) != index.manifest {
            continue;
        }
        let forms: Vec<&str> = index.suffixes().collect();
        for (id, text) in texts {
            if repository.chunk(&id).is_err() {
                store.replace(&object(&id), &chunk::pack(&text, &forms)?, None)?;
            }
        }
        store.replace(&object(&index.manifest), &json, None)?;
        return Ok(());
    }
    Ok(())
}

/// The manifest and the chunks of an index with this text.
pub fn manifest_of(path: &str, text: &[u8]) -> Result<(Manifest, BTreeMap<String, Vec<u8>>)> {
    if !holds_packages(path) && !path.ends_with("/Translation-en") {
        let mut texts = BTreeMap::new();
        let manifest = of_lines(text, &mut |id, text| {
            texts.insert(id.to_owned(), text);
            Ok(())
        })?;
        return Ok((manifest, texts));
    }
    let all: Changes = paragraphs(text)
        .map(|stanza| Ok((Key::of(stanza)?, Some(stanza.into()))))
        .collect::<Result<_>>()?;
    Manifest::default().apply(&all, &|_| Ok(Vec::new()))
}

/// Whether what is kept of a package's names can be read.
pub fn names_are_whole(bytes: &[u8]) -> bool {
    contents::unpack(bytes).is_ok()
}
