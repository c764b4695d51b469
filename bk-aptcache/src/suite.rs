//! Suites as sets: a Release file and the indexes it lists, which are seen together or not at all.
//!
//! Indexes lie under their hashes (`by-hash/SHA256/…`), whatever they were asked for as; what an
//! index's own name means is looked up in the Release file of the set. So a new set is seen from
//! the moment its Release file is, and an old one can be served whole as long as its files lie
//! here. The names in the tree are links, for people and other servers.

mod refresh;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bk::Console;
use bk::http::tokio;
use tokio::sync::watch;

use crate::path::by_hash;
use crate::release::{Expected, Release};
use crate::store::{Store, hex};
use crate::table::{self, Table, stem};
use crate::transfer::{Fetcher, Phase, Progress};
use crate::upstream::{Upstream, Upstreams};

/// A client that asks for a suite that changes waits at most so long for the new set.
const WAIT: Duration = Duration::from_secs(10);

/// Which of its forms a suite's Release file has: `InRelease`, or `Release` with `Release.gpg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `InRelease`.
    Signed,
    /// `Release` and `Release.gpg`.
    Detached,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Signed => "InRelease",
            Form::Detached => "Release",
        }
    }
}

/// A Release file and what it says.
#[derive(Debug)]
pub struct Set {
    /// The Release file.
    pub release: Release,
    /// `Release.gpg`.
    pub signature: Option<Vec<u8>>,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
    /// What the indexes say of packages, by their names without compression.
    tables: RwLock<HashMap<String, Arc<Table>>>,
}

/// A suite, which is a folder with a Release file.
#[derive(Debug)]
pub struct Suite {
    /// Its folder, `NAME/dists/SUITE`.
    pub key: String,
    upstream: Arc<Upstream>,
    sets: RwLock<[Option<Arc<Set>>; 2]>,
    history: Mutex<VecDeque<Arc<Set>>>,
    /// The indexes that clients asked for.
    wanted: Mutex<BTreeSet<String>>,
    /// Held by whoever asks the archive.
    gate: tokio::sync::Mutex<()>,
    asked: [AtomicU64; 2],
    /// When the archive was last known to agree, in seconds since 1970, and why not since.
    agreed: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Suite {
    fn path(&self) -> &str {
        self.key.split_once('/').map_or("", |(_, path)| path)
    }

    /// The set it has in a form.
    pub fn set(&self, form: Form) -> Option<Arc<Set>> {
        read(&self.sets)[form as usize].clone()
    }

    /// The newest set of all.
    pub fn newest(&self) -> Option<Arc<Set>> {
        let sets = read(&self.sets);
        sets.iter().flatten().max_by_key(|set| set.release.date).cloned()
    }

    /// When its archive last agreed that it is current (seconds since 1970), and what went wrong
    /// since.
    pub fn freshness(&self) -> (u64, Option<String>) {
        (self.agreed.load(Ordering::Relaxed), lock(&self.trouble).clone())
    }

    /// The path below the store of an index with a hash.
    fn index_key(&self, path: &str, expected: &Expected) -> String {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{}/{folder}{slash}by-hash/SHA256/{}", self.key, hex(&expected.sha256))
    }

    /// The folders that paths of packages may start from.
    fn bases(&self) -> Vec<&str> {
        let path = self.path();
        let dists = path.split('/').position(|name| name == "dists");
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut bases = vec![""];
        match dists {
            // ARCHIVE/dists/SUITE: paths start from ARCHIVE.
            Some(0) => {}
            Some(count) => bases = vec![&path[..ends.take(count).last().unwrap_or(0)]],
            // A flat archive: from its own folder, or from the one that sources.list names.
            None => bases.extend(ends.map(|end| &path[..end])),
        }
        bases
    }
}

/// A file of a suite that is asked for.
#[derive(Debug)]
pub struct Index {
    /// Where it lies in the store.
    pub key: String,
    /// Where it lies in the archive, in the order to ask.
    pub sources: Vec<String>,
    /// What it should be.
    pub expected: Expected,
    /// Its own path below the suite, where it is known.
    pub path: Option<String>,
}

/// What is waited for, told by its counterpart being dropped.
struct Building(Arc<watch::Sender<usize>>);

impl Building {
    fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Building(count.clone())
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// All suites.
pub struct Suites {
    suites: RwLock<HashMap<String, Arc<Suite>>>,
    store: Arc<Store>,
    fetcher: Arc<Fetcher>,
    console: Console,
    /// Changes whenever what indexes say may have changed.
    epoch: AtomicU64,
    building: Arc<watch::Sender<usize>>,
}

impl Suites {
    /// The suites that lie in the store.
    pub fn load(
        store: Arc<Store>,
        fetcher: Arc<Fetcher>,
        upstreams: &Upstreams,
        console: &Console,
    ) -> Self {
        let suites = Suites {
            suites: RwLock::default(),
            store,
            fetcher,
            console: console.clone(),
            epoch: AtomicU64::new(1),
            building: Arc::new(watch::channel(0).0),
        };
        for upstream in &upstreams.all {
            suites.load_upstream(upstream);
        }
        suites
    }

