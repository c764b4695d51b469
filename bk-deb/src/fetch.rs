//! Fetching over http, https and file, with a cache that is asked before the network is.

mod proxy;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bk::{Console, Context, Error, Result, Status, display, file};
use sha2::{Digest, Sha256};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// How long a server may take to answer, and between two pieces of its answer. apt's own default
/// for http is 30 s, too.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What was fetched.
pub struct Response {
    /// The body.
    pub body: Vec<u8>,
    /// Its `Content-Type`; empty for files.
    pub content_type: String,
    /// Where it came from, after redirects.
    pub url: String,
    /// Its `ETag` (RFC 9110 8.8.3); empty where there is none.
    pub etag: String,
    /// How long it may be believed (`max-age`, RFC 9111 5.2.2.1), in seconds.
    pub max_age: Option<u64>,
}

/// What came of asking whether something is newer than what is known.
pub enum Fresh {
    /// It is not there.
    Missing,
    /// It is what is known.
    Unchanged,
    /// It is this.
    Changed(Response),
}

/// A piece of something.
pub struct Part {
    /// The bytes.
    pub body: Vec<u8>,
    /// Where they start in the whole.
    pub start: u64,
    /// How many bytes the whole has.
    pub total: u64,
}

/// What is asked of a server, beside the address.
#[derive(Clone, Copy, Default)]
struct Ask<'a> {
    accept: Option<&'a str>,
    range: Option<&'a str>,
    etag: Option<&'a str>,
}

/// An answer whose body is still to be read.
enum Answer {
    Missing,
    Unchanged,
    Body { reader: Box<dyn Read>, range: Option<(u64, u64)>, about: Response },
}

/// What a server says, whatever that means.
struct Got {
    status: u16,
    headers: Vec<(String, String)>,
    /// The address after redirects.
    url: String,
    body: Box<dyn Read>,
}

/// How many connections to a server are kept: as many as the index client has threads.
const CONNECTIONS: usize = 16;

/// A client. Cheap until it is used: certificates are read with the first https request.
pub struct Fetch {
    agent: OnceLock<ureq::Agent>,
    console: Console,
    offline: bool,
    proxy: Option<String>,
}

impl Fetch {
    /// `offline` refuses everything but `file:`.
    pub fn new(console: &Console, offline: bool) -> Self {
        Fetch { agent: OnceLock::new(), console: console.clone(), offline, proxy: None }
    }

    /// Asks a proxy, `HOST:PORT`, for everything but `file:`: an apt cache, which takes whole
    /// addresses.
    pub fn through(self, proxy: &str) -> Self {
        Fetch { proxy: Some(proxy.to_owned()), ..self }
    }

    fn agent(&self) -> &ureq::Agent {
        self.agent.get_or_init(|| {
            // The system's certificates, or those SSL_CERT_FILE names: companies add their own.
            let certificates: Vec<_> = rustls_native_certs::load_native_certs()
                .certs
                .iter()
                .map(|der| ureq::tls::Certificate::from_der(der).to_owned())
                .collect();
            let tls = ureq::tls::TlsConfig::builder()
                .root_certs(ureq::tls::RootCerts::new_with_certs(&certificates))
                .build();
            let config = ureq::Agent::config_builder()
                .tls_config(tls)
                .http_status_as_error(false)
                .timeout_connect(Some(TIMEOUT))
                .timeout_recv_response(Some(TIMEOUT))
                .timeout_per_read(Some(TIMEOUT))
                .max_idle_connections(CONNECTIONS)
                .max_idle_connections_per_host(CONNECTIONS)
                .user_agent(concat!("bk-deb/", env!("CARGO_PKG_VERSION")))
                .build();
            ureq::Agent::with_parts(config, DefaultConnector::default(), Hosts::default())
        })
    }

    /// Gets `url`, at most `limit` bytes, saying `accept` to the server. None if it is not there.
    pub fn find(&self, url: &str, accept: &str, limit: u64) -> Result<Option<Response>> {
        match self.newer(url, accept, "", limit)? {
            Fresh::Changed(response) => Ok(Some(response)),
            Fresh::Missing | Fresh::Unchanged => Ok(None),
        }
    }

    /// The same, unless it is still what had `etag` (RFC 9110 13.1.2); an empty one is none.
    pub fn newer(&self, url: &str, accept: &str, etag: &str, limit: u64) -> Result<Fresh> {
        let failed = || format!("cannot fetch '{}'", shown(url));
        let etag = Some(etag).filter(|etag| !etag.is_empty());
        let ask = Ask { accept: Some(accept), etag, range: None };
        let (mut reader, mut about) = match self.open(url, ask).context(failed)? {
            Answer::Missing => return Ok(Fresh::Missing),
            Answer::Unchanged => return Ok(Fresh::Unchanged),
            Answer::Body { reader, about, .. } => (reader, about),
        };
        let read = reader.by_ref().take(limit + 1).read_to_end(&mut about.body);
        read.context(failed).status(Status::Temporary)?;
        if about.body.len() as u64 > limit {
            return Err(Error::new(format!("larger than {limit} bytes")).context(failed()));
        }
        Ok(Fresh::Changed(about))
    }

