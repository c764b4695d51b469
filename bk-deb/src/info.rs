//! `bk-deb info`: the control files of packages.

use std::borrow::Cow;
use std::path::PathBuf;

use bk::record::{Format, Record};
use bk::{Result, Session, Status};
use clap::Args;
use serde::Serialize;
use serde::ser::SerializeMap;

use crate::debian::control::Paragraph;
use crate::debian::deb::Deb;

/// Print the control fields of packages, a paragraph each
///
/// The paragraphs are those of a Packages index without its hashes: `grep-dctrl` reads them.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-deb info debs/*.deb
      The control fields of each, a paragraph a package.
  bk-deb info -f Package -f Version debs/*.deb
      Name and version, a line a package.
  bk-deb info debs/*.deb | grep-dctrl -F Depends python3-click -s Package
      Which of them need click.

Exit status:
  0   every package was read
  1   some file is no package; all others were read
  2   the command line or the configuration is wrong
")]
pub struct Info {
    /// A .deb, or `-` for those named on stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the value of this field only, a line a package; twice: tab separated
    #[arg(short, long = "field", value_name = "FIELD")]
    fields: Vec<String>,
}

impl Info {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let mut status = Status::Done;
        let mut first = true;
        for path in session.inputs(&self.files) {
            match path.and_then(|path| Ok((Deb::open(&path)?.control()?.paragraph, path))) {
                Err(error) => {
                    session.console.error(&error);
                    status = Status::Failed;
                }
                Ok((paragraph, path)) if session.out.format() == Format::Json => {
                    session.out.record(&Fields { path, paragraph, wanted: &self.fields })?;
                }
                Ok((paragraph, path)) if !self.fields.is_empty() => {
                    session.out.record(&Fields { path, paragraph, wanted: &self.fields })?;
                }
                Ok((paragraph, _)) => {
                    let separator = if first { "" } else { "\n" };
                    session.out.raw(format!("{separator}{paragraph}"))?;
                    first = false;
                }
            }
        }
        Ok(status)
    }
}

/// The fields of one package.
struct Fields<'a> {
    path: PathBuf,
    paragraph: Paragraph,
    /// None: all.
    wanted: &'a [String],
}

impl Record for Fields<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let value = |name: &String| {
            let value = self.paragraph.get(name).unwrap_or_default();
            value.lines().map(str::trim).collect::<Vec<_>>().join(" ")
        };
        self.wanted.iter().map(value).collect::<Vec<_>>().join("\t").into_bytes().into()
    }
}

/// `{"type":"deb","path":…,"package":…,"installed_size":…}`: a key a field.
impl Serialize for Fields<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Path<'a>(&'a std::path::Path);
        impl Serialize for Path<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                bk::record::path(self.0, serializer)
            }
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "deb")?;
        map.serialize_entry("path", &Path(&self.path))?;
        for (name, value) in self.paragraph.iter() {
            let wanted = |w: &String| w.eq_ignore_ascii_case(name);
            if self.wanted.is_empty() || self.wanted.iter().any(wanted) {
                map.serialize_entry(&name.to_lowercase().replace('-', "_"), value)?;
            }
        }
        map.end()
    }
}
