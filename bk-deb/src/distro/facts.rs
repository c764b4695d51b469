//! The few facts that are drawn from a suite's indexes, and kept until these change.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bk::{Console, Context, Error, Result, display, file};
use sha2::{Digest, Sha256};

use crate::debian::compression;
use crate::debian::control::field;
use crate::debian::deb::Deb;
use crate::debian::version::compare;
use crate::fetch::Fetch;
use crate::release::{self, Trust};

/// The first line of a file of facts: another layout gets another number.
const FORMAT: &str = "bk-deb facts 6";
/// The facts of all of Debian 12 are 3 MB.
const FACTS_LIMIT: u64 = 64 << 20;
/// dh-python's table has some 100 kB.
const TABLE_LIMIT: u64 = 16 << 20;
/// How long a fetched suite is believed before it is asked for again. Debian's own changes four
/// times a day, a stable one four times a year.
pub(super) const FRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// dh-python's table on a system that has it, and in its package.
const TABLE: &str = "usr/share/dh-python/dist/cpython3_fallback";

#[derive(Default)]
pub(super) struct Facts {
    pub(super) packages: String,
    pub(super) names: HashMap<String, String>,
}

/// What is kept of a package while indexes are read.
#[derive(Default)]
struct Entry {
    version: String,
    provides: String,
    /// Of a package of Python's: its relations to others of Python's.
    depends: String,
    /// The source package it is built of.
    source: String,
    /// Of one that needs Python and has no code for a machine: its relations to libraries.
    libraries: String,
    /// Of a package of Python's that has some: the libraries it depends on.
    linked: String,
}

/// What is being drawn from indexes.
#[derive(Default)]
struct Draft {
    packages: BTreeMap<String, Entry>,
    /// The source package of what depends on a package; empty if there are several.
    asked: HashMap<String, String>,
    /// dh-python's package: its place in the archive, and its SHA-256.
    table: Option<(String, String)>,
}

/// Draws facts from indexes that apt has fetched and verified.
pub(super) fn from_lists(
    suite: &str,
    arch: &str,
    lists: &[PathBuf],
    cache: &Path,
    fetch: &Fetch,
    console: &Console,
) -> Result<Facts> {
    let mut key = String::new();
    for list in lists {
        let about = list.metadata().context(|| format!("cannot read '{}'", display(list)))?;
        key += &format!(" {}:{}:{}", display(list), about.mtime(), about.size());
    }
    let kept = cache.join(format!("{suite}-{arch}.facts"));
    if let Some(facts) = load(&kept, &key) {
        return Ok(facts);
    }
    console.info(&format!("reading apt's lists of {suite}"));
    let mut draft = Draft::default();
    for list in lists {
        let failed = || format!("cannot read '{}'", display(list));
        let file = File::open(list).context(failed)?;
        draft.read(decode(&display(list), file).context(failed)?).context(failed)?;
    }
    let own = Path::new("/").join(TABLE);
    let table = match file::read(&own, TABLE_LIMIT) {
        Ok(table) => Some(table),
        Err(_) => {
            let mirror = super::sources::mirror(suite);
            mirror.and_then(|mirror| draft.fetch_table(&mirror, cache, fetch, console))
        }
    };
    draft.finish(table, &kept, &key)
}

/// Fetches a suite's indexes and draws facts from them.
pub(super) fn from_mirror(
    suite: &str,
    arch: &str,
    mirror: &str,
    cache: &Path,
    fetch: &Fetch,
    console: &Console,
) -> Result<Facts> {
    let place: String =
        format!("{:x}", Sha256::digest(mirror.as_bytes())).chars().take(12).collect();
    let kept = cache.join(format!("{suite}-{arch}-{place}.facts"));
    let age = kept.metadata().and_then(|m| m.modified()).ok().and_then(|m| m.elapsed().ok());
    if age.is_some_and(|age| age < FRESH)
        && let Some(facts) = load(&kept, mirror)
    {
        return Ok(facts);
    }
    let base = format!("{mirror}/dists/{suite}");
    let fetched = draft_of(&base, arch, cache, fetch, console);
    let draft = match (fetched, load(&kept, mirror)) {
        (Ok(draft), _) => draft,
        (Err(error), Some(facts)) => {
            console.warn(&format!("using what is known of '{suite}' from before: {error}"));
            return Ok(facts);
        }
        (Err(error), None) => return Err(error),
    };
    let table = draft.fetch_table(mirror, cache, fetch, console);
    draft.finish(table, &kept, mirror)
}

