//! A wheel (PEP 427), opened without trusting it: its members are checked before any is read, and
//! read against the hashes of its `RECORD`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use bk::{Context, Error, Result, display, sanitize};

use super::entry_points::{self, EntryPoint};
use super::metadata::{self, Fields, Metadata, normalize};
use super::record::{Hasher, Record};
use super::tags::{self, Binding, Tag};

/// What a file of `.dist-info` may have. The largest METADATA known has under 1 MB; RECORD has some
/// 100 bytes a file.
const TEXT_LIMIT: u64 = 64 << 20;
/// How many members a wheel may have: ten times what the largest known have.
const MEMBERS_LIMIT: usize = 1 << 18;
/// From here on a wheel must not unpack to more than [`RATIO_LIMIT`] times its size.
const RATIO_FROM: u64 = 1 << 30;
/// Text shrinks to a fifth, tables of zeros to a fiftieth; deflate itself ends at a thousandth.
const RATIO_LIMIT: u64 = 200;

/// What a wheel may unpack to unless told otherwise: four times what the largest on PyPI has.
pub const SIZE_LIMIT: u64 = 16 << 30;

/// A file in a wheel.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is in the wheel: relative, without `.` and `..`.
    pub path: String,
    /// In bytes, unpacked.
    pub size: u64,
    /// Whether the wheel gives it the permission to be run.
    pub executable: bool,
    index: usize,
}

/// An opened wheel.
pub struct Wheel {
    archive: zip::ZipArchive<BufReader<File>>,
    /// Its files, by path.
    pub members: Vec<Member>,
    /// `NAME-VERSION.dist-info`.
    pub dist_info: String,
    /// What it says about itself.
    pub metadata: Metadata,
    /// The hashes of its files, where it has them.
    pub record: Option<Record>,
    /// Its commands.
    pub entry_points: Vec<EntryPoint>,
    /// What it runs on.
    pub tags: Vec<Tag>,
    /// Packages it shares with other distributions, as `a.b`, by setuptools' `namespace_packages`.
    pub namespaces: Vec<String>,
    /// The newest time of a member, in seconds since 1970, taking the wheel's times as UTC.
    pub newest: u64,
    /// What is odd about it, though it can be used.
    pub oddities: Vec<String>,
}

impl Wheel {
    /// Opens a wheel that unpacks to at most `limit` bytes. The error names the file.
    pub fn open(path: &Path, limit: u64) -> Result<Self> {
        let read = Self::read(path, limit).map_err(|error| match error.hint_text() {
            Some(_) => error,
            None => error.hint("make the wheel anew from its source, or ask for another version"),
        });
        read.context(|| format!("cannot use the wheel '{}'", display(path)))
    }

