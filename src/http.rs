//! The HTTP layer of the servers (feature `http`): a hyper 1 server with limits and a graceful stop,
//! and files with ranges and validators.

mod files;
mod front;
mod server;

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context as Poller, Poll, ready};
use std::time::SystemTime;

use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::task::JoinHandle;

use crate::{Context, Error, Result};

pub use http_body_util;
pub use hyper;
pub use hyper_util;
pub use tokio;

pub use self::files::{Files, Open};
pub use self::front::{Piece, Plain, front, is_canonical};
pub use self::server::{Limits, Server, listen};

/// A request, its body not read yet.
pub type Request = hyper::Request<Incoming>;
/// A response.
pub type Response = hyper::Response<Body>;
/// What a response carries.
pub type Body = BoxBody<Bytes, io::Error>;

/// Files are read in pieces of this size: large beside the cost of handing one over to a thread.
const PIECE: usize = 256 << 10;

/// How long others may keep a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// The name will always mean these bytes.
    Immutable,
    /// Ask each time whether it still means them.
    Revalidate,
}

impl Caching {
    fn text(self) -> &'static str {
        match self {
            // A year: what RFC 9111 lets caches count to without surprises.
            Caching::Immutable => "public, max-age=31536000, immutable",
            Caching::Revalidate => "no-cache",
        }
    }
}

/// A response with a text for people.
pub fn text(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response {
    let text: Bytes = text.into();
    let mut response = hyper::Response::new(Full::new(text).map_err(|e| match e {}).boxed());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A response that says what is wrong, a line of plain text.
pub fn error(status: StatusCode, message: &str) -> Response {
    text(status, "text/plain; charset=utf-8", format!("{message}\n"))
}

/// The path of a request as names below a root: decoded, without `.`, `..`, empty, hidden or
/// undecodable ones, for which it is `None`. A slash at the end is dropped.
pub fn names(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/').map(decode).map(|name| name.filter(|name| is_plain(name))).collect()
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// Decodes `%XX`.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// Makes text safe inside HTML.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Answers with a file: `GET` and `HEAD`, one range, `If-None-Match`, `If-Modified-Since` and
/// `If-Range` (RFC 9110). A path that is no file is 404.
pub async fn file(
    method: &Method,
    request: &HeaderMap,
    path: PathBuf,
    content_type: &'static str,
    caching: Caching,
) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return only_reading();
    }
    let opened = tokio::task::spawn_blocking(move || open(&path)).await;
    let (mut file, meta) = match opened {
        Ok(Ok(Some(opened))) => opened,
        Ok(Ok(None)) => return error(StatusCode::NOT_FOUND, "not found"),
        _ => return error(StatusCode::INTERNAL_SERVER_ERROR, "cannot read the file"),
    };
    let (tag, modified) = validators(&meta);
    let read = move |start, size| {
        file.seek(SeekFrom::Start(start))?;
        let mut piece = Vec::with_capacity(size as usize);
        file.by_ref().take(size).read_to_end(&mut piece)?;
        Ok(piece.into())
    };
    let meta = Meta { size: meta.len(), tag, modified };
    content(request, meta, content_type, caching, |_, _| Box::new(read))
}

/// The response to other methods than GET and HEAD.
pub fn only_reading() -> Response {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// What HTTP tells of content before it is read.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Its size in bytes.
    pub size: u64,
    /// Its `ETag`, in quotes.
    pub tag: String,
    /// Its `Last-Modified`.
    pub modified: String,
}

/// Reads content from a place on: at least a byte, at most so many.
pub type Pieces = Box<dyn FnMut(u64, u64) -> io::Result<Bytes> + Send>;

/// The same as [`file`] for content that lies elsewhere: `open` is told which part will be read, its start
/// and its size, and gives what reads it in the threads where that may take long.
pub fn content(
    request: &HeaderMap,
    meta: Meta,
    content_type: &'static str,
    caching: Caching,
    open: impl FnOnce(u64, u64) -> Pieces,
) -> Response {
    let Meta { size: whole, tag, modified } = meta;
    let get = |name| request.get(name).and_then(|value| value.to_str().ok());
    let unchanged = match get(header::IF_NONE_MATCH) {
        Some(tags) => tags.split(',').any(|t| {
            let t = t.trim();
            t == "*" || t.strip_prefix("W/").unwrap_or(t) == tag
        }),
        // Exactly: an older file put in its place is another file too.
        None => get(header::IF_MODIFIED_SINCE) == Some(&modified),
    };
    let same = get(header::IF_RANGE).is_none_or(|known| known == tag || known == modified);
    let range = get(header::RANGE).filter(|_| same).map(|range| parse_range(range, whole));
    let (status, start, size) = match range {
        _ if unchanged => (StatusCode::NOT_MODIFIED, 0, 0),
        Some(Range::Part(start, size)) => (StatusCode::PARTIAL_CONTENT, start, size),
        Some(Range::Beyond) => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
        Some(Range::Ignored) | None => (StatusCode::OK, 0, whole),
    };
    let body =
        PiecesBody { pieces: Mutex::new(Some(open(start, size))), left: size, start, read: None };
    let mut response = hyper::Response::new(body.boxed());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    set(header::ETAG, tag);
    set(header::LAST_MODIFIED, modified);
    match status {
        StatusCode::PARTIAL_CONTENT => {
            let end = start + size - 1;
            set(header::CONTENT_RANGE, format!("bytes {start}-{end}/{whole}"));
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            set(header::CONTENT_RANGE, format!("bytes */{whole}"));
        }
        _ => {}
    }
    if status != StatusCode::NOT_MODIFIED {
        set(header::CONTENT_LENGTH, size.to_string());
        set(header::CONTENT_TYPE, content_type.into());
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching.text()));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn open(path: &Path) -> io::Result<Option<(File, std::fs::Metadata)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    let meta = file.metadata()?;
    Ok(meta.is_file().then_some((file, meta)))
}

