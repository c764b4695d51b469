//! Suites as sets: a Release file and the indexes it lists, which are seen together or not at all.
//!
//! Indexes lie under their hashes (`by-hash/SHA256/…`), whatever they were asked for as; what an
//! index's own name means is looked up in the Release file of the set. So a new set is seen from
//! the moment its Release file is, and an old one can be served whole as long as its files lie
//! here. The names in the tree are links, for people and other servers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bk::Console;
use bk::http::http_body_util::{BodyExt, Limited};
use bk::http::hyper::header::{self, HeaderMap, HeaderValue};
use bk::http::hyper::{Method, StatusCode};
use bk::http::tokio;
use tokio::sync::watch;

use crate::client::Client;
use crate::keyring::Keyring;
use crate::path::by_hash;
use crate::release::{Expected, Release};
use crate::store::{Store, USE, hex};
use crate::table::{self, Table, stem};
use crate::transfer::{Failure, Fetcher, Order, Phase, Progress, date};
use crate::upstream::{Mirror, Upstream, Upstreams};

/// An archive that was asked for a suite less than so long ago is not asked again.
const ASKED: Duration = Duration::from_secs(2);

/// A client that asks for a suite that changes waits at most so long for the new set.
const WAIT: Duration = Duration::from_secs(10);

/// Release files have some hundred KiB.
const RELEASE: usize = 16 << 20;

/// How many former sets of a suite are known by heart, for clients that have them.
const HISTORY: usize = 3;

