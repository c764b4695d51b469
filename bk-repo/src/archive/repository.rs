//! A repository: reading its state, and changing it in one step that a crash cannot halve.
//!
//! A change is prepared in full (pool files, chunks, indexes under their hashes), then decided by
//! writing its commit, then projected onto `dists/`: the names of the indexes, Release, Release.gpg
//! and InRelease, all at once. A projection can be done again at any time, by anyone, from the commit
//! alone; whoever next writes to a repository first does that where it is unfinished.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bk::file::Lock;
use bk::{Console, Context, Error, Result, Status, display};

use super::commit::{self, Commit, Index, Intent, Patch, Published, Settings, Signer, Suite};
use super::index::{assemble, by_hash, suffixes};
use super::layout::{Before, Layout};
use super::manifest::{Changes, Manifest, of_lines};
use super::packer::Packer;
use super::retention::{self, folder};
use super::{chunk, derive, pdiff, release, translation};
use crate::add::content;
use crate::openpgp::{PublicKey, SecretKey, armor_keys, sign_release};
use crate::store::{self, Content, Folder, PRIVATE, SYNC_EACH, Staged, Store};

/// The file with the public keys, for those who set a machine up by hand.
pub const KEYS: &str = "key.asc";

/// A repository.
pub struct Repository {
    store: Box<dyn Store>,
    path: PathBuf,
    named: PathBuf,
}

/// A change to be made.
#[derive(Default)]
pub struct Change {
    /// The command.
    pub action: String,
    /// What it is to do, for the log.
    pub intents: Vec<Intent>,
    /// What tells the upload it comes from.
    pub upload: Option<String>,
    /// Files for the pool.
    pub pool: Vec<Staged>,
    /// Files in the pool that nobody ever published, in the place of others.
    pub orphans: Vec<String>,
    /// What becomes of stanzas, by suite and index.
    pub edits: BTreeMap<(String, String), Changes>,
    /// Indexes that list no packages, such as `Contents`, by suite and path: their texts.
    pub texts: BTreeMap<(String, String), Vec<u8>>,
    /// Suites to be signed again as they are.
    pub resign: BTreeSet<String>,
    /// Indexes that suites had, and shall have again.
    pub roots: BTreeMap<String, BTreeMap<String, Index>>,
    /// Suites that are new or have new settings.
    pub settings: BTreeMap<String, Settings>,
    /// Who signs from now on.
    pub keys: Option<Vec<Signer>>,
}

impl Change {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
            && self.texts.is_empty()
            && self.resign.is_empty()
            && self.roots.is_empty()
            && self.settings.is_empty()
            && self.keys.is_none()
    }
}

/// The name of an object.
pub fn object(id: &str) -> String {
    let (first, rest) = id.split_at_checked(2).unwrap_or((id, ""));
    format!("{PRIVATE}/objects/{first}/{rest}")
}

impl Repository {
    /// The repository in a store, called `path` by people, and `named` for commands.
    pub fn new(store: Box<dyn Store>, path: &Path, named: &Path) -> Self {
        Repository { store, path: path.to_owned(), named: named.to_owned() }
    }

