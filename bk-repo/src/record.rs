//! The records of bk-repo.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bk::record::Record;
use bk_deb::debian::control::field;
use serde::Serialize;

use crate::archive::commit::Commit;
use crate::archive::manifest::Key;

/// A package in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "package")]
pub struct Package {
    /// Its file in the pool; the .dsc of a source package.
    #[serde(serialize_with = "bk::record::path")]
    pub path: PathBuf,
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its architecture; `source` for a source package.
    pub architecture: String,
    /// The suite it is in.
    pub suite: String,
    /// The component it is in.
    pub component: String,
    /// The size of the file in bytes.
    pub size: u64,
    /// The file's hash, in hex.
    pub sha256: String,
}

impl Package {
    /// The record of a stanza of an index, `main/binary-amd64/Packages`, of the repository `root`.
    pub fn new(root: &Path, suite: &str, index: &str, key: &Key, stanza: &[u8]) -> Self {
        let get = |name| field(stanza, name).map(String::from_utf8_lossy).unwrap_or_default();
        let (path, size, sha256) = if key.architecture == "source" {
            // HASH SIZE NAME, of which the .dsc is the first.
            let sums = get("Checksums-Sha256");
            let mut words = sums.split_ascii_whitespace();
            let (hash, size) = (words.next().unwrap_or_default(), words.next());
            let name = words.next().unwrap_or_default();
            let size = size.and_then(|s| s.parse().ok()).unwrap_or(0);
            (format!("{}/{name}", get("Directory")), size, hash.to_owned())
        } else {
            let size = get("Size").parse().unwrap_or(0);
            (get("Filename").into_owned(), size, get("SHA256").into_owned())
        };
        Package {
            path: root.join(path),
            package: key.name.clone(),
            version: key.version.clone(),
            architecture: key.architecture.clone(),
            suite: suite.to_owned(),
            component: component(index).to_owned(),
            size,
            sha256,
        }
    }
}

/// A repository that was made or changed.
#[derive(Serialize)]
#[serde(tag = "type", rename = "repository")]
pub struct Made<'a> {
    #[serde(serialize_with = "bk::record::path")]
    path: &'a Path,
    suites: Vec<String>,
    keys: Vec<String>,
}

impl<'a> Made<'a> {
    /// The record of the repository at `path`.
    pub fn new(path: &'a Path, head: &Commit) -> Self {
        let suites = head.suites.keys().cloned().collect();
        Made { path, suites, keys: head.keys.iter().map(|key| key.fingerprint.clone()).collect() }
    }
}

impl Record for Made<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_os_str().as_bytes().into()
    }
}

/// The component of an index.
pub fn component(index: &str) -> &str {
    index.split_once('/').map_or(index, |(component, _)| component)
}

impl Record for Package {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_os_str().as_bytes().into()
    }
}

/// The same as `list` shows it: `name_version_arch`.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Named(pub Package);

impl Record for Named {
    fn line(&self) -> Cow<'_, [u8]> {
        let Package { package, version, architecture, .. } = &self.0;
        format!("{package}_{version}_{architecture}").into_bytes().into()
    }
}

/// That line of a package of which nothing else is asked for.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Line<'a>(pub &'a Key);

impl Record for Line<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        self.0.to_string().into_bytes().into()
    }
}
