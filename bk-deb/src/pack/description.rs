//! A folder `debian/` as the description of a binary package: what debhelper's files say, without
//! running `debian/rules`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, display, file, sanitize};
use globset::GlobBuilder;

use super::parts::Parts;
use super::scripts::Services;
use crate::convert::docs::gzip;
use crate::debian::control::{Paragraph, paragraphs};
use crate::debian::version::Version;
use crate::tree::{self, Attributes, Content, Entry, Kind, safe};

const FILE_LIMIT: u64 = 16 << 20;

/// Finds the relations for the programs and libraries among files.
pub type LibrariesOf<'a> = dyn Fn(&[(Entry, Content)]) -> Result<Vec<String>> + 'a;

/// The architecture a package for `any` gets, and what its libraries need.
pub struct Target<'a> {
    /// Of the machine it is for.
    pub arch: &'a str,
    /// Relations for its programs and libraries, from the files with their places.
    pub libraries: &'a LibrariesOf<'a>,
}

/// The newest entry of a change log (Policy 4.4).
struct Change {
    source: String,
    version: String,
    /// In seconds since 1970.
    time: u64,
}

/// Reads `dir/debian`: the packages named, or all.
pub fn read(dir: &Path, wanted: &[String], target: &Target<'_>) -> Result<Vec<Parts>> {
    let debian = dir.join("debian");
    let control = file::read(&debian.join("control"), FILE_LIMIT)?;
    let all = paragraphs(&control).map(Paragraph::parse).collect::<Result<Vec<_>>>();
    let all = all.context(|| format!("bad control file '{}'", display(debian.join("control"))))?;
    let (source, binaries) = all
        .split_first()
        .filter(|(source, binaries)| source.get("Source").is_some() && !binaries.is_empty())
        .ok_or_else(|| Error::new("'debian/control' describes no source and its packages"))?;
    let log = file::read(&debian.join("changelog"), FILE_LIMIT)?;
    let change =
        change(&String::from_utf8_lossy(&log)).context(|| "bad 'debian/changelog'".into())?;
    let mut found = Vec::new();
    for (at, binary) in binaries.iter().enumerate() {
        let name = binary.require("Package").context(|| "bad 'debian/control'".into())?;
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        let names = || binaries.iter().filter_map(|b| b.get("Package"));
        let main = name.strip_suffix("-doc").filter(|main| names().any(|n| n == *main));
        let doc = main.unwrap_or(name);
        let reader = Reader { dir, debian: &debian, name, doc, first: at == 0, time: change.time };
        let only = binaries.len() == 1;
        let parts = reader.read(source, binary, &change, &log, only, target);
        found.push(parts.context(|| format!("cannot pack '{}'", sanitize(name)))?);
    }
    if let Some(missing) =
        wanted.iter().find(|w| !binaries.iter().any(|b| b.get("Package") == Some(w)))
    {
        return Err(Error::new(format!("'debian/control' has no package '{}'", sanitize(missing)))
            .status(bk::Status::Usage));
    }
    Ok(found)
}

struct Reader<'a> {
    dir: &'a Path,
    debian: &'a Path,
    name: &'a str,
    /// The package whose documentation it has: that of `x-doc` is x's (dh_installdocs(1)).
    doc: &'a str,
    /// Files without a package's name are the first one's (debhelper(7)).
    first: bool,
    time: u64,
}

