//! Sdists and wheels, unpacked without trusting them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use bk::{Context, Error, Result, display, sanitize};

/// What an archive may unpack to: more than any source on Python's index has.
const SIZE_LIMIT: u64 = 4 << 30;
/// From here on it must not unpack to more than [`RATIO_LIMIT`] times its size: less than that harms no machine.
const RATIO_FROM: u64 = 256 << 20;
/// Text shrinks to a fifth, tables of zeros to a fiftieth; gzip itself ends at a thousandth.
const RATIO_LIMIT: u64 = 200;
/// How many members it may have: ten times what large ones have.
const MEMBERS_LIMIT: usize = 1 << 18;

/// A file that an archive has or gets.
#[derive(Clone, Debug)]
pub struct Member {
    /// What it has.
    pub data: Vec<u8>,
    /// Whether it may be run.
    pub executable: bool,
}

/// The files of an archive by their paths, which have no `..`, no `.` and no root.
pub type Members = BTreeMap<String, Member>;

/// Whether a path stays below the folder it is put into.
fn inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
        && path.components().next().is_some()
}

/// What is left of the limits.
struct Budget {
    bytes: u64,
    members: usize,
}

impl Budget {
    fn of(archive: &Path) -> Self {
        let size = archive.metadata().map_or(0, |meta| meta.len());
        let bytes = RATIO_FROM.max(size.saturating_mul(RATIO_LIMIT)).min(SIZE_LIMIT);
        Budget { bytes, members: MEMBERS_LIMIT }
    }

    fn member(&mut self) -> Result<()> {
        self.members = self
            .members
            .checked_sub(1)
            .ok_or_else(|| Error::new(format!("it has more than {MEMBERS_LIMIT} members")))?;
        Ok(())
    }

    fn copy(&mut self, from: &mut dyn Read, to: &mut impl Write) -> Result<()> {
        let copied = io::copy(&mut from.take(self.bytes + 1), to)?;
        self.bytes = self.bytes.checked_sub(copied).ok_or_else(|| {
            Error::new("it unpacks to far more than a source or a wheel of its size has")
        })?;
        Ok(())
    }
}

/// Opens what gzip, or nothing, has packed.
fn open_tar(path: &Path) -> Result<tar::Archive<Box<dyn Read>>> {
    let mut file = File::open(path)?;
    let mut magic = [0; 2];
    let gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    file.rewind()?;
    let reader: Box<dyn Read> =
        if gzip { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(tar::Archive::new(reader))
}

/// A member of an archive, as it is being read.
struct Item<'a> {
    path: PathBuf,
    executable: bool,
    /// Where a link leads: a path inside of the archive.
    link: Option<PathBuf>,
    data: &'a mut dyn Read,
}

fn each(path: &Path, mut take: impl FnMut(Item) -> Result<()>) -> Result<()> {
    let name = path.file_name().map(display).unwrap_or_default();
    let outside = |path: &Path| {
        Error::new(format!("'{}' leads out of it", sanitize(&path.to_string_lossy())))
    };
    if name.ends_with(".whl") || name.ends_with(".zip") || name.ends_with(".egg") {
        let mut archive = zip::ZipArchive::new(io::BufReader::new(File::open(path)?))?;
        for index in 0..archive.len() {
            let mut file = archive.by_index(index)?;
            let path = PathBuf::from(&*file.name()?);
            if !inside(&path) {
                return Err(outside(&path));
            }
            if file.is_symlink() {
                return Err(Error::new(format!("'{}' is a link", display(&path))));
            }
            if file.is_dir() {
                continue;
            }
            let executable = file.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
            take(Item { path, executable, link: None, data: &mut file })?;
        }
        return Ok(());
    }
    let mut archive = open_tar(path)?;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path: PathBuf =
            entry.path()?.components().filter(|part| *part != Component::CurDir).collect();
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            if path.components().any(|part| part == Component::ParentDir) {
                return Err(outside(&path));
            }
            continue;
        }
        if !inside(&path) {
            return Err(outside(&path));
        }
        let link = match kind {
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let to = entry.link_name()?.unwrap_or_default().into_owned();
                let from = match kind {
                    tar::EntryType::Link => Path::new(""),
                    _ => path.parent().unwrap_or(Path::new("")),
                };
                Some(resolve(from, &to).ok_or_else(|| outside(&path))?)
            }
            kind if kind.is_file() => None,
            _ => return Err(Error::new(format!("'{}' is a device or the like", display(&path)))),
        };
        let executable = entry.header().mode()? & 0o111 != 0;
        take(Item { path, executable, link, data: &mut entry })?;
    }
    Ok(())
}

/// Where a link leads, unless it leaves the archive.
fn resolve(from: &Path, to: &Path) -> Option<PathBuf> {
    let mut at = from.to_owned();
    for part in to.components() {
        match part {
            Component::Normal(name) => at.push(name),
            Component::CurDir => {}
            Component::ParentDir if at.pop() => {}
            _ => return None,
        }
    }
    inside(&at).then_some(at)
}

/// Unpacks an archive into a folder that is empty. Links become the files they lead to, which come before
/// them: so nothing is ever written through a link.
pub fn unpack(archive: &Path, to: &Path) -> Result<()> {
    let mut budget = Budget::of(archive);
    let mut links = Vec::new();
    let unpack = || -> Result<()> {
        each(archive, |item| {
            budget.member()?;
            if let Some(link) = item.link {
                links.push((item.path, link));
                return Ok(());
            }
            let path = to.join(&item.path);
            create_parent(&path)?;
            let mut file = File::create(&path)?;
            budget.copy(item.data, &mut file)?;
            let mode = if item.executable { 0o755 } else { 0o644 };
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            Ok(())
        })?;
        for (path, link) in links {
            let there = to.join(&link);
            let length = there.metadata().map(|meta| meta.len()).map_err(|_| {
                let (path, link) = (display(&path), display(&link));
                Error::new(format!("'{path}' leads to '{link}', which is no file in it"))
            })?;
            budget.copy(&mut io::repeat(0).take(length), &mut io::sink())?;
            let path = to.join(path);
            create_parent(&path)?;
            fs::copy(there, path)?;
        }
        Ok(())
    };
    unpack().context(|| format!("cannot unpack '{}'", display(archive)))
}

fn create_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), bk::file::create_dir)
}

/// The members of an archive; links are what they lead to, which comes before them.
pub fn read(archive: &Path) -> Result<Members> {
    let mut members = Members::new();
    let mut budget = Budget::of(archive);
    let mut read = || {
        each(archive, |item| {
            budget.member()?;
            let shown = display(&item.path);
            let path = item.path.into_os_string().into_string();
            let path = path.map_err(|_| Error::new(format!("'{shown}' is no UTF-8")))?;
            let mut data = Vec::new();
            let executable = match item.link {
                None => {
                    budget.copy(item.data, &mut data)?;
                    item.executable
                }
                Some(link) => {
                    let link = link.to_string_lossy().into_owned();
                    let to: &Member = members.get(&link).ok_or_else(|| {
                        Error::new(format!("'{shown}' leads to '{link}', which is no file in it"))
                    })?;
                    budget.copy(&mut to.data.as_slice(), &mut data)?;
                    to.executable
                }
            };
            members.insert(path, Member { data, executable });
            Ok(())
        })
    };
    read().context(|| format!("cannot read '{}'", display(archive)))?;
    Ok(members)
}
