//! A wheel becomes a Debian package. Its files are streamed from the zip archive into the tar
//! archive; nothing is unpacked to disk, and no other program runs.

pub mod control;
pub mod copyright;
pub mod description;
pub mod docs;
pub mod layout;
pub(crate) mod libraries;
mod lintian;
mod numpy;
mod plan;
pub mod script;
mod utf8;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::{Path, PathBuf};

use bk::file::AtomicFile;
use bk::{Console, Context, Error, Result, display};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::layout::{Role, SITE};
use self::libraries::Needs;
use self::lintian::Overrides;
use self::plan::{Item, Plan, Source};
use self::utf8::Utf8;
use crate::debian::compression::Compression;
use crate::debian::deb::{Builder, Control};
use crate::debian::version::Version;
pub use crate::distro::shlibs::Libraries;
use crate::elf::strip::{self, Edit};
use crate::elf::{self, Elf, Held};
use crate::python::record;
use crate::python::wheel::{SIZE_LIMIT, Wheel};

/// What was decided about a distribution before it is converted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Package {
    /// The binary package: `python3-flask`.
    pub name: String,
    /// The whole Debian version: `3.1.0-1`.
    pub version: String,
    /// The relations of its Python requirements: `python3-click (>= 8.1.3)`.
    pub depends: Vec<String>,
    /// Policy 7.2.
    pub recommends: Vec<String>,
    /// Policy 7.2.
    pub suggests: Vec<String>,
    /// Policy 7.5.
    pub provides: Vec<String>,
    /// Policy 7.4.
    pub conflicts: Vec<String>,
    /// Policy 7.6.
    pub replaces: Vec<String>,
    /// Policy 7.3.
    pub breaks: Vec<String>,
    /// `python` unless told.
    pub section: Option<String>,
    /// Where the wheel came from, for the copyright file; else the project's page.
    pub source_url: Option<String>,
    /// Licence texts to use in place of those in the wheel: name and content.
    pub licenses: Vec<(String, String)>,
    /// Who wrote it, where its metadata are not to be believed.
    pub author_name: Option<String>,
    /// The address of who wrote it.
    pub author_email: Option<String>,
    /// Its page, in place of that of its metadata.
    pub homepage: Option<String>,
    /// Patterns of files to leave out of this one.
    pub exclude: Vec<String>,
}

/// How to convert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Of the package's members.
    pub compression: Compression,
    /// The time of all files, in seconds since 1970 (`SOURCE_DATE_EPOCH`); without one, the newest
    /// time in the wheel.
    pub mtime: Option<u64>,
    /// `Name <address>`.
    pub maintainer: String,
    /// Patterns of files to leave out, in the wheel or as installed.
    pub exclude: Vec<String>,
    /// The Python of the target.
    pub python: (u32, u32),
    /// The Debian architecture of the target.
    pub arch: String,
    /// The suite in the change log.
    pub distribution: String,
    /// What a wheel may unpack to, in bytes.
    pub max_size: u64,
    /// Whether what only a debugger reads is taken out of programs and libraries (Policy 10.1).
    pub strip: bool,
}

impl Default for Options {
    /// For Debian 12 on amd64.
    fn default() -> Self {
        Options {
            compression: Compression::Zstd(3),
            mtime: None,
            maintainer: "BuildKit-Automatic-Packaging <buildkit@example.com>".into(),
            exclude: Vec::new(),
            python: (3, 11),
            arch: "amd64".into(),
            distribution: "unstable".into(),
            max_size: SIZE_LIMIT,
            strip: true,
        }
    }
}

/// A package that was written.
#[derive(Clone, Debug)]
pub struct Built {
    /// The file.
    pub path: PathBuf,
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// `all`, or the target's.
    pub architecture: String,
    /// Of the file, in bytes.
    pub size: u64,
    /// Of what it installs, in KiB.
    pub installed_size: u64,
    /// What it installs, without a slash in front.
    pub files: Vec<String>,
    /// The field `Depends`.
    pub depends: String,
}

/// What is read of a file before deciding about it: the longest interpreter line Linux takes has
/// 255 bytes; the trampoline that stands for a longer one has a path (PATH_MAX) in it.
const HEAD: usize = 4400;
/// Manual pages are compressed in memory; the largest known (zshall, gcc) have under 2 MB.
const MANUAL_LIMIT: u64 = 16 << 20;
/// Pages that are looked into for a template's marks.
const TEMPLATE_LIMIT: u64 = 1 << 20;
/// 2000-01-01. Tools that know no time write the first a zip archive can have, in 1980; dpkg's and
/// lintian's checks take that for a broken clock.
const EARLIEST: u64 = 946_684_800;

