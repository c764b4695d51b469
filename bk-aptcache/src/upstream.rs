//! The archives that are cached, and where they are.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bk::http::hyper::Uri;
use bk::http::hyper::header::HeaderValue;
use bk::{Error, Result, Status};

use crate::path;

/// A mirror that failed is asked last for so long.
const REST: Duration = Duration::from_secs(60);

/// An archive: one tree of files, in one or more places.
#[derive(Debug)]
pub struct Upstream {
    /// What clients and the store call it.
    pub name: String,
    /// Where it is, in order of preference; at least one place.
    pub mirrors: Vec<Mirror>,
    /// What its signatures are checked with.
    pub keyring: Option<PathBuf>,
}

/// One place of an archive.
#[derive(Debug)]
pub struct Mirror {
    /// The address of its root.
    pub base: Base,
    /// Until when it is asked last, and its rank among its equals, in milliseconds.
    down: AtomicU64,
    rank: AtomicU64,
    born: Instant,
}

impl Mirror {
    /// A place that was not asked yet.
    pub fn new(base: Base) -> Self {
        let born = Instant::now();
        Mirror { base, down: AtomicU64::new(0), rank: AtomicU64::new(0), born }
    }

    /// It failed: ask others first for a while.
    pub fn failed(&self) {
        let until = self.born.elapsed() + REST;
        self.down.store(until.as_millis() as u64, Ordering::Relaxed);
    }

    /// It answered.
    pub fn answered(&self) {
        self.down.store(0, Ordering::Relaxed);
    }

    /// Whether it failed lately.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed) > self.born.elapsed().as_millis() as u64
    }

    /// Sets how long it takes to answer; the quickest is asked first.
    pub fn measured(&self, time: Duration) {
        self.rank.store(time.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Upstream {
    /// The mirrors in the order to ask them.
    pub fn order(&self) -> Vec<&Mirror> {
        let mut order: Vec<&Mirror> = self.mirrors.iter().collect();
        order.sort_by_key(|mirror| (mirror.is_down(), mirror.rank.load(Ordering::Relaxed)));
        order
    }
}

/// `NAME=URL[,URL…]`
impl FromStr for Upstream {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let failed = |why: String| {
            Error::new(why)
                .context(format!("cannot use the upstream '{}'", bk::sanitize(text)))
                .hint("write NAME=URL, as in debian=http://MIRROR/debian")
                .status(Status::Usage)
        };
        let (name, urls) = text.split_once('=').ok_or_else(|| failed("it has no '='".into()))?;
        if !is_name(name) {
            return Err(failed(format!("'{}' is no name for it", bk::sanitize(name))));
        }
        let base = |url: &str| Base::from_str(url.trim()).map_err(|e| failed(e.to_string()));
        let mirrors = urls.split(',').map(|url| base(url).map(Mirror::new));
        Ok(Upstream { name: name.into(), mirrors: mirrors.collect::<Result<_>>()?, keyring: None })
    }
}

/// A folder's name, and none that the server's own pages have.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
    let own = name.eq_ignore_ascii_case("https") || ["metrics", "healthz"].contains(&name);
    !name.is_empty()
        && name.len() < 100
        && !name.starts_with('.')
        && !own
        && name.bytes().all(plain)
}

/// The address of an archive's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Whether it speaks TLS.
    pub https: bool,
    /// A name or an address, in lower case, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The canonical path, without slashes at its ends.
    pub path: String,
    /// What proves who we are, from `user:password@`.
    pub authorization: Option<HeaderValue>,
}

impl Base {
    /// The address of a file below it.
    pub fn uri(&self, file: &str) -> Result<Uri> {
        let slash = if self.path.is_empty() { "" } else { "/" };
        let text = format!(
            "{}://{}{slash}{}/{}",
            self.scheme(),
            self.authority(),
            path::encode(&self.path),
            path::encode(file)
        );
        Ok(text.parse()?)
    }

    fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// `host`, or `host:port` where the port is not the usual one.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The part of a path that lies below this archive, if this is where it is.
    pub fn strip<'a>(&self, host: &str, port: Option<u16>, file: &'a str) -> Option<&'a str> {
        let usual = if self.https { 443 } else { 80 };
        // A client that leaves the port out means the usual one of the scheme it names; whether
        // that is TLS is ours to know.
        let same = port.is_none_or(|port| port == 80 || port == 443) && self.port == usual
            || port == Some(self.port);
        if !same || !host.trim_end_matches('.').eq_ignore_ascii_case(&self.host) {
            return None;
        }
        let rest = file.strip_prefix(self.path.as_str())?;
        if self.path.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}/{}", self.scheme(), self.authority(), self.path)
    }
}

