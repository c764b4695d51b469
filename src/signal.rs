//! What a program leaves behind does not outlive it: neither an error nor SIGINT nor SIGTERM leaves
//! a temporary.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

type Action = Box<dyn Fn() + Send>;
type Actions = MutexGuard<'static, BTreeMap<u64, Action>>;

/// What has to be done when a signal comes. A signal reaches the process, so this is the one place
/// where the state is the process's.
static ACTIONS: Mutex<BTreeMap<u64, Action>> = Mutex::new(BTreeMap::new());
static HANDLER: Once = Once::new();
/// Whether SIGINT and SIGTERM, and SIGHUP, are a server's: see [`leave_to_server`].
static SERVER_ENDS: AtomicBool = AtomicBool::new(false);
static SERVER_RELOADS: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT and SIGTERM do not end the program: a server ends itself, after what is in
/// flight. Nor does SIGHUP, if it `reloads`. And a client that goes away is an error of its own
/// connection: sendfile(2), unlike send(2), cannot be told to raise no SIGPIPE.
#[cfg(feature = "http")]
#[allow(unsafe_code)]
pub(crate) fn leave_to_server(reloads: bool) {
    // SAFETY: SIG_IGN is a valid disposition for SIGPIPE, and no handler of it is replaced.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    SERVER_ENDS.store(true, Ordering::Relaxed);
    SERVER_RELOADS.store(reloads, Ordering::Relaxed);
}

/// While this lives, SIGINT, SIGTERM and SIGHUP end the process only after `action` was done, on a
/// thread of its own; what began last is done first. The action must not drop a `Cleanup`.
#[derive(Debug)]
pub struct Cleanup(u64);

impl Cleanup {
    /// Dropping it does not do the action: that is left to the owner of what is cleaned up.
    pub fn new(action: impl Fn() + Send + 'static) -> Self {
        handle();
        Cleanup::add(lock(), action)
    }

    /// Makes a temporary file or folder that a signal removes; the signal comes before it is there
    /// or after it is remembered.
    pub(crate) fn make<T>(
        make: impl FnOnce() -> io::Result<T>,
        path: impl FnOnce(&T) -> &Path,
    ) -> io::Result<(T, Self)> {
        handle();
        let actions = lock();
        let made = make()?;
        let path = path(&made).to_owned();
        Ok((made, Cleanup::add(actions, move || remove(&path))))
    }

    fn add(mut actions: Actions, action: impl Fn() + Send + 'static) -> Self {
        let number = actions.last_key_value().map_or(0, |(last, _)| last + 1);
        actions.insert(number, Box::new(action));
        Cleanup(number)
    }
}

fn handle() {
    HANDLER.call_once(|| {
        // Without the handler (no thread to be had) a signal only leaves a temporary behind.
        if let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) {
            std::thread::spawn(move || {
                let ends = |signal: &i32| match *signal {
                    SIGHUP => !SERVER_RELOADS.load(Ordering::Relaxed),
                    _ => !SERVER_ENDS.load(Ordering::Relaxed),
                };
                if let Some(signal) = signals.forever().find(ends) {
                    // Held to the end, so that no other thread makes or cleans up anything, or ends
                    // the process before this one does.
                    let actions = lock();
                    actions.values().rev().for_each(|action| action());
                    // Dies of the signal, so that the shell sees it.
                    drop(signal_hook::low_level::emulate_default_handler(signal));
                }
            });
        }
    });
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        lock().remove(&self.0);
    }
}

fn remove(path: &Path) {
    if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        // A child may still write into it.
        for _ in 0..10 {
            if std::fs::remove_dir_all(path).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    } else {
        drop(std::fs::remove_file(path));
    }
}

fn lock() -> Actions {
    ACTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}