/// The paths a wheel will install, without a slash in front: to find conflicts before anything is
/// written.
pub fn installed_paths(wheel: &Path, package: &Package, options: &Options) -> Result<Vec<String>> {
    let failed = || format!("cannot convert '{}'", display(wheel));
    let mut opened = Wheel::open(wheel, options.max_size)?;
    let plan = Plan::new(&mut opened, package, options).map_err(remedied).context(failed)?;
    Ok(plan.items.into_keys().collect())
}

/// An error about a wheel's content, with what can be done where nothing better is known.
fn remedied(error: Error) -> Error {
    match error.hint_text() {
        Some(_) => error,
        None => {
            error.hint("the wheel was changed, damaged or made badly; fetch it or make it anew")
        }
    }
}

/// Converts a wheel and writes the package into the folder `out`.
pub fn convert(
    wheel: &Path,
    package: &Package,
    options: &Options,
    libraries: &dyn Libraries,
    out: &Path,
    console: &Console,
) -> Result<Built> {
    let mut opened = Wheel::open(wheel, options.max_size)?;
    let failed = || format!("cannot convert '{}'", display(wheel));
    let mut conversion =
        Conversion::new(wheel, &mut opened, package, options, out).context(failed)?;
    let built = conversion.run(libraries).map_err(remedied).context(failed);
    for warning in &conversion.warnings {
        console.warn(&format!("{}: {warning}", package.name));
    }
    for note in &conversion.notes {
        console.info(&format!("{}: {note}", package.name));
    }
    built
}

struct Conversion<'a> {
    wheel: &'a mut Wheel,
    file_name: String,
    package: &'a Package,
    options: &'a Options,
    out: &'a Path,
    mtime: u64,
    needs: Needs,
    /// Whether there is code for the target's machine in it.
    native: bool,
    /// The NumPy its modules were compiled for, where they were.
    numpy: Option<u32>,
    /// Where lintian(1) errs.
    overrides: Overrides,
    record: String,
    warnings: Vec<String>,
    notes: Vec<String>,
}

impl<'a> Conversion<'a> {
    fn new(
        path: &Path,
        wheel: &'a mut Wheel,
        package: &'a Package,
        options: &'a Options,
        out: &'a Path,
    ) -> Result<Self> {
        let mtime = options.mtime.unwrap_or(wheel.newest.max(EARLIEST));
        let metadata = &mut wheel.metadata;
        if package.author_name.is_some() || package.author_email.is_some() {
            metadata.author.clone_from(&package.author_name);
            metadata.author_email.clone_from(&package.author_email);
        }
        if package.homepage.is_some() {
            metadata.home_page.clone_from(&package.homepage);
        }
        Ok(Conversion {
            wheel,
            file_name: path.file_name().map(display).unwrap_or_default(),
            package,
            options,
            out,
            mtime,
            needs: Needs::default(),
            native: false,
            numpy: None,
            overrides: Overrides::new(&package.name),
            record: String::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
        })
    }

