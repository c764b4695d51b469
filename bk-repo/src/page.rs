//! The pages for people: what is in a repository, and how to use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bk::http::escape;
use bk::{Context, Result, display};
use bk_deb::debian::control::field;
use bk_deb::debian::version;

use crate::archive::commit::{self, Commit, Intent};
use crate::archive::repository::Repository;
use crate::list;
use crate::sources;

/// More rows than this nobody reads: the search is for that.
const ROWS: usize = 500;

/// How many of the latest changes are told.
const CHANGES: u64 = 10;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:light-dark(#dfe3e8,#31363d);--dim:light-dark(#57606a,#98a2ad);\
--link:light-dark(#0b57d0,#8ab4f8);--code:light-dark(#f6f8fa,#1b1f24);--page:light-dark(#fff,#121417)}\
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:0 auto;\
padding:1.5rem;background:var(--page)}\
h1{font-size:1.7rem;margin:.2em 0}h2{font-size:1.15rem;margin:2.2em 0 .5em}a{color:var(--link);\
text-decoration:none}a:hover{text-decoration:underline}\
pre{background:var(--code);border:1px solid var(--line);border-radius:6px;padding:.8rem;overflow:auto;\
font-size:.85rem}code{background:var(--code);border-radius:4px;padding:.1em .3em;font-size:.88em}\
table{border-collapse:collapse;width:100%}.wide{overflow-x:auto}\
th,td{text-align:left;padding:.4rem 1rem .4rem 0;border-bottom:1px solid var(--line);\
vertical-align:top}th{color:var(--dim);font-weight:500}td.n,th.n{text-align:right;padding-right:0;\
white-space:nowrap}.dim{color:var(--dim)}.hash{overflow-wrap:anywhere;font-size:.8rem}\
form{display:flex;gap:.5rem;flex-wrap:wrap;align-items:center;margin:.5rem 0}\
input{font:inherit;padding:.35rem .6rem;flex:0 1 22rem;min-width:10rem}\
button{font:inherit;padding:.35rem .9rem}td p{margin:0;color:var(--dim);font-size:.9rem}\
summary{cursor:pointer}dt{color:var(--dim);font-size:.9rem;margin-top:.5rem}dd{margin:0}";

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
    sha256: String,
    summary: String,
    /// Fields people ask for, as they stand in the index.
    more: Vec<(&'static str, String)>,
}

/// What a package's page tells besides its place.
const FIELDS: [&str; 7] =
    ["Maintainer", "Homepage", "Section", "Depends", "Recommends", "Provides", "Installed-Size"];

impl Site {
    /// A repository.
    pub fn new(repository: Repository) -> Self {
        Site { repository, cached: Mutex::new(None) }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// How people call it.
    pub fn path(&self) -> &Path {
        self.repository.path()
    }

    /// The latest commit.
    pub fn head(&self) -> Result<Commit> {
        self.repository.head()
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
                sha256: record.sha256,
                more: FIELDS
                    .iter()
                    .filter_map(|name| {
                        let value = String::from_utf8_lossy(field(&stanza, name)?).into_owned();
                        Some((*name, value))
                    })
                    .collect(),
                summary: summary.lines().next().unwrap_or_default().to_owned(),
            });
        }
        let content = Arc::new(Content { head, rows });
        *cached = Some(content.clone());
        Ok(content)
    }
}