    fn read(path: &Path, limit: u64) -> Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let reader = BufReader::with_capacity(1 << 16, file);
        let mut archive = zip::ZipArchive::new(reader).map_err(|e| {
            Error::from(e).context("not a zip archive, or cut short").hint("fetch it again")
        })?;
        if archive.has_duplicate_names() {
            let twice = duplicate(archive.central_directory_start(), archive.into_inner())?;
            return Err(Error::new(format!("'{}' is in it twice", sanitize(&twice)))
                .hint("which one is meant cannot be known; make the wheel anew"));
        }
        let (members, newest) = members(&mut archive)?;
        limits(&members, size, limit)?;
        let mut oddities = clashes(&members)?;
        let file_name = path.file_name().map(display).unwrap_or_default();
        let named = tags::parse_file_name(&file_name);
        let dist_info = dist_info(&members, named.as_ref().ok().map(|n| n.name.as_str()))?;
        let mut wheel = Wheel {
            archive,
            members,
            dist_info,
            metadata: Metadata::default(),
            record: None,
            entry_points: Vec::new(),
            tags: Vec::new(),
            namespaces: Vec::new(),
            newest,
            oddities: Vec::new(),
        };
        // First, so that the other texts are held against it.
        match wheel.text("RECORD")? {
            Some(text) => wheel.record = Some(Record::parse(&text)?),
            None => oddities.push("it has no RECORD, so its files cannot be verified".into()),
        }
        let metadata = wheel.dist_info_file("METADATA")?;
        let metadata = metadata.ok_or_else(|| Error::new("it has no METADATA"))?;
        wheel.metadata = Metadata::parse(&metadata)?;
        if let Ok(named) = &named
            && normalize(&named.name) != normalize(&wheel.metadata.name)
        {
            return Err(Error::new(format!(
                "its file name says '{}', its METADATA '{}'",
                named.name,
                sanitize(&wheel.metadata.name)
            )));
        }
        let text = wheel.text("WHEEL")?.ok_or_else(|| Error::new("it has no WHEEL file"))?;
        let fields = Fields::parse(text.as_bytes());
        let format = fields.get("Wheel-Version").unwrap_or("1.0");
        if format.split('.').next() != Some("1") {
            return Err(Error::new(format!("its format is '{}', not 1", sanitize(format))));
        }
        wheel.tags = match named {
            Ok(named) => named.tags,
            Err(_) => fields.all("Tag").flat_map(tags::expand).collect(),
        };
        if let Some(text) = wheel.text("entry_points.txt")? {
            wheel.entry_points = entry_points::parse(&text)?;
        }
        if let Some(text) = wheel.text("namespace_packages.txt")? {
            wheel.namespaces = text.lines().map(|line| line.trim().to_owned()).collect();
        }
        wheel.oddities = oddities;
        wheel.compare_record();
        Ok(wheel)
    }

    /// How it is bound to Python, and whether to the machine, if it runs on CPython `python` of the
    /// Debian architecture `arch`.
    pub fn binding(&self, python: (u32, u32), arch: &str) -> Option<(Binding, bool)> {
        let fitting = self.tags.iter().filter(|tag| tag.runs_on(arch));
        fitting
            .filter_map(|tag| Some((tag.binding(python)?, tag.platform != "any")))
            .min_by_key(|(binding, machine)| (*machine, *binding))
    }

    /// The bytes of a file of `.dist-info`, if there is one.
    pub fn dist_info_file(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("{}/{name}", self.dist_info);
        match self.find(&path) {
            Some(at) => self.bytes(at, TEXT_LIMIT).map(Some),
            None => Ok(None),
        }
    }

    fn text(&mut self, name: &str) -> Result<Option<String>> {
        let bytes = self.dist_info_file(name)?;
        Ok(bytes.map(|bytes| metadata::decode(&bytes).into_owned()))
    }

    /// Where in [`Wheel::members`] a path is.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.members.binary_search_by(|member| member.path.as_str().cmp(path)).ok()
    }

    /// All bytes of a member, verified; an error if there are more than `limit`.
    pub fn bytes(&mut self, at: usize, limit: u64) -> Result<Vec<u8>> {
        let Member { path, size, .. } = &self.members[at];
        if *size > limit {
            return Err(Error::new(format!("'{}' has more than {limit} bytes", sanitize(path))));
        }
        let mut bytes = Vec::with_capacity(*size as usize);
        let mut content = self.content(at)?;
        content.read_to_end(&mut bytes)?;
        content.finish()?;
        Ok(bytes)
    }

    /// The bytes of a member, as a stream.
    pub fn content(&mut self, at: usize) -> Result<Content<'_>> {
        let member = &self.members[at];
        let entry = self.record.as_ref().and_then(|record| record.get(&member.path));
        let mut expected = None;
        if let Some((name, value)) = entry.and_then(|entry| entry.hash.clone()) {
            // Weaker hashes than PEP 427 takes prove nothing; the archive's own checksum remains.
            expected = Hasher::new(&name).map(|hasher| (hasher, name, value));
        }
        let failed = || format!("cannot read '{}' in it", sanitize(&member.path));
        let file = self.archive.by_index(member.index).context(failed)?;
        Ok(Content { file, path: &member.path, left: member.size, expected })
    }

    fn compare_record(&mut self) {
        let Some(record) = &self.record else { return };
        // RECORD and its signatures do not name themselves (PEP 427).
        let own = |path: &str| {
            let name = path.strip_prefix(&self.dist_info).unwrap_or_default();
            ["/RECORD", "/RECORD.jws", "/RECORD.p7s"].contains(&name)
        };
        let unknown =
            self.members.iter().filter(|m| !own(&m.path) && record.get(&m.path).is_none());
        let unknown: Vec<&str> = unknown.map(|member| member.path.as_str()).collect();
        let missing = record.paths().filter(|path| self.find(path).is_none()).count();
        let mut oddities = Vec::new();
        if let Some(first) = unknown.first() {
            let n = unknown.len();
            oddities.push(format!("its RECORD does not know {n} of its files, '{first}' first"));
        }
        if missing > 0 {
            oddities.push(format!("its RECORD knows {missing} files that it has not"));
        }
        self.oddities.append(&mut oddities);
    }
}

