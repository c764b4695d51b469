//! How the published files of an index were put together: what lies where in them, and how far their
//! hashes were at some places. The files of the next generation have most of it in common, and go on
//! from there: what comes before the first change is copied and not hashed again.
//!
//! A layout is a note beside the repository's state: without it everything is made from the objects.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use bk::Result;
use serde::{Deserialize, Serialize};
use sha2_resumable::Sha256;
use sha2_resumable::digest::common::hazmat::{SerializableState, SerializedState};

use super::commit::{self, Index};
use super::index::by_hash;
use super::manifest::{Chunk, Manifest};
use super::{chunk, xz};
use crate::store::{PRIVATE, Store};

/// The format, and the version of the crate that the states belong to.
const VERSION: u32 = 1;

/// At every this many chunks the state of the hashes is noted: what is hashed again for nothing is half
/// of that, 1 MiB at most.
pub const STEP: usize = 8;

/// What a chunk became in each form of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Its length in each.
    pub lengths: Vec<u64>,
    /// Its CRC32 in each: it finds what a disk does.
    pub sums: Vec<u32>,
    /// The length of the xz block without padding.
    pub unpadded: u64,
}

/// What tells a file from all others, and from itself once it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of a file.
    pub fn of(meta: &Metadata) -> Self {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// The same but for the change that a rename is.
    fn renamed(&self, now: Stamp) -> bool {
        Stamp { changed: self.changed, ..now } == *self
    }
}

/// How the files of an index were put together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    version: u32,
    /// The object with its manifest.
    manifest: String,
    /// Each file by its hash, as it was left.
    files: Vec<(String, Stamp)>,
    /// Each chunk.
    pieces: Vec<Piece>,
    /// The states of the hashes before every [`STEP`]th chunk.
    states: Vec<Vec<String>>,
}

impl Layout {
    /// What is noted while files are put together: the files, still with the names they wait under, the
    /// chunks, and the states of the hashes.
    pub fn new(files: Vec<(String, Stamp)>, pieces: Vec<Piece>, states: Vec<Vec<String>>) -> Self {
        Layout { version: VERSION, manifest: String::new(), files, pieces, states }
    }

    /// Says which object has the manifest.
    pub fn of_manifest(self, id: &str) -> Self {
        Layout { manifest: id.to_owned(), ..self }
    }

    /// Looks at the files once they have their names. Says whether all are those that were written: a name
    /// that was taken keeps its file, which may be anything.
    pub fn witness(&mut self, store: &dyn Store, dir: &str) -> bool {
        self.files.iter_mut().all(|(sha256, stamp)| {
            let Some(path) = store.local(&by_hash(dir, sha256)) else { return false };
            let Ok(now) = path.metadata().map(|meta| Stamp::of(&meta)) else { return false };
            let mine = stamp.renamed(now);
            *stamp = now;
            mine
        })
    }

    /// Keeps it for the next change of the index.
    pub fn keep(&self, store: &dyn Store, suite: &str, path: &str) -> Result<()> {
        store.note(&key(suite, path), &commit::seal(&serde_json::to_vec(self)?))
    }

    /// What was kept on an index, if it is on these files.
    fn of(store: &dyn Store, suite: &str, path: &str, index: &Index) -> Option<Self> {
        let bytes = store.read(&key(suite, path)).ok()??;
        let layout: Layout = serde_json::from_slice(commit::unseal(&bytes).ok()?).ok()?;
        let forms = index.files.len();
        let same = layout.version == VERSION
            && layout.manifest == index.manifest
            && layout.files.len() == forms
            && layout.files.iter().zip(&index.files).all(|((hash, _), file)| *hash == file.sha256)
            && layout.pieces.iter().all(|p| p.lengths.len() == forms && p.sums.len() == forms)
            && layout.states.iter().all(|states| states.len() == forms);
        same.then_some(layout)
    }
}

fn key(suite: &str, path: &str) -> String {
    format!("{PRIVATE}/layouts/{suite}/{path}")
}

/// The state of a hash, as text.
pub fn state(hash: &Sha256) -> String {
    hex(&hash.serialize())
}

