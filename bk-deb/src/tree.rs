//! The files of a package, whatever they come from and go to: a folder, a .deb, an .rpm, a tar
//! archive.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bk::{Context, Error, Result, display, sanitize};

pub use crate::debian::deb::{Attributes, Kind};

/// The longest path: what Linux takes (PATH_MAX, limits.h), its end included.
const PATH_LIMIT: usize = 4096;

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes, without a slash in front.
    pub path: String,
    /// Permissions, owner and time.
    pub attributes: Attributes,
    /// What it is.
    pub kind: Kind,
    /// Whether it is a configuration file, which its owner may change (Policy 10.7).
    pub config: bool,
}

/// Where the bytes of an [`Entry`] are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In a file.
    Disk(PathBuf),
    /// Here; none for what is no file.
    Bytes(Vec<u8>),
    /// In a part of a file that has many: from where, and how many.
    Part(Arc<File>, u64, u64),
}

impl Content {
    /// Opens it.
    pub fn open(&self) -> Result<Box<dyn Read + '_>> {
        Ok(match self {
            Content::Bytes(bytes) => Box::new(bytes.as_slice()),
            Content::Disk(path) => {
                Box::new(File::open(path).context(|| format!("cannot read '{}'", display(path)))?)
            }
            Content::Part(file, at, left) => Box::new(Part { file, at: *at, left: *left }),
        })
    }
}

struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

