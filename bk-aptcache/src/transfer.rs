//! One fetch of one file, however many clients want it.
//!
//! A single task pulls the file at full speed into a part, hashing as it goes; any number of
//! readers follow. Broken transfers go on where they broke, at this mirror or another. Of a file
//! whose hash is known the last bytes are let go only when the hash is right, so that nobody ever
//! has a complete wrong file.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bk::Console;
use bk::http::http_body_util::BodyExt;
use bk::http::hyper::body::{Body, Bytes, Incoming};
use bk::http::hyper::header::{self, HeaderMap, HeaderValue};
use bk::http::hyper::{Method, Response, StatusCode};
use bk::http::tokio;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::client::{Client, Fault};
use crate::entry::{Entries, Entry};
use crate::release::Expected;
use crate::statistics::Statistics;
use crate::store::{Hash, Part, Store, hash_into};
use crate::upstream::{Mirror, Upstream};

/// So much of a file is held back until its hash is known to be right.
const TAIL: u64 = 64 << 10;

/// A file of at most this size is answered when it is whole: what goes wrong until then the client
/// never hears of.
const SMALL: u64 = 256 << 10;

/// An archive that sends nothing for so long has stopped.
const STALL: Duration = Duration::from_secs(30);

/// How often a transfer that broke goes on, whatever came of it.
const TRIES: usize = 6;

/// Files smaller than this are fetched anew rather than continued after a restart.
const WORTH_NOTING: u64 = 1 << 20;

/// Readers are told of new bytes when there are this many, or when there are no more for now.
const STEP: u64 = 128 << 10;

/// A file whose size nobody says may have this much.
const ENDLESS: u64 = 8 << 30;

/// What the disk has no room for may take this much memory, for each transfer.
const SPILL: u64 = 512 << 20;

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

    /// Reads bytes that are readable.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.bytes.get().ok_or(io::ErrorKind::NotFound)?.read_at(buffer, at)
    }
}

/// Where arriving bytes lie: on disk, and in memory from where the disk was full.
#[derive(Debug)]
struct Bag {
    disk: Option<Part>,
    spill: OnceLock<(u64, File)>,
}

impl Bag {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match (self.spill.get(), &self.disk) {
            (Some((from, file)), _) if at >= *from => file.read_at(buffer, at - from),
            (Some((from, _)), Some(part)) => {
                let most = usize::try_from(from - at).unwrap_or(usize::MAX).min(buffer.len());
                part.file.read_at(&mut buffer[..most], at)
            }
            (None, Some(part)) => part.file.read_at(buffer, at),
            (_, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Writes at the end. Where the disk cannot, `make_room` may help; else memory does.
    fn write_at(&self, bytes: &[u8], at: u64, make_room: &dyn Fn(u64) -> bool) -> io::Result<()> {
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
    fn whole(&self) -> Option<&Part> {
        self.disk.as_ref().filter(|_| self.spill.get().is_none())
    }
}

/// Whether the file system has no room, rather than something else.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What is known of a part, for the next run of the program.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    key: String,
    /// A strong validator: the entity tag, else the date (RFC 9110, 8.8).
    validator: Option<String>,
    size: Option<u64>,
    modified: Option<i64>,
}

/// What tells transfers apart: of two sets a file of one name may be under way.
type Name = (String, Option<Hash>);

/// Fetches files.
pub struct Fetcher {
    store: Arc<Store>,
    entries: Arc<Entries>,
    client: Mutex<Arc<Client>>,
    statistics: Arc<Statistics>,
    console: Console,
    running: Mutex<HashMap<Name, Arc<Transfer>>>,
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

