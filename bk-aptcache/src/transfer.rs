//! One fetch of one file, however many clients want it.
//!
//! A single task pulls the file at full speed into a part, hashing as it goes; any number of
//! readers follow. Broken transfers go on where they broke, at this mirror or another. Of a file
//! whose hash is known the last bytes are let go only when the hash is right, so that nobody ever
//! has a complete wrong file.

mod bag;
mod work;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bk::Console;
use bk::http::hyper::StatusCode;
use bk::http::{Piece, tokio};
use tokio::sync::watch;

use self::bag::Bag;
use self::work::Work;
use crate::client::Client;
use crate::entry::{Entries, Entry};
use crate::release::Expected;
use crate::statistics::Statistics;
use crate::store::{Hash, Store};
use crate::upstream::Upstream;

/// After a wrong file clients get no parts of the right one for so long: they would put them
/// behind what they have of the wrong one.
const POISONED: Duration = Duration::from_secs(600);

/// What is to be fetched.
#[derive(Clone, Debug)]
pub struct Order {
    /// The archive.
    pub upstream: Arc<Upstream>,
    /// The place in the store.
    pub key: String,
    /// The paths at the archive, in the order to ask for them.
    pub sources: Vec<String>,
    /// What it should be: one of these. With none, nothing is known.
    pub expected: Vec<Expected>,
    /// Fetch it only if it was changed after this, in seconds since 1970.
    pub since: Option<i64>,
    /// Whether it is kept.
    pub keep: bool,
}

/// What is known of the file before its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Its size, where the archive says it.
    pub size: Option<u64>,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
}

/// Why there is no file.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What clients are told.
    pub status: StatusCode,
    /// What is wrong, for people.
    pub message: String,
    /// After how many seconds to ask again, where the archive said so.
    pub retry_after: Option<u64>,
}

impl Failure {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Failure { status, message: message.into(), retry_after: None }
    }
}

/// How far a transfer is.
#[derive(Clone, Debug)]
pub enum Phase {
    /// It goes on.
    Running,
    /// All bytes are there, and right; in the store, unless it could not keep them.
    Done(Option<Arc<Entry>>),
    /// The archive says that it was not changed.
    NotModified,
    /// There will be no more bytes.
    Failed(Failure),
}

/// The state of a transfer, as readers see it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Set before there is anything to read.
    pub head: Option<Head>,
    /// How many bytes may be read.
    pub readable: u64,
    /// How far it is.
    pub phase: Phase,
}

/// A transfer under way.
#[derive(Debug)]
pub struct Transfer {
    state: watch::Receiver<Progress>,
    bytes: Arc<OnceLock<Bag>>,
}

impl Transfer {
    /// Follows its state.
    pub fn follow(&self) -> watch::Receiver<Progress> {
        self.state.clone()
    }

    /// Where the byte at `at` and those behind it are, or will be.
    pub fn piece(&self, at: u64) -> io::Result<Piece<'_>> {
        self.bytes.get().ok_or(io::ErrorKind::NotFound)?.piece(at)
    }

    /// Reads bytes that are readable.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.bytes.get().ok_or(io::ErrorKind::NotFound)?.read_at(buffer, at)
    }
}

/// The transfers of one place in the store: of two sets a file of one name may be under way.
type Transfers = Vec<(Option<Hash>, Arc<Transfer>)>;

/// Fetches files.
pub struct Fetcher {
    store: Arc<Store>,
    entries: Arc<Entries>,
    client: Mutex<Arc<Client>>,
    statistics: Arc<Statistics>,
    console: Console,
    running: Mutex<HashMap<String, Transfers>>,
    poisoned: Mutex<HashMap<String, Instant>>,
    /// Makes room on the disk for so many bytes.
    make_room: Box<dyn Fn(u64) -> bool + Send + Sync>,
}

