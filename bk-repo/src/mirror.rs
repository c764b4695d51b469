//! `bk-repo mirror`

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, Session, Status, display};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::archive::commit::{Settings, Suite};
use crate::archive::repository::{Change, Repository};
use crate::check::pool_files;
use crate::command::{self, Writing, check_word};
use crate::dependency::{NEEDS, WANTS};
use crate::foreign::{Foreign, Origin};
use crate::list::{Place, with_dependencies};
use crate::openpgp::read_ring;
use crate::query::{Item, Query};
use crate::record::{Named, Package};
use crate::store::{PRIVATE, Staged};
use crate::transfer::{self, Packages};

/// How many files are fetched at once: mirrors refuse those who take many connections.
const AT_ONCE: usize = 4;

/// Copy a suite of another archive, or some of its packages, into a suite of this one
///
/// What the archive's keys have signed is fetched, checked against that, and published under this
/// repository's own key. The suite has then exactly what was chosen; run it again, and what is new
/// comes and what is gone goes. What was interrupted goes on where it was. Prints what came.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo mirror /srv/apt http://MIRROR/debian bookworm --to debian \\
    --keyring /usr/share/keyrings/debian-archive-keyring.gpg \\
    --component main --arch amd64 --filter 'nginx | redis' --with-deps
      Two packages and all they need.
  bk-repo mirror -n /srv/apt file:/srv/other stable --keyring other.asc
      What would come from another repository.

Exit status:
  0   the suite has what was chosen
  1   it is not signed by these keys, or a package is not what its index says
  2   the command line or the configuration is wrong
  75  the archive does not answer, or is just changing, or another process writes here; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The archive: http://, https://, file: or a folder
    #[arg(value_name = "URI")]
    uri: String,
    /// Its suite
    #[arg(value_name = "SUITE", value_parser = check_word)]
    suite: String,
    /// The suite to publish in, which is made if need be [default: the same name]
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    to: Option<String>,
    /// The keys that may sign the archive
    #[arg(long, value_name = "FILE")]
    keyring: PathBuf,
    /// Only this component; given several times: these
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    component: Vec<String>,
    /// Only this architecture; given several times: these
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    arch: Vec<String>,
    /// Only packages that are like this, an expression as 'bk-repo list' takes it
    #[arg(long, value_name = "QUERY")]
    filter: Option<String>,
    /// And what these depend on
    #[arg(long, requires = "filter")]
    with_deps: bool,
    /// And what these recommend
    #[arg(long, requires = "filter")]
    with_recommends: bool,
    /// Source packages too
    #[arg(long)]
    sources: bool,
    /// Packages for the installer too
    #[arg(long)]
    udebs: bool,
    #[command(flatten)]
    writing: Writing,
}

/// Mirrors a suite.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    repository.head()?;
    let ring = bk::file::read(&args.keyring, 64 << 20).and_then(|bytes| read_ring(&bytes));
    let ring = ring.context(|| format!("cannot use '{}'", display(&args.keyring)))?;
    let query = args.filter.as_deref().map(Query::parse).transpose()?;
    let origin = Origin::new(&args.uri)?;
    let failed = || format!("cannot mirror '{}'", args.uri);
    let foreign = Foreign::open(&origin, &args.suite, Some(&ring)).context(failed)?;
    if let Some(time) = foreign.expired(command::clock()) {
        return Err(Error::new(format!("what it has signed was good until {time}"))
            .context(failed())
            .hint("an old copy may be played back: find out why the archive is not signed again"));
    }
    let to = args.to.clone().unwrap_or_else(|| args.suite.clone());
    let settings = chosen(&args, foreign.settings(&to).context(failed)?).context(failed)?;
    let all = foreign.packages(&to, &settings, args.sources, args.udebs).context(failed)?;
    let mut wanted: Packages = match &query {
        None => all.clone(),
        Some(query) => {
            let meant = |place: &Place, stanza: &[u8]| {
                let udeb = place.index.contains("/debian-installer/");
                query.matches(&Item { key: &place.key, stanza, udeb })
            };
            let some = all.iter().filter(|(place, stanza)| meant(place, stanza));
            some.map(|(place, stanza)| (place.clone(), stanza.clone())).collect()
        }
    };
    if args.with_deps || args.with_recommends {
        let fields = if args.with_recommends { &WANTS[..] } else { &NEEDS };
        let (found, missing) = with_dependencies(&all, &wanted, fields);
        wanted = found;
        for (name, by) in missing {
            session.console.warn(&format!("'{by}' needs '{name}', which is not there"));
        }
    }
    let there: BTreeSet<_> = match repository.head()?.suites.get(&to) {
        Some(suite) => transfer::keys(&repository, suite)?,
        None => BTreeSet::new(),
    };
    if !args.writing.dry_run {
        let staged = fetch(&repository, &origin, &wanted, session).context(failed)?;
        let fetched: Vec<PathBuf> = staged.iter().map(|file| file.path.clone()).collect();
        publish(&repository, &args, (&to, settings), &wanted, staged, session).context(failed)?;
        // What is in a folder now has left its place; what is in a bucket is still here.
        fetched.iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
    for (Place { key, index, .. }, stanza) in wanted {
        if !there.contains(&key) {
            session.out.record(&Named(Package::new(
                repository.path(),
                &to,
                &index,
                &key,
                &stanza,
            )))?;
        }
    }
    Ok(Status::Done)
}

