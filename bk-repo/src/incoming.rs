//! What is to be published: packages read from files, checked, hashed and, for a folder, copied beside the
//! pool.

pub mod binary;
pub mod changes;
pub mod source;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, Status, display};
use bk_deb::debian::control::Paragraph;
use bk_deb::debian::version::Version;
use sha2::{Digest, Sha256};

use crate::archive::commit::Settings;
use crate::archive::manifest::{Key, Stanza};
use crate::store::Staged;

/// What the text of a control file, .dsc or .changes may have. The largest stanza of Debian 12's
/// index has 60 KiB.
const CONTROL_LIMIT: u64 = 4 << 20;

/// How many copies wait in one folder. ext4 seeks the inodes of a folder's files beside one another, and
/// for thousands of them takes a third longer than for as many folders of a hundred.
const TOGETHER: usize = 100;

/// A package ready to be published.
#[derive(Clone, Debug)]
pub struct Package {
    /// What tells it apart.
    pub key: Key,
    /// The component it goes to.
    pub component: String,
    /// The indexes it goes to, by their path below `dists/SUITE`.
    pub indexes: Vec<String>,
    /// Its stanza.
    pub stanza: Stanza,
    /// Its files in the pool; the first is the one that stands for it.
    pub files: Vec<PoolFile>,
}

/// A file of a package.
#[derive(Clone, Debug)]
pub struct PoolFile {
    /// Its name in the repository.
    pub key: String,
    /// Its hash, in hex.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where a copy waits for its place, or the file itself where none is made.
    pub path: PathBuf,
}

impl PoolFile {
    /// The file, to be placed.
    pub fn to_place(&self) -> Staged {
        let PoolFile { key, path, sha256, .. } = self.clone();
        Staged { key, path, sha256: Some(sha256) }
    }
}

/// Where and how packages are read.
pub struct Reader<'a> {
    /// The suite's components and architectures.
    pub settings: &'a Settings,
    /// The component to use, where it was said.
    pub component: Option<&'a str>,
    /// The folder for copies; none where there shall be none.
    pub scratch: Option<&'a Path>,
}

