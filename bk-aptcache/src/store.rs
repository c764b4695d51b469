//! Where files lie: the plain tree `NAME/path`, as the archives have it.
//!
//! Beside it, in `.bk`, are `parts` (what is arriving), `sha256` (every verified file once more, as a
//! hard link under its hash, so that no content lies here twice), `tables` (what indexes say of
//! packages, see [`crate::table`]) and `statistics`. All of that can be deleted: it is made again.
//!
//! What a file's hash is only the process knows that has computed it, and only of that very inode,
//! unchanged: what was written before a power cut may not have reached the disk, and disks forget.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bk::{Context, Result, display};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The folder with everything but the tree itself.
pub const INSIDE: &str = ".bk";

/// A file's time of use is set anew after this long: often enough to tell what is used, seldom
/// enough to cost nothing.
pub const USE: Duration = Duration::from_secs(3600);

/// The store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    dir: OwnedFd,
    /// For names of temporary links.
    count: AtomicU64,
}

/// A file of the store, open.
#[derive(Debug)]
pub struct Held {
    /// It, open for reading.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// When the archive says it was changed, in seconds since 1970.
    pub modified: i64,
    /// What tells it from another under the same name, and from itself before a change.
    pub identity: (u64, i64, i64),
    /// When it was used last, in seconds since 1970.
    pub used: i64,
}

impl Store {
    /// Opens a store, making its folders.
    pub fn open(root: &Path) -> Result<Self> {
        for folder in ["parts", "sha256", "tables"] {
            bk::file::create_dir(&root.join(INSIDE).join(folder))?;
        }
        // Read by backup programs (https://bford.info/cachedir/).
        let tag = root.join("CACHEDIR.TAG");
        if !tag.exists() {
            bk::file::write(&tag, "Signature: 8a477f597d28d172789f06886806bc55\n")?;
        }
        Self::at(root)
    }

