//! `bk-repo add`

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use bk::{Console, Context, Error, Result, Session, Status, display};
use bk_deb::debian::control::field;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::archive::commit::{self, Commit, Intent, Settings};
use crate::archive::manifest::Key;
use crate::archive::repository::{Change, Repository};
use crate::command::{self, Writing, check_word};
use crate::incoming::{Package, PoolFile, Reader, changes, extension};
use crate::openpgp::SecretKey;
use crate::store::{GRACE, Store};
use crate::{init, record, uploads};

/// Publish packages: .deb, .udeb, .ddeb, .dsc and .changes files
///
/// Prints the file in the pool of each. A folder that is no repository becomes one, with the suite
/// stable, the component main and this machine's architecture.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo add /srv/apt hello_1.0_amd64.deb
      Publish a package; the first one makes the repository and its key.
  bk-deb build flask -o debs | bk-repo add /srv/apt -
      Publish what another command writes.
  bk-repo add /srv/apt --suite trixie hello_1.0_amd64.changes
      Publish an upload's packages and sources in a suite.

Exit status:
  0   every file is published
  1   some could not be published; all others were
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The files; - reads their names from stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The suite to publish in [default: the one there is, or what a .changes file says]
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Option<String>,
    /// The component to publish in [default: as the section says, else the first]
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    component: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

/// A file to read, and where to publish what it holds.
#[derive(Clone)]
pub struct Input {
    /// The file.
    pub path: PathBuf,
    /// The suite.
    pub suite: String,
}

/// A package that was read.
#[derive(Clone)]
struct Candidate {
    package: Package,
    input: Input,
}

/// How packages are published.
#[derive(Default)]
pub struct Job<'a> {
    /// The component to publish in, where it was said.
    pub component: Option<&'a str>,
    /// Whether nothing is to be written.
    pub dry_run: bool,
    /// Whether one that cannot be published keeps all others away.
    pub together: bool,
    /// How long to wait for others who write.
    pub wait: std::time::Duration,
    /// The time to sign at.
    pub now: i64,
    /// What tells the upload they came with.
    pub upload: Option<String>,
}

/// Who signs: the keys for a repository as a commit has it, or for a new one.
pub type Sign<'a> = &'a mut dyn FnMut(Option<&Commit>) -> Result<Vec<SecretKey>>;

/// Publishes packages.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let head = repository.head_if_any()?;
    let suites = suites(head.as_ref(), args.suite.as_deref());
    let mut failed = false;
    let mut inputs = Vec::new();
    for found in find(&args, session, &suites)? {
        match found {
            Ok(input) => inputs.push(input),
            Err(error) => {
                session.console.error(&error);
                failed = true;
            }
        }
    }
    if inputs.is_empty() {
        return Ok(if failed { Status::Failed } else { Status::Done });
    }
    let job = Job {
        component: args.component.as_deref(),
        dry_run: args.writing.dry_run,
        wait: args.writing.wait(),
        now: command::now(session),
        ..Job::default()
    };
    let mut signers = |head: Option<&Commit>| match head {
        Some(head) => args.writing.signers(session, head),
        None => {
            let repo = display(&args.repo);
            session.console.note(&format!("made the repository '{repo}' with the defaults"));
            let mut keys = [command::default_key(session, None)?];
            args.writing.unlocking().unlock(session, &mut keys)?;
            Ok(keys.to_vec())
        }
    };
    let (published, errors) =
        publish(&repository, &suites, inputs, &job, &mut signers, &session.console)?;
    for error in &errors {
        session.console.error(error);
    }
    for record in published {
        session.out.record(&record)?;
    }
    Ok(if failed || !errors.is_empty() { Status::Failed } else { Status::Done })
}

/// The suites there are, or those of a new repository.
pub fn suites(head: Option<&Commit>, named: Option<&str>) -> BTreeMap<String, Settings> {
    match head {
        Some(head) => head.suites.iter().map(|(n, s)| (n.clone(), s.settings.clone())).collect(),
        None => init::defaults(named.unwrap_or("stable")),
    }
}

