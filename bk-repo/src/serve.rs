//! `bk-repo serve`

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bk::http::hyper::{Method, StatusCode, header};
use bk::http::{self, Caching, Request, Response};
use bk::{Error, Result, Session, Status, display};

use crate::archive::repository::Repository;
use crate::page::{self, Site};

/// Serve repositories over HTTP: to apt, and a page for people
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo serve /srv/apt
      On http://127.0.0.1:8080/, to this machine alone.
  bk-repo serve /srv/apt --listen 0.0.0.0:80
      To all machines that reach this one.
  bk-repo serve /srv/one /srv/two
      Two repositories, below /one/ and /two/.

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
}

/// Serves repositories until SIGTERM or SIGINT. Prints where, a line each.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let mut sites = BTreeMap::new();
    for path in &args.repos {
        Repository::at(path).head()?;
        let path = path.canonicalize()?;
        let name = path.file_name().map(display).unwrap_or_default();
        if let Some(other) = sites.insert(name.clone(), Arc::new(Site::new(&path))) {
            return Err(Error::new(format!("two repositories are called '{name}'"))
                .hint(format!("rename one; the other is '{}'", display(other.path())))
                .status(Status::Usage));
        }
    }
    let default = [SocketAddr::from(([127, 0, 0, 1], 8080))];
    let addresses = if args.listen.is_empty() { &default[..] } else { &args.listen };
    let listeners = http::listen(addresses, |name| std::env::var(name).ok())?;
    for listener in &listeners {
        session.out.raw(format!("http://{}/\n", listener.local_addr()?))?;
    }
    session.out.flush()?;
    let sites = Arc::new(sites);
    http::serve(listeners, &session.console, move |request| answer(sites.clone(), request))?;
    Ok(Status::Done)
}

type Sites = Arc<BTreeMap<String, Arc<Site>>>;

async fn answer(sites: Sites, request: Request) -> Response {
    let not_found = || http::error(StatusCode::NOT_FOUND, "not found");
    let path = request.uri().path();
    let Some(mut names) = http::names(path) else { return not_found() };
    let (site, base) = if sites.len() == 1 {
        (sites.values().next().cloned(), "/".to_owned())
    } else if names.is_empty() {
        return html(&request, page::overview(sites.keys().map(String::as_str)));
    } else {
        let name = names.remove(0);
        (sites.get(&name).cloned(), format!("/{name}/"))
    };
    let Some(site) = site else { return not_found() };
    let file = names.iter().fold(site.path().to_owned(), |path, name| path.join(name));
    if !names.is_empty() && !file.is_dir() {
        let caching = match &names[..] {
            [first, ..] if first == "pool" => Caching::Immutable,
            [.., folder, _, _] if folder == "by-hash" => Caching::Immutable,
            _ => Caching::Revalidate,
        };
        let kind = content_type(names.last().map_or("", String::as_str));
        return http::file(request.method(), request.headers(), file, kind, caching).await;
    }
    if !path.ends_with('/') {
        // Links on a page are below it only with the slash.
        let mut response = http::error(StatusCode::MOVED_PERMANENTLY, "here, with a slash");
        if let Ok(to) = format!("{path}/").parse() {
            response.headers_mut().insert(header::LOCATION, to);
        }
        return response;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let url = format!("http://{}{base}", host.unwrap_or("localhost"));
    let query = request.uri().query().unwrap_or_default().to_owned();
    let make = move || match names.is_empty() {
        true => page::repository(&site, &url, &page::search(&query)),
        false => page::folder(&names.join("/"), &file),
    };
    match http::tokio::task::spawn_blocking(make).await {
        Ok(Ok(page)) => html(&request, page),
        _ => http::error(StatusCode::INTERNAL_SERVER_ERROR, "cannot read the repository"),
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
