//! Where a repository's bytes are: files under names, in a folder or an object store.
//!
//! Three rules carry the crash safety of everything above: a file under a name is always whole;
//! what [`Store::place`] and [`Store::create`] return from is durable; and `create` never replaces.

#[cfg(feature = "s3")]
pub mod bucket;
#[cfg(feature = "s3")]
pub mod engine;
pub mod generation;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::iter::once_with;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use bk::file::{AtomicFile, Lock, TempDir};
use bk::{Console, Context, Error, Result, display};
use rustix::fs::{CWD, RenameFlags};

use crate::each;

/// What a key that is read whole may hold: an index of 100,000 packages has less than 256 MiB.
pub const READ_LIMIT: u64 = 1 << 30;

/// Up to here each file is synced by itself; beyond, one syncfs(2) is quicker than many fsync(2).
pub const SYNC_EACH: usize = 24;

/// After how many copies those so far are sent to the disk, which has nothing to do while packages are read.
const WRITE_OUT: usize = 2000;

/// How many files are raced for to learn whether a store can create (see [`Store::race`]). Of an engine
/// that looks and then writes, four of five had several winners: 24 leave no doubt.
pub const RACES: usize = 24;

/// What no commit names may be a writer's who has yet to commit, and stays for this long.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);

/// A file waiting for its name: in a scratch folder, or, for a bucket, where it was found.
#[derive(Debug)]
pub struct Staged {
    /// The name it shall have.
    pub key: String,
    /// Where it waits.
    pub path: PathBuf,
    /// Its hash, in hex, where others may change it before it is placed: then it is not.
    pub sha256: Option<String>,
}

impl Staged {
    /// One that is nobody else's.
    pub fn new(key: String, path: PathBuf) -> Self {
        Staged { key, path, sha256: None }
    }
}

/// A file of a listing.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// Names are relative paths with `/` and without `.` and `..`; callers make them, never users.
pub trait Store: Send + Sync {
    /// A file's bytes, if it is there.
    fn read(&self, key: &str) -> Result<Option<Vec<u8>>>;
    /// A file to read in pieces, if it is there.
    fn open(&self, key: &str) -> Result<Option<Box<dyn Read + Send>>>;
    /// A file's size, if it is there.
    fn size(&self, key: &str) -> Result<Option<u64>>;
    /// The sizes of many files, in their order.
    fn sizes(&self, keys: &[&str]) -> Result<Vec<Option<u64>>> {
        keys.iter().map(|key| self.size(key)).collect()
    }
    /// A folder for files that wait for [`Store::place`].
    fn scratch(&self) -> Result<Scratch>;
    /// Removes what writers left that were killed. Only who holds the lock may call it.
    fn sweep(&self) -> Result<()>;
    /// May begin to do what [`Store::place`] will do with a file, where that takes long. It may also never
    /// be placed; [`Store::sizes`] goes on as if it were not there.
    fn begin(&self, _file: Staged) {}
    /// Gives staged files their names, in order, and makes them durable. A name that is taken keeps
    /// its file: such names say what they hold.
    fn place(&self, files: Vec<Staged>) -> Result<()>;
    /// Writes a file unless the name is taken; says whether it did.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool>;
    /// Writes a file, replacing what had the name. Its time is `modified`, if given. The name is
    /// durable after [`Store::settle`].
    fn replace(&self, key: &str, bytes: &[u8], modified: Option<SystemTime>) -> Result<()>;
    /// The same for what can be lost, and is believed by nobody who finds it damaged.
    fn note(&self, key: &str, bytes: &[u8]) -> Result<()>;
    /// Publishes the files of a folder, all at once where the store can, else in their order. They
    /// are durable then. `number` grows from one generation to the next.
    fn publish(&self, dir: &str, number: u64, files: &[Published<'_>]) -> Result<()>;
    /// Makes the names in the folders of `keys` durable.
    fn settle(&self, keys: &[String]) -> Result<()>;
    /// Removes a file; one that is not there is no error.
    fn remove(&self, key: &str) -> Result<()>;
    /// The files under a folder, sorted by name.
    fn list(&self, prefix: &str) -> Result<Vec<Entry>>;
    /// What a file is now that is not on this machine, if it is there.
    fn head(&self, _key: &str) -> Result<Option<Head>> {
        Ok(None)
    }
    /// The same, and a part of it to read, or all of it.
    fn fetch(&self, _key: &str, _part: Option<Range<u64>>) -> Result<Option<Fetched>> {
        Ok(None)
    }
    /// The names in a folder that is not on this machine, with the sizes of files; folders have none.
    fn names(&self, _folder: &str) -> Result<Vec<(String, Option<u64>)>> {
        Ok(Vec::new())
    }
    /// Where a file is or would be on this machine, if the store is a folder here.
    fn local(&self, key: &str) -> Option<PathBuf>;
    /// When a file was last written, if it is there.
    fn modified(&self, key: &str) -> Result<Option<SystemTime>>;
    /// Says that a file was needed until now, for the retention that goes by time.
    fn touch(&self, key: &str) -> Result<()>;
    /// Makes ready for a first file.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }
    /// Lets several create one file at once, for many files. Says how often not exactly one of them was
    /// told that it did: with such a store two writers lose what one of them wrote.
    fn race(&self) -> Result<usize> {
        Ok(0)
    }
    /// Keeps other writers away, where the store has a way to.
    fn lock(&self, wait: Duration, console: &Console) -> Result<Option<Lock>>;
}

/// What tells a file from another that had its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// What the store calls this state of it.
    pub tag: String,
}

/// A file as it comes.
pub type Fetched = (Head, Box<dyn Read + Send>);

/// A file of a folder that is published at once.
#[derive(Clone, Debug)]
pub struct Published<'a> {
    /// Its name in the folder.
    pub name: String,
    /// What it is.
    pub content: Content<'a>,
}

