//! Where Python distributions come from, by pip's configuration.
//!
//! uv reads its own variables and files; what only pip was told (`index-url`) is handed to it.

use std::path::{Path, PathBuf};

/// The index that pip is set up for, if uv is not set up for one: `PIP_INDEX_URL`, else `index-url`
/// of pip's files, the user's before the system's. `env` looks up an environment variable.
pub fn index_url(env: impl Fn(&str) -> Option<String>) -> Option<String> {
    if ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_CONFIG_FILE"]
        .iter()
        .any(|v| env(v).is_some())
    {
        return None;
    }
    if let Some(url) = env("PIP_INDEX_URL").filter(|url| !url.is_empty()) {
        return Some(url);
    }
    let home = env("HOME").map(PathBuf::from).unwrap_or_default();
    let config = env("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    [
        env("PIP_CONFIG_FILE").map(PathBuf::from),
        Some(config.join("pip/pip.conf")),
        Some(home.join(".pip/pip.conf")),
        Some(PathBuf::from("/etc/pip.conf")),
    ]
    .iter()
    .flatten()
    .find_map(|path| of_file(path))
}

/// `index-url` in the section `global`, `install` or `download` of an ini file.
fn of_file(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            ours = ["global", "install", "download"].contains(&section);
        } else if let Some((key, value)) = line.split_once(['=', ':']).filter(|_| ours)
            && key.trim().replace('_', "-") == "index-url"
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pips_configuration_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pip.conf");
        bk::file::write(
            &file,
            "[other]\nindex-url = no\n[global]\ntimeout=1\nindex_url: https://INDEX/\n",
        )
        .unwrap();
        let env = |name: &str| (name == "PIP_CONFIG_FILE").then(|| file.display().to_string());
        assert_eq!(index_url(env).as_deref(), Some("https://INDEX/"));
        let env = |name: &str| (name == "UV_INDEX_URL").then(|| "x".to_owned());
        assert_eq!(index_url(env), None);
    }
}