/// The hash with that state.
fn resume(state: &str) -> Option<Sha256> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pairs = state.as_bytes().chunks_exact(2);
    let bytes: Option<Vec<u8>> =
        pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect();
    let state = SerializedState::<Sha256>::try_from(bytes?.as_slice()).ok()?;
    Sha256::deserialize(&state).ok()
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    // Two digits a byte; format! for each would be the slowest part of a note.
    let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The files of an index as they were published before a change.
pub struct Before {
    files: Vec<File>,
    /// Where the uncompressed one is among them.
    plain: Option<usize>,
    chunks: Vec<Chunk>,
    /// Where each chunk is among these.
    places: HashMap<String, usize>,
    /// Where each chunk is in each file, and then their ends; without a layout only in the plain one.
    starts: Vec<Vec<u64>>,
    /// Where the files are those that this program left.
    layout: Option<Layout>,
}

impl Before {
    /// Opens the files of an index; `None` where they are not there or cannot be opened: then the objects
    /// have it all.
    pub fn open(
        store: &dyn Store,
        manifest: Manifest,
        index: &Index,
        (suite, dir, path): (&str, &str, &str),
    ) -> Option<Self> {
        let files: Vec<File> = index
            .files
            .iter()
            // A bucket has no files to copy from: each range would be a request.
            .map(|file| File::open(store.local(&by_hash(dir, &file.sha256))?).ok())
            .collect::<Option<_>>()?;
        let untouched = |layout: &Layout| {
            let now = files.iter().map(|file| Some(Stamp::of(&file.metadata().ok()?)));
            now.eq(layout.files.iter().map(|(_, stamp)| Some(*stamp)))
                && layout.pieces.len() == manifest.chunks.len()
                && layout.states.len() == manifest.chunks.len().div_ceil(STEP)
        };
        let layout = Layout::of(store, suite, path, index).filter(untouched);
        let mut at: Vec<u64> = index
            .suffixes()
            .map(|suffix| if suffix == ".xz" { xz::HEADER.len() as u64 } else { 0 })
            .collect();
        let mut starts = vec![at.clone()];
        for (i, chunk) in manifest.chunks.iter().enumerate() {
            let piece = layout.as_ref().and_then(|layout| layout.pieces.get(i));
            for (form, at) in at.iter_mut().enumerate() {
                *at += piece.map_or(chunk.size, |piece| piece.lengths[form]);
            }
            starts.push(at.clone());
        }
        let plain = index.files.iter().position(|file| file.suffix.is_empty());
        let places = manifest.chunks.iter().enumerate().map(|(i, c)| (c.id.clone(), i)).collect();
        Some(Before { files, plain, chunks: manifest.chunks, places, starts, layout })
    }

    /// How many chunks at the beginning of an index need not be hashed again, and the hashes before the
    /// one after them.
    pub fn resume(&self, manifest: &Manifest) -> Option<(usize, Vec<Sha256>)> {
        let layout = self.layout.as_ref()?;
        let both = self.chunks.iter().zip(&manifest.chunks);
        let same = both.take_while(|(old, new)| old.id == new.id).count();
        let step = (same / STEP).min(layout.states.len().checked_sub(1)?);
        let states = layout.states.get(step)?.iter().map(|state| resume(state));
        Some((step * STEP, states.collect::<Option<_>>()?))
    }

    /// The states noted before a chunk.
    pub fn states(&self, chunk: usize) -> Option<&Vec<String>> {
        self.layout.as_ref()?.states.get(chunk / STEP)
    }

    /// Where the first of some chunks is, if it is not `at` this place, and how many of them come one
    /// after the other here too.
    pub fn run(&self, at: Option<usize>, chunks: &[Chunk]) -> Option<(usize, &[Piece])> {
        let layout = self.layout.as_ref()?;
        let first = at.or_else(|| self.places.get(&chunks.first()?.id).copied())?;
        let same = self.chunks.get(first..)?.iter().zip(chunks);
        let count = same.take_while(|(old, new)| old.id == new.id).count();
        Some((first, layout.pieces.get(first..first + count)?))
    }

