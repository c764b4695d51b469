//! A source package of a package that was built: dpkg-buildpackage makes the same of it again.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bk::file::{self, AtomicFile};
use bk::{Console, Context, Error, Result, display};

use super::{Summed, beside, sign};
use crate::debian::compression::Compression;
use crate::debian::control::Paragraph;
use crate::debian::deb::{Attributes, Kind, header};
use crate::debian::version::Version;
use crate::pack::parts::Parts;
use crate::tree::{Content, Entry, Unpacker};

/// The version of Policy that is kept to.
const STANDARDS: &str = "4.6.2";

/// What has a file of its own in `debian/`, and is written by debhelper from it.
const DEBIANS: [&str; 3] = ["copyright", "changelog.Debian.gz", "changelog.gz"];

/// A source tree that was written.
pub struct Tree {
    /// Its folder.
    pub path: PathBuf,
    package: String,
    version: Version,
    paragraph: Paragraph,
    mtime: u64,
}

/// Writes a package's source tree into the folder `out`: `NAME-VERSION` with the files as they are
/// installed in `root/`, and `debian/` with what makes a package of them.
pub fn tree(parts: &Parts, out: &Path) -> Result<Tree> {
    let get = |field: &str| parts.paragraph.require(field).map(str::to_owned);
    let (package, version) = (get("Package")?, Version::parse(&get("Version")?)?);
    let upstream = version.upstream().to_owned();
    let path = out.join(format!("{package}-{upstream}"));
    let failed = || format!("cannot write '{}'", display(&path));
    if path.exists() {
        return Err(Error::new("it is there already")
            .context(failed())
            .hint("remove it, or name another folder"));
    }
    file::create_dir(out)?;
    let temporary = file::TempDir::new_in(out)?;
    let top = temporary.path().join("tree");
    file::create_dir(&top.join("root"))?;
    file::create_dir(&top.join("debian/source"))?;

    let doc = format!("usr/share/doc/{package}/");
    let mut unpacker = Unpacker::new(&top);
    let mtime = parts.entries.iter().map(|(entry, _)| entry.attributes.mtime).max().unwrap_or(0);
    let (mut copyright, mut log) = (Vec::new(), Vec::new());
    let mut any = false;
    for (entry, content) in &parts.entries {
        let name = entry.path.strip_prefix(&doc).filter(|name| DEBIANS.contains(name));
        match name {
            Some("copyright") => drop(content.open()?.read_to_end(&mut copyright)?),
            Some(_) => {
                let mut packed = flate2::read::MultiGzDecoder::new(content.open()?);
                packed.read_to_end(&mut log)?;
            }
            None if entry.path.is_empty() => {}
            None => {
                let mut moved = entry.clone();
                moved.path = format!("root/{}", entry.path);
                if let Kind::Hardlink(target) = &mut moved.kind {
                    *target = format!("root/{target}");
                }
                any |= entry.kind != Kind::Dir;
                unpacker.add(&moved, &mut content.open()?)?;
            }
        }
    }
    unpacker.finish()?;
    let files = debian(parts, &package, any, copyright, log)?;
    for (name, text) in files {
        let path = top.join("debian").join(&name);
        file::write(&path, text)?;
        let mode = if name == "rules" { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    fs::rename(&top, &path).context(failed)?;
    Ok(Tree { path, package, version, paragraph: parts.paragraph.clone(), mtime })
}

/// The files of `debian/`.
fn debian(
    parts: &Parts,
    package: &str,
    any: bool,
    copyright: Vec<u8>,
    log: Vec<u8>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = vec![
        ("control".to_owned(), control(parts, package)?.into_bytes()),
        ("changelog".to_owned(), log),
        ("source/format".to_owned(), b"3.0 (quilt)\n".to_vec()),
        ("rules".to_owned(), RULES.as_bytes().to_vec()),
    ];
    if !copyright.is_empty() {
        files.push(("copyright".into(), copyright));
    }
    if any {
        files.push((format!("{package}.install"), b"root/* /\n".to_vec()));
    }
    for name in ["preinst", "postinst", "prerm", "postrm", "triggers"] {
        if let Some(bytes) = parts.files.get(name) {
            let mut text = String::from_utf8_lossy(bytes).into_owned();
            if name != "triggers" && !text.contains("#DEBHELPER#") {
                let end = if text.ends_with("exit 0\n") { text.len() - 7 } else { text.len() };
                text.insert_str(end, "#DEBHELPER#\n\n");
            }
            files.push((format!("{package}.{name}"), text.into_bytes()));
        }
    }
    Ok(files)
}

/// What is there was compiled, stripped and bound already; sums, owners and the archive are
/// debhelper's to make.
const RULES: &str = "#!/usr/bin/make -f
%:
\tdh $@

override_dh_auto_configure override_dh_auto_build override_dh_auto_test override_dh_auto_install \
override_dh_auto_clean override_dh_strip override_dh_dwz override_dh_shlibdeps \
override_dh_makeshlibs override_dh_installsystemd:
";

/// The fields of the binary paragraph that are the package's own.
const OWN: [&str; 12] = [
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Breaks",
    "Conflicts",
    "Replaces",
    "Provides",
    "Multi-Arch",
    "Essential",
    "Description",
];

fn control(parts: &Parts, package: &str) -> Result<String> {
    let get = |field: &str| parts.paragraph.get(field);
    let mut source = Paragraph::new();
    source.set("Source", package);
    source.set("Section", get("Section").unwrap_or("misc"));
    source.set("Priority", get("Priority").unwrap_or("optional"));
    source.set("Maintainer", parts.paragraph.require("Maintainer")?);
    source.set("Build-Depends", "debhelper-compat (= 13)");
    source.set("Standards-Version", STANDARDS);
    if let Some(homepage) = get("Homepage") {
        source.set("Homepage", homepage);
    }
    source.set("Rules-Requires-Root", "no");
    let mut binary = Paragraph::new();
    binary.set("Package", package);
    binary.set("Architecture", parts.paragraph.require("Architecture")?);
    for field in OWN {
        if let Some(value) = get(field) {
            let value = if field == "Depends" {
                format!("{value}, ${{misc:Depends}}")
            } else {
                value.to_owned()
            };
            binary.set(field, value);
        } else if field == "Depends" {
            binary.set(field, "${misc:Depends}");
        }
    }
    Ok(format!("{source}\n{binary}"))
}

impl Tree {
    /// Writes the source package beside the tree: `.orig.tar.xz`, `.debian.tar.xz` and `.dsc`,
    /// which is signed with `key` where there is one. Their paths, the `.dsc` first.
    pub fn package(&self, key: Option<&str>, console: &Console) -> Result<Vec<PathBuf>> {
        let Tree { package, version, .. } = self;
        let upstream = version.upstream();
        if !version.without_epoch().contains('-') {
            return Err(Error::new(format!("'{version}' has no Debian revision"))
                .hint("give one with --packaging-version"));
        }
        let orig = beside(&self.path, &format!("{package}_{upstream}.orig.tar.xz"));
        let debian =
            beside(&self.path, &format!("{package}_{}.debian.tar.xz", version.without_epoch()));
        self.archive(&orig, &format!("{package}-{upstream}"), &["debian"])?;
        let mut entries = crate::tree::walk(&self.path.join("debian"), &[])?;
        prefix(&mut entries, "debian");
        self.write(&debian, &entries)?;

        let get = |field: &str| self.paragraph.get(field).unwrap_or_default();
        let files = [Summed::read(&orig)?, Summed::read(&debian)?];
        let mut dsc = Paragraph::new();
        dsc.set("Format", "3.0 (quilt)");
        dsc.set("Source", package);
        dsc.set("Binary", package);
        dsc.set("Architecture", get("Architecture"));
        dsc.set("Version", version.to_string());
        dsc.set("Maintainer", get("Maintainer"));
        if !get("Homepage").is_empty() {
            dsc.set("Homepage", get("Homepage"));
        }
        dsc.set("Standards-Version", STANDARDS);
        dsc.set("Build-Depends", "debhelper-compat (= 13)");
        dsc.set(
            "Package-List",
            format!(
                "\n {package} deb {} {} arch={}",
                get("Section"),
                get("Priority"),
                get("Architecture")
            ),
        );
        dsc.set("Checksums-Sha1", Summed::sha1_field(&files));
        dsc.set("Checksums-Sha256", Summed::sha256_field(&files));
        let md5: String =
            files.iter().map(|f| format!("\n {} {} {}", f.md5, f.size, f.name)).collect();
        dsc.set("Files", md5);
        let path = beside(&self.path, &format!("{package}_{}.dsc", version.without_epoch()));
        file::write(&path, dsc.to_string())?;
        if let Some(key) = key {
            sign(&path, key, console)?;
        }
        Ok(vec![path, orig, debian])
    }

    fn archive(&self, path: &Path, top: &str, skip: &[&str]) -> Result<()> {
        let mut entries = crate::tree::walk(&self.path, skip)?;
        prefix(&mut entries, top);
        self.write(path, &entries)
    }

    fn write(&self, path: &Path, entries: &[(Entry, Content)]) -> Result<()> {
        let failed = || format!("cannot write '{}'", display(path));
        let mut file = AtomicFile::create(path)?;
        // 6 is xz's own default, and what dpkg-source takes.
        let mut archive = Compression::Xz(6).encode(&mut file).context(failed)?;
        for (entry, content) in entries {
            let mode = if matches!(entry.kind, Kind::Dir) || entry.attributes.mode & 0o100 != 0 {
                0o755
            } else {
                0o644
            };
            let mtime = if entry.path.ends_with("/debian") || entry.path.contains("debian/") {
                self.mtime
            } else {
                entry.attributes.mtime.min(self.mtime)
            };
            header(&mut archive, &entry.path, &Attributes::root(mode, mtime), &entry.kind)
                .context(failed)?;
            if let Kind::File(size) = entry.kind {
                std::io::copy(&mut content.open()?, &mut archive).context(failed)?;
                let padding = (512 - (size % 512) as usize) % 512;
                archive.write_all(&[0; 512][..padding]).context(failed)?;
            }
        }
        archive.write_all(&[0; 1024]).context(failed)?;
        archive.finish().context(failed)?;
        file.commit()
    }
}

/// Puts a folder above all.
fn prefix(entries: &mut Vec<(Entry, Content)>, top: &str) {
    for (entry, _) in entries.iter_mut() {
        entry.path = format!("{top}/{}", entry.path);
        if let Kind::Hardlink(target) = &mut entry.kind {
            *target = format!("{top}/{target}");
        }
    }
    let attributes = Attributes::root(0o755, 0);
    let entry = Entry { path: top.to_owned(), attributes, kind: Kind::Dir, config: false };
    entries.insert(0, (entry, Content::Bytes(Vec::new())));
}