impl Reader<'_> {
    /// Reads a .deb, .udeb, .ddeb or .dsc. `number` tells copies of different inputs apart.
    pub fn read(&self, path: &Path, number: usize) -> Result<Package> {
        let read = || match extension(path) {
            "deb" | "ddeb" | "udeb" => self.binary(path, number),
            "dsc" => self.source(path, number),
            "buildinfo" => self.build_info(path, number),
            other => {
                let what = match other {
                    "" => "what has no suffix".to_owned(),
                    other => format!("'.{other}'"),
                };
                Err(Error::new(format!("{what} is no file that can be published"))
                    .hint("give it .deb, .udeb, .ddeb, .dsc or .changes files"))
            }
        };
        read().context(|| format!("cannot add '{}'", display(path)))
    }

    /// Notes on a build (deb-buildinfo(5)): they are in no index, and lie beside the packages.
    fn build_info(&self, path: &Path, number: usize) -> Result<Package> {
        let text = crate::openpgp::strip_cleartext(&bk::file::read(path, CONTROL_LIMIT)?);
        let notes = Paragraph::parse(&text).context(|| "not a .buildinfo file".into())?;
        // `Source: name (version)` for a build of an older source.
        let source = notes.require("Source")?.split_ascii_whitespace().next().unwrap_or_default();
        let source = check_name(source)?.to_owned();
        let version = check_version(&notes)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = check_file(name)?;
        let component = self.component(None)?;
        let (mut file, _) = self.copy(path, name, number)?;
        file.key = format!("{}/{name}", pool(&component, &source));
        let stanza = format!(
            "Package: {source}\nVersion: {version}\nArchitecture: buildinfo\nFilename: {}\n\
             Size: {}\nSHA256: {}\n",
            file.key, file.size, file.sha256
        );
        let architecture = "buildinfo".to_owned();
        Ok(Package {
            key: Key { name: source, version: version.to_string(), architecture },
            component,
            indexes: Vec::new(),
            stanza: stanza.into_bytes().into(),
            files: vec![file],
        })
    }

    /// The component of a package: as said, else as its section says (`contrib/net`), else the first.
    fn component(&self, section: Option<&str>) -> Result<String> {
        let known = &self.settings.components;
        if let Some(wanted) = self.component {
            return match known.iter().any(|c| c == wanted) {
                true => Ok(wanted.to_owned()),
                false => Err(Error::new(format!("the suite has no component '{wanted}'"))
                    .hint(format!("it has {}; 'bk-repo init' adds others", known.join(", ")))
                    .status(Status::Usage)),
            };
        }
        let area = section.and_then(|s| s.split_once('/')).map(|(area, _)| area);
        let found = area.and_then(|area| known.iter().find(|c| *c == area));
        found.or(known.first()).cloned().ok_or_else(|| Error::new("the suite has no components"))
    }

    /// Hashes a file, and copies it meanwhile, so that what is published is what was hashed. A store that
    /// takes the file itself compares.
    fn copy(&self, from: &Path, name: &str, number: usize) -> Result<(PoolFile, [u8; 16])> {
        self.copy_opened(Opened::new(from)?, name, number)
    }

    fn copy_opened(
        &self,
        opened: Opened<'_>,
        name: &str,
        number: usize,
    ) -> Result<(PoolFile, [u8; 16])> {
        let Opened { path, mut file, head: mut buffer } = opened;
        let failed = || format!("cannot read '{}'", display(path));
        let folder = |dir: &Path| dir.join((number / TOGETHER).to_string());
        let staged = self.scratch.map(|dir| folder(dir).join(format!("{number}-{name}")));
        let create = |to: &PathBuf| {
            let create = || match (File::create(to), to.parent()) {
                (Err(e), Some(dir)) if e.kind() == io::ErrorKind::NotFound => {
                    std::fs::create_dir_all(dir)?;
                    File::create(to)
                }
                (created, _) => created,
            };
            create().context(|| format!("cannot copy '{}'", display(path)))
        };
        let mut copy = staged.as_ref().map(create).transpose()?;
        let (mut sha256, mut md5) = (Sha256::new(), md5::Md5::new());
        // Only .dsc files need MD5, and they are small.
        let with_md5 = extension(path) == "dsc";
        let (mut n, mut size) = (buffer.len(), 0);
        // The control archive may have been read beyond it.
        file.seek(SeekFrom::Start(n as u64)).context(failed)?;
        while n > 0 {
            sha256.update(&buffer[..n]);
            if with_md5 {
                md5.update(&buffer[..n]);
            }
            if let Some(copy) = &mut copy {
                copy.write_all(&buffer[..n])
                    .context(|| format!("cannot copy '{}' into the repository", display(path)))?;
            }
            size += n as u64;
            n = loop {
                match file.read(&mut buffer) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    read => break read.context(failed)?,
                }
            };
        }
        let sha256 = format!("{:x}", sha256.finalize());
        let path = staged.unwrap_or_else(|| path.to_owned());
        Ok((PoolFile { key: String::new(), sha256, size, path }, md5.finalize().into()))
    }
}

/// A file that is read once: what looks into it and what copies it see the same bytes.
struct Opened<'a> {
    path: &'a Path,
    file: File,
    /// What it begins with; most files are no longer.
    head: Vec<u8>,
}

impl<'a> Opened<'a> {
    fn new(path: &'a Path) -> Result<Self> {
        let open = || {
            let mut file = File::open(path)?;
            // Buffers beyond the file's size, thousands of them, would leave the heap in pieces.
            let room = file.metadata()?.len().clamp(1 << 12, 1 << 17);
            let mut head = Vec::with_capacity(room as usize);
            Read::by_ref(&mut file).take(room).read_to_end(&mut head)?;
            Ok(Opened { path, file, head })
        };
        open()
            .map_err(|e: io::Error| match e.kind() {
                io::ErrorKind::IsADirectory => Error::new("a folder, not a file"),
                _ => e.into(),
            })
            .context(|| format!("cannot read '{}'", display(path)))
    }