    fn run(&mut self, libraries: &dyn Libraries) -> Result<Built> {
        let Options { python: (major, minor), arch, .. } = self.options;
        let binding = self.wheel.binding((*major, *minor), arch).ok_or_else(|| {
            let tags: Vec<String> = self.wheel.tags.iter().map(|t| t.to_string()).take(3).collect();
            Error::new(format!(
                "it is for {}, not for Python {major}.{minor} on {arch}",
                tags.join(", ")
            ))
            .hint("give the wheel for the target, or another target with --python and --arch")
        })?;
        let (binding, for_machine) = binding;
        let plan = self.plan()?;
        let scratch = tempfile::tempfile_in(self.out)
            .context(|| format!("cannot write into '{}'", display(self.out)))?;
        let mut builder = Builder::new(scratch, self.options.compression, self.mtime)?;
        for (path, item) in &plan.items {
            self.write(&mut builder, path, item)
                .context(|| format!("cannot make '/{}' of it", bk::sanitize(path)))?;
        }
        self.write_record(&mut builder)?;
        self.needs.without_libc().for_each(|path| self.overrides.without_libc(path));
        self.needs.needless().for_each(|path| self.overrides.needless(path));
        let overrides = format!("usr/share/lintian/overrides/{}", self.package.name);
        let text = std::mem::take(&mut self.overrides).text();
        builder.file(&overrides, 0o644, text.len() as u64, &mut text.as_bytes())?;
        let mut files: Vec<String> = plan.items.keys().cloned().collect();
        files.extend([self.record_path(), overrides]);
        files.sort();

        if self.native && !for_machine {
            self.warnings.push(format!("it is tagged for any machine, but has code for {arch}"));
        }
        let architecture = if self.native || for_machine { arch.as_str() } else { "all" };
        let (libraries, unknown) = std::mem::take(&mut self.needs).resolve(libraries)?;
        for soname in unknown {
            self.warnings.push(format!("it needs '{soname}', which no known package has"));
        }
        let installed_size = builder.installed_size();
        let facts = control::Facts { architecture, binding, libraries, installed_size };
        let mut package = self.package.clone();
        package.depends.extend(self.numpy.and_then(|major| numpy::bound(major, &package.depends)));
        let paragraph = control::paragraph(&self.wheel.metadata, &package, self.options, &facts)?;
        let control = Control { paragraph, files: control_files(&self.package.name, &plan) };
        let depends = control.paragraph.get("Depends").unwrap_or_default().to_owned();

        let version = Version::parse(&self.package.version)?;
        let name = &self.package.name;
        let path = self.out.join(format!("{name}_{}_{architecture}.deb", version.without_epoch()));
        let mut file = AtomicFile::create(&path)?;
        builder.finish(control, &mut file)?;
        let size = file.stream_position()?;
        file.commit()?;
        Ok(Built {
            path,
            package: name.clone(),
            version: self.package.version.clone(),
            architecture: architecture.to_owned(),
            size,
            installed_size,
            files,
            depends,
        })
    }

    /// The wheel's files, and the documents every Debian package has.
    fn plan(&mut self) -> Result<Plan> {
        let mut plan = Plan::new(self.wheel, self.package, self.options)?;
        self.warnings.append(&mut plan.warnings);
        self.notes.append(&mut plan.notes);
        let doc = format!("usr/share/doc/{}", self.package.name);
        let changelog =
            docs::changelog(self.package, self.options, &self.wheel.metadata, self.mtime)?;
        let texts = match self.package.licenses.is_empty() {
            true => self.licenses()?,
            false => self.package.licenses.clone(),
        };
        let metadata = &self.wheel.metadata;
        let source = self.package.source_url.as_deref().or_else(|| control::homepage(metadata));
        let source = source.unwrap_or(&self.file_name);
        let copyright = copyright::file(metadata, &texts, source, docs::utc(self.mtime).year());
        for (name, bytes) in [
            ("changelog.Debian.gz", docs::gzip(changelog.as_bytes())?),
            ("copyright", copyright.into_bytes()),
        ] {
            let item = Item { role: Role::Data, source: Source::Text(bytes) };
            // Ours is the one that Policy 12.5 and 12.7 describe.
            if plan.items.insert(format!("{doc}/{name}"), item).is_some() {
                self.warnings.push(format!("'/{doc}/{name}' of the wheel gives way to Debian's"));
            }
        }
        plan.check()?;
        Ok(plan)
    }

    /// The licence files: those that METADATA names, else those that are named like one.
    fn licenses(&mut self) -> Result<Vec<(String, String)>> {
        /// More than one file of this size is no licence.
        const LIMIT: u64 = 1 << 20;
        let dist_info = format!("{}/", self.wheel.dist_info);
        let declared = &self.wheel.metadata.license_files;
        let is_license = |path: &str| {
            let Some(name) = path.strip_prefix(&dist_info) else { return false };
            let plain =
                name.strip_prefix("licenses/").or_else(|| name.strip_prefix("license_files/"));
            let base = name.rsplit('/').next().unwrap_or(name).to_ascii_uppercase();
            let like =
                ["LICEN", "COPYING", "COPYRIGHT", "NOTICE"].iter().any(|s| base.starts_with(s));
            let authors = base.starts_with("AUTHORS");
            (plain.is_some() || like || declared.iter().any(|d| d == name)) && !authors
        };
        let members = self.wheel.members.iter().enumerate();
        let found = members.filter(|(_, m)| is_license(&m.path) && m.size <= LIMIT);
        let found: Vec<(usize, String)> =
            found.map(|(at, m)| (at, m.path[dist_info.len()..].to_owned())).collect();
        let mut texts = Vec::new();
        for (at, name) in found {
            let bytes = self.wheel.bytes(at, LIMIT)?;
            let name = name.trim_start_matches("licenses/").to_owned();
            texts.push((name, crate::python::metadata::decode(&bytes).into_owned()));
        }
        Ok(texts)
    }

