//! Answers: files, whole or in part, from the store or while they arrive.
//!
//! Nothing an archive sends as a header is ever passed on. What apt calls a bad header line is a
//! body where it expects a head: every answer here has a length, or is chunked, or closes.

use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bk::http::http_body_util::{BodyExt, Empty, Full, StreamBody};
use bk::http::hyper::body::{Bytes, Frame, SizeHint};
use bk::http::hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use bk::http::hyper::{Method, Response, StatusCode};
use bk::http::{Body, Range, parse_range, tokio};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use crate::entry::Entry;
use crate::statistics::Verdict;
use crate::transfer::{Head, Phase, Transfer, date};

/// What is sent with one system call, head and body, if it is no larger.
const SMALL: u64 = 64 << 10;

/// Larger files are read in pieces: large beside the cost of a system call, small beside the memory
/// of a machine with a thousand clients.
const PIECE: u64 = 128 << 10;

/// The first piece of a file that arrives, and the others: a thousand clients may wait for the same,
/// and what they do not take yet lies in memory for each.
const FIRST: u64 = 16 << 10;
const SHARE: u64 = 32 << 10;

/// The header that says whence an answer came.
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// A response, and what the log says of it.
pub struct Answer {
    /// It.
    pub response: Response<Body>,
    /// Whence it came.
    pub verdict: Verdict,
    /// How many bytes of a file it has.
    pub bytes: u64,
}

impl Answer {
    /// A page or a refusal.
    pub fn own(response: Response<Body>) -> Self {
        Answer { response, verdict: Verdict::Own, bytes: 0 }
    }

    /// A refusal, with a line that says why.
    pub fn refuse(status: StatusCode, message: &str) -> Self {
        Self::own(bk::http::error(status, message))
    }
}

/// What a client asks of a file.
pub struct Wish<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Whether it may have a part of the file.
    pub parts: bool,
}

impl Wish<'_> {
    fn get(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the client has this file (RFC 9110, 13.1).
    pub fn has(&self, tag: &HeaderValue, modified: i64) -> bool {
        if let Some(tags) = self.get(header::IF_NONE_MATCH) {
            let same =
                |t: &str| t == "*" || Some(t.strip_prefix("W/").unwrap_or(t)) == tag.to_str().ok();
            return tags.split(',').any(|t| same(t.trim()));
        }
        let since = self.get(header::IF_MODIFIED_SINCE).and_then(date);
        since.is_some_and(|since| modified <= since)
    }

    /// The part it wants.
    fn range(&self, size: u64, tag: Option<&HeaderValue>, modified: &HeaderValue) -> Range {
        let same = |known: &HeaderValue| self.headers.get(header::IF_RANGE) == Some(known);
        let condition =
            !self.headers.contains_key(header::IF_RANGE) || tag.is_some_and(same) || same(modified);
        match self.get(header::RANGE) {
            Some(range) if condition && self.parts => parse_range(range, size),
            _ => Range::Ignored,
        }
    }

    fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }
}

fn head(
    status: StatusCode,
    verdict: Verdict,
    path: &str,
    modified: &HeaderValue,
) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::LAST_MODIFIED, modified.clone());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(X_CACHE, HeaderValue::from_static(verdict.word()));
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    }
    response
}

/// The head of the answer with all of a file, without its date, where hyper does not write it.
pub fn plain_head(
    verdict: Verdict,
    path: &str,
    modified: i64,
    size: u64,
    tag: Option<&str>,
) -> Vec<u8> {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified.max(0).cast_unsigned());
    let tag = tag.map(|tag| format!("etag: {tag}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 200 OK\r\nlast-modified: {}\r\naccept-ranges: bytes\r\nx-cache: {}\r\n\
         content-type: {}\r\n{tag}content-length: {size}\r\n",
        bk::http::http_date(modified),
        verdict.word(),
        content_type(path),
    )
    .into_bytes()
}

fn empty() -> Body {
    Empty::new().map_err(|e| match e {}).boxed()
}

fn number(value: u64) -> HeaderValue {
    value.into()
}