    /// All of it, from its beginning, once.
    fn reader(&mut self) -> impl Read {
        (&self.head[..]).chain(&mut self.file)
    }
}

/// What a file's name ends with, without the dot.
pub fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default()
}

/// The folder of a source package in the pool, as Debian's: `pool/main/libx/libxy`.
fn pool(component: &str, source: &str) -> String {
    let letters = if source.starts_with("lib") { 4 } else { 1 };
    let prefix: String = source.chars().take(letters).collect();
    format!("pool/{component}/{prefix}/{source}")
}

/// Checks the name of a package; it becomes part of a path. Policy 5.6.1 wants lower case, which
/// dpkg does not insist on.
fn check_name(name: &str) -> Result<&str> {
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b));
    match good {
        true => Ok(name),
        false => Err(Error::new(format!("'{}' is no name of a package", bk::sanitize(name)))),
    }
}

fn check_architecture(name: &str) -> Result<&str> {
    let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match good {
        true => Ok(name),
        false => Err(Error::new(format!("'{}' is no architecture", bk::sanitize(name)))),
    }
}

fn check_version(paragraph: &Paragraph) -> Result<Version> {
    Version::parse(paragraph.require("Version")?)
}

/// Checks the name of a file beside a .dsc or .changes: one name, no way out of the folder.
pub fn check_file(name: &str) -> Result<&str> {
    let good = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-_~:".contains(&b));
    match good {
        true => Ok(name),
        false => Err(Error::new(format!("'{}' is no name for a file", bk::sanitize(name)))),
    }
}

/// A file that a .dsc or .changes lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash, in hex.
    pub sha256: String,
}

/// Reads the field `Checksums-Sha256`.
fn listed(paragraph: &Paragraph) -> Result<Vec<Listed>> {
    let field = paragraph.require("Checksums-Sha256")?;
    let lines = field.lines().filter(|line| !line.trim().is_empty());
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let bad = || Error::new(format!("'{}' lists no file", bk::sanitize(line.trim())));
        let sha256 = words.next().filter(|w| w.len() == 64).ok_or_else(bad)?.to_lowercase();
        let size = words.next().and_then(|w| w.parse().ok()).ok_or_else(bad)?;
        let name = check_file(words.next().ok_or_else(bad)?)?.to_owned();
        Ok(Listed { name, size, sha256 })
    };
    lines.map(parse).collect::<Result<_>>().context(|| "bad field 'Checksums-Sha256'".into())
}

/// Compares a file with what was said about it.
fn check_listed(file: &PoolFile, listed: &Listed) -> Result<()> {
    if file.size == listed.size && file.sha256 == listed.sha256 {
        return Ok(());
    }
    Err(Error::new(format!(
        "'{}' has {} bytes with the SHA-256 {}, but {} bytes with {} are announced",
        listed.name, file.size, file.sha256, listed.size, listed.sha256
    ))
    .hint("build or fetch the files again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_leave_their_folder() {
        for bad in ["", "../x", "a/b", ".x", "a b", "a\nb", "..", "/etc"] {
            assert!(check_file(bad).is_err() && check_name(bad).is_err(), "{bad}");
        }
        for bad in ["", "../x", "a/b", "a b"] {
            assert!(check_architecture(bad).is_err(), "{bad}");
        }
        check_file("x_1%3a".replace('%', ":").as_str()).unwrap();
        assert_eq!(pool("main", "libfoo"), "pool/main/libf/libfoo");
        assert_eq!(pool("main", "x"), "pool/main/x/x");
    }
}