    fn load_upstream(&self, upstream: &Arc<Upstream>) {
        for (key, _) in self.store.roots(&upstream.name) {
            let Some((folder, name)) = key.rsplit_once('/') else { continue };
            let form = if name == "InRelease" { Form::Signed } else { Form::Detached };
            let Some(set) = self.load_set(folder, form) else { continue };
            let suite = self.suite(upstream, folder);
            let held = |path: &&str| self.store.identity(&format!("{folder}/{path}")).is_some();
            lock(&suite.wanted).extend(set.release.paths().filter(held).map(str::to_owned));
            for path in lock(&suite.wanted).iter() {
                self.open_table(&suite, &set, path);
            }
            write(&suite.sets)[form as usize] = Some(Arc::new(set));
        }
    }

    fn load_set(&self, folder: &str, form: Form) -> Option<Set> {
        let bytes = |name: &str| -> Option<(Vec<u8>, i64)> {
            let held = self.store.get(&format!("{folder}/{name}")).ok()??;
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut &held.file, &mut bytes).ok()?;
            Some((bytes, held.modified))
        };
        let (text, modified) = bytes(form.name())?;
        let release = Release::parse(text, form == Form::Signed).ok()?;
        let signature = match form {
            Form::Signed => None,
            // They were written one after the other; those of one set have one time.
            Form::Detached => match bytes("Release.gpg") {
                Some((_, time)) if time != modified => return None,
                signature => signature.map(|(bytes, _)| bytes),
            },
        };
        Some(Set { release, signature, modified, tables: RwLock::default() })
    }

    /// The suite of a folder, made if it is not known.
    pub fn suite(&self, upstream: &Arc<Upstream>, key: &str) -> Arc<Suite> {
        if let Some(suite) = read(&self.suites).get(key) {
            return suite.clone();
        }
        let make = || {
            Arc::new(Suite {
                key: key.to_owned(),
                upstream: upstream.clone(),
                sets: RwLock::default(),
                history: Mutex::default(),
                wanted: Mutex::default(),
                gate: tokio::sync::Mutex::default(),
                asked: Default::default(),
                agreed: AtomicU64::new(0),
                trouble: Mutex::default(),
            })
        };
        write(&self.suites).entry(key.to_owned()).or_insert_with(make).clone()
    }

    /// Forgets a folder that turned out not to be a suite's.
    pub fn drop_empty(&self, suite: &Suite) {
        if suite.newest().is_none() {
            write(&self.suites).remove(&suite.key);
        }
    }

