//! A package described by a file of YAML, with the keys of nfpm's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, Status, display, file, sanitize};
use globset::GlobBuilder;
use serde::Deserialize;

use super::parts::Parts;
use super::scripts::{Services, User};
use super::template::Values;
use crate::tree::{self, Attributes, Content, Entry, Kind, safe};

/// A manifest names files; it does not hold them.
const FILE_LIMIT: u64 = 1 << 20;
const SCRIPT_LIMIT: u64 = 16 << 20;

/// The file. Keys that nfpm has for other kinds of packages are passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    arch: Option<String>,
    platform: Option<String>,
    version: String,
    version_schema: Option<String>,
    epoch: Option<Scalar>,
    release: Option<Scalar>,
    prerelease: Option<Scalar>,
    version_metadata: Option<Scalar>,
    section: Option<String>,
    priority: Option<String>,
    maintainer: String,
    description: String,
    homepage: Option<String>,
    license: Option<String>,
    #[serde(default)]
    disable_globbing: bool,
    #[serde(flatten)]
    common: Common,
    #[serde(default)]
    overrides: BTreeMap<String, Common>,
    #[serde(default)]
    deb: Deb,
    /// Ours: users the package's programs run as.
    #[serde(default)]
    users: Vec<UserEntry>,
    /// Ours: units to install, enable and start.
    #[serde(default)]
    systemd: Vec<PathBuf>,
    #[serde(default, rename = "vendor")]
    _vendor: Option<String>,
    #[serde(default, rename = "changelog")]
    _changelog: Option<String>,
    #[serde(default, rename = "mtime")]
    _mtime: Option<String>,
    #[serde(default, rename = "umask")]
    _umask: Option<Scalar>,
    #[serde(default, rename = "rpm")]
    _rpm: serde_yaml::Value,
    #[serde(default, rename = "apk")]
    _apk: serde_yaml::Value,
    #[serde(default, rename = "archlinux")]
    _archlinux: serde_yaml::Value,
    #[serde(default, rename = "ipk")]
    _ipk: serde_yaml::Value,
}

/// What can be told per kind of package.
#[derive(Clone, Default, Deserialize)]
struct Common {
    #[serde(default)]
    depends: Vec<String>,
    #[serde(default)]
    recommends: Vec<String>,
    #[serde(default)]
    suggests: Vec<String>,
    #[serde(default)]
    conflicts: Vec<String>,
    #[serde(default)]
    replaces: Vec<String>,
    #[serde(default)]
    provides: Vec<String>,
    #[serde(default)]
    contents: Vec<Item>,
    #[serde(default)]
    scripts: Scripts,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scripts {
    preinstall: Option<PathBuf>,
    postinstall: Option<PathBuf>,
    preremove: Option<PathBuf>,
    postremove: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deb {
    #[serde(default)]
    breaks: Vec<String>,
    #[serde(default)]
    predepends: Vec<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default)]
    triggers: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    scripts: DebScripts,
    #[serde(default, rename = "compression")]
    _compression: Option<String>,
    #[serde(default, rename = "arch")]
    arch: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DebScripts {
    templates: Option<PathBuf>,
    config: Option<PathBuf>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    src: Option<String>,
    dst: String,
    #[serde(default, rename = "type")]
    kind: String,
    packager: Option<String>,
    #[serde(default)]
    file_info: FileInfo,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileInfo {
    mode: Option<Mode>,
    owner: Option<String>,
    group: Option<String>,
    #[serde(default, rename = "mtime")]
    mtime: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: String,
    home: Option<String>,
}

/// Permissions: `0644`, which is text to YAML 1.2, and `0o644`, which is a number.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Scalar")]
struct Mode(u32);

impl TryFrom<Scalar> for Mode {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        let mode = match &scalar {
            Scalar::Number(number) => u32::try_from(*number).ok(),
            Scalar::Text(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        };
        let mode = mode.filter(|mode| *mode <= 0o7777).map(Mode);
        mode.ok_or_else(|| format!("'{}' are no permissions, as 0644 is", scalar.text()))
    }
}

/// A number where a text would do.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Scalar::Number(number) => number.to_string(),
            Scalar::Text(text) => text.clone(),
        }
    }
}

