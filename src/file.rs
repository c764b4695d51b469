//! Files that are never half written, and locks the kernel drops for us.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{Cleanup, Console, Context, Error, Result, Status, display};

/// A file that appears under its final name complete or not at all.
///
/// It is written beside the final name as `.NAME.bk-…`; [`AtomicFile::commit`] syncs and renames
/// it and syncs the folder. Dropped before that, or ended by a signal, it is removed.
pub struct AtomicFile {
    file: tempfile::NamedTempFile,
    path: PathBuf,
    _cleanup: Cleanup,
}

impl AtomicFile {
    /// Starts a file that will become `path`; its folder must exist.
    pub fn create(path: &Path) -> Result<Self> {
        Self::create_mode(path, 0o666)
    }

    /// The same with the permissions of open(2), less the umask; secrets take 0o600.
    pub fn create_mode(path: &Path, mode: u32) -> Result<Self> {
        Self::create_in(parent(path), path, mode)
    }

    /// The same, written in the folder `dir`, which must be on the same file system.
    pub fn create_in(dir: &Path, path: &Path, mode: u32) -> Result<Self> {
        let failed = || format!("cannot write '{}'", display(path));
        let name =
            path.file_name().ok_or_else(|| Error::new("not a file name").context(failed()))?;
        // A name has at most 255 bytes; a temporary is told by the start of the name it will have.
        let start: String = name.to_string_lossy().chars().take(40).collect();
        let make = || {
            tempfile::Builder::new()
                .prefix(&format!(".{start}.bk-"))
                .permissions(fs::Permissions::from_mode(mode))
                .tempfile_in(dir)
        };
        let (file, _cleanup) =
            Cleanup::make(make, tempfile::NamedTempFile::path).context(failed)?;
        Ok(AtomicFile { file, path: path.to_owned(), _cleanup })
    }

    /// The file itself, for calls that need one.
    pub fn as_file(&self) -> &File {
        self.file.as_file()
    }

    /// Makes the bytes durable and gives them their name, replacing what had it.
    pub fn commit(self) -> Result<()> {
        let path = self.path.clone();
        self.commit_unsettled()?;
        sync_dir(parent(&path)).context(|| format!("cannot write '{}'", display(&path)))
    }

    /// The same, but the name is durable only after [`sync_dir`] on its folder: for several files in
    /// one folder.
    pub fn commit_unsettled(self) -> Result<()> {
        let AtomicFile { file, path, _cleanup } = self;
        let persist = || -> Result<()> {
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|e| e.error)?;
            Ok(())
        };
        persist().context(|| format!("cannot write '{}'", display(&path)))
    }

    /// The same, but never replaces a file: returns false, and changes nothing, if there is one.
    pub fn commit_new(self) -> Result<bool> {
        let AtomicFile { file, path, _cleanup } = self;
        let persist = || {
            file.as_file().sync_all()?;
            match file.persist_noclobber(&path) {
                Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
                done => done.map_err(|e| e.error)?,
            };
            sync_dir(parent(&path)).map(|()| true)
        };
        persist().context(|| format!("cannot write '{}'", display(&path)))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for AtomicFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Writes `bytes` as `path`, whole or not at all.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes.as_ref()).context(|| format!("cannot write '{}'", display(path)))?;
    file.commit()
}

/// Makes a folder and those above it; names the folder when it cannot.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).context(|| format!("cannot make the folder '{}'", display(path)))
}

/// Reads a whole file of at most `limit` bytes; names it when it cannot.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = || format!("cannot read '{}'", display(path));
    let file = File::open(path).context(failed)?;
    // Room for all of it and for the read that finds the end; a file may still grow.
    let size = file.metadata().context(failed)?.len().min(limit);
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes).context(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(format!("larger than {limit} bytes")).context(failed()));
    }
    Ok(bytes)
}

/// A folder that is removed when dropped, and when a signal ends the program.
#[derive(Debug)]
pub struct TempDir {
    dir: tempfile::TempDir,
    _cleanup: Cleanup,
}

impl TempDir {
    /// Makes `.bk-…` in the folder `parent`, which must exist.
    pub fn new_in(parent: &Path) -> Result<Self> {
        let make = || tempfile::Builder::new().prefix(".bk-").tempdir_in(parent);
        let (dir, _cleanup) = Cleanup::make(make, tempfile::TempDir::path)
            .context(|| format!("cannot make a temporary folder in '{}'", display(parent)))?;
        Ok(TempDir { dir, _cleanup })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Makes the names in a folder durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .context(|| format!("cannot sync the folder '{}'", display(dir)))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A lock on a file, by flock(2): the kernel drops it when its holder ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock `path`, making the file. While another holds it, waits for at most `wait`,
    /// and says so once after a second; then the status is [`Status::Temporary`].
    pub fn exclusive(path: &Path, wait: std::time::Duration, console: &Console) -> Result<Self> {
        let failed = || format!("cannot lock '{}'", display(path));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .context(failed)?;
        let start = std::time::Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::Error(e)) => return Err(Error::from(e).context(failed())),
                Err(TryLockError::WouldBlock) => {}
            }
            let waited = start.elapsed();
            if waited >= wait {
                let holder =
                    holder(&file).map(|pid| format!(" (process {pid})")).unwrap_or_default();
                return Err(Error::new(format!("another process holds it{holder}"))
                    .context(failed())
                    .hint("try again when it is done")
                    .status(Status::Temporary));
            }
            if !told && waited.as_secs() >= 1 {
                told = true;
                console.warn(&format!("waiting for the lock '{}'", display(path)));
            }
            // Short beside any work done under a lock, long beside the system call.
            std::thread::sleep(std::time::Duration::from_millis(5).min(wait - waited));
        }
    }
}

/// The process that holds the lock on `file`, as /proc/locks tells.
fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(4);
        let pid = words.next()?.parse().ok()?;
        (words.next()?.rsplit(':').next() == Some(&inode)).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nothing_is_there_before_the_commit_nor_after_a_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }

    #[test]
    fn commit_replaces_and_commit_new_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write(&path, "old").unwrap();
        write(&path, "new").unwrap();
        let mut other = AtomicFile::create(&path).unwrap();
        other.write_all(b"other").unwrap();
        assert!(!other.commit_new().unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }

    #[test]
    fn a_held_lock_is_temporary_and_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let console = Console::silent();
        let held = Lock::exclusive(&path, Duration::ZERO, &console).unwrap();
        let error = Lock::exclusive(&path, Duration::ZERO, &console).unwrap_err();
        assert_eq!(error.exit_status(), Status::Temporary);
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        // A program that another test starts just now has the lock's descriptor until it is executed.
        assert!(Lock::exclusive(&path, Duration::from_secs(10), &console).is_ok());
    }
}