/// What tells a file from another of its name: `ETag` and `Last-Modified` (RFC 9110, 8.8).
fn validators(meta: &std::fs::Metadata) -> (String, String) {
    let nanos = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    let tag = format!("\"{:x}-{:x}-{nanos:x}\"", meta.ino(), meta.len());
    (tag, http_date(meta.modified().unwrap_or(SystemTime::UNIX_EPOCH)))
}

/// What a client wants of a file (RFC 9110, 14.2).
#[derive(Debug, PartialEq, Eq)]
pub enum Range {
    /// Start and size.
    Part(u64, u64),
    /// Nothing of it is there.
    Beyond,
    /// Several ranges, or none that is understood: the whole file is a right answer.
    Ignored,
}

/// Reads a `Range` for a file of `size` bytes.
pub fn parse_range(text: &str, size: u64) -> Range {
    let parse = || {
        let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
        let part = |start: u64, end: u64| match start < end.min(size) {
            true => Range::Part(start, end.min(size) - start),
            false => Range::Beyond,
        };
        Some(match (first, last) {
            ("", last) => part(size.saturating_sub(last.parse().ok()?), size),
            (first, "") => part(first.parse().ok()?, size),
            (first, last) => {
                let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
                if last < first {
                    return None;
                }
                part(first, last.saturating_add(1))
            }
        })
    };
    parse().unwrap_or(Range::Ignored)
}

/// Part of some content, read in a thread of its own piece by piece.
struct PiecesBody {
    /// A lock that nobody waits for: bodies are shared between threads, what reads them is not.
    pieces: Mutex<Option<Pieces>>,
    start: u64,
    left: u64,
    read: Option<JoinHandle<io::Result<(Pieces, Bytes)>>>,
}

impl hyper::body::Body for PiecesBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let idle = self.pieces.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut pieces) = idle.take() {
            let (start, size) = (self.start, self.left.min(PIECE as u64));
            self.read = Some(tokio::task::spawn_blocking(move || {
                let piece = pieces(start, size)?;
                Ok((pieces, piece))
            }));
        }
        let Some(read) = self.read.as_mut() else { return Poll::Ready(None) };
        let (pieces, piece) = ready!(Pin::new(read).poll(poller)).map_err(io::Error::other)??;
        if piece.is_empty() || piece.len() as u64 > self.left {
            return Poll::Ready(Some(Err(io::Error::other("the file became shorter"))));
        }
        self.read = None;
        self.pieces = Mutex::new(Some(pieces));
        self.start += piece.len() as u64;
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

/// A time as HTTP writes it (RFC 9110, 5.6.7).
pub fn http_date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let (day, month) = (DAYS[(days % 7) as usize], MONTHS[month]);
    format!("{day}, {:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT", left + 1)
}

/// Reads a body of at most `limit` bytes.
pub async fn read(body: Incoming, limit: usize) -> Result<Bytes> {
    let limited = http_body_util::Limited::new(body, limit);
    let whole = limited.collect().await.map_err(|e| Error::new(e.to_string()));
    Ok(whole.context(|| "cannot read the request".into())?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date() {
        for seconds in [0u64, 951_782_400, 951_868_799, 1_709_164_800, 1_735_689_599, 4_102_444_800]
        {
            let date = std::process::Command::new("date")
                .args(["-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S GMT"])
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            let ours = http_date(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
            assert_eq!(ours, String::from_utf8(date.stdout).unwrap().trim_end());
        }
    }

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        for (text, expected) in [
            ("bytes=0-0", Range::Part(0, 1)),
            ("bytes=5-", Range::Part(5, 5)),
            ("bytes=-3", Range::Part(7, 3)),
            ("bytes=-30", Range::Part(0, 10)),
            ("bytes=8-99", Range::Part(8, 2)),
            ("bytes=10-", Range::Beyond),
            ("bytes=-0", Range::Beyond),
            ("bytes=3-2", Range::Ignored),
            ("bytes=0-1,3-4", Range::Ignored),
            ("lines=0-1", Range::Ignored),
            ("bytes=a-b", Range::Ignored),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Range::Beyond);
    }

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(names("/"), Some(vec![]));
        assert_eq!(names("/a/b%20c/").unwrap(), ["a", "b c"]);
        for bad in [
            "",
            "a",
            "/..",
            "/a/../b",
            "/%2e%2e/a",
            "//a",
            "/a%2fb",
            "/.x",
            "/%",
            "/%f",
            "/%00",
            "/%ff",
        ] {
            assert_eq!(names(bad), None, "{bad}");
        }
    }
}
