//! Which package of a suite has a file: its Contents indexes (Debian's repository format, "Contents
//! indices").

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bk::{Console, Context, Error, Result, display, file};

use super::{Selection, facts, sources};
use crate::fetch::Fetch;
use crate::made;
use crate::release::{self, Trust};

/// The first line of what is kept: another layout gets another number.
const FORMAT: &str = "bk-deb contents 1";
/// What is kept of all of Debian 12 has 40 MB.
const KEPT_LIMIT: u64 = 512 << 20;
/// No path of a package is longer (PATH_MAX), and one line names few packages.
const LINE_LIMIT: u64 = 64 << 10;
/// Where files of Python's packages go: no other path of theirs can be another's.
const FOLDERS: [&str; 10] = [
    "bin/",
    "etc/",
    "sbin/",
    "usr/bin/",
    "usr/games/",
    "usr/include/python",
    "usr/lib/python3/dist-packages/",
    "usr/sbin/",
    "usr/share/man/",
    "usr/share/applications/",
];

/// When the indexes are looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// Where apt-file or an earlier fetch has left them
    #[default]
    Auto,
    /// Fetch them: some 50 MB for Debian, kept for a day
    Fetch,
    /// Never
    Never,
}

/// The files of a suite that can be in the way.
pub struct Contents {
    /// `path TAB package,package`, sorted.
    lines: String,
}

/// What was drawn from the indexes of a suite, in the cache.
pub struct Kept {
    path: PathBuf,
    key: String,
}

impl Kept {
    /// Draws it from the indexes where that was not done; none where they are not to be had.
    pub fn find(
        selection: &Selection,
        suite: &str,
        when: When,
        cache: &Path,
        fetch: &Fetch,
        console: &Console,
    ) -> Result<Option<Self>> {
        if when == When::Never {
            return Ok(None);
        }
        let own = sources::own_suite().as_deref() == Some(suite) && selection.mirror.is_none();
        let lists = if own { sources::contents_lists(suite, &selection.arch) } else { Vec::new() };
        let kept = cache.join(format!("{suite}-{}.contents", selection.arch));
        let failed = || format!("cannot read which files '{suite}' has");
        if !lists.is_empty() {
            let mut key = String::new();
            for list in &lists {
                let about = list.metadata().context(failed)?;
                key += &format!(" {}:{}:{}", display(list), about.mtime(), about.size());
            }
            let kept = Kept { path: kept, key };
            if !kept.is_drawn() {
                kept.draw(&lists, console).context(failed)?;
            }
            return Ok(Some(kept));
        }
        let mirror = selection.mirror.clone().or_else(|| sources::mirror(suite));
        let key = mirror.clone().unwrap_or_default();
        let kept = Kept { path: kept, key };
        let age =
            kept.path.metadata().and_then(|m| m.modified()).ok().and_then(|m| m.elapsed().ok());
        if age.is_some_and(|age| age < facts::FRESH || when == When::Auto) && kept.is_drawn() {
            return Ok(Some(kept));
        }
        let Some(mirror) = mirror.filter(|_| when == When::Fetch) else { return Ok(None) };
        let dir = file::TempDir::new_in(cache)?;
        let lists = fetched(&mirror, suite, &selection.arch, dir.path(), cache, fetch, console)?;
        kept.draw(&lists, console).context(failed)?;
        Ok(Some(kept))
    }

    /// What comes before the lines.
    fn head(&self) -> String {
        format!("{FORMAT}\n{}\n", self.key)
    }

    /// Whether it is there, and was drawn from what is meant.
    fn is_drawn(&self) -> bool {
        let head = self.head();
        let mut found = Vec::new();
        let file = File::open(&self.path);
        let read = file.and_then(|f| f.take(head.len() as u64).read_to_end(&mut found));
        read.is_ok() && found == head.as_bytes()
    }

    fn draw(&self, lists: &[PathBuf], console: &Console) -> Result<()> {
        console.info("reading which files the distribution has");
        let mut all = BTreeMap::new();
        for list in lists {
            let failed = || format!("cannot read '{}'", display(list));
            let file = File::open(list).context(failed)?;
            let index = facts::decode(&display(list), file).context(failed)?;
            take_in(index, &mut all).context(failed)?;
        }
        if let Some(dir) = self.path.parent() {
            file::create_dir(dir)?;
        }
        file::write(&self.path, self.head() + &text(&all))
    }

    /// What tells its state from another.
    pub fn stamp(&self) -> String {
        self.path.metadata().map(|about| made::stamp(&about)).unwrap_or_default()
    }