    /// The repository in a folder, which need not be there yet.
    pub fn at(path: &Path) -> Self {
        Repository::new(Box::new(Folder::new(path)), path, path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its files.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Its latest commit; an error if it has none.
    pub fn head(&self) -> Result<Commit> {
        self.head_if_any()?.ok_or_else(|| {
            Error::new(format!("'{}' is no repository", display(&self.path)))
                .hint(format!("make one with 'bk-repo init {}'", display(&self.named)))
        })
    }

    /// Its latest commit, if it has one.
    pub fn head_if_any(&self) -> Result<Option<Commit>> {
        let failed = || format!("cannot read the repository '{}'", display(&self.path));
        let number = commit::head(self.store()).context(failed)?;
        if number == 0 {
            return Ok(None);
        }
        commit::read(self.store(), number).context(failed)
    }

    /// The stored form of an object.
    pub fn object(&self, id: &str) -> Result<Vec<u8>> {
        let found = self.store.read(&object(id))?;
        found.ok_or_else(|| {
            Error::new(format!("the object '{id}' of '{}' is missing", display(&self.path)))
                .hint("'bk-repo check' tells what else is")
        })
    }

    /// The text of a chunk.
    pub fn chunk(&self, id: &str) -> Result<Vec<u8>> {
        let text = chunk::unpack(id, &self.object(id)?);
        text.context(|| format!("the object '{id}' of '{}' is damaged", display(&self.path)))
    }

    /// What an index consists of.
    pub fn manifest(&self, index: &Index) -> Result<Manifest> {
        if index.manifest.is_empty() {
            return Ok(Manifest::default());
        }
        let bytes = self.object(&index.manifest)?;
        let damaged =
            || format!("the object '{}' of '{}' is damaged", index.manifest, display(&self.path));
        if chunk::id(&bytes) != index.manifest {
            return Err(Error::new("its bytes are not what its name says").context(damaged()));
        }
        serde_json::from_slice(&bytes).context(damaged)
    }

    /// Finishes what a crash left unfinished, if it did.
    pub fn finish(&self, wait: Duration, console: &Console) -> Result<()> {
        let Some(head) = self.head_if_any()? else { return Ok(()) };
        for (name, suite) in &head.suites {
            if !self.is_projected(name, suite)? {
                return self.write(wait, console).map(drop);
            }
        }
        Ok(())
    }

    /// Becomes the one who writes; waits for others at most `wait`. Finishes what a crash left.
    pub fn write(&self, wait: Duration, console: &Console) -> Result<Writer<'_>> {
        let lock = self.store.lock(wait, console)?;
        let head = self.head_if_any()?;
        // What cannot be removed now is in nobody's way.
        if let Err(error) = self.store.sweep() {
            console.warn(&error.to_string());
        }
        let writer = Writer { repository: self, lock, head, wait };
        if let Some(head) = &writer.head {
            for (name, suite) in &head.suites {
                if !self.is_projected(name, suite)? {
                    console.note(&format!("finishing the publication of '{name}'"));
                    self.project(name, head.number, suite)?;
                }
            }
            self.publish_keys(head)?;
        }
        Ok(writer)
    }

    /// Publishes everything as a commit says, where it is not so yet.
    pub fn publish(&self, head: &Commit) -> Result<()> {
        self.publish_keys(head)?;
        for (name, suite) in &head.suites {
            if !self.is_projected(name, suite)? {
                self.project(name, head.number, suite)?;
            }
        }
        Ok(())
    }

    /// Whether `dists/NAME` says what the commit says.
    pub fn is_projected(&self, name: &str, suite: &Suite) -> Result<bool> {
        let there = self.store.read(&format!("dists/{name}/InRelease"))?;
        Ok(there.is_some_and(|bytes| bytes == suite.published.in_release.as_bytes()))
    }

    /// Publishes a suite as the commit `number` says.
    pub fn project(&self, name: &str, number: u64, suite: &Suite) -> Result<()> {
        let dist = format!("dists/{name}");
        let mut files = Vec::new();
        for (path, index) in &suite.indexes {
            self.restore(name, path, index)?;
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            files.extend(index.files.iter().map(|file| store::Published {
                name: format!("{path}{}", file.suffix),
                content: Content::Same(by_hash(dir, &file.sha256)),
            }));
        }
        // Servers and apt compare times by whole seconds: two generations must not share one.
        let now = SystemTime::now();
        let before = self.store.modified(&format!("{dist}/InRelease"))?;
        let time = before.map_or(now, |before| now.max(before + Duration::from_secs(1)));
        let Published { release, signature, in_release, .. } = &suite.published;
        for (name, text) in
            [("Release", release), ("Release.gpg", signature), ("InRelease", in_release)]
        {
            let content = Content::Bytes(text.as_bytes(), time);
            files.push(store::Published { name: name.into(), content });
        }
        self.store.publish(&dist, number, &files)
    }

    /// Makes the files of an index again that are not under their hashes.
    pub fn restore(&self, suite: &str, path: &str, index: &Index) -> Result<()> {
        let dir = &folder(suite, path);
        let mut missing = false;
        for file in &index.files {
            missing |= self.store.size(&by_hash(dir, &file.sha256))?.is_none();
        }
        if !missing {
            return Ok(());
        }
        let scratch = self.store.scratch()?;
        let load = |id: &str| self.object(id);
        let manifest = self.manifest(index)?;
        let forms: Vec<&str> = index.suffixes().collect();
        let made = assemble(&manifest, (dir, path), &forms, scratch.path(), None, &load)?;
        if made.files != index.files {
            return Err(Error::new(format!("the index in '{dir}' cannot be made again as it was"))
                .hint(
                    "another version of BuildKit compressed it: change the suite with this one",
                ));
        }
        self.store.place(made.staged)
    }

    fn publish_keys(&self, head: &Commit) -> Result<()> {
        let keys = public_keys(head)?;
        let text = armor_keys(&keys)?;
        if self.store.read(KEYS)?.as_deref() != Some(text.as_bytes()) {
            self.store.replace(KEYS, text.as_bytes(), None)?;
            self.store.settle(&[KEYS.to_owned()])?;
        }
        Ok(())
    }
}

/// The public keys a commit names.
pub fn public_keys(commit: &Commit) -> Result<Vec<PublicKey>> {
    commit.keys.iter().map(|signer| PublicKey::parse(signer.public.as_bytes())).collect()
}

/// How the files of indexes were put together, each with its suite and path.
type Layouts = Vec<(String, String, Layout)>;

/// The one who writes to a repository.
pub struct Writer<'a> {
    repository: &'a Repository,
    lock: Option<Lock>,
    head: Option<Commit>,
    wait: Duration,
}

