//! Asking archives: connections that lead only where they may.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bk::http::http_body_util::Empty;
use bk::http::hyper::body::{Bytes, Incoming};
use bk::http::hyper::header::{self, HeaderMap, HeaderValue};
use bk::http::hyper::rt::{Read, ReadBufCursor, Write};
use bk::http::hyper::{Method, Response, StatusCode, Uri};
use bk::http::tokio;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::address::{Cidr, is_public};
use crate::upstream::{Base, Mirror, Upstreams, host_port};

/// Looking a name up, connecting to one address, and shaking hands take at most this long each.
const CONNECT: Duration = Duration::from_secs(5);

/// The next address is tried when one has not answered for so long (RFC 8305 says 250 ms; a
/// mirror on the other side of the world takes as long as that).
const NEXT: Duration = Duration::from_millis(500);

/// An archive has this long to start answering; with a stall before it this is less than what apt
/// waits for, see [`crate::transfer`].
const ANSWER: Duration = Duration::from_secs(15);

/// More redirections than this are a loop.
const REDIRECTS: usize = 5;

/// Connections to one host that wait for the next request.
const IDLE: usize = 16;

/// The head of a response has some hundred bytes.
const HEAD: usize = 64 << 10;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It leads where it must not.
    Forbidden(String),
    /// It does not answer, or not in HTTP.
    Unreachable(String),
}

impl Fault {
    /// What is wrong, for people.
    pub fn message(&self) -> &str {
        match self {
            Fault::Forbidden(message) | Fault::Unreachable(message) => message,
        }
    }
}

/// Which addresses requests may lead to.
#[derive(Debug, Default)]
pub struct Policy {
    /// Blocks that are not public, and allowed all the same.
    pub allowed: Vec<Cidr>,
    /// Hosts that are named by the configuration may have any address.
    pub upstreams: Arc<Upstreams>,
    /// What CONNECT may lead to, beside the hosts of archives with TLS.
    pub connect: Vec<String>,
    /// A proxy on the way to the archives.
    pub proxy: Option<Proxy>,
}

/// A proxy on the way: another cache, or the way out of a company.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Whether it speaks SOCKS 5 (RFC 1928), else HTTP.
    pub socks: bool,
    /// Where it is.
    pub base: Base,
}

impl std::str::FromStr for Proxy {
    type Err = bk::Error;

    fn from_str(text: &str) -> Result<Self, bk::Error> {
        let (socks, url) = match text.strip_prefix("socks5://") {
            Some(rest) => (true, format!("http://{rest}")),
            None => (false, text.to_owned()),
        };
        let base = url.parse::<Base>().map_err(|e| {
            e.hint("write http://HOST:PORT or socks5://HOST:PORT").status(bk::Status::Usage)
        })?;
        Ok(Proxy { socks, base })
    }
}

impl Policy {
    fn permits(&self, host: &str, port: u16, address: IpAddr) -> bool {
        is_public(address)
            || self.allowed.iter().any(|block| block.contains(address))
            || self.upstreams.names(host, port)
    }

    /// Whether CONNECT may lead to a host and port.
    pub fn tunnels_to(&self, host: &str, port: u16) -> bool {
        let listed = |listed: &String| listed.eq_ignore_ascii_case(host);
        let mut mirrors = self.upstreams.all.iter().flat_map(|upstream| &upstream.mirrors);
        // 443 is what an archive with TLS listens on; CONNECT to other ports reaches other services.
        port == 443
            && (self.connect.iter().any(listed)
                || mirrors.any(|m| m.base.https && m.base.port == port && m.base.host == host))
    }

    /// A connection to a host, by the proxy if there is one.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Fault> {
        let unreachable =
            |e: io::Error| Fault::Unreachable(format!("cannot connect to '{host}': {e}"));
        let Some(proxy) = &self.proxy else { return self.dial(host, port).await };
        let base = &proxy.base;
        let mut stream = race(&lookup(&base.host, base.port).await?).await.map_err(unreachable)?;
        let greeting = async {
            match proxy.socks {
                true => socks(&mut stream, host, port).await,
                false => tunnel(&mut stream, host, port, base).await,
            }
        };
        let done = tokio::time::timeout(ANSWER, greeting).await;
        done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unreachable)?;
        Ok(stream)
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Fault> {
        let all = lookup(host, port).await?;
        let (may, not): (Vec<SocketAddr>, Vec<SocketAddr>) =
            all.into_iter().partition(|address| self.permits(host, port, address.ip()));
        match (may.is_empty(), not.first()) {
            (true, Some(address)) => Err(Fault::Forbidden(format!(
                "'{host}' has the address {}, which is not public",
                address.ip()
            ))),
            (true, None) => Err(Fault::Unreachable(format!("'{host}' has no address"))),
            _ => race(&may)
                .await
                .map_err(|e| Fault::Unreachable(format!("cannot connect to '{host}': {e}"))),
        }
    }
}

