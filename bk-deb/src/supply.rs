//! Getting the wheels: what is named is found out, what is chosen is fetched or built.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bk::{Console, Context, Error, Result, display, sanitize};
use pep440_rs::VersionSpecifier;
use pep508_rs::{ExtraName, PackageName, Requirement, VerbatimUrl, VersionOrUrl};
use sha2::{Digest, Sha256};

use crate::distro::Distro;
use crate::embedded;
use crate::fetch::{Fetch, path_of, shown, url_of};
use crate::graph::Loaded;
use crate::python::index::{Needs, needs_of};
use crate::python::lock::{self, File, Locked};
use crate::python::requirement::Wanted;
use crate::python::source;
use crate::python::wheel::Wheel;
use crate::target::Target;

/// Where wheels come from and are kept.
pub struct Supply<'a> {
    /// The network.
    pub fetch: &'a Fetch,
    /// What is built for.
    pub target: &'a Target,
    /// The cache, `wheels/` and `built/` in it.
    pub folder: &'a Path,
    /// The SHA-256 sums that files may have, where the user said so.
    pub hashes: &'a HashMap<PackageName, Vec<String>>,
    /// What a wheel may unpack to, in bytes.
    pub max_size: u64,
    /// Distributions that are built of their source, though there are wheels: names, `:all:`, or
    /// `:embedded:`.
    pub no_binary: &'a [String],
    /// The suite, which may have what is inside of wheels.
    pub distro: &'a Distro,
    /// For what is being done.
    pub console: &'a Console,
}

/// Something asked for, by name.
#[derive(Clone)]
pub struct Root {
    /// As a requirement.
    pub requirement: Requirement,
    /// Its wheel, if it was given as a file or a folder.
    pub locked: Option<Locked>,
}

