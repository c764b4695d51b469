//! What a server does between requests: sign again what would expire, bring Contents up to date,
//! publish what was put into a folder, forget what nobody finished.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bk::{Console, Context, Error, Result};

use crate::add::Job;
use crate::archive::commit::Commit;
use crate::archive::repository::{Change, public_keys};
use crate::command::clock;
use crate::openpgp::SecretKey;
use crate::openpgp::ring::Ring;
use crate::page::Site;
use crate::uploads::{Access, Incoming, Refused, Sender};
use crate::{contents, sign};

/// How often the folder is looked at: whoever puts something there does not wait long.
const LOOK: Duration = Duration::from_secs(1);

/// How often the rest is done: signatures are good for hours at least.
const ROUND: Duration = Duration::from_secs(30);

/// How long to wait for others who write.
pub const WAIT: Duration = Duration::from_secs(60);

/// The keys a server signs with: opened when it starts, so that nobody is asked later.
pub struct Keys {
    ring: PathBuf,
    open: Mutex<HashMap<String, SecretKey>>,
}

impl Keys {
    /// Keys of the folder `ring`, of which some were opened.
    pub fn new(ring: &Ring, open: Vec<SecretKey>) -> Self {
        let open = open.into_iter().map(|key| (key.fingerprint(), key)).collect();
        Keys { ring: ring.dir().to_owned(), open: Mutex::new(open) }
    }

    /// The keys that sign a repository.
    pub fn signers(&self, head: &Commit) -> Result<Vec<SecretKey>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |public: &crate::openpgp::PublicKey| {
            let fingerprint = public.fingerprint();
            if let Some(key) = open.get(&fingerprint) {
                return Ok(key.clone());
            }
            // There was a rotation since.
            let key = Ring::new(&self.ring).load(&fingerprint)?;
            open.insert(fingerprint, key.clone());
            Ok(key)
        };
        public_keys(head)?.iter().map(key).collect::<Result<_>>().context(|| "cannot sign".into())
    }
}

/// What is tended.
pub struct Garden {
    /// The repositories, and where their uploads wait.
    pub repos: Vec<(Arc<Site>, Arc<Incoming>)>,
    /// The keys.
    pub keys: Arc<Keys>,
    /// Who may upload.
    pub access: Arc<Access>,
    /// A folder that is watched, for the first repository.
    pub watched: Option<PathBuf>,
}

impl Garden {
    /// Tends for ever, in a thread of its own.
    pub fn start(self, console: &Console) -> Result<()> {
        let console = console.clone();
        let work = move || {
            let mut refused: HashMap<PathBuf, SystemTime> = HashMap::new();
            let mut last: Option<Instant> = None;
            // Up to which commit each repository was looked at.
            let mut seen: HashMap<PathBuf, u64> = HashMap::new();
            loop {
                if last.is_none_or(|last| last.elapsed() >= ROUND) {
                    last = Some(Instant::now());
                    for (site, incoming) in &self.repos {
                        incoming.sweep();
                        if let Err(error) = self.round(site, &mut seen, &console) {
                            console.error(&error);
                        }
                    }
                }
                if let (Some(dir), Some((site, _))) = (&self.watched, self.repos.first()) {
                    self.look(&Incoming::at(dir), site, &mut refused, &console);
                }
                std::thread::sleep(LOOK);
            }
        };
        std::thread::Builder::new().name("tend".into()).spawn(work).map(drop).map_err(Error::from)
    }

    fn round(
        &self,
        site: &Site,
        seen: &mut HashMap<PathBuf, u64>,
        console: &Console,
    ) -> Result<()> {
        let repository = site.repository();
        let head = repository.head()?;
        let commit = |make: &dyn Fn(&Commit) -> Result<Change>| -> Result<()> {
            let mut writer = repository.write(WAIT, console)?;
            let Some(head) = writer.head().cloned() else { return Ok(()) };
            let change = make(&head)?;
            match change.is_empty() {
                true => Ok(()),
                false => writer.commit(change, clock(), &self.keys.signers(&head)?),
            }
        };
        if !sign::due(&head, clock()).is_empty() {
            commit(&|head| Ok(sign::due(head, clock())))
                .context(|| "cannot sign again what expires soon".into())?;
        }
        if seen.insert(site.path().to_owned(), head.number) == Some(head.number) {
            return Ok(());
        }
        if contents::change(repository, &head, &[])?.is_empty() {
            return Ok(());
        }
        commit(&|head| contents::change(repository, head, &[]))
            .context(|| "cannot bring Contents up to date".into())
    }

    /// Publishes what the .changes files in a folder announce.
    fn look(
        &self,
        incoming: &Incoming,
        site: &Site,
        refused: &mut HashMap<PathBuf, SystemTime>,
        console: &Console,
    ) {
        let Ok(entries) = incoming.dir().read_dir() else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if !name.ends_with(".changes") || name.starts_with('.') {
                continue;
            }
            let Ok(time) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
            // What was refused is looked at again when it was written again.
            if refused.get(&path) == Some(&time) {
                continue;
            }
            let job = Job { wait: WAIT, now: clock(), ..Job::default() };
            let mut signers = |head: Option<&Commit>| match head {
                Some(head) => self.keys.signers(head),
                None => Err(Error::new("there is no repository")),
            };
            let sender = Sender { access: &self.access, token: None, trusted: true };
            let done =
                incoming.publish(site.repository(), &path, sender, job, &mut signers, console);
            match done {
                Ok(published) => {
                    for package in published {
                        console.note(&format!("published '{}'", bk::display(&package.path)));
                    }
                }
                // A part may still be on its way.
                Err(Refused::Bad(error)) if is_young(time) => console.debug(&error.to_string()),
                Err(other) => {
                    console.error(&other.error().clone().context(format!("refused '{name}'")));
                    refused.insert(path, time);
                }
            }
        }
    }
}

/// Whether a .changes file was written so lately that its parts may be still to come.
fn is_young(time: SystemTime) -> bool {
    SystemTime::now().duration_since(time).is_ok_and(|age| age < Duration::from_secs(10))
}