/// A member being read. [`Content::finish`] says whether it is what it should be.
pub struct Content<'a> {
    file: zip::read::ZipFile<'a, BufReader<File>>,
    path: &'a str,
    left: u64,
    expected: Option<(Hasher, String, Vec<u8>)>,
}

impl Content<'_> {
    /// Whether [`Content::finish`] will know the SHA-256.
    pub fn has_sha256(&self) -> bool {
        self.expected.as_ref().is_some_and(|(_, name, _)| name == "sha256")
    }

    /// Reads what is left, and compares length, checksum and hash. Returns the SHA-256 if that is
    /// the hash that `RECORD` has.
    pub fn finish(mut self) -> Result<Option<Vec<u8>>> {
        let failed = format!("cannot use '{}' in it", sanitize(self.path));
        io::copy(&mut self, &mut io::sink()).context(|| failed.clone())?;
        if self.left > 0 {
            return Err(
                Error::new(format!("{} bytes of it are missing", self.left)).context(failed)
            );
        }
        let Some((hasher, name, value)) = self.expected else { return Ok(None) };
        if hasher.finish() != value {
            return Err(Error::new(format!("its {name} is not the one in RECORD"))
                .context(failed)
                .hint("the wheel was changed or damaged; fetch it again"));
        }
        Ok((name == "sha256").then_some(value))
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it has more bytes than its entry says")
        })?;
        if let Some((hasher, ..)) = &mut self.expected {
            hasher.update(&buffer[..n]);
        }
        Ok(n)
    }
}

/// The files, by path, and the newest of their times.
fn members(archive: &mut zip::ZipArchive<BufReader<File>>) -> Result<(Vec<Member>, u64)> {
    if archive.len() > MEMBERS_LIMIT {
        return Err(Error::new(format!("it has more than {MEMBERS_LIMIT} members")));
    }
    let (mut members, mut newest) = (Vec::with_capacity(archive.len()), 0);
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index)?;
        let path = match std::str::from_utf8(entry.name_raw()) {
            // Many writers do not set the flag that says so.
            Ok(path) => path.to_owned(),
            Err(_) => entry.name()?.into_owned(),
        };
        newest = newest.max(entry.last_modified().map_or(0, seconds));
        let (dir, path) = match path.strip_suffix('/') {
            Some(path) => (true, path.to_owned()),
            None => (false, path),
        };
        check_path(&path)?;
        let mode = entry.unix_mode().unwrap_or(0);
        // S_IFMT, S_IFREG and S_IFDIR of stat(2); 0 where the writer knows no kinds.
        if ![0, 0o100000, 0o040000].contains(&(mode & 0o170000)) {
            return Err(Error::new(format!("'{}' is a link or a device", sanitize(&path)))
                .hint("wheels have files only (PEP 427); make the wheel anew from its source"));
        }
        if entry.encrypted() {
            return Err(Error::new(format!("'{}' is encrypted", sanitize(&path))));
        }
        if !dir {
            let executable = mode & 0o111 != 0;
            members.push(Member { path, size: entry.size(), executable, index });
        }
    }
    members.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((members, newest))
}

