//! Uploads over HTTP: PUT, as dput and curl send them.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bk::http::http_body_util::BodyExt;
use bk::http::hyper::header::{self, HeaderMap, HeaderValue};
use bk::http::hyper::{Method, StatusCode};
use bk::http::tokio::io::AsyncWriteExt;
use bk::http::{self, Request, Response, tokio};
use bk::{Context, Error, Result};

use crate::add::{self, Input, Job};
use crate::archive::commit::Commit;
use crate::archive::repository::Repository;
use crate::command::clock;
use crate::incoming::{check_file, extension};
use crate::serve::Server;
use crate::tend::WAIT;
use crate::uploads::{Refused, Sender, Suites};

/// The largest package of Debian 12 has 1.6 GB.
const LIMIT: u64 = 4 << 30;

/// What the parts of one sender may take that wait for their .changes file. Those who come without a token
/// are one: their signature is known with that file alone.
const SHARE: u64 = LIMIT;

/// How many parts these may be: of Debian's sources the one with the most has about a hundred.
const PARTS: usize = 256;

/// What is left to the repository itself, which cannot go on without, or a tenth of a small disk: the
/// indexes of 100,000 packages take a tenth of it.
const SPARED: u64 = 1 << 30;

/// After this many bytes it is looked again what is left, for others write at the same time.
const LOOK: u64 = 4 << 20;

/// What can be part of an upload.
const ENDINGS: [&str; 12] =
    ["deb", "udeb", "ddeb", "dsc", "changes", "buildinfo", "gz", "xz", "bz2", "zst", "lzma", "asc"];

/// Answers a request below `/upload/`.
pub async fn answer(
    server: Arc<Server>,
    repo: &str,
    names: &[String],
    request: Request,
) -> Response {
    if request.method() != Method::PUT {
        let mut response = http::error(StatusCode::METHOD_NOT_ALLOWED, "only PUT");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("PUT"));
        return response;
    }
    let (suite, name) = match names {
        [name] => (None, name.clone()),
        [suite, name] => (Some(suite.clone()), name.clone()),
        _ => {
            return http::error(StatusCode::NOT_FOUND, "PUT to /upload/NAME or /upload/SUITE/NAME");
        }
    };
    if check_file(&name).is_err() || !ENDINGS.contains(&extension(Path::new(&name))) {
        return http::error(StatusCode::UNPROCESSABLE_ENTITY, "not a file of a package");
    }
    let bearer = token(request.headers());
    let allowed = match &bearer {
        Some(token) => match server.access.token(token) {
            Some(suites) => Some(suites.clone()),
            None => return unauthorized("the token is not known"),
        },
        None => None,
    };
    if allowed.is_none() && (!server.access.has_uploaders() || suite.is_some()) {
        return unauthorized("say a token: Authorization: Bearer TOKEN, or as a password");
    }
    let (Some(site), Some(incoming)) =
        (server.sites.get(repo).cloned(), server.incoming.get(repo).cloned())
    else {
        return http::error(StatusCode::NOT_FOUND, "not found");
    };
    let folder = incoming.folder(bearer.as_deref());
    let file = match save(request, &folder, &name).await {
        Ok(file) => file,
        Err(response) => return response,
    };
    let (console, counting) = (server.console.clone(), server.clone());
    let work = move || -> (StatusCode, String, Option<bool>) {
        let repository = site.repository();
        let job = Job { wait: WAIT, now: clock(), ..Job::default() };
        let mut signers = |head: Option<&Commit>| match head {
            Some(head) => server.keys.signers(head),
            None => Err(Error::new("there is no repository")),
        };
        let told = |packages: Vec<crate::record::Package>| {
            let line = |package: crate::record::Package| {
                let path = package.path.strip_prefix(site.path()).unwrap_or(&package.path);
                format!("{}\n", bk::display(path))
            };
            packages.into_iter().map(line).collect::<String>()
        };
        let refused = |error: &Error| {
            server.console.warn(&format!("refused the upload '{name}': {error}"));
            // Where it lies on this machine is nobody's business.
            format!("{error}\n").replace(&format!("{}/", bk::display(&folder)), "")
        };
        if let (Some(suite), Some(allowed)) = (&suite, &allowed)
            && extension(Path::new(&name)) != "changes"
        {
            if !allowed.allow(suite) {
                let text = refused(&Error::new(format!("not allowed to publish in '{suite}'")));
                return (StatusCode::FORBIDDEN, text, Some(false));
            }
            return match single(repository, suite, &file, job, &mut signers, &server) {
                Ok(packages) => (StatusCode::CREATED, told(packages), Some(true)),
                Err((status, error)) => (status, refused(&error), Some(false)),
            };
        }
        let place = folder.join(&name);
        if let Err(error) = file.persist(&place) {
            return (StatusCode::INTERNAL_SERVER_ERROR, refused(&error.into()), None);
        }
        if extension(Path::new(&name)) != "changes" {
            return (StatusCode::CREATED, format!("'{name}' waits for its .changes file\n"), None);
        }
        let allowed: Option<&Suites> = allowed.as_ref();
        let done = incoming.publish(
            repository,
            &place,
            Sender { access: &server.access, token: allowed, trusted: false },
            job,
            &mut signers,
            &console,
        );
        match done {
            Ok(packages) => (StatusCode::CREATED, told(packages), Some(true)),
            Err(error) => {
                drop(std::fs::remove_file(&place));
                let status = match &error {
                    Refused::Forbidden(_) => StatusCode::FORBIDDEN,
                    Refused::Replayed(_) => StatusCode::CONFLICT,
                    Refused::Bad(_) => StatusCode::UNPROCESSABLE_ENTITY,
                    Refused::Failed(error) => failed(error),
                };
                (status, refused(error.error()), Some(false))
            }
        }
    };
    match tokio::task::spawn_blocking(work).await {
        Ok((status, text, published)) => {
            published.into_iter().for_each(|published| counting.metrics.upload(published));
            http::text(status, "text/plain; charset=utf-8", text)
        }
        Err(_) => http::error(StatusCode::INTERNAL_SERVER_ERROR, "the upload failed"),
    }
}

