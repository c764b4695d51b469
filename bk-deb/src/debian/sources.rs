//! What apt is set up for (sources.list(5)).

use std::fs;
use std::path::{Path, PathBuf};

use super::control::{Paragraph, paragraphs};

/// One source of binary packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where the archive is; the first is preferred. There is at least one.
    pub uris: Vec<String>,
    /// Its suites, or paths with a slash at the end.
    pub suites: Vec<String>,
    /// The keyring that its signatures are checked with, where it is a file.
    pub signed_by: Option<PathBuf>,
}

/// This system's suite: the code name in /etc/os-release (os-release(5)).
pub fn own_suite() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    let value = value.trim().trim_matches('"');
    (!value.is_empty()).then(|| value.to_owned())
}

/// The sources of binary packages in `sources.list` and `sources.list.d` of the folder `apt`
/// (`/etc/apt`), in the order apt reads them. What cannot be read is passed over, as are sources
/// that are disabled.
pub fn read(apt: &Path) -> Vec<Source> {
    let mut files: Vec<PathBuf> = fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files.insert(0, apt.join("sources.list"));
    files.iter().flat_map(|file| file_sources(file)).collect()
}

fn file_sources(path: &Path) -> Vec<Source> {
    let Ok(text) = fs::read(path) else { return Vec::new() };
    match path.extension().and_then(|e| e.to_str()) {
        Some("sources") => paragraphs(&text).filter_map(deb822).collect(),
        Some("list") => String::from_utf8_lossy(&text).lines().filter_map(one_line).collect(),
        _ => Vec::new(),
    }
}

fn deb822(paragraph: &[u8]) -> Option<Source> {
    let paragraph = Paragraph::parse(paragraph).ok()?;
    let words = |name: &str| -> Option<Vec<String>> {
        Some(paragraph.get(name)?.split_ascii_whitespace().map(str::to_owned).collect())
    };
    let enabled = paragraph.get("Enabled").is_none_or(|enabled| enabled != "no");
    let uris = words("URIs").filter(|uris| !uris.is_empty())?;
    (enabled && words("Types")?.iter().any(|kind| kind == "deb")).then_some(Source {
        uris,
        suites: words("Suites")?,
        signed_by: paragraph.get("Signed-By").and_then(keyring),
    })
}

/// `deb [options] uri suite component…`
fn one_line(line: &str) -> Option<Source> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let signed_by = options.split_ascii_whitespace().find_map(|o| o.strip_prefix("signed-by="));
    Some(Source {
        uris: vec![words.next()?.to_owned()],
        suites: vec![words.next()?.to_owned()],
        signed_by: signed_by.and_then(keyring),
    })
}

/// A key that stands in the source itself, or a fingerprint, is no file.
fn keyring(value: &str) -> Option<PathBuf> {
    (value.starts_with('/') && !value.contains([',', '\n', ' '])).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_sources_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let parts = dir.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        bk::file::write(
            &dir.path().join("sources.list"),
            "# deb http://no/ x main\ndeb [arch=amd64 signed-by=/k] http://MIRROR/one sid main # c\n\
             deb-src http://no/ sid main\n",
        )
        .unwrap();
        bk::file::write(
            &parts.join("a.sources"),
            "Types: deb deb-src\nURIs: http://MIRROR/two http://MIRROR/2\n\
             Suites: bookworm bookworm-updates\nComponents: main\n\n\
             Types: deb\nEnabled: no\nURIs: http://no\nSuites: x\n",
        )
        .unwrap();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let expected = [
            Source {
                uris: words(&["http://MIRROR/one"]),
                suites: words(&["sid"]),
                signed_by: Some("/k".into()),
            },
            Source {
                uris: words(&["http://MIRROR/two", "http://MIRROR/2"]),
                suites: words(&["bookworm", "bookworm-updates"]),
                signed_by: None,
            },
        ];
        assert_eq!(read(dir.path()), expected);
    }
}