    /// Reads the pieces of a form that begin with that of chunk `first`; `None` where they are not what
    /// they were.
    pub fn read<'a>(
        &self,
        form: usize,
        first: usize,
        pieces: &[Piece],
        buffer: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        let at = |chunk: usize| self.starts.get(chunk)?.get(form).copied();
        let (start, end) = (at(first)?, at(first + pieces.len())?);
        buffer.resize(usize::try_from(end - start).ok()?, 0);
        self.files.get(form)?.read_exact_at(buffer, start).ok()?;
        let mut rest = &buffer[..];
        for piece in pieces {
            let (part, more) = rest.split_at_checked(*piece.lengths.get(form)? as usize)?;
            (chunk::sum(part) == *piece.sums.get(form)?).then_some(())?;
            rest = more;
        }
        Some(buffer)
    }

    /// The text of a chunk, where the files are those that this program left.
    pub fn believed(&self, id: &str) -> Option<Vec<u8>> {
        let (place, mut text) = (*self.places.get(id)?, Vec::new());
        let piece = self.layout.as_ref()?.pieces.get(place..=place)?;
        self.read(self.plain?, place, piece, &mut text)?;
        Some(text)
    }

    /// The text of a chunk, where files may have been written by others than who signs: a checksum would
    /// not do.
    pub fn text(&self, id: &str) -> Option<Vec<u8>> {
        let place = *self.places.get(id)?;
        let size = usize::try_from(self.chunks.get(place)?.size).ok()?;
        let plain = self.plain?;
        let mut text = vec![0; size];
        self.files
            .get(plain)?
            .read_exact_at(&mut text, *self.starts.get(place)?.get(plain)?)
            .ok()?;
        (chunk::id(&text) == id).then_some(text)
    }
}

/// What a chunk became in each of these forms.
pub fn piece(forms: &[&[u8]], unpadded: u64) -> Piece {
    Piece {
        lengths: forms.iter().map(|form| form.len() as u64).collect(),
        sums: forms.iter().map(|form| chunk::sum(form)).collect(),
        unpadded,
    }
}

/// The stamp of a file that waits for its name.
pub fn stamp(file: &File) -> io::Result<Stamp> {
    Ok(Stamp::of(&file.metadata()?))
}

#[cfg(test)]
mod tests {
    use super::super::index::{Assembled, assemble};
    use super::super::manifest::{Changes, Key};
    use super::*;
    use crate::store::Folder;
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;
    use std::path::Path;

    const DIR: &str = "dists/s/main/binary-all";
    const PATH: &str = "main/binary-all/Packages";
    const FORMS: [&str; 4] = ["", ".gz", ".xz", ".zst"];

    struct Made {
        manifest: Manifest,
        index: Index,
    }

    /// An index of some packages, each of which has a chunk's least size.
    struct Maker {
        store: Folder,
        scratch: tempfile::TempDir,
        objects: BTreeMap<String, Vec<u8>>,
    }

    impl Maker {
        fn new(dir: &Path) -> Result<Self> {
            let scratch = tempfile::tempdir()?;
            Ok(Maker { store: Folder::new(dir), scratch, objects: BTreeMap::new() })
        }

        fn manifest(&mut self, packages: &[u32]) -> Result<Manifest> {
            let stanza = |i: &u32| -> (Key, Option<_>) {
                let (name, version) = (format!("p{i:03}"), "1".to_owned());
                // Long enough that each chunk has a few.
                let filler: String = (0..9000).map(|k| format!("{:x}", k * (i + 7))).collect();
                let text = format!("Package: {name}\nVersion: 1\nArchitecture: all\nX: {filler}\n");
                let key = Key { name, version, architecture: "all".into() };
                (key, Some(text.into_bytes().into()))
            };
            let changes: Changes = packages.iter().map(stanza).collect();
            let (manifest, texts) = Manifest::default().apply(&changes, &|_| Ok(Vec::new()))?;
            for (id, text) in texts {
                if let Entry::Vacant(entry) = self.objects.entry(id) {
                    entry.insert(chunk::pack(&text, &FORMS)?);
                }
            }
            Ok(manifest)
        }