    /// Reads it.
    pub fn read(self) -> Result<Contents> {
        let failed = || format!("cannot read '{}'", display(&self.path));
        let text = String::from_utf8(file::read(&self.path, KEPT_LIMIT)?).context(failed)?;
        let lines = text.strip_prefix(&self.head()).map(str::to_owned);
        let lines = lines.ok_or_else(|| Error::new("it was changed in the meantime"));
        Ok(Contents { lines: lines.context(failed)? })
    }
}

impl Contents {
    /// Contents of these lines, as an index has them.
    pub fn from_lines(lines: &str) -> Result<Self> {
        let mut all = BTreeMap::new();
        take_in(lines.as_bytes(), &mut all)?;
        Ok(Contents { lines: text(&all) })
    }

    /// The packages that have the file `path`, which is without a slash in front.
    pub fn owners(&self, path: &str) -> impl Iterator<Item = &str> {
        let text = &self.lines;
        let (mut low, mut high) = (0, text.len());
        let mut found = "";
        while low < high {
            let middle = (low + high) / 2;
            let start =
                text.as_bytes()[..middle].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            let start = start.max(low);
            let end = memchr::memchr(b'\n', &text.as_bytes()[start..])
                .map_or(text.len(), |at| start + at);
            let (known, packages) = text[start..end].split_once('\t').unwrap_or_default();
            match known.cmp(path) {
                std::cmp::Ordering::Equal => {
                    found = packages;
                    break;
                }
                std::cmp::Ordering::Less => low = end + 1,
                std::cmp::Ordering::Greater => high = start,
            }
        }
        found.split(',').filter(|package| !package.is_empty())
    }
}

/// Fetches the indexes that the suite's Release file lists.
fn fetched(
    mirror: &str,
    suite: &str,
    arch: &str,
    dir: &Path,
    cache: &Path,
    fetch: &Fetch,
    console: &Console,
) -> Result<Vec<PathBuf>> {
    let base = format!("{mirror}/dists/{suite}");
    let release = release::fetch(&base, &Trust::system(), cache, fetch, console)?;
    let sums: HashMap<String, String> = release::sums(&release)?;
    let mut lists = Vec::new();
    // Debian's main has one for each architecture, Ubuntu's suites one for all components.
    for folder in ["main/", ""] {
        for kind in [arch, "all"] {
            let name = format!("{folder}Contents-{kind}");
            let found = [".gz", ".xz", ""].map(|end| format!("{name}{end}"));
            let Some(name) = found.iter().find(|name| sums.contains_key(*name)) else { continue };
            let path = dir.join(name.replace('/', "_"));
            fetch.file(&format!("{base}/{name}"), &path, sums.get(name).map(String::as_str))?;
            lists.push(path);
        }
    }
    match lists.is_empty() {
        true => Err(Error::new(format!("'{base}' has no Contents for '{arch}'"))),
        false => Ok(lists),
    }
}

/// A path, blanks, and `section/package` with commas between, a line.
fn take_in(mut index: impl BufRead, all: &mut BTreeMap<String, String>) -> Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if std::io::Read::take(&mut index, LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        let Some((path, packages)) = line.trim_end().rsplit_once([' ', '\t']) else { continue };
        let path = path.trim_end().trim_start_matches("./");
        if !FOLDERS.iter().any(|folder| path.starts_with(folder)) || path.contains('\t') {
            continue;
        }
        for package in packages.split(',') {
            let package = package.rsplit('/').next().unwrap_or(package);
            let owners = all.entry(path.to_owned()).or_default();
            if !owners.split(',').any(|owner| owner == package) {
                *owners += if owners.is_empty() { "" } else { "," };
                *owners += package;
            }
        }
    }
}

fn text(all: &BTreeMap<String, String>) -> String {
    all.iter().map(|(path, packages)| format!("{path}\t{packages}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_found() {
        let contents = Contents::from_lines(
            "usr/bin/jupyter                python/jupyter-core\n\
             usr/bin/with space\tmisc/a\n\
             usr/lib/python3/dist-packages/a.py python/python3-a,python/python3-b\n\
             usr/share/doc/x/copyright misc/x\n",
        )
        .unwrap();
        let owners = |path: &str| contents.owners(path).collect::<Vec<_>>().join(" ");
        assert_eq!(owners("usr/bin/jupyter"), "jupyter-core");
        assert_eq!(owners("usr/bin/with space"), "a");
        assert_eq!(owners("usr/lib/python3/dist-packages/a.py"), "python3-a python3-b");
        for path in ["usr/bin/jupyte", "usr/share/doc/x/copyright", "", "zzz"] {
            assert_eq!(owners(path), "", "{path}");
        }
    }
}