impl Reader<'_> {
    fn read(
        &self,
        source: &Paragraph,
        binary: &Paragraph,
        change: &Change,
        log: &[u8],
        only: bool,
        target: &Target<'_>,
    ) -> Result<Parts> {
        let mut parts = Parts::default();
        self.files(only, &mut parts)?;
        self.units(&mut parts)?;
        self.documents(change, log, &mut parts)?;
        for name in [
            "preinst",
            "postinst",
            "prerm",
            "postrm",
            "conffiles",
            "triggers",
            "config",
            "templates",
        ] {
            if let Some(path) = self.file(name) {
                parts.files.insert(name.into(), file::read(&path, FILE_LIMIT)?);
            }
        }
        // Their place is taken by our snippets only where there are some.
        for script in parts.files.values_mut() {
            let text = String::from_utf8_lossy(script);
            if parts.services.units.is_empty() && text.contains("#DEBHELPER#") {
                *script = text.replace("#DEBHELPER#", "").into_bytes();
            }
        }
        let libraries = (target.libraries)(&parts.entries)?;
        self.control(source, binary, change, target.arch, &libraries, &mut parts)?;
        if self.debian.join("rules").is_file() {
            parts.notes.push("'debian/rules' is not run: what it makes must be there".into());
        }
        Ok(parts)
    }

    /// `debian/PACKAGE.NAME`, or `debian/NAME` for the first package.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let own = self.debian.join(format!("{}.{name}", self.name));
        if own.is_file() {
            return Some(own);
        }
        let shared = self.debian.join(name);
        (self.first && shared.is_file()).then_some(shared)
    }

    /// The words of each line of such a file.
    fn lines(&self, name: &str) -> Result<Vec<Vec<String>>> {
        let Some(path) = self.file(name) else { return Ok(Vec::new()) };
        let text = file::read(&path, FILE_LIMIT)?;
        let text = String::from_utf8_lossy(&text);
        let lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(lines.map(|line| line.split_ascii_whitespace().map(str::to_owned).collect()).collect())
    }

    /// dh_install(1), dh_installdirs(1), dh_link(1).
    fn files(&self, only: bool, parts: &mut Parts) -> Result<()> {
        let staged = self.debian.join(self.name);
        let tmp = self.debian.join("tmp");
        if staged.is_dir() {
            parts.entries.extend(tree::walk(&staged, &["DEBIAN"])?);
        } else if only && self.file("install").is_none() && tmp.is_dir() {
            parts.entries.extend(tree::walk(&tmp, &["DEBIAN"])?);
        }
        for line in self.lines("install")? {
            let (sources, to) = match line.as_slice() {
                [source] => (std::slice::from_ref(source), None),
                [sources @ .., to] => (sources, Some(to.as_str())),
                [] => continue,
            };
            for source in sources {
                self.install(source, to, parts)?;
            }
        }
        for dir in self.lines("dirs")?.into_iter().flatten() {
            self.add(&dir, Attributes::root(0o755, self.time), Kind::Dir, Vec::new(), parts)?;
        }
        for line in self.lines("links")? {
            for pair in line.chunks(2) {
                let [target, link] = pair else {
                    return Err(Error::new("'links' has a target without a link"));
                };
                let kind =
                    Kind::Symlink(relative(&safe(target.as_bytes())?, &safe(link.as_bytes())?));
                self.add(link, Attributes::root(0o777, self.time), kind, Vec::new(), parts)?;
            }
        }
        Ok(())
    }

    /// One source of an install line: below `debian/tmp`, else below the project.
    fn install(&self, source: &str, to: Option<&str>, parts: &mut Parts) -> Result<()> {
        if source.contains("=>") || source.contains("${") {
            return Err(Error::new(format!("'{}' is for dh-exec", sanitize(source))));
        }
        let pattern = safe(source.as_bytes())?;
        let bad = || format!("'{}' is no pattern", sanitize(source));
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build().context(bad)?;
        let matcher = glob.compile_matcher();
        for root in [self.debian.join("tmp"), self.dir.to_owned()] {
            let base: Vec<&str> = pattern
                .split('/')
                .take_while(|part| !part.contains(['*', '?', '[', '{']))
                .collect();
            // The last part is a name even where it has no pattern in it.
            let base = base[..base.len().min(pattern.split('/').count() - 1)].join("/");
            if !root.join(&base).is_dir() {
                continue;
            }
            let inside = tree::walk(&root.join(&base), &[".git"])?;
            let prefix = if base.is_empty() { String::new() } else { format!("{base}/") };
            let tops: Vec<String> = inside
                .iter()
                .map(|(entry, _)| format!("{prefix}{}", entry.path))
                .filter(|path| matcher.is_match(path))
                .collect();
            for (mut entry, content) in inside {
                let path = format!("{prefix}{}", entry.path);
                let top =
                    tops.iter().find(|top| path == **top || path.starts_with(&format!("{top}/")));
                let Some(top) = top else { continue };
                let folder = top.rfind('/').map_or("", |at| &top[..at]);
                // Without a destination a file goes where it is below debian/tmp.
                let to = to.map_or_else(|| Ok(folder.to_owned()), |to| safe(to.as_bytes()))?;
                entry.path = safe(format!("{to}/{}", &path[folder.len()..]).as_bytes())?;
                if let Kind::Hardlink(_) = entry.kind {
                    return Err(Error::new(format!("'{}' is a hard link", sanitize(&path))));
                }
                parts.entries.push((entry, content));
            }
            if !tops.is_empty() {
                return Ok(());
            }
        }
        Err(Error::new(format!("nothing matches '{}' of 'install'", sanitize(source)))
            .hint("build the project into debian/tmp first, or mend the pattern"))
    }

    fn add(
        &self,
        path: &str,
        attributes: Attributes,
        kind: Kind,
        bytes: Vec<u8>,
        parts: &mut Parts,
    ) -> Result<()> {
        let entry = Entry { path: safe(path.as_bytes())?, attributes, kind, config: false };
        parts.entries.push((entry, Content::Bytes(bytes)));
        Ok(())
    }

    fn text(&self, path: &str, bytes: Vec<u8>, parts: &mut Parts) -> Result<()> {
        let kind = Kind::File(bytes.len() as u64);
        self.add(path, Attributes::root(0o644, self.time), kind, bytes, parts)
    }

    /// dh_installsystemd(1), dh_installinit(1)'s defaults, dh_installlogrotate(1), dh_installcron(1).
    fn units(&self, parts: &mut Parts) -> Result<()> {
        for kind in ["service", "socket", "timer", "path"] {
            if let Some(path) = self.file(kind) {
                let unit = format!("usr/lib/systemd/system/{}.{kind}", self.name);
                self.text(&unit, file::read(&path, FILE_LIMIT)?, parts)?;
            }
        }
        for (name, folder) in [
            ("default", "etc/default"),
            ("logrotate", "etc/logrotate.d"),
            ("cron.d", "etc/cron.d"),
            ("bash-completion", "usr/share/bash-completion/completions"),
            ("lintian-overrides", "usr/share/lintian/overrides"),
        ] {
            if let Some(path) = self.file(name) {
                self.text(
                    &format!("{folder}/{}", self.name),
                    file::read(&path, FILE_LIMIT)?,
                    parts,
                )?;
            }
        }
        let units = parts.entries.iter().filter_map(|(entry, _)| Services::unit(&entry.path));
        parts.services.units = units.map(str::to_owned).collect();
        Ok(())
    }

    /// dh_installdocs(1), dh_installman(1), dh_installchangelogs(1).
    fn documents(&self, change: &Change, log: &[u8], parts: &mut Parts) -> Result<()> {
        let doc = format!("usr/share/doc/{}", self.name);
        for source in self.lines("docs")?.into_iter().flatten() {
            self.install(&source, Some(&format!("usr/share/doc/{}", self.doc)), parts)?;
        }
        for page in self.lines("manpages")?.into_iter().flatten() {
            let path = self.dir.join(safe(page.as_bytes())?);
            let name = path.file_name().map(display).unwrap_or_default();
            let section = name.rsplit('.').next().and_then(|s| s.chars().next());
            let section = section.filter(char::is_ascii_digit).ok_or_else(|| {
                Error::new(format!("'{}' is no manual page: it has no section", sanitize(&page)))
            })?;
            let packed = gzip(&file::read(&path, FILE_LIMIT)?)?;
            self.text(&format!("usr/share/man/man{section}/{name}.gz"), packed, parts)?;
        }
        // A native package's log is the upstream one (Policy 12.7).
        let native = !change.version.contains('-');
        let name = if native { "changelog.gz" } else { "changelog.Debian.gz" };
        self.text(&format!("{doc}/{name}"), gzip(log)?, parts)?;
        let copyright = self.debian.join("copyright");
        if copyright.is_file() {
            self.text(&format!("{doc}/copyright"), file::read(&copyright, FILE_LIMIT)?, parts)?;
        }
        Ok(())
    }

    fn control(
        &self,
        source: &Paragraph,
        binary: &Paragraph,
        change: &Change,
        arch: &str,
        libraries: &[String],
        parts: &mut Parts,
    ) -> Result<()> {
        let mut values = BTreeMap::from([
            ("binary:Version", change.version.clone()),
            ("source:Version", change.version.clone()),
            (
                "source:Upstream-Version",
                Version::parse(&change.version)?.without_epoch().to_owned(),
            ),
            ("Arch", arch.to_owned()),
            // What debhelper's own tools would ask for: our scripts use nothing that is not essential.
            ("misc:Depends", String::new()),
            ("misc:Pre-Depends", String::new()),
            ("shlibs:Depends", libraries.join(", ")),
            ("Newline", "\n".into()),
            ("Space", " ".into()),
        ]);
        let modules = "usr/lib/python3/dist-packages/";
        if parts.entries.iter().any(|(entry, _)| entry.path.starts_with(modules)) {
            values.insert("python3:Depends", "python3:any".into());
        }
        let paragraph = &mut parts.paragraph;
        paragraph.set("Package", self.name);
        if change.source != self.name {
            paragraph.set("Source", &change.source);
        }
        paragraph.set("Version", &change.version);
        paragraph.set(
            "Architecture",
            match binary.require("Architecture")? {
                "all" => "all",
                given if given.split(' ').any(|a| a == arch || a == "any" || a == "linux-any") => {
                    arch
                }
                given => {
                    return Err(Error::new(format!(
                        "it is for {}, not for {arch}",
                        sanitize(given)
                    )));
                }
            },
        );
        for field in ["Maintainer", "Section", "Priority", "Homepage"] {
            if let Some(value) = binary.get(field).or(source.get(field)) {
                paragraph.set(field, value);
            }
        }
        for (field, value) in binary.iter() {
            let done =
                ["Package", "Architecture", "Build-Profiles", "Build-Depends"].contains(&field);
            if done || field.starts_with("XC-") || field.starts_with("XS-") {
                continue;
            }
            let field = field.strip_prefix("XB-").unwrap_or(field);
            let value = substitute(value, &values)?;
            let relations = [
                "Depends",
                "Recommends",
                "Suggests",
                "Enhances",
                "Pre-Depends",
                "Breaks",
                "Conflicts",
                "Replaces",
                "Provides",
            ];
            let value = if relations.contains(&field) { tidy(&value) } else { value };
            if value.is_empty() {
                paragraph.remove(field);
            } else {
                paragraph.set(field, value);
            }
        }
        // Fields of relations stand before the description, which is read last.
        if let Some(description) = paragraph.remove("Description") {
            paragraph.set("Description", description);
        }
        Ok(())
    }
}