async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = tokio::time::timeout(CONNECT, tokio::net::lookup_host((host, port))).await;
    let failed = |why: String| Fault::Unreachable(format!("cannot look '{host}' up: {why}"));
    let found =
        found.map_err(|_| failed("no answer".into()))?.map_err(|e| failed(e.to_string()))?;
    Ok(found.collect())
}

/// Connects to the first address that answers; each has a head start on the next.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(addresses.len().max(1));
    let attempts: Vec<_> = addresses
        .iter()
        .zip(0u32..)
        .map(|(&address, at)| {
            let sender = sender.clone();
            tokio::spawn(async move {
                tokio::time::sleep(NEXT * at).await;
                let done = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
                let done = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                drop(sender.send(done).await);
            })
        })
        .collect();
    drop(sender);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    while let Some(done) = receiver.recv().await {
        match done {
            Ok(stream) => {
                attempts.iter().for_each(tokio::task::JoinHandle::abort);
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// RFC 1928, without authentication, the name looked up by the proxy.
async fn socks(stream: &mut TcpStream, host: &str, port: u16) -> io::Result<()> {
    let refused = |what: &str| io::Error::other(format!("the proxy {what}"));
    stream.write_all(&[5, 1, 0]).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    if answer != [5, 0] {
        return Err(refused("asks for a password or is none of SOCKS 5"));
    }
    let size = u8::try_from(host.len()).map_err(|_| refused("takes no name as long as this"))?;
    let mut request = vec![5, 1, 0, 3, size];
    request.extend(host.as_bytes());
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if answer[..2] != [5, 0] {
        return Err(refused(&format!("refused (SOCKS reply {})", answer[1])));
    }
    let address = match answer[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await?),
        _ => return Err(refused("answered with an unknown kind of address")),
    };
    stream.read_exact(&mut vec![0; address + 2]).await.map(drop)
}

/// CONNECT (RFC 9110, 9.3.6).
async fn tunnel(stream: &mut TcpStream, host: &str, port: u16, proxy: &Base) -> io::Result<()> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(value) = proxy.authorization.as_ref().and_then(|value| value.to_str().ok()) {
        request += &format!("Proxy-Authorization: {value}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD {
            return Err(io::Error::other("the proxy answers without end"));
        }
        head.push(stream.read_u8().await?);
    }
    let status = head.split(|&b| b == b' ').nth(1).unwrap_or_default();
    match status {
        b"200" => Ok(()),
        status => {
            let status = String::from_utf8_lossy(status).into_owned();
            Err(io::Error::other(format!("the proxy refused (status {status})")))
        }
    }
}

/// Makes the connections of the client.
#[derive(Clone)]
struct Dialer {
    policy: Arc<Policy>,
    tls: Arc<OnceLock<tokio_rustls::TlsConnector>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, with or without TLS.
struct Wire {
    io: TokioIo<Box<dyn Stream>>,
    proxied: bool,
}

impl Dialer {
    async fn dial(self, uri: Uri) -> Result<Wire, Refused> {
        let https = uri.scheme_str() == Some("https");
        let (host, port) = host_port(&uri)
            .ok_or_else(|| Refused(Fault::Forbidden("the address names no host".into())))?;
        let port = port.unwrap_or(if https { 443 } else { 80 });
        let plain = self.policy.proxy.as_ref().filter(|proxy| !proxy.socks && !https);
        if let Some(proxy) = plain {
            let addresses = lookup(&proxy.base.host, proxy.base.port).await.map_err(Refused)?;
            let stream = race(&addresses).await.map_err(|e| {
                Refused(Fault::Unreachable(format!("cannot connect to the proxy: {e}")))
            })?;
            return Ok(Wire { io: TokioIo::new(Box::new(stream)), proxied: true });
        }
        let stream = self.policy.connect(&host, port).await.map_err(Refused)?;
        if !https {
            return Ok(Wire { io: TokioIo::new(Box::new(stream)), proxied: false });
        }
        let unreachable = |why: String| {
            Refused(Fault::Unreachable(format!("cannot speak TLS with '{host}': {why}")))
        };
        let name = ServerName::try_from(host.clone()).map_err(|e| unreachable(e.to_string()))?;
        let hands = self.tls.get_or_init(connector).connect(name, stream);
        let stream = tokio::time::timeout(CONNECT, hands).await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|e| unreachable(e.to_string()))?;
        Ok(Wire { io: TokioIo::new(Box::new(stream)), proxied: false })
    }
}

/// TLS with the certificates this system trusts.
fn connector() -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Arc::new(config).into()
}

/// A fault as the client library carries it.
#[derive(Debug)]
struct Refused(Fault);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.message())
    }
}

impl std::error::Error for Refused {}

