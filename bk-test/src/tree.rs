//! A project's folder: what in it is the project, a copy of that, a hash of that.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bk::{Context, Result, display, file};
use ignore::{DirEntry, WalkBuilder};
use sha2::{Digest, Sha256};

/// Folders that programs leave in a project and that are no part of it.
const LEFT_BEHIND: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".tox",
    ".nox",
    ".venv",
    ".eggs",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    "__pycache__",
    "node_modules",
];

/// A file of a project.
#[derive(Debug)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// Where it is below the project's folder.
    pub relative: PathBuf,
    /// Where it leads, if it is a link.
    pub link: Option<PathBuf>,
    /// Whether it may be run.
    pub executable: bool,
}

/// The files of a project, sorted. What git ignores counts too: it may be made there to be shipped. What
/// builds and test programs leave behind does not count, unless it was published.
pub fn files(root: &Path) -> Result<Vec<Entry>> {
    // An sdist has a PKG-INFO (PEP 643), and of a `.egg-info` in it setuptools knows what belongs to a package.
    let published = root.join("PKG-INFO").is_file();
    let mut walk = WalkBuilder::new(root);
    walk.standard_filters(false).sort_by_file_name(std::ffi::OsStr::cmp);
    walk.filter_entry(move |entry| published || belongs(entry));
    let mut all = Vec::new();
    for entry in walk.build() {
        let entry = entry.context(|| format!("cannot read the folder '{}'", display(root)))?;
        let path = entry.path();
        let kind = entry.file_type();
        if kind.is_none_or(|kind| !kind.is_file() && !kind.is_symlink()) {
            continue;
        }
        let failed = || format!("cannot read '{}'", display(path));
        let meta = path.symlink_metadata().context(failed)?;
        all.push(Entry {
            relative: path.strip_prefix(root).unwrap_or(path).to_owned(),
            link: meta.is_symlink().then(|| fs::read_link(path)).transpose().context(failed)?,
            executable: meta.permissions().mode() & 0o100 != 0,
            path: path.to_owned(),
        });
    }
    Ok(all)
}

fn belongs(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    if !entry.file_type().is_some_and(|kind| kind.is_dir()) {
        return !name.ends_with(".pyc") && (entry.depth() != 1 || name != ".git");
    }
    let left = LEFT_BEHIND.contains(&name.as_ref())
        || entry.path().join("pyvenv.cfg").is_file()
        // The build folder of setuptools, and archives: a package may be called so too, but not at the top.
        || entry.depth() == 1 && ["build", "dist"].contains(&name.as_ref())
            && !entry.path().join("__init__.py").exists();
    // What setuptools knew of an older state of the project would come into the next.
    !left && !name.ends_with(".egg-info") || entry.depth() == 0
}

/// Copies a project into a folder.
pub fn copy(files: &[Entry], to: &Path) -> Result<()> {
    for entry in files {
        let path = to.join(&entry.relative);
        let failed = || format!("cannot copy '{}'", display(&entry.path));
        if let Some(parent) = path.parent() {
            file::create_dir(parent)?;
        }
        match &entry.link {
            Some(link) => symlink(link, &path).context(failed)?,
            None => fs::copy(&entry.path, &path).map(drop).context(failed)?,
        }
    }
    Ok(())
}

/// A hash of a project: names, contents, what may be run.
pub fn hash(files: &[Entry]) -> Result<Vec<u8>> {
    let mut hash = Sha256::new();
    for entry in files {
        let name = entry.relative.as_os_str().as_bytes();
        hash.update(format!("{} {}\n", name.len(), u8::from(entry.executable)));
        hash.update(name);
        match &entry.link {
            Some(link) => hash.update(link.as_os_str().as_bytes()),
            None => hash.update(crate::environment::hash_file(&entry.path)?),
        }
    }
    Ok(hash.finalize().to_vec())
}
