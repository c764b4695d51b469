//! A repository in a bucket of an object store that speaks S3.
//!
//! Nothing can be locked there, and nothing is asked for but that an object is created only where there
//! is none (`If-None-Match: *`): engines differ in all else. Requests are sent by ureq, as all that is
//! fetched; so there is one HTTP client and one TLS.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bk::file::{Lock, TempDir};
use bk::http::{http_body_util, tokio};
use bk::{Console, Context, Error, Result, Status};
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Content, Entry, Published, RACES, READ_LIMIT, Scratch, Staged, Store};

/// How many requests are under way at once: one takes some milliseconds, most of them waiting.
const AT_ONCE: usize = 16;

/// Files that are larger are read, and uploaded one at a time, in parts of this size.
const PART: u64 = 16 << 20;

/// How many create one object at once, to learn whether the engine lets one win.
const RACERS: usize = 8;

/// Where files wait for their upload: they may be large (FHS 5.15).
const SCRATCH: &str = "/var/tmp";

/// A repository in a bucket.
pub struct Bucket {
    client: Arc<AmazonS3>,
    runtime: Runtime,
    prefix: String,
    shown: PathBuf,
    region: String,
    /// The bucket's own URL, where it is not AWS that has it.
    bucket_url: Option<String>,
}

/// Whether a path is one of an object store.
pub fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with("s3://"))
}