    /// Opens a store that is there, changing nothing.
    pub fn at(root: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let dir = rustix::fs::open(root, flags, Mode::empty())
            .context(|| format!("cannot open the cache '{}'", display(root)))?;
        Ok(Store { root: root.to_owned(), dir, count: AtomicU64::new(0) })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder of its own beside the tree.
    pub fn inside(&self, folder: &str) -> PathBuf {
        self.root.join(INSIDE).join(folder)
    }

    /// Opens the file of a key, if there is one. Symbolic links are no files of the store.
    pub fn get(&self, key: &str) -> io::Result<Option<Held>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // The time of access is ours to set: it says when a client used the file, not who read it.
        let opened = match self.open_below(key, flags | OFlags::NOATIME) {
            // Only the owner may ask for that.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => self.open_below(key, flags),
            opened => opened,
        };
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(None);
        }
        Ok(Some(Held {
            size: meta.len(),
            modified: meta.mtime(),
            identity: identity(&meta),
            used: meta.atime(),
            file,
        }))
    }

    /// What tells the file that has a key now from another.
    pub fn identity(&self, key: &str) -> Option<(u64, i64, i64)> {
        let meta = fs::symlink_metadata(self.root.join(key)).ok()?;
        meta.is_file().then(|| identity(&meta))
    }

    fn open_below(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(&self.dir, path, flags, Mode::empty(), resolve)?)
    }

    /// Starts or continues the file that will have `key`. It is this process's alone; `None` is
    /// for when another process is at it.
    pub fn part(&self, key: &str) -> io::Result<Option<Part>> {
        let path = self.inside("parts").join(&hex(&Sha256::digest(key).into())[..32]);
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            // File systems without locks have one user.
            Err(fs::TryLockError::Error(_)) => {}
        }
        // Between open and lock another may have made it a file of the tree.
        let still = fs::symlink_metadata(&path).is_ok_and(|m| {
            file.metadata().is_ok_and(|own| own.ino() == m.ino() && own.dev() == m.dev())
        });
        Ok(still.then_some(Part { file, path }))
    }

    /// Gives a finished part its name in the tree. With a hash that is here already the content
    /// that is here is used.
    pub fn commit(
        &self,
        part: &Part,
        key: &str,
        modified: SystemTime,
        sha256: Option<&Hash>,
    ) -> io::Result<()> {
        part.file
            .set_times(FileTimes::new().set_modified(modified).set_accessed(SystemTime::now()))?;
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        let folder = self.folder(folder)?;
        if let Some(hash) = sha256 {
            let blob = self.blob_path(hash);
            let mut linked = fs::hard_link(&part.path, &blob);
            if linked.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
                && let Some(folder) = blob.parent()
            {
                fs::create_dir_all(folder)?;
                linked = fs::hard_link(&part.path, &blob);
            }
            match linked {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    if is(&blob, hash)? && self.link_to(&blob, &folder, name).is_ok() {
                        drop(fs::remove_file(&part.path));
                        return Ok(());
                    }
                    // Bit rot, or a power cut: what has just been verified takes its place.
                    fs::remove_file(&blob)?;
                    drop(fs::hard_link(&part.path, &blob));
                }
                // No hard links here: it lies in the tree alone.
                Err(_) => {}
            }
        }
        rustix::fs::renameat(rustix::fs::CWD, &part.path, &folder, name)?;
        Ok(())
    }

    fn link_to(&self, blob: &Path, folder: &OwnedFd, name: &str) -> io::Result<()> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let link = self.inside("parts").join(format!("link-{}-{number}", std::process::id()));
        fs::hard_link(blob, &link)?;
        let renamed = rustix::fs::renameat(rustix::fs::CWD, &link, folder, name);
        // Renaming to a link of the same file does nothing, and leaves both names (rename(2)).
        drop(fs::remove_file(&link));
        Ok(renamed?)
    }

    /// Gives a file with this hash, if one is here under any name, the name `key`. Reads the file.
    pub fn adopt(&self, key: &str, sha256: &Hash) -> io::Result<bool> {
        let blob = self.blob_path(sha256);
        if !blob.exists() || !is(&blob, sha256)? {
            return Ok(false);
        }
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        self.link_to(&blob, &self.folder(folder)?, name).map(|()| true)
    }

    /// Makes a second name for a file of the tree, or a copy where there are no hard links.
    pub fn alias(&self, key: &str, other: &str) -> io::Result<()> {
        let (folder, name) = other.rsplit_once('/').unwrap_or(("", other));
        let folder = self.folder(folder)?;
        let path = self.root.join(key);
        if self.link_to(&path, &folder, name).is_ok() {
            return Ok(());
        }
        let Some(held) = self.get(key)? else { return Err(io::ErrorKind::NotFound.into()) };
        let mut part = self.scratch()?;
        io::copy(&mut &held.file, &mut part.file)?;
        let seconds = Duration::from_secs(held.modified.max(0).cast_unsigned());
        self.commit(&part, other, SystemTime::UNIX_EPOCH + seconds, None)
    }

    /// A part under a name of its own.
    pub fn scratch(&self) -> io::Result<Part> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.inside("parts").join(format!("scratch-{}-{number}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Part { file, path })
    }

    /// Removes a file of the tree.
    pub fn remove(&self, key: &str) -> io::Result<()> {
        match fs::remove_file(self.root.join(key)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// What verified files had when they came, by their inodes.
    pub fn hashes(&self) -> HashMap<u64, Hash> {
        let read = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
        let blobs = read(self.inside("sha256")).flat_map(|folder| {
            let start = folder.file_name();
            read(folder.path()).map(move |blob| (start.clone(), blob))
        });
        let named = blobs.filter_map(|(start, blob)| {
            let hex = format!("{}{}", start.to_str()?, blob.file_name().to_str()?);
            Some((blob.metadata().ok()?.ino(), parse_hash(&hex)?))
        });
        named.collect()
    }

    /// Removes what is held under a hash and found not to have it.
    pub fn disown(&self, sha256: &Hash) {
        drop(fs::remove_file(self.blob_path(sha256)));
    }

    /// Notes that a file was used now.
    pub fn touch(file: &File) {
        drop(file.set_times(FileTimes::new().set_accessed(SystemTime::now())));
    }

    fn blob_path(&self, sha256: &Hash) -> PathBuf {
        let hex = hex(sha256);
        self.inside("sha256").join(&hex[..2]).join(&hex[2..])
    }

    /// A folder of the tree, made if it is not there.
    fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        if path.is_empty() {
            return self.dir.try_clone();
        }
        match self.open_below(path, flags) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
        let mut folder = self.dir.try_clone()?;
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            let name = path[..at].rsplit('/').next().unwrap_or_default();
            match rustix::fs::mkdirat(folder.as_fd(), name, Mode::from_raw_mode(0o777)) {
                Err(rustix::io::Errno::EXIST) | Ok(()) => {}
                Err(e) => return Err(e.into()),
            }
            folder = self.open_below(&path[..at], flags)?;
        }
        Ok(folder)
    }

    /// The files of the tree below a folder, as keys, with what stat(2) says of them. What cannot be
    /// read is passed over. `enter` says which folders are looked into.
    pub fn walk(
        &self,
        below: &str,
        enter: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(&str, &fs::Metadata),
    ) {
        let Ok(entries) = fs::read_dir(self.root.join(below)) else { return };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if below.is_empty() && (name == INSIDE || name == "CACHEDIR.TAG") {
                continue;
            }
            let key = if below.is_empty() { name } else { format!("{below}/{name}") };
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() && enter(&key) {
                self.walk(&key, enter, each);
            } else if meta.is_file() {
                each(&key, &meta);
            }
        }
    }

    /// The Release files below a folder, as keys, with what stat(2) says of them.
    pub fn roots(&self, below: &str) -> Vec<(String, fs::Metadata)> {
        // Nothing below these is a suite, and they have most of the files.
        let enter = |key: &str| !key.ends_with("/pool") && !key.ends_with("/by-hash");
        let mut roots = Vec::new();
        self.walk(below, &enter, &mut |key, meta| {
            if matches!(key.rsplit('/').next(), Some("InRelease" | "Release")) {
                roots.push((key.to_owned(), meta.clone()));
            }
        });
        roots
    }

    /// Gives a file of another tree a name in this one, by a link or as a copy.
    pub fn import(&self, from: &Path, key: &str, sha256: &Hash) -> io::Result<()> {
        if self.adopt(key, sha256)? {
            return Ok(());
        }
        let mut source = File::open(from)?;
        let modified = source.metadata()?.modified()?;
        let mut part = self.scratch()?;
        let copied = io::copy(&mut source, &mut part.file);
        let done = copied.and_then(|_| {
            // What is read once more is what will be served.
            let found = hash_file(&part.file, part.file.metadata()?.len())?;
            if &found != sha256 {
                return Err(io::Error::other("it changed while it was read"));
            }
            self.commit(&part, key, modified, Some(sha256))
        });
        if done.is_err() {
            drop(fs::remove_file(&part.path));
        }
        done
    }
}

