//! Archives that others made: their Release file, their indexes, and what those list.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bk::{Context, Error, Result, Status, display};
use bk_deb::debian::compression;
use bk_deb::debian::control::{Paragraph, field, paragraphs};

use crate::archive::chunk;
use crate::archive::commit::{Compression, Compressions, Settings};
use crate::archive::manifest::Key;
use crate::archive::release;
use crate::archive::translation;
use crate::check::pool_files;
use crate::command::check_word;
use crate::list::Place;
use crate::openpgp::{PublicKey, signed_by, strip_cleartext, verified_by};
use crate::transfer::Packages;

/// What an index may unpack to. That of Debian 12's main has 50 MB, its Contents 700 MB.
const INDEX_LIMIT: u64 = 1 << 30;

/// What a Release file may have; Debian's have 200 KiB.
const RELEASE_LIMIT: u64 = 16 << 20;

/// Where an archive is.
pub enum Origin {
    /// On this machine.
    Folder(PathBuf),
    /// Behind a URI, without the slash at its end.
    Web(String, ureq::Agent),
}

impl Origin {
    /// The archive at `http://…`, `https://…`, `file:…` or in a folder.
    pub fn new(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("file://").or(text.strip_prefix("file:")) {
            return Ok(Origin::Folder(path.into()));
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            let config = ureq::Agent::config_builder()
                // A mirror that says nothing for this long has gone away.
                .timeout_connect(Some(Duration::from_secs(30)))
                .timeout_recv_response(Some(Duration::from_secs(60)))
                .http_status_as_error(false)
                .user_agent(concat!("bk-repo/", env!("CARGO_PKG_VERSION")))
                .build();
            return Ok(Origin::Web(text.trim_end_matches('/').to_owned(), config.into()));
        }
        match text.contains("://") {
            true => Err(Error::new(format!("'{}' is no archive's URI", bk::sanitize(text)))
                .hint("say http://HOST/PATH, https://HOST/PATH, file:/PATH or a folder")
                .status(Status::Usage)),
            false => Ok(Origin::Folder(text.into())),
        }
    }

    /// A file's bytes, if it is there.
    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some((mut reader, _)) = self.open(path, 0)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let failed = || format!("cannot read '{path}'");
        reader.by_ref().take(limit + 1).read_to_end(&mut bytes).context(failed)?;
        match bytes.len() as u64 > limit {
            true => Err(Error::new(format!("larger than {limit} bytes")).context(failed())),
            false => Ok(Some(bytes)),
        }
    }

    /// A file from a byte on, if it is there; the second value is the byte it does begin with.
    pub fn open(&self, path: &str, from: u64) -> Result<Option<(Box<dyn Read + Send>, u64)>> {
        match self {
            Origin::Folder(root) => {
                let path = root.join(path);
                let failed = || format!("cannot read '{}'", display(&path));
                match std::fs::File::open(&path) {
                    Ok(file) => Ok(Some((Box::new(file), 0))),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(e) => Err(Error::from(e).context(failed())),
                }
            }
            Origin::Web(base, agent) => {
                let url = format!("{base}/{}", path.replace('+', "%2b").replace('~', "%7e"));
                let failed = || format!("cannot fetch '{url}'");
                let mut request = agent.get(&url);
                if from > 0 {
                    request = request.header("Range", format!("bytes={from}-"));
                }
                let answer = request.call().context(failed).status(Status::Temporary)?;
                match answer.status().as_u16() {
                    200 => Ok(Some((Box::new(answer.into_body().into_reader()), 0))),
                    206 => Ok(Some((Box::new(answer.into_body().into_reader()), from))),
                    404 | 410 => Ok(None),
                    // What was there is no part of what is there now.
                    416 if from > 0 => self.open(path, 0),
                    code => Err(Error::new(format!("the server answers {code}"))
                        .context(failed())
                        .status(Status::Temporary)),
                }
            }
        }
    }
}

/// A suite of such an archive.
pub struct Foreign<'a> {
    origin: &'a Origin,
    suite: String,
    release: Paragraph,
    text: String,
}