/// Sets the headers of a part, and says where it starts and how large it is.
fn part(response: &mut Response<Body>, range: &Range, size: u64) -> (u64, u64) {
    let (start, length) = match *range {
        Range::Part(start, length) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            (start, length)
        }
        Range::Beyond => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            (0, 0)
        }
        Range::Ignored => (0, size),
    };
    let value = match *range {
        Range::Part(..) => format!("bytes {start}-{}/{size}", start + length - 1),
        Range::Beyond => format!("bytes */{size}"),
        Range::Ignored => String::new(),
    };
    let headers = response.headers_mut();
    if !value.is_empty()
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
    headers.insert(header::CONTENT_LENGTH, number(length));
    (start, length)
}

/// Answers with a file that is held.
pub async fn held(wish: &Wish<'_>, path: &str, entry: &Arc<Entry>, verdict: Verdict) -> Answer {
    let status = match wish.has(&entry.tag, entry.modified) {
        true => StatusCode::NOT_MODIFIED,
        false => StatusCode::OK,
    };
    let mut response = head(status, verdict, path, &entry.last_modified);
    response.headers_mut().insert(header::ETAG, entry.tag.clone());
    if status == StatusCode::NOT_MODIFIED {
        return Answer { response, verdict, bytes: 0 };
    }
    let range = wish.range(entry.size, Some(&entry.tag), &entry.last_modified);
    let (start, length) = part(&mut response, &range, entry.size);
    if wish.is_head() || length == 0 {
        return Answer { response, verdict, bytes: 0 };
    }
    if length <= SMALL {
        match read_whole(entry, start, length).await {
            Ok(bytes) => *response.body_mut() = Full::new(bytes).map_err(|e| match e {}).boxed(),
            Err(_) => {
                let message = "the cache cannot read its file";
                return Answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, message);
            }
        }
    } else {
        let body = FileBody { entry: entry.clone(), at: start, left: length, read: None };
        *response.body_mut() = body.boxed();
    }
    Answer { response, verdict, bytes: length }
}

/// Answers with a file that lies in memory. A client has it only if the time is exactly its own:
/// a suite that was rolled back is another one, though older.
pub fn small(wish: &Wish<'_>, path: &str, bytes: &[u8], modified: i64, verdict: Verdict) -> Answer {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(modified.max(0).cast_unsigned());
    let last_modified = HeaderValue::from_str(&bk::http::http_date(time));
    let last_modified = last_modified.unwrap_or(HeaderValue::from_static(""));
    if wish.headers.get(header::IF_MODIFIED_SINCE) == Some(&last_modified) {
        let response = head(StatusCode::NOT_MODIFIED, verdict, path, &last_modified);
        return Answer { response, verdict, bytes: 0 };
    }
    let size = bytes.len() as u64;
    let mut response = head(StatusCode::OK, verdict, path, &last_modified);
    let range = wish.range(size, None, &last_modified);
    let (start, length) = part(&mut response, &range, size);
    if wish.is_head() || length == 0 {
        return Answer { response, verdict, bytes: 0 };
    }
    let bytes = &bytes[start as usize..(start + length) as usize];
    *response.body_mut() = Full::new(bytes.to_vec().into()).map_err(|e| match e {}).boxed();
    Answer { response, verdict, bytes: length }
}

