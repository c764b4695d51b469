//! `bk-repo serve`

use std::collections::BTreeMap;
use std::future::ready;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bk::http::hyper::{Method, StatusCode, header};
use bk::http::{self, Caching, Files, Request, Response};
use bk::{Console, Error, Result, Session, Status, display};

use crate::archive::repository::Repository;
use crate::command::{self, Unlocking};
use crate::metrics::Metrics;
use crate::page::{self, Site};
use crate::put;
use crate::store::Head;
use crate::tend::{Garden, Keys, WAIT};
use crate::uploads::{Access, Incoming};

/// Serve repositories over HTTP: to apt, a page for people, and uploads
///
/// Uploads are PUT below /upload/: what dput sends, .changes last, to /upload/NAME; a single .deb, as
/// 'curl -T' sends it, to /upload/SUITE/NAME. Who may is told by a token or by the signature of the
/// .changes file. While it runs, it signs again what would expire and keeps Contents up to date, if
/// the keys are at hand. /healthz and /metrics (for Prometheus) tell how it is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo serve /srv/apt
      On http://127.0.0.1:8080/, to this machine alone.
  bk-repo serve /srv/apt --listen 0.0.0.0:80
      To all machines that reach this one.
  bk-repo serve /srv/one /srv/two
      Two repositories, below /one/ and /two/.
  bk-repo serve s3://bucket/apt?endpoint=https://s3.example.com
      One that lies in a bucket; several may serve it at once.
  bk-repo serve /srv/apt --tokens /etc/buildkit/tokens
      With uploads: curl -H 'Authorization: Bearer TOKEN' -T x.deb http://HOST:8080/upload/stable/
  bk-repo serve /srv/apt --uploaders stable=release.asc --uploaders testing=all.asc
      With uploads by dput (method = http, incoming = upload), each key where it may.
  bk-repo serve /srv/apt --incoming /srv/incoming
      And publish what is put into a folder, .changes last.

Exit status:
  0   ended by SIGTERM or SIGINT, after what was in flight
  1   it cannot listen, or a repository cannot be read
  2   the command line or the configuration is wrong
")]
pub struct Args {
    /// The repositories; of several each is below its folder's name
    #[arg(value_name = "REPO", required = true)]
    repos: Vec<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// A file of tokens that allow uploads: TOKEN [SUITE]... a line
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// A keyring of those whose signed .changes files are published, in one suite or in all
    #[arg(long, value_name = "[SUITE=]FILE")]
    uploaders: Vec<String>,
    /// Publish in the first repository what is put into this folder, .changes last
    #[arg(long, value_name = "DIR")]
    incoming: Option<PathBuf>,
    #[command(flatten)]
    unlocking: Unlocking,
}

/// A file of a bucket is sent in pieces of this size, which is what it comes in.
const PIECE: u64 = 64 << 10;

type Reader = Box<dyn Read + Send>;

/// All that answers requests.
pub struct Server {
    /// The repositories by their names.
    pub sites: BTreeMap<String, Arc<Site>>,
    /// Where their uploads wait.
    pub incoming: BTreeMap<String, Arc<Incoming>>,
    /// Who may upload.
    pub access: Arc<Access>,
    /// The keys that sign.
    pub keys: Arc<Keys>,
    /// What is counted.
    pub metrics: Metrics,
    /// The files that are open.
    files: Files,
    /// stderr.
    pub console: Console,
}