impl<'a> Foreign<'a> {
    /// Reads the Release file of a suite. With keys, one of them must have signed it.
    pub fn open(origin: &'a Origin, suite: &str, keys: Option<&[PublicKey]>) -> Result<Self> {
        let read = || -> Result<Self> {
            let file = |name: &str| origin.read(&format!("dists/{suite}/{name}"), RELEASE_LIMIT);
            let bytes = match (file("InRelease")?, keys) {
                (Some(bytes), Some(keys)) => {
                    let (text, good) = signed_by(&String::from_utf8_lossy(&bytes), keys)?;
                    if good.is_empty() {
                        return Err(unsigned());
                    }
                    text.into_bytes()
                }
                (Some(bytes), None) => strip_cleartext(&bytes),
                (None, keys) => {
                    let missing = || Error::new("there is no Release file");
                    let text = file("Release")?.ok_or_else(missing)?;
                    if let Some(keys) = keys {
                        let signature = file("Release.gpg")?.ok_or_else(unsigned)?;
                        if !verified_by(&String::from_utf8_lossy(&signature), &text, keys)? {
                            return Err(unsigned());
                        }
                    }
                    text
                }
            };
            let release = Paragraph::parse(&bytes).context(|| "not a Release file".into())?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Ok(Foreign { origin, suite: suite.to_owned(), release, text })
        };
        read().context(|| format!("cannot use the suite '{}'", bk::sanitize(suite)))
    }

    fn words(&self, name: &str) -> Vec<String> {
        let words = self.release.get(name).unwrap_or_default().split_ascii_whitespace();
        // Components of old archives have a folder before them: `updates/main`.
        words.map(|word| word.rsplit('/').next().unwrap_or(word).to_owned()).collect()
    }

    /// After how many seconds it is to be believed no more, and whether that is over at `now`.
    pub fn expired(&self, now: i64) -> Option<String> {
        let until = self.release.get("Valid-Until")?;
        (parse_time(until)? < now).then(|| until.to_owned())
    }

    /// What the suite is called and has room for, as a suite `name` of ours.
    pub fn settings(&self, name: &str) -> Result<Settings> {
        let get = |field: &str| self.release.get(field).map(str::to_owned);
        let yes = |field: &str| self.release.get(field) == Some("yes");
        let mut architectures = self.words("Architectures");
        let has_all = architectures.iter().any(|a| a == "all");
        architectures.retain(|a| a != "all" && a != "source");
        let components = self.words("Components");
        for word in architectures.iter().chain(&components) {
            check_word(word).context(|| format!("'{}' is no name", bk::sanitize(word)))?;
        }
        let valid_for = || {
            let seconds = parse_time(self.release.get("Valid-Until")?)?
                - parse_time(self.release.get("Date")?)?;
            u64::try_from(seconds).ok().filter(|&seconds| seconds > 0)
        };
        Ok(Settings {
            components,
            architectures,
            suite: get("Suite").filter(|suite| suite != name),
            codename: get("Codename"),
            origin: get("Origin"),
            label: get("Label"),
            description: get("Description"),
            valid_for: valid_for(),
            not_automatic: yes("NotAutomatic"),
            but_automatic_upgrades: yes("ButAutomaticUpgrades"),
            binary_all: has_all && self.release.get("No-Support-for-Architecture-all").is_none(),
            ..Settings::default()
        })
    }

    /// How its indexes are compressed, as far as we can.
    pub fn compressions(&self) -> Compressions {
        let listed = |compression: &Compression| {
            let name = format!("/Packages{}", compression.suffix());
            release::files(&self.text).any(|(path, ..)| path.ends_with(&name))
        };
        Compressions(Compression::ALL.into_iter().filter(listed).collect())
    }

    /// An index, checked against the Release file; `None` where it lists none.
    fn index(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let listed: BTreeMap<&str, (&str, u64)> =
            release::files(&self.text).map(|(path, hash, size)| (path, (hash, size))).collect();
        let mut missing = None;
        // From what is least to fetch to what is always there.
        for suffix in [".xz", ".zst", ".gz", ".bz2", ""] {
            let name = format!("{path}{suffix}");
            let Some((hash, size)) = listed.get(name.as_str()).filter(|_| suffix != ".bz2") else {
                continue;
            };
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            let by_hash = format!("dists/{}/{dir}/by-hash/SHA256/{hash}", self.suite);
            let by_name = format!("dists/{}/{name}", self.suite);
            let limit = size.saturating_add(1);
            let mut found = None;
            if self.release.get("Acquire-By-Hash") == Some("yes") {
                found = self.origin.read(&by_hash, limit).ok().flatten();
            }
            let found = match found {
                Some(bytes) => Some(bytes),
                None => self.origin.read(&by_name, limit)?,
            };
            let Some(bytes) = found else {
                missing = Some(name);
                continue;
            };
            if bytes.len() as u64 != *size || chunk::id(&bytes) != *hash {
                return Err(Error::new(format!("'{name}' is not what the Release file announces"))
                    .hint("the archive may just be changing: try again")
                    .status(Status::Temporary));
            }
            if suffix.is_empty() {
                return Ok(Some(bytes));
            }
            let mut text = Vec::new();
            let failed = || format!("cannot unpack '{name}'");
            let reader = compression::decode(&bytes[..]).context(failed)?;
            reader.take(INDEX_LIMIT).read_to_end(&mut text).context(failed)?;
            return Ok(Some(text));
        }
        match missing {
            Some(name) => Err(Error::new(format!("'{name}' is announced and not there"))
                .status(Status::Temporary)),
            None => Ok(None),
        }
    }