fn failed(error: &Error) -> StatusCode {
    match error.exit_status() {
        bk::Status::Temporary => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Publishes one file that came alone.
fn single(
    repository: &Repository,
    suite: &str,
    file: &tempfile::NamedTempFile,
    job: Job<'_>,
    signers: add::Sign<'_>,
    server: &Server,
) -> Result<Vec<crate::record::Package>, (StatusCode, Error)> {
    let head = repository.head().map_err(|error| (failed(&error), error))?;
    let suites = add::suites(Some(&head), None);
    let input = Input { path: file.path().to_owned(), suite: suite.to_owned() };
    let job = Job { together: true, ..job };
    let (published, errors) =
        add::publish(repository, &suites, vec![input], &job, signers, &server.console)
            .map_err(|error| (failed(&error), error))?;
    match errors.into_iter().next() {
        Some(error) => {
            // Of the path on this machine nobody needs to know.
            let shown = error.causes().first().cloned().unwrap_or_else(|| error.message().into());
            Err((StatusCode::UNPROCESSABLE_ENTITY, Error::new(shown)))
        }
        None => Ok(published),
    }
}

/// The token a request brings: as a bearer token (RFC 6750) or as the password of Basic (RFC 7617).
fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let pair = String::from_utf8(BASE64.decode(rest.trim()).ok()?).ok()?;
            pair.split_once(':').map(|(_, password)| password.to_owned())
        }
        _ => None,
    }
}

fn unauthorized(why: &str) -> Response {
    let mut response = http::error(StatusCode::UNAUTHORIZED, why);
    let scheme = HeaderValue::from_static("Basic realm=\"bk-repo\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    response
}

/// Writes a body into a file of a folder that has the ending of `name`.
async fn save(
    request: Request,
    dir: &Path,
    name: &str,
) -> Result<tempfile::NamedTempFile, Response> {
    let broken = |error: Error| http::error(StatusCode::BAD_REQUEST, &error.to_string());
    let large = || http::error(StatusCode::PAYLOAD_TOO_LARGE, "it is too large");
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > LIMIT) {
        return Err(large());
    }
    let (place, ending) = (dir.to_owned(), format!(".{}", extension(Path::new(name))));
    let start = move || -> Result<(tempfile::NamedTempFile, std::fs::File, u64)> {
        bk::file::create_dir(&place)?;
        let room = room(&place)?;
        let file = tempfile::Builder::new().prefix(".put-").suffix(&ending).tempfile_in(place)?;
        let writer = file.reopen()?;
        Ok((file, writer, room))
    };
    let started = tokio::task::spawn_blocking(start).await;
    let (file, writer, mut left) = match started {
        Ok(Ok(started)) => started,
        _ => {
            return Err(http::error(StatusCode::INTERNAL_SERVER_ERROR, "cannot keep the file"));
        }
    };
    let full = || {
        let text = "too much waits for its .changes file, or the disk is full: finish one, or wait";
        http::error(StatusCode::INSUFFICIENT_STORAGE, text)
    };
    if length.is_some_and(|length| length > left) || left == 0 {
        return Err(full());
    }
    let mut writer = tokio::fs::File::from_std(writer);
    let mut body = request.into_body();
    let (mut size, mut since) = (0, 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.context(|| "cannot read the request".into()).map_err(broken)?;
        let Ok(data) = frame.into_data() else { continue };
        let n = data.len() as u64;
        (size, since) = (size + n, since + n);
        if size > LIMIT {
            return Err(large());
        }
        left = left.checked_sub(n).ok_or_else(full)?;
        let written = writer.write_all(&data).await;
        written.context(|| "cannot keep the file".into()).map_err(|_| {
            http::error(StatusCode::INSUFFICIENT_STORAGE, "there is no room for the file")
        })?;
        if since >= LOOK {
            since = 0;
            let place = dir.to_owned();
            let looked = tokio::task::spawn_blocking(move || room(&place)).await;
            left = left.min(looked.map_or(0, |room| room.unwrap_or(0)));
        }
    }
    let flushed = writer.flush().await;
    flushed.context(|| "cannot keep the file".into()).map_err(broken)?;
    Ok(file)
}

/// How many bytes a sender may still write into their folder.
fn room(dir: &Path) -> Result<u64> {
    let (mut count, mut taken) = (0, 0);
    for meta in dir.read_dir()?.flatten().filter_map(|entry| entry.metadata().ok()) {
        (count, taken) = (count + 1, taken + meta.len());
    }
    if count >= PARTS {
        return Ok(0);
    }
    let disk = rustix::fs::statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let spared = SPARED.min(bytes(disk.f_blocks) / 10);
    Ok(SHARE.saturating_sub(taken).min(bytes(disk.f_bavail).saturating_sub(spared)))
}
