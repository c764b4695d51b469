//! What several commands share.

use std::time::{Duration, SystemTime};

use bk::{Error, Result, Session, Status};

use crate::archive::commit::{Commit, Signer};
use crate::archive::repository::public_keys;
use crate::openpgp::ring::Ring;
use crate::openpgp::{Algorithm, SecretKey};

/// Who signs unless told otherwise.
pub const NAME: &str = "BuildKit-Automatic-Packaging";

/// Their address.
pub const EMAIL: &str = "buildkit@example.com";

/// Options of commands that change a repository.
#[derive(Debug, clap::Args)]
pub struct Writing {
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How long to wait for another process that writes to the repository
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

impl Writing {
    /// How long to wait for the lock.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

/// The time to sign at, in seconds since 1970.
pub fn now(session: &Session) -> i64 {
    session.epoch.unwrap_or_else(clock)
}

fn clock() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs() as i64)
}

/// A key as a commit names it.
pub fn signer(key: &SecretKey) -> Result<Signer> {
    Ok(Signer { fingerprint: key.fingerprint(), public: key.public().armored()? })
}

/// The suite meant: the one named, or the only one.
pub fn suite(head: &Commit, name: Option<&str>) -> Result<String> {
    let known: Vec<&str> = head.suites.keys().map(String::as_str).collect();
    let list = known.join(", ");
    match (name, &known[..]) {
        (Some(name), _) if known.contains(&name) => Ok(name.to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (Some(name), _) => Err(Error::new(format!("the repository has no suite '{name}'"))
            .hint(format!("it has {list}"))
            .status(Status::Usage)),
        (None, _) => Err(Error::new("the repository has several suites")
            .hint(format!("say --suite with one of {list}"))
            .status(Status::Usage)),
    }
}

/// The folder with the secret keys.
pub fn ring(session: &Session) -> Ring {
    Ring::new(&session.dirs.data.join("key"))
}

/// The secret keys of those who sign a repository.
pub fn signers(session: &Session, head: &Commit) -> Result<Vec<SecretKey>> {
    let ring = ring(session);
    let keys: Result<Vec<SecretKey>> = public_keys(head)?
        .iter()
        .map(|key| ring.load(&key.fingerprint()).map_err(|e| e.context("cannot sign")))
        .collect();
    match keys?.as_slice() {
        [] => Err(Error::new("no key signs this repository")
            .hint("give it one with 'bk-repo key rotate REPO'")),
        keys => Ok(keys.to_vec()),
    }
}

/// The key for new repositories: the one asked for, else the oldest, else a new one.
pub fn default_key(session: &Session, wanted: Option<&str>) -> Result<SecretKey> {
    let ring = ring(session);
    if let Some(wanted) = wanted {
        return ring.load(wanted);
    }
    match ring.list()?.first() {
        Some(first) => ring.load(first),
        None => {
            let key = make_key(session, &format!("{NAME} <{EMAIL}>"), Algorithm::Ed25519)?;
            let dir = bk::display(ring.dir());
            session.console.note(&format!("made the signing key {} in '{dir}'", key.fingerprint()));
            Ok(key)
        }
    }
}

/// Makes a key and keeps it.
pub fn make_key(session: &Session, user: &str, algorithm: Algorithm) -> Result<SecretKey> {
    // A key is not made again: it has the time of day, whatever SOURCE_DATE_EPOCH says.
    let created =
        u32::try_from(clock()).map_err(|_| Error::new("the clock shows no time a key can have"))?;
    let key = SecretKey::generate(user, algorithm, created)?;
    ring(session).store(&key)?;
    Ok(key)
}

/// Debian's name for the architecture this runs on (dpkg-architecture(1)), of those Debian 12 has.
pub fn this_architecture() -> &'static str {
    let little = cfg!(target_endian = "little");
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "powerpc64" if little => "ppc64el",
        "powerpc64" => "ppc64",
        "mips64" if little => "mips64el",
        "mips" if little => "mipsel",
        "loongarch64" => "loong64",
        // riscv64, s390x
        other => other,
    }
}

/// Checks a name that becomes part of a path and a word of a Release file.
pub fn check_word(word: &str) -> Result<String> {
    let good = word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+._".contains(&b));
    match good {
        true => Ok(word.to_owned()),
        false => Err(Error::new("not a name of letters, digits, '-', '+', '.' and '_'")),
    }
}