/// Publishes the packages in files. Returns what is published now, and why others are not.
pub fn publish(
    repository: &Repository,
    suites: &BTreeMap<String, Settings>,
    inputs: Vec<Input>,
    job: &Job<'_>,
    signers: Sign<'_>,
    console: &Console,
) -> Result<(Vec<record::Package>, Vec<Error>)> {
    let store = repository.store();
    let scratch = match store.local("").filter(|_| !job.dry_run) {
        Some(dir) => {
            bk::file::create_dir(&dir)?;
            Some(store.scratch()?)
        }
        // A bucket takes the files themselves.
        None => None,
    };
    let progress = console.progress("reading", inputs.len() as u64);
    let read = |(number, input): (usize, Input)| -> Result<Candidate> {
        let settings = suites.get(&input.suite).ok_or_else(|| no_suite(&input.suite, suites))?;
        let scratch = scratch.as_ref().map(|dir| dir.path());
        let reader = Reader { settings, component: job.component, scratch };
        let package = reader.read(&input.path, number)?;
        if !job.together && !job.dry_run {
            // Alone it would be published whatever becomes of the others.
            package.files.iter().map(PoolFile::to_place).for_each(|file| store.begin(file));
        }
        progress.step(&display(&input.path));
        Ok(Candidate { package, input })
    };
    let all: Vec<Result<Candidate>> = read_all(inputs, &read);
    drop(progress);

    let mut writer = match job.dry_run {
        true => None,
        false => Some(repository.write(job.wait, console)?),
    };
    let head = match &writer {
        Some(writer) => writer.head().cloned(),
        None => repository.head_if_any()?,
    };
    let action = if job.upload.is_some() { "upload" } else { "add" };
    let mut change = Change { action: action.into(), ..Change::default() };
    let mut errors = Vec::new();
    let mut failed = |error| errors.push(error);
    let good = choose(repository, head.as_ref(), all, &mut change, &mut failed)?;
    if job.together && !errors.is_empty() {
        return Ok((Vec::new(), errors));
    }
    if let Some(writer) = writer.as_mut().filter(|_| !change.edits.is_empty()) {
        let keys = signers(head.as_ref())?;
        if head.is_none() {
            change.keys = Some(keys.iter().map(command::signer).collect::<Result<_>>()?);
            change.settings = suites.clone();
        }
        if let Some(upload) = &job.upload {
            uploads::announce(repository, head.as_ref(), upload)?;
            change.upload = Some(upload.clone());
        }
        writer
            .commit(change, job.now, &keys)
            .context(|| format!("cannot publish in '{}'", display(repository.path())))?;
    }
    drop(writer);
    let record = |Candidate { package, input }: Candidate| {
        let index = package.indexes.first().map_or("", String::as_str);
        let Package { key, stanza, .. } = &package;
        record::Package::new(repository.path(), &input.suite, index, key, stanza)
    };
    Ok((good.into_iter().map(record).collect(), errors))
}

/// Reads the packages in files, in their order. One thread keeps them: a reader takes and gives back
/// much for each, and what it kept in between would leave the heap in pieces, ten times as large.
fn read_all(
    inputs: Vec<Input>,
    read: &(dyn Fn((usize, Input)) -> Result<Candidate> + Sync),
) -> Vec<Result<Candidate>> {
    let mut inputs: Vec<(usize, Input)> = inputs.into_iter().enumerate().collect();
    if inputs.len() == 1 {
        return inputs.drain(..).map(read).collect();
    }
    // As many as are read at a time, or a few: they are taken at once.
    let (sender, receiver) = mpsc::sync_channel(4);
    let mut all: Vec<(usize, Result<Candidate>)> = thread::scope(|scope| {
        scope.spawn(move || {
            // Some at a time: to wake the one who takes them costs as much as to read one.
            inputs.into_par_iter().chunks(16).for_each_with(sender, |sender, inputs| {
                let read = |(number, input)| (number, read((number, input)));
                // The one who takes them goes on to the end.
                drop(sender.send(inputs.into_iter().map(read).collect::<Vec<_>>()));
            });
        });
        let keep = |package: Candidate| package.clone();
        let keep = |(number, read): (usize, Result<Candidate>)| (number, read.map(keep));
        receiver.into_iter().flatten().map(keep).collect()
    });
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, read)| read).collect()
}

fn no_suite(name: &str, known: &BTreeMap<String, Settings>) -> Error {
    let known: Vec<&str> = known.keys().map(String::as_str).collect();
    Error::new(format!("the repository has no suite '{}'", bk::sanitize(name))).hint(format!(
        "it has {}; say one with --suite, or add it with 'bk-repo init'",
        known.join(", ")
    ))
}

