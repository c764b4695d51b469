//! A repository in a bucket of an object store.
//!
//! Nothing can be locked there, and nothing is asked for but that an object is created only where there
//! is none: engines differ in all else.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bk::file::{Lock, TempDir};
use bk::http::tokio;
use bk::{Console, Context, Error, Result, Status};
use futures_util::StreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::engine::Engine;
use super::{Content, Entry, Published, RACES, READ_LIMIT, Scratch, Staged, Store};

/// How many requests are under way at once: one takes some milliseconds, most of them waiting.
pub const AT_ONCE: usize = 16;

/// Files that are larger are read, and uploaded one at a time, in parts of this size.
const PART: u64 = 16 << 20;

/// How many create one object at once, to learn whether the engine lets one win.
const RACERS: usize = 8;

/// Where files wait for their upload: they may be large (FHS 5.15).
const SCRATCH: &str = "/var/tmp";

/// A repository in a bucket.
pub struct Bucket {
    engine: Engine,
    client: Arc<dyn ObjectStore>,
    runtime: Runtime,
}

impl Bucket {
    /// The repository at a URL: see [`Engine::new`].
    pub fn open(url: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let engine = Engine::new(url, env)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(AT_ONCE * 2)
            .enable_all()
            .build()?;
        Ok(Bucket { client: engine.client.clone(), engine, runtime })
    }

    /// How people call it.
    pub fn shown(&self) -> &Path {
        &self.engine.shown
    }

    fn key(&self, key: &str) -> Key {
        match self.engine.prefix.as_str() {
            "" => Key::from(key),
            prefix => Key::from(format!("{prefix}/{key}")),
        }
    }

    fn failed(&self, what: &str, key: &str) -> String {
        format!("cannot {what} '{}/{key}'", self.engine.shown.display())
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
async fn create(client: Arc<dyn ObjectStore>, key: Key, bytes: Vec<u8>) -> Result<bool> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match client.put_opts(&key, PutPayload::from(bytes), options).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes an object; says false where it was to be created and is there with other bytes.
async fn put(
    client: Arc<dyn ObjectStore>,
    key: Key,
    bytes: Vec<u8>,
    mode: PutMode,
) -> Result<bool> {
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

/// Why a file of the pool cannot be placed.
fn taken(key: &str) -> Error {
    Error::new(format!("'{key}' is taken by a file with other content")).hint(
        "publish some of the others first: then it is told which packages it keeps away, and what a \
         killed command left goes",
    )
}

/// An object read in parts.
struct Parts {
    client: Arc<dyn ObjectStore>,
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
        if let Some(size) = self.size(&file.key)? {
            let mine = file.path.metadata().context(failed)?.len();
            return if size == mine { Ok(()) } else { Err(taken(&file.key)) };
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

/// Whether an engine says that there is no such bucket, as it is called there.
fn is_no_bucket(cause: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| cause.contains(code))
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

    fn sizes(&self, keys: &[&str]) -> Result<Vec<Option<u64>>> {
        let ask = async {
            let (mut all, mut under_way) = (vec![None; keys.len()], JoinSet::new());
            let mut left = keys.iter().enumerate();
            loop {
                // They have no body to wait for: as many as there are threads.
                while under_way.len() < 2 * AT_ONCE
                    && let Some((at, key)) = left.next()
                {
                    let (client, place) = (self.client.clone(), self.key(key));
                    let failed = self.failed("read", key);
                    under_way.spawn(async move {
                        let head = there(client.head(&place).await).context(|| failed)?;
                        Ok::<_, Error>((at, head.map(|meta| meta.size)))
                    });
                }
                let Some(done) = under_way.join_next().await else { return Ok(all) };
                let (at, size) = done.map_err(Error::from)??;
                all[at] = size;
            }
        };
        self.runtime.block_on(ask)
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
                        // A name that is taken keeps its object. Most say what they hold; a name in the
                        // pool may have been taken by another a moment ago.
                        let placed = match file.key.starts_with("pool/") {
                            true => put(client, key, bytes, PutMode::Create).await,
                            false => create(client, key, bytes).await.map(|_| true),
                        };
                        match placed.map_err(temporary).context(|| failed)? {
                            true => Ok(()),
                            false => Err(taken(&file.key)),
                        }
                    });
                }
                match under_way.join_next().await {
                    None => return Ok::<(), Error>(()),
                    Some(done) => done.map_err(Error::from)??,
                }
            }
        };
        self.runtime.block_on(upload)?;
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
                let key =
                    key.strip_prefix(&self.engine.prefix).unwrap_or(key).trim_start_matches('/');
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
        match self.list(".buildkit/commits") {
            Err(error) if error.causes().iter().any(|cause| is_no_bucket(cause)) => {
                self.runtime.block_on(self.engine.make())
            }
            listed => listed.map(drop),
        }
    }

    fn race(&self) -> Result<usize> {
        self.races().map_err(temporary).context(|| self.failed("write", ".buildkit/race"))
    }

    fn lock(&self, _wait: Duration, _console: &Console) -> Result<Option<Lock>> {
        Ok(None)
    }
}