    /// Gets `url`, at most `limit` bytes.
    pub fn get(&self, url: &str, limit: u64) -> Result<Response> {
        self.find(url, "*/*", limit)?
            .ok_or_else(|| Error::new(format!("cannot fetch '{}': not found", shown(url))))
    }

    /// Gets a range of `url`, `bytes` as in RFC 9110 14.1.2 (`0-99`, `-1000`). None if the server
    /// does not do ranges.
    pub fn range(&self, url: &str, bytes: &str, limit: u64) -> Result<Option<Part>> {
        let failed = || format!("cannot fetch '{}'", shown(url));
        let ask = Ask { range: Some(bytes), ..Ask::default() };
        let Answer::Body { mut reader, range: Some((start, total)), .. } =
            self.open(url, ask).context(failed)?
        else {
            return Ok(None);
        };
        let mut body = Vec::new();
        let read = reader.by_ref().take(limit + 1).read_to_end(&mut body);
        read.context(failed).status(Status::Temporary)?;
        Ok(Some(Part { body, start, total }))
    }

    /// Fetches `url` as the file `path`, unless it is there. Its SHA-256 must be `sha256`, in
    /// hexadecimal, where it is known.
    pub fn file(&self, url: &str, path: &Path, sha256: Option<&str>) -> Result<()> {
        if path.exists() {
            return Ok(());
        }
        let failed = || format!("cannot fetch '{}'", shown(url));
        let Answer::Body { mut reader, .. } = self.open(url, Ask::default()).context(failed)?
        else {
            return Err(Error::new("not found").context(failed()));
        };
        if let Some(parent) = path.parent() {
            file::create_dir(parent)?;
        }
        let mut out = file::AtomicFile::create(path)?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
        loop {
            let n = reader.read(&mut buffer).context(failed).status(Status::Temporary)?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            out.write_all(&buffer[..n]).context(|| format!("cannot write '{}'", display(path)))?;
        }
        let found = format!("{:x}", hash.finalize());
        if let Some(expected) = sha256.filter(|expected| !expected.eq_ignore_ascii_case(&found)) {
            return Err(Error::new(format!("its SHA-256 is {found}, not {expected}"))
                .context(failed())
                .hint(
                    "the index and the file disagree: fetch again later, or ask who keeps them",
                ));
        }
        out.commit()
    }

    fn open(&self, url: &str, ask: Ask<'_>) -> Result<Answer> {
        let mut about = Response {
            body: Vec::new(),
            content_type: String::new(),
            url: url.to_owned(),
            etag: String::new(),
            max_age: None,
        };
        if let Some(path) = path_of(url) {
            return match File::open(&path) {
                Ok(_) if ask.range.is_some() => Ok(Answer::Missing),
                Ok(file) => Ok(Answer::Body { reader: Box::new(file), range: None, about }),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Answer::Missing),
                Err(e) => Err(e.into()),
            };
        }
        if self.offline {
            return Err(Error::new("the network is not to be used (--offline or --no-index)"));
        }
        self.console.debug(&format!("GET {} {}", shown(url), ask.range.unwrap_or_default()));
        let got = match &self.proxy {
            Some(proxy) => proxy::get(proxy, url, ask),
            None => self.ask(url, ask),
        };
        let got = got.status(Status::Temporary)?;
        let header = |name: &str| {
            let named = got.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let mut range = None;
        match got.status {
            206 if ask.range.is_some() => range = content_range(&header("content-range")),
            304 if ask.etag.is_some() => return Ok(Answer::Unchanged),
            416 if ask.range.is_some() => return Ok(Answer::Missing),
            200 => {}
            404 | 410 => return Ok(Answer::Missing),
            // Busy, or broken for now: RFC 9110 15.6, RFC 6585 4.
            status @ (429 | 500..=599) => {
                return Err(
                    Error::new(format!("the server answers {status}")).status(Status::Temporary)
                );
            }
            status @ (401 | 403) if self.proxy.is_none() => {
                return Err(Error::new(format!("the server answers {status}"))
                    .hint("give the credentials in the address: https://USER:PASSWORD@HOST/"));
            }
            status => return Err(Error::new(format!("the server answers {status}"))),
        }
        about.content_type = header("content-type");
        about.etag = header("etag");
        about.max_age = max_age(&header("cache-control"));
        about.url = got.url;
        Ok(Answer::Body { reader: got.body, range, about })
    }

