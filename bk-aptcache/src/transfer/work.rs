//! A transfer at work: attempts at mirrors, until the file is there and right.

use std::fs::File;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use bk::http::http_body_util::BodyExt;
use bk::http::hyper::body::{Body, Bytes, Incoming};
use bk::http::hyper::header::{self, HeaderMap, HeaderValue};
use bk::http::hyper::{Method, Response, StatusCode};
use bk::http::tokio;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::bag::{Bag, is_full};
use super::{Failure, Fetcher, Head, Order, Phase, Progress, date, lock};
use crate::client::{Client, Fault};
use crate::entry::Entry;
use crate::store::{Hash, Held, Part, hash_into};
use crate::upstream::Mirror;

/// So much of a file is held back until its hash is known to be right.
const TAIL: u64 = 64 << 10;

/// A file of at most this size is answered when it is whole: what goes wrong until then the client
/// never hears of.
const SMALL: u64 = 256 << 10;

/// An archive that sends nothing for so long has stopped. apt gives up after 30 s
/// (`Acquire::http::Timeout`): by then another mirror, or another connection, should have answered.
const STALL: Duration = Duration::from_secs(10);

/// A mirror that restarts is back after some of these.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a transfer that broke goes on, whatever came of it.
const TRIES: usize = 6;

/// Files smaller than this are fetched anew rather than continued after a restart.
const WORTH_NOTING: u64 = 1 << 20;

/// Readers are told of new bytes when there are this many, or when there are no more for now.
const STEP: u64 = 128 << 10;

/// A file whose size nobody says may have this much.
const ENDLESS: u64 = 8 << 30;

/// What is known of a part, for the next run of the program.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    key: String,
    /// A strong validator: the entity tag, else the date (RFC 9110, 8.8).
    validator: Option<String>,
    size: Option<u64>,
    modified: Option<i64>,
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
pub struct Work<'a> {
    fetcher: &'a Fetcher,
    order: &'a Order,
    sender: &'a watch::Sender<Progress>,
    bytes: &'a OnceLock<Bag>,
    /// How many bytes have arrived, in order.
    pub size: u64,
    hasher: Sha256,
    note: Note,
    noted: bool,
    /// How many of them readers may have had.
    readable: u64,
}

impl<'a> Work<'a> {
    /// A transfer of which nothing has arrived.
    pub fn new(
        fetcher: &'a Fetcher,
        order: &'a Order,
        sender: &'a watch::Sender<Progress>,
        bytes: &'a OnceLock<Bag>,
    ) -> Self {
        Work {
            fetcher,
            order,
            sender,
            bytes,
            size: 0,
            hasher: Sha256::new(),
            note: Note::default(),
            noted: false,
            readable: 0,
        }
    }

    /// Fetches the file, and says what came of it.
    pub async fn run(&mut self) -> Result<Phase, Failure> {
        if let [expected, ..] = &self.order.expected[..]
            && self.order.keep
            && let Some(held) = self.adopt(expected.sha256).await
        {
            // Nothing arrives, and nobody is told of anything to follow: it is there.
            self.size = held.size;
            let hash = Some(expected.sha256);
            let entry = self.fetcher.entries.keep(&self.order.key, held, hash, true);
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
                    if at == places.len() && self.size > 0 {
                        // A client waits for the rest.
                        tokio::time::sleep(PAUSE).await;
                        at = 0;
                    }
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

    /// The file, if it is here under another name.
    async fn adopt(&self, hash: Hash) -> Option<Held> {
        let (store, key) = (self.fetcher.store.clone(), self.order.key.clone());
        let adopt = move || match store.adopt(&key, &hash) {
            Ok(true) => store.get(&key).ok().flatten(),
            _ => None,
        };
        tokio::task::spawn_blocking(adopt).await.ok().flatten()
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
        let held = disk.as_ref().and_then(|part| part.file.metadata().ok()).map_or(0, |m| m.len());
        if let Some(part) = disk.as_ref().filter(|_| held > 0) {
            self.take_up(part, held).await;
        }
        // What was cut to nothing ext4 writes out when it is closed (auto_da_alloc): an empty part is
        // left as it is.
        let disk = disk.filter(|p| held == 0 || self.size > 0 || p.file.set_len(0).is_ok());
        drop(self.bytes.set(Bag { disk, spill: OnceLock::new() }));
        if self.note.key.is_empty() {
            self.note.key.clone_from(&self.order.key);
        }
    }

    /// Goes on where an earlier run stopped, if its note says what of.
    async fn take_up(&mut self, part: &Part, held: u64) {
        let note = std::fs::read(part.note_path()).ok();
        let note: Option<Note> = note.and_then(|text| serde_json::from_slice(&text).ok());
        let most = self.order.expected.iter().filter_map(|e| e.size).max();
        let fits = |note: &Note| note.key == self.order.key && most.is_none_or(|most| held <= most);
        let (Some(note), Ok(file)) = (note.filter(fits), part.file.try_clone()) else { return };
        let hash = tokio::task::spawn_blocking(move || {
            let mut hasher = Sha256::new();
            hash_into(&file, held, &mut hasher).map(|()| hasher)
        });
        if let Ok(Ok(hasher)) = hash.await {
            (self.size, self.hasher, self.note, self.noted) = (held, hasher, note, true);
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
    pub fn leave(&self) {
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

    /// Shows the head once, and not before there are bytes: another mirror may have another file.
    fn show(&self, head: Head) {
        self.sender.send_if_modified(|progress| {
            let first = progress.head.is_none();
            progress.head.get_or_insert(head);
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
            Ok(Some(held)) => {
                Some(self.fetcher.entries.keep(&self.order.key, held, Some(*hash), true))
            }
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
}