/// Serves repositories until SIGTERM or SIGINT. Prints where, a line each.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let mut sites = BTreeMap::new();
    let mut incoming = BTreeMap::new();
    let mut open = Vec::new();
    let mut repos = Vec::new();
    let mut access = Access::default();
    if let Some(path) = &args.tokens {
        access.add_tokens(path)?;
    }
    args.uploaders.iter().try_for_each(|text| access.add_uploaders(text))?;
    for path in &args.repos {
        let repository = repository(session, path)?;
        let head = repository.head()?;
        if let Err(error) = repository.finish(WAIT, &session.console) {
            // It may be another's, and only to be read: what there is is served.
            session.console.warn(&error.to_string());
        }
        let name = repository.path().file_name().map(display).unwrap_or_default();
        let waiting = Arc::new(Incoming::of(&repository)?);
        let site = Arc::new(Site::new(repository));
        if let Some(other) = sites.insert(name.clone(), site.clone()) {
            return Err(Error::new(format!("two repositories are called '{name}'"))
                .hint(format!("rename one; the other is '{}'", display(other.path())))
                .status(Status::Usage));
        }
        incoming.insert(name, waiting.clone());
        match command::signers(session, &head, &args.unlocking) {
            Ok(keys) => open.extend(keys),
            // Without them it serves what there is.
            Err(error) if access.is_empty() && args.incoming.is_none() => {
                session.console.info(&error.to_string());
            }
            Err(error) => return Err(error),
        }
        repos.push((site, waiting));
    }
    let default = [SocketAddr::from(([127, 0, 0, 1], 8080))];
    let addresses = if args.listen.is_empty() { &default[..] } else { &args.listen };
    let listeners = http::listen(addresses, |name| std::env::var(name).ok())?;
    for listener in &listeners {
        session.out.raw(format!("http://{}/\n", listener.local_addr()?))?;
    }
    session.out.flush()?;
    let tends = !open.is_empty();
    let (keys, access) = (Arc::new(Keys::new(&command::ring(session), open)), Arc::new(access));
    if tends {
        let (keys, access, watched) = (keys.clone(), access.clone(), args.incoming);
        Garden { repos, keys, access, watched }.start(&session.console)?;
    }
    let console = session.console.clone();
    let (metrics, files) = (Metrics::default(), Files::default());
    let server = Arc::new(Server { sites, incoming, access, keys, metrics, console, files });
    let front = server.clone();
    http::Server::new(&session.console)
        .listen(listeners)
        .front(move |_, stream, stopping| {
            let server = front.clone();
            http::front(stream, stopping, move |target| ready(server.open(target)))
        })
        .run(
            |_| Some(()),
            move |_, request| {
                let server = server.clone();
                async move {
                    let line = format!("{} {}", request.method(), request.uri());
                    let response = answer(server.clone(), request).await;
                    server.metrics.count(response.status());
                    server.console.info(&format!("{line} {}", response.status().as_u16()));
                    response
                }
            },
        )?;
    Ok(Status::Done)
}

impl Server {
    /// The file that a target names, if its name will always mean it: most that apt asks for.
    fn open(&self, target: &str) -> Option<Arc<http::Open>> {
        let path = target.strip_prefix('/').filter(|path| http::is_canonical(path))?;
        let (site, path) = match self.sites.len() {
            1 => (self.sites.values().next()?, path),
            _ => {
                path.split_once('/').and_then(|(name, path)| Some((self.sites.get(name)?, path)))?
            }
        };
        let names: Vec<&str> = path.split('/').collect();
        if caching(&names) != Caching::Immutable {
            return None;
        }
        let kind = content_type(names.last()?);
        let file = site.repository().store().local(path)?;
        let open = self.files.get(&file, kind, Caching::Immutable)?;
        self.metrics.count(StatusCode::OK);
        self.console.info(&format!("GET {target} 200"));
        Some(open)
    }
}

/// Whether the file of these names will always be the same.
fn caching<T: AsRef<str>>(names: &[T]) -> Caching {
    match names {
        [first, _, ..] if first.as_ref() == "pool" => Caching::Immutable,
        [.., folder, _, _] if folder.as_ref() == "by-hash" => Caching::Immutable,
        _ => Caching::Revalidate,
    }
}

