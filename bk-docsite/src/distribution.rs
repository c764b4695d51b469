//! What can be downloaded: which package and version a file is of, by its name, and what a wheel says.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bk::{Context, Error, Result, display, sanitize};

/// What METADATA may have; the largest known have some 300 kB.
const METADATA_LIMIT: u64 = 16 << 20;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A wheel, for pip.
    Wheel,
    /// Sources, for pip.
    Sdist,
    /// An egg.
    Egg,
    /// A Debian package.
    Deb,
    /// Anything else that somebody may want.
    Other,
}

/// A file's kind, and the package and version that its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is.
    pub kind: Kind,
    /// The package.
    pub package: Option<String>,
    /// The version.
    pub version: Option<String>,
}

/// What a file's name says.
pub fn named(file: &str) -> Named {
    let parts = |end: &str| file.strip_suffix(end);
    let split = |stem: &str, by: char| {
        let mut all = stem.split(by);
        (all.next().map(str::to_owned), all.next().map(str::to_owned))
    };
    if let Some(stem) = parts(".whl") {
        let (package, version) = split(stem, '-');
        return Named { kind: Kind::Wheel, package, version };
    }
    if let Some(stem) = parts(".egg") {
        let (package, version) = split(stem, '-');
        return Named { kind: Kind::Egg, package, version };
    }
    if let Some(stem) = parts(".deb") {
        let (package, version) = split(stem, '_');
        // The revision is the packaging's: Debian Policy 5.6.12.
        let version = version.map(|v| v.rsplit_once('-').map_or(v.clone(), |(v, _)| v.to_owned()));
        return Named { kind: Kind::Deb, package, version };
    }
    for end in [".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz"] {
        if let Some((package, version)) = parts(end).and_then(|stem| stem.rsplit_once('-')) {
            let (package, version) = (Some(package.to_owned()), Some(version.to_owned()));
            return Named { kind: Kind::Sdist, package, version };
        }
    }
    Named { kind: Kind::Other, package: None, version: None }
}

/// The METADATA of a wheel.
pub fn metadata(wheel: &Path) -> Result<Vec<u8>> {
    let failed = || format!("cannot read the wheel '{}'", display(wheel));
    let file = BufReader::new(File::open(wheel).context(failed)?);
    let mut archive = zip::ZipArchive::new(file).context(failed)?;
    let inside = |name: &str| {
        name.strip_suffix("/METADATA")
            .is_some_and(|dir| dir.ends_with(".dist-info") && !dir.contains('/'))
    };
    let mut found = None;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).context(failed)?;
        if std::str::from_utf8(entry.name_raw()).is_ok_and(inside) {
            found = Some(index);
            break;
        }
    }
    let found =
        found.ok_or_else(|| Error::new("it has no METADATA (PEP 427)").context(failed()))?;
    let mut bytes = Vec::new();
    let mut entry = archive.by_index(found).context(failed)?.take(METADATA_LIMIT);
    entry.read_to_end(&mut bytes).context(failed)?;
    Ok(bytes)
}

/// A field of METADATA.
pub fn field(metadata: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(metadata);
    let head = text.split("\n\n").next().unwrap_or_default().to_owned();
    let value = head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })?;
    Some(sanitize(&value)).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_are() {
        for (file, kind, package, version) in [
            ("a_b-1.0-py3-none-any.whl", Kind::Wheel, "a_b", "1.0"),
            ("a-b-1.0.tar.gz", Kind::Sdist, "a-b", "1.0"),
            ("a_b-1.0-py3.11.egg", Kind::Egg, "a_b", "1.0"),
            ("python3-a_1.0-2_all.deb", Kind::Deb, "python3-a", "1.0"),
            ("python3-a_1.0_all.deb", Kind::Deb, "python3-a", "1.0"),
        ] {
            let named = named(file);
            let said = (named.kind, named.package.as_deref(), named.version.as_deref());
            assert_eq!(said, (kind, Some(package), Some(version)), "{file}");
        }
        assert_eq!(named("manual.pdf").kind, Kind::Other);
    }
}
