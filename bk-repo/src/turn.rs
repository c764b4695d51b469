//! Keeps gc and those who call back what nothing needs any more apart, in stores that cannot be locked.
//!
//! gc removes what it did not find needed, and a rollback makes just that needed again: what one has looked
//! at is no longer so when the other acts. Each therefore says that it is at work, and then looks whether
//! the other is. Of two that do so at once at least one sees the other, and gives way; both may, and are
//! tried again. What a killed one said is believed for [`LEASE`].

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use bk::{Error, Result, Status};

use crate::store::{PRIVATE, Store};

/// For how long what was said holds: longer than a request with all its repetitions, which the client gives
/// up after three minutes.
const LEASE: Duration = Duration::from_secs(15 * 60);

/// After this time it is said again by who goes on.
const AGAIN: Duration = Duration::from_secs(60);

/// Those who must not be at work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who removes what nothing needs.
    Gc,
    /// Who makes something needed again that may be no longer.
    Recall,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Gc => "gc",
            Side::Recall => "recall",
        }
    }
}

/// The right to be at work, until it is dropped.
pub struct Turn<'a> {
    store: &'a dyn Store,
    /// Where it is said; nowhere where that is not needed.
    key: Option<String>,
    said: Cell<SystemTime>,
}

fn since(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

impl<'a> Turn<'a> {
    /// Takes it, if it is `needed`; in a folder it never is, for the lock does it. What the caller goes by
    /// must be read afterwards.
    pub fn take(store: &'a dyn Store, side: Side, needed: bool) -> Result<Self> {
        let now = SystemTime::now();
        let mut turn = Turn { store, key: None, said: Cell::new(now) };
        if store.local("").is_some() || !needed {
            return Ok(turn);
        }
        let folder = format!("{PRIVATE}/turns");
        let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let key = format!("{folder}/{}-{nanos}-{}", side.name(), std::process::id());
        store.replace(&key, b"", None)?;
        turn.key = Some(key.clone());
        let there = store.list(&folder)?;
        // The engine's own clock, whatever ours says.
        let mine = there.iter().find(|entry| entry.key == key).map(|entry| entry.modified);
        let mine = mine.ok_or_else(|| {
            Error::new("the store lists no file that has just been written")
                .hint("take another engine")
        })?;
        let other = if side == Side::Gc { Side::Recall } else { Side::Gc };
        let prefix = format!("{folder}/{}-", other.name());
        for entry in there.iter().filter(|entry| entry.key.starts_with(&prefix)) {
            if mine.duration_since(entry.modified).unwrap_or_default() < LEASE {
                let what = match other {
                    Side::Gc => "gc is at work, and may remove what is called back",
                    Side::Recall => "another calls back what gc may remove",
                };
                return Err(Error::new(what)
                    .hint("try again; of one that was killed this is said for a quarter of an hour")
                    .status(Status::Temporary));
            }
            // Nobody is there any more.
            store.remove(&entry.key)?;
        }
        Ok(turn)
    }

    /// To be called before what the other side must not do at the same time.
    pub fn keep(&self) -> Result<()> {
        let Some(key) = &self.key else { return Ok(()) };
        let age = since(self.said.get());
        if age > LEASE / 2 {
            return Err(Error::new("it was held up for too long")
                .hint("try again")
                .status(Status::Temporary));
        }
        if age > AGAIN {
            let now = SystemTime::now();
            self.store.replace(key, b"", None)?;
            self.said.set(now);
        }
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Else it is believed until its time is over.
        drop(self.key.as_ref().map(|key| self.store.remove(key)));
    }
}