impl Bucket {
    /// The repository at `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`. `env` looks up environment
    /// variables, of which those of AWS name credentials and what the URL does not.
    pub fn open(url: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let bad = |why: &str| {
            Error::new(why)
                .context(format!("'{}' is no bucket's URL", bk::sanitize(url)))
                .hint("say s3://BUCKET/PREFIX, and ?endpoint=http://HOST:PORT where it is not AWS")
                .status(Status::Usage)
        };
        let rest = url.strip_prefix("s3://").ok_or_else(|| bad("it starts otherwise"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_matches('/');
        if bucket.is_empty() {
            return Err(bad("it names no bucket"));
        }
        let region = env("AWS_REGION").or_else(|| env("AWS_DEFAULT_REGION"));
        let mut region = region.unwrap_or_else(|| "us-east-1".into());
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&region)
            .with_http_connector(Connector);
        for (name, key) in [
            ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
            ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
            ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
            ("AWS_ENDPOINT_URL", AmazonS3ConfigKey::Endpoint),
        ] {
            if let Some(value) = env(name).filter(|value| !value.is_empty()) {
                builder = builder.with_config(key, value);
            }
        }
        let mut endpoint = env("AWS_ENDPOINT_URL").filter(|url| !url.is_empty());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = bk::http::decode(value).ok_or_else(|| bad("its '%' encode nothing"))?;
            builder = match name {
                "endpoint" => {
                    endpoint = Some(value.clone());
                    builder.with_endpoint(value)
                }
                "region" => {
                    region = value.clone();
                    builder.with_region(value)
                }
                _ => return Err(bad("it has a setting that is neither endpoint nor region")),
            };
        }
        let plain = endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
        let client = builder.with_allow_http(plain).build();
        let client = client.context(|| format!("cannot use the bucket '{bucket}'"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(AT_ONCE * 2)
            .enable_all()
            .build()?;
        let shown =
            if prefix.is_empty() { bucket.to_owned() } else { format!("{bucket}/{prefix}") };
        Ok(Bucket {
            client: Arc::new(client),
            runtime,
            prefix: prefix.to_owned(),
            shown: format!("s3://{shown}").into(),
            region,
            bucket_url: endpoint.map(|url| format!("{}/{bucket}", url.trim_end_matches('/'))),
        })
    }

    /// How people call it.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    fn key(&self, key: &str) -> Key {
        match self.prefix.as_str() {
            "" => Key::from(key),
            prefix => Key::from(format!("{prefix}/{key}")),
        }
    }

    fn failed(&self, what: &str, key: &str) -> String {
        format!("cannot {what} '{}/{key}'", self.shown.display())
    }

    fn put(&self, key: &str, bytes: Vec<u8>, mode: PutMode) -> Result<bool> {
        let (client, key_of) = (self.client.clone(), self.key(key));
        let put = put(client, key_of, bytes, mode);
        self.runtime.block_on(put).map_err(temporary).context(|| self.failed("write", key))
    }

    fn races(&self) -> Result<usize> {
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name =
            |n: usize| format!(".buildkit/race/{}-{}-{n}", start.as_nanos(), std::process::id());
        let mut wrong = 0;
        for race in 0..RACES {
            // A connection that broke leaves open who won: that race tells nothing, another does.
            let winners =
                self.run_race(&name(race)).or_else(|_| self.run_race(&name(RACES + race)))?;
            wrong += usize::from(winners != 1);
        }
        Ok(wrong)
    }

    /// How many of several at once created one object.
    fn run_race(&self, name: &str) -> Result<usize> {
        let key = self.key(name);
        let winners = self.runtime.block_on(async {
            let mut racers = JoinSet::new();
            for racer in 0..RACERS {
                let (client, key) = (self.client.clone(), key.clone());
                // What each writes is its own; large enough to take its time.
                let bytes = vec![racer as u8; 64 << 10];
                racers.spawn(create(client, key, bytes));
            }
            racers.join_all().await
        });
        self.remove(name)?;
        let winners: Vec<bool> = winners.into_iter().collect::<Result<_>>()?;
        Ok(winners.iter().filter(|won| **won).count())
    }
}

/// Creates an object; says false where there is one.
async fn create(client: Arc<AmazonS3>, key: Key, bytes: Vec<u8>) -> Result<bool> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match client.put_opts(&key, PutPayload::from(bytes), options).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes an object; says false where it was to be created and is there with other bytes.
async fn put(client: Arc<AmazonS3>, key: Key, bytes: Vec<u8>, mode: PutMode) -> Result<bool> {
    if mode != PutMode::Create {
        client.put(&key, PutPayload::from(bytes)).await?;
        return Ok(true);
    }
    if create(client.clone(), key.clone(), bytes.clone()).await? {
        return Ok(true);
    }
    // A request may be carried out and its answer lost: what is there is what was sent then.
    let there = client.get(&key).await?.bytes().await?;
    Ok(there == bytes)
}

/// An object read in parts.
struct Parts {
    client: Arc<AmazonS3>,
    handle: tokio::runtime::Handle,
    key: Key,
    at: u64,
    size: u64,
    part: io::Cursor<Vec<u8>>,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.part.read(buffer)?;
        if n > 0 || buffer.is_empty() || self.at >= self.size {
            return Ok(n);
        }
        let range = self.at..self.size.min(self.at + PART);
        let part = self.handle.block_on(self.client.get_range(&self.key, range));
        let part = part.map_err(io::Error::other)?;
        if part.is_empty() {
            return Err(io::Error::other("the object became shorter"));
        }
        self.at += part.len() as u64;
        self.part = io::Cursor::new(part.to_vec());
        self.part.read(buffer)
    }
}

impl Bucket {
    /// Uploads a large file in parts, of which two are in memory at once.
    fn upload(&self, file: &Staged) -> Result<()> {
        let failed = || self.failed("write", &file.key);
        // There is no creating in parts that all engines have; whoever else brings a file of this name
        // brings these bytes.
        if self.size(&file.key)?.is_some() {
            return Ok(());
        }
        let mut reader = std::fs::File::open(&file.path).context(failed)?;
        let key = self.key(&file.key);
        let upload = async {
            let mut upload = self.client.put_multipart(&key).await?;
            loop {
                let mut part = Vec::new();
                reader.by_ref().take(PART).read_to_end(&mut part)?;
                if part.is_empty() {
                    upload.complete().await?;
                    return Ok::<(), Error>(());
                }
                upload.put_part(PutPayload::from(part)).await?;
            }
        };
        self.runtime.block_on(upload).map_err(temporary).context(failed)
    }
}

