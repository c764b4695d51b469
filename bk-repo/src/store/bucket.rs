//! A repository in a bucket of an object store.
//!
//! Nothing can be locked there, and nothing is asked for but that an object is created only where there
//! is none: engines differ in all else.
//!
//! Each request takes the thread it is made in, and many are made in as many threads: to hand each to
//! another thread and back costs more than a small one takes.

use std::collections::HashMap;
use std::future::ready;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use bk::file::{Lock, TempDir};
use bk::http::hyper::body::Bytes;
use bk::http::tokio;
use bk::{Console, Context, Error, Result};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path as Key;
use object_store::{
    GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
};

use sha2::{Digest, Sha256};

use super::engine::{Engine, Refusal, said};
use super::{
    Content, Entry, Fetched, GRACE, Head, Published, RACES, READ_LIMIT, Scratch, Staged, Store,
};

/// How many requests are under way at once: one takes some milliseconds, most of them waiting.
pub const AT_ONCE: usize = 16;

/// Files that are larger are uploaded one at a time, in parts of this size (S3 takes none below 5 MiB).
const PART: u64 = 8 << 20;

/// Of a file that is larger it is asked whether it is there before it is begun with: it would travel for
/// nothing. To ask takes half as long as to write a small one.
const PROBE: u64 = 256 << 10;

/// What may be in memory of the files that are uploaded.
const ROOM: u64 = 32 << 20;

/// How many files one who uploads takes at a time.
const SOME: usize = 4;

/// How many create one object at once, to learn whether the engine lets one win.
const RACERS: usize = 8;

/// What is looked for in a bucket to learn whether there is one.
const COMMITS: &str = ".buildkit/commits";

/// Where files wait for their upload: they may be large (FHS 5.15).
const SCRATCH: &str = "/var/tmp";

/// A repository in a bucket.
pub struct Bucket {
    to: Arc<Place>,
    /// Those who upload what was begun with.
    uploads: Mutex<Option<Uploads>>,
    /// What they created.
    begun: Mutex<Begun>,
}

/// Where it is.
struct Place {
    engine: Engine,
    room: Room,
}

/// Names in the bucket, and the hashes of what was uploaded.
type Begun = HashMap<String, Option<String>>;

/// Uploads beside other work.
struct Uploads {
    queue: mpsc::Sender<Staged>,
    threads: Vec<JoinHandle<Result<Begun>>>,
}

/// Memory for those who upload.
struct Room {
    left: Mutex<u64>,
    freed: Condvar,
}

/// Does one request, or some after each other.
fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    // Time alone: before a request is repeated.
    Ok(tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(future))
}

/// What an engine answers; what it does not do now it may do later.
fn ask<T>(future: impl Future<Output = object_store::Result<T>>) -> Result<T> {
    wait(future)?.map_err(said)
}

/// The same of what may not be there.
fn find<T>(future: impl Future<Output = object_store::Result<T>>) -> Result<Option<T>> {
    match wait(future)? {
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        answer => ask(ready(answer)).map(Some),
    }
}

