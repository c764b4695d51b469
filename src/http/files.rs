//! Files that are asked for, kept open: who asks for one again opens nothing and formats nothing.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{Caching, Piece, Plain, server, validators};

/// How long a name is believed to mean the file that is open.
const BELIEVED: Duration = Duration::from_secs(1);

/// How many are kept open at most: as many as a machine that installs a desktop asks for. Each takes a
/// kilobyte.
const MOST: u64 = 8192;

/// A file, and how an answer with it begins.
#[derive(Debug)]
pub struct Open {
    file: File,
    size: u64,
    head: Vec<u8>,
    identity: (u64, u64, i64, i64),
    /// When its name was looked at last, in milliseconds since [`Files`] was made.
    looked: AtomicU64,
}

impl Plain for Open {
    fn size(&self) -> u64 {
        self.size
    }

    fn head(&self) -> &[u8] {
        &self.head
    }

    async fn piece(&self, at: u64) -> io::Result<Piece<'_>> {
        Ok(Piece { file: &self.file, at, size: self.size - at })
    }
}

/// The files that are open, by their paths.
#[derive(Debug)]
pub struct Files {
    open: RwLock<HashMap<PathBuf, Arc<Open>>>,
    most: usize,
    clock: Instant,
}

impl Default for Files {
    fn default() -> Self {
        // Connections need as many descriptors.
        let most = server::descriptors().unwrap_or(MOST).min(2 * MOST) / 2;
        Files { open: RwLock::default(), most: most as usize, clock: Instant::now() }
    }
}

impl Files {
    /// The file at a path, if there is one and it is not empty. A file that is put in its place, or
    /// removed, is noticed within a second.
    pub fn get(
        &self,
        path: &Path,
        content_type: &'static str,
        caching: Caching,
    ) -> Option<Arc<Open>> {
        let now = self.clock.elapsed().as_millis() as u64;
        let known = self.open.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(open) = known {
            let looked = open.looked.load(Ordering::Relaxed);
            if now.saturating_sub(looked) < BELIEVED.as_millis() as u64 {
                return Some(open);
            }
            if std::fs::metadata(path).is_ok_and(|meta| identity(&meta) == open.identity) {
                open.looked.store(now, Ordering::Relaxed);
                return Some(open);
            }
        }
        let (file, meta) = super::open(path).ok().flatten().filter(|(_, meta)| meta.len() > 0)?;
        let (tag, modified) = validators(&meta);
        let caching = caching.text();
        let head = format!(
            "HTTP/1.1 200 OK\r\netag: {tag}\r\nlast-modified: {modified}\r\ncontent-length: {}\r\n\
             content-type: {content_type}\r\ncache-control: {caching}\r\naccept-ranges: bytes\r\n\
             x-content-type-options: nosniff\r\n",
            meta.len()
        );
        let open = Arc::new(Open {
            size: meta.len(),
            head: head.into_bytes(),
            identity: identity(&meta),
            looked: AtomicU64::new(now),
            file,
        });
        let mut files = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= self.most {
            // Those that are asked for come back.
            files.clear();
        }
        files.insert(path.to_owned(), open.clone());
        Some(open)
    }
}

fn identity(meta: &Metadata) -> (u64, u64, i64, i64) {
    (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec())
}
