//! A site: its settings, and what is known of each of its packages.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bk::file::{Lock, TempDir};
use bk::{Console, Context, Error, Result, Status, display, sanitize};
use pep440_rs::Version;
use serde::{Deserialize, Serialize};

use crate::search::Index;
use crate::{pages, search, simple};

/// What a manifest may have: a package with 10,000 files has some 5 MB.
const MANIFEST_LIMIT: u64 = 256 << 20;
/// The alias that follows the newest release by itself.
pub const LATEST: &str = "latest";
/// How long another who publishes is waited for.
const WAIT: Duration = Duration::from_secs(60);

/// What its owner says of a site, in `docsite.yaml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What it is called.
    pub title: String,
    /// Where it is, for the links that tell search engines which page counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The apt repository with its packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apt: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { title: "Packages".to_owned(), url: None, apt: None }
    }
}

/// A site.
pub struct Site {
    /// Its folder.
    pub root: PathBuf,
    /// What its owner says of it.
    pub settings: Settings,
    _lock: Option<Lock>,
}

/// A package: `PACKAGE/docsite.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Package {
    /// As people write it.
    pub name: String,
    /// Those with documentation, the newest first.
    pub versions: Vec<Documented>,
    /// Other names of versions.
    pub aliases: BTreeMap<String, String>,
    /// What can be downloaded, the newest first.
    pub files: Vec<File>,
}

/// A version with documentation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Documented {
    /// The version.
    pub version: String,
    /// When it was published: RFC 3339.
    pub published: String,
    /// Its pages.
    pub pages: Vec<String>,
}

/// What can be downloaded.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Of which version it is.
    pub version: String,
    /// In bytes.
    pub size: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// When it was published: RFC 3339.
    pub uploaded: String,
    /// What it says of Pythons (PEP 345).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    /// The SHA-256 of its METADATA, which lies beside it (PEP 714).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Why nobody should install it (PEP 592).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
}

/// A package's name as one word for folders and links: PEP 503's normal form.
pub fn normal(name: &str) -> String {
    let mut normal = String::new();
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

/// Checks a name of a package, version or alias: it becomes a folder, and a part of links.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._+-!~".contains(c);
    // NAME_MAX, less what is put after it.
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(legal)
        && name.len() <= 200;
    let taken = what == "package" && ["simple", "files"].contains(&normal(name).as_str());
    match (good, taken) {
        (true, false) => Ok(()),
        (true, true) => Err(Error::new(format!("no package can be called '{name}' here"))
            .hint("the site has a folder of that name for something else")
            .status(Status::Usage)),
        _ => Err(Error::new(format!("'{}' is no name for a {what}", sanitize(name)))
            .hint("letters and digits of ASCII, and between them any of . _ + - ! ~")
            .status(Status::Usage)),
    }
}

/// Orders versions, the newest first: by PEP 440 where they are of it, before what is not.
pub fn newest_first(a: &str, b: &str) -> std::cmp::Ordering {
    match (Version::from_str(a), Version::from_str(b)) {
        (Ok(a), Ok(b)) => b.cmp(&a),
        (Ok(_), Err(_)) => std::cmp::Ordering::Less,
        (Err(_), Ok(_)) => std::cmp::Ordering::Greater,
        (Err(_), Err(_)) => b.cmp(a),
    }
}

impl Site {
    /// Opens a site to read it.
    pub fn open(root: &Path) -> Result<Self> {
        let context = || format!("cannot open the site '{}'", display(root));
        let path = root.join("docsite.yaml");
        if !path.is_file() {
            return Err(Error::new("it has no docsite.yaml")
                .context(context())
                .hint(format!("bk-docsite init {} makes one", display(root))));
        }
        let bytes = bk::file::read(&path, MANIFEST_LIMIT).context(context)?;
        let settings = serde_yaml::from_slice(&bytes)
            .context(|| format!("cannot read '{}'", display(&path)))
            .context(context)?;
        Ok(Site { root: root.to_owned(), settings, _lock: None })
    }

    /// Begins one in a folder that is not there, or is empty.
    pub fn begin(root: &Path, settings: &Settings, console: &Console) -> Result<()> {
        bk::file::create_dir(root)?;
        let text = serde_yaml::to_string(settings)
            .context(|| format!("cannot begin a site in '{}'", display(root)))?;
        bk::file::write(&root.join("docsite.yaml"), text)?;
        Self::change(root, console)?.refresh()
    }

    /// Opens a site to change it; others wait.
    pub fn change(root: &Path, console: &Console) -> Result<Self> {
        let mut site = Self::open(root)?;
        bk::file::create_dir(&site.hidden())?;
        site._lock = Some(Lock::exclusive(&site.hidden().join("lock"), WAIT, console)?);
        Ok(site)
    }

    /// What is not for readers.
    pub fn hidden(&self) -> PathBuf {
        self.root.join(".docsite")
    }

    /// A folder for what becomes part of the site.
    pub fn scratch(&self) -> Result<TempDir> {
        TempDir::new_in(&self.hidden())
    }