/// Does the same with each, `threads` at a time, until one fails. What comes of them is in their order.
fn each<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: &(dyn Fn(&T) -> Result<R> + Sync),
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let some = || -> Result<Vec<(usize, R)>> {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return Ok(done) };
            match work(item) {
                Ok(result) => done.push((at, result)),
                Err(error) => {
                    next.store(items.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let mut all = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.min(items.len())).map(|_| scope.spawn(some)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| Error::new("a thread ended"))??);
        }
        Ok::<_, Error>(all)
    })?;
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Room {
    /// Does something that takes so many bytes, when there is room for them.
    fn with<T>(&self, bytes: u64, work: impl FnOnce() -> T) -> T {
        let mut left = lock(&self.left);
        while *left < bytes {
            left = self.freed.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= bytes;
        drop(left);
        let done = work();
        *lock(&self.left) += bytes;
        self.freed.notify_all();
        done
    }
}

impl Uploads {
    fn start(to: &Arc<Place>) -> Self {
        // However many wait: they are no more than names.
        let (queue, files) = mpsc::channel::<Staged>();
        let files = Arc::new(Mutex::new(files));
        let work = |to: Arc<Place>, files: Arc<Mutex<mpsc::Receiver<Staged>>>| {
            let mut begun = Begun::new();
            loop {
                // Some at a time: to take turns costs as much as to read one.
                let mine: Vec<Staged> = {
                    let files = lock(&files);
                    let Ok(first) = files.recv() else { return Ok(begun) };
                    [first].into_iter().chain(files.try_iter().take(SOME - 1)).collect()
                };
                for file in mine {
                    if to.begin(&file)? {
                        begun.insert(file.key, file.sha256);
                    }
                }
            }
        };
        let thread = |_| {
            let (to, files) = (to.clone(), files.clone());
            thread::spawn(move || work(to, files))
        };
        Uploads { queue, threads: (0..AT_ONCE).map(thread).collect() }
    }

    fn finish(self) -> Result<Begun> {
        drop(self.queue);
        let mut all = Begun::new();
        for thread in self.threads {
            all.extend(thread.join().map_err(|_| Error::new("a thread ended"))??);
        }
        Ok(all)
    }
}

impl Place {
    fn client(&self) -> &dyn ObjectStore {
        &*self.engine.client
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

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        find(self.client().head(&self.key(key))).context(|| self.failed("read", key))
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        ask(self.client().put(&self.key(key), bytes.into()))
            .map(drop)
            .context(|| self.failed("write", key))
    }

    /// Creates an object; says false where there is one.
    fn create(&self, key: &str, bytes: Bytes) -> Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = wait(self.client().put_opts(&self.key(key), PutPayload::from(bytes), options))?;
        match put {
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            put => ask(ready(put)).map(|_| true).context(|| self.failed("write", key)),
        }
    }

    /// The same, but says false only where there is one with other bytes: a request may be carried out and
    /// its answer lost.
    fn create_same(&self, key: &str, bytes: Bytes) -> Result<bool> {
        if self.create(key, bytes.clone())? {
            return Ok(true);
        }
        let there = ask(async {
            let found = self.client().get(&self.key(key)).await?;
            Ok((found.meta.last_modified, found.bytes().await?))
        });
        let (time, there) = there.context(|| self.failed("read", key))?;
        if there != bytes {
            return Ok(false);
        }
        if is_old(time.into()) {
            self.replace(key, bytes)?;
        }
        Ok(true)
    }

    /// Uploads a file before it is known whether it will be placed, unless its name is taken: says whether.
    fn begin(&self, file: &Staged) -> Result<bool> {
        let failed = || self.failed("write", &file.key);
        let size = file.path.metadata().context(failed)?.len();
        if size > PART || file.sha256.is_none() || (size > PROBE && self.head(&file.key)?.is_some())
        {
            return Ok(false);
        }
        self.room.with(size, || self.create(&file.key, read(file).context(failed)?))
    }

    /// Gives a file its name, of which `begun` says what was uploaded there. A name that is taken keeps its
    /// object: most say what they hold, but one in the pool may be another's since a moment ago.
    fn place(&self, file: &Staged, begun: Option<&Option<String>>) -> Result<()> {
        if begun == Some(&file.sha256) {
            return Ok(());
        }
        let failed = || self.failed("write", &file.key);
        let size = file.path.metadata().context(failed)?.len();
        if size > PART {
            return self.room.with(PART, || self.upload(file, size));
        }
        self.room.with(size, || {
            let bytes = read(file).context(failed)?;
            if begun.is_some() {
                // Another file of this command came first, and was not chosen.
                return self.replace(&file.key, bytes);
            }
            match self.create_same(&file.key, bytes)? {
                true => Ok(()),
                false => Err(taken(&file.key)),
            }
        })
    }

    /// Uploads a large file in parts.
    fn upload(&self, file: &Staged, size: u64) -> Result<()> {
        let failed = || self.failed("write", &file.key);
        // There is no creating in parts that all engines have; whoever else brings a file of this name
        // brings these bytes.
        match self.head(&file.key)? {
            Some(there) if there.size != size => return Err(taken(&file.key)),
            Some(there) if !is_old(there.last_modified.into()) => return Ok(()),
            _ => {}
        }
        let mut reader = std::fs::File::open(&file.path).context(failed)?;
        let upload = async {
            let upload = self.client().put_multipart(&self.key(&file.key)).await;
            let mut upload = upload.map_err(said)?;
            let mut known = file.sha256.as_deref().map(|sha256| (sha256, Sha256::new()));
            loop {
                let mut part = Vec::new();
                reader.by_ref().take(PART).read_to_end(&mut part)?;
                if part.is_empty() {
                    let compared = known.map_or(Ok(()), |(sha256, hash)| compare(sha256, hash));
                    if compared.is_ok() {
                        upload.complete().await.map_err(said)?;
                    } else {
                        // What is left where that fails is no object: the bucket's own rules remove it.
                        drop(upload.abort().await);
                    }
                    return compared;
                }
                if let Some((_, hash)) = &mut known {
                    hash.update(&part);
                }
                upload.put_part(PutPayload::from(part)).await.map_err(said)?;
            }
        };
        wait(upload)?.context(failed)
    }
}