fn draft_of(
    base: &str,
    arch: &str,
    cache: &Path,
    fetch: &Fetch,
    console: &Console,
) -> Result<Draft> {
    let release = release::fetch(base, &Trust::system(), cache, fetch, console)?;
    let sums = release::sums(&release)?;
    let components = release.get("Components").unwrap_or("main");
    let mut draft = Draft::default();
    // What a system has without its admin's doing: Debian's main, Ubuntu's main and universe.
    for component in
        components.split_ascii_whitespace().filter(|c| ["main", "universe"].contains(c))
    {
        let index = format!("{component}/binary-{arch}/Packages");
        let (name, sum) = [".xz", ".gz", ""]
            .iter()
            .find_map(|suffix| {
                let name = format!("{index}{suffix}");
                sums.get(&name).cloned().map(|sum| (name, sum))
            })
            .ok_or_else(|| {
                Error::new(format!("'{base}' has no packages for '{arch}' in '{component}'"))
            })?;
        file::create_dir(cache)?;
        let dir = file::TempDir::new_in(cache)?;
        let path = dir.path().join("Packages");
        fetch.file(&format!("{base}/{name}"), &path, Some(&sum))?;
        let failed = || format!("cannot read '{base}/{name}'");
        let file = File::open(&path).context(failed)?;
        draft.read(decode(&name, file).context(failed)?).context(failed)?;
    }
    Ok(draft)
}

pub(super) fn decode<'a>(
    name: &str,
    file: impl Read + 'a,
) -> std::io::Result<Box<dyn BufRead + 'a>> {
    let reader = BufReader::with_capacity(1 << 16, file);
    Ok(match name.rsplit('.').next() {
        Some("lz4") => Box::new(BufReader::new(lz4_flex::frame::FrameDecoder::new(reader))),
        _ => Box::new(BufReader::with_capacity(1 << 16, compression::decode(reader)?)),
    })
}

impl Draft {
    /// Takes in an index, paragraph by paragraph.
    fn read(&mut self, mut index: impl BufRead) -> Result<()> {
        let mut paragraph = Vec::new();
        loop {
            let start = paragraph.len();
            let n = index.read_until(b'\n', &mut paragraph)?;
            if n == 0 || paragraph[start..] == *b"\n" {
                self.add(&paragraph);
                paragraph.clear();
            }
            if n == 0 {
                return Ok(());
            }
        }
    }

    fn add(&mut self, paragraph: &[u8]) {
        let get = |name| String::from_utf8_lossy(field(paragraph, name).unwrap_or_default());
        let (package, version) = (get("Package"), get("Version"));
        let entry = self.packages.entry(package.to_string()).or_default();
        if package.is_empty() || compare(&version, &entry.version).is_lt() {
            return;
        }
        entry.provides = get("Provides").replace(['\n', '\t'], " ");
        entry.depends = match package.starts_with("python3-") {
            true => python_depends(&get("Depends")),
            false => String::new(),
        };
        // What is compiled depends on what it is linked to, which a wheel may have with it.
        let depends = get("Depends");
        entry.libraries = match get("Architecture") == "all" && depends.contains("python3") {
            true => libraries(&depends),
            false => String::new(),
        };
        entry.linked = match get("Architecture") != "all" && package.starts_with("python3-") {
            true => linked(&depends),
            false => String::new(),
        };
        let source = get("Source");
        let source = source.split_ascii_whitespace().next().unwrap_or(&package);
        source.clone_into(&mut entry.source);
        for relation in
            [get("Pre-Depends"), get("Depends")].iter().flat_map(|r| r.split([',', '|']))
        {
            let name = relation.trim().split([' ', '(', ':']).next().unwrap_or_default();
            match self.asked.get_mut(name) {
                None => drop(self.asked.insert(name.to_owned(), source.to_owned())),
                Some(by) if *by != source => by.clear(),
                Some(_) => {}
            }
        }
        if package == "dh-python" {
            self.table = Some((get("Filename").into(), get("SHA256").into()));
        }
        entry.version = version.into();
    }