impl Supply<'_> {
    /// Finds out the name of what is asked for; None if its marker does not hold for the target.
    pub fn root(&self, wanted: &Wanted) -> Result<Option<Root>> {
        let (path, extras) = match wanted {
            Wanted::Requirement(r) if !r.evaluate_markers(self.target.markers(), &[]) => {
                self.console.info(&format!("'{r}' does not apply to the target"));
                return Ok(None);
            }
            Wanted::Requirement(requirement) => {
                let requirement = (**requirement).clone();
                return Ok(Some(Root { requirement, locked: None }));
            }
            Wanted::Path(path, extras) => (path, extras),
        };
        let path = path.canonicalize().context(|| format!("cannot open '{}'", display(path)))?;
        let wheel = match path.extension().and_then(|e| e.to_str()) {
            Some("whl") => path,
            _ => self.built(&path, &display(&path))?,
        };
        self.root_of(&wheel, extras).map(Some)
    }

    /// What a lock has for the target: its projects, and its versions as they are.
    pub fn lock(&self, path: &Path) -> Result<Vec<Root>> {
        let part = lock::read(path, self.target)?;
        let mut roots = Vec::new();
        for folder in part.projects {
            roots.extend(self.root(&Wanted::Path(folder, Vec::new()))?);
        }
        for locked in part.locked {
            let extras = part.extras.iter().filter(|(name, _)| *name == locked.name);
            let exactly = VersionSpecifier::equals_version(locked.version.clone());
            roots.push(Root {
                requirement: Requirement {
                    name: locked.name.clone(),
                    extras: extras.map(|(_, extra)| extra.clone()).collect(),
                    version_or_url: Some(VersionOrUrl::VersionSpecifier(exactly.into())),
                    marker: Default::default(),
                    origin: None,
                },
                locked: Some(locked),
            });
        }
        Ok(roots)
    }

    /// What an address of a requirement (`NAME @ URL`) leads to, as a version with one wheel.
    pub fn direct(&self, name: &PackageName, url: &str) -> Result<Locked> {
        let (link, fragment) = url.split_once('#').unwrap_or((url, ""));
        if link.split("://").next().is_some_and(|scheme| scheme.contains('+')) {
            return Err(Error::new(format!("'{}' is a repository", shown(link)))
                .hint("check it out, and name its folder instead"));
        }
        let last = link.split('?').next().and_then(|link| link.rsplit('/').next());
        let sha256 = fragment.split('&').find_map(|part| part.strip_prefix("sha256="));
        let file = File {
            name: crate::fetch::percent_decode(last.unwrap_or_default()),
            url: link.to_owned(),
            sha256: sha256.map(str::to_owned),
        };
        let wheel = match path_of(link) {
            Some(path) if path.is_dir() => self.built(&path, &display(&path))?,
            _ if file.name.ends_with(".whl") => self.file(&file)?,
            _ => self.source_wheel_of(&file)?,
        };
        let root = self.root_of(&wheel, &[])?;
        let found = &root.requirement.name;
        match root.locked {
            Some(locked) if found == name => Ok(locked),
            _ => Err(Error::new(format!("it is '{found}', not '{name}'"))),
        }
    }

    fn root_of(&self, wheel: &Path, extras: &[ExtraName]) -> Result<Root> {
        let opened = Wheel::open(wheel, self.max_size)?;
        let failed = || format!("cannot use the wheel '{}'", display(wheel));
        let name: PackageName = opened.metadata.name.parse().context(failed)?;
        let version = opened.metadata.version.parse().context(failed)?;
        let url = VerbatimUrl::parse_url(url_of(wheel)).context(failed)?;
        let requirement = Requirement {
            name: name.clone(),
            extras: extras.to_vec(),
            version_or_url: Some(VersionOrUrl::Url(url)),
            marker: Default::default(),
            origin: None,
        };
        let file = File {
            name: wheel.file_name().map(display).unwrap_or_default(),
            url: display(wheel),
            sha256: None,
        };
        let locked = Some(Locked { name, version, wheels: vec![file], sdist: None });
        Ok(Root { requirement, locked })
    }

    /// Finds the wheel of a chosen distribution, and reads what it requires. One on a server is not
    /// fetched for that.
    pub fn load(&self, locked: &Locked) -> Result<Loaded> {
        let found = locked.wheel(self.target);
        let inside = match found {
            Some(file) if self.is_asked(|given| given == embedded::OPTION) => {
                embedded::libraries(self.distro, &locked.name, &file.name)
            }
            _ => Vec::new(),
        };
        let from_source = !inside.is_empty() || self.is_from_source(&locked.name);
        let wheel = match found.filter(|_| locked.sdist.is_none() || !from_source) {
            Some(file) => {
                self.check(locked, file)?;
                file.clone()
            }
            None => {
                let built = self.source_wheel(locked, &inside)?;
                let name = built.file_name().map(display).unwrap_or_default();
                File { name, url: url_of(&built), sha256: None }
            }
        };
        let needs = match path_of(&wheel.url) {
            Some(_) => {
                let opened = Wheel::open(&self.file(&wheel)?, self.max_size)?;
                Needs::of(&opened.metadata)
                    .context(|| format!("bad METADATA of '{}'", locked.name))?
            }
            None => needs_of(self, &wheel, None)
                .context(|| format!("cannot read what '{}' needs", sanitize(&wheel.name)))?,
        };
        let full = &self.target.markers().python_full_version().version;
        if let Some(required) = needs.requires_python.filter(|r| !r.contains(full)) {
            return Err(Error::new(format!(
                "'{} {}' requires Python {required}, but the target has {full}",
                locked.name, locked.version
            ))
            .hint(format!(
                "ask for a version that runs on Python {}.0, or give --python",
                self.target.python_version()
            )));
        }
        Ok(Loaded { wheel, requires: needs.requires })
    }

    /// As pip's --no-binary says.
    fn is_from_source(&self, name: &PackageName) -> bool {
        let named = |given: &str| given.parse::<PackageName>().is_ok_and(|given| given == *name);
        self.is_asked(|given| given == ":all:" || named(given))
    }

    fn is_asked(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.no_binary.iter().flat_map(|given| given.split(',')).any(wanted)
    }

    /// Holds a file against the hashes the user gave.
    fn check(&self, locked: &Locked, file: &File) -> Result<()> {
        let Some(allowed) = self.hashes.get(&locked.name) else { return Ok(()) };
        let found = match (&file.sha256, path_of(&file.url)) {
            (Some(known), _) => known.clone(),
            (None, Some(path)) => sha256(&path)?,
            (None, None) => {
                let path = self.file(file)?;
                sha256(&path)?
            }
        };
        if allowed.iter().any(|a| a.eq_ignore_ascii_case(&found)) {
            return Ok(());
        }
        Err(Error::new(format!(
            "'{}' has the SHA-256 {found}, which the requirements do not allow",
            sanitize(&file.name)
        ))
        .hint("make the requirements file anew if the release is to be trusted"))
    }

    /// The file on this machine; fetched unless it is there.
    pub(crate) fn file(&self, file: &File) -> Result<PathBuf> {
        get(file, self.fetch, self.folder, self.console)
    }

    /// The wheel of the source, built against the suite's libraries `inside`, which the published one
    /// has inside.
    fn source_wheel(&self, locked: &Locked, inside: &[&str]) -> Result<PathBuf> {
        let sdist = locked.sdist.as_ref().ok_or_else(|| {
            Error::new(format!(
                "no wheel of '{} {}' runs on Python {} on {}, and its source is not published",
                locked.name,
                locked.version,
                self.target.python_version(),
                self.target.arch
            ))
            .hint("ask for another version, or for another target with --python or --arch")
        })?;
        self.check(locked, sdist)?;
        if inside.is_empty() {
            return self.source_wheel_of(sdist);
        }
        let with = embedded::ready(self.distro, self.target, inside)
            .context(|| format!("cannot build '{}' against the suite's libraries", locked.name))?;
        let path = self.file(sdist)?;
        let key = format!("{} {with}", sdist.sha256.as_deref().unwrap_or(&sdist.url));
        let wheel = self.built(&path, &key)?;
        embedded::check(&wheel, self.target).context(|| format!("cannot use '{}'", locked.name))?;
        Ok(wheel)
    }

    /// The wheel of a source, built unless it is there.
    pub(crate) fn source_wheel_of(&self, sdist: &File) -> Result<PathBuf> {
        let path = self.file(sdist)?;
        self.built(&path, sdist.sha256.as_deref().unwrap_or(&sdist.url))
            .map_err(|error| embedded::explained(self.distro, self.target, &sdist.name, error))
    }

    /// Builds a wheel of a source. That of an archive is built once; a folder's may have changed.
    fn built(&self, source: &Path, key: &str) -> Result<PathBuf> {
        let version = self.target.python_version();
        // Another word for another way of building.
        let out = self.folder.join("built").join(hex(&format!("{key} {version} buildflags times")));
        if source.is_file() {
            let there = std::fs::read_dir(&out).into_iter().flatten().filter_map(Result::ok);
            let mut wheels =
                there.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "whl"));
            let newer = |wheel: &PathBuf| {
                let time = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
                time(wheel) >= time(source)
            };
            if let Some(wheel) = wheels.find(newer) {
                return Ok(wheel);
            }
        }
        let progress = self.console.progress(&format!("building a wheel of {key}"), 0);
        let wheel = source::build(source, &version, &out, self.console);
        drop(progress);
        wheel
    }
}