/// An index nobody asked for in this time is no longer fetched with its set.
const WANTED: Duration = Duration::from_secs(30 * 86_400);

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
        // Nothing below these is a suite, and they have most of the files.
        let enter = |key: &str| !key.ends_with("/pool") && !key.ends_with("/by-hash");
        let mut found = Vec::new();
        self.store.walk(&upstream.name, &enter, &mut |key, _| {
            if let Some((folder, name)) = key.rsplit_once('/') {
                let forms = [Form::Signed, Form::Detached];
                let form = forms.into_iter().find(|form| form.name() == name);
                found.extend(form.map(|form| (folder.to_owned(), form)));
            }
        });
        for (folder, form) in found {
            let Some(set) = self.load_set(&folder, form) else { continue };
            let suite = self.suite(upstream, &folder);
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

    /// The current set of a suite, its archive asked where that is due; and whether the archive did
    /// not answer. A client waits for a new set a while, and then gets the old one.
    pub async fn current(
        self: &Arc<Self>,
        suite: &Arc<Suite>,
        form: Form,
    ) -> Result<(Arc<Set>, bool), Failure> {
        let held = suite.set(form);
        if let Some(set) = held.as_ref().filter(|_| self.was_asked(suite, form)) {
            return Ok((set.clone(), lock(&suite.trouble).is_some()));
        }
        let (suites, of) = (self.clone(), suite.clone());
        // Goes on though the client may leave.
        let refresh = tokio::spawn(async move { suites.refresh(&of, form).await });
        let Some(held) = held else {
            return match refresh.await {
                Ok(done) => {
                    done?;
                    let set = suite.set(form).ok_or_else(|| bad("it is gone again".into()))?;
                    Ok((set, false))
                }
                Err(e) => Err(bad(e.to_string())),
            };
        };
        let done = tokio::time::timeout(WAIT, refresh).await;
        let failed = !matches!(done, Ok(Ok(Ok(()))));
        Ok((suite.set(form).unwrap_or(held), failed))
    }

    fn was_asked(&self, suite: &Suite, form: Form) -> bool {
        let asked = suite.asked[form as usize].load(Ordering::Relaxed);
        asked > 0 && millis().saturating_sub(asked) < ASKED.as_millis() as u64
    }

    async fn refresh(self: &Arc<Self>, suite: &Arc<Suite>, form: Form) -> Result<(), Failure> {
        let _gate = suite.gate.lock().await;
        if self.was_asked(suite, form) && suite.set(form).is_some() {
            return Ok(());
        }
        let client = self.fetcher.client();
        let mut failure = bad("no mirror has it".into());
        for mirror in suite.upstream.order() {
            match self.ask(&client, suite, form, mirror).await {
                Ok(()) => {
                    suite.asked[form as usize].store(millis(), Ordering::Relaxed);
                    suite.agreed.store(millis() / 1000, Ordering::Relaxed);
                    self.used(suite, form);
                    *lock(&suite.trouble) = None;
                    return Ok(());
                }
                Err(failed) => {
                    self.console.info(&format!("'{}': {}", suite.key, failed.message));
                    failure = failed;
                }
            }
        }
        if suite.set(form).is_some() {
            suite.asked[form as usize].store(millis(), Ordering::Relaxed);
            *lock(&suite.trouble) = Some(failure.message.clone());
        }
        Err(failure)
    }

    /// Notes on disk that a suite is used, so that what it names is kept.
    fn used(&self, suite: &Suite, form: Form) {
        let held = self.store.get(&format!("{}/{}", suite.key, form.name()));
        let now = (millis() / 1000).cast_signed();
        if let Ok(Some(held)) = held
            && now - held.used > USE.as_secs().cast_signed()
        {
            Store::touch(&held.file);
        }
    }

    /// Asks one mirror, and takes the set it has if that is a newer one and can be had whole.
    async fn ask(
        self: &Arc<Self>,
        client: &Client,
        suite: &Arc<Suite>,
        form: Form,
        mirror: &Mirror,
    ) -> Result<(), Failure> {
        let held = suite.set(form);
        let below = |name: &str| match suite.path() {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        };
        let since = held.as_ref().map(|set| set.modified);
        let name = below(form.name());
        let Some((text, modified)) = fetch(client, mirror, &name, since).await? else {
            return Ok(());
        };
        if held.as_ref().is_some_and(|set| set.release.bytes() == text) {
            return Ok(());
        }
        let signature = match form {
            Form::Signed => None,
            Form::Detached => {
                let signature = match fetch(client, mirror, &below("Release.gpg"), None).await {
                    Ok(signature) => signature.map(|(bytes, _)| bytes),
                    Err(failure) if failure.status == StatusCode::NOT_FOUND => None,
                    Err(failure) => return Err(failure),
                };
                // They must be of one set: the text is still the one that was signed.
                match fetch(client, mirror, &name, None).await? {
                    Some((again, _)) if again == text => {}
                    _ => return Err(bad(format!("'{}' changes just now", mirror.base))),
                }
                signature
            }
        };
        let wrong = |why: String| bad(format!("'{}' has a wrong {name}: {why}", mirror.base));
        let release = Release::parse(text, form == Form::Signed);
        let release = release.map_err(|e| wrong(e.to_string()))?;
        let older = held.as_ref().is_some_and(|set| release.date < set.release.date);
        if older {
            return Err(bad(format!("'{}' has an older {name} than is known", mirror.base)));
        }
        if let Some(keyring) = &suite.upstream.keyring {
            let (keyring, dir) = (Keyring::new(keyring), self.store.inside("parts"));
            let console = self.console.clone();
            let (text, proof) = (release.bytes().to_vec(), signature.clone());
            let verify = move || keyring.verify(&text, proof.as_deref(), &dir, &console);
            let verified = tokio::task::spawn_blocking(verify).await;
            verified.unwrap_or_else(|e| Err(e.into())).map_err(|e| wrong(e.to_string()))?;
        }
        let modified = modified.unwrap_or_else(|| (millis() / 1000).cast_signed());
        let set = Set { release, signature, modified, tables: RwLock::default() };
        self.adopt(suite, form, set).await
    }

    /// Fetches the indexes of a new set that clients ask for, and then makes it the current one.
    async fn adopt(
        self: &Arc<Self>,
        suite: &Arc<Suite>,
        form: Form,
        set: Set,
    ) -> Result<(), Failure> {
        self.forget_unused(suite);
        let wanted: Vec<String> = lock(&suite.wanted).iter().cloned().collect();
        let mut transfers = Vec::new();
        for path in &wanted {
            let Some(expected) = set.release.expected(path) else { continue };
            let index = self.known(suite, set.release.by_hash, path, expected);
            if self.store.identity(&index.key).is_some() {
                continue;
            }
            let (transfer, _) = self.fetcher.fetch(Order {
                upstream: suite.upstream.clone(),
                key: index.key,
                sources: index.sources,
                expected: vec![expected],
                since: None,
                keep: true,
            });
            transfers.push((path, transfer.follow()));
        }
        for (path, mut state) in transfers {
            let ended = state.wait_for(|p| !matches!(p.phase, Phase::Running)).await;
            match ended.map(|progress| progress.phase.clone()) {
                Ok(Phase::Done(_)) => {}
                Ok(Phase::Failed(failure)) => {
                    let message = format!("the new set has no '{path}' yet: {}", failure.message);
                    return Err(bad(message));
                }
                _ => return Err(bad(format!("the new set has no '{path}' yet"))),
            }
        }
        let (suites, of) = (self.clone(), suite.clone());
        let work = move || suites.publish(&of, form, set, &wanted);
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|e| Err(e.into())).map_err(|e| bad(e.to_string()))
    }

    fn publish(&self, suite: &Suite, form: Form, set: Set, wanted: &[String]) -> bk::Result<()> {
        for path in wanted {
            self.make_table(suite, &set, path);
        }
        let time = Duration::from_secs(set.modified.max(0).cast_unsigned());
        let put = |name: &str, bytes: &[u8]| -> std::io::Result<()> {
            let mut part = self.store.scratch()?;
            let written = std::io::Write::write_all(&mut part.file, bytes);
            let key = format!("{}/{name}", suite.key);
            let time = SystemTime::UNIX_EPOCH + time;
            let done = written.and_then(|()| self.store.commit(&part, &key, time, None));
            if done.is_err() {
                part.remove();
            }
            done
        };
        let keep = || {
            match (&set.signature, form) {
                (Some(signature), _) => put("Release.gpg", signature)?,
                (None, Form::Detached) => {
                    self.store.remove(&format!("{}/Release.gpg", suite.key))?;
                }
                (None, Form::Signed) => {}
            }
            put(form.name(), set.release.bytes())
        };
        // A disk that takes nothing is no reason to serve an old set.
        if let Err(error) = keep() {
            self.console.warn(&format!("cannot keep '{}/{}': {error}", suite.key, form.name()));
        }
        for path in wanted {
            let own = format!("{}/{path}", suite.key);
            match set.release.expected(path) {
                Some(expected) => {
                    drop(self.store.alias(&suite.index_key(path, &expected), &own));
                }
                None => {
                    lock(&suite.wanted).remove(path);
                    drop(self.store.remove(&own));
                }
            }
        }
        let former = write(&suite.sets)[form as usize].replace(Arc::new(set));
        if let Some(former) = former {
            let mut history = lock(&suite.history);
            history.push_front(former);
            history.truncate(HISTORY);
        }
        self.epoch.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn forget_unused(&self, suite: &Suite) {
        let now = (millis() / 1000).cast_signed();
        let unused = |path: &String| {
            let held = self.store.get(&format!("{}/{path}", suite.key)).ok().flatten();
            held.is_some_and(|held| now - held.used > WANTED.as_secs().cast_signed())
        };
        lock(&suite.wanted).retain(|path| !unused(path));
    }
}

