//! What several commands share.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bk::{Context, Error, Result, Session, Status};

use crate::archive::commit::{Commit, Signer};
use crate::archive::repository::{Repository, public_keys};
use crate::openpgp::passphrase::Passphrase;
use crate::openpgp::ring::Ring;
use crate::openpgp::{Algorithm, SecretKey};
#[cfg(feature = "s3")]
use crate::store::bucket::Bucket;
#[cfg(feature = "s3")]
use crate::store::engine;

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
    #[command(flatten)]
    unlocking: Unlocking,
}

/// Where the passphrases of locked keys are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Unlocking {
    /// A file with the passphrase of the signing keys, where they are locked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A descriptor to read that passphrase from
    #[arg(long, value_name = "N", conflicts_with = "passphrase_file")]
    passphrase_fd: Option<i32>,
    /// Ask gpg-agent(1) for it, under the name bk-repo:FINGERPRINT
    #[arg(long, conflicts_with_all = ["passphrase_file", "passphrase_fd"])]
    passphrase_agent: bool,
}

impl Unlocking {
    /// Where to look.
    pub fn source(&self) -> Option<Passphrase> {
        let file = self.passphrase_file.clone().map(Passphrase::File);
        let fd = || self.passphrase_fd.map(Passphrase::Descriptor);
        file.or_else(fd).or(self.passphrase_agent.then_some(Passphrase::Agent))
    }

    /// Opens keys that are locked.
    pub fn unlock(&self, session: &Session, keys: &mut [SecretKey]) -> Result<()> {
        let Some(source) = self.source() else { return Ok(()) };
        // A descriptor can be read once.
        let mut known = None;
        for key in keys.iter_mut().filter(|key| key.is_locked()) {
            let fingerprint = key.fingerprint();
            if known.is_none() || matches!(source, Passphrase::Agent) {
                known = Some(source.get(&fingerprint, &session.console)?);
            }
            key.unlock(known.as_deref().unwrap_or_default())
                .context(|| format!("cannot use the key {fingerprint}"))?;
        }
        Ok(())
    }
}

impl Writing {
    /// Where passphrases are.
    pub fn unlocking(&self) -> &Unlocking {
        &self.unlocking
    }

    /// The secret keys of those who sign a repository.
    pub fn signers(&self, session: &Session, head: &Commit) -> Result<Vec<SecretKey>> {
        signers(session, head, &self.unlocking)
    }

    /// How long to wait for the lock.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

/// The time to sign at, in seconds since 1970.
pub fn now(session: &Session) -> i64 {
    session.epoch.unwrap_or_else(clock)
}

/// The time of day, in seconds since 1970.
pub fn clock() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs() as i64)
}

/// The repository in a folder or, by the URL of one, in a bucket.
pub fn repository(_session: &Session, path: &Path) -> Result<Repository> {
    #[cfg(feature = "s3")]
    if engine::is_url(path) {
        let bucket = Bucket::open(&path.to_string_lossy(), |name| std::env::var(name).ok())?;
        let shown = bucket.shown().to_owned();
        // Its threads wait most of the time.
        bk::memory::share();
        return Ok(Repository::new(Box::new(bucket), &shown, path));
    }
    Ok(Repository::at(path))
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
pub fn signers(session: &Session, head: &Commit, unlocking: &Unlocking) -> Result<Vec<SecretKey>> {
    let ring = ring(session);
    let mut keys = public_keys(head)?
        .iter()
        .map(|key| ring.load(&key.fingerprint()).map_err(|e| e.context("cannot sign")))
        .collect::<Result<Vec<SecretKey>>>()?;
    if keys.is_empty() {
        return Err(Error::new("no key signs this repository")
            .hint("give it one with 'bk-repo key rotate REPO'"));
    }
    unlocking.unlock(session, &mut keys)?;
    Ok(keys)
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
            let key = make_key(session, &Wanted::default())?;
            let dir = bk::display(ring.dir());
            session.console.note(&format!("made the signing key {} in '{dir}'", key.fingerprint()));
            Ok(key)
        }
    }
}

/// What a new key shall be like.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whose it is: `Name <address>`.
    pub user: String,
    /// Its kind.
    pub algorithm: Algorithm,
    /// Whether a subkey signs.
    pub subkey: bool,
    /// For how many seconds it is good.
    pub expire: Option<u64>,
    /// What locks it.
    pub passphrase: Option<String>,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            user: format!("{NAME} <{EMAIL}>"),
            algorithm: Algorithm::Ed25519,
            subkey: false,
            expire: None,
            passphrase: None,
        }
    }
}

/// Makes a key and keeps it, locked if there is a passphrase; what is returned is open.
pub fn make_key(session: &Session, wanted: &Wanted) -> Result<SecretKey> {
    // A key is not made again: it has the time of day, whatever SOURCE_DATE_EPOCH says.
    let created = time_of_keys()?;
    let mut key = SecretKey::generate(&wanted.user, wanted.algorithm, created, wanted.subkey)?;
    if let Some(seconds) = wanted.expire {
        key.set_expiry(created, Some(until(created, seconds)?))?;
    }
    match &wanted.passphrase {
        Some(passphrase) => ring(session).store(&key.locked(passphrase)?)?,
        None => ring(session).store(&key)?,
    };
    Ok(key)
}

/// The time of day as keys say it.
pub fn time_of_keys() -> Result<u32> {
    u32::try_from(clock()).map_err(|_| Error::new("the clock shows no time a key can have"))
}

/// A time some seconds later.
pub fn until(start: u32, seconds: u64) -> Result<u32> {
    let end = u64::from(start).checked_add(seconds).and_then(|end| u32::try_from(end).ok());
    end.ok_or_else(|| Error::new("no key can be good for that long").status(Status::Usage))
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