/// A path in a package, as it stands in an archive, made one that stays below the root: no `..`, no
/// control characters (dpkg's lists have a path a line), UTF-8 (Policy 10.10).
pub fn safe(raw: &[u8]) -> Result<String> {
    let bad = |why: &str| {
        let shown = sanitize(&String::from_utf8_lossy(raw));
        Err(Error::new(format!("'{shown}' is no path in a package: {why}")))
    };
    if raw.len() >= PATH_LIMIT {
        return bad("it is too long");
    }
    let Ok(text) = std::str::from_utf8(raw) else { return bad("it is not UTF-8") };
    if text.contains(char::is_control) {
        return bad("it has a control character in it");
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return bad("it leaves the package"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// All below a folder, sorted by path; `skip` are names at the top that do not belong to it. Owners
/// are root. Names of one file are hard links, as in tar archives.
pub fn walk(dir: &Path, skip: &[&str]) -> Result<Vec<(Entry, Content)>> {
    let mut found = Vec::new();
    below(dir, "", skip, &mut found)?;
    found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    let mut names: HashMap<(u64, u64), String> = HashMap::new();
    let mut entries = Vec::new();
    for (mut entry, inode) in found {
        let disk = dir.join(&entry.path);
        if let Some(inode) = inode.filter(|_| matches!(entry.kind, Kind::File(_))) {
            match names.get(&inode) {
                Some(first) => entry.kind = Kind::Hardlink(first.clone()),
                None => drop(names.insert(inode, entry.path.clone())),
            }
        }
        let content = match entry.kind {
            Kind::File(_) => Content::Disk(disk),
            _ => Content::Bytes(Vec::new()),
        };
        entries.push((entry, content));
    }
    Ok(entries)
}

/// An entry, and the file it is where it has several names.
type Found = (Entry, Option<(u64, u64)>);

fn below(dir: &Path, prefix: &str, skip: &[&str], found: &mut Vec<Found>) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let failed = || format!("cannot read '{}'", display(dir));
    for item in fs::read_dir(dir).context(failed)? {
        let item = item.context(failed)?;
        let name = item.file_name();
        if prefix.is_empty() && skip.iter().any(|s| *s == name) {
            continue;
        }
        let path = safe(&[prefix.as_bytes(), name.as_bytes()].concat())?;
        let about = fs::symlink_metadata(item.path()).context(failed)?;
        found.push((entry(&item.path(), path.clone(), &about)?, several(&about)));
        if about.is_dir() {
            below(&item.path(), &format!("{path}/"), &[], found)?;
        }
    }
    Ok(())
}

fn several(about: &fs::Metadata) -> Option<(u64, u64)> {
    (about.nlink() > 1).then(|| (about.dev(), about.ino()))
}

/// What a file of this system would be as `path` in a package.
pub fn entry(disk: &Path, path: String, about: &fs::Metadata) -> Result<Entry> {
    let kind = match about.file_type() {
        kind if kind.is_dir() => Kind::Dir,
        kind if kind.is_file() => Kind::File(about.len()),
        kind if kind.is_symlink() => {
            let target =
                fs::read_link(disk).context(|| format!("cannot read '{}'", display(disk)))?;
            let target = target.to_str().filter(|t| !t.contains(char::is_control));
            let target = target.ok_or_else(|| {
                Error::new(format!("the target of the link '{}' is not UTF-8", display(disk)))
            })?;
            Kind::Symlink(target.to_owned())
        }
        _ => {
            return Err(Error::new(format!("'{}' is no file, folder or link", display(disk)))
                .hint("make devices, pipes and sockets in a maintainer script"));
        }
    };
    let mode =
        if matches!(kind, Kind::Symlink(_)) { 0o777 } else { about.permissions().mode() & 0o7777 };
    let mtime = u64::try_from(about.mtime()).unwrap_or(0);
    Ok(Entry { path, attributes: Attributes::root(mode, mtime), kind, config: false })
}

/// A folder that a package's files are unpacked into. Nothing is written through a link: links are
/// made when everything else is there.
pub struct Unpacker<'a> {
    dir: &'a Path,
    links: Vec<(PathBuf, String)>,
    times: Vec<(PathBuf, u32, u64)>,
}

impl<'a> Unpacker<'a> {
    /// `dir` is there and empty.
    pub fn new(dir: &'a Path) -> Self {
        Unpacker { dir, links: Vec::new(), times: Vec::new() }
    }

    /// Unpacks one entry. Its owner is whoever runs this.
    pub fn add(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        let path = self.dir.join(&entry.path);
        let failed = || format!("cannot unpack '/{}'", sanitize(&entry.path));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).context(failed)?;
        }
        match &entry.kind {
            Kind::Dir => {
                fs::create_dir_all(&path).context(failed)?;
                self.times.push((path, entry.attributes.mode, entry.attributes.mtime));
                return Ok(());
            }
            Kind::Symlink(target) => {
                self.links.push((path, target.clone()));
                return Ok(());
            }
            Kind::Hardlink(target) => {
                fs::hard_link(self.dir.join(target), &path).context(failed)?;
                return Ok(());
            }
            Kind::File(size) => {
                let mut file = File::create_new(&path).context(failed)?;
                let copied = io::copy(&mut content.take(*size), &mut file).context(failed)?;
                if copied < *size {
                    return Err(Error::new("it ends too early").context(failed()));
                }
                settle(&file, entry.attributes.mode, entry.attributes.mtime).context(failed)?;
            }
        }
        Ok(())
    }

    /// Makes the links, and gives folders their permissions and times.
    pub fn finish(self) -> Result<()> {
        for (path, target) in &self.links {
            std::os::unix::fs::symlink(target, path)
                .context(|| format!("cannot make the link '{}'", display(path)))?;
        }
        // The deepest first: a folder without permission to write may hold others.
        for (path, mode, mtime) in self.times.iter().rev() {
            let failed = || format!("cannot unpack '{}'", display(path));
            let dir = File::open(path).context(failed)?;
            settle(&dir, *mode, *mtime).context(failed)?;
        }
        Ok(())
    }
}

fn settle(file: &File, mode: u32, mtime: u64) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(mtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for (raw, path) in [("./usr/bin/x", "usr/bin/x"), ("/etc//x/", "etc/x"), ("./", "")] {
            assert_eq!(safe(raw.as_bytes()).unwrap(), path);
        }
        for raw in [&b"../x"[..], b"usr/../../x", b"a\nb", b"a\0b", b"\xff", &[b'x'; 5000]] {
            assert!(safe(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn nothing_is_unpacked_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        let mut unpacker = Unpacker::new(&inside);
        let entry = |path: &str, kind| Entry {
            path: path.into(),
            attributes: Attributes::root(0o644, 0),
            kind,
            config: false,
        };
        unpacker.add(&entry("a", Kind::Symlink("../out".into())), &mut io::empty()).unwrap();
        unpacker.add(&entry("a/x", Kind::File(1)), &mut &b"x"[..]).unwrap();
        // The folder is there now, so the link has no place.
        assert!(unpacker.finish().is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
