//! `bk-repo adopt`

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, Session, Status, display};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::archive::commit::{Intent, Settings, Suite};
use crate::archive::repository::{Change, Repository};
use crate::check::pool_files;
use crate::command::{self, Writing};
use crate::foreign::{Foreign, Origin, suites};
use crate::record::Made;
use crate::transfer::{self, Packages};

/// Take over an archive that another program made: a folder with dists/ and a pool
///
/// In place: no package is moved or copied, and clients go on with the same names. Every package is
/// checked against the indexes first. The suites are signed by the key of this repository; give it the
/// old one before with 'bk-repo key import'.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  gpg --export-secret-keys apt@example.com | bk-repo key import -
  bk-repo adopt /srv/apt
      Go on with the archive, and with the key that clients know.

Exit status:
  0   taken over
  1   it is no archive, or its packages are not what its indexes say
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The folder with dists/
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The key to sign with [default: the oldest in the key folder, made if there is none]
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

/// Takes an archive over.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    take_over(&args.dir, &BTreeMap::new(), args.key.as_deref(), &args.writing, session)
}

/// Takes the archive in `dir` over. `known` are settings of suites that are known better than from
/// their Release files.
pub fn take_over(
    dir: &Path,
    known: &BTreeMap<String, Settings>,
    key: Option<&str>,
    writing: &Writing,
    session: &mut Session,
) -> Result<Status> {
    let repository = Repository::at(dir);
    let failed = || format!("cannot take over '{}'", display(dir));
    if repository.head_if_any()?.is_some() {
        return Err(Error::new("it is a repository already").context(failed()));
    }
    let origin = Origin::Folder(dir.to_owned());
    let mut change = Change { action: "adopt".into(), ..Change::default() };
    let mut all: Vec<(String, Suite, Packages)> = Vec::new();
    for name in suites(dir).context(failed)? {
        let foreign = Foreign::open(&origin, &name, None).context(failed)?;
        let settings = match known.get(&name) {
            Some(settings) => settings.clone(),
            None => foreign.settings(&name).context(failed)?,
        };
        // Its clients, and those who mirror it, may ask for them by name.
        let settings = Settings { compression: foreign.compressions(), ..settings };
        let packages = foreign.packages(&name, &settings, true, true).context(failed)?;
        check(dir, &packages).context(failed)?;
        let suite = Suite { settings: settings.clone(), ..Suite::default() };
        change.settings.insert(name.clone(), settings);
        all.push((name, suite, packages));
    }
    for (name, suite, packages) in &all {
        change.intents.push(Intent::Configure { suite: name.clone() });
        transfer::add(&repository, (name, suite), name, packages, &mut change).context(failed)?;
    }
    if !writing.dry_run {
        let mut keys = [command::default_key(session, key)?];
        writing.unlocking().unlock(session, &mut keys)?;
        change.keys = Some(keys.iter().map(command::signer).collect::<Result<_>>()?);
        let mut writer = repository.write(writing.wait(), &session.console)?;
        if writer.head().is_some() {
            return Err(Error::new("another process took it over").context(failed()));
        }
        writer.commit(change, command::now(session), &keys).context(failed)?;
    }
    let head = repository.head_if_any()?.unwrap_or_default();
    session.out.record(&Made::new(dir, &head))?;
    Ok(Status::Done)
}

/// Checks that every package is what its index says.
fn check(root: &Path, packages: &Packages) -> Result<()> {
    let mut files = BTreeMap::new();
    for stanza in packages.values() {
        files.extend(pool_files(stanza)?);
    }
    let check = |(file, (size, sha256)): (&String, &(u64, String))| -> Result<()> {
        let path = root.join(file);
        let read = || -> Result<(u64, String)> {
            let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 17]);
            let (mut file, mut total) = (std::fs::File::open(&path)?, 0);
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok((total, format!("{:x}", hash.finalize()))),
                    n => {
                        hash.update(&buffer[..n]);
                        total += n as u64;
                    }
                }
            }
        };
        let found = read().context(|| format!("cannot read '{}'", display(&path)))?;
        match found == (*size, sha256.to_lowercase()) {
            true => Ok(()),
            false => Err(Error::new(format!("'{file}' is not what its index says"))
                .hint("remove the package there, or bring it back, first")),
        }
    };
    files.par_iter().map(check).collect()
}
