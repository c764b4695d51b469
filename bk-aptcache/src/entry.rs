//! Files that are asked for, kept open: a hit opens nothing and formats nothing.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use bk::http::http_date;
use bk::http::hyper::header::HeaderValue;

use crate::answer::plain_head;
use crate::statistics::Verdict;
use crate::store::{Hash, Held, Store, USE, hex};

/// How many files are kept open. A machine that installs a desktop asks for some thousands; each takes
/// a kilobyte.
const OPEN: usize = 8192;

/// How long a name is believed to mean the file that is open.
const BELIEVED: Duration = Duration::from_secs(1);

/// How long a file is believed to be what it was when it was hashed: what rots on the disk is not
/// handed out for longer, and to hash a file once a day costs nothing beside serving it.
const SOUND: Duration = Duration::from_secs(86_400);

/// A file that was asked for.
#[derive(Debug)]
pub struct Entry {
    /// It, open.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
    /// Its hash, where it is known, and when it was computed.
    sha256: Option<(Hash, u64)>,
    /// `ETag` and `Last-Modified`, as they are sent.
    pub tag: HeaderValue,
    /// See [`Entry::tag`].
    pub last_modified: HeaderValue,
    identity: (u64, i64, i64),
    /// When its name was looked at last, when its archive was asked about it last, and when it was
    /// used last, in milliseconds of [`Entries::now`].
    looked: AtomicU64,
    asked: AtomicU64,
    touched: AtomicU64,
    /// The state of the indexes in which it was found to be what they say, and in which it was found
    /// that they do not know it; see [`crate::suite::Suites::epoch`].
    right: AtomicU64,
    unknown: AtomicU64,
    /// The head of a plain answer, without its date.
    pub(crate) plain: Vec<u8>,
}

/// A package that no index knows is believed for so long not to be another one.
const UNKNOWN: Duration = Duration::from_secs(3600);

impl Entry {
    /// Whether its archive was asked less than `time` ago whether it is still so.
    pub fn asked_within(&self, time: Duration, now: u64) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked > 0 && now.saturating_sub(asked) < time.as_millis() as u64
    }

    /// Whether nobody need be asked: the indexes as they are vouch for it, or none knows it, and its
    /// archive was asked lately.
    pub fn is_sure(&self, epoch: u64, now: u64) -> bool {
        self.right.load(Ordering::Relaxed) == epoch && self.hash(now).is_some()
            || self.unknown.load(Ordering::Relaxed) == epoch && self.asked_within(UNKNOWN, now)
    }

    /// Its hash, if it was computed lately.
    pub fn hash(&self, now: u64) -> Option<&Hash> {
        let (hash, when) = self.sha256.as_ref()?;
        (now.saturating_sub(*when) < SOUND.as_millis() as u64).then_some(hash)
    }

    /// The indexes of this state vouch for it.
    pub fn is_right(&self, epoch: u64) {
        self.right.store(epoch, Ordering::Relaxed);
    }

    /// The indexes of this state do not know it.
    pub fn is_unknown(&self, epoch: u64) {
        self.unknown.store(epoch, Ordering::Relaxed);
    }

    /// Its archive said that it is still so.
    pub fn confirmed(&self, now: u64) {
        self.asked.store(now, Ordering::Relaxed);
    }
}

/// The files that are open, by their keys.
pub struct Entries {
    files: RwLock<HashMap<String, Arc<Entry>>>,
    store: Arc<Store>,
    clock: Instant,
}

impl Entries {
    /// None yet.
    pub fn new(store: Arc<Store>, clock: Instant) -> Self {
        Entries { files: RwLock::default(), store, clock }
    }

    /// Milliseconds since the program started, from 1.
    pub fn now(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64 + 1
    }

    /// The file of a key, if one is open or in the store.
    pub fn get(&self, key: &str) -> Option<Arc<Entry>> {
        let now = self.now();
        let known = self.files.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(entry) = known {
            let looked = entry.looked.load(Ordering::Relaxed);
            let fresh = now - looked.min(now) < BELIEVED.as_millis() as u64;
            if fresh || self.store.identity(key) == Some(entry.identity) {
                if !fresh {
                    entry.looked.store(now, Ordering::Relaxed);
                }
                self.touch(&entry, now);
                return Some(entry);
            }
        }
        let held = self.store.get(key).ok().flatten()?;
        let used = held.used;
        let entry = self.keep(key, held, None, false);
        // After a start it is the file that knows when it was used.
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if seconds.as_secs().cast_signed() - used > USE.as_secs().cast_signed() {
            Store::touch(&entry.file);
        }
        Some(entry)
    }

    /// Keeps an open file; `sha256` has just been computed from it, `asked` says that its archive has
    /// just said it is so.
    pub fn keep(&self, key: &str, held: Held, sha256: Option<Hash>, asked: bool) -> Arc<Entry> {
        let now = self.now();
        let seconds = Duration::from_secs(held.modified.max(0).cast_unsigned());
        let last_modified = http_date(SystemTime::UNIX_EPOCH + seconds);
        let tag = match &sha256 {
            // Half of a hash tells files apart.
            Some(hash) => format!("\"{}\"", &hex(hash)[..32]),
            None => format!("\"{:x}-{:x}\"", held.size, held.modified),
        };
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let plain = plain_head(Verdict::Hit, key, held.modified, held.size, Some(&tag));
        let entry = Arc::new(Entry {
            size: held.size,
            modified: held.modified,
            sha256: sha256.map(|hash| (hash, now)),
            tag: value(&tag).unwrap_or(HeaderValue::from_static("\"\"")),
            last_modified: value(&last_modified).unwrap_or(HeaderValue::from_static("")),
            identity: held.identity,
            looked: AtomicU64::new(now),
            asked: AtomicU64::new(if asked { now } else { 0 }),
            touched: AtomicU64::new(now),
            right: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            plain,
            file: held.file,
        });
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= OPEN {
            shed(&mut files);
        }
        files.insert(key.to_owned(), entry.clone());
        entry
    }

    /// Forgets a file, so that it is opened anew.
    pub fn forget(&self, key: &str) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn touch(&self, entry: &Entry, now: u64) {
        if now - entry.touched.load(Ordering::Relaxed).min(now) > USE.as_millis() as u64 {
            entry.touched.store(now, Ordering::Relaxed);
            Store::touch(&entry.file);
        }
    }
}

/// Closes the quarter that was looked at longest ago.
fn shed(files: &mut HashMap<String, Arc<Entry>>) {
    let mut times: Vec<u64> = files.values().map(|e| e.looked.load(Ordering::Relaxed)).collect();
    times.sort_unstable();
    let limit = times.get(times.len() / 4).copied().unwrap_or_default();
    files.retain(|_, entry| entry.looked.load(Ordering::Relaxed) > limit);
}