fn bad(message: String) -> Failure {
    Failure { status: StatusCode::BAD_GATEWAY, message, retry_after: None }
}

/// Fetches a small file whole: its bytes and when it was changed; nothing if it was not changed.
async fn fetch(
    client: &Client,
    mirror: &Mirror,
    path: &str,
    since: Option<i64>,
) -> Result<Option<(Vec<u8>, Option<i64>)>, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(since) = since {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(since.max(0).cast_unsigned());
        let value = HeaderValue::from_str(&bk::http::http_date(time));
        headers.extend(value.ok().map(|value| (header::IF_MODIFIED_SINCE, value)));
    }
    let asked = client.ask(&Method::GET, mirror, path, &headers).await;
    let response = asked.map_err(|fault| {
        mirror.failed();
        bad(fault.message().to_owned())
    })?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if since.is_some() => return Ok(None),
        status => {
            let told = match status.as_u16() {
                401 | 403 | 404 | 410 | 429 | 451 | 503 => status,
                _ => StatusCode::BAD_GATEWAY,
            };
            let message = format!("'{}' answers with status {status} to '{path}'", mirror.base);
            return Err(Failure { status: told, message, retry_after: None });
        }
    }
    let modified = response.headers().get(header::LAST_MODIFIED);
    let modified = modified.and_then(|v| v.to_str().ok()).and_then(date);
    let body = Limited::new(response.into_body(), RELEASE).collect();
    let broke = |why: String| bad(format!("'{}' breaks off '{path}': {why}", mirror.base));
    let body = tokio::time::timeout(3 * WAIT, body).await;
    let body = body.map_err(|_| broke("it takes too long".into()))?;
    let bytes = body.map_err(|e| broke(e.to_string()))?.to_bytes().to_vec();
    Ok(Some((bytes, modified)))
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
