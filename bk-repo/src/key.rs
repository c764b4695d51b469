//! `bk-repo key`

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

use bk::file::AtomicFile;
use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display};

use crate::archive::commit::Intent;
use crate::archive::repository::{Change, public_keys};
use crate::command::{self, EMAIL, NAME, Unlocking, Wanted, Writing};
use crate::init::seconds;
use crate::openpgp::{Algorithm, PublicKey, SecretKey, armor_keys, read_key};

/// Make, import, export and change the keys that sign
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "\
Examples:
  bk-repo key list
      The fingerprints of the keys in the key folder.
  bk-repo key export /srv/apt
      The public keys of a repository.

Exit status:
  0   done
  1   the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub enum Command {
    /// Make a key; prints its fingerprint
    Create(Create),
    /// List the keys in the key folder
    #[command(after_long_help = "\
Examples:
  bk-repo key list --json
      Fingerprints and whose they are.

Exit status:
  0   listed
  1   a key cannot be read
  2   the command line or the configuration is wrong
")]
    List,
    /// Take over a secret key, as `gpg --export-secret-keys` writes it
    Import(Import),
    /// Print the public key of a repository, or of a key in the key folder
    Export(Export),
    /// Sign with another key from now on, and with the old ones until --finish
    Rotate(Rotate),
    /// Let a key be good for longer, or for ever
    Extend(Extend),
}

/// Options of `key create`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo key create
      A key for the next repository.
  bk-repo key create --expire 104w --passphrase-file /root/pass
      One that is good for two years, and locked.
  bk-repo key create --name 'Example Packages' --email apt@example.com --rsa
      One that clients before 2016 understand.

Exit status:
  0   made
  1   it cannot be written
  2   the command line or the configuration is wrong
