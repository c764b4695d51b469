//! Other forms of what was built: source packages, what announces an upload, and one package of a
//! whole tree.

pub mod bundle;
pub mod changes;
pub mod source;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Context, Error, Result, Session, display, file};
use clap::Args;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use self::bundle::Bundle;
use crate::convert::Built;
use crate::debian::compression::Compression;
use crate::foreign;
use crate::pack::parts::Parts;
use crate::plan::Instruction;
use crate::record::{About, Package, Written};

/// What is made beside .debs, or in place of them.
#[derive(Args)]
#[command(next_help_heading = "Other forms")]
pub struct Forms {
    /// Put everything into one package of this name: an environment of its own in /opt/NAME, and
    /// links in /usr/bin to the commands of what is named
    #[arg(long, value_name = "NAME", conflicts_with_all = ["debian_dir", "rpm"])]
    bundle: Option<String>,
    /// A unit of systemd for the bundle to install, enable and start
    #[arg(long, value_name = "FILE", requires = "bundle")]
    unit: Vec<PathBuf>,
    /// A system user that the bundle makes for its units
    #[arg(long, value_name = "NAME", requires = "bundle")]
    user: Option<String>,
    /// Write source trees with a folder debian/ into DIR, for dpkg-buildpackage, and no .debs
    #[arg(long, value_name = "DIR", conflicts_with_all = ["source", "changes", "rpm"])]
    debian_dir: Option<PathBuf>,
    /// Also write source packages
    #[arg(long, conflicts_with = "rpm")]
    source: bool,
    /// Also write what dput uploads, .changes and .buildinfo; the .changes are printed
    #[arg(long, conflicts_with = "rpm")]
    changes: bool,
    /// Sign .dsc, .buildinfo and .changes with gpg, with its default key or KEY
    #[arg(long, value_name = "KEY", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    sign: Option<String>,
    /// Write .rpms, and no .debs
    #[arg(long)]
    rpm: bool,
}

/// A file that was written, of a kind that repositories take.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Announced<'a> {
    Dsc {
        #[serde(serialize_with = "bk::record::path")]
        path: &'a Path,
    },
    Changes {
        #[serde(serialize_with = "bk::record::path")]
        path: &'a Path,
    },
}

impl bk::record::Record for Announced<'_> {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        let (Announced::Dsc { path } | Announced::Changes { path }) = self;
        std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).into()
    }
}

impl Forms {
    /// Whether the .debs are not what is asked for, but what it is made of.
    pub fn instead(&self) -> bool {
        self.bundle.is_some() || self.debian_dir.is_some() || self.rpm
    }

    /// Whether their dependencies are to be in them too.
    pub fn is_whole(&self) -> bool {
        self.bundle.is_some()
    }

    /// Refuses what has no meaning.
    pub fn check(&self) -> Result<()> {
        if self.sign.is_some() && !self.source && !self.changes {
            return Err(Error::new("there is nothing to sign")
                .hint("--sign is for --source and --changes; a repository signs its packages")
                .status(bk::Status::Usage));
        }
        Ok(())
    }

    /// Makes what is asked for in place of the .debs, in `out`. `roots` were named; `reused` tells
    /// whether the distribution has a part of it.
    pub fn replace(
        &self,
        built: &[(&Instruction, Built, bool)],
        roots: &[String],
        reused: bool,
        out: &Path,
        compression: Option<Compression>,
        session: &mut Session,
    ) -> Result<()> {
        let epoch = session.epoch.and_then(|seconds| seconds.try_into().ok());
        if let Some(name) = &self.bundle {
            let packages = built.iter().map(|(_, b, _)| foreign::of_deb(&b.path));
            let packages = packages.collect::<Result<Vec<_>>>()?;
            let Some((first, ..)) = built.iter().find(|(i, ..)| roots.contains(&i.package)) else {
                return Err(Error::new("nothing of what was named is there to bundle"));
            };
            let bundle = Bundle {
                name,
                python: first.options.python,
                roots,
                units: &self.unit,
                user: self.user.as_deref(),
                with_system: reused,
            };
            let failed = || format!("cannot bundle '{}'", bk::sanitize(name));
            let mut parts = bundle.parts(&first.package, packages).context(failed)?;
            parts.complete().context(failed)?;
            return write(
                parts,
                out,
                compression.unwrap_or(first.options.compression),
                epoch,
                session,
            );
        }
        let names: Vec<String> = built.iter().map(|(i, ..)| i.package.clone()).collect();
        for (instruction, deb, _) in built {
            if let Some(dir) = &self.debian_dir {
                let parts = foreign::of_deb(&deb.path)?;
                let tree = source::tree(&parts, dir)?;
                session.out.record(&Written::Dir { path: &tree.path })?;
                continue;
            }
            file::create_dir(out)?;
            let python = instruction.options.python;
            let made = foreign::rpm_of(&deb.path, out, &names, python, epoch, &session.console)?;
            let size = made.path.metadata().ok().map(|m| m.len());
            session.out.record(&Package::Rpm(About {
                path: &made.path,
                package: &made.package,
                version: &made.version,
                architecture: &made.architecture,
                size,
            }))?;
        }
        Ok(())
    }

