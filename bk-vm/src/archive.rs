//! The archives a machine is made from, and what packages they have.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use bk::{Console, Context, Error, Result, file};
use bk_deb::debian::control::{fields, paragraphs};
use bk_deb::debian::sources::{self, own_suite};
use bk_deb::debian::{compression, version};
use bk_deb::fetch::Fetch;
use bk_deb::release::{self, Trust};

/// Debian 13's main unpacks to 55 MB.
const INDEX_LIMIT: u64 = 1 << 30;

/// What a suite is made of: itself, and what came after its release.
const PARTS: [&str; 3] = ["", "-updates", "-security"];

/// One suite of one archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Where it is, without a slash at the end.
    pub uri: String,
    /// The suite, as `bookworm-security`.
    pub suite: String,
    /// The keyring it must be signed with; this system's, where none is named.
    pub keyring: Option<PathBuf>,
}

/// The suite meant, and its archives: those of this system's apt sources with that suite in the place
/// of their own, or a mirror with the suite alone.
pub fn archives(suite: Option<&str>, mirror: Option<&str>) -> Result<(String, Vec<Archive>)> {
    let own = own_suite();
    let suite = suite.map(str::to_owned).or_else(|| own.clone()).ok_or_else(|| {
        Error::new("this system does not say which suite it is").hint("say it with --suite")
    })?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
    if suite.is_empty() || !suite.chars().all(plain) {
        return Err(
            Error::new(format!("'{}' is no suite", bk::sanitize(&suite))).status(bk::Status::Usage)
        );
    }
    let known = sources::read(Path::new("/etc/apt"));
    if let Some(mirror) = mirror {
        let uri = mirror.trim_end_matches('/').to_owned();
        let of = |source: &&sources::Source| {
            source.suites.iter().any(|s| s == &suite || Some(s) == own.as_ref())
        };
        let keyring = known.iter().find(of).and_then(|source| source.signed_by.clone());
        return Ok((suite.clone(), vec![Archive { uri, suite, keyring }]));
    }
    let archives = of_sources(&known, own.as_deref().unwrap_or(&suite), &suite);
    match archives.iter().any(|archive| archive.suite == suite) {
        true => Ok((suite, archives)),
        false => Err(Error::new(format!("no apt source of this system has '{suite}'"))
            .hint("name an archive with --mirror http://MIRROR/debian")),
    }
}

fn of_sources(known: &[sources::Source], own: &str, suite: &str) -> Vec<Archive> {
    let mut archives: Vec<Archive> = Vec::new();
    for source in known {
        for named in &source.suites {
            // What names the wanted suite itself goes before what names this system's.
            let part = [suite, own].iter().find_map(|base| named.strip_prefix(base));
            let Some(part) = part.filter(|part| PARTS.contains(part)) else { continue };
            let Some(uri) = source.uris.first() else { continue };
            let archive = Archive {
                uri: uri.trim_end_matches('/').to_owned(),
                suite: format!("{suite}{part}"),
                keyring: source.signed_by.clone(),
            };
            if !archives.contains(&archive) {
                archives.push(archive);
            }
        }
    }
    archives
}

/// The text of an archive's index, and whose it is.
pub struct Text {
    archive: Archive,
    text: String,
}

/// What identifies the state of an archive: the hash of its index.
pub struct Listed {
    archive: Archive,
    name: String,
    /// The SHA-256 of the index.
    pub sha256: String,
}