/// Reads without waiting for the disk where the kernel has it at hand.
fn read_now(entry: &Entry, buffer: &mut Vec<u8>, at: u64, size: u64) -> io::Result<()> {
    buffer.resize(size as usize, 0);
    let n = rustix::io::preadv2(
        &entry.file,
        &mut [io::IoSliceMut::new(buffer)],
        at,
        ReadWriteFlags::NOWAIT,
    )?;
    if n as u64 == size { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

fn read_later(entry: Arc<Entry>, mut buffer: Vec<u8>, at: u64) -> JoinHandle<io::Result<Bytes>> {
    tokio::task::spawn_blocking(move || {
        entry.file.read_exact_at(&mut buffer, at)?;
        Ok(buffer.into())
    })
}

async fn read_whole(entry: &Arc<Entry>, at: u64, size: u64) -> io::Result<Bytes> {
    let mut buffer = Vec::new();
    match read_now(entry, &mut buffer, at, size) {
        Ok(()) => Ok(buffer.into()),
        Err(_) => read_later(entry.clone(), buffer, at).await.map_err(io::Error::other)?,
    }
}

/// Part of a held file, piece by piece.
struct FileBody {
    entry: Arc<Entry>,
    at: u64,
    left: u64,
    read: Option<JoinHandle<io::Result<Bytes>>>,
}

impl bk::http::hyper::body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        poller: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let size = self.left.min(PIECE);
        let piece = match self.read.as_mut() {
            Some(read) => ready!(Pin::new(read).poll(poller)).map_err(io::Error::other)??,
            None => {
                let mut buffer = Vec::new();
                match read_now(&self.entry, &mut buffer, self.at, size) {
                    Ok(()) => buffer.into(),
                    Err(_) => {
                        self.read = Some(read_later(self.entry.clone(), buffer, self.at));
                        return self.poll_frame(poller);
                    }
                }
            }
        };
        self.read = None;
        self.at += piece.len() as u64;
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Answers with a file while it arrives.
pub fn arriving(
    wish: &Wish<'_>,
    path: &str,
    transfer: &Arc<Transfer>,
    file: Head,
    verdict: Verdict,
) -> Answer {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(file.modified.max(0).cast_unsigned());
    let modified = HeaderValue::from_str(&bk::http::http_date(time));
    let modified = modified.unwrap_or(HeaderValue::from_static(""));
    let mut response = head(StatusCode::OK, verdict, path, &modified);
    let (start, length) = match file.size {
        Some(size) => {
            let range = wish.range(size, None, &modified);
            let (start, length) = part(&mut response, &range, size);
            (start, Some(length))
        }
        None => (0, None),
    };
    if wish.is_head() || length == Some(0) {
        return Answer { response, verdict, bytes: 0 };
    }
    let end = length.map(|length| start + length);
    *response.body_mut() = follow(transfer.clone(), start, end);
    Answer { response, verdict, bytes: length.unwrap_or(0) }
}

/// What follows a transfer, from `start` to `end` or to its own end.
fn follow(transfer: Arc<Transfer>, start: u64, end: Option<u64>) -> Body {
    let state = transfer.follow();
    let step = move |(transfer, mut state, at): (
        Arc<Transfer>,
        tokio::sync::watch::Receiver<_>,
        u64,
    )| async move {
        loop {
            let (readable, ended) = {
                let progress: &crate::transfer::Progress = &state.borrow_and_update();
                let ended = match &progress.phase {
                    Phase::Running => None,
                    Phase::Done(_) | Phase::NotModified => Some(None),
                    Phase::Failed(failure) => Some(Some(failure.message.clone())),
                };
                (progress.readable, ended)
            };
            let until = end.unwrap_or(u64::MAX).min(readable);
            if at < until {
                let first = at == start;
                if !first && at <= start + FIRST {
                    // Where many wait for the same file, each has its first bytes before any has more.
                    tokio::task::yield_now().await;
                }
                let most = if first { FIRST } else { SHARE };
                let mut piece = vec![0; (until - at).min(most) as usize];
                let read = transfer.read_at(&mut piece, at);
                return match read {
                    Ok(n @ 1..) => {
                        piece.truncate(n);
                        Some((
                            Ok(Frame::data(Bytes::from(piece))),
                            (transfer, state, at + n as u64),
                        ))
                    }
                    Ok(_) => {
                        Some((Err(io::ErrorKind::UnexpectedEof.into()), (transfer, state, at)))
                    }
                    Err(e) => Some((Err(e), (transfer, state, at))),
                };
            }
            match ended {
                _ if end.is_some_and(|end| at >= end) => return None,
                Some(None) => return None,
                // The connection ends here, in the middle: what the client has is not the file.
                Some(Some(why)) => {
                    return Some((Err(io::Error::other(why)), (transfer, state, at)));
                }
                None => {
                    if state.changed().await.is_err() {
                        let gone = io::Error::other("the transfer is gone");
                        return Some((Err(gone), (transfer, state, at)));
                    }
                }
            }
        }
    };
    let stream = futures_util::stream::unfold((transfer, state, start), step);
    BodyExt::boxed(StreamBody::new(stream))
}

/// What files of archives are. Compressed indexes are files, not encodings.
pub fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map_or(name, |(_, suffix)| suffix) {
        "deb" | "udeb" | "ddeb" => "application/vnd.debian.binary-package",
        "gz" => "application/gzip",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "bz2" => "application/x-bzip2",
        "asc" | "gpg" | "dsc" | "Release" | "InRelease" | "Packages" | "Sources" => "text/plain",
        _ => "application/octet-stream",
    }
}
