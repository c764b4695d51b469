//! Asking an apt cache. ureq reaches proxies with CONNECT alone, behind which a cache sees nothing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use bk::{Context, Error, Result};

use super::{Ask, Got, TIMEOUT, shown};

/// What the head of an answer may have; servers send some 500 bytes.
const HEAD: u64 = 64 << 10;

/// A mirror that sends a client on does so once; browsers follow 20.
const REDIRECTS: usize = 5;

/// Asks for the whole address (RFC 9112 3.2.2), in HTTP/1.0, whose bodies come in one piece.
pub(super) fn get(proxy: &str, url: &str, ask: Ask<'_>) -> Result<Got> {
    let mut url = url.to_owned();
    for _ in 0..REDIRECTS {
        let got = once(proxy, &url, ask)?;
        let to = got.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"));
        match (got.status, to) {
            (301 | 302 | 303 | 307 | 308, Some((_, to))) if to.contains("://") => {
                url.clone_from(to);
            }
            _ => return Ok(Got { url, ..got }),
        }
    }
    Err(Error::new(format!("it leads on and on, at last to '{}'", shown(&url))))
}

fn once(proxy: &str, url: &str, ask: Ask<'_>) -> Result<Got> {
    let failed = || format!("cannot use the proxy '{}'", bk::sanitize(proxy));
    let plain = |c: char| c.is_ascii_graphic();
    let (scheme, rest) = url
        .split_once("://")
        .filter(|_| url.chars().all(plain))
        .ok_or_else(|| Error::new(format!("'{}' is no address", shown(url))))?;
    // What is behind TLS only the cache can ask for; apt's caches have agreed on this form.
    let target = match scheme {
        "https" => format!("http://HTTPS///{rest}"),
        _ => url.to_owned(),
    };
    let host = rest.split('/').next().unwrap_or_default();
    let mut request = format!(
        "GET {target} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: {}\r\nAccept: {}\r\nConnection: close\r\n",
        concat!("bk-deb/", env!("CARGO_PKG_VERSION")),
        ask.accept.unwrap_or("*/*"),
    );
    if let Some(range) = ask.range {
        request += &format!("Range: bytes={range}\r\n");
    }
    if let Some(etag) = ask.etag {
        request += &format!("If-None-Match: {etag}\r\n");
    }
    request += "\r\n";

    let mut stream = connect(proxy).context(failed)?;
    stream.write_all(request.as_bytes()).context(failed)?;
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let (status, headers) = head(&mut reader).context(failed)?;
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let body: Box<dyn Read> = match length.and_then(|(_, length)| length.parse().ok()) {
        Some(left) => Box::new(Exactly { reader, left }),
        None => Box::new(reader),
    };
    Ok(Got { status, headers, url: url.to_owned(), body })
}

fn connect(proxy: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in proxy.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The status and the headers of an answer.
fn head(reader: &mut impl BufRead) -> Result<(u16, Vec<(String, String)>)> {
    let mut reader = reader.take(HEAD);
    let mut line = || -> Result<String> {
        let mut bytes = Vec::new();
        reader.read_until(b'\n', &mut bytes)?;
        match bytes.pop() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned()),
            _ => Err(Error::new("its answer has no end")),
        }
    };
    let first = line()?;
    // HTTP/1.1 200 OK
    let status =
        first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| Error::new("it does not speak HTTP"))?;
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
}

/// A body that was announced to have so many bytes.
struct Exactly<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.by_ref().take(self.left).read(buffer)?;
        if n == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off"));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::JoinHandle;

    /// A proxy that answers one request, and says what it was.
    fn proxy(answer: &'static str) -> Result<(String, JoinHandle<Result<String>>)> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            let mut reader = BufReader::new(stream.try_clone()?);
            let (mut request, mut line) = (String::new(), String::new());
            while reader.read_line(&mut line)? > 2 {
                request += &std::mem::take(&mut line);
            }
            stream.write_all(answer.as_bytes())?;
            Ok(request)
        });
        Ok((address, thread))
    }

    fn asked(thread: JoinHandle<Result<String>>) -> Result<String> {
        thread.join().unwrap_or_else(|_| Err(Error::new("the proxy has panicked")))
    }

    #[test]
    fn the_whole_address_is_asked_for() -> Result<()> {
        for (url, line) in [
            ("http://MIRROR/debian/x", "GET http://MIRROR/debian/x HTTP/1.0\r\n"),
            ("https://MIRROR/debian/x", "GET http://HTTPS///MIRROR/debian/x HTTP/1.0\r\n"),
        ] {
            let (address, thread) = proxy("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcmore")?;
            let mut body = String::new();
            let mut got = get(&address, url, Ask::default())?;
            got.body.read_to_string(&mut body)?;
            assert_eq!((got.status, body.as_str()), (200, "abc"));
            assert!(asked(thread)?.starts_with(line));
        }
        Ok(())
    }

    #[test]
    fn what_breaks_off_is_an_error() -> Result<()> {
        let (address, thread) = proxy("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")?;
        let mut got = get(&address, "http://MIRROR/x", Ask::default())?;
        assert!(got.body.read_to_end(&mut Vec::new()).is_err());
        asked(thread)?;
        for answer in ["", "HTTP/1.1 200 OK\r\nx: y", "SSH-2.0-x\r\n\r\n"] {
            let (address, thread) = proxy(answer)?;
            assert!(get(&address, "http://MIRROR/x", Ask::default()).is_err(), "{answer:?}");
            asked(thread)?;
        }
        assert!(get("127.0.0.1:1", "http://MIRROR/ x", Ask::default()).is_err());
        Ok(())
    }
}