    /// The packages of some components and architectures, as those of a suite `name` of ours, with
    /// their long descriptions.
    pub fn packages(
        &self,
        name: &str,
        settings: &Settings,
        sources: bool,
        udebs: bool,
    ) -> Result<Packages> {
        let mut all = Packages::new();
        for component in &settings.components {
            let mut paths = Vec::new();
            for folder in [component.clone(), format!("{component}/debian-installer")] {
                if folder != *component && !udebs {
                    continue;
                }
                let everything = ["all".to_owned()];
                for architecture in settings.architectures.iter().chain(&everything) {
                    paths.push(format!("{folder}/binary-{architecture}/Packages"));
                }
            }
            if sources {
                paths.push(format!("{component}/source/Sources"));
            }
            let translation = self.index(&translation::path(component)).ok().flatten();
            let descriptions = translation::descriptions(&translation.unwrap_or_default());
            for path in paths {
                let Some(text) = self.index(&path)? else { continue };
                for stanza in paragraphs(&text) {
                    let failed = || format!("'{path}' has a stanza that is none");
                    let key = Key::of(stanza).context(failed)?;
                    let stanza = translation::join(stanza, &descriptions);
                    check_paths(&stanza).context(failed)?;
                    let place = Place {
                        suite: name.to_owned(),
                        component: component.clone(),
                        key,
                        index: path.clone(),
                    };
                    all.insert(place, stanza.into());
                }
            }
        }
        // What is for all architectures is listed by each of them.
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|place, _| {
            let udeb = place.index.contains("/debian-installer/");
            seen.insert((place.component.clone(), udeb, place.key.clone()))
        });
        Ok(all)
    }
}

fn unsigned() -> Error {
    Error::new("no key of the keyring signed it").hint("give the archive's own with --keyring")
}

/// A time of a Release file, in seconds since 1970.
fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim().replace("UTC", "+0000").replace("GMT", "+0000");
    jiff::fmt::rfc2822::parse(&text).ok().map(|time| time.timestamp().as_second())
}

/// Checks that a stanza puts no file where none may be.
fn check_paths(stanza: &[u8]) -> Result<()> {
    let files = pool_files(stanza)?;
    if files.is_empty() {
        let name = field(stanza, "Package").map(String::from_utf8_lossy).unwrap_or_default();
        return Err(Error::new(format!("'{}' has no file with a SHA-256", bk::sanitize(&name))));
    }
    for (file, (_, sha256)) in files {
        let plain = |name: &str| {
            !name.is_empty()
                && !name.starts_with('.')
                && name.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        };
        let first = file.split('/').next().unwrap_or_default();
        let good = file.split('/').all(plain) && !["dists", "key.asc"].contains(&first);
        let hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !good || !hash {
            return Err(Error::new(format!("'{}' is no place for a package", bk::sanitize(&file)))
                .hint("archives of one flat folder cannot be taken"));
        }
    }
    Ok(())
}

/// The suites there are in `dists/` of a folder: those with a Release file; links are other names.
pub fn suites(root: &Path) -> Result<Vec<String>> {
    let dists = root.join("dists");
    let failed = || format!("cannot read the folder '{}'", display(&dists));
    let mut names = Vec::new();
    for entry in dists.read_dir().context(failed)? {
        let entry = entry.context(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let has = |file: &str| entry.path().join(file).is_file();
        if dir && check_word(&name).is_ok() && (has("InRelease") || has("Release")) {
            names.push(name);
        }
    }
    names.sort();
    match names.is_empty() {
        true => Err(Error::new("there is no suite in it").context(failed())),
        false => Ok(names),
    }
}
