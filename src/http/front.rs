//! The short way: a plain request for a whole file that is open is answered with two system calls, as
//! the quickest servers do it.
//!
//! Everything else (what is not open, parts, conditions, odd heads) goes to hyper, with the bytes that
//! were read, and stays there for the rest of the connection.

use std::cell::RefCell;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use rustix::io::ReadWriteFlags;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::http_date;

/// A head that takes the short way is shorter than this.
const HEAD: usize = 4 << 10;

/// What is read at once: most heads, and little for each of a thousand idle clients.
const READ: usize = 1 << 10;

/// As many headers as clients of archives send, and some.
const HEADERS: usize = 24;

/// To copy a file of at most this size costs less than what sendfile(2) needs beside.
const SMALL: usize = 64 << 10;

/// So much is handed to the kernel at once: the socket takes less, and other clients wait.
const SLICE: usize = 512 << 10;

/// A client that takes nothing for so long is gone.
const STALL: Duration = Duration::from_secs(120);

/// An idle connection is closed after this, and a head must have come by then.
const IDLE: Duration = Duration::from_secs(10);

/// A file that is sent as it is.
pub trait Plain: Send + Sync + 'static {
    /// Its size in bytes, not 0.
    fn size(&self) -> u64;
    /// The head of the answer, without its date and the empty line.
    fn head(&self) -> &[u8];
    /// What may be sent from its byte `at` on: at least one byte. Of a file that arrives this waits
    /// for some, and fails where no more will come.
    fn piece(&self, at: u64) -> impl Future<Output = io::Result<Piece<'_>>> + Send;
}

/// Bytes of an open file.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// It.
    pub file: &'a File,
    /// The first of them.
    pub at: u64,
    /// How many.
    pub size: u64,
}

/// Answers what it can, and returns the connection and what was read of it, for hyper; or nothing,
/// when the client is done. `find` gives the file that a request's target names, if it is beyond
/// doubt; what it gives is sent.
pub async fn front<P: Plain, F: Future<Output = Option<Arc<P>>>>(
    mut stream: TcpStream,
    mut stopping: watch::Receiver<()>,
    find: impl Fn(&str) -> F,
) -> Option<(TcpStream, Vec<u8>)> {
    let mut read = Vec::new();
    let mut answered = false;
    loop {
        let deadline = tokio::time::Instant::now() + IDLE;
        let end = loop {
            if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
                break end + 4;
            }
            if read.len() >= HEAD {
                return Some((stream, read));
            }
            // One that has just been let in is owed an answer.
            let may_stop = answered && read.is_empty();
            let mut buffer = [0; READ];
            let mut buffer = ReadBuf::new(&mut buffer);
            let came = tokio::time::timeout_at(
                deadline,
                poll_fn(|poller| Pin::new(&mut stream).poll_read(poller, &mut buffer)),
            );
            let (mut came, mut stop) = (pin!(came), pin!(stopping.changed()));
            let ready = poll_fn(|poller| {
                if let Poll::Ready(came) = came.as_mut().poll(poller) {
                    return Poll::Ready(matches!(came, Ok(Ok(()))));
                }
                match may_stop {
                    true => stop.as_mut().poll(poller).map(|_| false),
                    false => Poll::Pending,
                }
            });
            if !ready.await || buffer.filled().is_empty() {
                return None;
            }
            read.extend_from_slice(buffer.filled());
        };
        let found = match plain(&read[..end]) {
            Some((target, last)) => find(target).await.map(|file| (file, last)),
            None => None,
        };
        let Some((file, last)) = found else { return Some((stream, read)) };
        answered = true;
        if send(&stream, &*file, last).await.is_err() || last {
            return None;
        }
        read.drain(..end);
    }
}

