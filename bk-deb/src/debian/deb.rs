//! Binary packages (deb(5)): an ar archive of `debian-binary`, `control.tar*` and `data.tar*`.
//!
//! Reading rests on debpkg for the container and its compressions. Its `Control` is not used: it
//! keeps one file of the control archive and takes UTF-8 only, and nothing in it is bounded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use bk::{Context, Error, Result, display};
use md5::{Digest, Md5};

use super::compression::{Compression, Encoder};
use super::control::Paragraph;
use super::members::Members;
use crate::missing;

/// What a control archive may unpack to. The largest in Debian 12 (texlive's) has 9 MB.
const CONTROL_LIMIT: u64 = 64 << 20;

/// The control archive of a package.
#[derive(Clone, Debug)]
pub struct Control {
    /// The file `control`.
    pub paragraph: Paragraph,
    /// The other files, by name: md5sums, maintainer scripts, conffiles, triggers, …
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A file of the control archive as it stands there.
#[derive(Clone, Debug)]
pub struct ControlFile {
    /// Its name, without `./`.
    pub name: String,
    /// Its permissions.
    pub mode: u32,
    /// Its owner's number.
    pub uid: u64,
    /// Its group's number.
    pub gid: u64,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// A package being read: first [`Deb::control`], then [`Deb::data`], each once.
pub struct Deb<R: Read> {
    package: debpkg::DebPkg<Members<R>>,
}

impl Deb<io::BufReader<File>> {
    /// Opens a file. The error names it.
    pub fn open(path: &Path) -> Result<Self> {
        const MADE: &str = "bk-deb build makes one of a requirement, a wheel or an sdist, \
                            bk-deb convert of an .rpm or a .tgz";
        let failed = || format!("cannot open '{}'", display(path));
        let file = missing::open(path, &format!("name a .deb; {MADE}")).context(failed)?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(Error::new("a folder, not a Debian package")
                .context(failed())
                .hint(format!("name the packages in it: {}/*.deb", display(path))));
        }
        Self::read(io::BufReader::with_capacity(1 << 16, file))
            .context(failed)
            .hint(|| format!("name a .deb, or fetch it again if it is one; {MADE}"))
    }
}

impl<R: Read> Deb<R> {
    /// Reads the start of a package.
    pub fn read(reader: R) -> Result<Self> {
        let package = debpkg::DebPkg::parse(Members::new(reader))
            .map_err(|e| Error::from(e).context("not a Debian package"))?;
        match package.format_version() {
            (2, _) => Ok(Deb { package }),
            (major, minor) => Err(Error::new(format!("its format is {major}.{minor}, not 2.0"))
                .context("not a Debian package")),
        }
    }

    /// Reads the control archive.
    pub fn control(&mut self) -> Result<Control> {
        self.read_control().context(|| "cannot read its control archive".into())
    }

    fn read_control(&mut self) -> Result<Control> {
        let mut paragraph = None;
        let mut files = BTreeMap::new();
        for ControlFile { name, bytes, .. } in self.read_control_files()? {
            if name == "control" {
                paragraph = Some(Paragraph::parse(&bytes).context(|| "bad control file".into())?);
            } else {
                files.insert(name, bytes);
            }
        }
        let paragraph = paragraph.ok_or_else(|| Error::new("no control file in it"))?;
        Ok(Control { paragraph, files })
    }

    /// Reads the control archive in place of [`Deb::control`], and takes nothing of it for granted.
    pub fn control_files(&mut self) -> Result<Vec<ControlFile>> {
        self.read_control_files().context(|| "cannot read its control archive".into())
    }