/// A value of the query of a URL.
fn asked(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    bk::http::decode(&value.replace('+', " ")).filter(|value| !value.is_empty())
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

/// The page of a repository, at `url`: `q` in its query chooses packages, `package` shows one.
pub fn repository(site: &Site, url: &str, query: &str) -> Result<String> {
    let content = site.content()?;
    let Content { head, rows } = &*content;
    let name = site.path().file_name().map(display).unwrap_or_default();
    let label = head.suites.values().find_map(|suite| suite.settings.label.clone());
    let title = label.unwrap_or(name);
    if let Some(package) = asked(query, "package") {
        return Ok(package_page(&title, &package, rows));
    }
    let mut body = format!("<h1>{}</h1>\n", escape(&title));
    let description = head.suites.values().find_map(|suite| suite.settings.description.clone());
    if let Some(text) = description {
        body += &format!("<p>{}</p>\n", escape(&text));
    }
    let search = asked(query, "q");
    body += &packages(rows, search.as_deref().unwrap_or_default());
    if search.is_some() {
        return Ok(page(&title, &(body + "<p><a href=\"./\">All packages</a></p>\n")));
    }
    body += "<h2>Use it</h2>\n";
    let sources = sources::text(head, url, &[])?;
    let id: String = title
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let _ = write!(
        body,
        "<p>As root, write this to <code>/etc/apt/sources.list.d/{id}.sources</code>; the key is \
         in it:</p>\n<details><summary>{id}.sources</summary><pre>{}</pre></details>\n\
         <p>Then:</p><pre>apt update\napt install {}</pre>\n\
         <p class=\"dim\">The key alone: <a href=\"key.asc\">key.asc</a>, {}</p>\n",
        escape(&sources),
        escape(rows.first().map_or("PACKAGE", |row| &row.package)),
        head.keys
            .iter()
            .map(|key| format!("<code>{}</code>", escape(&key.fingerprint)))
            .collect::<Vec<_>>()
            .join(" ")
    );
    body += &suites(head, rows);
    body += &changes(site, head)?;
    Ok(page(&title, &body))
}

fn suites(head: &Commit, rows: &[Row]) -> String {
    let mut body = "<h2>Suites</h2>\n<div class=\"wide\"><table><tr><th>Suite</th>\
        <th>Components</th><th>Architectures</th><th>Published</th><th class=\"n\">Packages</th></tr>\n"
        .to_owned();
    for (name, suite) in &head.suites {
        let count = rows.iter().filter(|row| row.suite == *name).count();
        let link = escape(name);
        let settings = &suite.settings;
        let _ = writeln!(
            body,
            "<tr><td><a href=\"dists/{link}/\">{link}</a></td><td>{}</td><td>{}</td>\
             <td>{}</td><td class=\"n\">{count}</td></tr>",
            escape(&settings.components.join(" ")),
            escape(&settings.architectures.join(" ")),
            time(suite.published.date),
        );
    }
    body + "</table></div>\n"
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default()
}

/// The packages whose names or summaries have all the words, each with its versions.
fn packages(rows: &[Row], search: &str) -> String {
    let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
    let hit = |row: &&Row| {
        let text = format!("{} {}", row.package, row.summary).to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let mut found: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(hit) {
        found.entry(&row.package).or_default().push(row);
    }
    let all: BTreeSet<&str> = rows.iter().map(|row| row.package.as_str()).collect();
    let mut body = format!(
        "<h2>Packages</h2>\n<form><input type=\"search\" name=\"q\" value=\"{}\" \
         placeholder=\"name or description\" aria-label=\"Search packages\">\
         <button>Search</button><span class=\"dim\">{} of {}</span></form>\n\
         <div class=\"wide\"><table><tr><th>Package</th><th>Versions</th><th>Architectures</th>\
         <th>Suites</th><th class=\"n\">Size</th></tr>\n",
        escape(search),
        found.len(),
        all.len()
    );
    for rows in found.values_mut() {
        rows.sort_by(|a, b| version::compare(&a.version, &b.version));
    }
    for (name, rows) in found.iter().take(ROWS) {
        let Some(newest) = rows.last() else { continue };
        let distinct = |value: &dyn Fn(&Row) -> String| {
            let mut seen = BTreeSet::new();
            let all = rows.iter().rev().map(|row| value(row));
            all.filter(|value| seen.insert(value.clone())).take(6).collect::<Vec<_>>().join("<br>")
        };
        let _ = writeln!(
            body,
            "<tr><td><a href=\"?package={}\">{}</a><p>{}</p></td><td>{}</td><td>{}</td>\
             <td>{}</td><td class=\"n\">{}</td></tr>",
            escape(&link(name)),
            escape(name),
            escape(&newest.summary),
            distinct(&|row| escape(&row.version)),
            distinct(&|row| escape(&row.architecture)),
            distinct(&|row| escape(&row.suite)),
            size(newest.size)
        );
    }
    body += "</table></div>\n";
    if found.len() > ROWS {
        let _ = writeln!(body, "<p class=\"dim\">and {} more: search</p>", found.len() - ROWS);
    }
    body
}

/// What was done lately.
fn changes(site: &Site, head: &Commit) -> Result<String> {
    let mut body = "<h2>Changes</h2>\n<div class=\"wide\"><table>\n".to_owned();
    for number in (head.number.saturating_sub(CHANGES) + 1..=head.number).rev() {
        let Some(commit) = commit::read(site.repository.store(), number)? else { continue };
        let mut told: Vec<String> = Vec::new();
        for intent in &commit::intents(site.repository.store(), &commit)? {
            told.push(match intent {
                Intent::Add { suite, package, .. } | Intent::Copy { suite, package, .. } => {
                    format!("+{} {} in {suite}", package.name, package.version)
                }
                Intent::Remove { suite, package, .. } => {
                    format!("\u{2212}{} {} in {suite}", package.name, package.version)
                }
                Intent::Rollback { suite, to } => format!("{suite} as in commit {to}"),
                Intent::Configure { suite } => format!("settings of {suite}"),
            });
        }
        // A person reads a few; the log has them all.
        let more = told.len().saturating_sub(8);
        told.truncate(8);
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        let _ = writeln!(
            body,
            "<tr><td class=\"dim\">{}</td><td>{}</td><td>{}</td></tr>",
            time(commit.time),
            escape(&commit.action),
            told.iter().map(|text| escape(text)).collect::<Vec<_>>().join("<br>")
        );
    }
    Ok(body + "</table></div>\n")
}

/// The page of one package: each version with what its index says.
fn package_page(title: &str, package: &str, rows: &[Row]) -> String {
    let mut mine: Vec<&Row> = rows.iter().filter(|row| row.package == package).collect();
    mine.sort_by(|a, b| version::compare(&b.version, &a.version));
    let mut body =
        format!("<p><a href=\"./\">{}</a></p>\n<h1>{}</h1>\n", escape(title), escape(package));
    let Some(newest) = mine.first() else {
        return page(package, &(body + "<p>There is no such package.</p>\n"));
    };
    let _ = write!(
        body,
        "<p>{}</p>\n<pre>apt install {}</pre>\n",
        escape(&newest.summary),
        escape(package)
    );
    for row in mine {
        let _ = write!(
            body,
            "<h2>{} <span class=\"dim\">{}, {} {}</span></h2>\n\
             <p><a href=\"{}\">{}</a> <span class=\"dim\">{}</span></p>\n<dl>",
            escape(&row.version),
            escape(&row.architecture),
            escape(&row.suite),
            escape(&row.component),
            escape(&link(&row.file)),
            escape(row.file.rsplit('/').next().unwrap_or_default()),
            size(row.size)
        );
        for (name, value) in &row.more {
            let value = match *name {
                // Only what is plainly a page of the web becomes a link.
                "Homepage" if value.starts_with("https://") || value.starts_with("http://") => {
                    format!("<a rel=\"nofollow\" href=\"{0}\">{0}</a>", escape(value))
                }
                "Installed-Size" => format!("{} KiB", escape(value)),
                _ => escape(value),
            };
            let _ = write!(body, "<dt>{name}</dt><dd>{value}</dd>");
        }
        let _ =
            writeln!(body, "<dt>SHA256</dt><dd class=\"hash\">{}</dd></dl>", escape(&row.sha256));
    }
    page(package, &body)
}

/// The page of a folder inside a repository.
pub fn folder(site: &Site, name: &str) -> Result<String> {
    let store = site.repository.store();
    let mut entries = match store.local(name) {
        Some(path) => entries(&path).context(|| format!("cannot read '{}'", display(&path)))?,
        None => store.names(name)?,
    };
    entries.retain(|(name, _)| !name.starts_with('.'));
    let entry = |(name, size): (String, Option<u64>)| match size {
        Some(size) => (true, name, size),
        None => (false, name + "/", 0),
    };
    let mut entries: Vec<_> = entries.into_iter().map(entry).collect();
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

fn entries(path: &Path) -> Result<Vec<(String, Option<u64>)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        // The names of indexes are links.
        let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
        let Ok(name) = entry.file_name().into_string() else { continue };
        all.push((name, (!meta.is_dir()).then_some(meta.len())));
    }
    Ok(all)
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
        assert_eq!(asked("a=b&q=x%3Cy+z", "q").as_deref(), Some("x<y z"));
        assert_eq!(asked("q=%", "q"), None);
        assert_eq!(link("pool/a b:c%/x~1+2.deb"), "pool/a%20b%3Ac%25/x~1+2.deb");
        assert_eq!(escape("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
        assert_eq!([size(999), size(1234), size(45_678_901)], ["999 B", "1.2 kB", "46 MB"]);
    }
}
