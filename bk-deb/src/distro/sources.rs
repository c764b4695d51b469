//! What this system's apt is set up for (sources.list(5)).

use std::fs;
use std::path::{Path, PathBuf};

use crate::debian::sources;
pub(super) use crate::debian::sources::own_suite;

const LISTS: &str = "/var/lib/apt/lists";

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
    let all = sources::read(Path::new("/etc/apt"));
    let with = |suite: &str| all.iter().find(|source| source.suites.iter().any(|s| s == suite));
    let found = with(suite).or_else(|| with(&own_suite()?)).or(all.first())?;
    Some(found.uris.first()?.trim_end_matches('/').to_owned())
}