/// A file on this machine; fetched into the cache `folder` unless it is there.
pub(crate) fn get(file: &File, fetch: &Fetch, folder: &Path, console: &Console) -> Result<PathBuf> {
    if let Some(path) = path_of(&file.url) {
        if let Some(expected) = &file.sha256
            && !sha256(&path)?.eq_ignore_ascii_case(expected)
        {
            return Err(Error::new(format!(
                "'{}' is not the file that was locked",
                display(&path)
            ))
            .hint("make the lock anew, or put the right file there"));
        }
        return Ok(path);
    }
    // A name from an index is one name in one folder.
    if file.name.contains('/') || file.name.starts_with('.') || file.name.is_empty() {
        return Err(Error::new(format!("'{}' is no file name", sanitize(&file.name))));
    }
    let key = match &file.sha256 {
        Some(sha256) if sha256.bytes().all(|b| b.is_ascii_hexdigit()) => sha256.to_lowercase(),
        _ => hex(&file.url),
    };
    let path = folder.join("wheels").join(key).join(&file.name);
    if !path.exists() {
        console.info(&format!("fetching {}", shown(&file.url)));
    }
    fetch.file(&file.url, &path, file.sha256.as_deref())?;
    Ok(path)
}

/// A short name for a long key.
pub(crate) fn hex(key: &str) -> String {
    // 128 of SHA-256's bits: no two of a cache's keys will meet.
    sha256_of(key.as_bytes()).chars().take(32).collect()
}

/// The SHA-256 in hexadecimal.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

pub(crate) fn sha256(path: &Path) -> Result<String> {
    let failed = || format!("cannot read '{}'", display(path));
    let mut file = std::fs::File::open(path).context(failed)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).context(failed)?;
    Ok(format!("{:x}", hash.finalize()))
}