    /// dh-python's table of names, from its package in the archive.
    fn fetch_table(
        &self,
        mirror: &str,
        cache: &Path,
        fetch: &Fetch,
        console: &Console,
    ) -> Option<Vec<u8>> {
        let (place, sha256) = self.table.as_ref()?;
        let read = || -> Result<Option<Vec<u8>>> {
            file::create_dir(cache)?;
            let dir = file::TempDir::new_in(cache)?;
            let path = dir.path().join("dh-python.deb");
            fetch.file(&format!("{mirror}/{place}"), &path, Some(sha256))?;
            let mut table = None;
            Deb::open(&path)?.data(|entry| {
                if entry.path_bytes().strip_prefix(b"./") == Some(TABLE.as_bytes()) {
                    let mut bytes = Vec::new();
                    entry.take(TABLE_LIMIT).read_to_end(&mut bytes)?;
                    table = Some(bytes);
                }
                Ok(())
            })?;
            Ok(table)
        };
        match read() {
            Ok(table) => table,
            Err(error) => {
                console.warn(&format!("without Debian's table of Python names: {error}"));
                None
            }
        }
    }

    fn finish(mut self, table: Option<Vec<u8>>, kept: &Path, key: &str) -> Result<Facts> {
        self.packages.remove("");
        let packages = self
            .packages
            .iter()
            .map(|(name, Entry { version, provides, depends, source, libraries, linked })| {
                let asked = self.asked.get(name).is_some_and(|by| by != source);
                let asked = if asked { "y" } else { "" };
                // Most are called like their source.
                let source = if source == name { "" } else { source };
                format!(
                    "{name}\t{version}\t{provides}\t{depends}\t{source}\t{asked}\t{libraries}\t{linked}\n"
                )
            })
            .collect();
        let facts = Facts { packages, names: names(&table.clone().unwrap_or_default()) };
        // Without the table they are good for this run only.
        if table.is_some() {
            if let Some(dir) = kept.parent() {
                file::create_dir(dir)?;
            }
            let mut names: Vec<_> = facts.names.iter().collect();
            names.sort();
            let names: String = names.iter().map(|(a, b)| format!("{a}\t{b}\n")).collect();
            file::write(kept, format!("{FORMAT}\n{key}\n{}\n{names}", facts.packages))?;
        }
        Ok(facts)
    }
}

/// The relations of a `Depends` to packages of Python's.
fn python_depends(depends: &str) -> String {
    let python = |relation: &&str| relation.starts_with("python3-");
    let all: Vec<&str> = depends.split(',').map(str::trim).filter(python).collect();
    all.join(", ").replace(['\n', '\t'], " ")
}

/// The relations of a `Depends` to libraries, but for those of pages.
fn libraries(depends: &str) -> String {
    let library = |relation: &&str| {
        relation.starts_with("lib") && !relation.starts_with("libjs-") && !relation.contains('|')
    };
    let all: Vec<&str> = depends.split(',').map(str::trim).filter(library).collect();
    all.join(", ").replace(['\n', '\t'], " ")
}

/// The names of the libraries of a `Depends`; of alternatives the first, which it was built with.
fn linked(depends: &str) -> String {
    let name = |relation: &str| relation.trim().split([' ', ':', '|']).next().map(str::to_owned);
    let all = depends.split(',').filter_map(name).filter(|name| name.starts_with("lib"));
    all.collect::<Vec<_>>().join(" ")
}

/// dh-python's table: a Python name, a package, and maybe `; MORE`, a line.
fn names(table: &[u8]) -> HashMap<String, String> {
    let row = |line: &str| {
        let (python, package) = line.split(';').next()?.trim().split_once(' ')?;
        let python: pep508_rs::PackageName = python.parse().ok()?;
        Some((python.to_string(), package.trim().to_owned()))
    };
    String::from_utf8_lossy(table).lines().filter_map(row).collect()
}

