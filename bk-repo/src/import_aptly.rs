//! `bk-repo import-aptly`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, Session, Status, display};

use crate::adopt::take_over;
use crate::command::Writing;

/// How deep prefixes may be nested below public/.
const DEPTH: usize = 8;

/// Take over what aptly has published, in place
///
/// Each prefix below public/ becomes a repository of its own, where it is: clients go on with the same
/// names, and packages stay the files they are. Snapshots and local repositories that are not published
/// are aptly's alone: publish those before that you want to keep.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  gpg --export-secret-keys apt@example.com | bk-repo key import -
  bk-repo import-aptly ~/.aptly
      Go on with all it has published, and with the key that clients know.

Exit status:
  0   taken over
  1   nothing is published there, or packages are not what their indexes say
  2   the command line or the configuration is wrong
  75  another process writes to a repository; try again
")]
pub struct Args {
    /// aptly's folder, with public/; or that itself
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The key to sign with [default: the oldest in the key folder, made if there is none]
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

/// Takes over what aptly has published.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let public = args.dir.join("public");
    let root = if public.is_dir() { public } else { args.dir.clone() };
    let mut found = Vec::new();
    prefixes(&root, DEPTH, &mut found)
        .context(|| format!("cannot read the folder '{}'", display(&root)))?;
    if found.is_empty() {
        return Err(Error::new(format!("nothing is published in '{}'", display(&args.dir)))
            .hint("'aptly publish repo' publishes a local repository"));
    }
    found.sort();
    for dir in found {
        take_over(&dir, &BTreeMap::new(), args.key.as_deref(), &args.writing, session)?;
    }
    Ok(Status::Done)
}

/// The folders with a `dists` in them.
fn prefixes(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if dir.join("dists").is_dir() {
        found.push(dir.to_owned());
    }
    for entry in dir.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let inner = !["dists", "pool", ".buildkit"].iter().any(|known| name == *known);
        if depth > 0 && inner && entry.file_type()?.is_dir() {
            prefixes(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}