/// Sends requests with ureq.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(120)))
            // Bytes are wanted as they are stored.
            .accept_encoding("identity")
            .max_idle_connections_per_host(AT_ONCE)
            .build();
        Ok(HttpClient::new(Sender(agent.into())))
    }
}

#[derive(Debug)]
struct Sender(ureq::Agent);

#[async_trait]
impl HttpService for Sender {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let agent = self.0.clone();
        let send = move || {
            let plain = ["GET", "HEAD", "DELETE"].contains(&parts.method.as_str());
            let answer = match plain && body.is_empty() {
                true => agent.run(http::Request::from_parts(parts, ())),
                false => agent.run(http::Request::from_parts(parts, &body[..])),
            };
            let (parts, body) = answer?.into_parts();
            // What is asked for in one piece is an index or less; the rest is asked for in parts.
            let bytes = body.into_with_config().limit(READ_LIMIT).read_to_vec()?;
            Ok::<_, ureq::Error>((parts, bytes))
        };
        let sent = tokio::task::spawn_blocking(send).await;
        let sent = sent.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let (parts, bytes) = sent.map_err(|error| {
            let kind = match &error {
                ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
                ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => HttpErrorKind::Connect,
                ureq::Error::Io(_) => HttpErrorKind::Interrupted,
                _ => HttpErrorKind::Unknown,
            };
            HttpError::new(kind, error)
        })?;
        let body = Full::from(bytes).map_err(|never| match never {});
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// What an engine does not do now it may do later.
fn temporary(error: Error) -> Error {
    error.status(Status::Temporary)
}

fn there<T>(result: object_store::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(temporary(error.into())),
    }
}

impl Store for Bucket {
    fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let get = async {
            let Some(found) = there(self.client.get(&self.key(key)).await)? else {
                return Ok(None);
            };
            if found.meta.size > READ_LIMIT {
                return Err(Error::new(format!("larger than {READ_LIMIT} bytes")));
            }
            Ok(Some(found.bytes().await.map_err(Error::from)?.to_vec()))
        };
        self.runtime.block_on(get).context(|| self.failed("read", key))
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Read + Send>>> {
        let Some(size) = self.size(key)? else { return Ok(None) };
        let (client, handle) = (self.client.clone(), self.runtime.handle().clone());
        let reader =
            Parts { client, handle, key: self.key(key), at: 0, size, part: io::Cursor::default() };
        Ok(Some(Box::new(reader)))
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        let head = self.runtime.block_on(async { self.client.head(&self.key(key)).await });
        Ok(there(head).context(|| self.failed("read", key))?.map(|meta| meta.size))
    }

    fn scratch(&self) -> Result<Scratch> {
        let dir = TempDir::new_in(Path::new(SCRATCH))?;
        let alive = std::fs::File::open(dir.path())?;
        Ok(Scratch { dir, _alive: alive })
    }

    fn sweep(&self) -> Result<()> {
        Ok(())
    }

    fn place(&self, files: Vec<Staged>) -> Result<()> {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for file in files {
            let size = file.path.metadata().map_or(0, |meta| meta.len());
            if size > PART { large.push(file) } else { small.push(file) }
        }
        let upload = async {
            let mut under_way = JoinSet::new();
            let mut left = small.into_iter();
            loop {
                while under_way.len() < AT_ONCE
                    && let Some(file) = left.next()
                {
                    let (client, key) = (self.client.clone(), self.key(&file.key));
                    let failed = self.failed("write", &file.key);
                    under_way.spawn(async move {
                        let bytes = tokio::fs::read(&file.path).await?;
                        // A name that is taken keeps its object: it says what it holds.
                        create(client, key, bytes).await.context(|| failed)
                    });
                }
                match under_way.join_next().await {
                    None => return Ok::<(), Error>(()),
                    Some(done) => drop(done.map_err(Error::from)??),
                }
            }
        };
        self.runtime.block_on(upload).map_err(temporary)?;
        for file in large {
            self.upload(&file)?;
        }
        Ok(())
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        self.put(key, bytes.to_vec(), PutMode::Create)
    }

