//! Packages for rpm. The container is the crate rpm's business; what it holds is unpacked as
//! everything else here is, so that every compression is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use bk::file::AtomicFile;
use bk::{Console, Context, Error, Result, sanitize};
use rpm::{
    Dependency, FileFlags, FileOptions, FileType, PackageBuilder, PackageMetadata, Scriptlet,
};

use super::script::{Phase, for_dpkg, for_rpm, refused};
use super::{Made, Spool, debian_name, fields, header};
use crate::debian::compression::decode;
use crate::debian::control::Paragraph;
use crate::debian::version::Version;
use crate::pack::manifest::description;
use crate::pack::parts::Parts;
use crate::tree::{Attributes, Content, Entry, Kind, safe};

/// What an .rpm starts with (rpm's lead).
pub const MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// The program that rpm runs without a script, where Debian has a trigger.
const LDCONFIG: &str = "/sbin/ldconfig";

/// Folders that every system has: another package owns them there.
const SHARED: &[&str] = &[
    "bin",
    "etc",
    "etc/cron.d",
    "etc/default",
    "etc/logrotate.d",
    "lib",
    "lib/systemd",
    "lib/systemd/system",
    "opt",
    "sbin",
    "usr",
    "usr/bin",
    "usr/games",
    "usr/include",
    "usr/lib",
    "usr/lib/systemd",
    "usr/lib/systemd/system",
    "usr/lib64",
    "usr/libexec",
    "usr/sbin",
    "usr/share",
    "usr/share/applications",
    "usr/share/doc",
    "usr/share/icons",
    "usr/share/man",
    "usr/share/man/man1",
    "usr/share/man/man5",
    "usr/share/man/man8",
    "var",
    "var/lib",
    "var/log",
];

pub fn read(file: File, drop_scripts: bool) -> Result<Parts> {
    let bad = || "it is no whole .rpm".to_owned();
    let header = header::read(BufReader::new(&file)).context(bad)?;
    let metadata = PackageMetadata::parse(&mut &header[..]).context(bad)?;
    if metadata.is_source_package() {
        return Err(Error::new("it is a source package")
            .hint("build it with rpmbuild --rebuild, and convert what comes of it"));
    }
    let mut parts =
        Parts { entries: payload(&file, header, &metadata).context(bad)?, ..Parts::default() };
    // After the payload: a package without its end is told as that.
    metadata.verify_digests().context(bad)?;
    describe(&metadata, &mut parts.paragraph).context(bad)?;
    let conffiles: BTreeMap<String, FileFlags> = metadata
        .get_file_entries()
        .context(bad)?
        .iter()
        .map(|entry| {
            (entry.path().to_string_lossy().trim_start_matches('/').to_owned(), entry.flags())
        })
        .collect();
    for (entry, _) in &mut parts.entries {
        entry.config = conffiles.get(&entry.path).is_some_and(|f| f.contains(FileFlags::CONFIG));
    }
    // Which files are configuration is rpm's word: /etc is not all of it.
    let config = parts
        .entries
        .iter()
        .filter(|(entry, _)| entry.config && matches!(entry.kind, Kind::File(_)));
    let lines: String = config.map(|(entry, _)| format!("/{}\n", entry.path)).collect();
    if !lines.is_empty() {
        parts.files.insert("conffiles".into(), lines.into_bytes());
    }
    if !drop_scripts {
        scripts(&metadata, &mut parts.files)?;
    }
    let needs: Vec<String> = metadata
        .get_requires()
        .unwrap_or_default()
        .iter()
        .filter(|need| {
            !["rpmlib(", "config(", "/"].iter().any(|start| need.name.starts_with(start))
        })
        .filter(|need| !need.name.contains(".so"))
        .map(|need| sanitize(&need.to_string()))
        .collect();
    if !needs.is_empty() {
        parts.notes.push(format!("what it requires has other names here: {}", needs.join(", ")));
    }
    Ok(parts)
}

