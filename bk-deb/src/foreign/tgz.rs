//! Compressed tar archives of a tree, as Slackware and alien(1) have them.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use bk::file::AtomicFile;
use bk::{Context, Error, Result, display, sanitize};

use super::script::refused;
use super::{Made, Spool, debian_name, fields};
use crate::debian::compression::{Compression, decode};
use crate::debian::deb::header;
use crate::debian::version::Version;
use crate::extract::of_tar;
use crate::pack::parts::Parts;
use crate::tree::Kind;

/// Slackware's script, run at the root when everything is there.
const SCRIPT: &str = "install/doinst.sh";
const SCRIPT_LIMIT: u64 = 16 << 20;

pub fn read(path: &Path, file: File, arch: &str, drop_scripts: bool) -> Result<Parts> {
    let (name, version) = name_and_version(path)?;
    let mut archive = tar::Archive::new(decode(BufReader::new(file))?);
    let mut spool = Spool::new()?;
    let mut script = None;
    let mut any = false;
    for tar in archive.entries().context(|| "it is no tar archive".into())? {
        let mut tar = tar.context(|| "it is no whole tar archive".into())?;
        any = true;
        let entry = of_tar(&tar)?;
        if entry.path == SCRIPT {
            let mut text = Vec::new();
            (&mut tar).take(SCRIPT_LIMIT).read_to_end(&mut text)?;
            script = Some(text);
        } else if entry.path != "install" && !entry.path.starts_with("install/") {
            spool.add(entry, &mut tar)?;
        }
    }
    if !any {
        return Err(Error::new("it is no .rpm, no .deb and no tar archive"));
    }
    let mut parts = Parts { entries: spool.finish()?, ..Parts::default() };
    if let Some(script) = script.filter(|_| !drop_scripts) {
        let body = String::from_utf8(script).map_err(|_| refused(SCRIPT, "it is not UTF-8"))?;
        let text =
            format!("#!/bin/sh\n[ \"$1\" = configure ] || exit 0\ncd /\n{}\n", body.trim_end());
        parts.files.insert("postinst".into(), text.into_bytes());
    }
    let paragraph = &mut parts.paragraph;
    paragraph.set("Package", debian_name(&name));
    paragraph.set("Version", version);
    paragraph.set("Architecture", arch);
    fields(paragraph);
    paragraph.set("Description", format!("{name}\n Converted from a tar archive."));
    Ok(parts)
}

/// `NAME-VERSION.tgz`, as Slackware and most others write it.
fn name_and_version(path: &Path) -> Result<(String, String)> {
    let file = path.file_name().map(display).unwrap_or_default();
    let endings = [".tgz", ".tar.gz", ".tar.xz", ".txz", ".tar.zst", ".tar"];
    let stem = endings.iter().find_map(|ending| file.strip_suffix(ending)).unwrap_or(&file);
    let split = stem
        .match_indices('-')
        .find(|(at, _)| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    let (name, version) = split
        .map(|(at, _)| (stem[..at].to_owned(), stem[at + 1..].replace('_', "-")))
        .filter(|(name, version)| name.len() > 1 && Version::parse(version).is_ok())
        .ok_or_else(|| {
            Error::new(format!("its name '{}' does not tell a version", sanitize(&file)))
                .hint("call it NAME-VERSION.tgz")
        })?;
    Ok((name, version))
}

pub fn write(
    parts: &Parts,
    dir: &Path,
    out: Option<&Path>,
    drop_scripts: bool,
    epoch: Option<u64>,
) -> Result<Made> {
    let scripts = ["preinst", "postinst", "prerm", "postrm", "config"];
    if let Some(script) = scripts.iter().find(|name| parts.files.contains_key(**name))
        && !drop_scripts
    {
        return Err(refused(script, "a .tgz has no scripts"));
    }
    let get = |field: &str| parts.paragraph.require(field);
    let version = Version::parse(get("Version")?)?.without_epoch().to_owned();
    let (package, architecture) = (get("Package")?.to_owned(), get("Architecture")?.to_owned());
    let path = dir.join(format!("{package}-{}.tgz", version.replace('-', "_")));
    if out.is_some() {
        let mut file = AtomicFile::create(&path)?;
        // 6: gzip's own default.
        let mut archive = Compression::Gzip(6).encode(&mut file)?;
        for (entry, content) in &parts.entries {
            let mut attributes = entry.attributes.clone();
            attributes.mtime = attributes.mtime.min(epoch.unwrap_or(u64::MAX));
            header(&mut archive, &entry.path, &attributes, &entry.kind)?;
            if let Kind::File(size) = entry.kind {
                std::io::copy(&mut content.open()?, &mut archive)?;
                let padding = (512 - (size % 512) as usize) % 512;
                archive.write_all(&[0; 512][..padding])?;
            }
        }
        archive.write_all(&[0; 1024])?;
        archive.finish()?;
        file.commit()?;
    }
    Ok(Made { path, package, version, architecture })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_tells_what_it_is() {
        let read = |name: &str| name_and_version(Path::new(name)).ok();
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(read("/x/tool-1.2.tgz"), pair("tool", "1.2"));
        assert_eq!(read("two-words-1.2-x86_64-1.tar.xz"), pair("two-words", "1.2-x86-64-1"));
        assert_eq!(read("tool_1.2.tgz"), None);
    }
}
