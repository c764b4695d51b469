//! What a server counts, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bk::http::hyper::StatusCode;

use crate::page::Site;

/// Counters of one run.
#[derive(Default)]
pub struct Metrics {
    /// Responses by the first digit of their status.
    responses: [AtomicU64; 6],
    /// Uploads that were published.
    published: AtomicU64,
    /// Uploads that were refused.
    refused: AtomicU64,
}

impl Metrics {
    /// Counts a response.
    pub fn count(&self, status: StatusCode) {
        if let Some(counter) = self.responses.get(usize::from(status.as_u16() / 100)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an upload.
    pub fn upload(&self, published: bool) {
        let counter = if published { &self.published } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it, with what the repositories are now.
    pub fn text(&self, sites: &BTreeMap<String, Arc<Site>>) -> String {
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        };
        head(&mut text, "bk_repo_responses_total", "counter", "Responses by class of status.");
        for (class, counter) in self.responses.iter().enumerate().skip(1) {
            let count = counter.load(Ordering::Relaxed);
            let _ = writeln!(text, "bk_repo_responses_total{{class=\"{class}xx\"}} {count}");
        }
        head(&mut text, "bk_repo_uploads_total", "counter", "Uploads by what became of them.");
        for (result, counter) in [("published", &self.published), ("refused", &self.refused)] {
            let count = counter.load(Ordering::Relaxed);
            let _ = writeln!(text, "bk_repo_uploads_total{{result=\"{result}\"}} {count}");
        }
        type Value = fn(&crate::archive::commit::Suite) -> Option<i64>;
        let gauges: [(&str, &str, Value); 3] = [
            ("bk_repo_packages", "Packages a suite's indexes list.", |suite| {
                let count: u64 = suite.packages().map(|(_, index)| index.count).sum();
                i64::try_from(count).ok()
            }),
            ("bk_repo_published_seconds", "When a suite was signed, since 1970.", |suite| {
                Some(suite.published.date)
            }),
            (
                "bk_repo_valid_until_seconds",
                "Until when apt believes a suite, since 1970.",
                |suite| suite.published.date.checked_add_unsigned(suite.settings.valid_for?),
            ),
        ];
        for (name, help, value) in gauges {
            head(&mut text, name, "gauge", help);
            for (repo, site) in sites {
                // One that cannot be read has no values: that is what alerts are for.
                let Ok(commit) = site.head() else { continue };
                for (suite, state) in &commit.suites {
                    if let Some(value) = value(state) {
                        let repo = repo.replace(['\\', '"'], "_");
                        let _ =
                            writeln!(text, "{name}{{repo=\"{repo}\",suite=\"{suite}\"}} {value}");
                    }
                }
            }
        }
        text
    }
}