impl Fetcher {
    /// A fetcher for a store.
    pub fn new(
        entries: Arc<Entries>,
        store: Arc<Store>,
        client: Arc<Client>,
        (statistics, console): (Arc<Statistics>, Console),
        make_room: impl Fn(u64) -> bool + Send + Sync + 'static,
    ) -> Self {
        Fetcher {
            store,
            entries,
            client: Mutex::new(client),
            statistics,
            console,
            running: Mutex::default(),
            poisoned: Mutex::default(),
            make_room: Box::new(make_room),
        }
    }

    /// What asks the archives now.
    pub fn client(&self) -> Arc<Client> {
        lock(&self.client).clone()
    }

    /// From now on asks with another client.
    pub fn set_client(&self, client: Arc<Client>) {
        *lock(&self.client) = client;
    }

    /// Whether clients may have parts of the wrong file of a key.
    pub fn is_poisoned(&self, key: &str) -> bool {
        let mut poisoned = lock(&self.poisoned);
        if poisoned.is_empty() {
            return false;
        }
        poisoned.retain(|_, since| since.elapsed() < POISONED);
        poisoned.contains_key(key)
    }

    /// Whether anything is on its way to a place in the store.
    pub fn is_under_way(&self, key: &str) -> bool {
        let running = lock(&self.running);
        !running.is_empty() && running.contains_key(key)
    }

    /// The transfer of a file, if it is under way.
    pub fn under_way(&self, key: &str, sha256: Option<Hash>) -> Option<Arc<Transfer>> {
        let running = lock(&self.running);
        let (_, transfer) = running.get(key)?.iter().find(|(hash, _)| *hash == sha256)?;
        Some(transfer.clone())
    }

    /// Starts a transfer, or joins the one that is under way; says which.
    pub fn fetch(self: &Arc<Self>, order: Order) -> (Arc<Transfer>, bool) {
        let sha256 = order.expected.first().map(|e| e.sha256);
        let mut running = lock(&self.running);
        let there = running.entry(order.key.clone()).or_default();
        if let Some((_, transfer)) = there.iter().find(|(hash, _)| *hash == sha256) {
            return (transfer.clone(), true);
        }
        let start = Progress { head: None, readable: 0, phase: Phase::Running };
        let (sender, state) = watch::channel(start);
        let transfer = Arc::new(Transfer { state, bytes: Arc::default() });
        there.push((sha256, transfer.clone()));
        drop(running);
        let (fetcher, bytes) = (self.clone(), transfer.bytes.clone());
        tokio::spawn(async move {
            let mut work = Work::new(&fetcher, &order, &sender, &bytes);
            let phase = match work.run().await {
                Ok(phase) => phase,
                Err(failure) => {
                    work.leave();
                    // Clients ask for much that need not be there.
                    if failure.status != StatusCode::NOT_FOUND {
                        fetcher.statistics.failed(&order.key, &failure.message);
                    }
                    fetcher.console.info(&format!("'{}': {}", order.key, failure.message));
                    Phase::Failed(failure)
                }
            };
            let size = work.size;
            // Whoever comes now finds it in the store.
            fetcher.ended(&order.key, sha256);
            sender.send_modify(|progress| {
                if let Phase::Done(_) = phase {
                    progress.readable = size;
                }
                progress.phase = phase;
            });
        });
        (transfer, false)
    }

    fn ended(&self, key: &str, sha256: Option<Hash>) {
        let mut running = lock(&self.running);
        let Some(there) = running.get_mut(key) else { return };
        there.retain(|(hash, _)| *hash != sha256);
        if there.is_empty() {
            running.remove(key);
        }
    }
}

/// A date as HTTP writes it (RFC 9110, 5.6.7), in seconds since 1970.
pub fn date(text: &str) -> Option<i64> {
    let text = text.strip_suffix("GMT").map(|rest| format!("{rest}+0000"))?;
    Some(jiff::fmt::rfc2822::parse(&text).ok()?.timestamp().as_second())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        // date -u -d @784111777, the example of the RFC
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for bad in ["", "yesterday", "Sun, 06 Nov 1994 08:49:37", "1994-11-06"] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }
}
