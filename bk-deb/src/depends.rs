//! `bk-deb depends`: what Python requirements are as relations between Debian packages.

use bk::record::Record;
use bk::{Result, Session, Status};
use pep440_rs::VersionSpecifiers;
use pep508_rs::VersionOrUrl;
use serde::Serialize;

use crate::distro::{Distro, Selection};
use crate::fetch::Fetch;
use crate::mapping::name::{self, Names};
use crate::mapping::relation::relations;
use crate::python::requirement::requirement;
use crate::target::{Target, own_arch};

/// Print what Python requirements (PEP 508) are as relations between Debian packages
///
/// A line each; empty where a marker does not hold for the target. Names are those of the suite:
/// PyYAML is python3-yaml.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-deb depends 'PyYAML>=5' 'numpy<2'
      On Debian 12 prints: python3-yaml (>= 5), and python3-numpy (<< 1:2~).
  bk-deb depends - < requirements.txt
      A line for each line.

Exit status:
  0   every requirement was mapped
  1   some text was no requirement; all others were mapped
  2   the command line or the configuration is wrong
  75  the network did not answer; try again
")]
pub struct Depends {
    /// Requirements; `-` reads them from stdin
    #[arg(required = true, value_name = "REQUIREMENT")]
    requirements: Vec<std::path::PathBuf>,
    /// The suite that names and markers are for; this system's if not given
    #[arg(long)]
    suite: Option<String>,
    /// The archive that has the suite; what apt uses if not given
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// The version of Python; the suite's own if not given
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// The Debian architecture; this machine's if not given
    #[arg(long)]
    arch: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "depends")]
struct Mapped {
    requirement: String,
    depends: Vec<String>,
}

impl Record for Mapped {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        self.depends.join(", ").into_bytes().into()
    }
}

impl Depends {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let console = session.console.clone();
        let arch = self.arch.clone().unwrap_or_else(|| own_arch().to_owned());
        let selection = Selection { suite: self.suite, mirror: self.mirror, arch: arch.clone() };
        let cache = session.dirs.cache.join("deb/distro");
        let distro = Distro::load(&selection, &cache, &Fetch::new(&console, false), &console)?;
        let target = Target::new(&distro, &arch, self.python.as_deref())?;
        let mut status = Status::Done;
        for text in session.inputs(&self.requirements) {
            let text = bk::display(text?);
            let requirement = match requirement(&text) {
                Ok(requirement) => requirement,
                Err(error) => {
                    console.error(&error);
                    status = Status::Failed;
                    continue;
                }
            };
            let mut depends = Vec::new();
            if requirement.evaluate_markers(target.markers(), &[]) {
                let specifiers = match &requirement.version_or_url {
                    Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers.clone(),
                    _ => VersionSpecifiers::empty(),
                };
                let package = distro.package(&requirement.name);
                let epoch = distro.epoch(&package);
                depends = relations(&package, &specifiers, epoch, None);
                for extra in &requirement.extras {
                    let package = name::extra(&package, extra.as_ref());
                    depends.extend(relations(&package, &specifiers, epoch, None));
                }
            }
            session.out.record(&Mapped { requirement: requirement.to_string(), depends })?;
        }
        Ok(status)
    }
}