/// What a head asks for, if that is all it does, and whether nothing follows.
fn plain(head: &[u8]) -> Option<(&str, bool)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    if !request.parse(head).ok()?.is_complete() || request.method? != "GET" {
        return None;
    }
    if request.version? != 1 {
        return None;
    }
    let (mut hosts, mut last) = (0, false);
    for header in &*request.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
        } else if is("connection") || is("proxy-connection") {
            match header.value {
                value if value.eq_ignore_ascii_case(b"keep-alive") => {}
                value if value.eq_ignore_ascii_case(b"close") => last = true,
                _ => return None,
            }
        } else if !["user-agent", "accept", "cache-control", "accept-encoding"]
            .iter()
            .any(|n| is(n))
        {
            return None;
        }
    }
    if hosts != 1 {
        return None;
    }
    Some((request.path?, last))
}

/// Whether a path is written as it is, so that there is nothing to decode: `pool/main/a/a_1_all.deb`.
pub fn is_canonical(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~+:,=@".contains(&b);
    path.bytes().all(plain)
        && !path.contains("//")
        && !path.contains("/.")
        && !path.starts_with('.')
}

async fn send(stream: &TcpStream, plain: &impl Plain, last: bool) -> io::Result<()> {
    let date = http_date(SystemTime::now());
    let close: &[u8] = if last { b"connection: close\r\n" } else { b"" };
    let head = [plain.head(), close, b"date: ", date.as_bytes(), b"\r\n\r\n"].concat();
    let mut piece = plain.piece(0).await?;
    let mut sent = at_once(stream, &head, piece)?;
    while sent < head.len() {
        // More follows: it goes out with the first bytes of the file (MSG_MORE of send(2)).
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        sent +=
            write(stream, || Ok(rustix::net::send(stream.as_fd(), &head[sent..], flags)?)).await?;
    }
    let mut at = (sent - head.len()) as u64;
    (piece.at, piece.size) = (piece.at + at, piece.size - at);
    while at < plain.size() {
        if piece.size == 0 {
            piece = plain.piece(at).await?;
        }
        let slice = usize::try_from(piece.size).unwrap_or(SLICE).min(SLICE);
        at_hand(piece.file, piece.at, slice).await?;
        let end = piece.at + slice as u64;
        while piece.at < end {
            let count = (end - piece.at) as usize;
            let n = write(stream, || {
                let mut from = piece.at;
                Ok(rustix::fs::sendfile(stream.as_fd(), piece.file, Some(&mut from), count)?)
            });
            let n = match n.await? as u64 {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => n,
            };
            (at, piece.at, piece.size) = (at + n, piece.at + n, piece.size - n);
        }
    }
    Ok(())
}

/// Sends the head and a small piece with one call, if the file is in memory and the socket takes it;
/// says how much of both was sent.
fn at_once(stream: &TcpStream, head: &[u8], piece: Piece<'_>) -> io::Result<usize> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SMALL]);
    }
    let Some(size) = usize::try_from(piece.size).ok().filter(|&size| size <= SMALL) else {
        return Ok(0);
    };
    BUFFER.with_borrow_mut(|buffer| {
        let body = &mut buffer[..size];
        let read = rustix::io::preadv2(
            piece.file,
            &mut [io::IoSliceMut::new(body)],
            piece.at,
            ReadWriteFlags::NOWAIT,
        );
        if read != Ok(size) {
            return Ok(0);
        }
        let parts = [io::IoSlice::new(head), io::IoSlice::new(body)];
        let none = &mut SendAncillaryBuffer::default();
        let send = || Ok(rustix::net::sendmsg(stream, &parts, none, SendFlags::NOSIGNAL)?);
        match stream.try_io(Interest::WRITABLE, send) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
            done => done,
        }
    })
}

async fn write(
    stream: &TcpStream,
    mut call: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match stream.try_io(Interest::WRITABLE, &mut call) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::timeout(STALL, stream.writable()).await??;
            }
            done => return done,
        }
    }
}

/// Has bytes of a file in memory, so that sendfile does not wait for the disk, and with it all
/// clients of this thread.
async fn at_hand(file: &File, at: u64, size: usize) -> io::Result<()> {
    let mut byte = [0];
    let mut probe = |at: u64| {
        let mut slices = [io::IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT).is_ok()
    };
    if probe(at) && probe(at + size as u64 - 1) {
        return Ok(());
    }
    let file = file.try_clone()?;
    let read = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; size];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut buffer, at)
    });
    read.await.map_err(io::Error::other)?
}