/// Whether a file has this hash.
fn is(path: &Path, sha256: &Hash) -> io::Result<bool> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok(hash_file(&file, size)? == *sha256)
}

fn identity(meta: &fs::Metadata) -> (u64, i64, i64) {
    (meta.ino(), meta.ctime(), meta.ctime_nsec())
}

/// A file that is arriving.
#[derive(Debug)]
pub struct Part {
    /// It, for reading and writing.
    pub file: File,
    path: PathBuf,
}

impl Part {
    /// What is known of it, for another run of the program; see [`crate::transfer`].
    pub fn note_path(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    /// Removes it and what is known of it.
    pub fn remove(&self) {
        drop(fs::remove_file(&self.path));
        drop(fs::remove_file(self.note_path()));
    }
}

/// The hash of the first `size` bytes of a file.
pub fn hash_file(file: &File, size: u64) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    hash_into(file, size, &mut hasher)?;
    Ok(hasher.finalize().into())
}

/// Feeds the first `size` bytes of a file to a hasher.
pub fn hash_into(file: &File, size: u64, hasher: &mut Sha256) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while at < size {
        let most = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
        let n = file.read_at(&mut buffer[..most], at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..n]);
        at += n as u64;
    }
    Ok(())
}

/// A hash in hex.
pub fn hex(hash: &Hash) -> String {
    let mut text = String::with_capacity(64);
    for byte in hash {
        text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    text
}

/// A hash written in hex.
pub fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |b: u8| char::from(b).to_digit(16);
        *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("cache")).unwrap();
        (dir, store)
    }

    fn put(store: &Store, key: &str, bytes: &[u8]) -> Hash {
        let hash: Hash = Sha256::digest(bytes).into();
        let mut part = store.part(key).unwrap().unwrap();
        part.file.write_all(bytes).unwrap();
        store.commit(&part, key, SystemTime::UNIX_EPOCH, Some(&hash)).unwrap();
        hash
    }

    #[test]
    fn what_is_put_is_held_once_however_often_it_is_named() {
        let (_dir, store) = store();
        let hash = put(&store, "a/pool/x/1.deb", b"one");
        assert_eq!(put(&store, "b/pool/1.deb", b"one"), hash);
        assert!(store.adopt("c/1.deb", &hash).unwrap());
        assert!(!store.adopt("c/2.deb", &[1; 32]).unwrap());
        store.alias("c/1.deb", "c/d/alias").unwrap();
        let inode = |key: &str| store.get(key).unwrap().unwrap().identity.0;
        assert_eq!(inode("a/pool/x/1.deb"), inode("b/pool/1.deb"));
        assert_eq!(inode("a/pool/x/1.deb"), inode("c/d/alias"));
        let held = store.get("a/pool/x/1.deb").unwrap().unwrap();
        assert_eq!((held.size, held.modified), (3, 0));
        assert_eq!(hash_file(&held.file, held.size).unwrap(), hash);
        assert_eq!(store.hashes().get(&held.identity.0), Some(&hash));
        assert_eq!(fs::read_dir(store.inside("parts")).unwrap().count(), 0);
        // Other content under the same name takes its place.
        assert_ne!(put(&store, "a/pool/x/1.deb", b"two"), hash);
        assert_eq!(fs::read(store.root().join("a/pool/x/1.deb")).unwrap(), b"two");
        assert_eq!(fs::read(store.root().join("c/1.deb")).unwrap(), b"one");
    }

    #[test]
    fn links_and_folders_are_no_files() {
        let (dir, store) = store();
        put(&store, "a/x", b"one");
        fs::write_outside(dir.path(), &store);
        assert!(store.get("a/out").is_err() || store.get("a/out").unwrap().is_none());
        assert!(store.get("out/secret").is_err());
        assert!(store.get("a").unwrap().is_none());
        assert!(store.get("a/x/y").unwrap().is_none());
        assert!(store.get("nothing").unwrap().is_none());
        let part = store.part("out/new").unwrap().unwrap();
        assert!(store.commit(&part, "out/new", SystemTime::now(), None).is_err());
        let part = store.part("a/x/new").unwrap().unwrap();
        assert!(store.commit(&part, "a/x/new", SystemTime::now(), None).is_err());
    }

    mod fs {
        pub use std::fs::*;

        pub fn write_outside(dir: &std::path::Path, store: &super::Store) {
            let outside = dir.join("outside");
            create_dir(&outside).unwrap();
            bk::file::write(&outside.join("secret"), "x").unwrap();
            std::os::unix::fs::symlink(&outside, store.root().join("out")).unwrap();
            std::os::unix::fs::symlink(outside.join("secret"), store.root().join("a/out")).unwrap();
        }
    }

    #[test]
    fn a_part_has_one_owner() {
        let (_dir, store) = store();
        let part = store.part("k").unwrap().unwrap();
        assert!(store.part("k").unwrap().is_none());
        assert!(store.part("other").unwrap().is_some());
        drop(part);
        assert!(store.part("k").unwrap().is_some());
    }

    #[test]
    fn hashes_are_read_and_written() {
        let hash: Hash = Sha256::digest(b"").into();
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&hash), text);
        assert_eq!(parse_hash(&text.to_uppercase()), Some(hash));
        assert_eq!(parse_hash(&text[1..]), None);
        assert_eq!(parse_hash(&"x".repeat(64)), None);
    }
}