/// What a published file is.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// These bytes, said to be written then.
    Bytes(&'a [u8], SystemTime),
    /// The same as another file of the folder, which never changes.
    Same(String),
}

/// A folder that is removed when dropped, and told from those of killed processes by a lock.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    _alive: File,
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The folder in a repository with all that is not published.
pub const PRIVATE: &str = ".buildkit";

/// A repository in a folder.
pub struct Folder {
    root: PathBuf,
    /// How many files were begun with.
    begun: AtomicUsize,
    /// What writes them out meanwhile.
    writing: Mutex<Vec<JoinHandle<io::Result<()>>>>,
}

impl Folder {
    /// The folder need not be there before the first write.
    pub fn new(root: &Path) -> Self {
        Folder { root: root.to_owned(), begun: AtomicUsize::new(0), writing: Mutex::default() }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// The folder of all that has no name yet. Folders in it are locked while they are used; files
    /// belong to who holds the lock of the repository.
    fn waiting(&self) -> Result<PathBuf> {
        let dir = self.path(PRIVATE).join("tmp");
        if !dir.is_dir() {
            bk::file::create_dir(&dir)?;
        }
        Ok(dir)
    }

    fn start(&self, key: &str) -> Result<AtomicFile> {
        self.make_parent(key)?;
        AtomicFile::create_in(&self.waiting()?, &self.path(key), 0o666)
    }

    fn parent(&self, key: &str) -> PathBuf {
        self.path(key.rsplit_once('/').map_or("", |(dir, _)| dir))
    }

    /// Makes the folder of a file, and returns those whose names changed by it.
    fn make_parent(&self, key: &str) -> Result<Vec<PathBuf>> {
        let dir = self.parent(key);
        let mut touched = vec![dir.clone()];
        if dir.is_dir() {
            return Ok(touched);
        }
        let missing = dir.ancestors().take_while(|dir| !dir.exists());
        touched.extend(missing.filter_map(Path::parent).map(Path::to_owned));
        bk::file::create_dir(&dir)?;
        Ok(touched)
    }

    /// Gives staged files their names, and returns the folders that changed.
    fn name(&self, files: &[Staged]) -> Result<BTreeSet<PathBuf>> {
        let mut dirs = BTreeSet::new();
        for file in files {
            let to = self.path(&file.key);
            let failed = || format!("cannot write '{}'", display(&to));
            // Most folders are there: to look first would cost as much as the name.
            if there(rename_new(&file.path, &to)).context(failed)?.is_some() {
                dirs.insert(self.parent(&file.key));
                continue;
            }
            // Most that are not lack themselves alone.
            let parent = self.parent(&file.key);
            match there(fs::create_dir(&parent)) {
                Ok(Some(())) => {
                    dirs.extend(parent.parent().map(Path::to_owned));
                    dirs.insert(parent);
                }
                _ => dirs.extend(self.make_parent(&file.key)?),
            }
            rename_new(&file.path, &to).context(failed)?;
        }
        Ok(dirs)
    }

    fn writing(&self) -> MutexGuard<'_, Vec<JoinHandle<io::Result<()>>>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync_all(&self) -> Result<()> {
        // The kernel tells of an error once: who came first may have been told of theirs.
        let writing = std::mem::take(&mut *self.writing());
        let written = writing.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended")))
        });
        let synced: io::Result<()> = written.chain(once_with(|| sync(&self.root))).collect();
        synced.context(|| format!("cannot sync '{}'", display(&self.root)))
    }

    fn sync_dirs(&self, dirs: &BTreeSet<PathBuf>) -> Result<()> {
        if dirs.len() > SYNC_EACH {
            return self.sync_all();
        }
        dirs.iter().try_for_each(|dir| bk::file::sync_dir(dir))
    }
}

