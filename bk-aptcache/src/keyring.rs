//! Checking signatures with gpgv, as apt does.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bk::{Cmd, Console, Context, Error, Result, display};

/// A keyring has some dozen keys.
const LIMIT: u64 = 16 << 20;

/// The keys an archive's signatures are checked with: a file as `Signed-By` of sources.list(5)
/// names it, armored or not.
#[derive(Clone, Debug)]
pub struct Keyring {
    path: PathBuf,
}

impl Keyring {
    /// It is read when it is needed.
    pub fn new(path: &Path) -> Self {
        Keyring { path: path.to_owned() }
    }

    /// Checks an InRelease file, or a Release file and its signature. Runs gpgv(1), with temporary
    /// files in `dir`.
    pub fn verify(
        &self,
        text: &[u8],
        signature: Option<&[u8]>,
        dir: &Path,
        console: &Console,
    ) -> Result<()> {
        let failed = || format!("its signature is not good by '{}'", display(&self.path));
        let dir = bk::file::TempDir::new_in(dir)?;
        let put = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
            let path = dir.path().join(name);
            bk::file::write(&path, bytes)?;
            Ok(path)
        };
        // gpgv reads keys in binary form only.
        let keys = bk::file::read(&self.path, LIMIT)?;
        let keys = put("keys.gpg", &dearmored(&keys).unwrap_or(keys))?;
        let command = Cmd::new("gpgv", console).arg("--keyring").arg(keys);
        let command = match signature {
            Some(signature) => {
                command.arg(put("Release.gpg", signature)?).arg(put("Release", text)?)
            }
            None if text.starts_with(b"-----BEGIN") => command.arg(put("InRelease", text)?),
            None => return Err(Error::new("there is no signature").context(failed())),
        };
        command.output().map(drop).context(failed)
    }
}

/// The keys in an armored file (RFC 9580, 6.2).
fn dearmored(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut keys = Vec::new();
    for block in text.split("-----BEGIN PGP PUBLIC KEY BLOCK-----").skip(1) {
        let block = block.split("-----END").next()?.replace('\r', "");
        // Headers end with an empty line; the checksum starts with `=`.
        let (_, body) = block.split_once("\n\n")?;
        let lines = body.lines().map(str::trim).filter(|line| !line.starts_with('='));
        keys.extend(BASE64.decode(lines.collect::<String>()).ok()?);
    }
    (!keys.is_empty()).then_some(keys)
}