    /// Makes what is asked for beside a .deb; whether that is told in place of it.
    pub fn add(
        &self,
        instruction: &Instruction,
        deb: &Built,
        session: &mut Session,
    ) -> Result<bool> {
        if !self.source && !self.changes {
            return Ok(false);
        }
        let parts = foreign::of_deb(&deb.path)?;
        let out = deb.path.parent().unwrap_or(Path::new("."));
        let key = self.sign.as_deref();
        let mut files = Vec::new();
        if self.source {
            let temporary = file::TempDir::new_in(out)?;
            let tree = source::tree(&parts, temporary.path())?;
            for path in tree.package(key, &session.console)? {
                let to = beside(&deb.path, &path.file_name().map(display).unwrap_or_default());
                std::fs::rename(&path, &to)
                    .context(|| format!("cannot write '{}'", display(&to)))?;
                files.push(to);
            }
        }
        if !self.changes {
            if let Some(path) = files.first() {
                session.out.record(&Announced::Dsc { path })?;
            }
            return Ok(false);
        }
        let wheel = crate::fetch::path_of(&instruction.wheel.url);
        let sha256 = match (&instruction.wheel.sha256, wheel) {
            (Some(sha256), _) => Some(sha256.clone()),
            (None, Some(path)) => Some(crate::supply::sha256(&path)?),
            (None, None) => None,
        };
        let upload = changes::Upload {
            deb: &deb.path,
            paragraph: &parts.paragraph,
            source: files,
            distribution: &instruction.options.distribution,
            changes: &crate::convert::docs::change(&instruction.name, &instruction.python_version),
            time: parts.entries.iter().map(|(e, _)| e.attributes.mtime).max().unwrap_or(0),
            made_of: sha256.map(|sha256| (instruction.wheel.name.clone(), sha256)),
        };
        let path = upload.write(key, &session.console)?;
        session.out.record(&Announced::Changes { path: &path })?;
        Ok(true)
    }
}

fn write(
    parts: Parts,
    out: &Path,
    compression: Compression,
    epoch: Option<u64>,
    session: &mut Session,
) -> Result<()> {
    let get = |field: &str| parts.paragraph.get(field).unwrap_or_default().to_owned();
    let (package, version, architecture) = (get("Package"), get("Version"), get("Architecture"));
    let (path, size) = parts.write(out, compression, epoch)?;
    session.out.record(&Package::Deb(About {
        path: &path,
        package: &package,
        version: &version,
        architecture: &architecture,
        size: Some(size),
    }))
}

/// A file with the sums that Debian's control files list.
#[derive(Clone, Debug)]
pub struct Summed {
    /// Its name.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// In hexadecimal.
    pub md5: String,
    /// In hexadecimal.
    pub sha1: String,
    /// In hexadecimal.
    pub sha256: String,
}

impl Summed {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = || format!("cannot read '{}'", display(path));
        let mut file = File::open(path).context(failed)?;
        let (mut md5, mut sha1, mut sha256) = (Md5::new(), Sha1::new(), Sha256::new());
        let (mut size, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            let n = file.read(&mut buffer).context(failed)?;
            if n == 0 {
                break;
            }
            size += n as u64;
            md5.update(&buffer[..n]);
            sha1.update(&buffer[..n]);
            sha256.update(&buffer[..n]);
        }
        Ok(Summed {
            name: path.file_name().map(display).unwrap_or_default(),
            size,
            md5: format!("{:x}", md5.finalize()),
            sha1: format!("{:x}", sha1.finalize()),
            sha256: format!("{:x}", sha256.finalize()),
        })
    }

    /// The field `Checksums-Sha1` (Policy 5.6.24).
    pub fn sha1_field(all: &[Summed]) -> String {
        all.iter().map(|f| format!("\n {} {} {}", f.sha1, f.size, f.name)).collect()
    }

    /// The field `Checksums-Sha256`.
    pub fn sha256_field(all: &[Summed]) -> String {
        all.iter().map(|f| format!("\n {} {} {}", f.sha256, f.size, f.name)).collect()
    }
}

/// Signs a control file where it is, as debsign(1) does: gpg makes it cleartext, so that keys stay
/// where they are, with the agent or on a card.
pub fn sign(path: &Path, key: &str, console: &Console) -> Result<()> {
    let failed = || format!("cannot sign '{}'", display(path));
    let text = file::read(path, 64 << 20).context(failed)?;
    let mut gpg = Cmd::new("gpg", console).args(["--batch", "--clearsign", "--openpgp", "-o", "-"]);
    if !key.is_empty() {
        gpg = gpg.args(["--local-user", key]);
    }
    let signed = gpg.output_with(&text).context(failed)?;
    file::write(path, signed)
}

/// A path beside another.
pub(crate) fn beside(path: &Path, name: &str) -> PathBuf {
    path.with_file_name(name)
}
