//! The index client: which versions of a distribution there are, and what they need.
//!
//! What is fetched is kept: pages for as long as the server says, what a file needs for ever. While
//! the solver thinks, threads fetch what it will probably ask for next.

mod html;
mod needs;
mod page;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bk::{Context, Error, Result, display, file, sanitize};
use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{ExtraName, PackageName, Requirement, VersionOrUrl};

pub use self::needs::Needs;
pub use self::page::{Listed, Release};
use super::lock::{File, Locked};
use super::requirement::Indexes;
use super::{tags, wheel};
use crate::fetch::{Fresh, path_of, shown};
use crate::supply::{Supply, hex};

/// The first line of a kept page: another layout gets another number.
const FORMAT: &str = "bk-deb page 1";
/// The largest page of the largest index has 30 MB.
const PAGE_LIMIT: u64 = 256 << 20;
/// What is kept of what a file needs.
const NEEDS_LIMIT: u64 = 16 << 20;
/// How long a page is believed where the server does not say: what the largest index says.
const FRESH: u64 = 600;
/// PEP 691's media types, the better ones first.
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, \
                      application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";
/// How many fetch at once.
const THREADS: usize = 16;

/// A client for one run.
pub struct Index<'a> {
    supply: &'a Supply<'a>,
    /// Where pages are, in the order they are asked.
    bases: Vec<String>,
    links: Vec<String>,
    /// Withdrawn versions that are asked for by number.
    pinned: HashSet<(PackageName, Version)>,
    /// What the distribution will be asked for instead.
    elsewhere: &'a (dyn Fn(&Requirement) -> bool + Sync),
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    releases: HashMap<PackageName, Slot<Option<Vec<Release>>>>,
    needs: HashMap<String, Slot<Needs>>,
    linked: HashMap<(), Slot<Vec<Listed>>>,
    /// What may be asked for soon.
    queue: VecDeque<Requirement>,
    queued: HashSet<Requirement>,
    ended: bool,
}

enum Slot<T> {
    Pending,
    Ready(Result<Arc<T>>),
}

/// A page as it was kept.
struct Kept {
    etag: String,
    fresh: bool,
    /// None if the index had no such page.
    releases: Option<Vec<Release>>,
}