async fn answer(server: Arc<Server>, request: Request) -> Response {
    let not_found = || http::error(StatusCode::NOT_FOUND, "not found");
    let sites = &server.sites;
    let path = request.uri().path();
    let Some(mut names) = http::names(path) else { return not_found() };
    match path {
        "/healthz" => return http::error(StatusCode::OK, "ok"),
        "/metrics" => {
            let server = server.clone();
            let text =
                http::tokio::task::spawn_blocking(move || server.metrics.text(&server.sites));
            return match text.await {
                Ok(text) => http::text(StatusCode::OK, "text/plain; version=0.0.4", text),
                Err(_) => http::error(StatusCode::INTERNAL_SERVER_ERROR, "cannot count"),
            };
        }
        _ => {}
    }
    let (name, base) = if sites.len() == 1 {
        (sites.keys().next().cloned().unwrap_or_default(), "/".to_owned())
    } else if names.is_empty() {
        return html(&request, page::overview(sites.keys().map(String::as_str)));
    } else {
        let name = names.remove(0);
        let base = format!("/{name}/");
        (name, base)
    };
    let Some(site) = sites.get(&name).cloned() else { return not_found() };
    if names.first().is_some_and(|first| first == "upload") && !server.access.is_empty() {
        return put::answer(server, &name, &names[1..], request).await;
    }
    let key = names.join("/");
    let store = site.repository().store();
    let is_folder = match store.local(&key) {
        Some(file) => names.is_empty() || file.is_dir(),
        // Whether there is one has to be asked, and is where there is no file.
        None => names.is_empty() || path.ends_with('/'),
    };
    if !is_folder {
        let caching = caching(&names);
        let kind = content_type(names.last().map_or("", String::as_str));
        return match store.local(&key) {
            Some(file) => {
                http::file(request.method(), request.headers(), file, kind, caching).await
            }
            None => {
                let response = object(site.clone(), key.clone(), &request, kind, caching).await;
                match response.status() == StatusCode::NOT_FOUND && has_folder(site, key).await {
                    true => with_slash(path),
                    false => response,
                }
            }
        };
    }
    if !path.ends_with('/') {
        return with_slash(path);
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let url = format!("http://{}{base}", host.unwrap_or("localhost"));
    let query = request.uri().query().unwrap_or_default().to_owned();
    let make = move || match names.is_empty() {
        true => page::repository(&site, &url, &query),
        false => page::folder(&site, &key),
    };
    match http::tokio::task::spawn_blocking(make).await {
        Ok(Ok(page)) => html(&request, page),
        _ => http::error(StatusCode::INTERNAL_SERVER_ERROR, "cannot read the repository"),
    }
}

/// Sends who asks for a folder there: links on its page are below it only with the slash.
fn with_slash(path: &str) -> Response {
    let mut response = http::error(StatusCode::MOVED_PERMANENTLY, "here, with a slash");
    if let Ok(to) = format!("{path}/").parse() {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// Whether a repository that is not on this machine has such a folder.
async fn has_folder(site: Arc<Site>, key: String) -> bool {
    let ask = move || site.repository().store().names(&key).is_ok_and(|names| !names.is_empty());
    http::tokio::task::spawn_blocking(ask).await.unwrap_or(false)
}

/// Answers with a file of a repository that is not on this machine.
async fn object(
    site: Arc<Site>,
    key: String,
    request: &Request,
    kind: &'static str,
    caching: Caching,
) -> Response {
    let headers = request.headers();
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return http::only_reading();
    }
    // All of it is asked for at once, where all of it is wanted.
    let asks = [header::RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
    let whole = request.method() == Method::GET && !asks.iter().any(|h| headers.contains_key(h));
    let (from, name) = (site.clone(), key.clone());
    let ask = move || -> Result<Option<(Head, Option<Reader>)>> {
        let store = from.repository().store();
        Ok(match whole {
            true => store.fetch(&name, None)?.map(|(head, file)| (head, Some(file))),
            false => store.head(&name)?.map(|head| (head, None)),
        })
    };
    let (head, mut file) = match http::tokio::task::spawn_blocking(ask).await {
        Ok(Ok(Some(found))) => found,
        Ok(Ok(None)) => return http::error(StatusCode::NOT_FOUND, "not found"),
        _ => return http::error(StatusCode::BAD_GATEWAY, "cannot read the file"),
    };
    let meta = http::Meta {
        size: head.size,
        tag: format!("\"{}\"", head.tag),
        modified: http::http_date(head.modified),
    };
    http::content(headers, meta, kind, caching, |start, size| {
        Box::new(move |_, most| {
            if file.is_none() {
                let part = Some(start..start + size);
                let found =
                    site.repository().store().fetch(&key, part).map_err(io::Error::other)?;
                // What is there now may be another.
                let same = found.filter(|(now, _)| now.tag == head.tag);
                file = Some(same.ok_or_else(|| io::Error::other("it is another file now"))?.1);
            }
            let mut piece = vec![0; most.min(PIECE) as usize];
            let n = file.as_mut().map_or(Ok(0), |file| file.read(&mut piece))?;
            piece.truncate(n);
            Ok(piece.into())
        })
    })
}

/// The repository of a path, which is made whole: the folder one is in may change.
fn repository(session: &Session, path: &Path) -> Result<Repository> {
    match path.canonicalize() {
        Ok(path) => Ok(Repository::at(&path)),
        Err(_) => command::repository(session, path),
    }
}

fn html(request: &Request, page: String) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return http::error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    let mut response = http::text(StatusCode::OK, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    // The page has no scripts and takes nothing from elsewhere.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'";
    headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    response
}

/// What the files of a repository are. Compressed indexes are files, not encodings.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or(name, |(_, suffix)| suffix) {
        "deb" | "udeb" | "ddeb" => "application/vnd.debian.binary-package",
        "gz" => "application/gzip",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "asc" | "gpg" | "dsc" | "Release" | "InRelease" | "Packages" | "Sources" => {
            "text/plain; charset=utf-8"
        }
        _ => "application/octet-stream",
    }
}