/// The files to read: each once, those of .changes files among them.
fn find(
    args: &Args,
    session: &Session,
    suites: &BTreeMap<String, Settings>,
) -> Result<Vec<Result<Input>>> {
    let only = match suites.len() {
        1 => suites.keys().next().cloned(),
        _ => None,
    };
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    // Files of one folder have the same way to it, which takes as long to find as a file to open.
    let mut folders: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut whole = |path: &Path| -> PathBuf {
        let folder = path.parent().unwrap_or(path).to_owned();
        let find = |folder: &PathBuf| match folder.as_os_str().is_empty() {
            true => Path::new(".").canonicalize(),
            false => folder.canonicalize(),
        };
        let known = folders.entry(folder).or_insert_with_key(|f| find(f).unwrap_or(f.clone()));
        path.file_name().map_or_else(|| path.to_owned(), |name| known.join(name))
    };
    for path in session.inputs(&args.files) {
        let path = path?;
        if !seen.insert(whole(&path)) {
            let error = Error::new(format!("'{}' is named twice", display(&path)));
            found.push(Err(error.hint("name each file once")));
            continue;
        }
        if extension(&path) == "changes" {
            match changes::read(&path) {
                Ok(changes) => found.extend(changes.packages.into_iter().map(|path| {
                    let suite = args.suite.clone().unwrap_or_else(|| changes.distribution.clone());
                    // A .changes file may stand among the very files it lists.
                    seen.insert(whole(&path));
                    match suites.contains_key(&suite) {
                        true => Ok(Input { path, suite }),
                        false => Err(no_suite(&suite, suites)
                            .context(format!("cannot add '{}'", display(&path)))),
                    }
                })),
                Err(error) => found.push(Err(error)),
            }
            continue;
        }
        let suite = args.suite.clone().or_else(|| only.clone()).ok_or_else(|| {
            Error::new("the repository has several suites")
                .hint(format!(
                    "say --suite with one of {}",
                    suites.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
                ))
                .status(Status::Usage)
        })?;
        found.push(Ok(Input { path, suite }));
    }
    Ok(found)
}

/// Picks the packages that can be published, and says in `change` what that takes. A package that is
/// there already, byte for byte, takes nothing.
fn choose(
    repository: &Repository,
    head: Option<&Commit>,
    all: Vec<Result<Candidate>>,
    change: &mut Change,
    failed: &mut dyn FnMut(Error),
) -> Result<Vec<Candidate>> {
    let there = published(repository, head, &all)?;
    let sizes = sizes(repository.store(), &all)?;
    let mut files: HashMap<String, String> = HashMap::new();
    let mut good = Vec::new();
    for read in all {
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                failed(error);
                continue;
            }
        };
        let Candidate { package, input } = &read;
        let context = || format!("cannot add '{}'", display(&input.path));
        let sum = content(&package.stanza);
        // What is published of it in an index already, or by this very change.
        let known = |change: &Change, index: &String| {
            let place = (input.suite.clone(), index.clone());
            let mine = change.edits.get(&place).and_then(|edits| edits.get(&package.key)?.as_ref());
            let there = || there.get(&(place.0, place.1, package.key.clone())).cloned();
            mine.map(|stanza| content(stanza)).or_else(there)
        };
        let other = |index| known(change, index).is_some_and(|known| known != sum);
        if package.indexes.iter().any(other) {
            let what = format!("'{}' is in '{}' with other content", package.key, input.suite);
            failed(raise(Error::new(what)).context(context()));
            continue;
        }
        let taken = package
            .files
            .iter()
            .find(|file| files.get(&file.key).is_some_and(|known| *known != file.sha256));
        let mut orphans = Vec::new();
        let taken = match taken {
            Some(file) => Some(file),
            None => first_taken(repository, head, &package.files, &sizes, &mut orphans)?,
        };
        if let Some(file) = taken {
            let what = format!("'{}' is taken by a file with other content", file.key);
            failed(raise(Error::new(what)).context(context()));
            continue;
        }
        change.orphans.extend(orphans);
        files.extend(package.files.iter().map(|f| (f.key.clone(), f.sha256.clone())));
        let mut indexes = Vec::new();
        for index in &package.indexes {
            if known(change, index).is_some() {
                continue;
            }
            let edits = change.edits.entry((input.suite.clone(), index.clone())).or_default();
            edits.insert(package.key.clone(), Some(package.stanza.clone()));
            indexes.push(index.clone());
        }
        if package.indexes.is_empty() {
            // Notes on a build go with the packages of the same change.
            change.pool.extend(package.files.iter().map(PoolFile::to_place));
        }
        if !indexes.is_empty() {
            change.pool.extend(package.files.iter().map(PoolFile::to_place));
            let (suite, package) = (input.suite.clone(), package.key.clone());
            change.intents.push(Intent::Add { suite, indexes, package });
        }
        good.push(read);
    }
    Ok(good)
}

fn raise(error: Error) -> Error {
    error.hint("what is published never changes: build it again with a higher packaging version")
}

