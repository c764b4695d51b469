//! What the server says of itself: a page for people, metrics for Prometheus, a sign of life.

use std::fmt::Write;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bk::http::hyper::StatusCode;
use bk::http::hyper::header::{self, HeaderValue};
use bk::http::{Request, Response, escape, tokio};

use crate::cache::Cache;

/// The text format of Prometheus, version 0.0.4.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many of the largest files are shown, and for how long they are believed to be those.
const LARGEST: usize = 10;
const LOOKED: Duration = Duration::from_secs(60);

const STYLE: &str = "\
:root{color-scheme:light dark;--line:light-dark(#ddd,#3a3a3a);--dim:light-dark(#666,#9a9a9a);\
--good:light-dark(#176f2c,#6cc784);--bad:light-dark(#b3261e,#f2867f)}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
.figures{display:flex;flex-wrap:wrap;gap:1rem}\
.figures div{border:1px solid var(--line);border-radius:.5rem;padding:.6rem 1rem;min-width:7rem}\
.figures b{display:block;font-size:1.4rem;font-variant-numeric:tabular-nums}\
.figures span,td.dim,p.dim{color:var(--dim)}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
.good{color:var(--good)}.bad{color:var(--bad)}\
pre{border:1px solid var(--line);border-radius:.5rem;padding:.8rem;overflow-x:auto}";

/// The largest files of the store, as they were when somebody looked.
#[derive(Clone)]
pub struct Largest {
    looked: Instant,
    /// Sizes in bytes, and keys.
    files: Vec<(u64, String)>,
}

impl Cache {
    /// The page of a path.
    pub async fn page(&self, path: &str, request: &Request) -> Response {
        match path {
            "" => {
                let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
                let largest = self.largest().await;
                self.status(host.unwrap_or("127.0.0.1:9999"), &largest)
            }
            "healthz" => bk::http::text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
            "metrics" => bk::http::text(StatusCode::OK, METRICS, self.metrics()),
            _ => {
                let names: Vec<String> =
                    self.config().upstreams.all.iter().map(|u| format!("/{}/", u.name)).collect();
                let message = format!("no such page or archive; there are {}", names.join(", "));
                bk::http::error(StatusCode::NOT_FOUND, &message)
            }
        }
    }

    /// Measures the mirrors of all archives, and has the quickest asked first.
    pub async fn measure(&self, console: &bk::Console) {
        let client = self.client();
        for upstream in &self.config().upstreams.all {
            crate::mirrors::rank(&client, upstream, console).await;
        }
    }

    fn metrics(&self) -> String {
        let now = self.statistics.snapshot();
        let mut text = String::from(
            "# HELP bk_aptcache_requests_total Requests for files, by where the answer came from\n\
             # TYPE bk_aptcache_requests_total counter\n",
        );
        for (verdict, value) in [
            ("hit", now.hits),
            ("miss", now.misses),
            ("stale", now.stale),
            ("coalesced", now.coalesced),
        ] {
            let _ = writeln!(text, "bk_aptcache_requests_total{{verdict=\"{verdict}\"}} {value}");
        }
        for (name, help, value) in now.counters() {
            let _ = writeln!(text, "# HELP bk_aptcache_{name} {help}");
            let _ = writeln!(text, "# TYPE bk_aptcache_{name} counter");
            let _ = writeln!(text, "bk_aptcache_{name} {value}");
        }
        text.push_str(
            "# HELP bk_aptcache_suite_agreed_seconds When its archive last agreed on a suite\n\
             # TYPE bk_aptcache_suite_agreed_seconds gauge\n",
        );
        for suite in self.suites.all() {
            let (agreed, _) = suite.freshness();
            // Label values escape backslash, quote and newline; paths have none of them.
            let _ = writeln!(
                text,
                "bk_aptcache_suite_agreed_seconds{{suite=\"{}\"}} {agreed}",
                suite.key.replace('"', "")
            );
        }
        text
    }

