//! `bk-docsite publish`

use std::fs;
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bk::{Console, Context, Error, Result, Session, Status, display, sanitize};
use clap::Args;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::distribution::{Kind, field, metadata, named};
use crate::html::{self, Parts};
use crate::init::Made;
use crate::search::Index;
use crate::site::{
    Documented, File, LATEST, Package, Settings, Site, check_name, newest_first, normal,
};

/// What a page may have; the largest known (an API on one page) have 20 MB.
const PAGE_LIMIT: u64 = 256 << 20;
/// How deep a tree may be: no path of more than 4,096 bytes can be opened (path_resolution(7)).
const DEPTH: usize = 1024;
/// What marks a page that has our script already.
const MARK: &str = "data-docsite";

/// Publish a version of a package: its documentation, and what can be downloaded
///
/// The documentation is a folder that a generator wrote, whichever it is. Each page gets a script that
/// offers the other versions, and stays as it is otherwise; so pages that are published know of versions
/// that come later. Readers see all of a version, or what was there before. The alias latest follows the
/// newest release; files that are wheels or sources are in the index for pip. A site that is not there is
/// begun. Prints where it is.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-docsite publish /srv/docs libfoo 1.2 --docs build/html dist/*
      Publish the documentation of libfoo 1.2, and its files.
  bk-docsite publish /srv/docs libfoo 1.2 --docs build/html --alias stable
      The same, as stable as well.
  bk-test release -o dist | bk-docsite publish /srv/docs libfoo 1.2 -
      Publish the files that another tool names.

Exit status:
  0   published
  1   it cannot be read or written; readers see what was there before
  2   the command line is wrong