/// What each archive's Release file, which must be signed well, says its index for `arch` is.
pub fn listed(
    archives: &[Archive],
    arch: &str,
    dir: &Path,
    fetch: &Fetch,
    console: &Console,
) -> Result<Vec<Listed>> {
    let one = |archive: &Archive| {
        let base = format!("{}/dists/{}", archive.uri, archive.suite);
        let trust = Trust::required(archive.keyring.as_deref());
        let release = release::fetch(&base, &trust, dir, fetch, console)?;
        let sums = release::sums(&release)?;
        let names = [".xz", ".gz", ""].map(|end| format!("main/binary-{arch}/Packages{end}"));
        let found = names.iter().find_map(|name| Some((name.clone(), sums.get(name)?.clone())));
        let (name, sha256) = found.ok_or_else(|| {
            Error::new(format!("'{base}' has no packages for '{}'", bk::sanitize(arch)))
        })?;
        Ok(Listed { archive: archive.clone(), name, sha256 })
    };
    // An answer from far away takes its time, and each has another to wait for.
    std::thread::scope(|scope| {
        let threads: Vec<_> = archives.iter().map(|a| scope.spawn(move || one(a))).collect();
        threads.into_iter().map(|thread| joined(thread.join())).collect()
    })
}

/// What a thread came to.
pub(crate) fn joined<T>(result: std::thread::Result<Result<T>>) -> Result<T> {
    result.unwrap_or_else(|_| Err(Error::new("a part of the work ended without a word")))
}

/// Fetches the indexes into `dir`, where those of before are kept, and unpacks them.
pub fn texts(listed: &[Listed], dir: &Path, fetch: &Fetch) -> Result<Vec<Text>> {
    file::create_dir(dir)?;
    let one = |listed: &Listed| -> Result<Text> {
        let path = dir.join(&listed.sha256);
        let url = format!("{}/dists/{}/{}", listed.archive.uri, listed.archive.suite, listed.name);
        fetch.file(&url, &path, Some(&listed.sha256))?;
        let failed = || format!("cannot read '{}'", bk_deb::fetch::shown(&url));
        let file = std::fs::File::open(&path).context(failed)?;
        let reader = compression::decode(std::io::BufReader::with_capacity(1 << 16, file));
        let mut text = String::new();
        reader.context(failed)?.take(INDEX_LIMIT).read_to_string(&mut text).context(failed)?;
        Ok(Text { archive: listed.archive.clone(), text })
    };
    let texts: Result<Vec<Text>> = std::thread::scope(|scope| {
        let threads: Vec<_> = listed.iter().map(|l| scope.spawn(move || one(l))).collect();
        threads.into_iter().map(|thread| joined(thread.join())).collect()
    });
    texts
}

/// A package of an archive, as its index tells of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Package<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its architecture, or `all`.
    pub architecture: &'a str,
    /// `required`, `important`, …
    pub priority: &'a str,
    /// Whether every system has it.
    pub essential: bool,
    /// Relations that must hold before it is unpacked.
    pub pre_depends: &'a str,
    /// Relations that must hold before it is configured.
    pub depends: &'a str,
    /// What it can stand for.
    pub provides: &'a str,
    /// What may not be there beside it.
    pub conflicts: &'a str,
    /// What may not be configured beside it.
    pub breaks: &'a str,
    /// Its place in the archive.
    pub filename: &'a str,
    /// Its hash.
    pub sha256: &'a str,
    /// The archive's address.
    pub uri: &'a str,
}

/// All packages of some archives, the newest of each name.
#[derive(Default)]
pub struct Index<'a> {
    packages: HashMap<&'a str, Package<'a>>,
    /// Name → the packages that provide it, in the order of their names.
    providers: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Index<'a> {
    /// Reads what was fetched.
    pub fn new(texts: &'a [Text]) -> Self {
        let mut index = Index::default();
        for text in texts {
            index.read(&text.archive.uri, &text.text);
        }
        index.provide();
        index
    }

    /// Of the text of an index alone.
    #[cfg(test)]
    pub(crate) fn of(text: &'a str) -> Self {
        let mut index = Index::default();
        index.read("http://MIRROR/debian", text);
        index.provide();
        index
    }

    fn read(&mut self, uri: &'a str, text: &'a str) {
        for paragraph in paragraphs(text.as_bytes()) {
            let Some(package) = package(paragraph, uri) else { continue };
            let known = self.packages.get(package.name);
            if known.is_none_or(|known| version::compare(known.version, package.version).is_lt()) {
                self.packages.insert(package.name, package);
            }
        }
    }

    fn provide(&mut self) {
        for package in self.packages.values() {
            for (name, _) in provides(package.provides) {
                self.providers.entry(name).or_default().push(package.name);
            }
        }
        self.providers.values_mut().for_each(|names| names.sort_unstable());
    }

    /// The package of that name.
    pub fn get(&self, name: &str) -> Option<&Package<'a>> {
        self.packages.get(name)
    }

    /// The packages that provide a name.
    pub fn providers(&self, name: &str) -> impl Iterator<Item = &Package<'a>> {
        let names = self.providers.get(name).into_iter().flatten();
        names.filter_map(|name| self.packages.get(name))
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Package<'a>> {
        self.packages.values()
    }
}

