//! `bk-repo export`

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bk::file::TempDir;
use bk::{Context, Error, Result, Session, Status, display};
use bk_deb::debian::control::paragraphs;

use crate::archive::index::by_hash;
use crate::archive::repository::{KEYS, Repository};
use crate::archive::retention::folder;
use crate::check::pool_files;
use crate::command::{self, check_word};
use crate::record::Made;

/// Write what clients need into a folder: plain files, no links, no state
///
/// Any server and any file system can hold it, a DVD too. Nothing is signed anew. Packages are linked
/// where the file system allows, and copied elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo export /srv/apt -o /mnt/usb/apt
      For a machine without a network: 'bk-repo sources /srv/apt --uri file:/mnt/usb/apt'.
  bk-repo export /srv/apt --suite stable -o out
      One suite, with the packages it has now.

Exit status:
  0   written
  1   there is something at that place, or the work failed
  2   the command line or the configuration is wrong
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The folder to write, which must not be there yet
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Only this suite; given several times: these
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Exports a repository.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let mut head = repository.head()?;
    for name in &args.suite {
        crate::command::suite(&head, Some(name))?;
    }
    head.suites.retain(|name, _| args.suite.is_empty() || args.suite.contains(name));
    if args.output.symlink_metadata().is_ok() {
        return Err(Error::new(format!("'{}' is there already", display(&args.output)))
            .hint("name a folder that is not there"));
    }
    if !args.dry_run {
        let failed = || format!("cannot export '{}'", display(&args.repo));
        let parent = args.output.parent().filter(|dir| !dir.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        bk::file::create_dir(parent)?;
        let dir = TempDir::new_in(parent)?;
        let root = dir.path().join("export");
        write(&repository, &head, &root).context(failed)?;
        rustix::fs::syncfs(File::open(&root)?).map_err(io::Error::from).context(failed)?;
        std::fs::rename(&root, &args.output).context(failed)?;
        bk::file::sync_dir(parent)?;
    }
    session.out.record(&Made::new(&args.output, &head))?;
    Ok(Status::Done)
}

fn write(
    repository: &Repository,
    head: &crate::archive::commit::Commit,
    root: &Path,
) -> Result<()> {
    let store = repository.store();
    let mut pool = BTreeSet::new();
    for (name, suite) in &head.suites {
        for (path, index) in &suite.indexes {
            let dir = folder(name, path);
            for file in &index.files {
                let hashed = by_hash(&dir, &file.sha256);
                copy(repository, &hashed, root, &hashed)?;
                copy(repository, &hashed, root, &format!("dists/{name}/{path}{}", file.suffix))?;
            }
        }
        for (file, text) in [
            ("Release", &suite.published.release),
            ("Release.gpg", &suite.published.signature),
            ("InRelease", &suite.published.in_release),
        ] {
            let path = root.join(format!("dists/{name}/{file}"));
            if let Some(dir) = path.parent() {
                bk::file::create_dir(dir)?;
            }
            bk::file::write(&path, text)?;
        }
        for (_, index) in suite.packages() {
            for chunk in repository.manifest(index)?.chunks {
                for stanza in paragraphs(&repository.chunk(&chunk.id)?) {
                    pool.extend(pool_files(stanza)?.into_iter().map(|(file, _)| file));
                }
            }
        }
    }
    for key in &pool {
        copy(repository, key, root, key)?;
    }
    match store.open(KEYS)? {
        Some(_) => copy(repository, KEYS, root, KEYS),
        None => Ok(()),
    }
}

fn copy(repository: &Repository, key: &str, root: &Path, name: &str) -> Result<()> {
    let to = root.join(name);
    if let Some(dir) = to.parent() {
        bk::file::create_dir(dir)?;
    }
    let missing =
        || Error::new(format!("'{key}' is missing")).hint("'bk-repo check' tells what else is");
    if let Some(from) = repository.store().local(key) {
        // What a name is a link to, not the link.
        match from.canonicalize().and_then(|from| std::fs::hard_link(from, &to)) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(_) => {}
        }
    }
    let mut file = repository.store().open(key)?.ok_or_else(missing)?;
    let mut copy = File::create(&to).context(|| format!("cannot write '{}'", display(&to)))?;
    io::copy(&mut file, &mut copy).map(drop).context(|| format!("cannot copy '{key}'"))
}