impl<'a> Index<'a> {
    /// A client of `indexes`. Versions in `pinned` may be withdrawn ones; requirements that are
    /// `elsewhere` are not fetched ahead.
    pub fn new(
        supply: &'a Supply<'a>,
        indexes: &Indexes,
        pinned: HashSet<(PackageName, Version)>,
        elsewhere: &'a (dyn Fn(&Requirement) -> bool + Sync),
    ) -> Self {
        // As uv has it: the first one that has the name has the say, the main one comes last.
        let bases = match indexes.no_index {
            true => Vec::new(),
            false => indexes.extra.iter().chain(&indexes.index).cloned().collect(),
        };
        Index {
            supply,
            bases,
            links: indexes.find_links.clone(),
            pinned,
            elsewhere,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Runs `work` while threads fetch what [`Index::expect`] names.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| self.fetch_ahead());
            }
            let result = work();
            let mut state = self.lock();
            state.ended = true;
            state.queue.clear();
            drop(state);
            self.changed.notify_all();
            result
        })
    }

    /// The versions of a distribution that the target can have, the newest first; None if nobody
    /// knows its name.
    pub fn releases(&self, name: &PackageName) -> Result<Arc<Option<Vec<Release>>>> {
        self.once(
            |state| &mut state.releases,
            name,
            || {
                let listed = self.listed(name).context(|| format!("cannot look '{name}' up"))?;
                Ok(listed.map(|releases| self.usable(name, releases)))
            },
        )
    }

    /// What a version needs, by the wheel that fits best, else by its source.
    pub fn needs(&self, name: &PackageName, release: &Release) -> Result<Arc<Needs>> {
        let locked = locked(name, release);
        let wheel = locked.wheel(self.supply.target);
        let Some(file) = wheel.or(locked.sdist.as_ref()) else {
            return Err(Error::new(format!("'{name} {}' has no files", release.version)));
        };
        self.needs_of(file, release.files.iter().find(|listed| listed.url == file.url))
            .context(|| format!("cannot read what '{name} {}' needs", release.version))
    }

    /// What a file needs, found out once.
    pub fn needs_of(&self, file: &File, listed: Option<&Listed>) -> Result<Arc<Needs>> {
        let key = file.sha256.as_ref().unwrap_or(&file.url);
        self.once(|state| &mut state.needs, key, || needs_of(self.supply, file, listed))
    }

    /// Says that a requirement will probably be asked for.
    pub fn expect<'r>(&self, requirements: impl IntoIterator<Item = &'r Requirement>) {
        let mut state = self.lock();
        let mut more = false;
        for requirement in requirements {
            // Whose extra it is does not matter any more.
            let bare = Requirement { marker: Default::default(), ..requirement.clone() };
            if !(self.elsewhere)(&bare) && state.queued.insert(bare.clone()) {
                state.queue.push_back(bare);
                more = true;
            }
        }
        drop(state);
        if more {
            self.changed.notify_all();
        }
    }

    fn fetch_ahead(&self) {
        let mut state = self.lock();
        loop {
            if state.ended {
                return;
            }
            let Some(requirement) = state.queue.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            // Who really needs it will meet the error again.
            if let Ok(more) = self.ahead(&requirement) {
                self.expect(&more);
            }
            state = self.lock();
        }
    }

    /// Fetches what the best version for a requirement needs.
    fn ahead(&self, requirement: &Requirement) -> Result<Vec<Requirement>> {
        let any = VersionSpecifiers::empty();
        let specifiers = match &requirement.version_or_url {
            Some(VersionOrUrl::Url(_)) => return Ok(Vec::new()),
            Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers,
            None => &any,
        };
        let releases = self.releases(&requirement.name)?;
        let fits = |release: &&Release| {
            !release.version.any_prerelease() && specifiers.contains(&release.version)
        };
        let best = releases.iter().flatten().find(fits);
        // A source is unpacked or even built only if there is no way around it.
        let Some(release) = best.filter(|release| release.files.iter().any(Listed::is_wheel))
        else {
            return Ok(Vec::new());
        };
        let needs = self.needs(&requirement.name, release)?;
        Ok(self.applying(&needs, &requirement.extras).cloned().collect())
    }

    /// The requirements that apply to the target, with `extras`.
    pub fn applying<'n>(
        &self,
        needs: &'n Needs,
        extras: &[ExtraName],
    ) -> impl Iterator<Item = &'n Requirement> {
        let markers = self.supply.target.markers();
        needs.requires.iter().filter(move |r| r.evaluate_markers(markers, extras))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a thing once, whoever asks first; the others wait for it.
    fn once<K: Eq + Hash + Clone, T>(
        &self,
        map: impl Fn(&mut State) -> &mut HashMap<K, Slot<T>>,
        key: &K,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let mut state = self.lock();
        loop {
            match map(&mut state).get(key) {
                Some(Slot::Ready(result)) => return result.clone(),
                Some(Slot::Pending) => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        map(&mut state).insert(key.clone(), Slot::Pending);
        drop(state);
        let result = make().map(Arc::new);
        map(&mut self.lock()).insert(key.clone(), Slot::Ready(result.clone()));
        self.changed.notify_all();
        result
    }

    /// All that is listed of a distribution; None if nobody knows its name.
    fn listed(&self, name: &PackageName) -> Result<Option<Vec<Release>>> {
        let linked = self.linked()?;
        let mut found = page::releases(linked.iter().cloned(), name);
        let mut doubtful = Vec::new();
        let mut known = !found.is_empty();
        let mut ask = |base: &String, again: bool| -> Result<bool> {
            let (releases, from_cache) = self.page_for_us(base, name, again)?;
            let Some(releases) = releases else {
                if from_cache {
                    doubtful.push(base.clone());
                }
                return Ok(false);
            };
            merge(&mut found, releases);
            Ok(true)
        };
        for base in &self.bases {
            if ask(base, false)? {
                known = true;
                break;
            }
        }
        if !known {
            // It may have been published a minute ago.
            for base in std::mem::take(&mut doubtful) {
                known |= self.page_for_us(&base, name, true)?.0.is_some_and(|releases| {
                    merge(&mut found, releases);
                    true
                });
            }
        }
        Ok(known.then_some(found))
    }

    /// The versions that the target can have, with the files of them it may be given.
    fn usable(&self, name: &PackageName, mut releases: Vec<Release>) -> Vec<Release> {
        let target = self.supply.target;
        let python = &target.markers().python_full_version().version;
        let hashes = self.supply.hashes.get(name);
        let mut runs: HashMap<String, bool> = HashMap::new();
        releases.retain_mut(|release| {
            let pinned = || self.pinned.contains(&(name.clone(), release.version.clone()));
            let pinned = release.files.iter().any(|file| file.yanked) && pinned();
            release.files.retain(|file| {
                let required = file.requires_python.as_str();
                let runs = required.is_empty()
                    || *runs.entry(required.to_owned()).or_insert_with(|| {
                        let specifiers = required.parse::<VersionSpecifiers>();
                        specifiers.map_or(true, |specifiers| specifiers.contains(python))
                    });
                let allowed = hashes.is_none_or(|allowed| {
                    file.sha256.is_empty()
                        || allowed.iter().any(|a| a.eq_ignore_ascii_case(&file.sha256))
                });
                runs && allowed && (pinned || !file.yanked)
            });
            let runs = |file: &Listed| {
                let tags = tags::parse_file_name(&file.name).map(|name| name.tags);
                tags.is_ok_and(|tags| tags.iter().any(|tag| target.rank(tag).is_some()))
            };
            // Most have a source, which runs anywhere: no name has to be taken apart.
            release.files.iter().any(|file| !file.is_wheel()) || release.files.iter().any(runs)
        });
        releases
    }

    /// The files in folders and on pages of `--find-links`.
    fn linked(&self) -> Result<Arc<Vec<Listed>>> {
        self.once(
            |state| &mut state.linked,
            &(),
            || {
                let mut all = Vec::new();
                for link in &self.links {
                    let failed = || format!("cannot read the links of '{}'", shown(link));
                    match path_of(link) {
                        Some(path) if path.is_dir() => all.extend(folder(&path).context(failed)?),
                        Some(path) if !path.exists() => {
                            self.supply.console.warn(&format!(
                                "'{}' is not there, so there are no files in it",
                                display(&path)
                            ));
                        }
                        _ => {
                            let page = self.supply.fetch.get(link, PAGE_LIMIT).context(failed)?;
                            let text = String::from_utf8_lossy(&page.body);
                            let base = with_credentials(link, &page.url);
                            all.extend(html::files(&text, &base));
                        }
                    }
                }
                Ok(all)
            },
        )
    }

    /// A page of an index, and whether the cache had it; None if the index has none.
    fn page(
        &self,
        base: &str,
        name: &PackageName,
        again: bool,
    ) -> Result<(Option<Vec<Release>>, bool)> {
        let url = format!("{}/{name}/", base.trim_end_matches('/'));
        if let Some(path) = path_of(&url) {
            // A folder laid out as an index.
            let there = path.is_dir().then(|| folder(&path)).transpose()?;
            return Ok((there.map(|files| page::releases(files, name)), false));
        }
        let kept = self.supply.folder.join("index/pages").join(hex(&url));
        let before = load(&kept);
        let before = match before {
            Some(Kept { fresh: true, releases, .. }) if !again => return Ok((releases, true)),
            before => before,
        };
        let etag = before.as_ref().map_or("", |kept| kept.etag.as_str());
        let response = match self.supply.fetch.newer(&url, ACCEPT, etag, PAGE_LIMIT)? {
            Fresh::Missing => {
                keep(&kept, &format!("{FORMAT}\n\t{FRESH}\tmissing\n"))?;
                return Ok((None, false));
            }
            Fresh::Unchanged => {
                // As fresh as it was when it came.
                if let Ok(file) = std::fs::File::options().append(true).open(&kept) {
                    let _ = file.set_modified(SystemTime::now());
                }
                return Ok((before.and_then(|kept| kept.releases), false));
            }
            Fresh::Changed(response) => response,
        };
        let releases = page::parse(&response.body, &response.content_type, &response.url, name)?;
        let age = response.max_age.unwrap_or(FRESH);
        let etag = sanitize(&response.etag).replace('\t', "");
        keep(&kept, &format!("{FORMAT}\n{etag}\t{age}\t\n{}", page::store(&releases)))?;
        Ok((Some(releases), false))
    }

    /// The same with the files' addresses as this run needs them: credentials are never kept.
    fn page_for_us(
        &self,
        base: &str,
        name: &PackageName,
        again: bool,
    ) -> Result<(Option<Vec<Release>>, bool)> {
        let (mut releases, from_cache) = self.page(base, name, again)?;
        if base.split("://").nth(1).and_then(|rest| rest.split('/').next()?.find('@')).is_some() {
            for file in releases.iter_mut().flatten().flat_map(|release| &mut release.files) {
                file.url = with_credentials(base, &file.url);
            }
        }
        Ok((releases, from_cache))
    }
}

/// What a file needs. Of a wheel on a server only its METADATA is fetched, where the server can give
/// it alone.
pub fn needs_of(supply: &Supply<'_>, file: &File, listed: Option<&Listed>) -> Result<Needs> {
    if let (Some(path), true) = (path_of(&file.url), file.name.ends_with(".whl")) {
        let opened = std::fs::File::open(&path);
        let opened = opened.context(|| format!("cannot open '{}'", display(&path)))?;
        return needs::wheel(std::io::BufReader::new(opened))
            .context(|| format!("cannot use the wheel '{}'", display(&path)));
    }
    // Without a hash nothing says that it is the same file the next time.
    let kept = file
        .sha256
        .as_ref()
        .map(|sum| supply.folder.join("index/needs").join(hex(&format!("{sum} {}", file.name))));
    if let Some(kept) = &kept
        && let Ok(text) = file::read(kept, NEEDS_LIMIT)
        && let Ok(needs) = Needs::load(&String::from_utf8_lossy(&text))
    {
        return Ok(needs);
    }
    let needs = fetch_needs(supply, file, listed)?;
    if let Some(kept) = &kept {
        keep(kept, &needs.store())?;
    }
    Ok(needs)
}

fn fetch_needs(supply: &Supply<'_>, file: &File, listed: Option<&Listed>) -> Result<Needs> {
    if !file.name.ends_with(".whl") {
        let path = supply.file(file)?;
        if let Some(needs) = needs::source(&path)? {
            return Ok(needs);
        }
        let wheel = supply.source_wheel_of(file)?;
        let wheel = wheel::Wheel::open(&wheel, wheel::SIZE_LIMIT)?;
        return Needs::of(&wheel.metadata);
    }
    if let Some(sum) = listed.and_then(|listed| listed.metadata.as_ref()) {
        let url = format!("{}.metadata", file.url);
        let found = supply.fetch.find(&url, "*/*", NEEDS_LIMIT)?;
        if let Some(response) = found {
            let there = crate::supply::sha256_of(&response.body);
            if !sum.is_empty() && !sum.eq_ignore_ascii_case(&there) {
                return Err(Error::new(format!("its SHA-256 is {there}, not {sum}"))
                    .context(format!("cannot fetch '{}'", shown(&url))));
            }
            return Needs::parse(&response.body);
        }
    }
    if let Some(needs) = needs::remote(supply.fetch, &file.url)? {
        return Ok(needs);
    }
    let path = supply.file(file)?;
    let opened =
        std::fs::File::open(&path).context(|| format!("cannot open '{}'", display(&path)))?;
    needs::wheel(std::io::BufReader::new(opened))
}

/// A version with all its files.
pub fn locked(name: &PackageName, release: &Release) -> Locked {
    let file = |listed: &Listed| File {
        name: listed.name.clone(),
        url: listed.url.clone(),
        sha256: Some(listed.sha256.clone()).filter(|sum| !sum.is_empty()),
    };
    Locked {
        name: name.clone(),
        version: release.version.clone(),
        wheels: release.files.iter().filter(|f| f.is_wheel()).map(file).collect(),
        sdist: release.files.iter().find(|f| !f.is_wheel()).map(file),
    }
}

/// Adds what another place has; both lists have the newest first.
fn merge(all: &mut Vec<Release>, more: Vec<Release>) {
    for release in more {
        match all.binary_search_by(|there| release.version.cmp(&there.version)) {
            Ok(at) => all[at].files.extend(release.files),
            Err(at) => all.insert(at, release),
        }
    }
}

/// The files in a folder.
fn folder(path: &Path) -> Result<Vec<Listed>> {
    let failed = || format!("cannot read '{}'", display(path));
    let path = path.canonicalize().context(failed)?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&path).context(failed)? {
        let entry = entry.context(failed)?;
        if let Some(name) = entry.file_name().to_str() {
            files.push(Listed {
                name: name.to_owned(),
                url: display(entry.path()),
                ..Listed::default()
            });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Keeps a text under `path`.
fn keep(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        file::create_dir(parent)?;
    }
    file::write(path, text)
}

fn load(kept: &Path) -> Option<Kept> {
    let modified = kept.metadata().ok()?.modified().ok()?;
    let text = String::from_utf8(file::read(kept, PAGE_LIMIT).ok()?).ok()?;
    let text = text.strip_prefix(FORMAT)?.strip_prefix('\n')?;
    let (head, text) = text.split_once('\n')?;
    let mut head = head.split('\t');
    let (etag, age, missing) = (head.next()?, head.next()?, head.next()?);
    let age = Duration::from_secs(age.parse().ok()?);
    let releases = if missing.is_empty() { Some(page::load(text).ok()?) } else { None };
    let fresh = modified.elapsed().is_ok_and(|elapsed| elapsed < age);
    Some(Kept { etag: etag.to_owned(), fresh, releases })
}

/// The address a page was read from, with the credentials that were used if it is the same server.
fn with_credentials(asked: &str, came: &str) -> String {
    let parts = |url: &str| -> Option<(String, String, String)> {
        let (scheme, rest) = url.split_once("://")?;
        let at = rest.find('/').unwrap_or(rest.len());
        let (credentials, host) = rest[..at].rsplit_once('@').unwrap_or(("", &rest[..at]));
        Some((credentials.to_owned(), format!("{scheme}://{host}"), rest[at..].to_owned()))
    };
    match (parts(asked), parts(came)) {
        (Some((credentials, server, _)), Some((_, other, path)))
            if !credentials.is_empty() && server == other =>
        {
            let (scheme, host) = server.split_once("://").unwrap_or(("", &server));
            format!("{scheme}://{credentials}@{host}{path}")
        }
        _ => came.to_owned(),
    }
}