    /// Starts a transfer, or joins the one that is under way; says which.
    pub fn fetch(self: &Arc<Self>, order: Order) -> (Arc<Transfer>, bool) {
        let name = (order.key.clone(), order.expected.first().map(|e| e.sha256));
        let mut running = lock(&self.running);
        if let Some(transfer) = running.get(&name) {
            return (transfer.clone(), true);
        }
        let start = Progress { head: None, readable: 0, phase: Phase::Running };
        let (sender, state) = watch::channel(start);
        let transfer = Arc::new(Transfer { state, bytes: Arc::default() });
        running.insert(name.clone(), transfer.clone());
        drop(running);
        let (fetcher, bytes) = (self.clone(), transfer.bytes.clone());
        tokio::spawn(async move {
            let mut work = Work {
                fetcher: &fetcher,
                order: &order,
                sender: &sender,
                bytes: &bytes,
                size: 0,
                hasher: Sha256::new(),
                note: Note::default(),
                noted: false,
                readable: 0,
            };
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
            lock(&fetcher.running).remove(&name);
            sender.send_modify(|progress| {
                if let Phase::Done(_) = phase {
                    progress.readable = size;
                }
                progress.phase = phase;
            });
        });
        (transfer, false)
    }
}

/// What ended an attempt.
enum Stop {
    /// The mirror has no file, and says so.
    Status(StatusCode, Option<u64>),
    /// The mirror cannot be asked.
    Fault(Fault),
    /// The transfer broke; it may go on.
    Broken(String),
    /// The file is not what it should be.
    Wrong(String),
    /// What clients have of it cannot be continued.
    Changed,
    /// Nothing more can be done.
    Fatal(String),
}

/// A transfer at work.
struct Work<'a> {
    fetcher: &'a Fetcher,
    order: &'a Order,
    sender: &'a watch::Sender<Progress>,
    bytes: &'a OnceLock<Bag>,
    /// How many bytes have arrived, in order.
    size: u64,
    hasher: Sha256,
    note: Note,
    noted: bool,
    /// How many of them readers may have had.
    readable: u64,
}

impl Work<'_> {
    async fn run(&mut self) -> Result<Phase, Failure> {
        if let [expected, ..] = &self.order.expected[..]
            && self.order.keep
            && self.fetcher.store.adopt(&self.order.key, &expected.sha256).unwrap_or(false)
            && let Ok(Some(held)) = self.fetcher.store.get(&self.order.key)
        {
            self.size = held.size;
            let modified = held.modified;
            let entry = self.fetcher.entries.keep(&self.order.key, held, true);
            self.show(Head { size: Some(self.size), modified });
            return Ok(Phase::Done(Some(entry)));
        }
        self.open().await;
        let client = self.fetcher.client();
        let mirrors = self.order.upstream.order();
        let sources = &self.order.sources;
        let places: Vec<(&Mirror, &String)> =
            mirrors.iter().flat_map(|m| sources.iter().map(move |s| (*m, s))).collect();
        let mut failure: Option<Failure> = None;
        let mut at = 0;
        for _ in 0..TRIES.max(places.len()) {
            let Some((mirror, source)) = places.get(at) else { break };
            let stop = match self.attempt(&client, mirror, source).await {
                Ok(phase) => {
                    mirror.answered();
                    return Ok(phase);
                }
                Err(stop) => stop,
            };
            let next = match stop {
                Stop::Status(StatusCode::NOT_FOUND, _) => {
                    at += 1;
                    let message = format!("'{}' has no such file", mirror.base);
                    failure.get_or_insert(Failure::new(StatusCode::NOT_FOUND, message));
                    continue;
                }
                Stop::Status(status, retry_after) => {
                    at += 1;
                    if status.is_server_error() {
                        mirror.failed();
                    }
                    // What an archive says of itself: it is busy, or closed to us.
                    let told = matches!(status.as_u16(), 401 | 403 | 410 | 429 | 451 | 503);
                    let told = if told { status } else { StatusCode::BAD_GATEWAY };
                    let message = format!("'{}' answers with status {status}", mirror.base);
                    Failure { status: told, message, retry_after }
                }
                Stop::Fault(Fault::Forbidden(message)) => {
                    at += 1;
                    Failure::new(StatusCode::FORBIDDEN, message)
                }
                Stop::Fault(Fault::Unreachable(message)) => {
                    mirror.failed();
                    // All files of a mirror that does not answer are out of reach.
                    let same = |(m, _): &&(&Mirror, &String)| std::ptr::eq(*m, *mirror);
                    at += places[at..].iter().take_while(same).count();
                    Failure::new(StatusCode::BAD_GATEWAY, message)
                }
                Stop::Broken(message) => {
                    // It may go on here; if not, there.
                    mirror.failed();
                    at = (at + sources.len()) % places.len();
                    Failure::new(StatusCode::BAD_GATEWAY, message)
                }
                Stop::Wrong(message) => {
                    mirror.failed();
                    at += 1;
                    self.fetcher.statistics.wrong();
                    let message = format!("'{}' has a wrong file: {message}", mirror.base);
                    self.fetcher.console.warn(&format!("'{}': {message}", self.order.key));
                    self.restart();
                    let failure = Failure::new(StatusCode::BAD_GATEWAY, message);
                    if self.readable > 0 {
                        lock(&self.fetcher.poisoned).insert(self.order.key.clone(), Instant::now());
                        return Err(failure);
                    }
                    failure
                }
                Stop::Changed => {
                    self.restart();
                    let message = "it was changed at its archive while it was fetched";
                    let failure = Failure::new(StatusCode::BAD_GATEWAY, message);
                    if self.readable > 0 {
                        return Err(failure);
                    }
                    failure
                }
                Stop::Fatal(message) => {
                    return Err(Failure::new(StatusCode::INSUFFICIENT_STORAGE, message));
                }
            };
            failure = Some(next);
        }
        Err(failure.unwrap_or_else(|| Failure::new(StatusCode::BAD_GATEWAY, "no mirror has it")))
    }