    /// The names of its packages, as folders, in order.
    pub fn packages(&self) -> Result<Vec<String>> {
        let failed = || format!("cannot read the site '{}'", display(&self.root));
        let mut all = Vec::new();
        for entry in self.root.read_dir().context(failed)? {
            let entry = entry.context(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().join("docsite.json").is_file() {
                all.push(name);
            }
        }
        all.sort();
        Ok(all)
    }

    /// What is known of a package.
    pub fn package(&self, name: &str) -> Result<Option<Package>> {
        let path = self.root.join(normal(name)).join("docsite.json");
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = bk::file::read(&path, MANIFEST_LIMIT)?;
        let context = || format!("cannot read '{}'", display(&path));
        Ok(Some(serde_json::from_slice(&bytes).context(context)?))
    }

    /// The same of one that has to be there.
    pub fn existing(&self, name: &str) -> Result<Package> {
        if let Some(package) = self.package(name)? {
            return Ok(package);
        }
        let all = self.packages()?;
        let near = bk::nearest(&normal(name), all.iter().map(String::as_str));
        let error = Error::new(format!("the site has no package '{}'", sanitize(name)));
        Err(match near.as_slice() {
            [] => error.hint("bk-docsite list says what it has"),
            near => error.hint(format!("it has {}", near.join(", "))),
        })
    }

    /// Writes a package down, and all that follows from it: its page, its aliases, the index for pip, the
    /// search, and the page of the site. Readers see it before the manifest does, if somebody is killed in
    /// between, and the next change does the rest.
    pub fn save(&self, package: &mut Package) -> Result<()> {
        package.versions.sort_by(|a, b| newest_first(&a.version, &b.version));
        let order = |a: &File, b: &File| {
            newest_first(&a.version, &b.version).then_with(|| a.name.cmp(&b.name))
        };
        package.files.sort_by(order);
        let there = |version: &String| package.versions.iter().any(|v| v.version == *version);
        package.aliases.retain(|_, version| there(version));
        let release =
            |v: &&Documented| Version::from_str(&v.version).is_ok_and(|v| !v.any_prerelease());
        let latest = package.versions.iter().find(release).or_else(|| package.versions.first());
        match latest {
            Some(latest) => package.aliases.insert(LATEST.into(), latest.version.clone()),
            None => package.aliases.remove(LATEST),
        };
        let folder = normal(&package.name);
        let dir = self.root.join(&folder);
        let empty = package.versions.is_empty() && package.files.is_empty();
        if empty {
            search::update(self, &folder, None)?;
            simple::remove(self, &folder)?;
            self.discard(&dir)?;
            self.discard(&self.root.join("files").join(&folder))?;
        } else {
            bk::file::create_dir(&dir)?;
            self.link_aliases(&dir, package)?;
            bk::file::write(&dir.join("versions.js"), pages::versions(package)?)?;
            bk::file::write(&dir.join("index.html"), pages::package(self, package)?)?;
            simple::write(self, package)?;
            let index = match package.aliases.get(LATEST) {
                Some(latest) => Some(Index::open(self, &folder, latest)?),
                None => None,
            };
            search::update(self, &folder, index.as_ref())?;
            let manifest =
                serde_json::to_vec(package).context(|| "cannot write the manifest".into())?;
            bk::file::write(&dir.join("docsite.json"), manifest)?;
        }
        self.refresh()
    }

    /// Writes what the site has of its own.
    pub fn refresh(&self) -> Result<()> {
        pages::assets(self)?;
        let mut all = Vec::new();
        for name in self.packages()? {
            all.extend(self.package(&name)?);
        }
        bk::file::write(&self.root.join("index.html"), pages::site(self, &all)?)?;
        bk::file::write(&self.root.join("search.html"), pages::search(self)?)?;
        simple::list(self, &all)
    }

    /// Makes the links of aliases, each changed at once, and takes away those that are no more.
    fn link_aliases(&self, dir: &Path, package: &Package) -> Result<()> {
        let failed = || format!("cannot set the aliases in '{}'", display(dir));
        for entry in dir.read_dir().context(failed)? {
            let entry = entry.context(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let link = entry.file_type().context(failed)?.is_symlink();
            if link && !package.aliases.contains_key(&name) {
                fs::remove_file(entry.path()).context(failed)?;
            }
        }
        let scratch = self.scratch()?;
        for (alias, version) in &package.aliases {
            let path = dir.join(alias);
            if fs::read_link(&path).is_ok_and(|to| to == Path::new(version)) {
                continue;
            }
            let new = scratch.path().join(alias);
            symlink(version, &new).context(failed)?;
            fs::rename(&new, &path).context(failed)?;
        }
        bk::file::sync_dir(dir)
    }

    /// Takes a folder away: at once for readers, then from the disk.
    pub fn discard(&self, dir: &Path) -> Result<()> {
        if !dir.is_dir() {
            return Ok(());
        }
        let scratch = self.scratch()?;
        let failed = || format!("cannot remove '{}'", display(dir));
        fs::rename(dir, scratch.path().join("old")).context(failed)
    }

    /// Puts a new folder in the place of another, at once if there is one.
    pub fn exchange(&self, new: &Path, at: &Path) -> Result<()> {
        let failed = || format!("cannot put '{}' in place", display(at));
        if at.symlink_metadata().is_err() {
            fs::rename(new, at).context(failed)?;
        } else {
            let cwd = rustix::fs::CWD;
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(cwd, new, cwd, at, flags)
                .map_err(std::io::Error::from)
                .context(failed)?;
        }
        match at.parent() {
            Some(parent) => bk::file::sync_dir(parent),
            None => Ok(()),
        }
    }
}