/// The bytes of a file, if they are those it was looked into for.
fn read(file: &Staged) -> Result<Bytes> {
    let bytes = std::fs::read(&file.path)?;
    if let Some(sha256) = &file.sha256 {
        compare(sha256, Sha256::new_with_prefix(&bytes))?;
    }
    Ok(bytes.into())
}

/// Checks that what is uploaded is what was looked into.
fn compare(sha256: &str, hash: Sha256) -> Result<()> {
    match format!("{:x}", hash.finalize()) == sha256 {
        true => Ok(()),
        false => Err(Error::new("it has changed since it was looked into")
            .hint("add it again when nothing writes to it any more")),
    }
}

/// Whether an object that no commit names may be collected soon: who needs it writes it again.
fn is_old(time: SystemTime) -> bool {
    // Half the grace, so that the other half is left to commit in, and for clocks that differ.
    SystemTime::now().duration_since(time).is_ok_and(|age| age > GRACE / 2)
}

fn head(meta: &ObjectMeta) -> Head {
    let tag = meta.e_tag.as_deref().unwrap_or_default().trim_matches('"').to_owned();
    Head { size: meta.size, modified: meta.last_modified.into(), tag }
}

/// Why a file of the pool cannot be placed.
fn taken(key: &str) -> Error {
    Error::new(format!("'{key}' is taken by a file with other content")).hint(
        "build it again with a higher packaging version; what a killed command left there gives way \
         after a day",
    )
}

/// An object as it comes.
struct Reading {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match wait(self.stream.next()).map_err(io::Error::other)? {
                None => return Ok(0),
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
            }
        }
        let n = buffer.len().min(self.piece.len());
        buffer[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}

impl Bucket {
    /// The repository at a URL: see [`Engine::new`].
    pub fn open(url: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let room = Room { left: Mutex::new(ROOM), freed: Condvar::new() };
        let to = Arc::new(Place { engine: Engine::new(url, env)?, room });
        Ok(Bucket { to, uploads: Mutex::default(), begun: Mutex::default() })
    }

    /// How people call it.
    pub fn shown(&self) -> &Path {
        &self.to.engine.shown
    }

    /// What was begun with and created, when all of it is done.
    fn begun(&self) -> Result<MutexGuard<'_, Begun>> {
        let mut begun = lock(&self.begun);
        if let Some(uploads) = lock(&self.uploads).take() {
            begun.extend(uploads.finish()?);
        }
        Ok(begun)
    }

    /// How many of several at once created one object.
    fn run_race(&self, name: &str) -> Result<usize> {
        // What each writes is its own; large enough to take its time.
        let racers: Vec<u8> = (0..RACERS as u8).collect();
        let run = |racer: &u8| self.to.create(name, vec![*racer; 64 << 10].into());
        let winners = each(&racers, RACERS, &run);
        self.remove(name)?;
        Ok(winners?.into_iter().filter(|won| *won).count())
    }
}

impl Store for Bucket {
    fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let get = async {
            let found = self.to.client().get(&self.to.key(key)).await?;
            match found.meta.size > READ_LIMIT {
                true => Ok(None),
                false => found.bytes().await.map(Some),
            }
        };
        match find(get).context(|| self.to.failed("read", key))? {
            Some(None) => Err(Error::new(format!("larger than {READ_LIMIT} bytes"))
                .context(self.to.failed("read", key))),
            found => Ok(found.flatten().map(Vec::from)),
        }
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Read + Send>>> {
        Ok(self.fetch(key, None)?.map(|(_, file)| file))
    }

    fn head(&self, key: &str) -> Result<Option<Head>> {
        Ok(self.to.head(key)?.map(|meta| head(&meta)))
    }

    fn fetch(&self, key: &str, part: Option<Range<u64>>) -> Result<Option<Fetched>> {
        let options = GetOptions { range: part.map(GetRange::Bounded), ..GetOptions::default() };
        let found = find(self.to.client().get_opts(&self.to.key(key), options));
        let fetched = |found: GetResult| {
            let head = head(&found.meta);
            let file = Reading { stream: found.into_stream(), piece: Bytes::new() };
            (head, Box::new(file) as Box<dyn Read + Send>)
        };
        Ok(found.context(|| self.to.failed("read", key))?.map(fetched))
    }