impl FromStr for Base {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::new(format!("'{}' {why}", bk::sanitize(text)));
        let uri: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("is not http:// or https://")),
        };
        let (host, port) = host_port(&uri).ok_or_else(|| wrong("names no host"))?;
        let user = uri.authority().and_then(|a| a.as_str().rsplit_once('@')).map(|(user, _)| user);
        let authorization = user
            .map(|user| {
                let user = bk::http::decode(user).ok_or_else(|| wrong("names no user"))?;
                let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(user)))?;
                value.set_sensitive(true);
                Ok::<_, Error>(value)
            })
            .transpose()?;
        let path = path::canonical(uri.path().trim_start_matches('/'));
        let path = path.map_err(|_| wrong("has a path that leads elsewhere"))?.into_owned();
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Ok(Base { https, host, port, path, authorization })
    }
}

/// The host of an address, in lower case, without brackets and a dot at its end, and its port.
pub fn host_port(uri: &Uri) -> Option<(String, Option<u16>)> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let authority = uri.authority()?.as_str();
    let rest = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let port = match rest.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((_, port)) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    (!host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

/// All archives, and how requests lead to them.
#[derive(Debug, Default)]
pub struct Upstreams {
    /// In the order they were named.
    pub all: Vec<std::sync::Arc<Upstream>>,
}

impl Upstreams {
    /// The archive of a name.
    pub fn named(&self, name: &str) -> Option<&std::sync::Arc<Upstream>> {
        self.all.iter().find(|upstream| upstream.name == name)
    }

    /// The archive that has the file at an address, and the file's path in it.
    pub fn at<'a>(
        &self,
        host: &str,
        port: Option<u16>,
        file: &'a str,
    ) -> Option<(&std::sync::Arc<Upstream>, &'a str)> {
        let places = self.all.iter().flat_map(|u| u.mirrors.iter().map(move |m| (u, &m.base)));
        places
            .filter_map(|(upstream, base)| Some((upstream, base.strip(host, port, file)?)))
            // The most exact one: of two archives on one host the one whose path is longer.
            .min_by_key(|(_, rest)| rest.len())
    }

    /// Whether a host and port are those of an archive, which makes them known whatever their
    /// address.
    pub fn names(&self, host: &str, port: u16) -> bool {
        let mut mirrors = self.all.iter().flat_map(|upstream| &upstream.mirrors);
        mirrors.any(|mirror| mirror.base.host == host && mirror.base.port == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams(texts: &[&str]) -> Upstreams {
        Upstreams {
            all: texts.iter().map(|text| std::sync::Arc::new(text.parse().unwrap())).collect(),
        }
    }

    #[test]
    fn addresses_lead_to_the_archive_that_has_them() {
        let all = upstreams(&[
            "debian=http://one/debian,https://two:8443/d",
            "extra=http://one/debian/extra",
            "root=https://three",
        ]);
        for (host, port, file, expected) in [
            ("one", None, "debian/pool/a", Some(("debian", "pool/a"))),
            ("ONE.", Some(80), "debian/pool/a", Some(("debian", "pool/a"))),
            ("one", Some(443), "debian/pool/a", Some(("debian", "pool/a"))),
            ("two", Some(8443), "d/x", Some(("debian", "x"))),
            ("two", None, "d/x", None),
            ("one", None, "debian/extra/x", Some(("extra", "x"))),
            ("one", None, "debianx/pool", None),
            ("one", Some(8080), "debian/pool/a", None),
            ("three", None, "x/y", Some(("root", "x/y"))),
            ("four", None, "debian/x", None),
        ] {
            let found = all.at(host, port, file).map(|(u, rest)| (u.name.as_str(), rest));
            assert_eq!(found, expected, "{host} {port:?} {file}");
        }
    }

    #[test]
    fn addresses_are_written_as_servers_read_them() {
        let base: Base = "http://User:pa%40ss@[::1]:8080/a/b/".parse().unwrap();
        assert_eq!((base.host.as_str(), base.port, base.path.as_str()), ("::1", 8080, "a/b"));
        assert_eq!(base.authorization.as_ref().unwrap(), "Basic VXNlcjpwYUBzcw==");
        assert_eq!(base.uri("c+d~e f").unwrap(), "http://[::1]:8080/a/b/c%2Bd~e%20f");
        let base: Base = "https://host".parse().unwrap();
        assert_eq!(base.uri("x").unwrap(), "https://host/x");
    }

    #[test]
    fn slips_in_an_upstream_are_told() {
        for text in [
            "debian",
            "=http://x",
            "a/b=http://x",
            ".a=http://x",
            "https=http://x",
            "a=ftp://x",
            "a=http://",
            "a=http://x:0/",
            "a=http://x/../y",
            "a=",
            "metrics=http://x",
        ] {
            let error = text.parse::<Upstream>().unwrap_err();
            assert_eq!(error.exit_status(), Status::Usage, "{text}");
        }
    }
}
