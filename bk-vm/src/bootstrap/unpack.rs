//! Unpacking packages, several at once.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bk::{Console, Context, Error, Result, display, file};
use bk_deb::debian::control::Paragraph;
use bk_deb::debian::deb::{ControlFile, Deb};
use md5::{Digest, Md5};

use super::Item;
use crate::archive::joined;

/// The links of a merged /usr (Debian's file-hierarchy, since 12).
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Makes the folder of a tree, with what must be there before any package.
pub(super) fn lay_out(tree: &Path) -> Result<()> {
    for name in MERGED {
        file::create_dir(&tree.join("usr").join(name))?;
        symlink(format!("usr/{name}"), tree.join(name))
            .context(|| format!("cannot make the link '{name}'"))?;
    }
    // Whatever our umask is, this folder is the machine's root.
    fs::set_permissions(tree, Permissions::from_mode(0o755))
        .context(|| format!("cannot use '{}'", display(tree)))
}

/// What was unpacked of one package.
pub(super) struct Unpacked {
    /// Its control file.
    pub paragraph: Paragraph,
    /// The other files of its control archive.
    pub control: Vec<ControlFile>,
    /// The paths it has, as dpkg lists them.
    pub list: String,
    /// The MD5 sums of its configuration files, by path.
    pub conffiles: BTreeMap<String, String>,
}

/// Folders, with what is said of them by the first of the packages that have them.
type Folders = BTreeMap<PathBuf, (usize, u32, u64, u64)>;

/// Unpacks all into the root folder.
pub(super) fn all(items: &[Item], debs: Vec<File>, console: &Console) -> Result<Vec<Unpacked>> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    // The largest first, so that no thread begins with it when the others are done.
    let size =
        |&at: &usize| debs.get(at).and_then(|deb| deb.metadata().ok()).map_or(0, |m| m.len());
    order.sort_by_key(|at| std::cmp::Reverse(size(at)));
    let next = AtomicUsize::new(0);
    let folders = Mutex::new(Folders::new());
    let work = || -> Result<Vec<(usize, Unpacked)>> {
        let mut done = Vec::new();
        while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (Some(item), Some(deb)) = (items.get(at), debs.get(at)) else { continue };
            console.debug(&format!("unpacking {}", item.name));
            let unpacked = one(at, item, deb, &folders);
            done.push((at, unpacked.context(|| format!("cannot unpack '{}'", item.name))?));
        }
        Ok(done)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Result<Vec<_>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| joined(thread.join())).collect()
    });
    let mut all: Vec<(usize, Unpacked)> = parts?.into_iter().flatten().collect();
    all.sort_by_key(|(at, _)| *at);
    let folders = folders.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (path, (_, mode, uid, gid)) in folders {
        let set = || -> io::Result<()> {
            chown(&path, Some(number(uid)), Some(number(gid)))?;
            fs::set_permissions(&path, Permissions::from_mode(mode))
        };
        set().context(|| format!("cannot set the owner of '{}'", display(&path)))?;
    }
    Ok(all.into_iter().map(|(_, unpacked)| unpacked).collect())
}

/// Owners have 32 bits; what has more is nobody's.
fn number(id: u64) -> u32 {
    u32::try_from(id).unwrap_or(65534)
}

fn one(at: usize, item: &Item, deb: &File, folders: &Mutex<Folders>) -> Result<Unpacked> {
    let mut deb = Deb::read(BufReader::with_capacity(1 << 16, deb))?;
    let mut control = deb.control_files()?;
    let place = control.iter().position(|file| file.name == "control");
    let place = place.ok_or_else(|| Error::new("no control file in it"))?;
    let paragraph = Paragraph::parse(&control.remove(place).bytes)?;
    let told = (paragraph.get("Package"), paragraph.get("Version"));
    if told != (Some(&item.name), Some(&item.version)) {
        return Err(Error::new("it is another package than the index says"));
    }
    let conffiles = control.iter().find(|file| file.name == "conffiles");
    let conffiles = conffiles.map(|file| String::from_utf8_lossy(&file.bytes).into_owned());
    let is_conffile =
        |path: &str| conffiles.as_ref().is_some_and(|all| all.lines().any(|l| l.trim() == path));
    let mut unpacked =
        Unpacked { paragraph, control, list: String::new(), conffiles: BTreeMap::new() };
    let mut buffer = vec![0; 1 << 16];
    deb.data(|entry| {
        let path = absolute(&entry.path_bytes())?;
        let text = path.to_str().ok_or_else(|| Error::new("it has a name that is not UTF-8"))?;
        unpacked.list += if text == "/" { "/." } else { text };
        unpacked.list += "\n";
        let failed = || format!("cannot write '{}'", display(&path));
        let sum = is_conffile(text).then(Md5::new);
        let sum = put(at, entry, &path, folders, sum, &mut buffer).context(failed)?;
        if let Some(sum) = sum {
            unpacked.conffiles.insert(text.to_owned(), format!("{:x}", sum.finalize()));
        }
        Ok(())
    })?;
    Ok(unpacked)
}

