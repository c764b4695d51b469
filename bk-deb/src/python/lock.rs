//! What was chosen: exact versions and the files they are published as (PEP 751).

pub mod uv;

use std::path::Path;

use bk::{Context, Error, Result, display, sanitize};
use pep440_rs::Version;
use pep508_rs::PackageName;
use serde::{Deserialize, Serialize};

use super::tags;
use crate::missing;
use crate::target::Target;

/// A lock of a thousand packages has some 2 MB.
const LOCK_LIMIT: u64 = 256 << 20;

/// A file that a version is published as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name, `flask-3.1.3-py3-none-any.whl`.
    pub name: String,
    /// Where it is: `https:`, `file:` or a path.
    pub url: String,
    /// Its SHA-256 in hexadecimal, where it is known.
    pub sha256: Option<String>,
}

/// A version that was chosen.
#[derive(Clone, Debug)]
pub struct Locked {
    /// The distribution.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// Its wheels, for this and other platforms.
    pub wheels: Vec<File>,
    /// Its source.
    pub sdist: Option<File>,
}

impl Locked {
    /// The wheel that fits `target` best.
    pub fn wheel(&self, target: &Target) -> Option<&File> {
        let rank = |file: &File| {
            let name = tags::parse_file_name(&file.name).ok()?;
            let rank = name.tags.iter().filter_map(|tag| target.rank(tag)).min()?;
            // Of two builds the later one (PEP 427): its number, then the rest of its tag.
            let build = name.build.unwrap_or_default();
            let digits = build.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = build[..digits].parse().unwrap_or(0);
            Some((rank, std::cmp::Reverse((number, build[digits..].to_owned()))))
        };
        let ranked = self.wheels.iter().filter_map(|file| Some((rank(file)?, file)));
        ranked.min_by(|a, b| a.0.cmp(&b.0)).map(|(_, file)| file)
    }
}

/// Whether a file is a lock by its name: `uv.lock`, `pylock.toml`, `pylock.NAME.toml` (PEP 751).
pub fn is_lock(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "uv.lock" || name.starts_with("pylock.") && name.ends_with(".toml")
}

/// Reads a lock, whichever it is.
pub fn read(path: &Path, target: &Target) -> Result<uv::Part> {
    let read = || {
        let made = "uv lock, or pip lock, makes one";
        if let Some(hint) = missing::hint(path, made) {
            return Err(Error::new("no such file").hint(hint));
        }
        let text = bk::file::read(path, LOCK_LIMIT)?;
        let text = String::from_utf8_lossy(&text);
        let folder = path.parent().unwrap_or(Path::new(""));
        match path.file_name().is_some_and(|name| name == "uv.lock") {
            true => uv::parse(&text, folder, target),
            false => Ok(uv::Part { locked: pylock(&text, folder, target)?, ..uv::Part::default() }),
        }
    };
    read().context(|| format!("cannot use the lock '{}'", display(path)))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Lock {
    lock_version: String,
    #[serde(default)]
    packages: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    #[serde(default)]
    wheels: Vec<Artifact>,
    sdist: Option<Artifact>,
    archive: Option<Artifact>,
    directory: Option<toml::Value>,
    vcs: Option<toml::Value>,
}

#[derive(Deserialize)]
struct Artifact {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
}

impl Artifact {
    /// Paths in a lock are relative to its folder.
    fn file(&self, folder: &Path) -> Result<File> {
        let url = match (&self.url, &self.path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => display(folder.join(path)),
            (None, None) => return Err(Error::new("a file in it has neither url nor path")),
        };
        let last = url.split(['?', '#']).next().and_then(|url| url.rsplit('/').next());
        let name =
            self.name.clone().unwrap_or_else(|| crate::fetch::percent_decode(last.unwrap_or(&url)));
        Ok(File { name, url, sha256: self.hashes.get("sha256").cloned() })
    }
}

/// Reads a pylock.toml (PEP 751) that lies in `folder`; packages whose marker does not hold for
/// `target` are left out.
pub fn pylock(text: &str, folder: &Path, target: &Target) -> Result<Vec<Locked>> {
    let lock: Lock = toml::from_str(text).context(|| "not a pylock.toml".into())?;
    if lock.lock_version.split('.').next() != Some("1") {
        return Err(Error::new(format!("its format is '{}', not 1", sanitize(&lock.lock_version))));
    }
    let mut all = Vec::new();
    for entry in &lock.packages {
        let read = || -> Result<Option<Locked>> {
            if let Some(marker) = &entry.marker {
                let marker: pep508_rs::MarkerTree = marker.parse()?;
                if !marker.evaluate(target.markers(), &[]) {
                    return Ok(None);
                }
            }
            if entry.directory.is_some() || entry.vcs.is_some() {
                return Err(Error::new("it is a folder or a repository, not a release")
                    .hint("check it out and name its folder beside the others"));
            }
            let version = entry.version.as_ref().ok_or_else(|| Error::new("it has no version"))?;
            let mut locked = Locked {
                name: entry.name.parse()?,
                version: version.parse()?,
                wheels: Vec::new(),
                sdist: entry.sdist.as_ref().map(|sdist| sdist.file(folder)).transpose()?,
            };
            for artifact in entry.wheels.iter().chain(&entry.archive) {
                let file = artifact.file(folder)?;
                match file.name.ends_with(".whl") {
                    true => locked.wheels.push(file),
                    false => locked.sdist = Some(file),
                }
            }
            Ok(Some(locked))
        };
        let locked = read().context(|| format!("cannot use '{}'", sanitize(&entry.name)))?;
        all.extend(locked);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distro::Distro;

    #[test]
    fn a_lock_is_read_and_the_best_wheel_chosen() {
        let distro = Distro::from_lines("x", &["python3\t3.11.2-1\t", "libc6\t2.36-9\t"]);
        let target = Target::new(&distro, "amd64", None).unwrap();
        let lock = r#"
lock-version = "1.0"
[[packages]]
name = "A.b"
version = "1.0"
sdist = { path = "a_b-1.0.tar.gz" }
wheels = [
  { url = "https://x/a_b-1.0-py3-none-any.whl", hashes = { sha256 = "00" } },
  { url = "https://x/a_b-1.0-cp311-cp311-manylinux_2_28_x86_64.whl" },
  { url = "https://x/a_b-1.0-2-cp311-cp311-manylinux_2_28_x86_64.whl" },
  { url = "https://x/a_b-1.0-cp311-cp311-win_amd64.whl" },
]
[[packages]]
name = "other"
version = "1"
marker = "sys_platform == 'win32'"
"#;
        let all = pylock(lock, Path::new("/w"), &target).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].name.as_ref(), "a-b");
        assert_eq!(all[0].sdist.as_ref().unwrap().url, "/w/a_b-1.0.tar.gz");
        assert!(all[0].wheel(&target).unwrap().name.starts_with("a_b-1.0-2-"));
        assert!(pylock("lock-version = '2'", Path::new("/"), &target).is_err());
        assert!(pylock("x", Path::new("/"), &target).is_err());
    }
}