    /// Opens the part, and takes up what an earlier run left of it.
    async fn open(&mut self) {
        let part = self.order.keep.then(|| self.fetcher.store.part(&self.order.key));
        let disk = match part {
            Some(Ok(Some(part))) => Some(part),
            // Another process fetches the same, or it is not kept: by itself, then.
            Some(Ok(None)) | None => self.fetcher.store.scratch().ok(),
            // The disk takes no file: memory does.
            Some(Err(_)) => None,
        };
        if let Some(part) = &disk {
            let note: Option<Note> = std::fs::read(part.note_path())
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
                .filter(|note: &Note| note.key == self.order.key);
            let held = part.file.metadata().map_or(0, |meta| meta.len());
            let most = self.order.expected.iter().filter_map(|e| e.size).max();
            match note.filter(|_| held > 0 && most.is_none_or(|most| held <= most)) {
                Some(note) => {
                    let hash = part.file.try_clone().map(|file| {
                        tokio::task::spawn_blocking(move || {
                            let mut hasher = Sha256::new();
                            hash_into(&file, held, &mut hasher).map(|()| hasher)
                        })
                    });
                    if let Ok(task) = hash
                        && let Ok(Ok(hasher)) = task.await
                    {
                        (self.size, self.hasher, self.note, self.noted) =
                            (held, hasher, note, true);
                    }
                }
                None => drop(part.file.set_len(0)),
            }
        }
        drop(self.bytes.set(Bag { disk, spill: OnceLock::new() }));
        if self.note.key.is_empty() {
            self.note.key.clone_from(&self.order.key);
        }
    }

    /// Forgets what has arrived.
    fn restart(&mut self) {
        self.size = 0;
        self.hasher = Sha256::new();
        self.note = Note { key: self.order.key.clone(), ..Note::default() };
        if let Some(part) = self.bytes.get().and_then(Bag::whole) {
            drop(part.file.set_len(0));
            drop(std::fs::remove_file(part.note_path()));
        }
        self.noted = false;
    }

    /// Leaves what has arrived to another run, or removes it.
    fn leave(&self) {
        if let Some(part) = self.bytes.get().and_then(|bag| bag.disk.as_ref())
            && (!self.noted || self.size == 0 || self.bytes.get().and_then(Bag::whole).is_none())
        {
            part.remove();
        }
    }