/// `./usr/bin/x` as `/usr/bin/x`.
fn absolute(name: &[u8]) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let name = Path::new(std::ffi::OsStr::from_bytes(name));
    let mut path = PathBuf::from("/");
    for part in name.components() {
        match part {
            std::path::Component::Normal(part) => path.push(part),
            std::path::Component::CurDir | std::path::Component::RootDir => {}
            _ => return Err(Error::new(format!("'{}' leads elsewhere", display(name)))),
        }
    }
    Ok(path)
}

fn put<R: Read>(
    at: usize,
    entry: &mut tar::Entry<'_, R>,
    path: &Path,
    folders: &Mutex<Folders>,
    mut sum: Option<Md5>,
    buffer: &mut [u8],
) -> Result<Option<Md5>> {
    let header = entry.header();
    let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(header.mtime()?);
    let kind = header.entry_type();
    if !kind.is_dir()
        && let Some(parent) = path.parent()
        && !parent.is_dir()
    {
        fs::create_dir_all(parent)?;
    }
    if kind.is_dir() {
        fs::create_dir_all(path)?;
        // A link to a folder, /lib to /usr/lib, is left as it is (dpkg(1)).
        if path != Path::new("/") && !path.symlink_metadata()?.is_symlink() {
            let mut folders = folders.lock().unwrap_or_else(PoisonError::into_inner);
            let first = folders.entry(path.to_owned()).or_insert((at, mode, uid, gid));
            if at < first.0 {
                *first = (at, mode, uid, gid);
            }
        }
        return Ok(None);
    }
    if kind.is_symlink() || kind.is_hard_link() {
        let target = entry.link_name_bytes().ok_or_else(|| Error::new("a link to nothing"))?;
        match kind.is_symlink() {
            true => {
                use std::os::unix::ffi::OsStrExt;
                let target = Path::new(std::ffi::OsStr::from_bytes(&target));
                // Since Debian 13 the links of a merged /usr are files of base-files, too.
                if fs::read_link(path).ok().as_deref() != Some(target) {
                    symlink(target, path)?;
                }
                lchown(path, Some(number(uid)), Some(number(gid)))?;
            }
            false => fs::hard_link(absolute(&target)?, path)?,
        }
        return Ok(None);
    }
    if !kind.is_file() {
        return Err(Error::new("it is no file, folder or link"));
    }
    // Two packages with one path, and no word of which is to have it, are an error for dpkg, too.
    let mut out = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    loop {
        let n = entry.read(buffer)?;
        let Some(bytes) = buffer.get(..n).filter(|bytes| !bytes.is_empty()) else { break };
        out.write_all(bytes)?;
        if let Some(sum) = &mut sum {
            sum.update(bytes);
        }
    }
    std::os::unix::fs::fchown(&out, Some(number(uid)), Some(number(gid)))?;
    // After the owner, whose change takes setuid away.
    out.set_permissions(Permissions::from_mode(mode))?;
    out.set_modified(time)?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_tree() -> bk::Result<()> {
        assert_eq!(absolute(b"./usr/bin/x")?, Path::new("/usr/bin/x"));
        assert_eq!(absolute(b"./")?, Path::new("/"));
        assert_eq!(absolute(b"/etc/x/")?, Path::new("/etc/x"));
        assert!(absolute(b"./../x").is_err());
        assert!(absolute(b"./a/../../x").is_err());
        Ok(())
    }
}
