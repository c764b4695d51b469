//! .changes files: what one build made, and for which suite.

use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, display};
use bk_deb::debian::control::Paragraph;
use sha2::{Digest, Sha256};

use super::{Listed, extension, listed};
use crate::openpgp::strip_cleartext;

/// What a .changes file announces.
#[derive(Debug)]
pub struct Changes {
    /// The field `Distribution`.
    pub distribution: String,
    /// The packages it lists, binary and source, and notes on the build (.buildinfo).
    pub packages: Vec<PathBuf>,
    /// The names of all files it lists.
    pub files: Vec<String>,
}

/// Reads a .changes file, and checks every file it lists.
pub fn read(path: &Path) -> Result<Changes> {
    let failed = || format!("cannot add '{}'", display(path));
    let text = bk::file::read(path, super::CONTROL_LIMIT).context(failed)?;
    read_text(path, &strip_cleartext(&text))
}

/// The same, where the text of the file `path` is known.
pub fn read_text(path: &Path, text: &[u8]) -> Result<Changes> {
    let read = || {
        let changes = Paragraph::parse(text).context(|| "not a .changes file".into())?;
        let distribution = changes.require("Distribution")?.to_owned();
        let (mut packages, mut files) = (Vec::new(), Vec::new());
        for listed in listed(&changes)? {
            let beside = path.with_file_name(&listed.name);
            check(&beside, &listed)?;
            files.push(listed.name);
            // The other files are parts of the .dsc.
            if ["deb", "ddeb", "udeb", "dsc", "buildinfo"].contains(&extension(&beside)) {
                packages.push(beside);
            }
        }
        match packages.iter().all(|path| extension(path) == "buildinfo") {
            true => Err(Error::new("it lists no package")),
            false => Ok(Changes { distribution, packages, files }),
        }
    };
    read().context(|| format!("cannot add '{}'", display(path)))
}

fn check(path: &Path, listed: &Listed) -> Result<()> {
    let hash = || -> Result<(u64, String)> {
        let mut file = std::fs::File::open(path)?;
        let mut hash = Sha256::new();
        let size = std::io::copy(&mut file, &mut hash)?;
        Ok((size, format!("{:x}", hash.finalize())))
    };
    let (size, sha256) = hash()
        .context(|| format!("cannot read '{}', which it lists", display(path)))
        .hint(|| format!("put '{}' beside the .changes file", listed.name))?;
    let file = super::PoolFile { key: String::new(), sha256, size, path: path.to_owned() };
    super::check_listed(&file, listed)
}