/// The names a `Provides` has, and their versions.
pub fn provides(value: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| {
        match item.split_once('(') {
            Some((name, version)) => (
                name.trim(),
                Some(version.trim_start_matches(['=', ' ']).trim_end_matches(')').trim()),
            ),
            None => (item, None),
        }
    })
}

fn package<'a>(paragraph: &'a [u8], uri: &'a str) -> Option<Package<'a>> {
    let mut package = Package { uri, ..Package::default() };
    for (name, value) in fields(paragraph) {
        let value = std::str::from_utf8(value).ok()?;
        match name {
            b"Package" => package.name = value,
            b"Version" => package.version = value,
            b"Architecture" => package.architecture = value,
            b"Priority" => package.priority = value,
            b"Essential" => package.essential = value == "yes",
            b"Pre-Depends" => package.pre_depends = value,
            b"Depends" => package.depends = value,
            b"Provides" => package.provides = value,
            b"Conflicts" => package.conflicts = value,
            b"Breaks" => package.breaks = value,
            b"Filename" => package.filename = value,
            b"SHA256" => package.sha256 = value,
            _ => {}
        }
    }
    (!package.name.is_empty() && !package.version.is_empty()).then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> bk::Error {
        bk::Error::new("nothing there")
    }

    fn source(uri: &str, suites: &[&str]) -> sources::Source {
        sources::Source {
            uris: vec![uri.to_owned()],
            suites: suites.iter().map(|&s| s.to_owned()).collect(),
            signed_by: None,
        }
    }

    #[test]
    fn the_archives_of_another_suite_are_those_of_ours() {
        let known = [
            source(
                "http://MIRROR/debian/",
                &["bookworm", "bookworm-updates", "bookworm-backports"],
            ),
            source("http://MIRROR/debian-security", &["bookworm-security"]),
            source("http://MIRROR/other", &["nodistro"]),
        ];
        let of = |suite: &str| -> Vec<String> {
            let all = of_sources(&known, "bookworm", suite).into_iter();
            all.map(|a| format!("{} {}", a.uri, a.suite)).collect()
        };
        assert_eq!(
            of("trixie"),
            [
                "http://MIRROR/debian trixie",
                "http://MIRROR/debian trixie-updates",
                "http://MIRROR/debian-security trixie-security"
            ]
        );
        assert_eq!(of("bookworm").len(), 3);
    }

    #[test]
    fn the_newest_of_a_name_counts() -> bk::Result<()> {
        let index = Index::of(
            "Package: a\nVersion: 1.10\nProvides: x (= 2), y\n\nPackage: a\nVersion: 1.9\n\nPackage: b\n",
        );
        assert_eq!(index.get("a").ok_or_else(none)?.version, "1.10");
        assert!(index.get("b").is_none());
        assert_eq!(index.providers("x").map(|p| p.name).collect::<Vec<_>>(), ["a"]);
        let provided: Vec<_> = provides("x (= 2), y").collect();
        assert_eq!(provided, [("x", Some("2")), ("y", None)]);
        Ok(())
    }
}