")]
pub struct Create {
    /// Whose key it is
    #[arg(long, value_name = "NAME", default_value = NAME, value_parser = user)]
    name: String,
    /// Their address
    #[arg(long, value_name = "ADDRESS", default_value = EMAIL, value_parser = user)]
    email: String,
    /// Make an RSA key with 4096 bits, for clients before 2016
    #[arg(long)]
    rsa: bool,
    /// Let a subkey sign
    #[arg(long)]
    subkey: bool,
    /// For how long it is good, such as 104w [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expire: Option<u64>,
    #[command(flatten)]
    unlocking: Unlocking,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Options of `key import`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  gpg --export-secret-keys apt@example.com | bk-repo key import - --passphrase-file pass
      Go on signing with the key that clients know.

Exit status:
  0   taken over
  1   not a key that signs, or the passphrase does not open it
  2   the command line or the configuration is wrong
")]
pub struct Import {
    /// The file with the key; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    unlocking: Unlocking,
    /// Keep it locked with its passphrase
    #[arg(long)]
    keep_locked: bool,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Options of `key export`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo key export /srv/apt -o /etc/apt/keyrings/own.asc
      What apt needs to believe the repository.
  bk-repo key export --binary /srv/apt | sqv --keyring /dev/stdin Release.gpg Release
      For tools that take no armor.

Exit status:
  0   written
  1   no such repository or key
  2   the command line or the configuration is wrong
")]
pub struct Export {
    /// A repository, or the fingerprint of a key in the key folder
    #[arg(value_name = "REPO|FINGERPRINT")]
    what: PathBuf,
    /// Write it without armor, as files in /etc/apt/keyrings ending with .gpg are
    #[arg(long)]
    binary: bool,
    /// Write it to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Options of `key rotate`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo key rotate /srv/apt
      Make another key, and sign with both.
  bk-repo key rotate /srv/apt --finish
      Sign with the new one alone, once clients have it.

Exit status:
  0   done, or there was nothing to do
  1   the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Rotate {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The key to sign with; without it a new one is made
    #[arg(long, value_name = "FINGERPRINT")]
    to: Option<String>,
    /// Make the new one an RSA key with 4096 bits
    #[arg(long, conflicts_with_all = ["to", "finish"])]
    rsa: bool,
    /// Sign no more with any but the newest key, once all clients have that
    #[arg(long, conflicts_with = "to")]
    finish: bool,
    #[command(flatten)]
    writing: Writing,
}

/// Options of `key extend`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo key extend 4DB1236BCEA3E6A4 --expire 104w /srv/apt
      Two years from now, and publish the key anew.
  bk-repo key extend 4DB1236BCEA3E6A4 --never
      For ever.

Exit status:
  0   done
  1   the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Extend {
    /// The key in the key folder
    #[arg(value_name = "FINGERPRINT")]
    key: String,
    /// The repositories that publish it
    #[arg(value_name = "REPO")]
    repos: Vec<PathBuf>,
    /// For how long from now
    #[arg(long, value_name = "TIME", value_parser = seconds, required_unless_present = "never")]
    expire: Option<u64>,
    /// For ever
    #[arg(long, conflicts_with = "expire")]
    never: bool,
    #[command(flatten)]
    writing: Writing,
}

fn user(text: &str) -> Result<String> {
    match text.is_empty() || text.contains(|c: char| c.is_control() || "<>".contains(c)) {
        true => Err(Error::new("not a name or an address")),
        false => Ok(text.to_owned()),
    }
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "key")]
struct Key {
    fingerprint: String,
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl Key {
    fn new(key: &PublicKey) -> Self {
        let time = |seconds| jiff::Timestamp::from_second(seconds).ok().map(|t| t.to_string());
        let expires = key.expires().and_then(time);
        Key { fingerprint: key.fingerprint(), user: key.user(), expires }
    }
}

impl Record for Key {
    fn line(&self) -> Cow<'_, [u8]> {
        self.fingerprint.as_bytes().into()
    }
}

/// Works on keys.
pub fn run(command: Command, session: &mut Session) -> Result<Status> {
    match command {
        Command::Create(args) => create(args, session),
        Command::List => list(session),
        Command::Import(args) => import(args, session),
        Command::Export(args) => export(args, session),
        Command::Rotate(args) => rotate(args, session),
        Command::Extend(args) => extend(args, session),
    }
}

fn algorithm(rsa: bool) -> Algorithm {
    if rsa { Algorithm::Rsa4096 } else { Algorithm::Ed25519 }
}

fn create(args: Create, session: &mut Session) -> Result<Status> {
    let user = format!("{} <{}>", args.name, args.email);
    if args.dry_run {
        let dir = display(command::ring(session).dir());
        session.console.note(&format!("would make a key for '{user}' in '{dir}'"));
        return Ok(Status::Done);
    }
    // What is asked of the agent is asked by the key's name, which it has not yet.
    let passphrase = args.unlocking.source().map(|source| source.get("new", &session.console));
    let wanted = Wanted {
        user,
        algorithm: algorithm(args.rsa),
        subkey: args.subkey,
        expire: args.expire,
        passphrase: passphrase.transpose()?,
    };
    let key = command::make_key(session, &wanted)?;
    session.out.record(&Key::new(&key.public()))?;
    Ok(Status::Done)
}

fn list(session: &mut Session) -> Result<Status> {
    let ring = command::ring(session);
    for fingerprint in ring.list()? {
        session.out.record(&Key::new(&ring.load(&fingerprint)?.public()))?;
    }
    Ok(Status::Done)
}

fn import(args: Import, session: &mut Session) -> Result<Status> {
    let read = || -> Result<SecretKey> {
        let bytes = match args.file == Path::new("-") {
            true => read_key(std::io::stdin().lock())?,
            false => read_key(std::fs::File::open(&args.file)?)?,
        };
        let mut key = SecretKey::parse(&bytes, None)?;
        let locked = key.clone();
        args.unlocking.unlock(session, std::slice::from_mut(&mut key))?;
        match (key.is_locked(), args.keep_locked) {
            (true, false) => Err(Error::new("it is locked")
                .hint("give its passphrase with --passphrase-file, or take --keep-locked")
                .status(Status::Usage)),
            (_, true) => Ok(locked),
            _ => Ok(key),
        }
    };
    let key = read().context(|| format!("cannot import '{}'", display(&args.file)))?;
    if !args.dry_run {
        command::ring(session).store(&key)?;
    }
    session.out.record(&Key::new(&key.public()))?;
    Ok(Status::Done)
}

fn export(args: Export, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.what)?;
    let keys = match repository.head_if_any()? {
        Some(head) => public_keys(&head)?,
        None => {
            let key = command::ring(session).load(&args.what.to_string_lossy());
            vec![key.context(|| format!("'{}' is no repository", display(&args.what)))?.public()]
        }
    };
    let bytes = match args.binary {
        true => keys.iter().map(PublicKey::binary).collect::<Result<Vec<_>>>()?.concat(),
        false => armor_keys(&keys)?.into_bytes(),
    };
    match args.output {
        Some(path) => {
            let mut file = AtomicFile::create(&path)?;
            file.write_all(&bytes).context(|| format!("cannot write '{}'", display(&path)))?;
            file.commit()?;
        }
        None => session.out.raw(bytes)?,
    }
    Ok(Status::Done)
}

fn rotate(args: Rotate, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    repository.head()?;
    let mut writer = repository.write(args.writing.wait(), &session.console)?;
    let head = writer.head().cloned().unwrap_or_default();
    let mut keys = head.keys.clone();
    let mut signers = args.writing.signers(session, &head)?;
    if args.finish {
        keys.drain(..keys.len().saturating_sub(1));
        signers.drain(..signers.len().saturating_sub(1));
    } else if args.writing.dry_run && args.to.is_none() {
        session.console.note("would make a key, and sign with it too");
        return Ok(Status::Done);
    } else {
        let key = match &args.to {
            Some(fingerprint) => {
                let mut key = command::ring(session).load(fingerprint)?;
                args.writing.unlocking().unlock(session, std::slice::from_mut(&mut key))?;
                key
            }
            None => {
                let user = signers.first().map_or(String::new(), SecretKey::user);
                let algorithm = algorithm(args.rsa);
                command::make_key(session, &Wanted { user, algorithm, ..Wanted::default() })?
            }
        };
        let signer = command::signer(&key)?;
        if !keys.contains(&signer) {
            keys.push(signer);
            signers.push(key);
        }
    }
    if keys != head.keys && !args.writing.dry_run {
        let configure = |suite: &String| Intent::Configure { suite: suite.clone() };
        let intents = head.suites.keys().map(configure).collect();
        let keys = Some(keys);
        let change = Change { action: "key rotate".into(), intents, keys, ..Change::default() };
        writer.commit(change, command::now(session), &signers)?;
    }
    for key in &signers {
        session.out.record(&Key::new(&key.public()))?;
    }
    Ok(Status::Done)
}

fn extend(args: Extend, session: &mut Session) -> Result<Status> {
    let ring = command::ring(session);
    let kept = ring.load(&args.key)?;
    let mut key = kept.clone();
    args.writing.unlocking().unlock(session, std::slice::from_mut(&mut key))?;
    if key.is_locked() {
        return Err(Error::new(format!("the key {} is locked", key.fingerprint()))
            .hint("say where its passphrase is, for example with --passphrase-file"));
    }
    let now = command::time_of_keys()?;
    let expires = args.expire.map(|seconds| command::until(now, seconds)).transpose()?;
    key.set_expiry(now, expires)?;
    if args.writing.dry_run {
        session.out.record(&Key::new(&key.public()))?;
        return Ok(Status::Done);
    }
    // Only what it says of itself changes, not what locks it.
    ring.replace(&kept.with_details_of(&key))?;
    for path in &args.repos {
        let repository = command::repository(session, path)?;
        repository.head()?;
        let mut writer = repository.write(args.writing.wait(), &session.console)?;
        let head = writer.head().cloned().unwrap_or_default();
        let mut keys = head.keys.clone();
        let Some(mine) = keys.iter_mut().find(|signer| signer.fingerprint == key.fingerprint())
        else {
            return Err(Error::new(format!("'{}' is not signed by this key", display(path))));
        };
        *mine = command::signer(&key)?;
        let signers = args.writing.signers(session, &head)?;
        let configure = |suite: &String| Intent::Configure { suite: suite.clone() };
        let intents = head.suites.keys().map(configure).collect();
        let keys = Some(keys);
        let change = Change { action: "key extend".into(), intents, keys, ..Change::default() };
        writer.commit(change, command::now(session), &signers)?;
    }
    session.out.record(&Key::new(&key.public()))?;
    Ok(Status::Done)
}
