//! Where arriving bytes lie.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use bk::http::Piece;

use crate::store::Part;

/// What the disk has no room for may take this much memory, for each transfer.
const SPILL: u64 = 512 << 20;

/// Where arriving bytes lie: on disk, and in memory from where the disk was full.
#[derive(Debug)]
pub struct Bag {
    /// On disk, if a file can be had there.
    pub disk: Option<Part>,
    /// In memory: from which byte on.
    pub spill: OnceLock<(u64, File)>,
}

impl Bag {
    /// Where the byte at `at` and those behind it are, or will be.
    pub fn piece(&self, at: u64) -> io::Result<Piece<'_>> {
        match (self.spill.get(), &self.disk) {
            (Some((from, file)), _) if at >= *from => {
                Ok(Piece { file, at: at - from, size: u64::MAX })
            }
            (Some((from, _)), Some(part)) => Ok(Piece { file: &part.file, at, size: from - at }),
            (None, Some(part)) => Ok(Piece { file: &part.file, at, size: u64::MAX }),
            (_, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Reads bytes that have arrived.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let piece = self.piece(at)?;
        let most = usize::try_from(piece.size).unwrap_or(usize::MAX).min(buffer.len());
        piece.file.read_at(&mut buffer[..most], piece.at)
    }

    /// Writes at the end. Where the disk cannot, `make_room` may help; else memory does.
    pub fn write_at(
        &self,
        bytes: &[u8],
        at: u64,
        make_room: &dyn Fn(u64) -> bool,
    ) -> io::Result<()> {
        if let (None, Some(part)) = (self.spill.get(), &self.disk) {
            let write = || part.file.write_all_at(bytes, at);
            let written = write().or_else(|e| match is_full(&e) {
                true if make_room(bytes.len() as u64) => write(),
                _ => Err(e),
            });
            if written.is_ok() {
                return Ok(());
            }
        }
        let (from, file) = match self.spill.get() {
            Some(spill) => spill,
            None => {
                let flags = rustix::fs::MemfdFlags::CLOEXEC;
                let memory = rustix::fs::memfd_create("bk-aptcache", flags)?;
                self.spill.get_or_init(|| (at, memory.into()))
            }
        };
        if at - from + bytes.len() as u64 > SPILL {
            return Err(io::Error::other("neither disk nor memory has room for it"));
        }
        file.write_all_at(bytes, at - from)
    }

    /// The part, if all bytes are on disk.
    pub fn whole(&self) -> Option<&Part> {
        self.disk.as_ref().filter(|_| self.spill.get().is_none())
    }
}

/// Whether the file system has no room, rather than something else.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn bytes_go_to_memory_where_the_disk_is_full() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let part = store.scratch().unwrap();
        part.file.write_all_at(b"on disk", 0).unwrap();
        let bag = Bag { disk: Some(part), spill: OnceLock::new() };
        assert!(is_full(&full.write_at(b"x", 0).unwrap_err()));
        drop(bag.spill.set((
            7,
            File::from(rustix::fs::memfd_create("t", rustix::fs::MemfdFlags::CLOEXEC).unwrap()),
        )));
        bag.write_at(b" in memory", 7, &|_| false).unwrap();
        let mut all = vec![0; 17];
        let n = bag.read_at(&mut all, 0).unwrap();
        assert_eq!(n, 7);
        bag.read_at(&mut all[7..], 7).unwrap();
        assert_eq!(all, b"on disk in memory");
        assert!(bag.whole().is_none());
    }
}