    fn read_control_files(&mut self) -> Result<Vec<ControlFile>> {
        let mut archive = self.package.control()?;
        let (mut files, mut left) = (Vec::new(), CONTROL_LIMIT);
        for entry in archive.entries()? {
            let mut entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = name.trim_start_matches("./").to_owned();
            if name.contains('/') {
                return Err(Error::new(format!("'{}' is no name in it", bk::sanitize(&name))));
            }
            let mut bytes = Vec::new();
            entry.by_ref().take(left + 1).read_to_end(&mut bytes)?;
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                Error::new(format!("it unpacks to more than {CONTROL_LIMIT} bytes"))
            })?;
            let header = entry.header();
            let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
            files.push(ControlFile { name, mode, uid, gid, bytes });
        }
        Ok(files)
    }

    /// Calls `visit` for each entry of the data archive, in its order.
    pub fn data(
        &mut self,
        mut visit: impl FnMut(&mut tar::Entry<'_, Box<dyn Read + '_>>) -> Result<()>,
    ) -> Result<()> {
        let mut read = || -> Result<()> {
            let mut archive = self.package.data()?;
            archive.entries()?.try_for_each(|entry| visit(&mut entry?))?;
            // The end of the stream holds its checksum.
            io::copy(&mut archive.into_inner(), &mut io::sink())?;
            Ok(())
        };
        read().context(|| "cannot read its data archive".into())
    }
}

/// What a file is, apart from its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Dir,
    /// A symbolic link to a target, which is as it is.
    Symlink(String),
    /// Another name of the file with this path, which comes before it.
    Hardlink(String),
}

/// What is said of a file beside what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its permissions.
    pub mode: u32,
    /// Its owner's name.
    pub user: String,
    /// Its group's name.
    pub group: String,
    /// When it was changed, in seconds since 1970.
    pub mtime: u64,
}

impl Attributes {
    /// Of a file that is root's.
    pub fn root(mode: u32, mtime: u64) -> Self {
        Attributes { mode, user: "root".into(), group: "root".into(), mtime }
    }
}

/// A package being written. Its files are streamed into a compressed data archive as they come;
/// the control archive, which stands before it and holds their sums, is made at the end.
///
/// Owners are root, times are `mtime`, folders above a path are added: the bytes depend on nothing
/// but what is put in, and its order.
pub struct Builder<W: Read + Write + Seek> {
    data: Encoder<W>,
    compression: Compression,
    mtime: u64,
    md5sums: String,
    /// KiB, as dpkg-gencontrol(1) counts: each file rounded up, 1 for anything else.
    installed_size: u64,
    dirs: std::collections::BTreeSet<String>,
    buffer: Vec<u8>,
}

impl<W: Read + Write + Seek> Builder<W> {
    /// `scratch` is empty, and holds the data archive until [`Builder::finish`] copies it. `mtime`
    /// is in seconds since 1970.
    pub fn new(scratch: W, compression: Compression, mtime: u64) -> Result<Self> {
        let mut builder = Builder {
            data: compression.encode(scratch)?,
            compression,
            mtime,
            md5sums: String::new(),
            installed_size: 0,
            dirs: Default::default(),
            // 64 KiB: what one read of a decompressor or a pipe gives.
            buffer: vec![0; 1 << 16],
        };
        builder.append("", &Attributes::root(0o755, mtime), &Kind::Dir)?;
        Ok(builder)
    }

    /// Adds a folder, and those above it. `path` is relative to the root, without `./`.
    pub fn dir(&mut self, path: &str, mode: u32) -> Result<()> {
        let attributes = Attributes::root(mode, self.mtime);
        self.add(path, &attributes, &Kind::Dir, &mut io::empty())
    }

    /// Adds a file of `size` bytes from `content`.
    pub fn file(
        &mut self,
        path: &str,
        mode: u32,
        size: u64,
        content: &mut impl Read,
    ) -> Result<()> {
        let attributes = Attributes::root(mode, self.mtime);
        self.add(path, &attributes, &Kind::File(size), content)
    }

