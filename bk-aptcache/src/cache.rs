//! The cache: a request comes in, and a file goes out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bk::http::http_body_util::{BodyExt, Full};
use bk::http::hyper::header::{self, HeaderValue};
use bk::http::hyper::{Method, Response, StatusCode, Version};
use bk::http::tokio::sync::Semaphore;
use bk::http::{Body, Request, hyper, hyper_util, tokio};
use bk::{Console, Result};

use crate::address::{Cidr, is_public};
use crate::answer::{self, Answer, Wish, X_CACHE};
use crate::client::{Client, Policy};
use crate::entry::{Entries, Entry};
use crate::log::Log;
use crate::page::Largest;
use crate::path::{by_hash, is_immutable};
use crate::release::Expected;
use crate::request::{self, Target};
use crate::statistics::{Statistics, Verdict};
use crate::store::{Hash, Store, hash_file, parse_hash};
use crate::suite::{Form, Index, Set, Suite, Suites};
use crate::transfer::{Failure, Fetcher, Order, Phase, Progress, Transfer};
use crate::upstream::{Upstream, Upstreams};

/// What may change and is no index was asked about less than so long ago: it is still so.
const FRESH: Duration = Duration::from_secs(2);

/// What may be changed while the server runs.
#[derive(Debug, Default)]
pub struct Config {
    /// The archives.
    pub upstreams: Arc<Upstreams>,
    /// Who is answered; with none, all that are not public.
    pub clients: Vec<Cidr>,
}

impl Config {
    /// Whether a client is answered.
    pub fn admits(&self, client: SocketAddr) -> bool {
        let address = client.ip().to_canonical();
        match self.clients.is_empty() {
            true => !is_public(address),
            false => self.clients.iter().any(|block| block.contains(address)),
        }
    }
}

/// A client's connection, and the sets it has been given on it: what it asks for next belongs to
/// these, though there may be newer ones.
#[derive(Debug)]
pub struct Connection {
    /// Who it is.
    pub client: SocketAddr,
    sets: Mutex<HashMap<String, Arc<Set>>>,
    /// The transfer of a file that its last request has waited for.
    followed: Mutex<Option<(String, Arc<Transfer>)>>,
}

impl Connection {
    /// A connection that has been given nothing.
    pub fn new(client: SocketAddr) -> Self {
        Connection { client, sets: Mutex::default(), followed: Mutex::default() }
    }

    /// The request that is about to be answered has waited for this transfer.
    pub fn follows(&self, key: String, transfer: Arc<Transfer>) {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, transfer));
    }

    fn followed(&self, key: &str) -> Option<Arc<Transfer>> {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner).take();
        followed.filter(|(of, _)| of == key).map(|(_, transfer)| transfer)
    }

    fn set(&self, suite: &Suite) -> Option<Arc<Set>> {
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.get(&suite.key).cloned().or_else(|| suite.newest())
    }

    fn given(&self, suite: &Suite, set: &Arc<Set>) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.insert(suite.key.clone(), set.clone());
    }
}

/// The cache.
pub struct Cache {
    config: RwLock<Arc<Config>>,
    /// Where files lie.
    pub store: Arc<Store>,
    /// The files that are open.
    pub entries: Arc<Entries>,
    /// The suites.
    pub suites: Arc<Suites>,
    /// What happened.
    pub statistics: Arc<Statistics>,
    /// When the server started.
    pub started: Instant,
    /// The largest files, for the page.
    pub largest: Mutex<Option<Largest>>,
    fetcher: Arc<Fetcher>,
    /// Lets some files be hashed at once.
    hashing: Semaphore,
    log: Log,
    /// What tells requests of this program, wherever they come back from.
    via: HeaderValue,
}

