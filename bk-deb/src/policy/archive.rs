//! The archives of a package, read once for all checks.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use bk::{Error, Result, sanitize};
use md5::{Digest, Md5};

use super::Findings;
use crate::debian::deb::{ControlFile, Deb};
use crate::debian::members::Members;
use crate::elf::{self, Elf, Held};

/// What is kept of a file's start: more than an interpreter line has (see execve(2)).
const HEAD: usize = 512;
/// How many files a package may have: ten times what the largest of Debian 12 has.
const FILES_LIMIT: usize = 1 << 20;

/// A package, read.
pub struct Opened {
    /// The members of the ar archive.
    pub members: Vec<String>,
    /// The control archive.
    pub control: Vec<ControlFile>,
    /// The data archive, in its order.
    pub files: Vec<Item>,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    /// With its target.
    Symlink(String),
    /// With its target.
    Hardlink(String),
    /// A device, a pipe.
    Other,
}

/// One entry of the data archive.
pub struct Item {
    /// Without a slash or `./` in front, or a slash behind.
    pub path: String,
    /// As it stands in the archive.
    pub raw: String,
    pub kind: Kind,
    pub mode: u32,
    /// `root/root`.
    pub owner: String,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    /// Of a file, in hexadecimal.
    pub md5: String,
    /// The first bytes of a file.
    pub head: Vec<u8>,
    /// What an ELF file says of itself, if it can be read.
    pub elf: Option<Elf>,
}

impl Item {
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    pub fn is_elf(&self) -> bool {
        elf::is_elf(&self.head)
    }
}

impl Opened {
    /// Reads all of a package.
    pub fn read(path: &Path) -> Result<Self> {
        let mut deb = Deb::open(path)?;
        let members = members(path)?;
        let control = deb.control_files()?;
        let mut files = Vec::new();
        deb.data(|entry| {
            if files.len() == FILES_LIMIT {
                return Err(Error::new(format!("it has more than {FILES_LIMIT} files")));
            }
            files.push(item(entry)?);
            Ok(())
        })?;
        Ok(Opened { members, control, files })
    }

    /// A file of the control archive.
    pub fn control(&self, name: &str) -> Option<&[u8]> {
        self.control.iter().find(|file| file.name == name).map(|file| file.bytes.as_slice())
    }

    /// A control file as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.control(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

fn members(path: &Path) -> Result<Vec<String>> {
    let mut archive = ar::Archive::new(Members::new(BufReader::new(File::open(path)?)));
    let mut members = Vec::new();
    while let Some(entry) = archive.next_entry() {
        members.push(String::from_utf8_lossy(entry?.header().identifier()).into_owned());
        // dpkg reads three, and skips those whose names start with `_`.
        if members.len() == 16 {
            break;
        }
    }
    Ok(members)
}

fn item<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Item> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let raw = lossy(&entry.path_bytes());
    let target = entry.link_name_bytes().map(|name| lossy(&name)).unwrap_or_default();
    let header = entry.header();
    let name = |bytes: Option<&[u8]>| lossy(bytes.unwrap_or_default());
    let kind = match header.entry_type() {
        kind if kind.is_dir() => Kind::Dir,
        kind if kind.is_symlink() => Kind::Symlink(target),
        kind if kind.is_hard_link() => Kind::Hardlink(target),
        kind if kind.is_file() || kind.is_contiguous() => Kind::File,
        _ => Kind::Other,
    };
    let mut item = Item {
        path: raw.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/').to_owned(),
        kind,
        mode: header.mode()? & 0o7777,
        owner: format!("{}/{}", name(header.username_bytes()), name(header.groupname_bytes())),
        uid: header.uid()?,
        gid: header.gid()?,
        size: entry.size(),
        md5: String::new(),
        head: Vec::new(),
        elf: None,
        raw,
    };
    if !item.is_file() {
        return Ok(item);
    }
    entry.take(HEAD as u64).read_to_end(&mut item.head)?;
    let head = item.head.clone();
    let mut sum = Summed { inner: head.as_slice().chain(entry), md5: Md5::new() };
    if item.is_elf() {
        let held = Held::read(&mut sum, item.size, tempfile::tempfile)?;
        item.elf = Elf::read(&held).ok();
    } else {
        io::copy(&mut sum, &mut io::sink())?;
    }
    item.md5 = format!("{:x}", sum.md5.finalize());
    Ok(item)
}

struct Summed<R> {
    inner: R,
    md5: Md5,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.md5.update(&buffer[..n]);
        Ok(n)
    }
}

/// deb(5): three members in this order.
pub fn check(opened: &Opened, findings: &mut Findings) {
    let members: Vec<&str> = opened.members.iter().map(|name| name.trim_end_matches('/')).collect();
    let good = |name: &str, stem: &str| {
        let rest = name.strip_prefix(stem);
        rest.is_some_and(|rest| ["", ".gz", ".xz", ".zst", ".bz2", ".lzma"].contains(&rest))
    };
    match members.as_slice() {
        ["debian-binary", control, data, more @ ..]
            if good(control, "control.tar") && good(data, "data.tar") =>
        {
            for name in more {
                findings.error("misplaced-extra-member-in-deb", sanitize(name));
            }
            if data.ends_with(".zst") && !control.ends_with(".zst") {
                findings.info("data-tarball-compression-format", "zst");
            }
        }
        _ => findings.error("malformed-deb-archive", sanitize(&members.join(", "))),
    }
    let mut seen = HashSet::new();
    for file in &opened.control {
        if !seen.insert(&file.name) {
            findings.error("duplicate-control-file", sanitize(&file.name));
        }
        if file.uid != 0 || file.gid != 0 {
            findings.error("control-file-has-bad-owner", sanitize(&file.name));
        }
        let script = ["preinst", "postinst", "prerm", "postrm", "config"];
        let wanted = if script.contains(&file.name.as_str()) { 0o755 } else { 0o644 };
        if file.mode != wanted {
            let (name, mode) = (sanitize(&file.name), file.mode);
            findings.error(
                "control-file-has-bad-permissions",
                format!("{mode:04o} != {wanted:04o} [{name}]"),
            );
        }
    }
}