fn payload(
    mut file: &File,
    header: Vec<u8>,
    metadata: &PackageMetadata,
) -> Result<Vec<(Entry, Content)>> {
    file.seek(SeekFrom::Start(header.len() as u64))?;
    let packed = BufReader::new(file.try_clone()?);
    let unpacked = decode(packed)?;
    let input = BufReader::new(std::io::Cursor::new(header).chain(unpacked));
    let mut reader = rpm::PackageReader::parse(input)?;
    let links = hard_links(metadata)?;
    let mut spool = Spool::new()?;
    let mut later = Vec::new();
    while let Some(mut item) = reader.next_file()? {
        let about = &item.metadata;
        let path = safe(about.path().to_string_lossy().as_bytes())?;
        if about.flags().contains(FileFlags::GHOST) {
            // Made while it runs: nothing is shipped of it.
            continue;
        }
        if let Some(caps) = about.caps().filter(|caps| !caps.is_empty()) {
            return Err(Error::new(format!("'/{path}' has the capabilities '{}'", sanitize(caps)))
                .hint("a .deb has none: set them in a maintainer script of your own"));
        }
        let attributes = Attributes {
            mode: u32::from(about.permissions()),
            user: about.user().to_owned(),
            group: about.group().to_owned(),
            mtime: u64::from(about.modified_at().0),
        };
        let kind = match about.file_type() {
            FileType::Dir => Kind::Dir,
            FileType::SymbolicLink => {
                let target = about.linkto().filter(|target| !target.contains(char::is_control));
                let target =
                    target.ok_or_else(|| Error::new(format!("'/{path}' links nowhere")))?;
                Kind::Symlink(target.to_owned())
            }
            FileType::Regular => match links.get(&path) {
                Some(first) if !item.has_payload() => Kind::Hardlink(first.clone()),
                _ => Kind::File(about.size() as u64),
            },
            _ => {
                return Err(Error::new(format!("'/{path}' is no file, folder or link"))
                    .hint("make devices, pipes and sockets in a maintainer script"));
            }
        };
        let entry = Entry { path, attributes, kind, config: false };
        if matches!(entry.kind, Kind::Hardlink(_)) {
            later.push(entry);
        } else {
            spool.add(entry, &mut item)?;
            item.finish()?;
        }
    }
    later.into_iter().try_for_each(|entry| spool.add(entry, &mut std::io::empty()))?;
    let mut entries = spool.finish()?;
    // A name comes after the file it is another name of.
    entries.sort_by(|(a, _), (b, _)| {
        let last = |entry: &Entry| matches!(entry.kind, Kind::Hardlink(_));
        (last(a), &a.path).cmp(&(last(b), &b.path))
    });
    Ok(entries)
}

/// The files that are other names of one that comes with its bytes, which is the last of them.
fn hard_links(metadata: &PackageMetadata) -> Result<BTreeMap<String, String>> {
    let numbers = metadata.header.get_entry_data_as_u32_array(rpm::IndexTag::RPMTAG_FILEINODES);
    let numbers = numbers.unwrap_or_default();
    let mut by_number: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (entry, number) in metadata.get_file_entries()?.iter().zip(numbers) {
        if entry.file_type() == FileType::Regular && !entry.flags().contains(FileFlags::GHOST) {
            let path = safe(entry.path().to_string_lossy().as_bytes())?;
            by_number.entry(number).or_default().push(path);
        }
    }
    let mut links = BTreeMap::new();
    for paths in by_number.into_values() {
        if let Some((last, others)) = paths.split_last() {
            links.extend(others.iter().map(|path| (path.clone(), last.clone())));
        }
    }
    Ok(links)
}

fn describe(metadata: &PackageMetadata, paragraph: &mut Paragraph) -> Result<()> {
    let plain = |text: &str| text.replace(char::is_control, " ").trim().to_owned();
    paragraph.set("Package", debian_name(metadata.get_name()?));
    let epoch = metadata.get_epoch().ok().filter(|epoch| *epoch > 0);
    let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    // rpm's `^` is for what comes after a version, before the next (rpm-version(7)).
    let version = metadata.get_version()?.replace(['^', '_'], "+");
    let release = metadata.get_release()?.replace('^', "+").replace(['_', '-'], ".");
    let version = format!("{epoch}{version}-{release}");
    Version::parse(&version)?;
    paragraph.set("Version", version);
    let arch = metadata.get_arch()?;
    let arch = ARCHITECTURES
        .iter()
        .find(|(rpm, _)| *rpm == arch)
        .ok_or_else(|| Error::new(format!("Debian has no architecture '{}'", sanitize(arch))))?;
    paragraph.set("Architecture", arch.1);
    if let Ok(packager) = metadata.get_packager() {
        paragraph.set("Maintainer", plain(packager));
    }
    fields(paragraph);
    if let Ok(url) = metadata.get_url()
        && url.starts_with("http")
    {
        paragraph.set("Homepage", plain(url));
    }
    let summary = plain(metadata.get_summary().unwrap_or("a package of rpm"));
    let long = metadata.get_description().unwrap_or_default();
    let long: String = long.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    paragraph.set("Description", description(&format!("{summary}\n{}", long.trim())));
    Ok(())
}

