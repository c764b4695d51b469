//! A distribution's page in an index: JSON (PEP 691) or HTML (PEP 503), and the short form it is
//! kept in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use bk::{Context, Error, Result};
use pep440_rs::Version;
use pep508_rs::PackageName;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::html;
use crate::fetch::percent_decode;
use crate::python::metadata::normalize;

/// A file of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Its SHA-256 in hexadecimal; empty where it is not known.
    pub sha256: String,
    /// The Pythons it runs on, as a version specifier; empty where nothing is said.
    pub requires_python: String,
    /// Whether it was withdrawn (PEP 592).
    pub yanked: bool,
    /// Whether its METADATA is beside it, as `URL.metadata` (PEP 658), and the SHA-256 of that,
    /// empty where it is not known.
    pub metadata: Option<String>,
}

impl Listed {
    /// Whether it is a wheel; what is none is a source.
    pub fn is_wheel(&self) -> bool {
        self.name.ends_with(".whl")
    }
}

/// A version and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The version.
    pub version: Version,
    /// Its files.
    pub files: Vec<Listed>,
}

/// How sources are packed.
const SOURCES: [&str; 6] = [".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz", ".tar"];

/// A page as it came: texts stay where they are, since pages of ten thousand files are read by many
/// threads at once.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow, default)]
    files: Vec<JsonFile<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonFile<'a> {
    #[serde(borrow)]
    filename: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow, default)]
    hashes: Hashes<'a>,
    #[serde(borrow)]
    requires_python: Option<Cow<'a, str>>,
    /// `true`, or why.
    #[serde(borrow)]
    yanked: Option<Said<'a>>,
    /// `true`, or its hashes (PEP 714); the name before that was the other one.
    #[serde(borrow)]
    core_metadata: Option<Said<'a>>,
    #[serde(borrow)]
    dist_info_metadata: Option<Said<'a>>,
}

#[derive(Default, Deserialize)]
struct Hashes<'a> {
    #[serde(borrow)]
    sha256: Option<Cow<'a, str>>,
}

/// What is said by being there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said<'a> {
    Plainly(bool),
    #[serde(borrow)]
    By(Hashes<'a>),
    Somehow(IgnoredAny),
}

/// Reads a page that came from `base`.
pub fn parse(
    body: &[u8],
    content_type: &str,
    base: &str,
    name: &PackageName,
) -> Result<Vec<Release>> {
    match content_type.contains("json") {
        true => {
            let page: Json<'_> =
                serde_json::from_slice(body).context(|| "not a page of an index".into())?;
            Ok(releases(page.files.into_iter().map(|file| listed(file, base)), name))
        }
        false => Ok(releases(html::files(&String::from_utf8_lossy(body), base), name)),
    }
}

fn listed(file: JsonFile<'_>, base: &str) -> Listed {
    let text = |text: Option<Cow<'_, str>>| text.unwrap_or_default().into_owned();
    let metadata = match file.core_metadata.or(file.dist_info_metadata) {
        None | Some(Said::Plainly(false)) => None,
        Some(Said::By(hashes)) => Some(text(hashes.sha256)),
        Some(_) => Some(String::new()),
    };
    Listed {
        metadata,
        yanked: !matches!(file.yanked, None | Some(Said::Plainly(false))),
        sha256: text(file.hashes.sha256),
        requires_python: text(file.requires_python),
        url: join(base, &file.url),
        name: file.filename.into_owned(),
    }
}

/// The files of `name` by version, the newest first. What cannot run on Linux with glibc, and what
/// has no version by PEP 440, is left out.
pub fn releases(files: impl IntoIterator<Item = Listed>, name: &PackageName) -> Vec<Release> {
    let mut all: BTreeMap<Version, Vec<Listed>> = BTreeMap::new();
    for file in files {
        // What would break the form it is kept in is no honest name or address.
        let texts = [&file.name, &file.url, &file.sha256, &file.requires_python];
        if texts.iter().any(|text| text.contains(['\t', '\n', '\r'])) || file.name.contains('/') {
            continue;
        }
        let version =
            if file.is_wheel() { wheel(&file.name, name) } else { sdist(&file.name, name) };
        if let Some(version) = version {
            all.entry(version).or_default().push(file);
        }
    }
    all.into_iter().rev().map(|(version, files)| Release { version, files }).collect()
}

/// The version of a wheel of `name` that some Linux with glibc can run.
fn wheel(file: &str, name: &PackageName) -> Option<Version> {
    let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
    let (python, platform) = (parts.get(parts.len().checked_sub(3)?)?, parts.last()?);
    let linux = |p: &str| p == "any" || p.starts_with("manylinux") || p.starts_with("linux");
    let three = |p: &str| p.starts_with("py3") || p.starts_with("cp3");
    let fits = (5..=6).contains(&parts.len())
        && platform.split('.').any(linux)
        && python.split('.').any(three)
        && normalize(parts[0]) == name.as_ref();
    if fits { percent_decode(parts[1]).parse().ok() } else { None }
}