/// What tells two packages of one name, version and architecture apart.
pub fn content(stanza: &[u8]) -> String {
    let sum = field(stanza, "SHA256").or_else(|| field(stanza, "Checksums-Sha256"));
    String::from_utf8_lossy(sum.unwrap_or_default()).into_owned()
}

/// What is published of those packages, by suite, index and key.
fn published(
    repository: &Repository,
    head: Option<&Commit>,
    all: &[Result<Candidate>],
) -> Result<HashMap<(String, String, Key), String>> {
    let mut wanted: BTreeMap<(&str, &str), BTreeSet<Key>> = BTreeMap::new();
    for read in all.iter().flatten() {
        for index in &read.package.indexes {
            let keys = wanted.entry((&read.input.suite, index)).or_default();
            keys.insert(read.package.key.clone());
        }
    }
    let mut there = HashMap::new();
    for ((suite, path), keys) in wanted {
        let index = head.and_then(|head| head.suites.get(suite)?.indexes.get(path));
        let Some(index) = index else { continue };
        let manifest = repository.manifest(index)?;
        for (key, stanza) in manifest.find(&keys, &|id| repository.chunk(id))? {
            there.insert((suite.to_owned(), path.to_owned(), key), content(&stanza));
        }
    }
    Ok(there)
}

/// The sizes of those files of the packages that are in the pool already.
fn sizes(store: &dyn Store, all: &[Result<Candidate>]) -> Result<HashMap<String, u64>> {
    let files = all.iter().flatten().flat_map(|read| &read.package.files);
    let keys: Vec<&str> = files.map(|file| file.key.as_str()).collect();
    if store.local("pool").is_some_and(|pool| !pool.exists()) {
        return Ok(HashMap::new());
    }
    let sizes = store.sizes(&keys)?.into_iter().zip(&keys);
    Ok(sizes.filter_map(|(size, key)| Some(((*key).to_owned(), size?))).collect())
}

/// The first of the files whose name in the pool has other content. What a command left there that
/// was killed before it could publish it takes no name: its names are added to `orphans`.
fn first_taken<'a>(
    repository: &Repository,
    head: Option<&Commit>,
    files: &'a [PoolFile],
    sizes: &HashMap<String, u64>,
    orphans: &mut Vec<String>,
) -> Result<Option<&'a PoolFile>> {
    let store = repository.store();
    for file in files {
        let Some(&size) = sizes.get(&file.key) else { continue };
        if size == file.size && hash(store, &file.key)? == file.sha256 {
            continue;
        }
        if was_published(store, head.map_or(0, |head| head.number), &file.key)? {
            return Ok(Some(file));
        }
        if may_be_anothers(store, &file.key)? {
            return Ok(Some(file));
        }
        orphans.push(file.key.clone());
    }
    Ok(None)
}

/// Whether a file that nobody published may be a writer's who has yet to commit. Where there is a lock, who
/// asks is the only one.
fn may_be_anothers(store: &dyn Store, key: &str) -> Result<bool> {
    if store.local("").is_some() {
        return Ok(false);
    }
    let age = |time| SystemTime::now().duration_since(time).unwrap_or_default();
    Ok(store.modified(key)?.is_some_and(|time| age(time) <= GRACE))
}

/// Whether the log knows of a package that brought a file of the pool. Caches may have such a file
/// for ever, whatever became of the package.
fn was_published(store: &dyn Store, last: u64, key: &str) -> Result<bool> {
    let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
    let source = folder.rsplit('/').next().unwrap_or_default();
    let binary = ["deb", "udeb", "ddeb"].contains(&extension(Path::new(name)));
    let brought = |package: &Key| {
        let Key { name: package, version, architecture } = package;
        if !binary {
            // A part of a source package may have come with any version of it.
            return package == source;
        }
        let version = version.split_once(':').map_or(version.as_str(), |(_, version)| version);
        name.rsplit_once('.')
            .is_some_and(|(stem, _)| stem == format!("{package}_{version}_{architecture}"))
    };
    for number in (1..=last).rev() {
        let Some(commit) = commit::read(store, number)? else { continue };
        let intents = commit::intents(store, &commit)?;
        let found = intents.iter().any(|intent| match intent {
            Intent::Add { package, .. } | Intent::Copy { package, .. } => brought(package),
            _ => false,
        });
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn hash(store: &dyn Store, key: &str) -> Result<String> {
    let failed = || format!("cannot read '{}' of the repository", display(Path::new(key)));
    let Some(mut file) = store.open(key)? else { return Ok(String::new()) };
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 17]);
    loop {
        match file.read(&mut buffer).context(failed)? {
            0 => return Ok(format!("{:x}", hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}