    /// Adds a symbolic link to `target`.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        let attributes = Attributes::root(0o777, self.mtime);
        self.add(path, &attributes, &Kind::Symlink(target.to_owned()), &mut io::empty())
    }

    /// Adds anything, and the folders above it; a folder that is there already stays as it is.
    /// `content` is read for a file only.
    pub fn add(
        &mut self,
        path: &str,
        attributes: &Attributes,
        kind: &Kind,
        content: &mut impl Read,
    ) -> Result<()> {
        self.parents(path)?;
        if *kind == Kind::Dir && !self.dirs.insert(path.to_owned()) {
            return Ok(());
        }
        self.append(path, attributes, kind)?;
        match kind {
            Kind::File(size) => self.content(path, *size, content),
            _ => Ok(()),
        }
    }

    fn content(&mut self, path: &str, size: u64, content: &mut impl Read) -> Result<()> {
        let mut md5 = Md5::new();
        let mut left = size;
        while left > 0 {
            let most = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = match content.read(&mut self.buffer[..most]) {
                Ok(0) => {
                    return Err(Error::new(format!(
                        "'{}' is {left} bytes short",
                        bk::sanitize(path)
                    )));
                }
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(
                        Error::from(e).context(format!("cannot read '{}'", bk::sanitize(path)))
                    );
                }
            };
            md5.update(&self.buffer[..n]);
            self.data.write_all(&self.buffer[..n]).context(write_failed)?;
            left -= n as u64;
        }
        self.pad(size)?;
        self.md5sums += &format!("{:x}  {path}\n", md5.finalize());
        Ok(())
    }

    /// The size of what was added, in KiB, for `Installed-Size` (Policy 5.6.20).
    pub fn installed_size(&self) -> u64 {
        self.installed_size
    }

    /// Writes the whole package to `out`: `control` gets its `md5sums` (files in `conffiles`
    /// left out, as dh_md5sums(1) does).
    pub fn finish(mut self, mut control: Control, out: &mut impl Write) -> Result<()> {
        let conffiles = control.files.get("conffiles").map(|c| String::from_utf8_lossy(c));
        let conffiles: Vec<&str> = conffiles.iter().flat_map(|c| c.lines()).collect();
        let sums: String = self
            .md5sums
            .split_inclusive('\n')
            .filter(|line| {
                let path = line.trim_end().get(34..).unwrap_or_default();
                !conffiles.iter().any(|c| c.trim_start_matches('/') == path)
            })
            .collect();
        if !sums.is_empty() {
            control.files.insert("md5sums".into(), sums.into_bytes());
        }
        let control = control_archive(&control, self.compression, self.mtime)?;
        // Two empty blocks end a tar archive.
        self.data.write_all(&[0; 1024]).context(write_failed)?;
        let mut data = self.data.finish().context(write_failed)?;
        let size = data.stream_position().context(write_failed)?;
        data.seek(SeekFrom::Start(0)).context(write_failed)?;
        let suffix = self.compression.suffix();
        let mut archive = ar::Builder::new(out);
        let mut member = |name: String, size: u64, content: &mut dyn Read| {
            let mut header = ar::Header::new(name.into_bytes(), size);
            header.set_mtime(self.mtime);
            header.set_mode(0o100644);
            archive.append(&header, content).context(write_failed)
        };
        member("debian-binary".into(), 4, &mut &b"2.0\n"[..])?;
        member(format!("control.tar{suffix}"), control.len() as u64, &mut &control[..])?;
        member(format!("data.tar{suffix}"), size, &mut data)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        for end in ends {
            let dir = &path[..end];
            if !self.dirs.contains(dir) {
                self.dirs.insert(dir.to_owned());
                self.append(dir, &Attributes::root(0o755, self.mtime), &Kind::Dir)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, path: &str, attributes: &Attributes, kind: &Kind) -> Result<()> {
        if !path.is_empty() {
            self.installed_size += match kind {
                Kind::File(size) => size.div_ceil(1024),
                // Its blocks are counted under its first name.
                Kind::Hardlink(_) => 0,
                _ => 1,
            };
        }
        header(&mut self.data, path, attributes, kind).context(write_failed)
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        pad(&mut self.data, size).context(write_failed)
    }
}

fn write_failed() -> String {
    "cannot write the package".into()
}

fn control_archive(control: &Control, compression: Compression, mtime: u64) -> Result<Vec<u8>> {
    let mut archive = compression.encode(Vec::new())?;
    let text = control.paragraph.to_string().into_bytes();
    header(&mut archive, "", &Attributes::root(0o755, mtime), &Kind::Dir)?;
    let all = std::iter::once(("control", &text))
        .chain(control.files.iter().map(|(name, bytes)| (name.as_str(), bytes)));
    for (name, bytes) in all {
        let script = ["preinst", "postinst", "prerm", "postrm", "config"].contains(&name);
        let mode = if script { 0o755 } else { 0o644 };
        let kind = Kind::File(bytes.len() as u64);
        header(&mut archive, name, &Attributes::root(mode, mtime), &kind)?;
        archive.write_all(bytes)?;
        pad(&mut archive, bytes.len() as u64)?;
    }
    archive.write_all(&[0; 1024])?;
    Ok(archive.finish()?)
}

/// Writes a tar header the way dpkg-deb does: `./` in front, GNU long names. The tar crate's builder
/// drops the `./`. dpkg goes by the names of owners; the numbers of those that are not the same on
/// every system are root's, who then has what belongs to nobody there.
pub(crate) fn header(
    out: &mut impl Write,
    path: &str,
    attributes: &Attributes,
    kind: &Kind,
) -> io::Result<()> {
    let slash = if *kind == Kind::Dir { "/" } else { "" };
    let name = if path.is_empty() { "./".into() } else { format!("./{path}{slash}") };
    let mut header = tar::Header::new_gnu();
    let linked;
    let (entry_type, size, link) = match kind {
        Kind::File(size) => (tar::EntryType::Regular, *size, ""),
        Kind::Dir => (tar::EntryType::Directory, 0, ""),
        Kind::Symlink(target) => (tar::EntryType::Symlink, 0, target.as_str()),
        Kind::Hardlink(target) => {
            linked = format!("./{target}");
            (tar::EntryType::Link, 0, linked.as_str())
        }
    };
    header.set_entry_type(entry_type);
    header.set_mode(attributes.mode);
    header.set_uid(fixed_uid(&attributes.user));
    header.set_gid(fixed_gid(&attributes.group));
    header.set_mtime(attributes.mtime);
    header.set_size(size);
    if let Some(gnu) = header.as_gnu_mut() {
        gnu.set_username(&attributes.user)?;
        gnu.set_groupname(&attributes.group)?;
        long(out, &mut gnu.linkname, link, tar::EntryType::GNULongLink)?;
        long(out, &mut gnu.name, &name, tar::EntryType::GNULongName)?;
    }
    header.set_cksum();
    out.write_all(header.as_bytes())
}

/// The number of a user that every Debian system has (base-passwd's passwd.master), 0 for others.
fn fixed_uid(name: &str) -> u64 {
    match name {
        "daemon" => 1,
        "bin" => 2,
        "sys" => 3,
        "games" => 5,
        "man" => 6,
        "lp" => 7,
        "mail" => 8,
        "news" => 9,
        "uucp" => 10,
        "proxy" => 13,
        "www-data" => 33,
        "backup" => 34,
        "list" => 38,
        "irc" => 39,
        "nobody" => 65534,
        _ => 0,
    }
}

/// The number of a group that every Debian system has (base-passwd's group.master), 0 for others.
fn fixed_gid(name: &str) -> u64 {
    match name {
        "daemon" => 1,
        "bin" => 2,
        "sys" => 3,
        "adm" => 4,
        "tty" => 5,
        "disk" => 6,
        "lp" => 7,
        "mail" => 8,
        "news" => 9,
        "uucp" => 10,
        "man" => 12,
        "proxy" => 13,
        "kmem" => 15,
        "dialout" => 20,
        "fax" => 21,
        "voice" => 22,
        "cdrom" => 24,
        "floppy" => 25,
        "tape" => 26,
        "sudo" => 27,
        "audio" => 29,
        "dip" => 30,
        "www-data" => 33,
        "backup" => 34,
        "operator" => 37,
        "list" => 38,
        "irc" => 39,
        "src" => 40,
        "shadow" => 42,
        "utmp" => 43,
        "video" => 44,
        "sasl" => 45,
        "plugdev" => 46,
        "staff" => 50,
        "games" => 60,
        "users" => 100,
        "nogroup" => 65534,
        _ => 0,
    }
}

/// Puts a name in its field of 100 bytes, or in an entry of its own before it.
fn long(
    out: &mut impl Write,
    field: &mut [u8; 100],
    name: &str,
    kind: tar::EntryType,
) -> io::Result<()> {
    let name = name.as_bytes();
    if name.len() > field.len() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(name.len() as u64 + 1);
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.name[..13].copy_from_slice(b"././@LongLink");
        }
        header.set_cksum();
        out.write_all(header.as_bytes())?;
        out.write_all(name)?;
        out.write_all(&[0])?;
        pad(out, name.len() as u64 + 1)?;
    }
    let n = name.len().min(field.len());
    field[..n].copy_from_slice(&name[..n]);
    Ok(())
}

