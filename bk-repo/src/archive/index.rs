//! The published files of an index, put together from its chunks.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use sha2_resumable::{Digest, Sha256};

use super::commit::Settings;
use super::layout::{self, Before, Layout, STEP};
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

/// The forms an index of a suite is published in, by what the names of the files end with.
pub fn suffixes(path: &str, settings: &Settings) -> Vec<&'static str> {
    if pdiff::is_patch(path) {
        return vec![".gz"];
    }
    let mut all = vec![""];
    // apt reads what leads to patches as it is.
    if path.rsplit('/').next() != Some("Index") {
        all.extend(settings.compression.0.iter().map(|compression| compression.suffix()));
    }
    all
}

/// The files of an index, waiting for their names.
pub struct Assembled {
    /// What the commit says of them.
    pub files: Vec<IndexFile>,
    /// Where they wait.
    pub staged: Vec<Staged>,
    /// What the next change goes on from.
    pub layout: Layout,
}

/// Writes these forms of the index `path` of a suite into `scratch`, to be placed in the folder `dir` by
/// their hashes. `load` gives chunks as they are stored; what `before` has is copied from there.
pub fn assemble(
    manifest: &Manifest,
    place: (&str, &str),
    forms: &[&str],
    scratch: &Path,
    before: Option<&Before>,
    load: &dyn Fn(&str) -> Result<Vec<u8>>,
) -> Result<Assembled> {
    let put = |before| put_together(manifest, place, forms, scratch, before, load);
    match put(before)? {
        Some(done) => Ok(done),
        // A file is not what it was: the objects have everything.
        None => put(None)?.ok_or_else(|| Error::new("cannot put an index together")),
    }
}

/// A form of an index on its way.
struct Form<'a> {
    suffix: &'a str,
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
}

impl Form<'_> {
    fn push(&mut self, bytes: &[u8], hash: bool) -> Result<()> {
        self.file.write_all(bytes).context(failed)?;
        self.size += bytes.len() as u64;
        if hash {
            self.hash.update(bytes);
        }
        Ok(())
    }
}

fn failed() -> String {
    "cannot put an index together".to_owned()
}

fn put_together(
    manifest: &Manifest,
    (dir, path): (&str, &str),
    wanted: &[&str],
    scratch: &Path,
    before: Option<&Before>,
    load: &dyn Fn(&str) -> Result<Vec<u8>>,
) -> Result<Option<Assembled>> {
    let mut forms = Vec::new();
    for &suffix in wanted {
        // Different indexes are written beside each other.
        let name = path.rsplit('/').next().unwrap_or_default();
        let path = scratch.join(format!("{}_{name}{suffix}", dir.replace('/', "_")));
        let file = File::create(&path).context(failed)?;
        let mut form = Form { suffix, path, file, hash: Sha256::new(), size: 0 };
        if suffix == ".xz" {
            form.push(&xz::HEADER, true)?;
        }
        forms.push(form);
    }
    let (mut blocks, mut pieces, mut states) = (Vec::new(), Vec::new(), Vec::new());
    let mut resumed = 0;
    if let Some((chunks, hashes)) = before.and_then(|before| before.resume(manifest)) {
        resumed = chunks;
        forms.iter_mut().zip(hashes).for_each(|(form, hash)| form.hash = hash);
    }
    // An empty file is no gzip, zstd or xz; an empty text in each of them is.
    if manifest.chunks.is_empty() {
        let empty = chunk::pack(b"", wanted)?;
        let parts = chunk::parts(&empty)?;
        for form in &mut forms {
            form.push(part(form.suffix, b"", &parts), true)?;
        }
    }
    let (mut at, mut buffer) = (0, Vec::new());
    while let Some(rest) = manifest.chunks.get(at..).filter(|rest| !rest.is_empty()) {
        if at % STEP == 0 {
            let known = before.filter(|_| at < resumed).and_then(|before| before.states(at));
            let now = || forms.iter().map(|form| layout::state(&form.hash)).collect();
            states.push(known.cloned().unwrap_or_else(now));
        }
        let rest = &rest[..rest.len().min(STEP - at % STEP)];
        let known = (at < resumed).then_some(at);
        let run = before.and_then(|before| Some((before, before.run(known, rest)?)));
        if let Some((before, (first, run))) = run {
            for (i, form) in forms.iter_mut().enumerate() {
                match before.read(i, first, run, &mut buffer) {
                    Some(bytes) => form.push(bytes, at >= resumed)?,
                    None => return Ok(None),
                }
            }
            pieces.extend_from_slice(run);
            blocks.extend(run.iter().zip(rest).map(|(piece, chunk)| (piece.unpadded, chunk.size)));
            at += run.len();
            continue;
        }
        let id = &rest[0].id;
        let object = load(id)?;
        let parts = chunk::parts(&object)?;
        if !parts.are_sound() {
            return Err(Error::new(format!("the object '{id}' is damaged"))
                .hint("'bk-repo check --repair' compresses it again"));
        }
        let copied = before.and_then(|before| before.text(id));
        let text = copied.map_or_else(|| chunk::unpack(id, &object), Ok)?;
        let again;
        let parts = match parts.have(wanted) {
            true => parts,
            // It came from a suite with fewer forms.
            false => {
                again = chunk::pack(&text, wanted)?;
                chunk::parts(&again)?
            }
        };
        let all: Vec<&[u8]> = forms.iter().map(|form| part(form.suffix, &text, &parts)).collect();
        let unpadded = parts.head.xz_unpadded;
        pieces.push(layout::piece(&all, unpadded));
        forms.iter_mut().zip(all).try_for_each(|(form, bytes)| form.push(bytes, true))?;
        blocks.push((unpadded, text.len() as u64));
        at += 1;
    }
    let (mut files, mut staged, mut stamps) = (Vec::new(), Vec::new(), Vec::new());
    for mut form in forms {
        if form.suffix == ".xz" {
            let mut end = Vec::new();
            xz::end(&mut end, &blocks).context(failed)?;
            form.push(&end, true)?;
        }
        let sha256 = layout::hex(&form.hash.finalize());
        stamps.push((sha256.clone(), layout::stamp(&form.file).context(failed)?));
        staged.push(Staged::new(by_hash(dir, &sha256), form.path));
        files.push(IndexFile { suffix: form.suffix.into(), sha256, size: form.size });
    }
    let layout = Layout::new(stamps, pieces, states);
    Ok(Some(Assembled { files, staged, layout }))
}

/// What a chunk is in the form with a suffix.
fn part<'a>(suffix: &str, text: &'a [u8], parts: &chunk::Parts<'a>) -> &'a [u8] {
    match suffix {
        ".gz" => parts.gzip,
        ".xz" => parts.xz,
        ".zst" => parts.zstd,
        _ => text,
    }
}

/// The name of a file by its hash, in the folder `dir`.
pub fn by_hash(dir: &str, sha256: &str) -> String {
    format!("{dir}/by-hash/SHA256/{sha256}")
}