/// Refuses a path that could name anything but a file below the folder it is unpacked in.
fn check_path(path: &str) -> Result<()> {
    let bad = |why: &str| {
        Err(Error::new(format!("its member '{}' {why}", sanitize(path)))
            .hint("a wheel like this is broken or malicious; do not install it by other means"))
    };
    if path.starts_with('/') {
        return bad("has an absolute path");
    }
    if path.contains(|c: char| c.is_control()) {
        return bad("has a control character in its name");
    }
    if path.contains('\\') {
        return bad("has a backslash in its name");
    }
    for part in path.split('/') {
        match part {
            "" => return bad("has an empty part in its path"),
            "." | ".." => return bad("leaves its folder"),
            // NAME_MAX and PATH_MAX of Linux, less what is put before it.
            _ if part.len() > 255 || path.len() > 3500 => return bad("has a too long name"),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what is made to fill memory or disk.
fn limits(members: &[Member], packed: u64, limit: u64) -> Result<()> {
    let size = members.iter().fold(0u64, |sum, member| sum.saturating_add(member.size));
    if size > limit {
        return Err(Error::new(format!("it unpacks to {size} bytes, more than {limit}"))
            .hint("give more with --max-size if the wheel is known to be good"));
    }
    if size > RATIO_FROM && size / packed.max(1) > RATIO_LIMIT && limit <= SIZE_LIMIT {
        return Err(Error::new(format!(
            "it unpacks to {size} bytes, more than {RATIO_LIMIT} times its own size"
        ))
        .hint("give a --max-size above 16G if the wheel is known to be good"));
    }
    Ok(())
}

/// Refuses paths that cannot exist together; tells of those that only case keeps apart.
fn clashes(members: &[Member]) -> Result<Vec<String>> {
    let mut lower: HashMap<String, &str> = HashMap::with_capacity(members.len());
    let mut oddities = Vec::new();
    for Member { path, .. } in members {
        for (end, _) in path.match_indices('/') {
            if members.binary_search_by(|m| m.path.as_str().cmp(&path[..end])).is_ok() {
                return Err(Error::new(format!(
                    "its member '{}' is a file and a folder",
                    sanitize(&path[..end])
                )));
            }
        }
        if let Some(other) = lower.insert(path.to_lowercase(), path) {
            oddities.push(format!("only case keeps its members '{other}' and '{path}' apart"));
        }
    }
    Ok(oddities)
}

/// The one `.dist-info` folder; of several, the one of the distribution the file name has.
fn dist_info(members: &[Member], name: Option<&str>) -> Result<String> {
    let mut found: BTreeMap<&str, bool> = BTreeMap::new();
    for member in members {
        if let Some((folder, rest)) = member.path.split_once('/')
            && let Some(stem) = folder.strip_suffix(".dist-info")
            && rest == "METADATA"
        {
            let of = stem.split_once('-').map_or(stem, |(of, _)| of);
            found.insert(folder, name.is_some_and(|name| normalize(name) == normalize(of)));
        }
    }
    let named: Vec<&str> = found.iter().filter(|(_, named)| **named).map(|(f, _)| *f).collect();
    match (found.len(), named.as_slice()) {
        (_, [one]) => Ok((*one).to_owned()),
        (1, _) => Ok(found.into_keys().collect()),
        (0, _) => Err(Error::new("it has no .dist-info folder with METADATA")
            .hint("is it a wheel? an sdist or an egg is built into one first")),
        _ => Err(Error::new("it has more than one .dist-info folder")),
    }
}

/// The path that the directory at `start` has twice; the zip crate only says that there is one.
fn duplicate(start: u64, mut reader: impl Read + Seek) -> Result<String> {
    reader.seek(SeekFrom::Start(start))?;
    let mut seen = HashSet::new();
    loop {
        // APPNOTE.TXT 4.3.12: the lengths of name, extra field and comment are at 28, 30 and 32.
        let mut header = [0; 46];
        reader.read_exact(&mut header)?;
        if !header.starts_with(b"PK\x01\x02") {
            return Ok("a member".into());
        }
        let length = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let mut name = vec![0; length(28).into()];
        reader.read_exact(&mut name)?;
        reader.seek_relative(i64::from(length(30)) + i64::from(length(32)))?;
        if !seen.insert(name.clone()) {
            return Ok(metadata::decode(&name).into_owned());
        }
    }
}

pub(super) fn seconds(time: zip::DateTime) -> u64 {
    let number = |n: u8| n as i8;
    let date = jiff::civil::Date::new(time.year() as i16, number(time.month()), number(time.day()));
    let clock = jiff::civil::Time::new(
        number(time.hour()),
        number(time.minute()),
        number(time.second()),
        0,
    );
    let (Ok(date), Ok(clock)) = (date, clock) else { return 0 };
    let zoned = date.to_datetime(clock).to_zoned(jiff::tz::TimeZone::UTC);
    zoned.map_or(0, |zoned| u64::try_from(zoned.timestamp().as_second()).unwrap_or(0))
}
