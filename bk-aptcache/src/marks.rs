//! What the suites in a store name: the indexes and packages that are needed.

use std::collections::{HashMap, HashSet};

use bk::{Console, Result};

use crate::path::by_hash;
use crate::release::Release;
use crate::store::{Store, hex};
use crate::table::{Table, make, stem};

/// What the suites of a store name.
#[derive(Default)]
pub struct Marks {
    /// Keys of Release files and indexes.
    keys: HashSet<String>,
    /// The tables that are used.
    tables: HashSet<String>,
    /// By the names of archives: the folders their paths start from, and what is named there.
    archives: HashMap<String, Vec<(String, Table)>>,
    /// Archives with a suite that cannot be read: what it names is not known.
    broken: HashSet<String>,
}

impl Marks {
    /// Reads all suites of a store that were used at `since` or later (seconds since 1970). One that
    /// cannot be read is told, and stops none of the others.
    pub fn read(store: &Store, since: i64, console: &Console) -> Self {
        let mut marks = Marks::default();
        let used = |meta: &std::fs::Metadata| std::os::unix::fs::MetadataExt::atime(meta);
        for (root, _) in store.roots("").into_iter().filter(|(_, meta)| used(meta) >= since) {
            if let Err(error) = marks.suite(store, &root) {
                console.warn(&format!("cannot read '{root}': {error}; what it names is kept"));
                let archive = root.split('/').next().unwrap_or(&root);
                marks.broken.insert(archive.to_owned());
            }
        }
        marks
    }

    fn suite(&mut self, store: &Store, root: &str) -> Result<()> {
        let (folder, name) = root.rsplit_once('/').unwrap_or(("", root));
        let text = bk::file::read(&store.root().join(root), 64 << 20)?;
        let release = Release::parse(text, name == "InRelease")?;
        self.keys.insert(root.to_owned());
        self.keys.insert(format!("{folder}/Release.gpg"));
        let (archive, path) = folder.split_once('/').unwrap_or((folder, ""));
        let mut bases = vec![path];
        match path.find("dists") {
            Some(at) => bases = vec![path[..at].trim_end_matches('/')],
            None => bases.extend(path.match_indices('/').map(|(at, _)| &path[..at]).chain([""])),
        }
        let held: Vec<String> = release
            .paths()
            .filter(|path| store.identity(&format!("{folder}/{path}")).is_some())
            .map(str::to_owned)
            .collect();
        for path in held {
            let Some(expected) = release.expected(&path) else { continue };
            let below =
                path.rsplit_once('/').map_or(String::new(), |(below, _)| format!("{below}/"));
            let key = format!("{folder}/{below}by-hash/SHA256/{}", hex(&expected.sha256));
            self.keys.insert(format!("{folder}/{path}"));
            if stem(&path).is_some()
                && let Some(index) = store.get(&key)?
            {
                let name = hex(&expected.sha256);
                let table = store.inside("tables").join(&name);
                make(&index.file, &table)?;
                for base in &bases {
                    let tables = self.archives.entry(archive.to_owned()).or_default();
                    tables.push(((*base).to_owned(), Table::open(&table)?));
                }
                self.tables.insert(name);
            }
            self.keys.insert(key);
        }
        Ok(())
    }

    /// Whether a file is named.
    pub fn has(&self, key: &str) -> bool {
        if self.keys.contains(key) {
            return true;
        }
        if let Some((archive, path)) = key.split_once('/')
            && self.broken.contains(archive)
            && by_hash(path).is_none()
        {
            return true;
        }
        !self.expected(key).is_empty()
    }

    /// What a file should be, if it is named; for packages.
    pub fn expected(&self, key: &str) -> Vec<crate::release::Expected> {
        let Some((archive, path)) = key.split_once('/') else { return Vec::new() };
        let tables = self.archives.get(archive).into_iter().flatten();
        let found = tables.filter_map(|(base, table)| {
            let below = match base.as_str() {
                "" => path,
                base => path.strip_prefix(base)?.strip_prefix('/')?,
            };
            table.find(below).ok()?
        });
        found.collect()
    }

    /// Whether a table is used.
    pub fn has_table(&self, name: &str) -> bool {
        self.tables.contains(name)
    }
}
