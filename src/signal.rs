//! Temporaries do not outlive the program: neither an error nor SIGINT nor SIGTERM leaves one.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What has to go when a signal comes. A signal reaches the process, so this is the one place
/// where the state is the process's.
static TEMPORARIES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static HANDLER: Once = Once::new();

/// While this lives, a signal that ends the process first removes the path.
pub(crate) struct Remembered(PathBuf);

impl Remembered {
    /// Makes a temporary; a signal comes before it is there or after it is remembered.
    pub(crate) fn make<T>(
        make: impl FnOnce() -> io::Result<T>,
        path: impl FnOnce(&T) -> &Path,
    ) -> io::Result<(T, Self)> {
        HANDLER.call_once(|| {
            // Without the handler (no thread to be had) a signal only leaves a temporary behind.
            if let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
            {
                std::thread::spawn(move || {
                    if let Some(signal) = signals.forever().next() {
                        // Kept to the end: nothing new is made any more.
                        let temporaries = lock();
                        temporaries.iter().for_each(|path| remove(path));
                        // Dies of the signal, so that the shell sees it.
                        drop(signal_hook::low_level::emulate_default_handler(signal));
                    }
                });
            }
        });
        let mut temporaries = lock();
        let made = make()?;
        let path = path(&made).to_owned();
        temporaries.insert(path.clone());
        Ok((made, Remembered(path)))
    }
}

impl Drop for Remembered {
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

fn lock() -> std::sync::MutexGuard<'static, BTreeSet<PathBuf>> {
    TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner)
}
