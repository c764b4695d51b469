//! What this system's apt is set up for (sources.list(5)).

use std::fs;
use std::path::{Path, PathBuf};

use crate::debian::control::{Paragraph, paragraphs};

const LISTS: &str = "/var/lib/apt/lists";

/// The code name in /etc/os-release (os-release(5)).
pub(super) fn own_suite() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    let value = value.trim().trim_matches('"');
    (!value.is_empty()).then(|| value.to_owned())
}

/// The package indexes of a suite, its updates and its security updates that apt has fetched,
/// sorted.
pub(super) fn apt_lists(suite: &str, arch: &str) -> Vec<PathBuf> {
    // HOST_PATH_dists_SUITE_COMPONENT_binary-ARCH_Packages[.lz4]
    lists(suite, &format!("_binary-{arch}_Packages"))
}

/// The Contents indexes that apt has fetched for apt-file(1), sorted.
pub(super) fn contents_lists(suite: &str, arch: &str) -> Vec<PathBuf> {
    // HOST_PATH_dists_SUITE_COMPONENT_Contents-ARCH[.lz4]
    let mut all = lists(suite, &format!("_Contents-{arch}"));
    all.extend(lists(suite, "_Contents-all"));
    all
}

fn lists(suite: &str, index: &str) -> Vec<PathBuf> {
    let belongs = |name: &str| {
        let (_, rest) = name.split_once("_dists_")?;
        let (dist, rest) = rest.split_once('_')?;
        let (_, end) = rest.split_at_checked(rest.find(index)? + index.len())?;
        let ours =
            dist == suite || dist.strip_prefix(suite).is_some_and(|rest| rest.starts_with('-'));
        (ours && !dist.contains("backports") && (end.is_empty() || end.starts_with('.')))
            .then_some(())
    };
    let mut lists: Vec<PathBuf> = fs::read_dir(LISTS)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().and_then(belongs).is_some())
        .map(|entry| entry.path())
        .collect();
    lists.sort();
    lists
}

/// The archive to fetch a suite from: that of a source with this suite, else that of this system's.
pub(super) fn mirror(suite: &str) -> Option<String> {
    let all = entries(Path::new("/etc/apt"));
    let with = |suite: &str| all.iter().find(|(_, suites)| suites.iter().any(|s| s == suite));
    let found = with(suite).or_else(|| with(&own_suite()?)).or(all.first())?;
    Some(found.0.trim_end_matches('/').to_owned())
}

/// The addresses and suites of the binary sources, in the order apt reads them.
fn entries(apt: &Path) -> Vec<(String, Vec<String>)> {
    let mut files: Vec<PathBuf> = fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files.insert(0, apt.join("sources.list"));
    files.iter().flat_map(|file| read(file)).collect()
}

fn read(path: &Path) -> Vec<(String, Vec<String>)> {
    let Ok(text) = fs::read(path) else { return Vec::new() };
    let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match path.extension().and_then(|e| e.to_str()) {
        Some("sources") => paragraphs(&text)
            .filter_map(|paragraph| Paragraph::parse(paragraph).ok())
            .filter(|p| p.get("Enabled").is_none_or(|enabled| enabled != "no"))
            .filter(|p| p.get("Types").is_some_and(|types| words(types).iter().any(|t| t == "deb")))
            .filter_map(|p| {
                Some((words(p.get("URIs")?).into_iter().next()?, words(p.get("Suites")?)))
            })
            .collect(),
        Some("list") => String::from_utf8_lossy(&text).lines().filter_map(one_line).collect(),
        _ => Vec::new(),
    }
}

/// `deb [options] uri suite component…`
fn one_line(line: &str) -> Option<(String, Vec<String>)> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_ascii_whitespace();
    Some((words.next()?.to_owned(), vec![words.next()?.to_owned()]))
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
            "Types: deb deb-src\nURIs: http://MIRROR/two\nSuites: bookworm bookworm-updates\n\
             Components: main\n\nTypes: deb\nEnabled: no\nURIs: http://no\nSuites: x\n",
        )
        .unwrap();
        let found = entries(dir.path());
        let expected = [
            ("http://MIRROR/one".to_owned(), vec!["sid".to_owned()]),
            ("http://MIRROR/two".to_owned(), vec!["bookworm".into(), "bookworm-updates".into()]),
        ];
        assert_eq!(found, expected);
    }
}