    async fn attempt(
        &mut self,
        client: &Client,
        mirror: &Mirror,
        source: &str,
    ) -> Result<Phase, Stop> {
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let known = !self.order.expected.is_empty();
        let resume = self.size > 0 && (known || self.note.validator.is_some());
        if resume {
            headers.extend(value(&format!("bytes={}-", self.size)).map(|v| (header::RANGE, v)));
            let validator = self.note.validator.as_deref().and_then(value);
            headers.extend(validator.map(|v| (header::IF_RANGE, v)));
        } else if let Some(since) = self.order.since.filter(|_| self.size == 0) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(since.max(0).cast_unsigned());
            let since = value(&bk::http::http_date(time));
            headers.extend(since.map(|v| (header::IF_MODIFIED_SINCE, v)));
        }
        let asked = client.ask(&Method::GET, mirror, source, &headers).await;
        let response = asked.map_err(Stop::Fault)?;
        // How much of what comes now has arrived already.
        let skip = match response.status() {
            StatusCode::OK => self.size,
            StatusCode::PARTIAL_CONTENT if resume => {
                let range = response.headers().get(header::CONTENT_RANGE);
                let range = range.and_then(|v| v.to_str().ok()).and_then(content_range);
                let fits = |(start, total): (u64, Option<u64>)| {
                    start == self.size
                        && (total.is_none() || self.note.size.is_none_or(|s| total == Some(s)))
                };
                if !range.is_some_and(fits) {
                    return Err(Stop::Changed);
                }
                0
            }
            StatusCode::RANGE_NOT_SATISFIABLE if resume => return Err(Stop::Changed),
            StatusCode::NOT_MODIFIED if self.order.since.is_some() && self.size == 0 => {
                return Ok(Phase::NotModified);
            }
            status => {
                let after = response.headers().get(header::RETRY_AFTER);
                let after = after.and_then(|v| v.to_str().ok()?.parse().ok());
                return Err(Stop::Status(status, after));
            }
        };
        self.receive(response, skip).await
    }

    async fn receive(&mut self, response: Response<Incoming>, skip: u64) -> Result<Phase, Stop> {
        let get = |name| response.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let start = self.size - skip;
        let framed = response.body().size_hint().exact();
        let chunked = get(header::TRANSFER_ENCODING)
            .is_some_and(|v| v.trim().eq_ignore_ascii_case("chunked"));
        let total = framed.map(|size| start + size);
        let known = &self.order.expected;
        let sizes: Vec<u64> = known.iter().filter_map(|e| e.size).collect();
        if let Some(total) = total.filter(|t| !sizes.is_empty() && !sizes.contains(t)) {
            return Err(Stop::Wrong(format!("it has {total} bytes, not {}", sizes[0])));
        }
        // An end that is only the end of the connection may be any end, and what is encoded is
        // another file: neither is kept, unless its hash says what it is.
        let encoded = get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity");
        let keep = !known.is_empty() || (total.is_some() || chunked) && !encoded;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = now.as_secs().cast_signed();
        let modified = get(header::LAST_MODIFIED).and_then(date).filter(|&time| time <= now);
        let tag = get(header::ETAG).filter(|tag| tag.starts_with('"'));
        // A date tells files apart that are changed in other seconds (RFC 9110, 8.8.2.2).
        let dated = || get(header::LAST_MODIFIED).filter(|_| modified.is_some_and(|m| m < now - 1));
        self.note.validator = tag.or_else(dated).map(str::to_owned);
        self.note.size = total;
        self.note.modified = modified;
        let head = Head { size: total, modified: modified.unwrap_or(now) };
        let whole = total.or_else(|| sizes.first().copied().filter(|_| sizes.len() == 1));
        let early = known.is_empty() && total.is_none_or(|total| total > SMALL);
        if early {
            self.show(head);
        }

        let mut body = response.into_body();
        let before = self.size;
        let (mut replayed, mut told) = (start, before);
        loop {
            let frame = match tokio::time::timeout(STALL, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => break,
                Ok(Some(Err(e))) => return Err(self.broke(&format!("the transfer broke: {e}"))),
                Err(_) => return Err(self.broke("nothing came any more")),
            };
            let Ok(mut data) = frame.into_data() else { continue };
            if replayed < before {
                replayed += self.replay(&mut data, replayed, before)?;
                if data.is_empty() {
                    continue;
                }
            }
            let end = self.size + data.len() as u64;
            let most = whole.or(sizes.iter().max().copied()).unwrap_or(ENDLESS);
            if end > most {
                return Err(Stop::Wrong(format!("it has more than {most} bytes")));
            }
            self.write(&data)?;
            self.fetcher.statistics.fetched(data.len() as u64);
            let readable = match (known.is_empty(), whole) {
                (true, _) => self.size,
                (false, Some(whole)) => self.size.min(whole.saturating_sub(TAIL)),
                // What may have either of two sizes is shown when it is whole.
                (false, None) => 0,
            };
            if readable >= told + STEP || readable > 0 && self.readable == 0 && !small(total) {
                told = readable;
                self.note_down(total);
                self.show(head);
                self.readable = readable;
                self.sender.send_modify(|progress| progress.readable = readable);
            }
        }
        if replayed < before || total.is_some_and(|total| self.size < total) {
            return Err(self.broke("the transfer ended before the file"));
        }
        let hash: Hash = self.hasher.clone().finalize().into();
        if !known.is_empty() && !known.iter().any(|e| e.sha256 == hash) {
            // A transfer that was cut where nobody can see it may still go on.
            return Err(match sizes.first() {
                Some(size) if total.is_none() && self.size < *size => {
                    self.broke("the transfer ended before the file")
                }
                _ => Stop::Wrong("its SHA-256 is not that of the index".into()),
            });
        }
        self.show(Head { size: Some(self.size), ..head });
        Ok(Phase::Done(self.commit(head.modified, &hash, keep && self.order.keep)))
    }

    fn broke(&mut self, why: &str) -> Stop {
        self.note_down(self.note.size);
        Stop::Broken(why.to_owned())
    }

    /// Compares what comes again with what came before.
    fn replay(&self, data: &mut Bytes, at: u64, end: u64) -> Result<u64, Stop> {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(data.len());
        let again = data.split_to(most);
        let mut before = vec![0; most];
        let mut filled = 0;
        while filled < most {
            let read =
                self.bytes.get().map(|b| b.read_at(&mut before[filled..], at + filled as u64));
            match read {
                Some(Ok(n @ 1..)) => filled += n,
                _ => return Err(Stop::Changed),
            }
        }
        if before[..] == again[..] { Ok(most as u64) } else { Err(Stop::Changed) }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Stop> {
        let bag = self.bytes.get().ok_or_else(|| Stop::Fatal("there is no place for it".into()))?;
        let written = bag.write_at(data, self.size, &*self.fetcher.make_room);
        written.map_err(|e| Stop::Fatal(format!("cannot keep what comes: {e}")))?;
        self.hasher.update(data);
        self.size += data.len() as u64;
        Ok(())
    }

    /// Leaves a note for the next run of the program, once for each attempt.
    fn note_down(&mut self, total: Option<u64>) {
        if self.noted || total.unwrap_or(self.size) < WORTH_NOTING || !self.order.keep {
            return;
        }
        if let Some(part) = self.bytes.get().and_then(Bag::whole)
            && let Ok(text) = serde_json::to_vec(&self.note)
        {
            // Half a note is none: it is JSON.
            self.noted = std::io::Write::write_all(
                &mut match File::create(part.note_path()) {
                    Ok(file) => file,
                    Err(_) => return,
                },
                &text,
            )
            .is_ok();
        }
    }

    fn show(&self, head: Head) {
        self.sender.send_if_modified(|progress| {
            let first = progress.head.is_none();
            if first || head.size.is_some() && progress.readable == 0 {
                progress.head = Some(head);
            }
            first
        });
    }

    /// Makes what has arrived a file of the store.
    fn commit(&self, modified: i64, hash: &Hash, keep: bool) -> Option<Arc<Entry>> {
        let bag = self.bytes.get()?;
        let Some(part) = bag.whole().filter(|_| keep) else {
            bag.disk.iter().for_each(Part::remove);
            return None;
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(modified.max(0).cast_unsigned());
        let store = &self.fetcher.store;
        let mut done = store.commit(part, &self.order.key, time, Some(hash));
        if done.as_ref().is_err_and(is_full) && (self.fetcher.make_room)(0) {
            done = store.commit(part, &self.order.key, time, Some(hash));
        }
        if self.noted || done.is_err() {
            part.remove();
        }
        let held = done.and_then(|()| store.get(&self.order.key));
        match held {
            Ok(Some(held)) => Some(self.fetcher.entries.keep(&self.order.key, held, true)),
            Ok(None) => None,
            Err(e) => {
                let key = &self.order.key;
                self.fetcher.console.warn(&format!("cannot keep '{key}': {e}"));
                None
            }
        }
    }
}

fn small(total: Option<u64>) -> bool {
    total.is_some_and(|total| total <= SMALL)
}

/// `bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4): the first and the total.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    let whole = total.is_none_or(|total| last + 1 == total);
    (first <= last && whole).then_some((first, total))
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
    fn ranges_of_answers_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["bytes 5-8/10", "bytes 9-5/10", "bytes */10", "5-9/10", "bytes a-b/c", ""] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_those_of_http() {
        // date -u -d @784111777, the example of the RFC
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for bad in ["", "yesterday", "Sun, 06 Nov 1994 08:49:37", "1994-11-06"] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

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