/// Reads a manifest; its files are named from the folder it is in.
pub fn read(path: &Path, values: &Values) -> Result<Parts> {
    let failed = || format!("cannot use '{}'", display(path));
    let text = file::read(path, FILE_LIMIT)?;
    let text = values.expand(&String::from_utf8_lossy(&text)).context(failed)?;
    let manifest: Manifest = serde_yaml::from_str(&text).context(failed).status(Status::Usage)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    manifest.parts(dir).context(failed)
}

impl Manifest {
    fn parts(mut self, dir: &Path) -> Result<Parts> {
        if self.platform.as_deref().is_some_and(|platform| platform != "linux") {
            return Err(Error::new("its platform is not linux"));
        }
        let common = std::mem::take(&mut self.common);
        let common = common.overridden(self.overrides.remove("deb"));
        let mut parts = Parts::default();
        self.fields(&common, &mut parts)?;
        let scripts = &common.scripts;
        for (name, script) in [
            ("preinst", &scripts.preinstall),
            ("postinst", &scripts.postinstall),
            ("prerm", &scripts.preremove),
            ("postrm", &scripts.postremove),
            ("templates", &self.deb.scripts.templates),
            ("config", &self.deb.scripts.config),
        ] {
            if let Some(script) = script {
                parts.files.insert(name.into(), file::read(&dir.join(script), SCRIPT_LIMIT)?);
            }
        }
        let triggers: String = self
            .deb
            .triggers
            .iter()
            .flat_map(|(kind, names)| {
                let kind = kind.replace('_', "-");
                names.iter().map(move |name| format!("{kind} {name}\n"))
            })
            .collect();
        if !triggers.is_empty() {
            parts.files.insert("triggers".into(), triggers.into_bytes());
        }
        let mut units = Vec::new();
        for unit in &self.systemd {
            let name = unit.file_name().map(display).unwrap_or_default();
            let item = Item {
                src: Some(display(unit)),
                dst: format!("/usr/lib/systemd/system/{name}"),
                kind: String::new(),
                packager: None,
                file_info: FileInfo { mode: Some(Mode(0o644)), ..FileInfo::default() },
            };
            item.add(dir, false, &mut parts)?;
            units.extend(
                Services::unit(&format!("usr/lib/systemd/system/{name}")).map(str::to_owned),
            );
        }
        for item in &common.contents {
            if item.packager.as_deref().is_none_or(|packager| packager == "deb") {
                item.add(dir, !self.disable_globbing, &mut parts)?;
            }
        }
        let users = self.users.iter().map(|user| User::new(&user.name, user.home.as_deref()));
        parts.services = Services { users: users.collect::<Result<_>>()?, units };
        Ok(parts)
    }

    fn fields(&self, common: &Common, parts: &mut Parts) -> Result<()> {
        let paragraph = &mut parts.paragraph;
        paragraph.set("Package", &self.name);
        paragraph.set("Version", self.version());
        let arch = self.deb.arch.as_deref().or(self.arch.as_deref());
        paragraph
            .set("Architecture", architecture(arch.unwrap_or_else(|| crate::target::own_arch())));
        paragraph.set("Maintainer", &self.maintainer);
        for (name, relations) in [
            ("Pre-Depends", &self.deb.predepends),
            ("Depends", &common.depends),
            ("Recommends", &common.recommends),
            ("Suggests", &common.suggests),
            ("Breaks", &self.deb.breaks),
            ("Conflicts", &common.conflicts),
            ("Replaces", &common.replaces),
            ("Provides", &common.provides),
        ] {
            if !relations.is_empty() {
                paragraph.set(name, relations.join(", "));
            }
        }
        paragraph.set("Section", self.section.as_deref().unwrap_or("misc"));
        paragraph.set("Priority", self.priority.as_deref().unwrap_or("optional"));
        if let Some(homepage) = &self.homepage {
            paragraph.set("Homepage", homepage);
        }
        if let Some(license) = &self.license {
            parts.notes.push(format!(
                "the licence '{}' has no field in a Debian package: ship a copyright file",
                sanitize(license)
            ));
        }
        for (name, value) in &self.deb.fields {
            paragraph.set(name, value);
        }
        paragraph.set("Description", description(&self.description));
        let broken = paragraph.iter().find(|(name, value)| {
            let lines = value.split('\n').skip(1);
            name.contains([':', ' ', '\n'])
                || lines.into_iter().any(|l| !l.starts_with([' ', '\t']))
        });
        match broken {
            Some((name, _)) => {
                Err(Error::new(format!("'{}' is no field of one line", sanitize(name))))
            }
            None => Ok(()),
        }
    }