fn load(kept: &Path, key: &str) -> Option<Facts> {
    let text = String::from_utf8(file::read(kept, FACTS_LIMIT).ok()?).ok()?;
    let text =
        text.strip_prefix(FORMAT)?.strip_prefix('\n')?.strip_prefix(key)?.strip_prefix('\n')?;
    let (packages, names) = text.split_once("\n\n")?;
    let row = |line: &str| line.split_once('\t').map(|(a, b)| (a.to_owned(), b.to_owned()));
    Some(Facts {
        packages: format!("{packages}\n"),
        names: names.lines().filter_map(row).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_drawn_kept_and_drawn_again_when_the_index_changes() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("x_dists_sid_main_binary-amd64_Packages.gz");
        let write = |text: &str| {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gz, text.as_bytes()).unwrap();
            file::write(&list, gz.finish().unwrap()).unwrap();
        };
        let draw = || {
            let fetch = Fetch::new(&Console::silent(), true);
            let lists = [list.clone()];
            from_lists("sid", "amd64", &lists, dir.path(), &fetch, &Console::silent()).unwrap()
        };
        write(
            "Package: b\nVersion: 1\n\nPackage: a\nVersion: 2\nProvides: c,\n d\n\nPackage: b\nVersion: 3\n",
        );
        assert_eq!(draw().packages, "a\t2\tc,  d\t\t\t\t\t\nb\t3\t\t\t\t\t\t\n");
        assert_eq!(draw().packages, "a\t2\tc,  d\t\t\t\t\t\nb\t3\t\t\t\t\t\t\n");
        write(
            "Package: python3-a\nVersion: 1\n\
             Depends: libc6 (>= 2), python3-b (<< 3) | x, python3-c, python3-d (>= 1)\n",
        );
        assert_eq!(
            draw().packages,
            "python3-a\t1\t\tpython3-b (<< 3) | x, python3-c, python3-d (>= 1)\t\t\t\tlibc6\n"
        );
    }

    #[test]
    fn libraries_are_kept_of_pure_packages() {
        let depends =
            "libc6 (>= 2), libpango-1.0-0 (>= 1.44), libjs-x, liba | libb, python3-b, git";
        let paragraph = |arch: &str| {
            let mut draft = Draft::default();
            let text = format!(
                "Package: python3-a\nVersion: 1\nArchitecture: {arch}\nDepends: {depends}\n"
            );
            draft.add(text.as_bytes());
            draft.packages.remove("python3-a").map(|entry| entry.libraries)
        };
        assert_eq!(paragraph("all").as_deref(), Some("libc6 (>= 2), libpango-1.0-0 (>= 1.44)"));
        assert_eq!(paragraph("amd64").as_deref(), Some(""));
        assert_eq!(linked(depends), "libc6 libpango-1.0-0 libjs-x liba");
    }

    #[test]
    fn sources_are_kept_and_what_those_of_others_ask_for() -> Result<()> {
        let index = "Package: a\nVersion: 1-1+b1\nSource: s (1-1)\nDepends: a-lib (= 1), b\n\n\
                     Package: a-lib\nVersion: 1\nSource: s\n\n\
                     Package: b\nVersion: 1\nPre-Depends: x | a-data:any (>= 1)\n\n\
                     Package: a-data\nVersion: 1\nSource: s\n";
        let mut draft = Draft::default();
        draft.read(index.as_bytes())?;
        let facts = draft.finish(None, Path::new("/nowhere"), "")?;
        assert_eq!(
            facts.packages,
            "a\t1-1+b1\t\t\ts\t\t\t\na-data\t1\t\t\ts\ty\t\t\na-lib\t1\t\t\ts\t\t\t\n\
             b\t1\t\t\t\ty\t\t\n"
        );
        Ok(())
    }

    #[test]
    fn the_table_of_names_is_read() {
        let names =
            names(b"PyYAML python3-yaml; PEP386\n\nzope.interface python3-zope.interface\nbad\n");
        assert_eq!(names["pyyaml"], "python3-yaml");
        assert_eq!(names["zope-interface"], "python3-zope.interface");
        assert_eq!(names.len(), 2);
    }
}
