//! What announces an upload: `.changes` (deb-changes(5)), and `.buildinfo` (deb-buildinfo(5)), which
//! says what it was made of.

use std::path::{Path, PathBuf};

use bk::{Console, Context, Result, file};

use super::{Summed, beside, sign};
use crate::convert::docs::utc;
use crate::debian::control::Paragraph;
use crate::debian::version::Version;

/// What one upload is made of.
pub struct Upload<'a> {
    /// The .deb.
    pub deb: &'a Path,
    /// Its control file.
    pub paragraph: &'a Paragraph,
    /// Its source package's .dsc, and the files that lists.
    pub source: Vec<PathBuf>,
    /// The suite it is for.
    pub distribution: &'a str,
    /// What was changed: the text of the change log's entry, without heading and trailer.
    pub changes: &'a str,
    /// When, in seconds since 1970.
    pub time: u64,
    /// What it was converted from, and that file's SHA-256.
    pub made_of: Option<(String, String)>,
}

impl Upload<'_> {
    /// Writes both beside the .deb, signed with `key` where there is one; the path of the .changes.
    pub fn write(&self, key: Option<&str>, console: &Console) -> Result<PathBuf> {
        let get = |field: &str| self.paragraph.get(field).unwrap_or_default();
        let package = self.paragraph.require("Package")?;
        let version = Version::parse(self.paragraph.require("Version")?)?;
        let arch = get("Architecture");
        let architectures =
            if self.source.is_empty() { arch.to_owned() } else { format!("source {arch}") };
        let stem = format!("{package}_{}_{arch}", version.without_epoch());
        let mut all: Vec<Summed> = Vec::new();
        for path in self.source.iter().map(PathBuf::as_path).chain([self.deb]) {
            all.push(Summed::read(path)?);
        }

        let info_path = beside(self.deb, &format!("{stem}.buildinfo"));
        file::write(
            &info_path,
            self.buildinfo(&all, package, &version, &architectures)?.to_string(),
        )?;
        if let Some(key) = key {
            sign(&info_path, key, console)?;
        }
        all.push(Summed::read(&info_path)?);

        let mut changes = Paragraph::new();
        changes.set("Format", "1.8");
        changes.set("Date", self.date()?);
        changes.set("Source", package);
        changes.set("Binary", package);
        changes.set("Architecture", architectures);
        changes.set("Version", version.to_string());
        changes.set("Distribution", self.distribution);
        changes.set("Urgency", "medium");
        changes.set("Maintainer", get("Maintainer"));
        changes.set("Changed-By", get("Maintainer"));
        let synopsis = get("Description").lines().next().unwrap_or_default();
        changes.set("Description", format!("\n {package} - {synopsis}"));
        let lines: String = self
            .changes
            .lines()
            .map(
                |line| {
                    if line.trim().is_empty() { "\n .".to_owned() } else { format!("\n {line}") }
                },
            )
            .collect();
        changes.set(
            "Changes",
            format!("\n {package} ({version}) {}; urgency=medium\n .{lines}", self.distribution),
        );
        changes.set("Checksums-Sha1", Summed::sha1_field(&all));
        changes.set("Checksums-Sha256", Summed::sha256_field(&all));
        let (section, priority) = (get("Section"), get("Priority"));
        let listed = all.iter().map(|file| {
            format!("\n {} {} {section} {priority} {}", file.md5, file.size, file.name)
        });
        changes.set("Files", listed.collect::<String>());
        let path = beside(self.deb, &format!("{stem}.changes"));
        file::write(&path, changes.to_string())?;
        if let Some(key) = key {
            sign(&path, key, console)?;
        }
        Ok(path)
    }

    fn date(&self) -> Result<String> {
        jiff::fmt::rfc2822::to_string(&utc(self.time)).context(|| "bad time".into())
    }

    fn buildinfo(
        &self,
        files: &[Summed],
        package: &str,
        version: &Version,
        architectures: &str,
    ) -> Result<Paragraph> {
        let mut info = Paragraph::new();
        info.set("Format", "1.0");
        info.set("Source", package);
        info.set("Binary", package);
        info.set("Architecture", architectures);
        info.set("Version", version.to_string());
        info.set("Checksums-Sha1", Summed::sha1_field(files));
        info.set("Checksums-Sha256", Summed::sha256_field(files));
        info.set("Build-Origin", "BuildKit");
        info.set("Build-Architecture", crate::target::own_arch());
        info.set("Build-Date", self.date()?);
        // No package of the distribution has a part in it: this program and its input are all.
        info.set("Installed-Build-Depends", format!("\n bk-deb (= {})", env!("CARGO_PKG_VERSION")));
        info.set("Environment", format!("\n SOURCE_DATE_EPOCH=\"{}\"", self.time));
        if let Some((name, sha256)) = &self.made_of {
            info.set("BuildKit-Made-Of", format!("\n {sha256} {name}"));
        }
        Ok(info)
    }
}