    fn write(&mut self, builder: &mut Builder<File>, path: &str, item: &Item) -> Result<()> {
        self.overrides.look(path);
        match &item.source {
            Source::Text(text) => {
                let packed;
                let text = match item.role {
                    Role::Manual => {
                        packed = docs::gzip(text)?;
                        &packed
                    }
                    _ => text,
                };
                let mode = if item.role == Role::Command { 0o755 } else { 0o644 };
                builder.file(path, mode, text.len() as u64, &mut &text[..])?;
                self.list(path, &Sha256::digest(text), text.len() as u64);
                Ok(())
            }
            Source::Member(at) => self.write_member(builder, path, item.role, *at),
        }
    }

    fn write_member(
        &mut self,
        builder: &mut Builder<File>,
        path: &str,
        role: Role,
        at: usize,
    ) -> Result<()> {
        if role == Role::Manual {
            let packed = docs::gzip(&self.wheel.bytes(at, MANUAL_LIMIT)?)?;
            builder.file(path, 0o644, packed.len() as u64, &mut &packed[..])?;
            self.list(path, &Sha256::digest(&packed), packed.len() as u64);
            return Ok(());
        }
        let (size, executable) = (self.wheel.members[at].size, self.wheel.members[at].executable);
        let mut content = self.wheel.content(at)?;
        let mut head = Vec::with_capacity(HEAD);
        content.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
        let runs = role == Role::Command || executable;
        let name = path.rsplit('/').next().unwrap_or(path);

        if elf::is_elf(&head) {
            let held = Held::read(&mut head.chain(content.by_ref()), size, || {
                tempfile::tempfile_in(self.out)
            })?;
            let known = content.finish()?;
            // What is loaded is not run, and Debian gives it no permission for that (Policy 8.1).
            let library = name.ends_with(".so") || name.contains(".so.");
            let mode = if runs && !library { 0o755 } else { 0o644 };
            self.examine(path, name, &held);
            let edit = self.edit(path, &held);
            let (sha256, size) = write_elf(builder, (path, mode), &held, edit, known)?;
            self.list(path, &sha256, size);
            return Ok(());
        }

        self.overrides.start(path, &head);
        // A template of a script names what runs it when it is filled in: `#!<<PYTHON>>`.
        let script = script::has_shebang(&head)
            && (role == Role::Command || script::names_interpreter(&head));
        let mode = if runs && (script || role == Role::Command) { 0o755 } else { 0o644 };
        let mut new_size = size;
        let mut changed = false;
        if mode == 0o755
            && script
            && let Some((line, taken)) = script::shebang(&head)
        {
            new_size = size - taken as u64 + line.len() as u64;
            head.splice(..taken, line.into_bytes());
            changed = true;
        }
        if Overrides::may_be_template(path) && size <= TEMPLATE_LIMIT {
            content.by_ref().read_to_end(&mut head)?;
            self.overrides.template(path, &head);
        }
        if script && mode == 0o644 && path.starts_with(SITE) {
            self.overrides.read_only(path);
        }
        if role == Role::Command && !script {
            self.overrides.unsaid(path);
            self.warnings.push(format!("the command '{name}' does not say what runs it"));
        }
        let verified = !changed && content.has_sha256();
        let text = path.starts_with(SITE) && utf8::is_text(&head);
        let mut reader = Hashed {
            inner: head.chain(content.by_ref()),
            sha256: (!verified).then(Sha256::new),
            utf8: text.then(Utf8::default),
        };
        builder.file(path, mode, new_size, &mut reader)?;
        if reader.utf8.is_some_and(|utf8| !utf8.is_valid()) {
            self.overrides.encoding(path);
        }
        let computed = reader.sha256.map(|hash| hash.finalize().to_vec());
        let known = content.finish()?;
        self.list(path, &computed.or(known).unwrap_or_default(), new_size);
        Ok(())
    }

