//! The published files of an index, put together from its chunks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bk::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::{Chunk, Manifest};
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

/// Where `.xz` is among them.
const XZ: usize = 2;

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
/// by their hashes. `load` gives chunks as they are stored; what `before` has is copied from there.
pub fn assemble(
    manifest: &Manifest,
    (dir, path): (&str, &str),
    scratch: &Path,
    before: Option<&Before>,
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
    let mut write = |forms: [&[u8]; 4], xz_unpadded: u64| -> Result<()> {
        for (suffix, _, writer) in &mut writers {
            let form = SUFFIXES.iter().position(|known| known == suffix).unwrap_or_default();
            writer.write_all(forms[form]).context(failed)?;
        }
        if !forms[XZ].is_empty() {
            blocks.push((xz_unpadded, forms[0].len() as u64));
        }
        Ok(())
    };
    // An empty file is no gzip, zstd or xz; an empty text in each of them is.
    if manifest.chunks.is_empty() {
        let empty = chunk::pack(b"")?;
        let parts = chunk::parts(&empty)?;
        write([b"", parts.gzip, parts.xz, parts.zstd], parts.head.xz_unpadded)?;
    }
    for chunk in &manifest.chunks {
        let object = load(&chunk.id)?;
        let parts = chunk::parts(&object)?;
        if !parts.are_sound() {
            return Err(Error::new(format!("the object '{}' is damaged", chunk.id))
                .hint("'bk-repo check --repair' compresses it again"));
        }
        let copied = before.and_then(|before| before.text(&chunk.id));
        let text = copied.map_or_else(|| chunk::unpack(&chunk.id, &object), Ok)?;
        write([&text, parts.gzip, parts.xz, parts.zstd], parts.head.xz_unpadded)?;
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

/// The uncompressed form of an index as it was published: to read what did not change from there costs
/// less than to unpack it.
pub struct Before {
    file: File,
    /// Where chunks are in it, and how long they are.
    chunks: HashMap<String, (u64, usize)>,
}

impl Before {
    /// Opens the file of an index; `None` where there is none: then the objects have it all. `open` gives
    /// files of the repository.
    pub fn open(
        manifest: &Manifest,
        files: &[IndexFile],
        dir: &str,
        open: &dyn Fn(&str) -> Option<File>,
    ) -> Option<Self> {
        let plain = files.iter().find(|file| file.suffix.is_empty())?;
        let file = open(&by_hash(dir, &plain.sha256))?;
        let mut at = 0;
        let place = |chunk: &Chunk| {
            let place = (at, usize::try_from(chunk.size).ok()?);
            at += chunk.size;
            Some((chunk.id.clone(), place))
        };
        Some(Before { file, chunks: manifest.chunks.iter().map_while(place).collect() })
    }

    /// The text of a chunk; `None` where the file does not have what its name says. It is served to
    /// anyone and may be written by others than who signs, so a checksum would not do.
    fn text(&self, id: &str) -> Option<Vec<u8>> {
        let (at, size) = *self.chunks.get(id)?;
        let mut text = vec![0; size];
        self.file.read_exact_at(&mut text, at).ok()?;
        (chunk::id(&text) == id).then_some(text)
    }
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
