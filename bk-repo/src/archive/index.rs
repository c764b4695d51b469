//! The published files of an index, put together from its chunks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bk::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use super::repository::object;
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
    let mut copied = Forms::default();
    for chunk in &manifest.chunks {
        if let Some(unpadded) = before.and_then(|before| before.read(&chunk.id, &mut copied)) {
            write(copied.each_ref().map(Vec::as_slice), unpadded)?;
            continue;
        }
        let object = load(&chunk.id)?;
        let parts = chunk::parts(&object)?;
        let text = chunk::unpack(&chunk.id, &object)?;
        if !parts.are_sound() {
            return Err(Error::new(format!("the object '{}' is damaged", chunk.id))
                .hint("'bk-repo check --repair' compresses it again"));
        }
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

/// A chunk in each of [`SUFFIXES`].
type Forms = [Vec<u8>; 4];

/// What an object says of its text and parts, in the order of [`SUFFIXES`].
fn in_order<T>([plain, zstd, gzip, xz]: [T; 4]) -> [T; 4] {
    [plain, gzip, xz, zstd]
}

/// The published files of an index as it was, to copy from what did not change: that costs neither
/// unpacking nor the hash of each chunk. Objects say in their heads how long their forms are, and
/// their sums: what is not the same any more in a file, for whatever reason, is not copied.
pub struct Before {
    files: [File; 4],
    /// Where chunks are in each file, and what they are.
    chunks: HashMap<String, ([u64; 4], chunk::Head)>,
}

impl Before {
    /// Opens the files of an index; `None` where there is not each of them, or something does not fit:
    /// then the objects have it all. `open` gives files of the repository.
    pub fn open(
        manifest: &Manifest,
        files: &[IndexFile],
        dir: &str,
        open: &dyn Fn(&str) -> Option<File>,
    ) -> Option<Self> {
        let file = |suffix: &&str| {
            let file = files.iter().find(|file| file.suffix == *suffix)?;
            open(&by_hash(dir, &file.sha256))
        };
        let files: Vec<File> = SUFFIXES.iter().map_while(file).collect();
        let mut chunks = HashMap::new();
        let mut at = [0; 4];
        at[XZ] = xz::HEADER.len() as u64;
        for chunk in &manifest.chunks {
            let mut head = [0; chunk::HEAD];
            // The compressed parts of one chunk alone are longer than its head.
            open(&object(&chunk.id))?.read_exact(&mut head).ok()?;
            let head = chunk::head(&head)?;
            let lengths = in_order(head.lengths);
            chunks.insert(chunk.id.clone(), (at, head));
            at.iter_mut().zip(lengths).for_each(|(at, n)| *at += n as u64);
        }
        Some(Before { files: files.try_into().ok()?, chunks })
    }

    /// Reads the forms of a chunk, and returns the unpadded length of its xz block; `None` where the
    /// files do not have it as its object does.
    fn read(&self, id: &str, forms: &mut Forms) -> Option<u64> {
        let (at, head) = self.chunks.get(id)?;
        let (lengths, sums) = (in_order(head.lengths), in_order(head.sums?));
        for (i, form) in forms.iter_mut().enumerate() {
            form.resize(lengths[i], 0);
            self.files[i].read_exact_at(form, at[i]).ok()?;
            if chunk::sum(form) != sums[i] {
                return None;
            }
        }
        Some(head.xz_unpadded)
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