impl tower_service::Service<Uri> for Dialer {
    type Response = Wire;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, Refused>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        poller: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(poller, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        poller: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(poller, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, poller: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(poller)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, poller: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(poller)
    }
}

/// How often a request is sent again that may have met a closed connection: more than one may be held.
const AGAIN: usize = 2;

/// What asks archives.
pub struct Client {
    http: hyper_util::client::legacy::Client<Dialer, Empty<Bytes>>,
    policy: Arc<Policy>,
    /// What tells requests of this program, wherever they come back from.
    via: HeaderValue,
}

impl Client {
    /// A client that leads where `policy` lets it; `via` tells that a request is its own.
    pub fn new(policy: Arc<Policy>, via: HeaderValue) -> Self {
        let dialer = Dialer { policy: policy.clone(), tls: Arc::default() };
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(IDLE)
            .http1_max_buf_size(HEAD)
            .build(dialer);
        Client { http, policy, via }
    }

    /// The policy it keeps to.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Asks a mirror for a file, following redirections.
    pub async fn ask(
        &self,
        method: &Method,
        mirror: &Mirror,
        file: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, Fault> {
        let bad = |e: String| Fault::Unreachable(format!("cannot ask for '{file}': {e}"));
        let mut uri = mirror.base.uri(file).map_err(|e| bad(e.to_string()))?;
        let mut authorization = mirror.base.authorization.clone();
        for _ in 0..=REDIRECTS {
            let response = self.send(method, &uri, headers, authorization.as_ref()).await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            let next = to.and_then(|to| resolve(&uri, to)).ok_or_else(|| {
                Fault::Unreachable(format!("'{uri}' is redirected, but not to an address"))
            })?;
            if uri.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                return Err(Fault::Forbidden(format!(
                    "'{uri}' is redirected from TLS to '{next}'"
                )));
            }
            if host_port(&uri) != host_port(&next) {
                authorization = None;
            }
            uri = next;
        }
        Err(Fault::Unreachable(format!("'{uri}' is redirected more than {REDIRECTS} times")))
    }

    async fn send(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Fault> {
        let mut request = bk::http::hyper::Request::new(Empty::new());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        let own = request.headers_mut();
        own.clone_from(headers);
        own.insert(header::VIA, self.via.clone());
        own.insert(header::USER_AGENT, HeaderValue::from_static("bk-aptcache"));
        if let Some(value) = authorization {
            own.insert(header::AUTHORIZATION, value.clone());
        }
        if let Some(proxy) = self.policy.proxy.as_ref().filter(|_| uri.scheme_str() == Some("http"))
            && let Some(value) = &proxy.base.authorization
        {
            own.insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        let mut tries = 0;
        loop {
            match tokio::time::timeout(ANSWER, self.http.request(request.clone())).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) if tries < AGAIN && is_closed(&error) => tries += 1,
                Ok(Err(error)) => return Err(fault(uri, &error)),
                Err(_) => return Err(Fault::Unreachable(format!("'{uri}' does not answer"))),
            }
        }
    }
}

/// Whether an archive has closed the connection instead of answering: that it did between two requests
/// may not have been known yet (RFC 9112, 9.3.1).
fn is_closed(error: &hyper_util::client::legacy::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<bk::http::hyper::Error>()
            && error.is_incomplete_message()
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            );
        }
        cause = error.source();
    }
    false
}

fn fault(uri: &Uri, error: &hyper_util::client::legacy::Error) -> Fault {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(error) = cause {
        if let Some(Refused(fault)) = error.downcast_ref() {
            return fault.clone();
        }
        last = error.to_string();
        cause = error.source();
    }
    Fault::Unreachable(format!("'{uri}' gives no answer: {last}"))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The address a redirection leads to (RFC 3986, section 5, for what servers send).
fn resolve(from: &Uri, to: &str) -> Option<Uri> {
    let to = to.split('#').next()?;
    let authority = from.authority()?;
    let scheme = from.scheme_str()?;
    let lower = to.to_ascii_lowercase();
    let text = if lower.starts_with("http://") || lower.starts_with("https://") {
        to.to_owned()
    } else if to.contains("://") {
        return None;
    } else if let Some(rest) = to.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if to.starts_with('/') {
        format!("{scheme}://{authority}{to}")
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{to}")
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_resolved_as_a_browser_does() {
        let from: Uri = "http://host:81/a/b".parse().unwrap();
        for (to, expected) in [
            ("https://other/x", Some("https://other/x")),
            ("//other/x", Some("http://other/x")),
            ("/x#y", Some("http://host:81/x")),
            ("c", Some("http://host:81/a/c")),
            ("ftp://x/", None),
        ] {
            assert_eq!(resolve(&from, to).map(|u| u.to_string()).as_deref(), expected, "{to}");
        }
    }
}