        fn assemble(&self, manifest: &Manifest, before: Option<&Before>) -> Result<Assembled> {
            let load = |id: &str| Ok(self.objects[id].clone());
            assemble(manifest, (DIR, PATH), &FORMS, self.scratch.path(), before, &load)
        }

        /// Publishes it, and keeps how.
        fn publish(&mut self, packages: &[u32], before: Option<&Made>) -> Result<(Made, Layout)> {
            let manifest = self.manifest(packages)?;
            let before = before.and_then(|made| self.before(made));
            let made = self.assemble(&manifest, before.as_ref())?;
            self.store.place(made.staged)?;
            let mut layout = made.layout.of_manifest("m");
            assert!(layout.witness(&self.store, DIR));
            layout.keep(&self.store, "s", PATH)?;
            let index = Index { manifest: "m".into(), count: manifest.count(), files: made.files };
            Ok((Made { manifest, index }, layout))
        }

        fn before(&self, made: &Made) -> Option<Before> {
            Before::open(&self.store, made.manifest.clone(), &made.index, ("s", DIR, PATH))
        }
    }

    #[test]
    fn files_go_on_from_those_before_them() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut maker = Maker::new(dir.path())?;
        let all: Vec<u32> = (0..120).collect();
        let (mut made, _) = maker.publish(&all, None)?;
        assert!(made.manifest.chunks.len() > 2 * STEP, "{}", made.manifest.chunks.len());
        // Without one in the middle, at the beginning, at the end, and more.
        for gone in [&[60][..], &[0], &[119], &[118, 119], &[30, 31, 90]] {
            let some: Vec<u32> = all.iter().copied().filter(|i| !gone.contains(i)).collect();
            let before = maker.before(&made).and_then(|before| before.layout);
            assert!(before.is_some(), "{gone:?}");
            let (next, _) = maker.publish(&some, Some(&made))?;
            assert_eq!(next.index.files, maker.assemble(&next.manifest, None)?.files, "{gone:?}");
            made = next;
        }
        Ok(())
    }

    #[test]
    fn who_changes_a_file_is_not_believed_and_what_a_disk_changes_is_found() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut maker = Maker::new(dir.path())?;
        let all: Vec<u32> = (0..120).collect();
        let (made, mut layout) = maker.publish(&all, None)?;
        let less = maker.manifest(&all[..100])?;
        let expected = maker.assemble(&less, None)?.files;
        for (form, file) in made.index.files.iter().enumerate() {
            for part in [10, 50] {
                let path = dir.path().join(by_hash(DIR, &file.sha256));
                let file = File::options().read(true).write(true).open(&path)?;
                let (at, mut byte) = (file.metadata()?.len() * part / 100, [0]);
                file.read_exact_at(&mut byte, at)?;
                file.write_all_at(&[byte[0] ^ 1], at)?;
                assert!(maker.before(&made).is_some_and(|before| before.layout.is_none()));
                // A disk leaves no trace: as if the file had not been written to.
                layout.files[form].1 = stamp(&file)?;
                layout.keep(&maker.store, "s", PATH)?;
                let before = maker.before(&made);
                assert!(before.as_ref().is_some_and(|before| before.layout.is_some()));
                assert_eq!(maker.assemble(&less, before.as_ref())?.files, expected);
                file.write_all_at(&byte, at)?;
                layout.files[form].1 = stamp(&file)?;
                layout.keep(&maker.store, "s", PATH)?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_state_is_the_hash_so_far() {
        use sha2_resumable::Digest;
        let text: Vec<u8> = (0..200u8).collect();
        for at in [0, 1, 63, 64, 65, 128, 200] {
            let mut hash = Sha256::new();
            hash.update(&text[..at]);
            let mut again = resume(&state(&hash)).unwrap_or_default();
            again.update(&text[at..]);
            assert_eq!(hex(&again.finalize()), chunk::id(&text), "{at}");
        }
        for bad in ["", "0", "zz", &"0".repeat(300)] {
            assert!(resume(bad).is_none());
        }
    }
}
