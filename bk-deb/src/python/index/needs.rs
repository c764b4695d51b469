//! What a distribution needs: the few fields of its METADATA that a resolver reads.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bk::{Context, Error, Result, display, sanitize};
use pep440_rs::VersionSpecifiers;
use pep508_rs::{ExtraName, Requirement};

use crate::debian::compression;
use crate::fetch::{Fetch, Part};
use crate::python::metadata::{Fields, Metadata};
use crate::python::requirement::requirement;

/// The largest METADATA known has under 1 MB.
const METADATA_LIMIT: u64 = 64 << 20;
/// How much of a wheel's end is asked for at first: `.dist-info` comes last, and 400 members'
/// entries in the central directory have so many bytes.
const TAIL: u64 = 64 << 10;
/// How much is asked for when more is needed. What follows it is asked for in twice as much, so that
/// the directory of 24,000 members (tensorflow 2.21.0: 3 MB) is there after six times.
const PIECE: u64 = 64 << 10;
/// How many pieces are worth it: beyond, the wheel is fetched whole.
const PIECES: usize = 8;

/// What a distribution needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs {
    /// Its requirements, markers and all.
    pub requires: Vec<Requirement>,
    /// The Pythons it runs on.
    pub requires_python: Option<VersionSpecifiers>,
    /// The extras it knows.
    pub extras: Vec<ExtraName>,
}

impl Needs {
    /// Takes them out of METADATA.
    pub fn of(metadata: &Metadata) -> Result<Self> {
        let requires: Result<_> = metadata.requires_dist.iter().map(|r| requirement(r)).collect();
        Ok(Needs {
            requires: requires?,
            // Written before PEP 440 was strict: pip lets it pass, too.
            requires_python: metadata.requires_python.as_ref().and_then(|p| p.parse().ok()),
            extras: metadata.extras.iter().filter_map(|extra| extra.parse().ok()).collect(),
        })
    }

    /// Reads the bytes of METADATA or PKG-INFO.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Needs::of(&Metadata::parse(bytes)?)
    }

    /// A line each, to be read by [`Needs::load`].
    pub fn store(&self) -> String {
        let python = self.requires_python.iter().map(|p| format!("python {p}\n"));
        let extras = self.extras.iter().map(|extra| format!("extra {extra}\n"));
        let requires = self.requires.iter().map(|r| format!("requires {r}\n"));
        python.chain(extras).chain(requires).collect()
    }

    /// Reads what [`Needs::store`] wrote.
    pub fn load(text: &str) -> Result<Self> {
        let mut needs = Needs::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("python", rest)) => needs.requires_python = Some(rest.parse()?),
                Some(("extra", rest)) => needs.extras.push(rest.parse()?),
                Some(("requires", rest)) => needs.requires.push(requirement(rest)?),
                _ => return Err(Error::new("an unknown line")),
            }
        }
        Ok(needs)
    }
}

/// Reads a wheel's METADATA over ranges of it. None if the server does not do ranges, or the wheel
/// is laid out so that fetching it whole is better.
pub fn remote(fetch: &Fetch, url: &str) -> Result<Option<Needs>> {
    let Some(part) = fetch.range(url, &format!("-{TAIL}"), TAIL)? else { return Ok(None) };
    if part.start + part.body.len() as u64 != part.total {
        return Ok(None);
    }
    let mut remote = Remote { fetch, url, at: 0, left: PIECES, failed: None, parts: vec![part] };
    match wheel(&mut remote) {
        Ok(needs) => Ok(Some(needs)),
        Err(_) if remote.left == 0 => Ok(None),
        Err(error) => Err(remote.failed.unwrap_or(error)),
    }
}

/// Reads a wheel's METADATA.
pub fn wheel(reader: impl Read + Seek) -> Result<Needs> {
    let mut archive = zip::ZipArchive::new(reader).context(|| "not a zip archive".into())?;
    let metadata = |name: &str| {
        let parts = name.strip_suffix("/METADATA").and_then(|n| n.strip_suffix(".dist-info"));
        parts.is_some_and(|folder| !folder.contains('/'))
    };
    let found = member(&mut archive, metadata)?.ok_or_else(|| Error::new("it has no METADATA"))?;
    let mut bytes = Vec::new();
    archive.by_index(found)?.take(METADATA_LIMIT).read_to_end(&mut bytes)?;
    Needs::parse(&bytes)
}

/// Reads what a source says, if it says it for certain: PKG-INFO of version 2.2 on, where the
/// requirements are not among what a build may change (PEP 643).
pub fn source(path: &Path) -> Result<Option<Needs>> {
    let failed = || format!("cannot read '{}'", display(path));
    let file = std::fs::File::open(path).context(failed)?;
    let Some(bytes) = pkg_info(path, file).context(failed)? else { return Ok(None) };
    let fields = Fields::parse(&bytes);
    let number = |part: Option<&str>| part.and_then(|part| part.parse().ok()).unwrap_or(0);
    let mut version = fields.get("Metadata-Version").unwrap_or_default().split('.');
    let version: (u32, u32) = (number(version.next()), number(version.next()));
    let moving = ["requires-dist", "requires-python", "provides-extra"];
    let dynamic = fields.all("Dynamic").any(|f| moving.contains(&f.to_lowercase().as_str()));
    if version < (2, 2) || dynamic {
        return Ok(None);
    }
    Needs::parse(&bytes).map(Some)
}