    /// Semantic versions as Debian's: `1.2.0-rc.1+x` is `1.2.0~rc.1+x`.
    fn version(&self) -> String {
        let mut version = self.version.clone();
        if self.version_schema.as_deref() != Some("none") {
            let bare =
                version.strip_prefix('v').filter(|v| v.starts_with(|c: char| c.is_ascii_digit()));
            version = bare.unwrap_or(&version).replacen('-', "~", 1);
        }
        let text =
            |scalar: &Option<Scalar>| scalar.as_ref().map(Scalar::text).filter(|t| !t.is_empty());
        let epoch = text(&self.epoch).map(|epoch| format!("{epoch}:")).unwrap_or_default();
        let pre = text(&self.prerelease).map(|pre| format!("~{pre}")).unwrap_or_default();
        let more = text(&self.version_metadata).map(|more| format!("+{more}")).unwrap_or_default();
        let release = text(&self.release).map(|release| format!("-{release}")).unwrap_or_default();
        format!("{epoch}{version}{pre}{more}{release}")
    }
}

impl Common {
    /// What is told for one kind of package stands in place of what is told for all.
    fn overridden(mut self, by: Option<Common>) -> Common {
        let Some(by) = by else { return self };
        let lists = [
            (&mut self.depends, by.depends),
            (&mut self.recommends, by.recommends),
            (&mut self.suggests, by.suggests),
            (&mut self.conflicts, by.conflicts),
            (&mut self.replaces, by.replaces),
            (&mut self.provides, by.provides),
        ];
        for (list, by) in lists {
            if !by.is_empty() {
                *list = by;
            }
        }
        if !by.contents.is_empty() {
            self.contents = by.contents;
        }
        let scripts = &mut self.scripts;
        scripts.preinstall = by.scripts.preinstall.or(scripts.preinstall.take());
        scripts.postinstall = by.scripts.postinstall.or(scripts.postinstall.take());
        scripts.preremove = by.scripts.preremove.or(scripts.preremove.take());
        scripts.postremove = by.scripts.postremove.or(scripts.postremove.take());
        self
    }
}

impl Item {
    fn add(&self, dir: &Path, glob: bool, parts: &mut Parts) -> Result<()> {
        let failed = || format!("cannot take in '{}'", sanitize(&self.dst));
        let dst = safe(self.dst.as_bytes()).context(failed)?;
        let src =
            || self.src.as_deref().ok_or_else(|| Error::new("it has no 'src'").context(failed()));
        match self.kind.as_str() {
            "dir" => {
                let attributes = Attributes::root(0o755, 0);
                let entry = Entry { path: dst, attributes, kind: Kind::Dir, config: false };
                self.push(entry, Content::Bytes(Vec::new()), parts);
            }
            "symlink" => {
                let attributes = Attributes::root(0o777, 0);
                let kind = Kind::Symlink(src()?.to_owned());
                let entry = Entry { path: dst, attributes, kind, config: false };
                parts.entries.push((entry, Content::Bytes(Vec::new())));
            }
            "ghost" | "debug" => {
                parts.notes.push(format!("'{}' is not for Debian packages", sanitize(&self.dst)));
            }
            "" | "file" | "config" | "config|noreplace" | "config|missingok" | "tree" | "doc"
            | "licence" | "license" | "readme" => {
                let src = src()?;
                let meta = src.find(['*', '?', '[', '{']).filter(|_| glob);
                let found = match meta {
                    Some(at) => self.globbed(dir, src, at)?,
                    None => self.named(dir, src, dst)?,
                };
                if found.is_empty() {
                    return Err(Error::new(format!("nothing matches '{}'", sanitize(src)))
                        .context(failed()));
                }
                for (mut entry, content) in found {
                    entry.config = self.kind.starts_with("config");
                    self.push(entry, content, parts);
                }
            }
            other => {
                return Err(Error::new(format!("'{}' is no type of a file", sanitize(other)))
                    .context(failed())
                    .hint("use file, config, dir, tree or symlink"));
            }
        }
        Ok(())
    }

