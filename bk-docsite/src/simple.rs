//! The index for pip: the Simple API as files (PEP 503, 592, 658, 691, 700, 714). Metadata are announced by the
//! name of PEP 714 alone: by the older one, pip 23.0 takes them for those of another package.

use std::collections::BTreeMap;

use bk::{Context, Result};
use serde::Serialize;

use crate::distribution::{Kind, named};
use crate::pages;
use crate::site::{File, Package, Site, normal};

/// The media type of its JSON form (PEP 691).
pub const JSON: &str = "application/vnd.pypi.simple.v1+json";

#[derive(Serialize)]
struct Meta {
    #[serde(rename = "api-version")]
    version: &'static str,
}

/// The version of the API that has sizes and versions (PEP 700).
const META: Meta = Meta { version: "1.1" };

#[derive(Serialize)]
struct List<'a> {
    meta: Meta,
    projects: Vec<BTreeMap<&'static str, &'a str>>,
}

#[derive(Serialize)]
struct Project<'a> {
    meta: Meta,
    name: String,
    versions: Vec<&'a str>,
    files: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    filename: &'a str,
    url: String,
    hashes: BTreeMap<&'static str, &'a str>,
    #[serde(rename = "requires-python", skip_serializing_if = "Option::is_none")]
    requires_python: Option<&'a str>,
    size: u64,
    #[serde(rename = "upload-time")]
    upload_time: &'a str,
    yanked: serde_json::Value,
    #[serde(rename = "core-metadata")]
    core_metadata: serde_json::Value,
}

/// What pip can take of a package.
fn installable(package: &Package) -> Vec<&File> {
    let pips = |file: &&File| matches!(named(&file.name).kind, Kind::Wheel | Kind::Sdist);
    package.files.iter().filter(pips).collect()
}

/// Where a file is, seen from the package's page of the index.
fn url(folder: &str, file: &File) -> String {
    let name: String = file.name.replace('+', "%2B");
    format!("../../files/{folder}/{name}")
}

/// Writes a package's pages of the index, or takes them away where it has nothing for pip.
pub fn write(site: &Site, package: &Package) -> Result<()> {
    let folder = normal(&package.name);
    let files = installable(package);
    if files.is_empty() {
        return remove(site, &folder);
    }
    let dir = site.root.join("simple").join(&folder);
    bk::file::create_dir(&dir)?;
    let mut versions: Vec<&str> = files.iter().map(|file| file.version.as_str()).collect();
    versions.dedup();
    let entries = files.iter().map(|file| Entry {
        filename: &file.name,
        url: url(&folder, file),
        hashes: BTreeMap::from([("sha256", file.sha256.as_str())]),
        requires_python: file.requires_python.as_deref(),
        size: file.size,
        upload_time: &file.uploaded,
        yanked: match file.yanked.as_deref() {
            None => false.into(),
            Some("") => true.into(),
            Some(why) => why.into(),
        },
        core_metadata: match &file.metadata {
            Some(sha256) => serde_json::json!({ "sha256": sha256 }),
            None => false.into(),
        },
    });
    let project = Project { meta: META, name: folder.clone(), versions, files: entries.collect() };
    let json = serde_json::to_vec(&project).context(|| "cannot write the index".into())?;
    bk::file::write(&dir.join("index.json"), json)?;
    bk::file::write(&dir.join("index.html"), pages::project(&folder, &files, &|f| url(&folder, f))?)
}

/// Takes a package's pages of the index away.
pub fn remove(site: &Site, folder: &str) -> Result<()> {
    site.discard(&site.root.join("simple").join(folder))
}

/// Writes the list of packages.
pub fn list(site: &Site, packages: &[Package]) -> Result<()> {
    let dir = site.root.join("simple");
    bk::file::create_dir(&dir)?;
    let names: Vec<String> = packages
        .iter()
        .filter(|package| !installable(package).is_empty())
        .map(|package| normal(&package.name))
        .collect();
    let projects = names.iter().map(|name| BTreeMap::from([("name", name.as_str())])).collect();
    let json = serde_json::to_vec(&List { meta: META, projects });
    bk::file::write(&dir.join("index.json"), json.context(|| "cannot write the index".into())?)?;
    bk::file::write(&dir.join("index.html"), pages::projects(&names)?)
}
