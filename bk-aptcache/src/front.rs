//! The short way: a plain request for a file that is open and beyond doubt is answered with two
//! system calls, the head and sendfile(2), as the quickest servers do it.
//!
//! Everything else (what is not here, parts, conditions, odd heads) goes to hyper, with the bytes
//! that were read, and stays there for the rest of the connection.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bk::http::hyper::Uri;
use bk::http::tokio::io::{AsyncRead, Interest, ReadBuf};
use bk::http::tokio::net::TcpStream;
use bk::http::tokio::{self, sync::watch};
use rustix::io::ReadWriteFlags;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use crate::cache::{Cache, Connection};
use crate::entry::Entry;
use crate::path::is_immutable;
use crate::statistics::Verdict;

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

/// Answers what it can, and returns the connection and what was read of it, for hyper; or nothing,
/// when the client is done.
pub async fn run(
    cache: Arc<Cache>,
    connection: Arc<Connection>,
    mut stream: TcpStream,
    mut stopping: watch::Receiver<()>,
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
        let Some((entry, line)) = find(&cache, &read[..end]) else { return Some((stream, read)) };
        answered = true;
        cache.statistics.answered(Verdict::Hit, entry.size);
        if let Some(line) = line {
            cache.log(connection.client, 200, Verdict::Hit, entry.size, &line);
        }
        if send(&stream, &entry).await.is_err() {
            return None;
        }
        read.drain(..end);
    }
}

/// The file that a head asks for, if that is all it does; and the line for the log, if there is one.
fn find(cache: &Cache, head: &[u8]) -> Option<(Arc<Entry>, Option<String>)> {
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
    let target = request.path?;
    let config = cache.config();
    let key;
    let key = match target.strip_prefix('/') {
        Some(path) => path,
        None => {
            let uri: Uri = target.parse().ok()?;
            let (host, port) = crate::upstream::host_port(&uri)?;
            if uri.authority()?.as_str().contains('@') || uri.query().is_some() {
                return None;
            }
            let path = uri.path().strip_prefix('/')?;
            let (upstream, rest) = config.upstreams.at(&host, port, path)?;
            key = format!("{}/{rest}", upstream.name);
            &key
        }
    };
    // As it is written it must be the canonical path, so that there is nothing to decode.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~+:,=@".contains(&b);
    if !key.bytes().all(plain) || key.contains("//") || key.contains("/.") || key.starts_with('.') {
        return None;
    }
    let (name, path) = key.split_once('/')?;
    config.upstreams.named(name)?;
    if !is_immutable(path) {
        return None;
    }
    let entry = cache.entries.get(key)?;
    let sure = entry.is_sure(cache.suites.epoch(), cache.entries.now());
    let line = || cache.logs().then(|| format!("GET {target}"));
    (sure && entry.size > 0).then(|| (entry.clone(), line()))
}

async fn send(stream: &TcpStream, entry: &Arc<Entry>) -> io::Result<()> {
    let head = entry.head();
    let mut sent = at_once(stream, &head, entry)?;
    while sent < head.len() {
        // More follows: it goes out with the first bytes of the file (MSG_MORE of send(2)).
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        sent +=
            write(stream, || Ok(rustix::net::send(stream.as_fd(), &head[sent..], flags)?)).await?;
    }
    let mut at = (sent - head.len()) as u64;
    while at < entry.size {
        let most = usize::try_from(entry.size - at).unwrap_or(SLICE).min(SLICE);
        at_hand(entry, at, most).await?;
        let (mut offset, end) = (at, at + most as u64);
        while offset < end {
            let count = (end - offset) as usize;
            let n = write(stream, || {
                let mut from = offset;
                Ok(rustix::fs::sendfile(stream.as_fd(), &entry.file, Some(&mut from), count)?)
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
fn at_once(stream: &TcpStream, head: &[u8], entry: &Entry) -> io::Result<usize> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SMALL]);
    }
    let Some(size) = usize::try_from(entry.size).ok().filter(|&size| size <= SMALL) else {
        return Ok(0);
    };
    BUFFER.with_borrow_mut(|buffer| {
        let body = &mut buffer[..size];
        let read = rustix::io::preadv2(
            &entry.file,
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
async fn at_hand(entry: &Arc<Entry>, at: u64, size: usize) -> io::Result<()> {
    let mut byte = [0];
    let mut probe = |at: u64| {
        let mut slices = [io::IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(&entry.file, &mut slices, at, ReadWriteFlags::NOWAIT).is_ok()
    };
    if probe(at) && probe(at + size as u64 - 1) {
        return Ok(());
    }
    let entry = entry.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; size];
        std::os::unix::fs::FileExt::read_exact_at(&entry.file, &mut buffer, at)
    });
    read.await.map_err(io::Error::other)?
}