    /// The largest files of the store, looked for at most once a minute.
    async fn largest(&self) -> Vec<(u64, String)> {
        let known = self.largest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.looked.elapsed() < LOOKED) {
            return known.files;
        }
        let store = self.store.clone();
        let look = move || {
            let mut files = Vec::new();
            let enter = |key: &str| !key.ends_with("/by-hash");
            store.walk("", &enter, &mut |key, meta| {
                files.push((meta.len(), key.to_owned()));
                if files.len() > 1000 {
                    keep_largest(&mut files);
                }
            });
            keep_largest(&mut files);
            files
        };
        let files = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let now = Largest { looked: Instant::now(), files: files.clone() };
        *self.largest.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        files
    }

    fn status(&self, host: &str, largest: &[(u64, String)]) -> Response {
        let now = self.statistics.snapshot();
        let mut body = String::new();
        let requests = now.hits + now.misses + now.stale + now.coalesced;
        let figures = [
            ("of requests need no archive", format!("{:.1} %", now.hit_rate() * 100.0)),
            ("requests", requests.to_string()),
            ("not fetched again", size(now.bytes_saved)),
            ("served", size(now.bytes_served)),
            ("fetched", size(now.bytes_fetched)),
            ("failures", now.failures.to_string()),
            ("wrong files kept out", now.wrong_files.to_string()),
        ];
        body.push_str("<div class=figures>");
        for (what, value) in figures {
            let _ = write!(body, "<div><b>{}</b><span>{what}</span></div>", escape(&value));
        }
        body.push_str("</div>");
        self.suites_table(&mut body);
        self.archives_table(&mut body);
        if !largest.is_empty() {
            body.push_str("<h2>Largest files</h2><div class=scroll><table>");
            for (bytes, key) in largest {
                let _ = write!(body, "<tr><td class=n>{}<td>{}", size(*bytes), escape(key));
            }
            body.push_str("</table></div>");
        }
        let failures = self.statistics.failures();
        if !failures.is_empty() {
            body.push_str("<h2>Last failures</h2><div class=scroll><table>");
            for (when, key, why) in failures {
                let (when, key, why) = (time(when), escape(&key), escape(&why));
                let _ = write!(body, "<tr><td class=dim>{when}<td>{key}<td class=bad>{why}");
            }
            body.push_str("</table></div>");
        }
        let host = escape(host);
        let _ = write!(
            body,
            "<h2>Use it</h2><p>As a proxy, in <code>/etc/apt/apt.conf.d/01cache</code>:</p>\
             <pre>Acquire::http::Proxy \"http://{host}\";</pre>"
        );
        if let Some(first) = self.config().upstreams.all.first() {
            let name = escape(&first.name);
            let _ = write!(
                body,
                "<p>Or by path, in <code>sources.list</code>:</p>\
                 <pre>deb http://{host}/{name} SUITE main</pre>"
            );
        }
        let html = format!(
            "<!doctype html><html lang=en><meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width,initial-scale=1\">\
             <title>apt cache</title><style>{STYLE}</style><h1>apt cache</h1>{body}\
             <p class=dim>BuildKit {} · <a href=/metrics>metrics</a></p>",
            env!("CARGO_PKG_VERSION")
        );
        let mut response = bk::http::text(StatusCode::OK, "text/html; charset=utf-8", html);
        let headers = response.headers_mut();
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn suites_table(&self, body: &mut String) {
        let suites = self.suites.all();
        if suites.is_empty() {
            body.push_str("<p class=dim>No suite was asked for yet.</p>");
            return;
        }
        body.push_str(
            "<h2>Suites</h2><div class=scroll><table><tr><th>Suite<th>Made<th>Archive agreed",
        );
        for suite in suites {
            let made = suite.newest().and_then(|set| set.release.date).map_or("-".into(), time);
            let (agreed, trouble) = suite.freshness();
            let key = escape(&suite.key);
            let state = match (trouble, agreed) {
                (Some(why), _) => format!("<span class=bad>{}</span>", escape(&why)),
                (None, 0) => "<span class=dim>not asked since the start</span>".into(),
                (None, agreed) => {
                    format!("<span class=good>{}</span>", time(agreed.cast_signed()))
                }
            };
            let _ = write!(body, "<tr><td>{key}<td class=dim>{made}<td>{state}");
        }
        body.push_str("</table></div>");
    }

    fn archives_table(&self, body: &mut String) {
        body.push_str("<h2>Archives</h2><div class=scroll><table><tr><th>Name<th>Mirrors");
        for upstream in &self.config().upstreams.all {
            let mirrors = upstream.mirrors.iter().map(|mirror| {
                let class = if mirror.is_down() { "bad" } else { "good" };
                format!("<span class={class}>{}</span>", escape(&mirror.base.to_string()))
            });
            let mirrors: Vec<String> = mirrors.collect();
            let _ = write!(body, "<tr><td>{}<td>{}", escape(&upstream.name), mirrors.join("<br>"));
        }
        body.push_str("</table></div>");
    }
}

fn keep_largest(files: &mut Vec<(u64, String)>) {
    files.sort_unstable_by(|a, b| b.cmp(a));
    files.truncate(LARGEST);
}

/// A size for people.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < units.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// A time for people, in UTC.
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "-".into(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
    }
}
