//! The pages for people: what is in a repository, and how to use it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bk::http::escape;
use bk::{Context, Result, display};
use bk_deb::debian::control::field;

use crate::archive::commit::Commit;
use crate::archive::repository::Repository;
use crate::list;
use crate::sources;

/// More rows than this nobody reads: the search is for that.
const ROWS: usize = 500;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:light-dark(#d8dde3,#353b43);--dim:light-dark(#57606a,#98a2ad);\
--link:light-dark(#0b57d0,#8ab4f8);--code:light-dark(#f4f6f8,#1c2128)}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1.5rem}\
h1{font-size:1.6rem;margin:.2em 0}h2{font-size:1.15rem;margin:2em 0 .4em}a{color:var(--link)}\
pre{background:var(--code);border:1px solid var(--line);border-radius:6px;padding:.8rem;overflow:auto;\
font-size:.85rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{color:var(--dim);font-weight:500}td.n,th.n{text-align:right}.dim{color:var(--dim)}\
input{font:inherit;padding:.35rem .6rem;width:20rem;max-width:60%}button{font:inherit;padding:.35rem .8rem}\
td p{margin:0;color:var(--dim);font-size:.9rem}summary{cursor:pointer}";

/// A repository being served; its packages are read again when there is a new commit.
pub struct Site {
    repository: Repository,
    cached: Mutex<Option<Arc<Content>>>,
}

struct Content {
    head: Commit,
    rows: Vec<Row>,
}

struct Row {
    package: String,
    version: String,
    architecture: String,
    suite: String,
    component: String,
    file: String,
    size: u64,
    summary: String,
}

impl Site {
    /// The repository in a folder.
    pub fn new(path: &Path) -> Self {
        Site { repository: Repository::at(path), cached: Mutex::new(None) }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.repository.path()
    }

    fn content(&self) -> Result<Arc<Content>> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.repository.head()?;
        if let Some(content) = cached.as_ref().filter(|c| c.head.number == head.number) {
            return Ok(content.clone());
        }
        let mut rows = Vec::new();
        for (place, stanza) in list::find(&self.repository, &head, None, None)? {
            let record = crate::record::Package::new(
                Path::new(""),
                &place.suite,
                &place.index,
                &place.key,
                &stanza,
            );
            let summary = field(&stanza, "Description").unwrap_or_default();
            let summary = String::from_utf8_lossy(summary);
            rows.push(Row {
                package: record.package,
                version: record.version,
                architecture: record.architecture,
                suite: record.suite,
                component: record.component,
                file: record.path.to_string_lossy().into_owned(),
                size: record.size,
                summary: summary.lines().next().unwrap_or_default().to_owned(),
            });
        }
        let content = Arc::new(Content { head, rows });
        *cached = Some(content.clone());
        Ok(content)
    }
}

/// The words searched for, from the query of a URL.
pub fn search(query: &str) -> String {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("q="));
    value.and_then(|value| bk::http::decode(&value.replace('+', " "))).unwrap_or_default()
}

fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )
}

/// The page over several repositories.
pub fn overview<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let items: String =
        names.map(escape).map(|n| format!("<li><a href=\"{n}/\">{n}</a></li>\n")).collect();
    page("Repositories", &format!("<h1>Repositories</h1>\n<ul>\n{items}</ul>\n"))
}