")]
pub struct Publish {
    /// The site
    #[arg(value_name = "SITE")]
    site: PathBuf,
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// The version
    #[arg(value_name = "VERSION")]
    version: String,
    /// What can be downloaded; - reads paths from stdin
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The folder with its documentation, as HTML
    #[arg(short, long, value_name = "DIR")]
    docs: Option<PathBuf>,
    /// Another name for the version
    #[arg(short, long, value_name = "NAME")]
    alias: Vec<String>,
    /// Replace files that are there, and other
    #[arg(long)]
    force: bool,
    /// Write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Publish {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        check_name("package", &self.package)?;
        check_name("version", &self.version)?;
        for alias in &self.alias {
            check_name("alias", alias)?;
        }
        let files = if self.files.is_empty() {
            Vec::new()
        } else {
            session.inputs(&self.files).collect::<Result<Vec<_>>>()?
        };
        if files.is_empty() && self.docs.is_none() {
            return Err(Error::new("there is nothing to publish")
                .hint("say --docs DIR, or files")
                .status(Status::Usage));
        }
        let none =
            !self.site.exists() || self.site.read_dir().is_ok_and(|mut all| all.next().is_none());
        if none && !self.dry_run {
            Site::begin(&self.site, &Settings::default(), &session.console)?;
            session
                .console
                .note(&format!("made the site '{}' with the defaults", display(&self.site)));
        }
        let site = Site::change(&self.site, &session.console)?;
        let folder = normal(&self.package);
        let mut package = site.package(&self.package)?.unwrap_or_default();
        package.name.clone_from(&self.package);
        if self.alias.iter().any(|alias| alias == LATEST) {
            return Err(Error::new("'latest' follows the newest release by itself")
                .hint("take another alias, as stable")
                .status(Status::Usage));
        }
        let taken = |alias: &String| {
            package.versions.iter().any(|v| v.version == *alias) || *alias == self.version
        };
        if let Some(alias) = self.alias.iter().find(|alias| taken(alias)) {
            return Err(Error::new(format!("'{alias}' is a version, and so cannot be an alias"))
                .status(Status::Usage));
        }
        let now = session.epoch.map_or_else(|| Ok(Timestamp::now()), Timestamp::from_second)?;
        let now = format!("{now:.0}");
        let new = files.iter().map(|path| self.look_at(path, &now)).collect::<Result<Vec<_>>>()?;
        for (file, path) in new.iter().zip(&files) {
            let old = package.files.iter().find(|old| old.name == file.name);
            if old.is_some_and(|old| old.sha256 != file.sha256) && !self.force {
                return Err(Error::new(format!(
                    "a file '{}' is there already, and other",
                    file.name
                ))
                .context(format!("cannot publish '{}'", display(path)))
                .hint(
                    "take a new version; pip remembers files by their names (--force replaces it)",
                ));
            }
        }
        if self.dry_run {
            if let Some(docs) = &self.docs {
                check_docs(docs)?;
            }
            return self.done(session, &folder);
        }
        bk::file::create_dir(&site.root.join(&folder))?;
        self.place(&site, &folder, &files, new, &mut package)?;
        if let Some(docs) = &self.docs {
            self.document(&site, &mut package, docs, now, &session.console)?;
        }
        for alias in &self.alias {
            package.aliases.insert(alias.clone(), self.version.clone());
        }
        site.save(&mut package)?;
        self.done(session, &folder)
    }

    fn done(&self, session: &mut Session, folder: &str) -> Result<Status> {
        let path = self.site.join(folder);
        let path = if self.docs.is_some() { path.join(&self.version) } else { path };
        session.out.record(&Made { path })?;
        Ok(Status::Done)
    }

    /// What is known of a file before it is published.
    fn look_at(&self, path: &Path, now: &str) -> Result<File> {
        let failed = || format!("cannot publish '{}'", display(path));
        let name = path.file_name().map(display).unwrap_or_default();
        check_name("file", &name).context(failed)?;
        let named = named(&name);
        if matches!(named.kind, Kind::Wheel | Kind::Sdist | Kind::Egg)
            && named.package.as_deref().map(normal) != Some(normal(&self.package))
        {
            let of = named.package.unwrap_or_default();
            return Err(Error::new(format!(
                "it is of '{}', not of '{}'",
                sanitize(&of),
                self.package
            ))
            .context(failed()));
        }
        if let Some(version) = named.version.filter(|_| named.kind != Kind::Other)
            && newest_first(&version, &self.version).is_ne()
            && named.kind != Kind::Deb
        {
            return Err(Error::new(format!(
                "it is of version '{}', not '{}'",
                sanitize(&version),
                self.version
            ))
            .context(failed()));
        }
        let mut file = BufReader::new(fs::File::open(path).context(failed)?);
        let mut hash = Sha256::new();
        let size = std::io::copy(&mut file, &mut hash).context(failed)?;
        let metadata = match named.kind {
            Kind::Wheel => Some(metadata(path)?),
            _ => None,
        };
        Ok(File {
            name,
            version: self.version.clone(),
            size,
            sha256: hex(&hash.finalize()),
            uploaded: now.to_owned(),
            requires_python: metadata.as_ref().and_then(|m| field(m, "Requires-Python")),
            metadata: metadata.as_ref().map(|m| hex(&Sha256::digest(m))),
            yanked: None,
        })
    }

    /// Puts files where they are downloaded from.
    fn place(
        &self,
        site: &Site,
        folder: &str,
        files: &[PathBuf],
        new: Vec<File>,
        package: &mut Package,
    ) -> Result<()> {
        let dir = site.root.join("files").join(folder);
        if !files.is_empty() {
            bk::file::create_dir(&dir)?;
        }
        for (path, file) in files.iter().zip(new) {
            if file.metadata.is_some() {
                bk::file::write(&dir.join(format!("{}.metadata", file.name)), metadata(path)?)?;
            }
            let failed = || format!("cannot publish '{}'", display(path));
            let out = bk::file::AtomicFile::create(&dir.join(&file.name))?;
            let mut hash = Sha256::new();
            let mut source = fs::File::open(path).context(failed)?;
            // 64 KiB, the size of a pipe.
            let mut buffer = vec![0; 64 << 10];
            loop {
                let read = source.read(&mut buffer).context(failed)?;
                if read == 0 {
                    break;
                }
                let part = buffer.get(..read).unwrap_or_default();
                hash.update(part);
                std::io::Write::write_all(&mut out.as_file(), part).context(failed)?;
            }
            if hex(&hash.finalize()) != file.sha256 {
                return Err(Error::new("it changed while it was read").context(failed()));
            }
            out.commit()?;
            package.files.retain(|old| old.name != file.name);
            package.files.push(file);
        }
        Ok(())
    }

    /// Puts documentation where it is read.
    fn document(
        &self,
        site: &Site,
        package: &mut Package,
        docs: &Path,
        now: String,
        console: &Console,
    ) -> Result<()> {
        check_docs(docs)?;
        let folder = normal(&self.package);
        let dir = site.root.join(&folder);
        let scratch = site.scratch()?;
        let new = scratch.path().join("new");
        let before = package.versions.first().map(|v| dir.join(&v.version));
        let mut copy = Copy {
            site,
            folder: &folder,
            version: &self.version,
            docs,
            to: &new,
            before: before.as_deref(),
            pages: Vec::new(),
            index: Index::default(),
        };
        copy.folder("", DEPTH)?;
        copy.inventory(console)?;
        let Copy { mut pages, index, .. } = copy;
        pages.sort();
        index.keep(site, &folder, &self.version)?;
        site.exchange(&new, &dir.join(&self.version))?;
        package.versions.retain(|v| v.version != self.version);
        package.versions.push(Documented { version: self.version.clone(), published: now, pages });
        Ok(())
    }
}