/// rpm's names and Debian's.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("noarch", "all"),
    ("x86_64", "amd64"),
    ("aarch64", "arm64"),
    ("armv7hl", "armhf"),
    ("i686", "i386"),
    ("i586", "i386"),
    ("i386", "i386"),
    ("ppc64le", "ppc64el"),
    ("s390x", "s390x"),
    ("riscv64", "riscv64"),
];

fn scripts(metadata: &PackageMetadata, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for (what, script) in [
        ("%pretrans", metadata.get_pre_trans_script()),
        ("%posttrans", metadata.get_post_trans_script()),
        ("%preuntrans", metadata.get_pre_untrans_script()),
        ("%postuntrans", metadata.get_post_untrans_script()),
    ] {
        if script.is_ok() {
            return Err(refused(what, "dpkg has no transactions"));
        }
    }
    for triggers in
        [metadata.get_triggers(), metadata.get_file_triggers(), metadata.get_trans_file_triggers()]
    {
        if !triggers?.is_empty() {
            return Err(refused("%trigger", "dpkg's triggers are others"));
        }
    }
    for phase in Phase::ALL {
        let found = match phase {
            Phase::BeforeInstall => metadata.get_pre_install_script(),
            Phase::AfterInstall => metadata.get_post_install_script(),
            Phase::BeforeRemove => metadata.get_pre_uninstall_script(),
            Phase::AfterRemove => metadata.get_post_uninstall_script(),
        };
        // A program without a script is there as a program alone.
        let program = match phase {
            Phase::AfterInstall => Some(rpm::IndexTag::RPMTAG_POSTINPROG),
            Phase::AfterRemove => Some(rpm::IndexTag::RPMTAG_POSTUNPROG),
            _ => None,
        };
        let alone = program.and_then(|tag| {
            let found = metadata.header.get_entry_data_as_string_array(tag).ok()?;
            Some(found.into_iter().map(str::to_owned).collect::<Vec<_>>())
        });
        let (interpreter, body) = match (found, alone) {
            (Ok(script), _) => {
                if script.flags.is_some_and(|flags| {
                    !flags.is_empty() && flags != rpm::ScriptletFlags::CRITICAL
                }) {
                    return Err(refused(phase.rpm(), "it is filled in by rpm"));
                }
                (script.program.unwrap_or_default(), script.script)
            }
            (Err(_), Some(program)) => (program, String::new()),
            (Err(_), None) => continue,
        };
        if interpreter.first().is_some_and(|program| program == LDCONFIG) && body.trim().is_empty()
        {
            // Debian's C library does it for all (Policy 8.1.1).
            files.insert("triggers".into(), b"activate-noawait ldconfig\n".to_vec());
            continue;
        }
        files.insert(phase.debian().into(), for_dpkg(phase, &interpreter, &body)?.into_bytes());
    }
    Ok(())
}