/// Fills up to the next of tar's blocks of 512 bytes.
fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let padding = (512 - (size % 512) as usize) % 512;
    out.write_all(&[0; 512][..padding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn write(path: &Path, compression: &str) {
        let compression: Compression = compression.parse().unwrap();
        let scratch = io::Cursor::new(Vec::new());
        let mut builder = Builder::new(scratch, compression, 1_700_000_000).unwrap();
        let long = format!("usr/share/{}/{}", "d".repeat(120), "f".repeat(120));
        builder.file(&long, 0o755, 3, &mut &b"abc"[..]).unwrap();
        builder.file("etc/x.conf", 0o644, 5, &mut &b"conf\n"[..]).unwrap();
        builder.symlink("usr/bin/x", "../share/x").unwrap();
        let mut paragraph = Paragraph::new();
        for (name, value) in [
            ("Package", "x"),
            ("Version", "1"),
            ("Architecture", "all"),
            ("Maintainer", "A <a@example.com>"),
            ("Description", "x\n long"),
        ] {
            paragraph.set(name, value);
        }
        let files = BTreeMap::from([
            ("conffiles".to_owned(), b"/etc/x.conf\n".to_vec()),
            ("postinst".to_owned(), b"#!/bin/sh\n".to_vec()),
        ]);
        let mut out = Vec::new();
        builder.finish(Control { paragraph, files }, &mut out).unwrap();
        bk::file::write(path, out).unwrap();
    }

    #[test]
    fn dpkg_deb_reads_what_is_written_in_every_compression() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.deb");
        for compression in ["none", "gzip", "xz", "zstd", "zstd:19", "gzip:1"] {
            write(&path, compression);
            let run = |option: &str| {
                let output = Command::new("dpkg-deb").arg(option).arg(&path).output().unwrap();
                assert!(output.status.success(), "{compression}: {output:?}");
                String::from_utf8(output.stdout).unwrap()
            };
            assert!(run("--info").contains("Package: x"));
            let listing = run("--contents");
            assert!(listing.contains("drwxr-xr-x root/root"), "{listing}");
            assert!(listing.contains(&"f".repeat(120)), "{listing}");
            assert!(listing.contains("./usr/bin/x -> ../share/x"), "{listing}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.deb");
        write(&path, "zstd");
        let mut deb = Deb::open(&path).unwrap();
        let control = deb.control().unwrap();
        assert_eq!(control.paragraph.get("package"), Some("x"));
        let sums = String::from_utf8(control.files["md5sums"].clone()).unwrap();
        // md5 of "abc" (RFC 1321, A.5); the conffile is dpkg's own business.
        assert!(sums.starts_with("900150983cd24fb0d6963f7d28e17f72  usr/share/"), "{sums}");
        assert_eq!(sums.lines().count(), 1);
        let mut names = Vec::new();
        deb.data(|entry| {
            names.push(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(names.len(), 9, "{names:?}");
    }

    #[test]
    fn what_is_no_package_is_an_error() {
        for bytes in [&b""[..], b"hello", b"!<arch>\n", &[0; 4096]] {
            assert!(Deb::read(bytes).is_err());
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.deb");
        write(&path, "xz");
        let whole = std::fs::read(&path).unwrap();
        for end in (0..whole.len()).step_by(37) {
            let read = || -> Result<()> {
                let mut deb = Deb::read(&whole[..end])?;
                deb.control()?;
                deb.data(|entry| io::copy(entry, &mut io::sink()).map(drop).map_err(Error::from))
            };
            assert!(read().is_err(), "{end} of {}", whole.len());
        }
    }
}