/// The PKG-INFO of the top folder.
fn pkg_info(path: &Path, file: std::fs::File) -> Result<Option<Vec<u8>>> {
    let top = |name: &str| {
        name.trim_start_matches("./").split_once('/').is_some_and(|(_, rest)| rest == "PKG-INFO")
    };
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|e| e == "zip") {
        let mut archive = zip::ZipArchive::new(io::BufReader::new(file))?;
        let Some(found) = member(&mut archive, top)? else { return Ok(None) };
        archive.by_index(found)?.take(METADATA_LIMIT).read_to_end(&mut bytes)?;
        return Ok(Some(bytes));
    }
    let mut archive = tar::Archive::new(compression::decode(io::BufReader::new(file))?);
    for entry in archive.entries()? {
        let entry = entry?;
        if std::str::from_utf8(&entry.path_bytes()).is_ok_and(top) {
            entry.take(METADATA_LIMIT).read_to_end(&mut bytes)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The first member with such a name.
fn member<R: Read + Seek>(
    archive: &mut zip::ZipArchive<R>,
    named: impl Fn(&str) -> bool,
) -> Result<Option<usize>> {
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index)?;
        if std::str::from_utf8(entry.name_raw()).is_ok_and(&named) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// A file on a server, read in pieces.
struct Remote<'a> {
    fetch: &'a Fetch,
    url: &'a str,
    at: u64,
    /// How many more pieces may be asked for.
    left: usize,
    failed: Option<Error>,
    /// What is there; the first piece is the end of the file.
    parts: Vec<Part>,
}

impl Remote<'_> {
    fn size(&self) -> u64 {
        self.parts.first().map_or(0, |part| part.total)
    }

    /// Asks for what is at `at`, and before it if it is the central directory that is being read:
    /// up to the nearest piece that is there.
    fn fill(&mut self) -> io::Result<()> {
        if self.left == 0 {
            return Err(io::Error::other("too many pieces"));
        }
        self.left -= 1;
        let at = self.at;
        let before = self.parts.iter().find(|p| p.start + p.body.len() as u64 == at);
        let piece = before.map_or(PIECE, |p| p.body.len() as u64 * 2);
        let next = self.parts.iter().map(|p| p.start).filter(|start| *start > at).min();
        let next = next.unwrap_or(self.size());
        // All of a central directory up to what is there, as far as that is small.
        let end = if next - at <= PIECE * 4 { next } else { next.min(at + piece) };
        match self.fetch.range(self.url, &format!("{at}-{}", end - 1), end - at) {
            Ok(Some(part)) if part.start == at && !part.body.is_empty() => {
                self.parts.push(part);
                Ok(())
            }
            Ok(_) => {
                self.left = 0;
                Err(io::Error::other("no such range"))
            }
            Err(error) => {
                let told = io::Error::other(sanitize(&error.to_string()));
                self.failed = Some(error);
                Err(told)
            }
        }
    }
}

impl Read for Remote<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size() || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let at = self.at;
            let has = |p: &&Part| p.start <= at && at < p.start + p.body.len() as u64;
            if let Some(part) = self.parts.iter().find(has) {
                let mut there = &part.body[(at - part.start) as usize..];
                let n = there.read(buffer)?;
                self.at += n as u64;
                return Ok(n);
            }
            self.fill()?;
        }
    }
}

impl Seek for Remote<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_kept() {
        let needs = Needs::parse(
            b"Name: a\nVersion: 1\nRequires-Python: >=3.8\nProvides-Extra: x\n\
              Requires-Dist: b[c]>=1; extra == 'x'\nRequires-Dist: old (>=1.0.*)\n",
        )
        .unwrap();
        assert_eq!(needs.requires.len(), 2);
        assert_eq!(Needs::load(&needs.store()).unwrap(), needs);
        assert!(Needs::load("nonsense\n").is_err());
        assert!(Needs::parse(b"Name: a\nVersion: 1\nRequires-Dist: ==\n").is_err());
    }

    #[test]
    fn a_source_is_believed_only_if_it_says_for_certain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-1.tar.gz");
        let says = |info: &str| {
            let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let mut tar = tar::Builder::new(gz);
            for (name, text) in [("a-1/sub/PKG-INFO", "x"), ("a-1/PKG-INFO", info)] {
                let mut header = tar::Header::new_ustar();
                header.set_size(text.len() as u64);
                tar.append_data(&mut header, name, text.as_bytes()).unwrap();
            }
            bk::file::write(&path, tar.into_inner().unwrap().finish().unwrap()).unwrap();
            source(&path).unwrap()
        };
        let info = "Metadata-Version: 2.2\nName: a\nVersion: 1\nRequires-Dist: b\n";
        assert_eq!(says(info).unwrap().requires.len(), 1);
        assert_eq!(says(&info.replace("2.2", "2.1")), None);
        assert_eq!(says(&format!("{info}Dynamic: Requires-Dist\n")), None);
    }
}
