//! The folder with the secret keys: one file a key, named by its fingerprint, for its owner alone.

use std::io::Write;
use std::path::{Path, PathBuf};

use bk::file::AtomicFile;
use bk::{Context, Error, Result, display};

use super::SecretKey;

/// What a key file may have.
const LIMIT: u64 = 1 << 20;

/// The folder with the secret keys.
pub struct Ring {
    dir: PathBuf,
}

impl Ring {
    /// The folder need not be there.
    pub fn new(dir: &Path) -> Self {
        Ring { dir: dir.to_owned() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, fingerprint: &str) -> PathBuf {
        self.dir.join(format!("{fingerprint}.asc"))
    }

    /// The fingerprints of all keys, the oldest file first.
    pub fn list(&self) -> Result<Vec<String>> {
        let failed = || format!("cannot read the folder '{}'", display(&self.dir));
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.dir).context(failed)? {
            let entry = entry.context(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".asc")) else {
                continue;
            };
            if name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
                let time = entry.metadata().and_then(|m| m.modified()).context(failed)?;
                all.push((time, name.to_owned()));
            }
        }
        all.sort();
        Ok(all.into_iter().map(|(_, fingerprint)| fingerprint).collect())
    }

    /// The key with a fingerprint, or with one that ends so.
    pub fn load(&self, fingerprint: &str) -> Result<SecretKey> {
        let wanted = fingerprint.trim_start_matches("0x").replace(' ', "").to_uppercase();
        let all = self.list()?;
        let found: Vec<&String> = all.iter().filter(|known| known.ends_with(&wanted)).collect();
        let [found] = found[..] else {
            let many = if found.is_empty() { "is not in" } else { "is more than one key in" };
            let dir = display(&self.dir);
            return Err(Error::new(format!("the secret key '{wanted}' {many} '{dir}'"))
                .hint("bring it there with 'bk-repo key import', or say where with --root"));
        };
        let path = self.path(found);
        let read = || SecretKey::parse(&bk::file::read(&path, LIMIT)?, None);
        read().context(|| format!("cannot use the key '{}'", display(&path)))
    }

    /// Keeps a key, readable for its owner alone. One that is there already stays.
    pub fn store(&self, key: &SecretKey) -> Result<PathBuf> {
        self.write(key, false)
    }

    /// Keeps a key in the place of what was kept of it.
    pub fn replace(&self, key: &SecretKey) -> Result<PathBuf> {
        self.write(key, true)
    }

    fn write(&self, key: &SecretKey, replace: bool) -> Result<PathBuf> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .context(|| format!("cannot make the folder '{}'", display(&self.dir)))?;
        let path = self.path(&key.fingerprint());
        let mut file = AtomicFile::create_mode(&path, 0o600)?;
        file.write_all(key.armored()?.as_bytes())
            .context(|| format!("cannot write '{}'", display(&path)))?;
        match replace {
            true => file.commit()?,
            false => drop(file.commit_new()?),
        }
        Ok(path)
    }
}