impl Writer<'_> {
    /// The latest commit, if there is one.
    pub fn head(&self) -> Option<&Commit> {
        self.head.as_ref()
    }

    /// Makes a change, at `now` seconds since 1970, signed by all of `keys`. Where nothing can be locked,
    /// another may write at the same time: then it is made again on top of what that one did.
    pub fn commit(&mut self, mut change: Change, now: i64, keys: &[SecretKey]) -> Result<()> {
        let store = self.repository.store();
        change.orphans.iter().try_for_each(|key| store.remove(key))?;
        let base = self.head.clone();
        let start = Instant::now();
        for attempt in 0.. {
            if self.attempt(&mut change, now, keys)? {
                return Ok(());
            }
            if start.elapsed() > self.wait {
                break;
            }
            // Those who lost together must not try together again.
            let random = u64::from(rand::random::<u8>());
            std::thread::sleep(Duration::from_millis(random << attempt.min(4)));
            self.head = self.repository.head_if_any()?;
            self.rebase(base.as_ref(), &change)?;
        }
        Err(Error::new("others write all the time").hint("try again").status(Status::Temporary))
    }

    /// Checks that a change can be made on top of what others did meanwhile.
    fn rebase(&self, base: Option<&Commit>, change: &Change) -> Result<()> {
        let moved = |name: &String| {
            let of = |head: Option<&Commit>| {
                head.and_then(|head| head.suites.get(name)).map(|suite| suite.settings.clone())
            };
            of(base) != of(self.head.as_ref())
        };
        let keys = |head: Option<&Commit>| head.map(|head| head.keys.clone());
        let conflict = change.settings.keys().any(moved)
            || !change.roots.is_empty()
            || keys(base) != keys(self.head.as_ref());
        if conflict {
            return Err(Error::new("another changed the repository at the same time")
                .hint("try again")
                .status(Status::Temporary));
        }
        for ((name, path), changes) in &change.edits {
            let suite = self.head.as_ref().and_then(|head| head.suites.get(name));
            let Some(index) = suite.and_then(|suite| suite.indexes.get(path)) else { continue };
            let wanted = changes.keys().cloned().collect();
            let manifest = self.repository.manifest(index)?;
            for (key, there) in manifest.find(&wanted, &|id| self.repository.chunk(id))? {
                let Some(Some(mine)) = changes.get(&key) else { continue };
                if content(mine) != content(&there) {
                    return Err(Error::new(format!(
                        "another has just published '{key}' in '{name}' with other content"
                    ))
                    .hint("build it again with a higher packaging version"));
                }
            }
        }
        Ok(())
    }

    /// Says false if another wrote a commit meanwhile.
    fn attempt(&mut self, change: &mut Change, now: i64, keys: &[SecretKey]) -> Result<bool> {
        let old = self.head.clone().unwrap_or_default();
        let own = change.intents.len();
        let mut new = Commit {
            number: old.number + 1,
            time: now,
            action: change.action.clone(),
            // Of an import they are many: no second copy.
            intents: std::mem::take(&mut change.intents),
            more: None,
            upload: change.upload.clone(),
            ..old.clone()
        };
        let store = self.repository.store();
        let scratch = store.scratch()?;
        let mut touched: BTreeSet<String> = change.settings.keys().cloned().collect();
        touched.extend(change.edits.keys().map(|(suite, _)| suite.clone()));
        touched.extend(change.texts.keys().map(|(suite, _)| suite.clone()));
        touched.extend(change.resign.iter().cloned());
        for (name, settings) in change.settings.clone() {
            new.suites.entry(name).or_default().settings = settings;
        }
        for (name, indexes) in change.roots.clone() {
            let suite = new.suites.entry(name.clone()).or_default();
            // What leads from state to state goes on from here.
            suite.indexes.retain(|path, _| pdiff::of(path).is_some());
            for (path, index) in indexes {
                if pdiff::of(&path).is_none() {
                    self.repository.restore(&name, &path, &index)?;
                    suite.indexes.insert(path, index);
                }
            }
            touched.insert(name);
        }
        if let Some(keys) = &change.keys {
            new.keys = keys.clone();
            touched.extend(new.suites.keys().cloned());
        }
        let mut edits = BTreeMap::new();
        for name in &touched {
            let Some(suite) = new.suites.get(name) else { continue };
            let mine = change.edits.iter().filter(|((suite, _), _)| suite == name);
            let mut mine: BTreeMap<String, Changes> =
                mine.map(|((_, path), changes)| (path.clone(), changes.clone())).collect();
            derive::apply_overrides(&suite.settings, &mut mine)?;
            derive::keep_newest(self.repository, name, suite, &mut mine, &mut new.intents)?;
            if suite.settings.translations {
                translation::derive(self.repository, suite, &mut mine)?;
            }
            for path in standing(&suite.settings) {
                if !suite.indexes.contains_key(&path) {
                    mine.entry(path).or_default();
                }
            }
            // The settings may be new, or the indexes come from elsewhere.
            for (path, index) in &suite.indexes {
                if !index.suffixes().eq(suffixes(path, &suite.settings)) {
                    mine.entry(path.clone()).or_default();
                }
            }
            edits.extend(mine.into_iter().map(|(path, changes)| ((name.clone(), path), changes)));
        }
        // They are there when it is tried again.
        let pool = std::mem::take(&mut change.pool);
        let indexes = || self.indexes(change, edits, &touched, (&old, &mut new), scratch.path());
        let (staged, mut layouts) = while_placing(store, pool, indexes)?;
        for name in &touched {
            let Some(suite) = new.suites.get_mut(name) else { continue };
            // apt keeps what it has if what it gets is older.
            let date = now.max(suite.published.date);
            let text = release::text(name, suite, date, &new.keys)?;
            let signed = sign_release(&text, date, keys)?;
            suite.published = Published {
                date,
                release: text,
                signature: signed.detached,
                in_release: signed.in_release,
            };
            if old.suites.contains_key(name) {
                suite.previous.push(old.number);
                let surplus = suite.previous.len().saturating_sub(retention::GENERATIONS - 1);
                suite.previous.drain(..surplus);
            }
        }
        store.place(staged)?;
        // Before anybody else may have looked at the files.
        layouts.retain_mut(|(name, path, layout)| layout.witness(store, &folder(name, path)));
        if !commit::create(store, &mut new)? {
            new.intents.truncate(own);
            change.intents = new.intents;
            return Ok(false);
        }
        // From here on it is done, whatever happens: the next writer finishes what this one cannot.
        let unfinished = |name: &str| format!("committed, but '{name}' is not fully published");
        for name in &touched {
            let Some(suite) = new.suites.get(name) else { continue };
            self.repository
                .project(name, new.number, suite)
                .context(|| unfinished(name))
                .hint(|| "the next command that writes finishes it".into())?;
        }
        self.repository.publish_keys(&new)?;
        if self.lock.is_none() {
            // A slower one must not have the last word with an older state; gc does the rest.
            let mut number = new.number;
            while let Some(latest) =
                self.repository.head_if_any()?.filter(|latest| latest.number > number)
            {
                number = latest.number;
                self.repository.publish(&latest)?;
            }
            self.head = Some(new);
            return Ok(true);
        }
        for name in &touched {
            if let Some(suite) = new.suites.get(name) {
                retention::prune(store, name, old.suites.get(name), suite)?;
            }
        }
        for (name, path, layout) in layouts {
            // Without it the next change takes longer.
            drop(layout.keep(store, &name, &path));
        }
        self.head = Some(new);
        Ok(true)
    }

    /// Makes the indexes of a commit, and returns the files that takes.
    fn indexes(
        &self,
        change: &Change,
        edits: BTreeMap<(String, String), Changes>,
        touched: &BTreeSet<String>,
        (old, new): (&Commit, &mut Commit),
        scratch: &Path,
    ) -> Result<(Vec<Staged>, Layouts)> {
        // One after the other: what is for all architectures makes the same chunks for each, which are
        // compressed once, and on all processors.
        let mut rebuilt = Vec::new();
        for ((name, path), changes) in &edits {
            let Some(suite) = new.suites.get(name) else { continue };
            rebuilt.push(self.rebuild(suite, name, path, changes, scratch)?);
        }
        let mut staged = Vec::new();
        let mut layouts = Vec::new();
        for (((name, path), _), (index, files, layout)) in edits.into_iter().zip(rebuilt) {
            staged.extend(files);
            let Some(suite) = new.suites.get_mut(&name) else { continue };
            suite.indexes.insert(path.clone(), index);
            layouts.push((name, path, layout));
        }
        for ((name, path), text) in &change.texts {
            let Some(suite) = new.suites.get_mut(name) else { continue };
            let (index, files) = self.text((name, &suite.settings), path, text, scratch)?;
            staged.extend(files);
            suite.indexes.insert(path.clone(), index);
        }
        for name in touched {
            let Some(suite) = new.suites.get_mut(name) else { continue };
            let before = old.suites.get(name);
            let patches = self.patches(name, before, suite, new.number, &staged, scratch)?;
            staged.extend(patches);
        }
        Ok((staged, layouts))
    }

    /// An index after changes, and the files that came with it.
    fn rebuild(
        &self,
        suite: &Suite,
        name: &str,
        path: &str,
        changes: &Changes,
        scratch: &Path,
    ) -> Result<(Index, Vec<Staged>, Layout)> {
        let (repository, before) = (self.repository, suite.indexes.get(path));
        let (dir, forms) = (&folder(name, path), suffixes(path, &suite.settings));
        let old = before.map_or(Ok(Manifest::default()), |index| repository.manifest(index))?;
        let mut packer = Packer::new(repository, scratch, forms.clone());
        let load = |id: &str| repository.chunk(id);
        let manifest = old.apply_to(changes, &load, &mut |id, text| packer.take(id, text))?;
        let before = before
            .filter(|index| index.suffixes().eq(forms))
            .and_then(|index| Before::open(&*repository.store, old, index, (name, dir, path)));
        packer.finish(&manifest, (dir, path), before.as_ref())
    }

    /// An index that lists no packages.
    fn text(
        &self,
        (suite, settings): (&str, &Settings),
        path: &str,
        text: &[u8],
        scratch: &Path,
    ) -> Result<(Index, Vec<Staged>)> {
        let forms = suffixes(path, settings);
        let mut packer = Packer::new(self.repository, scratch, forms);
        let manifest = of_lines(text, &mut |id, text| packer.take(id, text))?;
        let place = (&*folder(suite, path), path);
        let (index, staged, _) = packer.finish(&manifest, place, None)?;
        Ok((index, staged))
    }
}

