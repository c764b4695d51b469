//! The new chunks of an index, on their way to the repository.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bk::{Context, Result, display};

use super::chunk;
use super::commit::Index;
use super::index::{Assembled, assemble};
use super::layout::{Before, Layout};
use super::manifest::Manifest;
use super::repository::{Repository, object};
use crate::each;
use crate::store::{READ_LIMIT, Staged};

/// Compresses chunks as they come, so that few of them are held at a time.
pub struct Packer<'a> {
    repository: &'a Repository,
    /// Where all indexes of a change put what is new, by its hash: several may have the same.
    scratch: &'a Path,
    /// The forms the index is published in.
    forms: Vec<&'static str>,
    waiting: Vec<(String, Vec<u8>)>,
    staged: Vec<Staged>,
}

impl<'a> Packer<'a> {
    /// One for one index in these forms, with the scratch folder of the change.
    pub fn new(repository: &'a Repository, scratch: &'a Path, forms: Vec<&'static str>) -> Self {
        Packer { repository, scratch, forms, waiting: Vec::new(), staged: Vec::new() }
    }

    /// Takes the text of a chunk, named by its hash.
    pub fn take(&mut self, id: &str, text: Vec<u8>) -> Result<()> {
        if self.path(id).exists() || self.waiting.iter().any(|(waiting, _)| waiting == id) {
            return Ok(());
        }
        self.waiting.push((id.to_owned(), text));
        // Some for each thread: they do not take the same time.
        match self.waiting.len() < 4 * rayon::current_num_threads() {
            true => Ok(()),
            false => self.pack(),
        }
    }

    fn pack(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let forms = &self.forms;
        let pack = |(id, text): (String, Vec<u8>)| {
            // One that is there already may be compressed otherwise, and keeps its name.
            let there = self.repository.store().read(&object(&id))?;
            let there = there.filter(|object| chunk::unpack(&id, object).is_ok());
            self.stage(&id, &there.map_or_else(|| chunk::pack(&text, forms), Ok)?)
        };
        let packed: Result<Vec<Staged>> = each(waiting, pack).into_iter().collect();
        self.staged.extend(packed?);
        Ok(())
    }

    fn path(&self, id: &str) -> PathBuf {
        self.scratch.join(id)
    }

    fn stage(&self, id: &str, bytes: &[u8]) -> Result<Staged> {
        let path = self.path(id);
        let write = || File::create(&path)?.write_all(bytes);
        write().context(|| format!("cannot write '{}'", display(&path)))?;
        Ok(Staged::new(object(id), path))
    }

    /// Writes the manifest and the published files of the index `place`, a folder and a path in its
    /// suite.
    pub fn finish(
        mut self,
        manifest: &Manifest,
        place: (&str, &str),
        before: Option<&Before>,
    ) -> Result<(Index, Vec<Staged>, Layout)> {
        self.pack()?;
        let text = serde_json::to_vec(manifest)?;
        let id = chunk::id(&text);
        if !self.path(&id).exists() {
            self.staged.push(self.stage(&id, &text)?);
        }
        let load = |id: &str| match self.path(id).exists() {
            true => bk::file::read(&self.path(id), READ_LIMIT),
            false => self.repository.object(id),
        };
        let Assembled { files, staged: published, layout } =
            assemble(manifest, place, &self.forms, self.scratch, before, &load)?;
        let mut staged = self.staged;
        staged.extend(published);
        let layout = layout.of_manifest(&id);
        Ok((Index { manifest: id, count: manifest.count(), files }, staged, layout))
    }
}