/// The archive's settings, with the components and architectures that are wanted.
fn chosen(args: &Args, mut settings: Settings) -> Result<Settings> {
    for (kind, list, wanted) in [
        ("component", &mut settings.components, &args.component),
        ("architecture", &mut settings.architectures, &args.arch),
    ] {
        if let Some(missing) = wanted.iter().find(|name| !list.contains(name)) {
            return Err(Error::new(format!("the archive has no {kind} '{missing}'"))
                .hint(format!("it has {}", list.join(", ")))
                .status(Status::Usage));
        }
        list.retain(|name| wanted.is_empty() || wanted.contains(name));
    }
    // What was signed there is good for as long there; here it is signed anew when it changes.
    settings.valid_for = None;
    Ok(settings)
}

/// Fetches the files of packages that are not in the pool yet, each from where it was left.
fn fetch(
    repository: &Repository,
    origin: &Origin,
    wanted: &Packages,
    session: &Session,
) -> Result<Vec<Staged>> {
    let store = repository.store();
    // For a bucket they wait here.
    let waiting = store.local(&format!("{PRIVATE}/mirror"));
    let waiting = waiting.unwrap_or_else(|| session.dirs.cache.join("mirror"));
    bk::file::create_dir(&waiting)?;
    let mut files = BTreeMap::new();
    for stanza in wanted.values() {
        files.extend(pool_files(stanza)?);
    }
    let mut missing = Vec::new();
    for (file, (size, sha256)) in files {
        match store.size(&file)? {
            Some(there) if there == size => {}
            Some(_) => {
                return Err(Error::new(format!("'{file}' is taken by a file with other content")));
            }
            None => missing.push((file, size, sha256.to_lowercase())),
        }
    }
    let progress = session.console.progress("fetching", missing.len() as u64);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(AT_ONCE).build()?;
    let one = |(file, size, sha256): (String, u64, String)| -> Result<Staged> {
        let path = waiting.join(&sha256);
        let done = download(origin, &file, size, &sha256, &path);
        done.context(|| format!("cannot fetch '{file}'"))?;
        progress.step(&file);
        Ok(Staged::new(file, path))
    };
    pool.install(|| missing.into_par_iter().map(one).collect())
}

/// Brings a file to `path`, whole and checked.
fn download(origin: &Origin, file: &str, size: u64, sha256: &str, path: &Path) -> Result<()> {
    // Twice: what is there of a former try may be of something else.
    for last in [false, true] {
        let there = path.metadata().map_or(0, |meta| meta.len());
        if there < size {
            let (reader, start) = origin.open(file, there)?.ok_or_else(|| {
                Error::new("it is announced and not there").status(Status::Temporary)
            })?;
            let mut out = File::options().create(true).append(true).open(path)?;
            if start != there {
                out.set_len(0)?;
            }
            let copied = std::io::copy(&mut reader.take(size - start), &mut out);
            copied.context(|| "the connection broke".into()).status(Status::Temporary)?;
            out.flush()?;
        }
        let mut hash = Sha256::new();
        let copied = std::io::copy(&mut File::open(path)?, &mut hash)?;
        if copied == size && format!("{:x}", hash.finalize()) == sha256 {
            return Ok(());
        }
        if copied < size {
            return Err(Error::new(format!("it ended after {copied} of {size} bytes"))
                .hint("run the command again: it goes on there")
                .status(Status::Temporary));
        }
        std::fs::remove_file(path)?;
        if last {
            break;
        }
    }
    Err(Error::new("it is not what the index says").hint("the archive is damaged, or worse"))
}

fn publish(
    repository: &Repository,
    args: &Args,
    (to, settings): (&str, Settings),
    wanted: &Packages,
    staged: Vec<Staged>,
    session: &Session,
) -> Result<()> {
    let mut writer = repository.write(args.writing.wait(), &session.console)?;
    let head = writer.head().cloned().unwrap_or_default();
    let mut change = Change { action: "mirror".into(), pool: staged, ..Change::default() };
    let target = match head.suites.get(to) {
        Some(suite) => {
            let mut settings_now = suite.settings.clone();
            let more = |list: &mut Vec<String>, wanted: &[String]| {
                let new: Vec<String> =
                    wanted.iter().filter(|word| !list.contains(word)).cloned().collect();
                list.extend(new);
            };
            more(&mut settings_now.components, &settings.components);
            more(&mut settings_now.architectures, &settings.architectures);
            if settings_now != suite.settings {
                change.settings.insert(to.to_owned(), settings_now.clone());
            }
            Suite { settings: settings_now, ..suite.clone() }
        }
        None => {
            change.settings.insert(to.to_owned(), settings.clone());
            Suite { settings, ..Suite::default() }
        }
    };
    let keep: BTreeSet<_> = wanted.keys().map(|place| place.key.clone()).collect();
    let there = transfer::keys(repository, &target)?;
    let gone = there.difference(&keep).cloned().collect();
    transfer::remove(repository, to, &target, &gone, &mut change)?;
    transfer::add(repository, (to, &target), &args.uri, wanted, &mut change)?;
    if change.is_empty() {
        return Ok(());
    }
    let signers = args.writing.signers(session, &head)?;
    writer.commit(change, command::now(session), &signers)
}