    /// A file, or a folder with all in it.
    fn named(&self, dir: &Path, src: &str, dst: String) -> Result<Vec<(Entry, Content)>> {
        let disk = dir.join(src);
        let about =
            std::fs::metadata(&disk).context(|| format!("cannot read '{}'", display(&disk)))?;
        if about.is_dir() {
            let below = |(mut entry, content): (Entry, Content)| {
                entry.path = format!("{dst}/{}", entry.path);
                if let Kind::Hardlink(target) = &mut entry.kind {
                    *target = format!("{dst}/{target}");
                }
                (entry, content)
            };
            return Ok(tree::walk(&disk, &[])?.into_iter().map(below).collect());
        }
        let name = disk.file_name().map(display).unwrap_or_default();
        let path = if self.dst.ends_with('/') { format!("{dst}/{name}") } else { dst };
        Ok(vec![(tree::entry(&disk, path, &about)?, Content::Disk(disk))])
    }

    /// What matches, with its place below the last folder that has no pattern in its name.
    fn globbed(&self, dir: &Path, src: &str, meta: usize) -> Result<Vec<(Entry, Content)>> {
        let base = src[..meta].rfind('/').map_or("", |at| &src[..=at]);
        let dst = safe(self.dst.as_bytes())?;
        let bad = || format!("'{}' is no pattern", sanitize(src));
        let glob =
            GlobBuilder::new(&src[base.len()..]).literal_separator(true).build().context(bad)?;
        let matcher = glob.compile_matcher();
        let mut found = tree::walk(&dir.join(base), &[])?;
        found.retain(|(entry, _)| entry.kind != Kind::Dir && matcher.is_match(&entry.path));
        for (entry, _) in &mut found {
            entry.path = format!("{dst}/{}", entry.path);
            if let Kind::Hardlink(target) = &mut entry.kind {
                *target = format!("{dst}/{target}");
            }
        }
        Ok(found)
    }

    fn push(&self, mut entry: Entry, content: Content, parts: &mut Parts) {
        let FileInfo { mode, owner, group, mtime } = &self.file_info;
        let attributes = &mut entry.attributes;
        if entry.kind != Kind::Dir || self.kind == "dir" {
            attributes.mode = mode.map_or(attributes.mode, |mode| mode.0);
        }
        if let Some(owner) = owner {
            attributes.user.clone_from(owner);
        }
        if let Some(group) = group {
            attributes.group.clone_from(group);
        }
        if let Some(mtime) = mtime {
            attributes.mtime = u64::try_from(mtime.as_second()).unwrap_or(0);
        }
        parts.entries.push((entry, content));
    }
}

/// Go's names, which nfpm takes, and the kernel's, as Debian's.
fn architecture(name: &str) -> &str {
    match name {
        "386" | "i686" | "i586" => "i386",
        "arm5" | "arm6" => "armel",
        "arm" | "arm7" => "armhf",
        "ppc64le" => "ppc64el",
        "mipsle" => "mipsel",
        "mips64le" => "mips64el",
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "noarch" => "all",
        other => other,
    }
}

/// The first line is the synopsis, the others are paragraphs (Policy 5.6.13).
pub fn description(text: &str) -> String {
    let mut lines = text.trim().lines();
    let mut field = lines.next().unwrap_or_default().trim().to_owned();
    for line in lines {
        let line = line.trim_end();
        field += &if line.trim().is_empty() { "\n .".to_owned() } else { format!("\n {line}") };
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_debians() {
        let version = |yaml: &str| {
            let text = format!("name: x\nmaintainer: m\ndescription: d\n{yaml}");
            serde_yaml::from_str::<Manifest>(&text).unwrap().version()
        };
        assert_eq!(version("version: v1.2.3"), "1.2.3");
        assert_eq!(version("version: 1.2.3-rc.1+git"), "1.2.3~rc.1+git");
        assert_eq!(
            version("version: 1.0\nepoch: 2\nprerelease: beta1\nversion_metadata: x\nrelease: 3"),
            "2:1.0~beta1+x-3"
        );
        assert_eq!(version("version: v1-2\nversion_schema: none"), "v1-2");
    }

    #[test]
    fn a_slip_of_the_pen_is_told() {
        let text = "name: x\nversion: 1\nmaintainer: m\ndescription: d\ndepend: [a]\n";
        let error = serde_yaml::from_str::<Manifest>(text).err().unwrap().to_string();
        assert!(error.contains("depend"), "{error}");
    }
}