/// `${NAME}` (deb-substvars(5)).
fn substitute(text: &str, values: &BTreeMap<&str, String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) =
            after.split_once('}').ok_or_else(|| Error::new("'${' without its '}'"))?;
        let value = values.get(name).ok_or_else(|| {
            Error::new(format!("'${{{}}}' is not known here", sanitize(name)))
                .hint("write what it stands for, or build the package with dpkg-buildpackage")
        })?;
        out += before;
        out += value;
        rest = after;
    }
    Ok(out + rest)
}

/// Relations without the empty ones that substitution leaves.
fn tidy(value: &str) -> String {
    let relations =
        value.split(',').map(|r| r.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    relations.filter(|relation| !relation.is_empty()).collect::<Vec<_>>().join(", ")
}

/// dh_link(1): links within a folder of the top are relative (Policy 10.5).
fn relative(target: &str, link: &str) -> String {
    let (to, from): (Vec<&str>, Vec<&str>) =
        (target.split('/').collect(), link.split('/').collect());
    let shared = to.iter().zip(&from).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return format!("/{target}");
    }
    let shared = shared.min(to.len() - 1).min(from.len() - 1);
    let up = std::iter::repeat_n("..", from.len() - 1 - shared);
    up.chain(to[shared..].iter().copied()).collect::<Vec<_>>().join("/")
}