pub fn write(
    parts: &Parts,
    dir: &Path,
    out: Option<&Path>,
    together: &[String],
    drop_scripts: bool,
    epoch: Option<u64>,
    console: &Console,
) -> Result<Made> {
    let get = |field: &str| parts.paragraph.require(field);
    let package = get("Package")?.to_owned();
    let version = Version::parse(get("Version")?)?;
    let (upstream, release) = split(&version);
    let arch = get("Architecture")?;
    let arch = ARCHITECTURES.iter().find(|(_, debian)| *debian == arch);
    let arch =
        arch.map(|(rpm, _)| *rpm).ok_or_else(|| Error::new("rpm has no such architecture"))?;
    let description = get("Description")?;
    let (summary, long) = description.split_once('\n').unwrap_or((description, description));
    let mut builder = PackageBuilder::new(&package, &upstream, &license(parts), arch, summary);
    let newest = parts.entries.iter().map(|(entry, _)| entry.attributes.mtime).max();
    let time = u32::try_from(epoch.or(newest).unwrap_or(0)).unwrap_or(u32::MAX);
    // gzip is read by every rpm there ever was.
    let config = rpm::BuildConfig::v4().compression(rpm::CompressionWithLevel::Gzip(6));
    builder.using_config(config.source_date(rpm::Timestamp(time)));
    builder.release(release.clone()).packager(get("Maintainer")?);
    let plain =
        |line: &str| if line.trim() == "." { String::new() } else { line.trim_start().to_owned() };
    builder.description(long.lines().map(plain).collect::<Vec<_>>().join("\n"));
    if version.epoch() > 0 {
        builder.epoch(version.epoch().unsigned_abs());
    }
    if let Some(url) = parts.paragraph.get("Homepage") {
        builder.url(url);
    }
    relations(parts, together, &mut builder, console);
    if !drop_scripts {
        carry(parts, version.to_string().as_str(), &mut builder)?;
    }
    files(parts, time, &mut builder)?;
    let path = dir.join(format!("{package}-{upstream}-{release}.{arch}.rpm"));
    if out.is_some() {
        let built = builder.build()?;
        let mut file = AtomicFile::create(&path)?;
        built.write(&mut file)?;
        file.flush()?;
        file.commit()?;
    }
    Ok(Made { path, package, version: format!("{upstream}-{release}"), architecture: arch.into() })
}

/// Version and release; neither has a dash there.
fn split(version: &Version) -> (String, String) {
    let text = version.without_epoch();
    let (upstream, release) = text.rsplit_once('-').unwrap_or((text, "1"));
    (upstream.replace('-', "_"), release.to_owned())
}

/// The licence as a DEP-5 copyright file names it.
fn license(parts: &Parts) -> String {
    let copyright = parts.entries.iter().find(|(entry, _)| {
        entry.path.starts_with("usr/share/doc/") && entry.path.ends_with("/copyright")
    });
    let text = copyright.and_then(|(_, content)| {
        let mut text = String::new();
        content.open().ok()?.take(1 << 20).read_to_string(&mut text).ok()?;
        Some(text)
    });
    let named = text.as_deref().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("License:")).map(str::trim)
    });
    named.filter(|name| !name.is_empty()).unwrap_or("see its copyright file").to_owned()
}

fn relations(parts: &Parts, together: &[String], builder: &mut PackageBuilder, console: &Console) {
    let mut dropped = Vec::new();
    for field in ["Pre-Depends", "Depends", "Recommends"] {
        let relations = parts.paragraph.get(field).unwrap_or_default();
        for relation in relations.split(',').map(str::trim).filter(|r| !r.is_empty()) {
            let name = relation.split([' ', ':', '(']).next().unwrap_or_default();
            let bound = relation.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
            match dependency(name, bound.map(|(bound, _)| bound)) {
                Some(dependency)
                    if together.iter().any(|t| t == name) && !relation.contains('|') =>
                {
                    match field {
                        "Recommends" => builder.recommends(dependency),
                        _ => builder.requires(dependency),
                    };
                }
                _ => dropped.push(sanitize(relation)),
            }
        }
    }
    if !dropped.is_empty() {
        let package = parts.paragraph.get("Package").unwrap_or_default();
        console.note(&format!(
            "{package}: these dependencies have other names for rpm: {}",
            dropped.join(", ")
        ));
    }
}

/// A relation as rpm's. Its versions are without the revision where ours are (rpm compares releases
/// only where both have one), and know `~`.
fn dependency(name: &str, bound: Option<&str>) -> Option<Dependency> {
    let Some(bound) = bound else { return Some(Dependency::any(name)) };
    let (operator, version) = bound.trim().split_once(' ')?;
    let version = version.trim();
    Some(match operator {
        ">=" => Dependency::greater_eq(name, version),
        "<=" => Dependency::less_eq(name, version),
        ">>" => Dependency::greater(name, version),
        "<<" => Dependency::less(name, version),
        "=" => Dependency::eq(name, version),
        _ => return None,
    })
}

