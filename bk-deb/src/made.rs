//! What was made of what before, so that nothing is made twice.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bk::{Result, file};
use serde::{Deserialize, Serialize};

use crate::convert::Built;
use crate::fetch::path_of;
use crate::plan::Instruction;
use crate::supply::sha256_of;

/// A record is a line.
const RECORD_LIMIT: u64 = 1 << 16;
/// A hash for each of 10,000 packages, ten times what the largest of trees has.
const KEYS_LIMIT: u64 = 1 << 20;

/// The records, one for each package by all that it was made of.
pub struct Made<'a> {
    /// Where they are kept; none if nothing is.
    pub folder: Option<PathBuf>,
    /// What tells this program from another version of it.
    pub program: String,
    /// What tells the state that libraries were looked up in.
    pub libraries: String,
    /// Where the packages go.
    pub out: &'a Path,
}

/// What is known of a package that was written.
#[derive(Serialize, Deserialize)]
struct Entry {
    file: String,
    package: String,
    version: String,
    architecture: String,
    size: u64,
    /// What tells the file from one that was changed since.
    stamp: String,
    installed_size: u64,
}

/// What changes when a file is written.
pub fn stamp(about: &Metadata) -> String {
    format!("{}.{:09} {} {}", about.mtime(), about.mtime_nsec(), about.size(), about.ino())
}

impl Made<'_> {
    /// The name of all that a package is made of; none where its wheel cannot be told.
    pub fn key(&self, instruction: &Instruction) -> Option<String> {
        self.folder.as_ref()?;
        let wheel = match (&instruction.wheel.sha256, path_of(&instruction.wheel.url)) {
            (Some(sha256), _) => sha256.clone(),
            (None, Some(path)) => stamp(&path.metadata().ok()?),
            (None, None) => return None,
        };
        let spec = serde_json::to_string(&(&instruction.spec, &instruction.options)).ok()?;
        let out = self.out.canonicalize().ok()?;
        let all = [
            &self.program,
            &self.libraries,
            &wheel,
            &instruction.wheel.name,
            &spec,
            &out.to_string_lossy().into_owned(),
        ];
        Some(sha256_of(all.map(|part| format!("{}\n{part}\n", part.len())).concat().as_bytes()))
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(key.get(..2)?).join(key))
    }

    /// The package that was made of the same and is there as it was written.
    pub fn get(&self, key: &str) -> Option<Built> {
        let bytes = file::read(&self.path(key)?, RECORD_LIMIT).ok()?;
        let entry: Entry = serde_json::from_slice(&bytes).ok()?;
        let path = self.out.join(&entry.file);
        if stamp(&path.metadata().ok()?) != entry.stamp {
            return None;
        }
        Some(Built {
            path,
            package: entry.package,
            version: entry.version,
            architecture: entry.architecture,
            size: entry.size,
            installed_size: entry.installed_size,
            files: Vec::new(),
            depends: String::new(),
        })
    }

    /// Notes what was made.
    pub fn put(&self, key: &str, built: &Built) -> Result<()> {
        let Some(path) = self.path(key) else { return Ok(()) };
        let entry = Entry {
            file: built.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            package: built.package.clone(),
            version: built.version.clone(),
            architecture: built.architecture.clone(),
            size: built.size,
            stamp: stamp(&built.path.metadata()?),
            installed_size: built.installed_size,
        };
        file::create_dir(path.parent().unwrap_or(Path::new("")))?;
        file::write(&path, serde_json::to_vec(&entry)?)
    }

    /// What the keys of these became when they were held against each other and the distribution's
    /// files, and none were in the way; `files` tells the state of those.
    pub fn settled(&self, keys: &[String], files: &str) -> Option<Vec<String>> {
        let bytes = file::read(&self.path(&together(keys, files))?, KEYS_LIMIT).ok()?;
        let settled: Vec<String> = serde_json::from_slice(&bytes).ok()?;
        (settled.len() == keys.len()).then_some(settled)
    }

    /// Notes that.
    pub fn note_settled(&self, keys: &[String], files: &str, settled: &[String]) -> Result<()> {
        let Some(path) = self.path(&together(keys, files)) else { return Ok(()) };
        file::create_dir(path.parent().unwrap_or(Path::new("")))?;
        file::write(&path, serde_json::to_vec(settled)?)
    }
}

fn together(keys: &[String], files: &str) -> String {
    sha256_of(format!("{files}\n{}", keys.join("\n")).as_bytes())
}