fn change(log: &str) -> Result<Change> {
    let first = log.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let parsed =
        first.split_once(" (").and_then(|(source, rest)| Some((source, rest.split_once(')')?.0)));
    let (source, version) = parsed
        .ok_or_else(|| Error::new(format!("'{}' is no heading of an entry", sanitize(first))))?;
    Version::parse(version)?;
    let trailer = log.lines().find_map(|line| line.strip_prefix(" -- "));
    let date = trailer.and_then(|line| line.rsplit_once("  ")).map(|(_, date)| date.trim());
    let date = date.ok_or_else(|| Error::new("its newest entry has no trailer"))?;
    let time =
        jiff::fmt::rfc2822::parse(date).context(|| format!("'{}' is no date", sanitize(date)))?;
    let time = u64::try_from(time.timestamp().as_second()).unwrap_or(0);
    Ok(Change { source: source.to_owned(), version: version.to_owned(), time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_where_policy_says_so() {
        assert_eq!(relative("usr/share/x/y", "usr/bin/y"), "../share/x/y");
        assert_eq!(relative("usr/bin/a", "usr/bin/b"), "a");
        assert_eq!(relative("etc/x", "usr/x"), "/etc/x");
    }

    #[test]
    fn relations_are_tidied_and_values_put_in() {
        let values = BTreeMap::from([("misc:Depends", String::new()), ("x", "a (>= 1)".into())]);
        let text = substitute("${misc:Depends}, ${x},\n b", &values).unwrap();
        assert_eq!(tidy(&text), "a (>= 1), b");
        assert!(substitute("${y}", &values).is_err());
    }
}
