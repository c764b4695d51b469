//! What happened: for people, for Prometheus, and across restarts.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use bk::Result;
use serde::{Deserialize, Serialize};

/// How many of the last failures are remembered.
const FAILURES: usize = 20;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// From the store.
    Hit,
    /// From its archive.
    Miss,
    /// From the store, since its archive did not answer.
    Stale,
    /// From a transfer that was under way for another client.
    Coalesced,
    /// By a page of our own, or a refusal.
    Own,
}

impl Verdict {
    /// The word in the log and in `X-Cache`.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Hit => "HIT",
            Verdict::Miss => "MISS",
            Verdict::Stale => "STALE",
            Verdict::Coalesced => "COALESCED",
            Verdict::Own => "-",
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Statistics {
    requests: [AtomicU64; 4],
    refused: AtomicU64,
    served: AtomicU64,
    saved: AtomicU64,
    fetched: AtomicU64,
    failures: AtomicU64,
    wrong: AtomicU64,
    last: Mutex<VecDeque<(i64, String, String)>>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, tag = "type", rename = "statistics")]
pub struct Snapshot {
    /// Requests answered from the store.
    pub hits: u64,
    /// Requests answered from an archive.
    pub misses: u64,
    /// Requests answered from the store, since the archive did not answer.
    pub stale: u64,
    /// Requests answered from a transfer for another client.
    pub coalesced: u64,
    /// Requests refused: forbidden, or no requests.
    pub refused: u64,
    /// Bytes of files sent to clients.
    pub bytes_served: u64,
    /// Of these, bytes that no archive had to send.
    pub bytes_saved: u64,
    /// Bytes that archives sent.
    pub bytes_fetched: u64,
    /// Transfers that failed.
    pub failures: u64,
    /// Wrong files that archives sent, and nobody got.
    pub wrong_files: u64,
}

impl Snapshot {
    /// The part of the requests for files that needed no archive, from 0 to 1.
    pub fn hit_rate(&self) -> f64 {
        let hits = self.hits + self.stale + self.coalesced;
        match hits + self.misses {
            0 => 0.0,
            all => hits as f64 / all as f64,
        }
    }

    /// Names, kinds and meanings of the counters, for Prometheus.
    pub fn counters(&self) -> [(&'static str, &'static str, u64); 6] {
        [
            ("refused_total", "Requests that were refused", self.refused),
            ("served_bytes_total", "Bytes of files sent to clients", self.bytes_served),
            ("saved_bytes_total", "Bytes sent that no archive had to send", self.bytes_saved),
            ("fetched_bytes_total", "Bytes that archives sent", self.bytes_fetched),
            ("failures_total", "Transfers that failed", self.failures),
            ("wrong_files_total", "Wrong files that archives sent", self.wrong_files),
        ]
    }
}

impl Statistics {
    /// The counters as they were kept in a file; from nothing where there is none.
    pub fn load(path: &Path) -> Self {
        let snapshot = read(path);
        let statistics = Statistics::default();
        let known = [snapshot.hits, snapshot.misses, snapshot.stale, snapshot.coalesced];
        for (counter, value) in statistics.requests.iter().zip(known) {
            counter.store(value, Relaxed);
        }
        for (counter, value) in [
            (&statistics.refused, snapshot.refused),
            (&statistics.served, snapshot.bytes_served),
            (&statistics.saved, snapshot.bytes_saved),
            (&statistics.fetched, snapshot.bytes_fetched),
            (&statistics.failures, snapshot.failures),
            (&statistics.wrong, snapshot.wrong_files),
        ] {
            counter.store(value, Relaxed);
        }
        statistics
    }

    /// Keeps the counters in a file.
    pub fn save(&self, path: &Path) -> Result<()> {
        bk::file::write(path, serde_json::to_vec(&self.snapshot())?)
    }

    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        let [hits, misses, stale, coalesced] =
            [0, 1, 2, 3].map(|at: usize| self.requests[at].load(Relaxed));
        Snapshot {
            hits,
            misses,
            stale,
            coalesced,
            refused: self.refused.load(Relaxed),
            bytes_served: self.served.load(Relaxed),
            bytes_saved: self.saved.load(Relaxed),
            bytes_fetched: self.fetched.load(Relaxed),
            failures: self.failures.load(Relaxed),
            wrong_files: self.wrong.load(Relaxed),
        }
    }

    /// A request for a file was answered, with so many bytes.
    pub fn answered(&self, verdict: Verdict, bytes: u64) {
        let at = match verdict {
            Verdict::Hit => 0,
            Verdict::Miss => 1,
            Verdict::Stale => 2,
            Verdict::Coalesced => 3,
            Verdict::Own => return,
        };
        self.requests[at].fetch_add(1, Relaxed);
        self.served.fetch_add(bytes, Relaxed);
        if verdict != Verdict::Miss {
            self.saved.fetch_add(bytes, Relaxed);
        }
    }

    /// A request was refused.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// An archive sent bytes.
    pub fn fetched(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Relaxed);
    }

    /// An archive sent a wrong file.
    pub fn wrong(&self) {
        self.wrong.fetch_add(1, Relaxed);
    }

    /// A transfer failed.
    pub fn failed(&self, key: &str, message: &str) {
        self.failures.fetch_add(1, Relaxed);
        let now = jiff::Timestamp::now().as_second();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.truncate(FAILURES - 1);
        last.push_front((now, key.to_owned(), message.to_owned()));
    }

    /// The last failures, the newest first: when, of what, why.
    pub fn failures(&self) -> Vec<(i64, String, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The counters in a file, or none.
pub fn read(path: &Path) -> Snapshot {
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_outlive_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("statistics");
        let statistics = Statistics::load(&path);
        assert_eq!(statistics.snapshot(), Snapshot::default());
        statistics.answered(Verdict::Hit, 10);
        statistics.answered(Verdict::Miss, 5);
        statistics.answered(Verdict::Coalesced, 5);
        statistics.answered(Verdict::Own, 99);
        statistics.fetched(5);
        statistics.failed("a", "why");
        statistics.save(&path).unwrap();
        let again = Statistics::load(&path).snapshot();
        assert_eq!(again, statistics.snapshot());
        assert_eq!((again.bytes_served, again.bytes_saved), (20, 15));
        assert!((again.hit_rate() - 2.0 / 3.0).abs() < 1e-9);
    }
}