    fn replace(&self, key: &str, bytes: &[u8], _modified: Option<SystemTime>) -> Result<()> {
        self.put(key, bytes.to_vec(), PutMode::Overwrite).map(drop)
    }

    fn note(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.replace(key, bytes, None)
    }

    fn publish(&self, dir: &str, _number: u64, files: &[Published<'_>]) -> Result<()> {
        let copy = async {
            let mut under_way = JoinSet::new();
            for file in files {
                let Content::Same(other) = &file.content else { continue };
                if under_way.len() >= AT_ONCE
                    && let Some(done) = under_way.join_next().await
                {
                    done.map_err(Error::from)??;
                }
                let (from, to) = (
                    self.key(&format!("{dir}/{other}")),
                    self.key(&format!("{dir}/{}", file.name)),
                );
                let client = self.client.clone();
                under_way.spawn(async move { client.copy(&from, &to).await.map_err(Error::from) });
            }
            for done in under_way.join_all().await {
                done?;
            }
            Ok::<(), Error>(())
        };
        self.runtime.block_on(copy).map_err(temporary).context(|| self.failed("publish", dir))?;
        // In their order: InRelease is the last, and decides for clients.
        for file in files {
            if let Content::Bytes(bytes, time) = file.content {
                self.replace(&format!("{dir}/{}", file.name), bytes, Some(time))?;
            }
        }
        Ok(())
    }

    fn settle(&self, _keys: &[String]) -> Result<()> {
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<()> {
        let removed = self.runtime.block_on(async { self.client.delete(&self.key(key)).await });
        there(removed).map(drop).context(|| self.failed("remove", key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let list = async {
            let mut all = Vec::new();
            let mut found = self.client.list(Some(&self.key(prefix)));
            while let Some(meta) = found.next().await {
                let meta = meta?;
                let key = meta.location.as_ref();
                let key = key.strip_prefix(&self.prefix).unwrap_or(key).trim_start_matches('/');
                let modified = SystemTime::from(meta.last_modified);
                all.push(Entry { key: key.to_owned(), size: meta.size, modified });
            }
            Ok::<_, object_store::Error>(all)
        };
        let mut all = there(self.runtime.block_on(list)).context(|| self.failed("list", prefix))?;
        let all = all.get_or_insert_default();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(std::mem::take(all))
    }

    fn local(&self, _key: &str) -> Option<PathBuf> {
        None
    }

    fn modified(&self, key: &str) -> Result<Option<SystemTime>> {
        let head = self.runtime.block_on(async { self.client.head(&self.key(key)).await });
        let head = there(head).context(|| self.failed("read", key))?;
        Ok(head.map(|meta| SystemTime::from(meta.last_modified)))
    }

    fn touch(&self, _key: &str) -> Result<()> {
        Ok(())
    }

    fn prepare(&self) -> Result<()> {
        let (Some(url), Err(error)) = (&self.bucket_url, self.list(".buildkit/commits")) else {
            return Ok(());
        };
        if !error.causes().iter().any(|cause| cause.contains("NoSuchBucket")) {
            return Err(error);
        }
        let make = async {
            let credential = self.client.credentials().get_credential().await?;
            let mut request = http::Request::put(url).body(HttpRequestBody::empty())?;
            AwsAuthorizer::new(&credential, "s3", &self.region)
                .try_authorize(&mut request, None)?;
            let answer = Connector.connect(&ClientOptions::new())?.execute(request).await?;
            match answer.status().is_success() {
                true => Ok(()),
                false => Err(Error::new(format!("the engine answers {}", answer.status()))),
            }
        };
        self.runtime.block_on(make).context(|| format!("cannot make the bucket '{url}'"))
    }

    fn race(&self) -> Result<usize> {
        self.races().map_err(temporary).context(|| self.failed("write", ".buildkit/race"))
    }

    fn lock(&self, _wait: Duration, _console: &Console) -> Result<Option<Lock>> {
        Ok(None)
    }
}
