//! `bk-aptcache gc`

use std::borrow::Cow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bk::record::Record;
use bk::{Console, Error, Result, Session, Status};
use serde::Serialize;

use crate::marks::Marks;
use crate::setup::Folder;
use crate::store::Store;

/// What arrives longer than this will not go on.
const ABANDONED: Duration = Duration::from_secs(7 * 86_400);

/// Remove what no suite names and nobody uses any more
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
What the indexes of a suite name is kept, as long as the suite is used; everything else is kept as
long as it is used itself. --max-size then removes what was used longest ago. A suite that cannot be
read is told, and stops nothing else. A server that runs does this every day.

Examples:
  bk-aptcache gc --dry-run
      What would be removed, a path a line.
  bk-aptcache gc --keep-days 7 --max-size 20G

Exit status:
  0   done
  1   the cache cannot be read
")]
pub struct Args {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    rules: Rules,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// What is kept.
#[derive(Clone, Debug, clap::Args)]
pub struct Rules {
    /// Keep what was used in so many days, and what suites name that were
    #[arg(long, value_name = "N", default_value_t = 30, help_heading = "Keeping")]
    keep_days: u32,
    /// Keep at most so many bytes, as in 500M or 20G
    #[arg(long, value_name = "SIZE", help_heading = "Keeping")]
    max_size: Option<Size>,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// Room is made in steps as large as this, so that not every file needs a step.
    pub const STEP: u64 = 64 << 20;
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
        let (digits, shift) = units
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(*unit)?, *shift)))
            .unwrap_or((text, 0));
        let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
        bytes.map(Size).ok_or_else(|| {
            Error::new(format!("'{}' is no size", bk::sanitize(text)))
                .hint("write bytes, or a number with K, M, G or T")
                .status(Status::Usage)
        })
    }
}

/// A file that is removed.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "removed")]
pub struct Removed {
    /// Its place in the cache.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Why it is.
    pub reason: &'static str,
}

impl Record for Removed {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_bytes().into()
    }
}

/// Runs the command.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let store = args.folder.store(session)?;
    let console = session.console.clone();
    let out = &mut session.out;
    let mut each = |removed: &Removed| out.record(removed);
    let (files, bytes) = collect(&store, &args.rules, args.dry_run, &console, &mut each)?;
    let done = if args.dry_run { "would be removed" } else { "removed" };
    console.info(&format!("{files} files, {} MiB {done}", bytes >> 20));
    Ok(Status::Done)
}

/// A file of the tree.
struct File {
    key: String,
    size: u64,
    used: i64,
    inode: u64,
}

/// Removes what is not kept, and returns how many files that were and their bytes.
pub fn collect(
    store: &Store,
    rules: &Rules,
    dry_run: bool,
    console: &Console,
    each: &mut dyn FnMut(&Removed) -> Result<()>,
) -> Result<(u64, u64)> {
    let limit = now() - i64::from(rules.keep_days) * 86_400;
    let marks = Marks::read(store, limit, console);
    let mut files = files(store);
    let (mut count, mut bytes) = (0, 0);
    let mut remove = |file: &File, reason| -> Result<()> {
        each(&Removed { path: file.key.clone(), size: file.size, reason })?;
        (count, bytes) = (count + 1, bytes + file.size);
        if !dry_run && let Err(error) = store.remove(&file.key) {
            console.warn(&format!("cannot remove '{}': {error}", file.key));
        }
        Ok(())
    };
    let mut kept = Vec::new();
    for file in files.drain(..) {
        if file.used >= limit || marks.has(&file.key) {
            kept.push(file);
        } else {
            remove(&file, "unused")?;
        }
    }
    if let Some(Size(most)) = rules.max_size {
        let mut total = total(&kept);
        kept.sort_by_key(|file| file.used);
        for file in kept.iter().filter(|file| may_go(&file.key)) {
            if total <= most {
                break;
            }
            remove(file, "size")?;
            total = total.saturating_sub(file.size);
        }
    }
    if !dry_run {
        sweep(store, &marks);
    }
    Ok((count, bytes))
}

/// All files of the tree.
fn files(store: &Store) -> Vec<File> {
    let mut files = Vec::new();
    store.walk("", &|_| true, &mut |key, meta| {
        let used = meta.atime();
        files.push(File { key: key.to_owned(), size: meta.len(), used, inode: meta.ino() });
    });
    files
}

/// What the files take, each content once.
fn total(files: &[File]) -> u64 {
    let mut inodes: Vec<(u64, u64)> = files.iter().map(|file| (file.inode, file.size)).collect();
    inodes.sort_unstable();
    inodes.dedup();
    inodes.iter().map(|(_, size)| size).sum()
}

/// Release files are small, and everything else hangs on them.
fn may_go(key: &str) -> bool {
    !matches!(key.rsplit('/').next(), Some("InRelease" | "Release" | "Release.gpg"))
}

/// Removes what is beside the tree and has no use: contents without a name, tables without an index,
/// transfers that will not go on.
fn sweep(store: &Store, marks: &Marks) {
    let each = |folder: &Path, wanted: &dyn Fn(&str, &std::fs::Metadata) -> bool| {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Ok(meta) = entry.metadata()
                && meta.is_file()
                && !wanted(&name, &meta)
            {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    };
    for folder in std::fs::read_dir(store.inside("sha256")).into_iter().flatten().flatten() {
        each(&folder.path(), &|_, meta| meta.nlink() > 1);
    }
    let recent = |meta: &std::fs::Metadata| {
        meta.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age < ABANDONED))
    };
    each(&store.inside("tables"), &|name, meta| marks.has_table(name) || recent(meta));
    each(&store.inside("parts"), &|_, meta| recent(meta));
}

/// Makes room for so many bytes by removing what was used longest ago. Returns whether anything was
/// removed.
pub fn make_room(store: &Store, bytes: u64, console: &Console) -> bool {
    let mut files = files(store);
    files.retain(|file| may_go(&file.key));
    files.sort_by_key(|file| file.used);
    let hashes = store.hashes();
    let mut freed = 0;
    for file in files {
        if freed >= bytes {
            break;
        }
        // Its content may have other names, which keep it: those come in their turn.
        if store.remove(&file.key).is_ok() {
            hashes.get(&file.inode).into_iter().for_each(|hash| store.disown(hash));
            freed += file.size;
        }
    }
    console.warn(&format!("the disk is full: {} MiB of the cache were removed", freed >> 20));
    freed > 0
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("0", 0), ("17", 17), ("2K", 2048), ("1M", 1 << 20), ("3G", 3 << 30)]
        {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes));
        }
        for bad in ["", "M", "-1", "1.5G", "99999999999T", "1k"] {
            assert_eq!(bad.parse::<Size>().unwrap_err().exit_status(), Status::Usage, "{bad}");
        }
    }
}