    /// Notes what an ELF file needs, if it is for the target.
    fn examine(&mut self, path: &str, name: &str, held: &Held) {
        match Elf::read(held) {
            Ok(elf) if elf.architecture == Some(&self.options.arch) => {
                self.native = true;
                self.numpy = self.numpy.max(numpy::compiled_for(held));
                self.needs.add(path, name, elf);
            }
            Ok(elf) => {
                let arch = elf.architecture.unwrap_or("another machine");
                self.notes.push(format!("'{path}' is for {arch}"));
            }
            // Test data of tools that read ELF; what cannot be read cannot be run either.
            Err(error) => self.warnings.push(format!("'{path}' is no whole ELF file: {error}")),
        }
    }

    /// What is changed of an ELF file.
    fn edit(&mut self, path: &str, held: &Held) -> Option<Edit> {
        let edit = match strip::plan(held, self.options.strip) {
            Ok(edit) => edit?,
            Err(error) => {
                self.notes.push(format!("'{path}' is not stripped: {error}"));
                return None;
            }
        };
        if edit.saved > 0 {
            self.notes.push(format!("'{path}' is stripped of {} bytes", edit.saved));
        }
        if let Some(folders) = &edit.unsearched {
            let folders = bk::sanitize(folders);
            self.notes
                .push(format!("'{path}' does not look for libraries in '{folders}' any more"));
        }
        Some(edit)
    }

    fn record_path(&self) -> String {
        format!("{SITE}/{}/RECORD", self.wheel.dist_info)
    }

    /// Notes a file for RECORD, which importlib.metadata reads: paths are from where modules are.
    fn list(&mut self, path: &str, sha256: &[u8], size: u64) {
        // The documents are Debian's, not the distribution's.
        if path.starts_with("usr/share/doc/") || path.starts_with("usr/share/lintian/") {
            return;
        }
        let relative = match path.strip_prefix(SITE).and_then(|p| p.strip_prefix('/')) {
            Some(inside) => inside.to_owned(),
            None => match path.strip_prefix("usr/") {
                Some(rest) => format!("../../../{rest}"),
                None => format!("../../../../{path}"),
            },
        };
        self.record.push_str(&record::line(&relative, sha256, size));
    }

    fn write_record(&mut self, builder: &mut Builder<File>) -> Result<()> {
        let own = record::quote(&format!("{}/RECORD", self.wheel.dist_info));
        let text = format!("{}{own},,\n", self.record);
        builder.file(&self.record_path(), 0o644, text.len() as u64, &mut text.as_bytes())
    }
}

/// Writes an ELF file, with an edit or as it is, and returns its size and its SHA-256, which is
/// `known` of what is written as it is.
fn write_elf(
    builder: &mut Builder<File>,
    (path, mode): (&str, u32),
    held: &Held,
    edit: Option<Edit>,
    known: Option<Vec<u8>>,
) -> Result<(Vec<u8>, u64)> {
    let edit = edit.unwrap_or_else(|| Edit::none(held));
    let known = known.filter(|_| edit.is_none());
    let sha256 = known.is_none().then(Sha256::new);
    let mut reader = Hashed { inner: edit.reader(held), sha256, utf8: None };
    builder.file(path, mode, edit.size, &mut reader)?;
    let computed = reader.sha256.map(|hash| hash.finalize().to_vec());
    Ok((computed.or(known).unwrap_or_default(), edit.size))
}

/// A reader that computes a hash on the way, if it is not known already, and looks whether text is
/// UTF-8.
struct Hashed<R> {
    inner: R,
    sha256: Option<Sha256>,
    utf8: Option<Utf8>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if let Some(hash) = &mut self.sha256 {
            hash.update(&buffer[..n]);
        }
        if let Some(utf8) = &mut self.utf8 {
            utf8.update(&buffer[..n]);
        }
        Ok(n)
    }
}

/// The files of the control archive but `control` and `md5sums`.
fn control_files(package: &str, plan: &Plan) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let conffiles = plan.items.iter().filter(|(_, item)| item.role == Role::Config);
    let conffiles: String = conffiles.map(|(path, _)| format!("/{path}\n")).collect();
    if !conffiles.is_empty() {
        files.insert("conffiles".into(), conffiles.into_bytes());
    }
    // Nothing to compile, nothing to say.
    if plan.items.keys().any(|path| path.starts_with(SITE) && path.ends_with(".py")) {
        files.insert("postinst".into(), control::postinst(package).into_bytes());
        files.insert("prerm".into(), control::prerm(package).into_bytes());
    }
    let folders = plan.own_folders();
    if !folders.is_empty() {
        files.insert("postrm".into(), control::postrm(package, &folders).into_bytes());
    }
    files
}
