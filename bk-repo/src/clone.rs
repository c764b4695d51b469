//! `bk-repo clone`

use std::collections::BTreeSet;
use std::path::PathBuf;

use bk::{Context, Error, Result, Session, Status, display};

use crate::archive::repository::Repository;
use crate::command::{self, Writing};
use crate::gc;
use crate::record::Made;
use crate::store::{PRIVATE, Store};

/// Make another repository with all that one has, its log and its signatures
///
/// Files that never change are linked where both are on one file system, and copied elsewhere. From
/// then on the two have nothing to do with each other.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo clone /srv/apt /srv/apt-next
      Try something without anybody noticing.

Exit status:
  0   made
  1   there is something at the new place, or the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The folder of the new one
    #[arg(value_name = "NEW")]
    new: PathBuf,
    #[command(flatten)]
    writing: Writing,
}

/// Clones a repository.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let old = command::repository(session, &args.repo)?;
    let head = old.head()?;
    let new = Repository::at(&args.new);
    let occupied = args.new.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(Error::new(format!("'{}' is not empty", display(&args.new)))
            .hint("name a folder that is not there"));
    }
    if !args.writing.dry_run {
        // The lock keeps gc away.
        let writer = old.write(args.writing.wait(), &session.console)?;
        let head = writer.head().cloned().unwrap_or(head.clone());
        bk::file::create_dir(&args.new)?;
        let copy = || -> Result<()> {
            let needed = gc::everything(&old)?;
            let present: BTreeSet<String> = needed.into_iter().collect();
            for key in &present {
                copy_file(old.store(), new.store(), key)?;
            }
            for folder in ["commits", "intents", "snapshots"] {
                for entry in old.store().list(&format!("{PRIVATE}/{folder}"))? {
                    copy_file(old.store(), new.store(), &entry.key)?;
                }
            }
            new.publish(&head)
        };
        copy().context(|| format!("cannot clone '{}'", display(&args.repo)))?;
    }
    let made = Made::new(&args.new, &head);
    session.out.record(&made)?;
    Ok(Status::Done)
}

/// Gives one store a file of another; what is not there is left out.
fn copy_file(from: &dyn Store, to: &dyn Store, key: &str) -> Result<()> {
    match (from.local(key), to.local(key)) {
        (Some(from), Some(to)) => {
            if let Some(dir) = to.parent() {
                bk::file::create_dir(dir)?;
            }
            match std::fs::hard_link(&from, &to) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Ok(()) => return Ok(()),
                // Another file system, or one without links.
                Err(_) => {}
            }
            std::fs::copy(&from, &to)
                .map(drop)
                .context(|| format!("cannot copy '{}'", display(&from)))
        }
        _ => {
            let scratch = to.scratch()?;
            let Some(mut file) = from.open(key)? else { return Ok(()) };
            let path = scratch.path().join("file");
            let mut copy = std::fs::File::create(&path)?;
            std::io::copy(&mut file, &mut copy).context(|| format!("cannot copy '{key}'"))?;
            to.place(vec![crate::store::Staged::new(key.to_owned(), path)])
        }
    }
}
