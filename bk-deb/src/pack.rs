//! `bk-deb pack`: a tree or a description becomes a package.

pub mod description;
pub mod manifest;
pub mod parts;
pub mod scripts;
pub mod template;
mod tree;

use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, Session, Status, display};
use clap::Args;

use self::description::Target;
use self::parts::Parts;
use self::template::{Define, Values};
use crate::convert::libraries::Needs;
use crate::debian::compression::Compression;
use crate::distro::shlibs::Installed;
use crate::elf::{Elf, Held, is_elf};
use crate::missing;
use crate::record::{About, Package};
use crate::target::own_arch;
use crate::tree::{Content, Entry, Kind};

/// Pack a tree, or what a description names, into a package
///
/// Three things can be packed. A tree with DEBIAN/control, as dpkg-deb takes it; files of DEBIAN that
/// end with .template are filled in first. A project with a folder debian/: its control, changelog,
/// install, links, docs, maintainer scripts and units are used, its rules are not run. A file of
/// YAML with nfpm's keys, or a folder with nfpm.yaml in it.
///
/// All files are root's unless the description says otherwise, files below /etc are configuration
/// files, and units of systemd and users get the code that debhelper would write for them.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-deb pack tree -D version=1.2 -o debs
      tree/DEBIAN/control.template has 'Version: {{ version }}'.
  bk-deb pack . -o debs
      The binary packages that debian/ describes.
  bk-deb pack nfpm.yaml -D VERSION=1.2 | bk-repo add /srv/apt -
      A description with 'version: ${VERSION}', packed and published.

Exit status:
  0   every package was written
  1   one could not be packed
  2   the command line or the description is wrong
")]
pub struct Pack {
    /// A tree with DEBIAN/control, a folder with debian/ or nfpm.yaml, a file of YAML
    #[arg(value_name = "DIR|FILE")]
    what: PathBuf,
    /// Where the .debs go
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// A value for templates, and for ${NAME} in a file of YAML
    #[arg(short = 'D', long = "define", value_name = "NAME=VALUE")]
    define: Vec<Define>,
    /// Of the packages of debian/, only this one
    #[arg(long, value_name = "NAME")]
    package: Vec<String>,
    /// The Debian architecture of packages for any; this machine's if not given
    #[arg(long)]
    arch: Option<String>,
    /// How the .deb is compressed: gzip, xz, zstd, with a level as in `zstd:19`
    #[arg(long, value_name = "METHOD", default_value = "xz")]
    compression: Compression,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Pack {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let failed = || format!("cannot pack '{}'", display(&self.what));
        let epoch = session.epoch.and_then(|seconds| seconds.try_into().ok());
        for mut parts in self.parts().context(failed)? {
            parts.complete().context(failed)?;
            for note in std::mem::take(&mut parts.notes) {
                session.console.note(&note);
            }
            let get = |field: &str| parts.paragraph.get(field).unwrap_or_default().to_owned();
            let (package, version, architecture) =
                (get("Package"), get("Version"), get("Architecture"));
            let (path, size) = match self.dry_run {
                true => (self.output.join(parts.file_name()?), None),
                false => {
                    let (path, size) =
                        parts.write(&self.output, self.compression, epoch).context(failed)?;
                    (path, Some(size))
                }
            };
            session.out.record(&Package::Deb(About {
                path: &path,
                package: &package,
                version: &version,
                architecture: &architecture,
                size,
            }))?;
        }
        Ok(Status::Done)
    }

    fn parts(&self) -> Result<Vec<Parts>> {
        let values = Values::new(&self.define);
        let arch = self.arch.as_deref().unwrap_or_else(|| own_arch());
        let what = self.what.as_path();
        const SHAPES: &str = "name a folder with DEBIAN/control, debian/control or nfpm.yaml in it, or \
                              a file of YAML";
        if let Some(hint) = missing::hint(what, SHAPES) {
            return Err(Error::new("no such file or folder").hint(hint).status(Status::Usage));
        }
        if what.is_file() {
            return Ok(vec![manifest::read(what, &values)?]);
        }
        if what.join("DEBIAN").is_dir() {
            return Ok(vec![tree::read(what, &values)?]);
        }
        if what.join("debian/control").is_file() {
            let libraries = |entries: &[(Entry, Content)]| libraries(entries, arch);
            return description::read(what, &self.package, &Target { arch, libraries: &libraries });
        }
        for name in ["nfpm.yaml", "nfpm.yml"] {
            if what.join(name).is_file() {
                return Ok(vec![manifest::read(&what.join(name), &values)?]);
            }
        }
        Err(Error::new("it has no DEBIAN/control, debian/control or nfpm.yaml")
            .hint("write one of these, or name a file of YAML")
            .status(Status::Usage))
    }
}

/// What dpkg-shlibdeps(1) would say of these files, with what is installed here.
pub(crate) fn libraries(entries: &[(Entry, Content)], arch: &str) -> Result<Vec<String>> {
    let mut needs = Needs::default();
    for (entry, content) in entries {
        let Kind::File(size) = entry.kind else { continue };
        let failed = || format!("cannot read '/{}'", entry.path);
        let mut reader = content.open()?;
        let mut head = [0; 64];
        let n = reader.read(&mut head).context(failed)?;
        if !is_elf(&head[..n]) {
            continue;
        }
        let held =
            Held::read(&mut std::io::Read::chain(&head[..n], reader), size, tempfile::tempfile);
        if let Ok(elf) = Elf::read(&held.context(failed)?)
            && elf.architecture == Some(arch)
        {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            needs.add(&entry.path, name, elf);
        }
    }
    let installed = Installed::new(Path::new("/var/lib/dpkg/info"), arch)?;
    let (relations, unknown) = needs.resolve(&installed)?;
    match unknown.first() {
        None => Ok(relations),
        Some(soname) => Err(Error::new(format!("no installed package has '{soname}'"))
            .hint("install what the programs were linked with")),
    }
}