/// Makes all of a file system durable.
fn sync(root: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(root)?)?)
}

/// `None` where the file is not there.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Renames, unless the name is taken; says whether it did.
fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    let done = match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without the flag have links.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        done => done.map_err(io::Error::from),
    };
    match done {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        done => done.map(|()| true),
    }
}

impl Store for Folder {
    fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(key);
        match there(fs::metadata(&path)).context(|| format!("cannot read '{}'", display(&path)))? {
            Some(_) => bk::file::read(&path, READ_LIMIT).map(Some),
            None => Ok(None),
        }
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Read + Send>>> {
        let path = self.path(key);
        let file = there(File::open(&path)).context(|| format!("cannot open '{}'", display(&path)));
        Ok(file?.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        let path = self.path(key);
        let found =
            there(fs::metadata(&path)).context(|| format!("cannot read '{}'", display(path)));
        Ok(found?.map(|m| m.len()))
    }

    fn scratch(&self) -> Result<Scratch> {
        let waiting = self.waiting()?;
        let failed = || format!("cannot lock '{}'", display(&waiting));
        // Until the new folder is locked, nobody may take it for one that was left.
        let gate = File::open(&waiting).context(failed)?;
        gate.lock_shared().context(failed)?;
        let dir = TempDir::new_in(&waiting)?;
        let alive = File::open(dir.path()).context(failed)?;
        alive.lock().context(failed)?;
        Ok(Scratch { dir, _alive: alive })
    }

    fn sweep(&self) -> Result<()> {
        let dir = self.path(PRIVATE).join("tmp");
        let failed = || format!("cannot clean up '{}'", display(&dir));
        let Some(gate) = there(File::open(&dir)).context(failed)? else { return Ok(()) };
        if gate.try_lock().is_err() {
            return Ok(());
        }
        for entry in fs::read_dir(&dir).context(failed)? {
            let path = entry.context(failed)?.path();
            let removed = match path.symlink_metadata() {
                Ok(meta) if meta.is_dir() => match File::open(&path).map(|dir| dir.try_lock()) {
                    Ok(Ok(())) => fs::remove_dir_all(&path),
                    _ => Ok(()),
                },
                _ => fs::remove_file(&path),
            };
            there(removed).context(failed)?;
        }
        Ok(())
    }

    fn begin(&self, _file: Staged) {
        let before = self.begun.fetch_add(1, Ordering::Relaxed);
        if (before + 1).is_multiple_of(WRITE_OUT) {
            let root = self.root.clone();
            self.writing().push(thread::spawn(move || sync(&root)));
        }
    }

    fn place(&self, files: Vec<Staged>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        if files.len() > SYNC_EACH {
            self.sync_all()?;
        } else {
            for file in &files {
                let sync = File::open(&file.path).and_then(|f| f.sync_all());
                sync.context(|| format!("cannot write '{}'", display(self.path(&file.key))))?;
            }
        }
        // The kernel renames one file at a time, but makes folders on all processors.
        let named = each(files.chunks(SYNC_EACH).collect(), |files| self.name(files));
        let mut dirs = BTreeSet::new();
        for some in named {
            dirs.extend(some?);
        }
        self.sync_dirs(&dirs)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let mut file = self.start(key)?;
        file.write_all(bytes).context(|| format!("cannot write '{}'", display(self.path(key))))?;
        file.commit_new()
    }

    fn replace(&self, key: &str, bytes: &[u8], modified: Option<SystemTime>) -> Result<()> {
        let mut file = self.start(key)?;
        let mut write = || -> io::Result<()> {
            file.write_all(bytes)?;
            modified.map_or(Ok(()), |time| file.as_file().set_modified(time))
        };
        write().context(|| format!("cannot write '{}'", display(self.path(key))))?;
        file.commit_unsettled()
    }

    fn note(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.make_parent(key)?;
        let (note, path) = (self.waiting()?.join("note"), self.path(key));
        let write = || -> io::Result<()> {
            File::create(&note)?.write_all(bytes)?;
            fs::rename(&note, &path)
        };
        write().context(|| format!("cannot write '{}'", display(&path)))
    }

    fn publish(&self, dir: &str, number: u64, files: &[Published<'_>]) -> Result<()> {
        generation::publish(self, dir, number, files)
    }

    fn settle(&self, keys: &[String]) -> Result<()> {
        self.sync_dirs(&keys.iter().map(|key| self.parent(key)).collect())
    }

    fn remove(&self, key: &str) -> Result<()> {
        let path = self.path(key);
        there(fs::remove_file(&path)).context(|| format!("cannot remove '{}'", display(path)))?;
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        let mut left = vec![prefix.trim_end_matches('/').to_owned()];
        while let Some(dir) = left.pop() {
            let path = self.path(&dir);
            let failed = || format!("cannot read the folder '{}'", display(&path));
            let Some(entries) = there(fs::read_dir(&path)).context(failed)? else { continue };
            for entry in entries {
                let entry = entry.context(failed)?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let key = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                // What went between the listing and now is not there.
                let Some(meta) = there(entry.metadata()).context(failed)? else { continue };
                if meta.is_dir() {
                    left.push(key);
                } else {
                    let modified = meta.modified().context(failed)?;
                    all.push(Entry { key, size: meta.len(), modified });
                }
            }
        }
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }

    fn local(&self, key: &str) -> Option<PathBuf> {
        Some(self.path(key))
    }

    fn modified(&self, key: &str) -> Result<Option<SystemTime>> {
        let path = self.path(key);
        let found = there(fs::metadata(&path).and_then(|m| m.modified()));
        found.context(|| format!("cannot read '{}'", display(&path)))
    }

    fn touch(&self, key: &str) -> Result<()> {
        let path = self.path(key);
        let touch = || -> io::Result<()> { File::open(&path)?.set_modified(SystemTime::now()) };
        there(touch()).context(|| format!("cannot touch '{}'", display(&path)))?;
        Ok(())
    }

    fn lock(&self, wait: Duration, console: &Console) -> Result<Option<Lock>> {
        let dir = self.path(PRIVATE);
        if !dir.is_dir() {
            bk::file::create_dir(&dir)?;
        }
        let error = |e: Error| match e.exit_status() {
            bk::Status::Temporary => {
                e.hint(format!("try again, or wait longer with --wait; it waited {wait:?}"))
            }
            _ => e,
        };
        Lock::exclusive(&dir.join("lock"), wait, console).map(Some).map_err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(dir: &Scratch, name: &str, bytes: &[u8]) -> Staged {
        let path = dir.path().join(name.replace('/', "_"));
        bk::file::write(&path, bytes).unwrap();
        Staged::new(name.into(), path)
    }

    #[test]
    fn a_taken_name_keeps_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = Folder::new(dir.path());
        for bytes in [b"old", b"new"] {
            let scratch = store.scratch().unwrap();
            store.place(vec![staged(&scratch, "a/b/c", bytes)]).unwrap();
        }
        assert_eq!(store.read("a/b/c").unwrap().unwrap(), b"old");
        assert!(!store.create("a/b/c", b"new").unwrap());
        assert_eq!(store.read("a/b/x").unwrap(), None);
        assert_eq!(store.read("a/b/c/d").unwrap(), None);
    }

    #[test]
    fn only_what_nobody_uses_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Folder::new(dir.path());
        let live = store.scratch().unwrap();
        let tmp = dir.path().join(".buildkit/tmp");
        fs::create_dir_all(tmp.join(".bk-left/deep")).unwrap();
        bk::file::write(&tmp.join("note"), "x").unwrap();
        store.sweep().unwrap();
        let left: Vec<PathBuf> = fs::read_dir(&tmp).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [live.path()]);
        drop(live);
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    }

    #[test]
    fn many_files_are_placed_like_few() {
        let dir = tempfile::tempdir().unwrap();
        let store = Folder::new(dir.path());
        let scratch = store.scratch().unwrap();
        let names: Vec<String> = (0..SYNC_EACH * 2).map(|i| format!("p/{i:03}/x")).collect();
        store.place(names.iter().map(|n| staged(&scratch, n, n.as_bytes())).collect()).unwrap();
        let listed: Vec<String> = store.list("p").unwrap().into_iter().map(|e| e.key).collect();
        assert_eq!(listed, names);
    }
}
