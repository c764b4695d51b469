//! `Contents` indexes: which package has which file, for apt-file(1).
//!
//! They cost reading every package, so they are not made when one is added, but later, by
//! `bk-repo contents` or a server. What a package has in it is read once, and kept under its hash.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use bk::{Context, Error, Result};
use bk_deb::debian::control::{field, paragraphs};
use bk_deb::debian::deb::Deb;
use rayon::prelude::*;

use super::commit::Suite;
use super::repository::Repository;
use crate::check::pool_files;
use crate::record::component;
use crate::store::{PRIVATE, Staged, Store};

/// What the names of one package's files may have together: the largest packages of Debian 12 have
/// some 10 MiB.
const LIMIT: u64 = 256 << 20;

/// The file with the names in the package whose SHA-256 this is.
pub fn key(sha256: &str) -> String {
    let (first, rest) = sha256.split_at_checked(2).unwrap_or((sha256, ""));
    format!("{PRIVATE}/contents/{first}/{rest}")
}

/// The index over the files of an index of packages: `main/Contents-amd64`, `main/Contents-udeb-amd64`.
pub fn path(index: &str) -> Option<String> {
    let (dir, architecture) = index.strip_suffix("/Packages")?.rsplit_once("/binary-")?;
    let udeb = if dir.ends_with("/debian-installer") { "udeb-" } else { "" };
    Some(format!("{}/Contents-{udeb}{architecture}", component(index)))
}

/// The names of the files in a package, a line each, read from the pool if need be.
///
/// The second value waits for its place where they were.
fn names(
    store: &dyn Store,
    file: &str,
    sha256: &str,
    scratch: &Path,
) -> Result<(Vec<u8>, Option<Staged>)> {
    let key = key(sha256);
    if let Some(packed) = store.read(&key)?
        && let Ok(names) = unpack(&packed)
    {
        return Ok((names, None));
    }
    let missing = || Error::new(format!("'{file}' is missing"));
    let mut package = Deb::read(store.open(file)?.ok_or_else(missing)?)
        .context(|| format!("cannot read '{file}'"))?;
    let mut names = Vec::new();
    let mut read = || -> Result<()> {
        // The control archive comes first, and is to be read past.
        package.control_files()?;
        package.data(|entry| {
            if entry.header().entry_type().is_dir() {
                return Ok(());
            }
            let name = entry.path_bytes();
            let name = name.strip_prefix(b"./").unwrap_or(&name);
            let name = name.strip_prefix(b"/").unwrap_or(name);
            // A line is all there is for a name.
            if !name.is_empty() && !name.contains(&b'\n') {
                names.extend_from_slice(name);
                names.push(b'\n');
            }
            match names.len() as u64 > LIMIT {
                true => Err(Error::new("the names of its files have more than 256 MiB")),
                false => Ok(()),
            }
        })
    };
    read().context(|| format!("cannot read '{file}'"))?;
    // A package is in several indexes, and these are read at the same time.
    let mut staged = tempfile::Builder::new().tempfile_in(scratch)?;
    std::io::Write::write_all(&mut staged, &pack(&names)?)?;
    let (_, path) = staged.keep()?;
    names.shrink_to_fit();
    Ok((names, Some(Staged::new(key, path))))
}

fn pack(names: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    encoder.include_checksum(true)?;
    std::io::Write::write_all(&mut encoder, names)?;
    Ok(encoder.finish()?)
}

/// The names as they were kept.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    let mut names = Vec::new();
    zstd::Decoder::new(packed)?.take(LIMIT).read_to_end(&mut names)?;
    // Those of all packages are held at once.
    names.shrink_to_fit();
    Ok(names)
}

/// The `Contents` indexes of a suite, by their paths: `FILE<spaces>SECTION/PACKAGE,…`, sorted.
pub fn texts(repository: &Repository, suite: &Suite) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for (index, state) in suite.packages() {
        let Some(path) = path(index) else { continue };
        let mut packages: Vec<(String, String, String)> = Vec::new();
        for chunk in repository.manifest(state)?.chunks {
            for stanza in paragraphs(&repository.chunk(&chunk.id)?) {
                let get = |name| field(stanza, name).map(String::from_utf8_lossy);
                let Some(name) = get("Package") else { continue };
                let qualified = match get("Section") {
                    Some(section) => format!("{section}/{name}"),
                    None => name.into_owned(),
                };
                for (file, (_, sha256)) in pool_files(stanza)? {
                    packages.push((qualified.clone(), file, sha256));
                }
            }
        }
        let store = repository.store();
        let scratch = store.scratch()?;
        let read: Vec<(Vec<u8>, Option<Staged>)> = packages
            .par_iter()
            .map(|(_, file, sha256)| names(store, file, sha256, scratch.path()))
            .collect::<Result<_>>()?;
        let (lists, staged): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        store.place(staged.into_iter().flatten().collect())?;
        // Sorted in place: a map of a list for each name would take three times what the names do.
        let mut having: Vec<(&[u8], &str)> = Vec::new();
        for ((qualified, _, _), names) in packages.iter().zip(&lists) {
            let names = names.split(|&b| b == b'\n').filter(|name| !name.is_empty());
            having.extend(names.map(|name| (name, qualified.as_str())));
        }
        having.par_sort_unstable();
        having.dedup();
        let mut text = Vec::new();
        for same in having.chunk_by(|one, other| one.0 == other.0) {
            let Some((name, _)) = same.first() else { continue };
            text.extend_from_slice(name);
            // apt-ftparchive's column; apt-file takes what follows the last blank.
            let blanks = 55usize.saturating_sub(name.len()).max(1);
            text.extend(std::iter::repeat_n(b' ', blanks));
            let who: Vec<&str> = same.iter().map(|(_, who)| *who).collect();
            text.extend_from_slice(who.join(",").as_bytes());
            text.push(b'\n');
        }
        all.insert(path, text);
    }
    Ok(all)
}
