//! Requests: which are refused before anything is done, and what the others ask for.

use std::borrow::Cow;
use std::sync::Arc;

use bk::http::hyper::header::{self, HeaderMap};
use bk::http::hyper::{Method, StatusCode, Uri};

use crate::path;
use crate::upstream::{Upstream, Upstreams, host_port};

/// A request that is refused: how, and why.
pub type Refusal = (StatusCode, &'static str);

/// What a request asks for.
#[derive(Debug)]
pub enum Target<'a> {
    /// A file of an archive, by its path there.
    File(&'a Arc<Upstream>, Cow<'a, str>),
    /// A page of the server itself, by its path.
    Page(String),
}

/// Refuses what different readers could read differently (RFC 9112, 6.3 and 11.2), and what no
/// client of an archive sends.
pub fn check(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    http_1_1: bool,
) -> Result<(), Refusal> {
    let bad = |why| Err((StatusCode::BAD_REQUEST, why));
    let count = |name: header::HeaderName| headers.get_all(name).iter().count();
    let (lengths, encodings) = (count(header::CONTENT_LENGTH), count(header::TRANSFER_ENCODING));
    if lengths > 0 && encodings > 0 {
        return bad("both Content-Length and Transfer-Encoding");
    }
    if lengths > 1 || encodings > 1 {
        return bad("a header that there may be one of is there twice");
    }
    match count(header::HOST) {
        0 if http_1_1 => return bad("no Host"),
        0 | 1 => {}
        _ => return bad("several hosts"),
    }
    if method == Method::CONNECT {
        return Ok(());
    }
    if method != Method::GET && method != Method::HEAD {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and CONNECT"));
    }
    let nothing = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    if !nothing || encodings > 0 {
        return bad("a request for a file has no body");
    }
    if uri.path().len() > path::LONGEST {
        return Err((StatusCode::URI_TOO_LONG, "the path is too long"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return bad("the address names a user");
    }
    if uri.query().is_some_and(|query| !query.is_empty()) {
        return bad("files of archives have no query");
    }
    Ok(())
}

/// What a request asks for: a mapped path (`/debian/pool/…`), a file at an address
/// (`http://MIRROR/debian/pool/…`), or one behind TLS (`HTTPS///MIRROR/debian/pool/…`).
pub fn target<'a>(uri: &'a Uri, upstreams: &'a Upstreams) -> Result<Target<'a>, Refusal> {
    let bad = (StatusCode::BAD_REQUEST, "the path leads elsewhere, or cannot be read");
    let path = path::canonical(uri.path().trim_start_matches('/')).map_err(|_| bad)?;
    let unlisted =
        (StatusCode::FORBIDDEN, "no upstream has this address; add one with --upstream NAME=URL");
    if uri.authority().is_some() {
        let host = host_port(uri).ok_or((StatusCode::BAD_REQUEST, "the address has no host"))?;
        if host.0 == "https" {
            return behind_tls(&path, upstreams).ok_or(unlisted);
        }
        let found = upstreams.at(&host.0, host.1, &path);
        let found = found.map(|(upstream, rest)| (upstream, rest.to_owned()));
        return match found {
            Some((upstream, rest)) => Ok(Target::File(upstream, rest.into())),
            None => Err(unlisted),
        };
    }
    let (first, rest) = path.split_once('/').unwrap_or((&path, ""));
    if first.eq_ignore_ascii_case("https") {
        return behind_tls(rest, upstreams).ok_or(unlisted);
    }
    match upstreams.named(first) {
        Some(upstream) if !rest.is_empty() => {
            let from = first.len() + 1;
            let rest = match path {
                Cow::Borrowed(path) => Cow::Borrowed(&path[from..]),
                Cow::Owned(ref path) => Cow::Owned(path[from..].to_owned()),
            };
            Ok(Target::File(upstream, rest))
        }
        _ => Ok(Target::Page(path.into_owned())),
    }
}

/// `MIRROR/debian/pool/…`
fn behind_tls<'a>(path: &str, upstreams: &'a Upstreams) -> Option<Target<'a>> {
    let (host, rest) = path.split_once('/')?;
    let uri: Uri = format!("https://{host}/").parse().ok()?;
    let (host, port) = host_port(&uri)?;
    let (upstream, rest) = upstreams.at(&host, port.or(Some(443)), rest)?;
    Some(Target::File(upstream, rest.to_owned().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams() -> Upstreams {
        let all = ["debian=http://mirror/debian", "docker=https://tls.example/linux/debian"];
        Upstreams { all: all.iter().map(|text| Arc::new(text.parse().unwrap())).collect() }
    }

    #[test]
    fn all_forms_lead_to_the_same_file() {
        let upstreams = upstreams();
        for (uri, name, file) in [
            ("/debian/pool/a%2bb.deb", "debian", "pool/a+b.deb"),
            ("//debian//./pool/a.deb", "debian", "pool/a.deb"),
            ("http://mirror/debian/pool/a.deb", "debian", "pool/a.deb"),
            ("http://MIRROR:80/debian/pool/a.deb", "debian", "pool/a.deb"),
            ("http://HTTPS///tls.example/linux/debian/x", "docker", "x"),
            ("/HTTPS///tls.example/linux/debian/x", "docker", "x"),
            ("/https/tls.example:443/linux/debian/x", "docker", "x"),
            ("http://tls.example/linux/debian/x", "docker", "x"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            match target(&uri, &upstreams) {
                Ok(Target::File(upstream, path)) => {
                    assert_eq!((upstream.name.as_str(), &*path), (name, file), "{uri}");
                }
                other => panic!("{uri}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_listed_is_refused_and_pages_are_pages() {
        let upstreams = upstreams();
        for uri in [
            "http://127.0.0.1/x",
            "http://2130706433/",
            "http://other/debian/x",
            "/HTTPS///other/x",
            "http://mirror:81/debian/x",
            "http://[::1]/",
            "http://169.254.169.254/latest",
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(target(&uri, &upstreams).unwrap_err().0, StatusCode::FORBIDDEN, "{uri}");
        }
        for uri in ["/debian/../etc", "/%2e%2e/etc", "/debian/%00", "http://mirror/debian/%2e%2e/x"]
        {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(target(&uri, &upstreams).unwrap_err().0, StatusCode::BAD_REQUEST, "{uri}");
        }
        for uri in ["/", "/metrics", "/debian", "/nothing/here"] {
            let uri: Uri = uri.parse().unwrap();
            assert!(matches!(target(&uri, &upstreams), Ok(Target::Page(_))), "{uri}");
        }
    }
}
