//! `bk-deb convert`: packages of other systems become .debs, and .debs theirs.

mod header;
mod rpm;
mod script;
mod tgz;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bk::{Console, Context, Error, Result, Session, Status, display, sanitize};
use clap::{Args, ValueEnum};

use crate::debian::compression::Compression;
use crate::debian::control::Paragraph;
use crate::debian::deb::Deb;
use crate::extract::of_tar;
use crate::missing;
use crate::pack::parts::Parts;
use crate::record::{About, Package};
use crate::tree::{Content, Entry, Kind};

/// What a package may unpack to, in bytes; the largest in Debian 12 has 5 GiB.
const SIZE_LIMIT: u64 = 16 << 30;
/// How many files it may have: ten times what the largest of Debian 12 has.
const FILES_LIMIT: usize = 1 << 20;

/// Convert .rpm and .tgz to .deb, and .deb to these
///
/// Maintainer scripts are carried over, called as they would be on their own system. What cannot be
/// carried (triggers, scripts of rpm's own Lua, questions of debconf) is refused, unless
/// --drop-scripts leaves all scripts out. Dependencies on shared libraries are found anew; those on
/// packages have other names on other systems, and are left out and told, except between packages
/// that are converted together.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-deb convert tool-1.2-1.x86_64.rpm
      Writes tool_1.2-1_amd64.deb.
  bk-deb convert --to rpm -o rpms debs/*.deb
      Packages for rpm, with the dependencies among them.
  bk-deb convert tool-1.2.tgz --maintainer 'A <a@example.com>'
      A tree of files; the name and the version are those of the file.

Exit status:
  0   everything was converted
  1   some could not be; all others were
  2   the command line or the configuration is wrong
")]
pub struct Convert {
    /// An .rpm, .tgz or .deb, or `-` for those named on stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What to make: a .deb of anything else if not given
    #[arg(long, value_name = "FORMAT", default_value = "deb")]
    to: Format,
    /// Where the packages go
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Who maintains them, `Name <email>`; the packager if not given
    #[arg(long, value_name = "NAME <EMAIL>")]
    maintainer: Option<String>,
    /// The architecture of a .tgz
    #[arg(long, default_value = "all")]
    arch: String,
    /// Leave the maintainer scripts out
    #[arg(long)]
    drop_scripts: bool,
    /// How .debs are compressed: gzip, xz, zstd, with a level as in `zstd:19`
    #[arg(long, value_name = "METHOD", default_value = "xz")]
    compression: Compression,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// A kind of package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For dpkg
    Deb,
    /// For rpm
    Rpm,
    /// A compressed tar archive of the files
    Tgz,
}

/// A package that was written.
pub struct Made {
    /// Its file.
    pub path: PathBuf,
    /// Its name there.
    pub package: String,
    /// Its version there.
    pub version: String,
    /// Its architecture there.
    pub architecture: String,
}

impl Convert {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let mut status = Status::Done;
        let mut all = Vec::new();
        for path in session.inputs(&self.files) {
            let read = path.and_then(|path| {
                let read = self.read(&path, &session.console);
                read.context(|| format!("cannot convert '{}'", display(&path)))
                    .map(|parts| (path, parts))
            });
            match read {
                Ok(found) => all.push(found),
                Err(error) => {
                    session.console.error(&error);
                    status = Status::Failed;
                }
            }
        }
        let names: Vec<String> =
            all.iter().filter_map(|(_, p)| p.paragraph.get("Package").map(str::to_owned)).collect();
        let epoch = session.epoch.and_then(|seconds| seconds.try_into().ok());
        for (path, parts) in all {
            let made = self
                .write(parts, &names, epoch, &session.console)
                .context(|| format!("cannot convert '{}'", display(&path)));
            match made {
                Ok(made) => self.tell(&made, session)?,
                Err(error) => {
                    session.console.error(&error);
                    status = Status::Failed;
                }
            }
        }
        Ok(status)
    }

    fn tell(&self, made: &Made, session: &mut Session) -> Result<()> {
        let size = std::fs::metadata(&made.path).ok().map(|m| m.len()).filter(|_| !self.dry_run);
        let about = About {
            path: &made.path,
            package: &made.package,
            version: &made.version,
            architecture: &made.architecture,
            size,
        };
        session.out.record(&match self.to {
            Format::Deb => Package::Deb(about),
            Format::Rpm => Package::Rpm(about),
            Format::Tgz => Package::Tgz(about),
        })
    }

    fn read(&self, path: &Path, console: &Console) -> Result<Parts> {
        let mut file = missing::open(path, "name an .rpm, a .tgz or a .deb")?;
        let mut head = Vec::new();
        (&file).take(8).read_to_end(&mut head)?;
        file.rewind()?;
        let is_deb = head.starts_with(b"!<arch>\n");
        if is_deb != (self.to != Format::Deb) {
            let what = if is_deb { "it is a .deb already" } else { "it is no .deb" };
            return Err(Error::new(what)
                .hint("--to rpm and --to tgz take .debs, --to deb takes the others"));
        }
        let mut parts = if is_deb {
            of_deb(path)?
        } else if head.starts_with(&rpm::MAGIC) {
            rpm::read(file, self.drop_scripts)?
        } else {
            tgz::read(path, file, &self.arch, self.drop_scripts)?
        };
        if let Some(maintainer) = &self.maintainer {
            parts.paragraph.set("Maintainer", maintainer);
        }
        if parts.paragraph.get("Maintainer").is_none_or(|m| !m.contains('@')) {
            return Err(Error::new("it does not say who maintains it")
                .hint("say it with --maintainer 'Name <email>'"));
        }
        for note in std::mem::take(&mut parts.notes) {
            console.note(&format!("{}: {note}", display(path)));
        }
        Ok(parts)
    }

    fn write(
        &self,
        mut parts: Parts,
        together: &[String],
        epoch: Option<u64>,
        console: &Console,
    ) -> Result<Made> {
        let out = (!self.dry_run).then_some(self.output.as_path());
        if let Some(out) = out {
            bk::file::create_dir(out)?;
        }
        match self.to {
            Format::Rpm => {
                rpm::write(&parts, &self.output, out, together, self.drop_scripts, epoch, console)
            }
            Format::Tgz => tgz::write(&parts, &self.output, out, self.drop_scripts, epoch),
            Format::Deb => {
                let arch = parts.paragraph.get("Architecture").unwrap_or_default();
                match crate::pack::libraries(&parts.entries, arch) {
                    Ok(relations) if relations.is_empty() => {}
                    Ok(relations) => parts.paragraph.set("Depends", relations.join(", ")),
                    Err(error) => {
                        console.warn(&format!("not all libraries are depended on: {error}"))
                    }
                }
                if let Some(description) = parts.paragraph.remove("Description") {
                    parts.paragraph.set("Description", description);
                }
                parts.complete()?;
                let get = |field: &str| parts.paragraph.get(field).unwrap_or_default().to_owned();
                let (package, version, architecture) =
                    (get("Package"), get("Version"), get("Architecture"));
                let path = match out {
                    None => self.output.join(parts.file_name()?),
                    Some(out) => parts.write(out, self.compression, epoch)?.0,
                };
                Ok(Made { path, package, version, architecture })
            }
        }
    }
}

/// Makes an .rpm of a .deb of Python's, in the folder `out`. `together` are the packages whose
/// names mean the same there. Modules go where the systems that have rpm look for them.
pub fn rpm_of(
    deb: &Path,
    out: &Path,
    together: &[String],
    (major, minor): (u32, u32),
    epoch: Option<u64>,
    console: &Console,
) -> Result<Made> {
    let failed = || format!("cannot make an .rpm of '{}'", display(deb));
    let mut parts = of_deb(deb).context(failed)?;
    // Their Python is not built from /usr/lib/python3, and compiled modules of theirs may stay.
    for script in ["postinst", "prerm", "postrm"] {
        parts.files.remove(script);
    }
    let native = parts.paragraph.get("Architecture") != Some("all");
    let lib = if native { "lib64" } else { "lib" };
    let site = format!("usr/{lib}/python{major}.{minor}/site-packages");
    for (entry, _) in &mut parts.entries {
        let moved = entry
            .path
            .strip_prefix(crate::convert::layout::SITE)
            .map(|rest| format!("{site}{rest}"));
        match moved {
            Some(path) => entry.path = path,
            None if entry.path == "usr/lib/python3" => {
                entry.path = format!("usr/{lib}/python{major}.{minor}")
            }
            None => {}
        }
    }
    parts.entries.retain(|(entry, _)| !entry.path.starts_with("usr/share/lintian"));
    rpm::write(&parts, out, Some(out), together, false, epoch, console).context(failed)
}

/// Holds what is unpacked in one file without a name.
struct Spool {
    file: File,
    at: u64,
    entries: Vec<(Entry, Content)>,
    parts: Vec<Option<(u64, u64)>>,
}

impl Spool {
    fn new() -> Result<Self> {
        let file = tempfile::tempfile().context(|| "cannot make a temporary file".into())?;
        Ok(Spool { file, at: 0, entries: Vec::new(), parts: Vec::new() })
    }

    /// Takes in an entry; the root itself is none.
    fn add(&mut self, entry: Entry, content: &mut dyn Read) -> Result<()> {
        if entry.path.is_empty() {
            return Ok(());
        }
        if self.entries.len() == FILES_LIMIT {
            return Err(Error::new(format!("it has more than {FILES_LIMIT} files")));
        }
        let mut part = None;
        if let Kind::File(size) = entry.kind {
            let copied = io::copy(&mut content.take(size), &mut self.file)?;
            if copied < size {
                let path = sanitize(&entry.path);
                return Err(Error::new(format!("'/{path}' is {} bytes short", size - copied)));
            }
            part = Some((self.at, size));
            self.at += size;
            if self.at > SIZE_LIMIT {
                return Err(Error::new(format!("it unpacks to more than {SIZE_LIMIT} bytes")));
            }
        }
        self.parts.push(part);
        self.entries.push((entry, Content::Bytes(Vec::new())));
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<(Entry, Content)>> {
        self.file.flush()?;
        let file = Arc::new(self.file);
        for ((_, content), part) in self.entries.iter_mut().zip(self.parts) {
            if let Some((at, size)) = part {
                *content = Content::Part(Arc::clone(&file), at, size);
            }
        }
        Ok(self.entries)
    }
}

/// The parts of a .deb.
pub fn of_deb(path: &Path) -> Result<Parts> {
    let mut deb = Deb::open(path)?;
    let control = deb.control()?;
    let conffiles = control.files.get("conffiles").map(|c| String::from_utf8_lossy(c).into_owned());
    let conffiles: Vec<&str> = conffiles.iter().flat_map(|text| text.lines()).collect();
    let mut spool = Spool::new()?;
    deb.data(|tar| {
        let mut entry = of_tar(tar)?;
        entry.config = conffiles.iter().any(|c| c.trim_start_matches('/') == entry.path);
        spool.add(entry, tar)
    })?;
    Ok(Parts {
        paragraph: control.paragraph,
        files: control.files,
        entries: spool.finish()?,
        ..Parts::default()
    })
}

/// The rest of a control file that other systems do not have.
fn fields(paragraph: &mut Paragraph) {
    paragraph.set("Section", "misc");
    paragraph.set("Priority", "optional");
}

/// What a package's name may be in Debian (Policy 5.6.1).
fn debian_name(name: &str) -> String {
    let lower = name.to_lowercase();
    let fit = |c: char| {
        if c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c) { c } else { '-' }
    };
    lower.chars().map(fit).collect()
}
