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
    /// It, open.
    fn file(&self) -> &File;
    /// Its size in bytes, not 0.
    fn size(&self) -> u64;
    /// The head of the answer, without its date and the empty line.
    fn head(&self) -> &[u8];
}

/// Answers what it can, and returns the connection and what was read of it, for hyper; or nothing,
/// when the client is done. `find` gives the file that a request's target names, if it is open and
/// beyond doubt; what it gives is sent.
pub async fn front<P: Plain>(
    mut stream: TcpStream,
    mut stopping: watch::Receiver<()>,
    find: impl Fn(&str) -> Option<Arc<P>>,
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
        let Some(file) = plain(&read[..end], &find) else { return Some((stream, read)) };
        answered = true;
        if send(&stream, &file).await.is_err() {
            return None;
        }
        read.drain(..end);
    }
}

/// What a head asks for, if that is all it does.
fn plain<P>(head: &[u8], find: impl Fn(&str) -> Option<Arc<P>>) -> Option<Arc<P>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    if !request.parse(head).ok()?.is_complete() || request.method? != "GET" {
        return None;
    }
    if request.version? != 1 {
        return None;
    }
    let mut hosts = 0;
    for header in &*request.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
        } else if is("connection") || is("proxy-connection") {
            if !header.value.eq_ignore_ascii_case(b"keep-alive") {
                return None;
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
    find(request.path?)
}

/// Whether a path is written as it is, so that there is nothing to decode: `pool/main/a/a_1_all.deb`.
pub fn is_canonical(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~+:,=@".contains(&b);
    path.bytes().all(plain)
        && !path.contains("//")
        && !path.contains("/.")
        && !path.starts_with('.')
}

async fn send<P: Plain>(stream: &TcpStream, file: &Arc<P>) -> io::Result<()> {
    let date = http_date(SystemTime::now());
    let head = [file.head(), b"date: ".as_slice(), date.as_bytes(), b"\r\n\r\n"].concat();
    let mut sent = at_once(stream, &head, &**file)?;
    while sent < head.len() {
        // More follows: it goes out with the first bytes of the file (MSG_MORE of send(2)).
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        sent +=
            write(stream, || Ok(rustix::net::send(stream.as_fd(), &head[sent..], flags)?)).await?;
    }
    let mut at = (sent - head.len()) as u64;
    while at < file.size() {
        let most = usize::try_from(file.size() - at).unwrap_or(SLICE).min(SLICE);
        at_hand(file, at, most).await?;
        let (mut offset, end) = (at, at + most as u64);
        while offset < end {
            let count = (end - offset) as usize;
            let n = write(stream, || {
                let mut from = offset;
                Ok(rustix::fs::sendfile(stream.as_fd(), file.file(), Some(&mut from), count)?)
            });
            match n.await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => offset += n as u64,
            }
        }
        at = end;
    }
    Ok(())
}

/// Sends the head and a small file with one call, if the file is in memory and the socket takes it;
/// says how much of both was sent.
fn at_once<P: Plain>(stream: &TcpStream, head: &[u8], file: &P) -> io::Result<usize> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SMALL]);
    }
    let Some(size) = usize::try_from(file.size()).ok().filter(|&size| size <= SMALL) else {
        return Ok(0);
    };
    BUFFER.with_borrow_mut(|buffer| {
        let body = &mut buffer[..size];
        let read = rustix::io::preadv2(
            file.file(),
            &mut [io::IoSliceMut::new(body)],
            0,
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
async fn at_hand<P: Plain>(file: &Arc<P>, at: u64, size: usize) -> io::Result<()> {
    let mut byte = [0];
    let mut probe = |at: u64| {
        let mut slices = [io::IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(file.file(), &mut slices, at, ReadWriteFlags::NOWAIT).is_ok()
    };
    if probe(at) && probe(at + size as u64 - 1) {
        return Ok(());
    }
    let file = file.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; size];
        std::os::unix::fs::FileExt::read_exact_at(file.file(), &mut buffer, at)
    });
    read.await.map_err(io::Error::other)?
}
