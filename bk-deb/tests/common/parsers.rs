//! Every parser of foreign bytes, as something that takes any bytes: what it says of them is nobody's
//! business here, but it must say something. The property tests and the fuzz targets share these.
#![allow(dead_code, reason = "each fuzz target uses one")]

use std::io::{BufReader, Read};

use bk_deb::debian::control::{Paragraph, field, fields, paragraphs};
use bk_deb::debian::deb::Deb;
use bk_deb::debian::version::{Version, compare};
use bk_deb::elf::{Elf, strip};
use bk_deb::python::{entry_points, metadata, record, requirement, tags};
use bk_deb::{debian::compression, mapping, tree};

/// What is read of a stream that could go on for long.
const LIMIT: u64 = 1 << 20;

/// Takes any bytes, and survives them.
type Parser = fn(&[u8]);

/// By name.
pub const ALL: &[(&str, Parser)] = &[
    ("metadata", metadata),
    ("record", record),
    ("wheel_name", wheel_name),
    ("requirement", requirement),
    ("entry_points", entry_points),
    ("deb", deb),
    ("control", control),
    ("version", version),
    ("elf", elf),
    ("compressed", compressed),
    ("path", path),
];

/// METADATA and WHEEL.
pub fn metadata(bytes: &[u8]) {
    drop(metadata::Metadata::parse(bytes));
    drop(metadata::Fields::parse(bytes));
}

/// RECORD; what is written of it is read back.
pub fn record(bytes: &[u8]) {
    let text = metadata::decode(bytes);
    if let Ok(record) = record::Record::parse(&text) {
        for path in record.paths() {
            let line = record::line(path, &[0; 32], 1);
            let back = record::Record::parse(&line);
            // A path starting with `./` is read without.
            assert!(back.is_ok(), "{path:?}");
        }
    }
}

/// Names of wheels, and their tags.
pub fn wheel_name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(name) = tags::parse_file_name(&text) {
        for tag in name.tags {
            tag.binding((3, 11));
            tag.runs_on("amd64");
        }
    }
}

/// Requirements (PEP 508), as METADATA and files of requirements have them.
pub fn requirement(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(requirement) = requirement::requirement(&text)
        && let Some(pep508_rs::VersionOrUrl::VersionSpecifier(specifiers)) =
            &requirement.version_or_url
    {
        drop(mapping::relation::relations("x", specifiers, 0, None));
    }
}

/// entry_points.txt.
pub fn entry_points(bytes: &[u8]) {
    drop(entry_points::parse(&metadata::decode(bytes)));
}

/// ar and tar archives of a .deb.
pub fn deb(bytes: &[u8]) {
    if let Ok(mut deb) = Deb::read(bytes) {
        drop(deb.control_files());
        let mut left = LIMIT;
        drop(deb.data(|entry| {
            drop(tree::safe(&entry.path_bytes()));
            let read = std::io::copy(&mut entry.take(left), &mut std::io::sink())?;
            left = left.saturating_sub(read);
            Ok(())
        }));
    }
}

/// Control files and indexes; what is read is written, and read back the same.
pub fn control(bytes: &[u8]) {
    for paragraph in paragraphs(bytes) {
        let _ = field(paragraph, "Package");
        assert!(fields(paragraph).count() <= bytes.len());
    }
    if let Ok(paragraph) = Paragraph::parse(bytes)
        && let Ok(back) = Paragraph::parse(paragraph.to_string().as_bytes())
    {
        assert_eq!(back.iter().count(), paragraph.iter().count());
    }
}

/// Debian's versions and Python's; an order is one both ways.
pub fn version(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    drop(Version::parse(&text));
    drop(mapping::version::python(&text));
    if let Some((a, b)) = text.split_once(' ') {
        assert_eq!(compare(a, b), compare(b, a).reverse());
    }
    if let Ok(version) = text.parse::<pep440_rs::Version>() {
        // dpkg's epochs end with its `int`.
        let fits = i32::try_from(version.epoch()).is_ok();
        assert_eq!(
            Version::parse(&mapping::version::debian(&version, 0)).is_ok(),
            fits,
            "{version}"
        );
    }
}

/// ELF files, and what is stripped of them.
pub fn elf(bytes: &[u8]) {
    drop(Elf::read(bytes));
    if let Ok(Some(edit)) = strip::plan(bytes, true) {
        let mut out = Vec::new();
        drop(edit.reader(bytes).take(LIMIT).read_to_end(&mut out));
    }
}

/// Compressed streams.
pub fn compressed(bytes: &[u8]) {
    if let Ok(reader) = compression::decode(BufReader::new(bytes)) {
        drop(std::io::copy(&mut reader.take(LIMIT), &mut std::io::sink()));
    }
}

/// Paths in packages: none leaves its folder.
pub fn path(bytes: &[u8]) {
    if let Ok(path) = tree::safe(bytes) {
        assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
    }
}