/// The page of a repository, at `url`; `search` chooses packages.
pub fn repository(site: &Site, url: &str, search: &str) -> Result<String> {
    let content = site.content()?;
    let Content { head, rows } = &*content;
    let name = site.path().file_name().map(display).unwrap_or_default();
    let label = head.suites.values().find_map(|suite| suite.settings.label.clone());
    let title = label.unwrap_or(name);
    let mut body = format!("<h1>{}</h1>\n", escape(&title));
    let description = head.suites.values().find_map(|suite| suite.settings.description.clone());
    if let Some(text) = description {
        body += &format!("<p>{}</p>\n", escape(&text));
    }
    body += "<h2>Suites</h2>\n<table><tr><th>Suite</th><th>Components</th><th>Architectures</th>\
             <th class=\"n\">Packages</th><th>Published</th></tr>\n";
    for (name, suite) in &head.suites {
        let count = rows.iter().filter(|row| row.suite == *name).count();
        let time = jiff::Timestamp::from_second(suite.published.date)
            .map(|time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
            .unwrap_or_default();
        let link = escape(name);
        let settings = &suite.settings;
        let _ = writeln!(
            body,
            "<tr><td><a href=\"dists/{link}/\">{link}</a></td><td>{}</td><td>{}</td>\
             <td class=\"n\">{count}</td><td>{time}</td></tr>",
            escape(&settings.components.join(" ")),
            escape(&settings.architectures.join(" "))
        );
    }
    body += "</table>\n";
    let sources = sources::text(head, url, &[])?;
    let id: String = title
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let _ = write!(
        body,
        "<h2>Use it</h2>\n<p>As root, write this to \
         <code>/etc/apt/sources.list.d/{id}.sources</code>; the key is in it. Then \
         <code>apt update</code> and <code>apt install</code> what you like.</p>\n\
         <details><summary>{id}.sources</summary><pre>{}</pre></details>\n\
         <p class=\"dim\">The key alone: <a href=\"key.asc\">key.asc</a>{}</p>\n",
        escape(&sources),
        head.keys
            .iter()
            .map(|k| format!(" <code>{}</code>", escape(&k.fingerprint)))
            .collect::<String>()
    );
    let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
    let hit = |row: &&Row| {
        let text = format!("{} {}", row.package, row.summary).to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let found: Vec<&Row> = rows.iter().filter(hit).collect();
    let _ = write!(
        body,
        "<h2>Packages</h2>\n<form><input type=\"search\" name=\"q\" value=\"{}\" \
         placeholder=\"name or description\" aria-label=\"Search packages\"> \
         <button>Search</button> <span class=\"dim\">{} of {}</span></form>\n\
         <table><tr><th>Package</th><th>Version</th><th>Architecture</th><th>Suite</th>\
         <th class=\"n\">Size</th></tr>\n",
        escape(search),
        found.len(),
        rows.len()
    );
    for row in found.iter().take(ROWS) {
        let _ = writeln!(
            body,
            "<tr><td><a href=\"{}\">{}</a><p>{}</p></td><td>{}</td><td>{}</td><td>{} {}</td>\
             <td class=\"n\">{}</td></tr>",
            escape(&link(&row.file)),
            escape(&row.package),
            escape(&row.summary),
            escape(&row.version),
            escape(&row.architecture),
            escape(&row.suite),
            escape(&row.component),
            size(row.size)
        );
    }
    body += "</table>\n";
    if found.len() > ROWS {
        let _ = writeln!(body, "<p class=\"dim\">and {} more: search</p>", found.len() - ROWS);
    }
    Ok(page(&title, &body))
}

/// The page of a folder inside a repository.
pub fn folder(name: &str, path: &PathBuf) -> Result<String> {
    let failed = || format!("cannot read the folder '{}'", display(path));
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).context(failed)? {
        let entry = entry.context(failed)?;
        // The names of indexes are links.
        let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') {
            let order = !meta.is_dir();
            let slash = if meta.is_dir() { "/" } else { "" };
            entries.push((order, name + slash, meta.len()));
        }
    }
    entries.sort();
    let mut body = format!(
        "<h1>{}</h1>\n<table><tr><td><a href=\"../\">../</a></td><td></td></tr>\n",
        escape(name)
    );
    for (is_file, name, bytes) in entries {
        let size = if is_file { size(bytes) } else { String::new() };
        let (link, name) = (escape(&link(&name)), escape(&name));
        let _ = writeln!(
            body,
            "<tr><td><a href=\"{link}\">{name}</a></td><td class=\"n\">{size}</td></tr>"
        );
    }
    Ok(page(name, &(body + "</table>\n")))
}

/// Encodes what a path in a URL must not have.
fn link(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A size for people: three digits are enough.
fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    let digits = usize::from(value < 10.0 && unit != "B");
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_do_no_harm() {
        assert_eq!(search("a=b&q=x%3Cy+z"), "x<y z");
        assert_eq!(search("q=%"), "");
        assert_eq!(link("pool/a b:c%/x~1+2.deb"), "pool/a%20b%3Ac%25/x~1+2.deb");
        assert_eq!(escape("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
        assert_eq!([size(999), size(1234), size(45_678_901)], ["999 B", "1.2 kB", "46 MB"]);
    }
}