fn carry(parts: &Parts, version: &str, builder: &mut PackageBuilder) -> Result<()> {
    for name in ["config", "templates"] {
        if parts.files.contains_key(name) {
            return Err(refused(name, "rpm asks no questions"));
        }
    }
    let mut after = String::new();
    if let Some(triggers) = parts.files.get("triggers") {
        let triggers = String::from_utf8_lossy(triggers).into_owned();
        let lines =
            triggers.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        for line in lines {
            if !line.ends_with("ldconfig") {
                return Err(refused("triggers", &format!("rpm has no '{}'", sanitize(line))));
            }
            after = LDCONFIG.to_owned();
        }
    }
    for phase in Phase::ALL {
        let own = parts.files.get(phase.debian());
        let mut scriptlet = match own {
            None => None,
            Some(text) => {
                let (program, text) = for_rpm(phase, &String::from_utf8_lossy(text), version)?;
                Some(Scriptlet::new(text).prog(vec![program]))
            }
        };
        if !after.is_empty() && [Phase::AfterInstall, Phase::AfterRemove].contains(&phase) {
            let before = scriptlet.map(|s| s.script).unwrap_or_default();
            scriptlet = Some(Scriptlet::new(format!("{after}\n{before}")).prog(vec!["/bin/sh"]));
        }
        if let Some(scriptlet) = scriptlet {
            match phase {
                Phase::BeforeInstall => builder.pre_install_script(scriptlet),
                Phase::AfterInstall => builder.post_install_script(scriptlet),
                Phase::BeforeRemove => builder.pre_uninstall_script(scriptlet),
                Phase::AfterRemove => builder.post_uninstall_script(scriptlet),
            };
        }
    }
    Ok(())
}

fn files(parts: &Parts, newest: u32, builder: &mut PackageBuilder) -> Result<()> {
    let linked: BTreeMap<&str, Vec<&Entry>> = {
        let mut all: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for (entry, _) in &parts.entries {
            if let Kind::Hardlink(target) = &entry.kind {
                all.entry(target).or_default().push(entry);
            }
        }
        all
    };
    for (entry, content) in &parts.entries {
        let path = format!("/{}", entry.path);
        let Attributes { mode, user, group, mtime } = &entry.attributes;
        let mode = (*mode & 0o7777) as u16;
        let time = rpm::Timestamp(u32::try_from(*mtime).unwrap_or(newest).min(newest));
        let failed = || format!("cannot take in '{path}'");
        match &entry.kind {
            Kind::Dir if SHARED.contains(&entry.path.as_str()) || entry.path.is_empty() => {}
            // Python's own.
            Kind::Dir
                if entry.path.contains("/python")
                    && entry.path.matches('/').count() < 4
                    && (entry.path.ends_with("/site-packages")
                        || entry.path.matches('/').count() == 2) => {}
            Kind::Dir => {
                let options = FileOptions::dir(&path).permissions(mode).user(user).group(group);
                builder.with_dir_entry(options.modified_at(time)).context(failed)?;
            }
            Kind::Symlink(target) => {
                let options = FileOptions::symlink(&path, target).modified_at(time);
                builder.with_symlink(options).context(failed)?;
            }
            Kind::File(_) => {
                let mut bytes = Vec::new();
                content.open()?.read_to_end(&mut bytes).context(failed)?;
                let others = linked.get(entry.path.as_str()).map_or(&[][..], Vec::as_slice);
                for name in std::iter::once(entry).chain(others.iter().copied()) {
                    let mut options = FileOptions::new(format!("/{}", name.path))
                        .permissions(mode)
                        .user(user)
                        .group(group)
                        .modified_at(time);
                    if !others.is_empty() {
                        options = options.hardlink(&entry.path);
                    }
                    if entry.config {
                        options = options.config().noreplace();
                    }
                    builder.with_file_contents(bytes.clone(), options).context(failed)?;
                }
            }
            // With the file it is another name of.
            Kind::Hardlink(_) => {}
        }
    }
    Ok(())
}