    /// All suites that have a set, by their folders.
    pub fn all(&self) -> Vec<Arc<Suite>> {
        let mut all: Vec<Arc<Suite>> = read(&self.suites).values().cloned().collect();
        all.retain(|suite| suite.newest().is_some());
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// The suite a file lies in: the folder nearest above it that has a Release file.
    pub fn around(&self, key: &str) -> Option<Arc<Suite>> {
        let suites = read(&self.suites);
        key.rmatch_indices('/').find_map(|(at, _)| {
            suites.get(&key[..at]).filter(|suite| suite.newest().is_some()).cloned()
        })
    }

    /// Changes whenever what indexes say may have changed.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What a file of a suite is: an index by its own name or by its hash. `set` is the one that the
    /// client has.
    pub fn index(&self, suite: &Suite, set: &Set, key: &str) -> Option<Index> {
        let path = key.strip_prefix(suite.key.as_str())?.strip_prefix('/')?;
        let (path, expected) = match by_hash(path) {
            None => (path, set.release.expected(path)?),
            Some((folder, algorithm, hash)) => {
                let former = lock(&suite.history).iter().cloned().collect::<Vec<_>>();
                let sets = std::iter::once(set).chain(former.iter().map(|set| &**set));
                let mut found = sets.filter_map(|set| {
                    let path = set.release.path_of(folder, algorithm, hash)?;
                    Some((path.to_owned(), set.release.expected(path)?))
                });
                match found.next() {
                    Some((path, expected)) => {
                        return Some(self.known(suite, true, &path, expected));
                    }
                    None => return None,
                }
            }
        };
        Some(self.known(suite, set.release.by_hash, path, expected))
    }

    fn known(&self, suite: &Suite, by_hash_too: bool, path: &str, expected: Expected) -> Index {
        let key = suite.index_key(path, &expected);
        let below = |key: &str| key.split_once('/').map_or("", |(_, path)| path).to_owned();
        let own = format!("{}/{path}", suite.key);
        let mut sources = vec![below(&own)];
        // By its hash an index can be had though its name means another one by now.
        if by_hash_too {
            sources.insert(0, below(&key));
        }
        Index { key, sources, expected, path: Some(path.to_owned()) }
    }

    /// A client asked for an index: it is fetched with every new set from now on, and what it says
    /// of packages is held against them. `arriving` is how it comes here, if it does.
    pub fn want(
        self: &Arc<Self>,
        suite: &Arc<Suite>,
        set: &Arc<Set>,
        index: &Index,
        arriving: Option<watch::Receiver<Progress>>,
    ) {
        let Some(path) = index.path.clone() else { return };
        // Who patches a list of packages has the whole list, and will ask for what is in it.
        let whole = path.strip_suffix(".diff/Index").map(|stem| format!("{stem}.xz"));
        let mut wanted = lock(&suite.wanted);
        let new = wanted.insert(path.clone());
        if let Some(whole) = whole.filter(|whole| set.release.expected(whole).is_some()) {
            wanted.insert(whole);
        }
        drop(wanted);
        if !new && arriving.is_none() {
            return;
        }
        let building = stem(&path).map(|_| Building::new(&self.building));
        let (suites, suite, set) = (self.clone(), suite.clone(), set.clone());
        let key = index.key.clone();
        tokio::spawn(async move {
            if let Some(mut progress) = arriving {
                let done = |p: &Progress| !matches!(p.phase, Phase::Running);
                let ended = progress.wait_for(done).await;
                if !ended.is_ok_and(|p| matches!(p.phase, Phase::Done(_))) {
                    return;
                }
            }
            let work = move || {
                drop(suites.store.alias(&key, &format!("{}/{path}", suite.key)));
                suites.make_table(&suite, &set, &path);
                suites.epoch.fetch_add(1, Ordering::Release);
                drop(building);
            };
            drop(tokio::task::spawn_blocking(work).await);
        });
    }

    /// Makes the table of an index that lies here, if it lists packages.
    fn make_table(&self, suite: &Suite, set: &Set, path: &str) {
        let (Some(_), Some(expected)) = (stem(path), set.release.expected(path)) else { return };
        let table = self.store.inside("tables").join(hex(&expected.sha256));
        let index = self.store.get(&suite.index_key(path, &expected)).ok().flatten();
        if let Some(index) = index
            && let Err(error) = table::make(&index.file, &table)
        {
            self.console.warn(&format!("cannot read '{}/{path}': {error}", suite.key));
        }
        self.open_table(suite, set, path);
    }

    fn open_table(&self, suite: &Suite, set: &Set, path: &str) {
        let (Some(stem), Some(expected)) = (stem(path), set.release.expected(path)) else { return };
        let file = self.store.inside("tables").join(hex(&expected.sha256));
        if !file.exists() {
            // The tables were deleted: they are made again from the index.
            let index = self.store.get(&suite.index_key(path, &expected)).ok().flatten();
            index.iter().for_each(|index| drop(table::make(&index.file, &file)));
        }
        if let Ok(table) = Table::open(&file) {
            write(&set.tables).insert(stem.to_owned(), Arc::new(table));
        }
    }

    /// What the indexes say a file of an archive should be: one of these; nothing if they do not
    /// know it. Waits for indexes that are arriving.
    pub async fn expected(&self, upstream: &Upstream, path: &str) -> Vec<Expected> {
        let mut building = self.building.subscribe();
        if *building.borrow() > 0 {
            drop(tokio::time::timeout(WAIT, building.wait_for(|count| *count == 0)).await);
        }
        self.look_up(upstream, path)
    }

    /// The same of what is known now.
    pub fn look_up(&self, upstream: &Upstream, path: &str) -> Vec<Expected> {
        let suites: Vec<Arc<Suite>> = read(&self.suites)
            .values()
            .filter(|suite| suite.upstream.name == upstream.name)
            .cloned()
            .collect();
        let find = |sets: &[Arc<Set>], suite: &Suite, all: &mut Vec<Expected>| {
            for base in suite.bases() {
                let below = match base {
                    "" => Some(path),
                    base => path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')),
                };
                let Some(below) = below else { continue };
                for set in sets {
                    let tables: Vec<Arc<Table>> = read(&set.tables).values().cloned().collect();
                    for table in tables {
                        if let Ok(Some(expected)) = table.find(below)
                            && !all.contains(&expected)
                        {
                            all.push(expected);
                        }
                    }
                }
            }
        };
        let mut all = Vec::new();
        for suite in &suites {
            let sets: Vec<Arc<Set>> = read(&suite.sets).iter().flatten().cloned().collect();
            find(&sets, suite, &mut all);
        }
        // What only a former set has is asked for by clients that have that set.
        if all.is_empty() {
            for suite in &suites {
                let former: Vec<Arc<Set>> = lock(&suite.history).iter().cloned().collect();
                find(&former, suite, &mut all);
            }
        }
        all
    }
}

fn millis() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u64
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