/// The version of a source of `name`: either may have a `-` in it.
fn sdist(file: &str, name: &PackageName) -> Option<Version> {
    let stem = SOURCES.iter().find_map(|end| file.strip_suffix(end))?;
    let splits = stem.match_indices('-').map(|(at, _)| (&stem[..at], &stem[at + 1..]));
    let mut named = splits.filter(|(start, _)| normalize(start) == name.as_ref());
    named.find_map(|(_, version)| version.parse().ok())
}

/// The address that `link` on the page `base` means (RFC 3986 5.2, as far as indexes use it).
pub fn join(base: &str, link: &str) -> String {
    if link.contains("://") {
        return link.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
    let path_at = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(path_at);
    let prefix = if scheme.is_empty() { String::new() } else { format!("{scheme}://{host}") };
    if let Some(rest) = link.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut parts: Vec<&str> = match link.starts_with('/') {
        true => Vec::new(),
        false => path.split('/').skip(1).collect(),
    };
    parts.pop();
    for part in link.trim_start_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("{prefix}/{}", parts.join("/"))
}

/// A line a file, to be read by [`load`].
pub fn store(releases: &[Release]) -> String {
    let mut text = String::new();
    for release in releases {
        for file in &release.files {
            let url = file.url.strip_suffix(&file.name).unwrap_or(&file.url);
            let yanked = if file.yanked { "y" } else { "" };
            let metadata = file.metadata.as_ref().map_or(String::new(), |sum| format!("m{sum}"));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{}\t{}\t{url}\t{}\t{}\t{yanked}\t{metadata}",
                release.version, file.name, file.sha256, file.requires_python
            );
        }
    }
    text
}

/// Reads what [`store`] wrote.
pub fn load(text: &str) -> Result<Vec<Release>> {
    let mut releases: Vec<Release> = Vec::new();
    let mut last = "";
    for line in text.lines() {
        let mut fields = line.split('\t');
        let mut next = || fields.next().ok_or_else(|| Error::new("a line is cut short"));
        let version = next()?;
        if version != last {
            releases.push(Release { version: version.parse()?, files: Vec::new() });
            last = version;
        }
        let (name, url) = (next()?, next()?);
        let whole = url.ends_with('/');
        let file = Listed {
            name: name.to_owned(),
            url: if whole { format!("{url}{name}") } else { url.to_owned() },
            sha256: next()?.to_owned(),
            requires_python: next()?.to_owned(),
            yanked: next()? == "y",
            metadata: next()?.strip_prefix('m').map(str::to_owned),
        };
        if let Some(release) = releases.last_mut() {
            release.files.push(file);
        }
    }
    Ok(releases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PackageName {
        text.parse().unwrap()
    }

    #[test]
    fn json_is_read_and_kept() {
        let page = br#"{"meta":{"api-version":"1.0"},"name":"a-b","files":[
            {"filename":"a_b-1.0-py3-none-any.whl","url":"../../files/a_b-1.0-py3-none-any.whl",
             "hashes":{"sha256":"aa"},"requires-python":">=3.8","core-metadata":{"sha256":"bb"}},
            {"filename":"A.b-1.0.tar.gz","url":"https://x/A.b-1.0.tar.gz","hashes":{},"yanked":"bad"},
            {"filename":"a-b-2.0rc1.zip","url":"https://x/dl?id=1","hashes":{},"dist-info-metadata":false},
            {"filename":"a_b-3.0-cp311-cp311-win_amd64.whl","url":"x","hashes":{}},
            {"filename":"other-1.0.tar.gz","url":"x","hashes":{}},
            {"filename":"a_b-1.0-custom-x.tar.gz","url":"x","hashes":{}}]}"#;
        let releases = parse(
            page,
            "application/vnd.pypi.simple.v1+json",
            "https://x/simple/a-b/",
            &name("a.b"),
        )
        .unwrap();
        let versions: Vec<String> = releases.iter().map(|r| r.version.to_string()).collect();
        assert_eq!(versions, ["2.0rc1", "1.0"]);
        let files = &releases[1].files;
        assert_eq!(files[0].url, "https://x/files/a_b-1.0-py3-none-any.whl");
        assert_eq!(files[0].metadata.as_deref(), Some("bb"));
        assert!(files[1].yanked && !files[0].yanked && files[1].metadata.is_none());
        assert_eq!(load(&store(&releases)).unwrap(), releases);
        assert!(parse(b"{", "application/json", "https://x/", &name("a")).is_err());
        assert!(load("1.0\tx\n").is_err());
    }

    #[test]
    fn links_are_joined_as_browsers_do() {
        let base = "https://x/simple/a/";
        assert_eq!(join(base, "f.whl"), "https://x/simple/a/f.whl");
        assert_eq!(join(base, "../../f/f.whl"), "https://x/f/f.whl");
        assert_eq!(join(base, "/f.whl"), "https://x/f.whl");
        assert_eq!(join(base, "//y/f.whl"), "https://y/f.whl");
        assert_eq!(join(base, "http://y/f"), "http://y/f");
        assert_eq!(join("https://x", "../f"), "https://x/f");
        assert_eq!(join("/w/page.html", "f.whl"), "/w/f.whl");
    }
}
