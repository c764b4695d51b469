//! A package before it is written: its control file, its scripts and its files, checked as a whole.

use std::collections::BTreeMap;
use std::io::Seek;
use std::path::{Path, PathBuf};

use bk::file::{self, AtomicFile};
use bk::{Context, Error, Result, display, sanitize};

use super::scripts::Services;
use crate::debian::compression::Compression;
use crate::debian::control::Paragraph;
use crate::debian::deb::{Builder, Control};
use crate::debian::version::Version;
use crate::tree::{Content, Entry, Kind};

/// A package before it is written.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The control file.
    pub paragraph: Paragraph,
    /// The other files of the control archive: maintainer scripts, `conffiles`, `triggers`, …
    pub files: BTreeMap<String, Vec<u8>>,
    /// What it installs, sorted by path.
    pub entries: Vec<(Entry, Content)>,
    /// Users and units, whose code goes into the scripts.
    pub services: Services,
    /// What someone should know.
    pub notes: Vec<String>,
}

/// Of the names of one file the first in the order of paths becomes the file, since the others can
/// only be unpacked after it.
fn first_names_first(entries: &mut [(Entry, Content)]) {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for (entry, _) in entries.iter() {
        if let Kind::Hardlink(target) = &entry.kind {
            let name = first.entry(target.clone()).or_insert_with(|| target.clone());
            if entry.path < *name {
                name.clone_from(&entry.path);
            }
        }
    }
    for (entry, _) in entries.iter_mut() {
        let target = match &entry.kind {
            Kind::Hardlink(target) => target,
            Kind::File(_) => &entry.path,
            _ => continue,
        };
        let Some(name) = first.get(target).cloned() else { continue };
        if *target != name {
            // The names change places: what is said of them is said of the file.
            if entry.path == name {
                entry.path = target.clone();
            } else if matches!(entry.kind, Kind::File(_)) {
                entry.path = name.clone();
            }
            if matches!(entry.kind, Kind::Hardlink(_)) {
                entry.kind = Kind::Hardlink(name);
            }
        }
    }
}

impl Parts {
    /// Makes it whole: `conffiles` and `Installed-Size` where they are missing, scripts; and refuses
    /// what dpkg would.
    pub fn complete(&mut self) -> Result<()> {
        first_names_first(&mut self.entries);
        self.entries.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        if let Some(pair) = self.entries.windows(2).find(|pair| pair[0].0.path == pair[1].0.path) {
            return Err(Error::new(format!(
                "two of its files are '/{}'",
                sanitize(&pair[0].0.path)
            )));
        }
        if !self.services.users.is_empty() {
            let depends = self.paragraph.get("Depends").unwrap_or_default();
            let there =
                depends.split([',', '|']).any(|d| d.split_whitespace().next() == Some("adduser"));
            if !there {
                let comma = if depends.is_empty() { "" } else { ", " };
                let depends = format!("{depends}{comma}adduser");
                self.paragraph.set("Depends", depends);
            }
        }
        self.services.weave(&mut self.files)?;
        self.conffiles()?;
        self.fields()
    }

    fn fields(&self) -> Result<()> {
        let name = self.paragraph.require("Package")?;
        crate::convert::control::check_name(name)?;
        Version::parse(self.paragraph.require("Version")?)?;
        let architecture = self.paragraph.require("Architecture")?;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !architecture.chars().all(good) || ["any", "source"].contains(&architecture) {
            return Err(Error::new(format!(
                "'{}' is no architecture of a binary package",
                sanitize(architecture)
            ))
            .hint("use 'all', or one as dpkg-architecture -L lists them"));
        }
        for field in ["Maintainer", "Description"] {
            self.paragraph.require(field)?;
        }
        Ok(())
    }

    /// Files below /etc are configuration (Policy 10.7.2), unless the author said which are.
    fn conffiles(&mut self) -> Result<()> {
        let is_file = |path: &str| {
            let path = path.trim_start_matches('/');
            let found = self.entries.binary_search_by(|(entry, _)| entry.path.as_str().cmp(path));
            found.is_ok_and(|at| matches!(self.entries[at].0.kind, Kind::File(_)))
        };
        if let Some(given) = self.files.get("conffiles") {
            let given = String::from_utf8_lossy(given).into_owned();
            // `remove-on-upgrade PATH` names what is not there any more (deb-conffiles(5)).
            let missing = given.lines().map(str::trim).find(|line| {
                !line.is_empty() && !line.starts_with("remove-on-upgrade ") && !is_file(line)
            });
            return match missing {
                Some(path) => Err(Error::new(format!(
                    "conffiles names '{}', which is no file of the package",
                    sanitize(path)
                ))),
                None => Ok(()),
            };
        }
        let config = |(entry, _): &&(Entry, Content)| {
            (entry.config || entry.path.starts_with("etc/")) && matches!(entry.kind, Kind::File(_))
        };
        let lines: String = self
            .entries
            .iter()
            .filter(config)
            .map(|(entry, _)| format!("/{}\n", entry.path))
            .collect();
        if !lines.is_empty() {
            self.files.insert("conffiles".into(), lines.into_bytes());
        }
        Ok(())
    }

    /// The file it will be: `NAME_VERSION_ARCHITECTURE.deb`.
    pub fn file_name(&self) -> Result<String> {
        let get = |field: &str| self.paragraph.require(field);
        let version = Version::parse(get("Version")?)?;
        let (name, version) = (get("Package")?, version.without_epoch().to_owned());
        Ok(format!("{name}_{version}_{}.deb", get("Architecture")?))
    }

    /// Writes it into the folder `out`; its path and size. No time in it is later than `epoch`
    /// (`SOURCE_DATE_EPOCH`), as dpkg-deb(1) has it.
    pub fn write(
        mut self,
        out: &Path,
        compression: Compression,
        epoch: Option<u64>,
    ) -> Result<(PathBuf, u64)> {
        let path = out.join(self.file_name()?);
        file::create_dir(out)?;
        let newest = self.entries.iter().map(|(entry, _)| entry.attributes.mtime).max();
        let mtime = epoch.or(newest).unwrap_or(0);
        let scratch = tempfile::tempfile_in(out)
            .context(|| format!("cannot write into '{}'", display(out)))?;
        let mut builder = Builder::new(scratch, compression, mtime)?;
        for (entry, content) in &mut self.entries {
            let attributes = &mut entry.attributes;
            attributes.mtime = attributes.mtime.min(epoch.unwrap_or(u64::MAX));
            builder.add(&entry.path, attributes, &entry.kind, &mut content.open()?)?;
        }
        if self.paragraph.get("Installed-Size").is_none() {
            self.paragraph.set("Installed-Size", builder.installed_size().to_string());
        }
        let mut file = AtomicFile::create(&path)?;
        builder.finish(Control { paragraph: self.paragraph, files: self.files }, &mut file)?;
        let size = file.stream_position()?;
        file.commit()?;
        Ok((path, size))
    }
}