/// Checks that a folder has documentation.
fn check_docs(docs: &Path) -> Result<()> {
    if docs.join("index.html").is_file() {
        return Ok(());
    }
    Err(Error::new("it has no index.html")
        .context(format!("cannot publish the documentation '{}'", display(docs)))
        .hint(
            "give the folder that a generator wrote, as sphinx-build -b html docs build/html does",
        ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Copies a folder of documentation.
struct Copy<'a> {
    site: &'a Site,
    folder: &'a str,
    version: &'a str,
    docs: &'a Path,
    to: &'a Path,
    /// A version that is there: what has not changed since is on the disk once.
    before: Option<&'a Path>,
    pages: Vec<String>,
    index: Index,
}

impl Copy<'_> {
    fn folder(&mut self, below: &str, depth: usize) -> Result<()> {
        let from = self.docs.join(below);
        let failed = || format!("cannot read '{}'", display(&from));
        if depth == 0 {
            return Err(Error::new("it is too deep").context(failed()));
        }
        bk::file::create_dir(&self.to.join(below))?;
        let mut entries =
            from.read_dir().context(failed)?.collect::<Result<Vec<_>, _>>().context(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else {
                let name = display(entry.file_name());
                return Err(Error::new(format!("the name '{name}' is no UTF-8")).context(failed()));
            };
            let path = format!("{below}{name}");
            let kind = entry.file_type().context(failed)?;
            if kind.is_dir() {
                // What is hidden (.doctrees, .git) is nobody's to read.
                if !name.starts_with('.') {
                    self.folder(&format!("{path}/"), depth - 1)?;
                }
            } else if kind.is_symlink() {
                return Err(Error::new(format!("'{}' is a link", sanitize(&path)))
                    .context(failed())
                    .hint("copy what it leads to: cp -rL"));
            } else if kind.is_file() && (!name.starts_with('.') || name == ".nojekyll") {
                self.file(&path, depth)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, depth: usize) -> Result<()> {
        let (from, to) = (self.docs.join(path), self.to.join(path));
        let page = path.ends_with(".html") || path.ends_with(".htm");
        if page {
            let bytes = bk::file::read(&from, PAGE_LIMIT)?;
            if let Ok(text) = String::from_utf8(bytes) {
                let text = self.page(path, &text, DEPTH - depth);
                return bk::file::write(&to, text);
            }
            // A page in another encoding stays as it is.
            self.pages.push(path.to_owned());
        }
        let failed = || format!("cannot copy '{}'", display(&from));
        let same = self.before.map(|before| before.join(path)).filter(|old| {
            let sizes = [&from, old].map(|path| path.metadata().map(|meta| meta.size()).ok());
            let [new, old_size] = sizes;
            new.is_some() && new == old_size && same_bytes(&from, old).unwrap_or_default()
        });
        if let Some(old) = same
            && fs::hard_link(&old, &to).is_ok()
        {
            return Ok(());
        }
        let out = bk::file::AtomicFile::create(&to)?;
        let mut source = fs::File::open(&from).context(failed)?;
        std::io::copy(&mut source, &mut out.as_file()).context(failed)?;
        out.commit_unsettled()
    }

    /// A page with what it needs to know of other versions; the search learns its words.
    fn page(&mut self, path: &str, text: &str, depth: usize) -> String {
        let page = html::read(text);
        self.pages.push(path.to_owned());
        // Sphinx's own search and lists of names have nothing that is not found elsewhere.
        let lists = ["search.html", "genindex.html", "py-modindex.html"];
        if !(lists.contains(&path) && self.docs.join("objects.inv").is_file()) {
            self.index.add(path, &page);
        }
        if text.contains(MARK) {
            return text.to_owned();
        }
        // Of the version, and of the package.
        let root = "../".repeat(depth + 2);
        let attribute = bk::http::escape;
        let canonical = self.site.settings.url.as_deref().filter(|_| !page.canonical).map(|url| {
            let url = format!("{}/{}/{LATEST}/{path}", url.trim_end_matches('/'), self.folder);
            format!("<link rel=\"canonical\" href=\"{}\">", attribute(&url))
        });
        let start = format!(
            "<noscript><p><a href=\"{root}{}/index.html\">All versions of {}</a>; this is {}.</p></noscript>",
            self.folder,
            attribute(self.folder),
            attribute(self.version)
        );
        let end = format!(
            "<script src=\"{root}_site/docsite.js\" {MARK} data-root=\"{root}\" data-package=\"{}\" \
             data-version=\"{}\" data-page=\"{}\"></script>",
            attribute(self.folder),
            attribute(self.version),
            attribute(path)
        );
        let parts =
            Parts { head: canonical.as_deref().unwrap_or_default(), start: &start, end: &end };
        html::put(text, &page, &parts)
    }

    /// Adds what Sphinx says that it documents.
    fn inventory(&mut self, console: &Console) -> Result<()> {
        let path = self.docs.join("objects.inv");
        if path.is_file()
            && let Err(error) = self.index.add_inventory(&bk::file::read(&path, PAGE_LIMIT)?)
        {
            console.warn(&format!("the search does not know its names: {error}"));
        }
        Ok(())
    }
}

/// Whether two files of one size have the same bytes.
fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    let mut files = [fs::File::open(a)?, fs::File::open(b)?];
    // 64 KiB, the size of a pipe.
    let mut buffers = [vec![0; 64 << 10], vec![0; 64 << 10]];
    loop {
        let mut lengths = [0; 2];
        for ((file, buffer), length) in files.iter_mut().zip(&mut buffers).zip(&mut lengths) {
            while *length < buffer.len() {
                let read = file.read(buffer.get_mut(*length..).unwrap_or_default())?;
                if read == 0 {
                    break;
                }
                *length += read;
            }
        }
        let [a, b] = lengths;
        let [left, right] = &buffers;
        if a != b || left.get(..a) != right.get(..b) {
            return Ok(false);
        }
        if a == 0 {
            return Ok(true);
        }
    }
}