    fn names(&self, folder: &str) -> Result<Vec<(String, Option<u64>)>> {
        let found = find(self.to.client().list_with_delimiter(Some(&self.to.key(folder))));
        let found = found.context(|| self.to.failed("list", folder))?;
        let name = |path: &Key| path.filename().unwrap_or_default().to_owned();
        let found = found.map(|found| {
            let folders = found.common_prefixes.iter().map(|path| (name(path), None));
            let file = |meta: &ObjectMeta| (name(&meta.location), Some(meta.size));
            folders.chain(found.objects.iter().map(file)).collect()
        });
        Ok(found.unwrap_or_default())
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.to.head(key)?.map(|meta| meta.size))
    }

    fn sizes(&self, keys: &[&str]) -> Result<Vec<Option<u64>>> {
        let begun = self.begun()?;
        let begun = &*begun;
        let size = |key: &&str| if begun.contains_key(*key) { Ok(None) } else { self.size(key) };
        // They have no body to wait for.
        each(keys, 2 * AT_ONCE, &size)
    }

    fn scratch(&self) -> Result<Scratch> {
        let dir = TempDir::new_in(Path::new(SCRATCH))?;
        let alive = std::fs::File::open(dir.path())?;
        Ok(Scratch { dir, _alive: alive })
    }

    fn sweep(&self) -> Result<()> {
        Ok(())
    }

    fn begin(&self, file: Staged) {
        let queue = {
            let mut uploads = lock(&self.uploads);
            uploads.get_or_insert_with(|| Uploads::start(&self.to)).queue.clone()
        };
        // Where nobody takes it, all failed, as who asks what was begun is told.
        drop(queue.send(file));
    }

    fn place(&self, files: Vec<Staged>) -> Result<()> {
        let begun = std::mem::take(&mut *self.begun()?);
        let place = |file: &Staged| self.to.place(file, begun.get(&file.key));
        each(&files, AT_ONCE, &place).map(drop)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        self.to.create_same(key, Bytes::copy_from_slice(bytes))
    }

    fn replace(&self, key: &str, bytes: &[u8], _modified: Option<SystemTime>) -> Result<()> {
        self.to.replace(key, Bytes::copy_from_slice(bytes))
    }

    fn note(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.replace(key, bytes, None)
    }

    fn publish(&self, dir: &str, _number: u64, files: &[Published<'_>]) -> Result<()> {
        let copy = |file: &Published<'_>| {
            let Content::Same(other) = &file.content else { return Ok(()) };
            let key = |name: &str| self.to.key(&format!("{dir}/{name}"));
            ask(self.to.client().copy(&key(other), &key(&file.name)))
        };
        each(files, AT_ONCE, &copy).context(|| self.to.failed("publish", dir))?;
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
        let removed = find(self.to.client().delete(&self.to.key(key)));
        removed.map(drop).context(|| self.to.failed("remove", key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let list = async {
            let mut all = Vec::new();
            let mut found = self.to.client().list(Some(&self.to.key(prefix)));
            while let Some(meta) = found.next().await {
                let meta = meta?;
                let key = meta.location.as_ref();
                let key =
                    key.strip_prefix(&self.to.engine.prefix).unwrap_or(key).trim_start_matches('/');
                let modified = SystemTime::from(meta.last_modified);
                all.push(Entry { key: key.to_owned(), size: meta.size, modified });
            }
            Ok(all)
        };
        let mut all = find(list).context(|| self.to.failed("list", prefix))?.unwrap_or_default();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }

    fn local(&self, _key: &str) -> Option<PathBuf> {
        None
    }

    fn modified(&self, key: &str) -> Result<Option<SystemTime>> {
        Ok(self.to.head(key)?.map(|meta| meta.last_modified.into()))
    }

    fn touch(&self, _key: &str) -> Result<()> {
        Ok(())
    }

    fn prepare(&self) -> Result<()> {
        let first = async { self.to.client().list(Some(&self.to.key(COMMITS))).next().await };
        match wait(first)?.transpose() {
            Err(error) if Refusal::find(&error).is_some_and(Refusal::is_no_bucket) => {
                wait(self.to.engine.make())?
            }
            listed => ask(ready(listed)).map(drop).context(|| self.to.failed("list", COMMITS)),
        }
    }

    fn race(&self) -> Result<usize> {
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

    fn lock(&self, _wait: Duration, _console: &Console) -> Result<Option<Lock>> {
        Ok(None)
    }
}
