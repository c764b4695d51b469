//! `bk-docsite serve`

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bk::http::hyper::{HeaderMap, StatusCode, header};
use bk::http::{self, Caching, Request, Response};
use bk::{Context, Error, Result, Session, Status, display};
use clap::Args;

use crate::simple::JSON;
use crate::site::Site;

/// Serve sites over HTTP
///
/// Any web server can do so; this one also gives pip the index as JSON (PEP 691), and never what is hidden
/// or leads out of the site.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-docsite serve /srv/docs
      On http://127.0.0.1:8080/, to this machine alone.
  bk-docsite serve /srv/docs /srv/internal --listen 0.0.0.0:80
      Two sites, below /docs/ and /internal/, to all machines that reach this one.
  pip install --index-url http://127.0.0.1:8080/simple/ libfoo
      What pip says to it.

Exit status:
  0   ended by SIGTERM or SIGINT, after what was in flight
  1   it cannot listen, or a site cannot be read
  2   the command line is wrong
")]
pub struct Serve {
    /// The sites; of several each is below its folder's name
    #[arg(value_name = "SITE", required = true)]
    sites: Vec<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT. Prints where, a line each.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let mut sites = BTreeMap::new();
        for path in &self.sites {
            let site = Site::open(path)?;
            let failed = || format!("cannot serve '{}'", display(path));
            let root = site.root.canonicalize().context(failed)?;
            let name = root.file_name().map(display).unwrap_or_default();
            if sites.insert(name.clone(), root).is_some() {
                return Err(Error::new(format!("two sites are called '{name}'"))
                    .hint("rename a folder")
                    .status(Status::Usage));
            }
        }
        let default = [SocketAddr::from(([127, 0, 0, 1], 8080))];
        let addresses = if self.listen.is_empty() { &default[..] } else { &self.listen };
        let listeners = http::listen(addresses, |name| std::env::var(name).ok())?;
        for listener in &listeners {
            session.out.raw(format!("http://{}/\n", listener.local_addr()?))?;
        }
        session.out.flush()?;
        let (sites, console) = (Arc::new(sites), session.console.clone());
        http::Server::new(&session.console).listen(listeners).run(
            |_| Some(()),
            move |_, request| {
                let (sites, console) = (sites.clone(), console.clone());
                async move {
                    let response = answer(&sites, &request).await;
                    let status = response.status().as_u16();
                    console.info(&format!("{} {} {status}", request.method(), request.uri()));
                    response
                }
            },
        )?;
        Ok(Status::Done)
    }
}

async fn answer(sites: &BTreeMap<String, PathBuf>, request: &Request) -> Response {
    let not_found = || http::error(StatusCode::NOT_FOUND, "not found");
    let path = request.uri().path();
    if path == "/healthz" {
        return http::error(StatusCode::OK, "ok");
    }
    let Some(mut names) = http::names(path) else { return not_found() };
    let root = if sites.len() == 1 {
        sites.values().next()
    } else if names.is_empty() {
        let links = sites.keys().map(|name| {
            let name = http::escape(name);
            format!("<li><a href=\"{name}/\">{name}</a>")
        });
        let links: String = links.collect();
        let page = format!(
            "<!doctype html><html lang=en><title>Sites</title><h1>Sites</h1><ul>{links}</ul>"
        );
        return http::text(StatusCode::OK, "text/html; charset=utf-8", page);
    } else {
        sites.get(&names.remove(0))
    };
    let Some(root) = root.cloned() else { return not_found() };
    if names.first().is_some_and(|name| name == "docsite.yaml") {
        return not_found();
    }
    let below: PathBuf = names.iter().collect();
    let wanted = root.join(&below);
    // An alias is a link within the site; nothing else is followed.
    let found = http::tokio::task::spawn_blocking(move || {
        let real = wanted.canonicalize().ok().filter(|real| real.starts_with(&root))?;
        let hidden = real
            .strip_prefix(&root)
            .ok()?
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with('.'));
        (!hidden).then(|| (real.is_dir(), real))
    });
    let Ok(Some((folder, mut file))) = found.await else { return not_found() };
    if folder && !path.ends_with('/') {
        let mut response = http::error(StatusCode::MOVED_PERMANENTLY, "here, with a slash");
        if let Ok(to) = format!("{path}/").parse() {
            response.headers_mut().insert(header::LOCATION, to);
        }
        return response;
    }
    let index = names.first().is_some_and(|first| first == "simple");
    let json = folder && index && wants_json(request.headers());
    if folder {
        file.push(if json { "index.json" } else { "index.html" });
    }
    let name = file.file_name().map(display).unwrap_or_default();
    let kind = if json { JSON } else { content_type(&name) };
    let caching = match names.first().map(String::as_str) {
        // A name of a file stays that file's.
        Some("files") => Caching::Immutable,
        _ => Caching::Revalidate,
    };
    let mut response = http::file(request.method(), request.headers(), file, kind, caching).await;
    if folder && index {
        response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
    }
    response
}

/// Whether a client would rather have JSON than HTML of the index: what it says of each, with HTML first
/// where it says the same (RFC 9110, 12.5.1; PEP 691).
fn wants_json(headers: &HeaderMap) -> bool {
    let accepts: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let weight = |names: &[&str]| {
        let all = accepts.iter().flat_map(|accept| accept.split(','));
        let known = all.filter_map(|one| {
            let mut parts = one.split(';').map(str::trim);
            let name = parts.next()?.to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            names.contains(&name.as_str()).then(|| weight.unwrap_or(1.0_f32))
        });
        known.fold(0.0_f32, f32::max)
    };
    let html = ["text/html", "application/vnd.pypi.simple.v1+html", "text/*", "*/*"];
    weight(&[JSON, "application/vnd.pypi.simple.latest+json"]) > weight(&html)
}

/// What files of a site are, by their names.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" | "metadata" | "md" | "rst" | "py" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "gif" => "image/gif",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "whl" | "zip" | "egg" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "deb" => "application/vnd.debian.binary-package",
        _ => "application/octet-stream",
    }
}