impl Writer<'_> {
    /// Brings the patches of a suite up to its indexes, and returns the files that takes. `staged` has
    /// the objects of the indexes that are new.
    fn patches(
        &self,
        name: &str,
        before: Option<&Suite>,
        suite: &mut Suite,
        number: u64,
        staged: &[Staged],
        scratch: &Path,
    ) -> Result<Vec<Staged>> {
        let limit = suite.settings.pdiffs;
        let mut written = Vec::new();
        let paths: Vec<String> = suite.packages().map(|(path, _)| path.clone()).collect();
        suite.indexes.retain(|path, _| limit > 0 || pdiff::of(path).is_none());
        suite.patches.retain(|path, _| limit > 0 && paths.contains(path));
        for path in paths.iter().filter(|_| limit > 0) {
            let (Some(old), Some(new)) = (
                before.and_then(|suite| suite.indexes.get(path)),
                suite.indexes.get(path).cloned(),
            ) else {
                continue;
            };
            let plain = |index: &Index| {
                let file = index.files.iter().find(|file| file.suffix.is_empty());
                file.map(|file| (file.sha256.clone(), file.size)).unwrap_or_default()
            };
            let ((from, from_size), (to, to_size)) = (plain(old), plain(&new));
            if from == to {
                continue;
            }
            let fresh: BTreeMap<&str, &Path> =
                staged.iter().map(|s| (s.key.as_str(), s.path.as_path())).collect();
            let read = |id: &str| -> Result<Vec<u8>> {
                match fresh.get(object(id).as_str()) {
                    Some(path) => Ok(std::fs::read(path)?),
                    None => self.repository.object(id),
                }
            };
            let manifest = serde_json::from_slice(&read(&new.manifest)?)?;
            let load = |id: &str| chunk::unpack(id, &read(id)?);
            let patch = pdiff::patch(&self.repository.manifest(old)?, &manifest, &load)?;
            let folder = pdiff::folder(path);
            let patches = suite.patches.entry(path.clone()).or_default();
            // One that is as large as what it makes saves nobody anything.
            if patch.len() as u64 * 2 > to_size {
                patches.clear();
            } else {
                let name_of_patch = format!("{number:012}");
                let patch_path = format!("{folder}/{name_of_patch}");
                let (index, files) =
                    self.text((name, &suite.settings), &patch_path, &patch, scratch)?;
                written.extend(files);
                suite.indexes.insert(patch_path, index);
                // Back at a state of before: the way that led away from it is a circle now.
                if let Some(at) = patches.iter().position(|patch| patch.from == to) {
                    patches.drain(..=at);
                }
                let (sha256, size) = (chunk::id(&patch), patch.len() as u64);
                patches.push(Patch { name: name_of_patch, from, from_size, sha256, size });
                patches.drain(..patches.len().saturating_sub(limit));
            }
            let known: BTreeSet<String> =
                patches.iter().map(|patch| format!("{folder}/{}", patch.name)).collect();
            suite.indexes.retain(|path, _| {
                !pdiff::is_patch(path) || !path.starts_with(&folder) || known.contains(path)
            });
            let downloads: Vec<(&str, u64)> = patches
                .iter()
                .filter_map(|patch| suite.indexes.get(&format!("{folder}/{}", patch.name)))
                .filter_map(|index| index.files.first())
                .map(|file| (file.sha256.as_str(), file.size))
                .collect();
            let text = pdiff::index(&new, patches, &downloads);
            let (index, files) =
                self.text((name, &suite.settings), &format!("{folder}/Index"), &text, scratch)?;
            written.extend(files);
            suite.indexes.insert(format!("{folder}/Index"), index);
        }
        Ok(written)
    }
}

/// Makes indexes while the packages they list are placed: the one waits for the disk, or a network, and the
/// other for the processor. A few are placed afterwards, for a thread costs more than they do.
fn while_placing<T>(
    store: &dyn Store,
    mut pool: Vec<Staged>,
    indexes: impl FnOnce() -> Result<(Vec<Staged>, T)>,
) -> Result<(Vec<Staged>, T)> {
    if pool.len() <= SYNC_EACH {
        let (staged, rest) = indexes()?;
        pool.extend(staged);
        return Ok((pool, rest));
    }
    thread::scope(|scope| {
        let placing = scope.spawn(|| store.place(pool));
        let made = indexes();
        placing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        made
    })
}

/// The indexes a suite always has: one for each component and architecture.
fn standing(settings: &Settings) -> Vec<String> {
    let of_component = |component: &String| -> Vec<String> {
        let path = |a: &String| format!("{component}/binary-{a}/Packages");
        let all = settings.binary_all.then(|| "all".to_owned());
        all.iter().chain(&settings.architectures).map(path).collect()
    };
    settings.components.iter().flat_map(of_component).collect()
}