    fn ask(&self, url: &str, ask: Ask<'_>) -> Result<Got> {
        use ureq::ResponseExt;
        let (bare, credentials) = split_credentials(url);
        let mut request = self.agent().get(&bare).header("accept", ask.accept.unwrap_or("*/*"));
        if let Some(credentials) = credentials {
            use base64::{Engine, engine::general_purpose::STANDARD};
            request =
                request.header("authorization", format!("Basic {}", STANDARD.encode(credentials)));
        }
        if let Some(range) = ask.range {
            // A range of a compressed body would be of no use.
            request = request.header("range", format!("bytes={range}"));
            request = request.header("accept-encoding", "identity");
        }
        if let Some(etag) = ask.etag {
            request = request.header("if-none-match", etag);
        }
        let response = request.call()?;
        let pair = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            Some((name.to_string(), value.to_str().ok()?.to_owned()))
        };
        Ok(Got {
            status: response.status().as_u16(),
            headers: response.headers().iter().filter_map(pair).collect(),
            url: response.get_uri().to_string(),
            body: Box::new(response.into_body().into_reader()),
        })
    }
}

/// Looks every host up once. Many threads that ask for the same name at once lose some of the
/// answers, and then wait for seconds before they ask again (RES_TIMEOUT of resolver(3)).
#[derive(Debug, Default)]
struct Hosts {
    known: Mutex<HashMap<String, Vec<SocketAddr>>>,
    system: DefaultResolver,
}

impl Resolver for Hosts {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let key = format!("{:?} {:?}", uri.scheme(), uri.authority().map(|a| (a.host(), a.port())));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = known.get(&key) {
            let mut found = self.empty();
            addresses.iter().for_each(|address| found.push(*address));
            return Ok(found);
        }
        let found = self.system.resolve(uri, config, timeout)?;
        known.insert(key, found.to_vec());
        Ok(found)
    }
}

/// The start and the whole size in `bytes 0-99/1234` (RFC 9110 14.4).
fn content_range(value: &str) -> Option<(u64, u64)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()?))
}

/// How long an answer may be believed, by its `Cache-Control`.
fn max_age(value: &str) -> Option<u64> {
    let mut words = value.split(',').map(str::trim);
    if words.clone().any(|word| ["no-cache", "no-store"].contains(&word)) {
        return Some(0);
    }
    words.find_map(|word| word.strip_prefix("max-age=")?.parse().ok())
}

/// The file of a `file:` address or a plain path.
pub fn path_of(url: &str) -> Option<PathBuf> {
    if let Some(rest) = url.strip_prefix("file:") {
        let path = rest.strip_prefix("//localhost").or(rest.strip_prefix("//")).unwrap_or(rest);
        return Some(PathBuf::from(percent_decode(path)));
    }
    (!url.contains("://")).then(|| PathBuf::from(url))
}

/// The `file:` address of an absolute path.
pub fn url_of(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let encode = |&byte: &u8| match byte {
        // RFC 3986 2.3, and the slash.
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    format!("file://{}", path.as_os_str().as_bytes().iter().map(encode).collect::<String>())
}

/// RFC 3986 2.1.
pub fn percent_decode(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        let hex = || -> Option<u8> {
            let mut ahead = bytes.clone();
            let (a, b) = (char::from(ahead.next()?), char::from(ahead.next()?));
            Some((a.to_digit(16)? * 16 + b.to_digit(16)?) as u8)
        };
        match (byte, hex()) {
            (b'%', Some(value)) => {
                out.push(value);
                bytes.nth(1);
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An address as it may be shown: no password, no control characters.
pub fn shown(url: &str) -> String {
    bk::sanitize(&split_credentials(url).0)
}

/// Takes `user:password@` out of an address.
fn split_credentials(url: &str) -> (String, Option<String>) {
    let split = || {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next()?;
        let (credentials, _) = authority.rsplit_once('@')?;
        Some((
            format!("{scheme}://{}", &rest[credentials.len() + 1..]),
            percent_decode(credentials),
        ))
    };
    split().map_or_else(|| (url.to_owned(), None), |(bare, c)| (bare, Some(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(path_of("file:///a%20b"), Some("/a b".into()));
        assert_eq!(path_of("wheels/x.whl"), Some("wheels/x.whl".into()));
        assert_eq!(path_of("https://x/y"), None);
        assert_eq!(url_of(Path::new("/a b+c/é")), "file:///a%20b%2Bc/%C3%A9");
        assert_eq!(shown("https://me:secret@host/x@y"), "https://host/x@y");
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
    }

    #[test]
    fn headers_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 10)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(max_age("public, max-age=600"), Some(600));
        assert_eq!(max_age("max-age=600, no-cache"), Some(0));
        assert_eq!(max_age(""), None);
    }

    #[test]
    fn a_file_with_another_hash_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        bk::file::write(&from, "abc").unwrap();
        let fetch = Fetch::new(&Console::silent(), true);
        let url = format!("file://{}", from.display());
        assert!(fetch.file(&url, &to, Some(&"0".repeat(64))).is_err());
        assert!(!to.exists());
        // FIPS 180-4's example.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        fetch.file(&url, &to, Some(sha256)).unwrap();
        assert!(fetch.get("https://example.invalid/", 1).is_err());
    }
}