impl Cache {
    /// Opens a cache. `make_room` makes room on the disk for so many bytes, if it can.
    pub fn open(
        root: &Path,
        config: Config,
        policy: Policy,
        (log, console): (Log, &Console),
        make_room: impl Fn(u64) -> bool + Send + Sync + 'static,
    ) -> Result<Self> {
        let started = Instant::now();
        let store = Arc::new(Store::open(root)?);
        let statistics = Arc::new(Statistics::load(&store.inside("statistics")));
        let entries = Arc::new(Entries::new(store.clone(), started));
        // Unlike any other's, be it on this machine.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
        let via = HeaderValue::from_str(&format!("1.1 bk-aptcache-{}", boot.trim()))?;
        let client = Arc::new(Client::new(Arc::new(policy), via.clone()));
        let fetcher = Arc::new(Fetcher::new(
            entries.clone(),
            store.clone(),
            client,
            (statistics.clone(), console.clone()),
            make_room,
        ));
        let suites =
            Arc::new(Suites::load(store.clone(), fetcher.clone(), &config.upstreams, console));
        let config = RwLock::new(Arc::new(config));
        let largest = Mutex::default();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Cache {
            config,
            store,
            entries,
            suites,
            statistics,
            started,
            largest,
            fetcher,
            hashing: Semaphore::new(cores),
            log,
            via,
        })
    }

    /// The configuration now.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on goes by another configuration.
    pub fn reconfigure(&self, config: Config, policy: Policy) {
        self.fetcher.set_client(Arc::new(Client::new(Arc::new(policy), self.via.clone())));
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// What asks the archives now.
    pub fn client(&self) -> Arc<Client> {
        self.fetcher.client()
    }

    /// Answers a request.
    pub async fn answer(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request,
    ) -> Response<Body> {
        let line = self.log.is_on().then(|| format!("{} {}", request.method(), request.uri()));
        let answer = self.respond(&connection, request).await;
        self.statistics.answered(answer.verdict, answer.bytes);
        if let Some(line) = line {
            let status = answer.response.status().as_u16();
            self.log(connection.client, status, answer.verdict, answer.bytes, &line);
        }
        answer.response
    }

    async fn respond(self: &Arc<Self>, connection: &Connection, request: Request) -> Answer {
        let modern = request.version() == Version::HTTP_11;
        let checked = request::check(request.method(), request.uri(), request.headers(), modern);
        if let Err((status, why)) = checked {
            self.statistics.refused();
            let mut answer = Answer::refuse(status, why);
            // What follows on the connection may be a part of what was refused.
            let close = HeaderValue::from_static("close");
            answer.response.headers_mut().insert(header::CONNECTION, close);
            return answer;
        }
        let own = self.via.to_str().unwrap_or_default();
        let mut via = request.headers().get_all(header::VIA).iter();
        if via.any(|via| via.to_str().is_ok_and(|via| via.contains(own))) {
            return self.refuse(StatusCode::LOOP_DETECTED, "this request has been here before");
        }
        if request.method() == Method::CONNECT {
            return self.tunnel(request).await;
        }
        let config = self.config();
        let (upstream, path) = match request::target(request.uri(), &config.upstreams) {
            Ok(Target::File(upstream, path)) => (upstream, path),
            Ok(Target::Page(page)) => return Answer::own(self.page(&page, &request).await),
            Err((status, why)) => return self.refuse(status, why),
        };
        let key = format!("{}/{path}", upstream.name);
        let parts = !self.fetcher.is_poisoned(&key);
        let wish = Wish { method: request.method(), headers: request.headers(), parts };
        self.file(connection, &wish, upstream, &path, key).await
    }

    /// Whether anything is on its way to a place in the store.
    pub fn is_under_way(&self, key: &str) -> bool {
        self.fetcher.is_under_way(key)
    }

    /// The transfer of a package, if it is under way.
    pub fn under_way(&self, upstream: &Upstream, path: &str, key: &str) -> Option<Arc<Transfer>> {
        let expected = self.suites.look_up(upstream, path);
        self.fetcher.under_way(key, expected.first().map(|e| e.sha256))
    }

    /// Whether requests are logged.
    pub fn logs(&self) -> bool {
        self.log.is_on()
    }

    /// Logs a request.
    pub fn log(&self, client: SocketAddr, status: u16, verdict: Verdict, bytes: u64, line: &str) {
        self.log.line(client.ip(), status, verdict, bytes, line);
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Answer {
        self.statistics.refused();
        Answer::refuse(status, why)
    }

    async fn file(
        self: &Arc<Self>,
        connection: &Connection,
        wish: &Wish<'_>,
        upstream: &Arc<Upstream>,
        path: &str,
        key: String,
    ) -> Answer {
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", &key));
        match name {
            "InRelease" | "Release" | "Release.gpg" => {
                return self.root(connection, wish, upstream, folder, name).await;
            }
            _ if is_immutable(path) && by_hash(path).is_none() => {
                return self.package(connection, wish, upstream, path, key).await;
            }
            _ => {}
        }
        if let Some(suite) = self.suites.around(&key)
            && let Some(set) = connection.set(&suite)
            && let Some(index) = self.suites.index(&suite, &set, &key)
        {
            let index = self.index(wish, upstream, Some((&suite, &set)), index);
            return index.await;
        }
        match by_hash(path) {
            Some((_, "SHA256", hash)) if parse_hash(hash).is_some() => {
                let sha256 = parse_hash(hash).unwrap_or_default();
                let expected = Expected { sha256, size: None };
                let index = Index { key, sources: vec![path.to_owned()], expected, path: None };
                self.index(wish, upstream, None, index).await
            }
            Some(_) => self.package(connection, wish, upstream, path, key).await,
            None => self.changing(wish, upstream, path, key).await,
        }
    }

    /// Answers with a Release file, of the newest set that can be had whole.
    async fn root(
        self: &Arc<Self>,
        connection: &Connection,
        wish: &Wish<'_>,
        upstream: &Arc<Upstream>,
        folder: &str,
        name: &str,
    ) -> Answer {
        let suite = self.suites.suite(upstream, folder);
        let form = if name == "InRelease" { Form::Signed } else { Form::Detached };
        let before = suite.set(form);
        let current = self.suites.current(&suite, form).await;
        self.suites.drop_empty(&suite);
        let (set, failed) = match current {
            Ok(current) => current,
            Err(failure) => return self.failed(&failure),
        };
        connection.given(&suite, &set);
        let verdict = match before {
            _ if failed => Verdict::Stale,
            Some(before) if Arc::ptr_eq(&before, &set) => Verdict::Hit,
            _ => Verdict::Miss,
        };
        let bytes = match (name, &set.signature) {
            ("Release.gpg", Some(signature)) => signature,
            ("Release.gpg", None) => return Answer::refuse(StatusCode::NOT_FOUND, "not signed"),
            _ => set.release.bytes(),
        };
        answer::small(wish, name, bytes, set.modified, verdict)
    }

    /// Answers with an index, by the hash it should have.
    async fn index(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        upstream: &Arc<Upstream>,
        of: Option<(&Arc<Suite>, &Arc<Set>)>,
        index: Index,
    ) -> Answer {
        if let Some(entry) = self.entries.get(&index.key)
            && let Some(entry) = self.verified(&index.key, entry, &[index.expected]).await
        {
            if let Some((suite, set)) = of {
                self.suites.want(suite, set, &index, None);
            }
            // Its name is its hash.
            entry.is_right(self.suites.epoch());
            let path = index.path.as_deref().unwrap_or(&index.key);
            return answer::held(wish, path, &entry, Verdict::Hit).await;
        }
        let (transfer, joined) = self.fetcher.fetch(Order {
            upstream: upstream.clone(),
            key: index.key.clone(),
            sources: index.sources.clone(),
            expected: vec![index.expected],
            since: None,
            keep: true,
        });
        if let Some((suite, set)) = of {
            self.suites.want(suite, set, &index, Some(transfer.follow()));
        }
        let path = index.path.clone().unwrap_or_else(|| index.key.clone());
        self.follow(wish, &path, &index.key, transfer, joined, None).await
    }

    /// Answers with what keeps its content for ever: a package, or part of a source.
    async fn package(
        self: &Arc<Self>,
        connection: &Connection,
        wish: &Wish<'_>,
        upstream: &Arc<Upstream>,
        path: &str,
        key: String,
    ) -> Answer {
        let epoch = self.suites.epoch();
        let entry = self.entries.get(&key);
        let now = self.entries.now();
        if let Some(entry) = entry.as_ref().filter(|entry| entry.is_sure(epoch, now)) {
            return answer::held(wish, path, entry, Verdict::Hit).await;
        }
        if let Some(transfer) = connection.followed(&key) {
            return self.follow(wish, path, &key, transfer, true, entry).await;
        }
        let expected = match entry {
            Some(_) => self.suites.look_up(upstream, path),
            None => self.suites.expected(upstream, path).await,
        };
        let mut since = None;
        let mut old = None;
        if let Some(entry) = entry {
            if expected.is_empty() {
                entry.is_unknown(epoch);
                if entry.is_sure(epoch, now) {
                    return answer::held(wish, path, &entry, Verdict::Hit).await;
                }
                since = Some(entry.modified);
                old = Some(entry);
            } else if let Some(entry) = self.verified(&key, entry, &expected).await {
                entry.is_right(epoch);
                return answer::held(wish, path, &entry, Verdict::Hit).await;
            }
        }
        let (transfer, joined) = self.fetcher.fetch(Order {
            upstream: upstream.clone(),
            key: key.clone(),
            sources: vec![path.to_owned()],
            expected,
            since,
            keep: true,
        });
        self.follow(wish, path, &key, transfer, joined, old).await
    }

    /// Answers with what may change and no index knows.
    async fn changing(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        upstream: &Arc<Upstream>,
        path: &str,
        key: String,
    ) -> Answer {
        let entry = self.entries.get(&key);
        if let Some(entry) = entry.as_ref().filter(|e| e.asked_within(FRESH, self.entries.now())) {
            return answer::held(wish, path, entry, Verdict::Hit).await;
        }
        let (transfer, joined) = self.fetcher.fetch(Order {
            upstream: upstream.clone(),
            key: key.clone(),
            sources: vec![path.to_owned()],
            expected: Vec::new(),
            since: entry.as_ref().map(|entry| entry.modified),
            keep: true,
        });
        self.follow(wish, path, &key, transfer, joined, entry).await
    }

    /// The entry, if its content is one that is expected; else it is another file, to be fetched anew.
    async fn verified(
        &self,
        key: &str,
        entry: Arc<Entry>,
        expected: &[Expected],
    ) -> Option<Arc<Entry>> {
        let fits = |hash: &Hash| expected.iter().any(|e| e.sha256 == *hash);
        let now = self.entries.now();
        if let Some(hash) = entry.hash(now) {
            return fits(hash).then_some(entry);
        }
        // As many at once as can be, and each file once: who waited finds it done.
        let _permit = self.hashing.acquire().await.ok()?;
        let entry = self.entries.get(key)?;
        if let Some(hash) = entry.hash(now) {
            return fits(hash).then_some(entry);
        }
        let (store, name) = (self.store.clone(), key.to_owned());
        let hashed = tokio::task::spawn_blocking(move || {
            let held = store.get(&name)?.ok_or(std::io::ErrorKind::NotFound)?;
            let hash = hash_file(&held.file, held.size)?;
            Ok::<_, std::io::Error>((held, hash))
        });
        let (held, hash) = hashed.await.ok()?.ok()?;
        self.entries.forget(key);
        fits(&hash).then(|| self.entries.keep(key, held, Some(hash), false))
    }

    /// Answers from a transfer, as soon as there is something to answer with. `old` is what is
    /// served where the archive does not answer, or has not changed it.
    async fn follow(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        path: &str,
        key: &str,
        transfer: Arc<Transfer>,
        joined: bool,
        old: Option<Arc<Entry>>,
    ) -> Answer {
        let verdict = if joined { Verdict::Coalesced } else { Verdict::Miss };
        let mut state = transfer.follow();
        let ready = |p: &Progress| p.head.is_some() || !matches!(p.phase, Phase::Running);
        let progress = match state.wait_for(ready).await {
            Ok(progress) => progress.clone(),
            Err(_) => return Answer::refuse(StatusCode::BAD_GATEWAY, "the transfer is gone"),
        };
        match (progress.phase, progress.head, old) {
            (Phase::Done(Some(entry)), ..) => answer::held(wish, path, &entry, verdict).await,
            (Phase::NotModified, _, Some(old)) => {
                let entry = self.entries.get(key).unwrap_or(old);
                entry.confirmed(self.entries.now());
                answer::held(wish, path, &entry, Verdict::Hit).await
            }
            (Phase::Failed(failure), _, Some(old))
                if failure.status.is_server_error()
                    || failure.status == StatusCode::TOO_MANY_REQUESTS =>
            {
                answer::held(wish, path, &old, Verdict::Stale).await
            }
            (Phase::Failed(failure), ..) => self.failed(&failure),
            (_, Some(head), _) => answer::arriving(wish, path, &transfer, head, verdict),
            (..) => Answer::refuse(StatusCode::BAD_GATEWAY, "the archive did not answer"),
        }
    }

    fn failed(&self, failure: &Failure) -> Answer {
        let mut answer = Answer::refuse(failure.status, &failure.message);
        if failure.status == StatusCode::FORBIDDEN {
            self.statistics.refused();
        }
        let headers = answer.response.headers_mut();
        headers.insert(X_CACHE, HeaderValue::from_static(Verdict::Miss.word()));
        headers.extend(failure.retry_after.map(|after| (header::RETRY_AFTER, after.into())));
        answer
    }

    /// CONNECT: a way to hosts that speak TLS, for clients that will have nobody in between.
    async fn tunnel(self: &Arc<Self>, request: Request) -> Answer {
        let target = request.uri().authority().cloned();
        let host = crate::upstream::host_port(request.uri());
        let (Some(_), Some((host, Some(port)))) = (target, host) else {
            return self.refuse(StatusCode::BAD_REQUEST, "CONNECT wants a host and a port");
        };
        let client = self.fetcher.client();
        if !client.policy().tunnels_to(&host, port) {
            let why = "CONNECT leads only to listed hosts, on port 443; list them with --connect";
            return self.refuse(StatusCode::FORBIDDEN, why);
        }
        let mut stream = match client.policy().connect(&host, port).await {
            Ok(stream) => stream,
            Err(crate::client::Fault::Forbidden(why)) => {
                return self.refuse(StatusCode::FORBIDDEN, &why);
            }
            Err(fault) => return Answer::refuse(StatusCode::BAD_GATEWAY, fault.message()),
        };
        tokio::spawn(async move {
            if let Ok(upgraded) = hyper::upgrade::on(request).await {
                let mut upgraded = hyper_util::rt::TokioIo::new(upgraded);
                drop(tokio::io::copy_bidirectional(&mut upgraded, &mut stream).await);
            }
        });
        Answer::own(Response::new(Full::default().map_err(|e| match e {}).boxed()))
    }
}
