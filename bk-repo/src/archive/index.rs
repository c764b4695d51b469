//! The published files of an index, put together from its chunks.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bk::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use super::{chunk, pdiff, xz};
use crate::store::Staged;

/// A published form of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// What its name ends with: nothing, `.gz`, `.xz`, `.zst`.
    pub suffix: String,
    /// Its hash, in hex.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// The forms every index is published in.
pub const SUFFIXES: [&str; 4] = ["", ".gz", ".xz", ".zst"];

/// The forms an index is published in.
pub fn suffixes(path: &str) -> &'static [&'static str] {
    if pdiff::is_patch(path) {
        return &[".gz"];
    }
    match path.rsplit('/').next().unwrap_or_default() {
        // apt reads it as it is.
        "Index" => &[""],
        _ => &SUFFIXES,
    }
}

/// Writes the forms of the index `path` of a suite into `scratch`, to be placed in the folder `dir`
/// by their hashes. `load` gives chunks as they are stored.
pub fn assemble(
    manifest: &Manifest,
    (dir, path): (&str, &str),
    scratch: &Path,
    load: &dyn Fn(&str) -> Result<Vec<u8>>,
) -> Result<(Vec<IndexFile>, Vec<Staged>)> {
    let failed = || "cannot put an index together".to_owned();
    let mut writers = Vec::new();
    for &suffix in suffixes(path) {
        // Different indexes are written beside each other.
        let name = path.rsplit('/').next().unwrap_or_default();
        let path = scratch.join(format!("{}_{name}{suffix}", dir.replace('/', "_")));
        let file = File::create(&path).context(failed)?;
        let mut writer = Hashing::new(BufWriter::with_capacity(1 << 16, file));
        if suffix == ".xz" {
            xz::start(&mut writer).context(failed)?;
        }
        writers.push((suffix, path, writer));
    }
    let mut blocks = Vec::new();
    // An empty file is no gzip, zstd or xz; an empty text in each of them is.
    let empty = if manifest.chunks.is_empty() { Some(chunk::pack(b"")?) } else { None };
    let ids = manifest.chunks.iter().map(|chunk| Some(chunk.id.as_str()));
    for id in ids.chain(empty.iter().map(|_| None)) {
        let object = match (id, &empty) {
            (Some(id), _) => load(id)?,
            (None, empty) => empty.clone().unwrap_or_default(),
        };
        let parts = chunk::parts(&object)?;
        let text = match id {
            Some(id) => chunk::unpack(id, &object)?,
            None => Vec::new(),
        };
        for (suffix, _, writer) in &mut writers {
            let mut write = |writer: &mut Hashing| match *suffix {
                "" => writer.write_all(&text),
                ".gz" => writer.write_all(parts.gzip),
                ".zst" => writer.write_all(parts.zstd),
                _ if parts.xz.is_empty() => Ok(()),
                _ => {
                    blocks.push((parts.xz_unpadded, parts.plain as u64));
                    writer.write_all(parts.xz)
                }
            };
            write(writer).context(failed)?;
        }
    }
    let (mut files, mut staged) = (Vec::new(), Vec::new());
    for (suffix, path, mut writer) in writers {
        if suffix == ".xz" {
            xz::end(&mut writer, &blocks).context(failed)?;
        }
        let (sha256, size) = writer.finish().context(failed)?;
        staged.push(Staged { key: by_hash(dir, &sha256), path });
        files.push(IndexFile { suffix: suffix.into(), sha256, size });
    }
    Ok((files, staged))
}

/// The name of a file by its hash, in the folder `dir`.
pub fn by_hash(dir: &str, sha256: &str) -> String {
    format!("{dir}/by-hash/SHA256/{sha256}")
}

/// Hashes and counts what is written.
struct Hashing {
    writer: BufWriter<File>,
    hash: Sha256,
    size: u64,
}

impl Hashing {
    fn new(writer: BufWriter<File>) -> Self {
        Hashing { writer, hash: Sha256::new(), size: 0 }
    }

    fn finish(mut self) -> io::Result<(String, u64)> {
        self.writer.flush()?;
        Ok((format!("{:x}", self.hash.finalize()), self.size))
    }
}

impl Write for Hashing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.writer.write(buffer)?;
        self.hash.update(&buffer[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
