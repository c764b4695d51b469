//! Fetching over http, https and file, with a cache that is asked before the network is.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bk::{Console, Context, Error, Result, Status, display, file};
use sha2::{Digest, Sha256};

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
}

/// A body that is still to be read, its type and its final address.
type Body = (Box<dyn Read>, String, String);

/// A client. Cheap until it is used: certificates are read with the first https request.
pub struct Fetch {
    agent: OnceLock<ureq::Agent>,
    console: Console,
    offline: bool,
}

impl Fetch {
    /// `offline` refuses everything but `file:`.
    pub fn new(console: &Console, offline: bool) -> Self {
        Fetch { agent: OnceLock::new(), console: console.clone(), offline }
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
            ureq::Agent::config_builder()
                .tls_config(tls)
                .http_status_as_error(false)
                .timeout_connect(Some(TIMEOUT))
                .timeout_recv_response(Some(TIMEOUT))
                .timeout_per_read(Some(TIMEOUT))
                .user_agent(concat!("bk-deb/", env!("CARGO_PKG_VERSION")))
                .build()
                .into()
        })
    }

    /// Gets `url`, at most `limit` bytes, saying `accept` to the server. None if it is not there.
    pub fn find(&self, url: &str, accept: &str, limit: u64) -> Result<Option<Response>> {
        let failed = || format!("cannot fetch '{}'", shown(url));
        let Some((mut reader, content_type, url)) = self.open(url, accept, None).context(failed)?
        else {
            return Ok(None);
        };
        let mut body = Vec::new();
        let read = reader.by_ref().take(limit + 1).read_to_end(&mut body);
        read.context(failed).status(Status::Temporary)?;
        if body.len() as u64 > limit {
            return Err(Error::new(format!("larger than {limit} bytes")).context(failed()));
        }
        Ok(Some(Response { body, content_type, url }))
    }

    /// Gets `url`, at most `limit` bytes.
    pub fn get(&self, url: &str, limit: u64) -> Result<Response> {
        self.find(url, "*/*", limit)?
            .ok_or_else(|| Error::new(format!("cannot fetch '{}': not found", shown(url))))
    }

    /// Gets a range of `url`, `bytes` as in RFC 9110 14.1.2 (`0-99`, `-1000`). None if the server
    /// does not do ranges.
    pub fn range(&self, url: &str, bytes: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let failed = || format!("cannot fetch '{}'", shown(url));
        let Some((mut reader, _, _)) = self.open(url, "*/*", Some(bytes)).context(failed)? else {
            return Ok(None);
        };
        let mut body = Vec::new();
        let read = reader.by_ref().take(limit).read_to_end(&mut body);
        read.context(failed).status(Status::Temporary)?;
        Ok(Some(body))
    }

    /// Fetches `url` as the file `path`, unless it is there. Its SHA-256 must be `sha256`, in
    /// hexadecimal, where it is known.
    pub fn file(&self, url: &str, path: &Path, sha256: Option<&str>) -> Result<()> {
        if path.exists() {
            return Ok(());
        }
        let failed = || format!("cannot fetch '{}'", shown(url));
        let Some((mut reader, _, _)) = self.open(url, "*/*", None).context(failed)? else {
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

    /// None if it is not there.
    fn open(&self, url: &str, accept: &str, range: Option<&str>) -> Result<Option<Body>> {
        if let Some(path) = path_of(url) {
            return match File::open(&path) {
                _ if range.is_some() => Ok(None),
                Ok(file) => Ok(Some((Box::new(file), String::new(), url.to_owned()))),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e.into()),
            };
        }
        if self.offline {
            return Err(Error::new("the network is not to be used (--offline or --no-index)"));
        }
        self.console.debug(&format!("GET {}", shown(url)));
        let (bare, credentials) = split_credentials(url);
        let mut request = self.agent().get(&bare).header("accept", accept);
        if let Some(credentials) = credentials {
            use base64::{Engine, engine::general_purpose::STANDARD};
            request =
                request.header("authorization", format!("Basic {}", STANDARD.encode(credentials)));
        }
        if let Some(range) = range {
            request = request.header("range", format!("bytes={range}"));
        }
        let response = request.call().status(Status::Temporary)?;
        let status = response.status().as_u16();
        match status {
            206 if range.is_some() => {}
            200 | 416 if range.is_some() => return Ok(None),
            200 => {}
            404 | 410 => return Ok(None),
            // Busy, or broken for now: RFC 9110 15.6, RFC 6585 4.
            429 | 500..=599 => {
                return Err(
                    Error::new(format!("the server answers {status}")).status(Status::Temporary)
                );
            }
            401 | 403 => {
                return Err(Error::new(format!("the server answers {status}"))
                    .hint("give the credentials in the address: https://USER:PASSWORD@HOST/"));
            }
            _ => return Err(Error::new(format!("the server answers {status}"))),
        }
        use ureq::ResponseExt;
        let last = response.get_uri().to_string();
        let header = response.headers().get("content-type").and_then(|v| v.to_str().ok());
        let content_type = header.unwrap_or_default().to_owned();
        Ok(Some((Box::new(response.into_body().into_reader()), content_type, last)))
    }
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
