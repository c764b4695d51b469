//! Where Python distributions come from, as pip and uv are told.
//!
//! What uv is told counts before what pip is told, variables before files, the user's files before
//! the system's.

use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Error, Result, Status, file};

use super::requirement::Indexes;

/// A configuration file has some lines.
const FILE_LIMIT: u64 = 1 << 20;

/// What is configured; `env` looks up an environment variable.
pub fn indexes(env: impl Fn(&str) -> Option<String>) -> Indexes {
    let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    let words = |name: &str| -> Vec<String> {
        let text = env(name).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let yes = |name: &str| env(name).is_some_and(|value| is_true(&value));
    let uv = Indexes {
        index: env("UV_DEFAULT_INDEX").or_else(|| env("UV_INDEX_URL")).map(unnamed),
        extra: [words("UV_INDEX"), words("UV_EXTRA_INDEX_URL")]
            .concat()
            .into_iter()
            .map(unnamed)
            .collect(),
        find_links: env("UV_FIND_LINKS")
            .map(|links| links.split([',', ' ']).map(str::to_owned).collect())
            .unwrap_or_default(),
        no_index: yes("UV_NO_INDEX"),
    };
    let pip = Indexes {
        index: env("PIP_INDEX_URL"),
        extra: words("PIP_EXTRA_INDEX_URL"),
        find_links: words("PIP_FIND_LINKS"),
        no_index: yes("PIP_NO_INDEX"),
    };
    let home = env("HOME").map(PathBuf::from).unwrap_or_default();
    let config = env("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let uv_files = match env("UV_CONFIG_FILE") {
        Some(file) => vec![PathBuf::from(file)],
        None => vec![config.join("uv/uv.toml"), PathBuf::from("/etc/uv/uv.toml")],
    };
    let pip_files = [
        env("PIP_CONFIG_FILE").map(PathBuf::from),
        Some(config.join("pip/pip.conf")),
        Some(home.join(".pip/pip.conf")),
        Some(PathBuf::from("/etc/pip.conf")),
    ];
    let files = uv_files.iter().map(|path| of_uv(path));
    let files = files.chain(pip_files.iter().flatten().map(|path| of_pip(path)));
    let mut all = Indexes::default();
    for found in [uv, pip].into_iter().chain(files) {
        all.add(found);
    }
    all
}

impl Indexes {
    /// Adds what is told in a place that counts less.
    pub fn add(&mut self, more: Indexes) {
        self.index = self.index.take().or(more.index);
        if self.extra.is_empty() {
            self.extra = more.extra;
        }
        if self.find_links.is_empty() {
            self.find_links = more.find_links;
        }
        self.no_index |= more.no_index;
    }
}

/// uv's indexes may have a name: `NAME=URL`.
fn unnamed(index: String) -> String {
    let url = index.split_once('=').filter(|(name, _)| !name.contains([':', '/']));
    url.map_or(index.clone(), |(_, url)| url.to_owned())
}

fn is_true(value: &str) -> bool {
    ["1", "true", "yes", "on", "y", "t"].contains(&value.trim().to_ascii_lowercase().as_str())
}

/// `[global]`, `[install]` and `[download]` of an ini file.
fn of_pip(path: &Path) -> Indexes {
    let mut found = Indexes::default();
    let Ok(text) = file::read(path, FILE_LIMIT) else { return found };
    let (mut ours, mut last) = (false, String::new());
    for line in String::from_utf8_lossy(&text).lines() {
        // A value goes on in lines that are set in.
        let goes_on = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            ours = ["global", "install", "download"].contains(&section);
            continue;
        }
        let (key, value) = match line.split_once(['=', ':']) {
            _ if goes_on => (last.clone(), line),
            Some((key, value)) => (key.trim().replace('_', "-"), value.trim()),
            None => continue,
        };
        last.clone_from(&key);
        let words = || value.split_whitespace().map(str::to_owned);
        match key.as_str() {
            _ if !ours => {}
            "index-url" => found.index = words().next().or(found.index),
            "extra-index-url" => found.extra.extend(words()),
            "find-links" => found.find_links.extend(words()),
            "no-index" => found.no_index = is_true(value),
            _ => {}
        }
    }
    found
}

/// The same of uv.toml: `index-url`, or the `[[index]]` that is the default.
fn of_uv(path: &Path) -> Indexes {
    let mut found = Indexes::default();
    let Ok(text) = file::read(path, FILE_LIMIT) else { return found };
    let Ok(table) = String::from_utf8_lossy(&text).parse::<toml::Table>() else { return found };
    // What pip's commands are told is in a table of its own, and counts more there.
    let pip = table.get("pip").and_then(|pip| pip.as_table());
    for table in pip.into_iter().chain([&table]) {
        let texts = |key: &str| -> Vec<String> {
            let all = table.get(key).and_then(|value| value.as_array()).into_iter().flatten();
            all.filter_map(|value| value.as_str().map(str::to_owned)).collect()
        };
        let mut more = Indexes {
            index: table.get("index-url").and_then(|url| url.as_str()).map(str::to_owned),
            extra: texts("extra-index-url"),
            find_links: texts("find-links"),
            no_index: table.get("no-index").and_then(|value| value.as_bool()).unwrap_or(false),
        };
        for index in table.get("index").and_then(|value| value.as_array()).into_iter().flatten() {
            let is = |key: &str| index.get(key).and_then(|value| value.as_bool()).unwrap_or(false);
            let Some(url) = index.get("url").and_then(|url| url.as_str()) else { continue };
            match (is("default"), is("explicit")) {
                (true, _) => more.index = Some(url.to_owned()),
                (false, false) => more.extra.push(url.to_owned()),
                // Only for what names it, which no requirement of ours can.
                (false, true) => {}
            }
        }
        found.add(more);
    }
    found
}

/// The index that this system's pip uses if it is told nothing; kept in `cache`.
pub fn default_index(cache: &Path, console: &Console) -> Result<String> {
    let kept = cache.join("index/default");
    if let Ok(text) = file::read(&kept, FILE_LIMIT) {
        return Ok(String::from_utf8_lossy(&text).trim().to_owned());
    }
    // Wide, so that no address is broken over two lines.
    let help = Cmd::new("python3", console)
        .args(["-m", "pip", "install", "--help"])
        .env("COLUMNS", "500")
        .output();
    let url = help.ok().and_then(|help| told_default(&String::from_utf8_lossy(&help)));
    let url = url.ok_or_else(|| {
        Error::new("no index of Python packages is configured")
            .hint("say where packages come from: --index-url URL, or --find-links DIR --no-index")
            .status(Status::Usage)
    })?;
    if let Some(dir) = kept.parent() {
        file::create_dir(dir)?;
    }
    file::write(&kept, format!("{url}\n"))?;
    Ok(url)
}

/// `Base URL of the Python Package Index (default URL)`.
fn told_default(help: &str) -> Option<String> {
    let words: Vec<&str> = help.split_whitespace().collect();
    let words = words.join(" ");
    let (_, rest) = words.split_once("Python Package Index (default ")?;
    let (url, _) = rest.split_once(')')?;
    url.contains("://").then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pips_and_uvs_configuration_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (pip, uv) = (dir.path().join("pip.conf"), dir.path().join("uv.toml"));
        bk::file::write(
            &pip,
            "[other]\nindex-url = no\n[global]\ntimeout=1\nindex_url: https://INDEX/\n\
             find-links =\n    a\n    b\n",
        )
        .unwrap();
        let with = |more: &'static [(&str, &str)]| {
            let (pip, uv) = (pip.display().to_string(), uv.display().to_string());
            indexes(move |name| match name {
                "PIP_CONFIG_FILE" => Some(pip.clone()),
                "UV_CONFIG_FILE" => Some(uv.clone()),
                name => more.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()),
            })
        };
        let found = with(&[]);
        assert_eq!(found.index.as_deref(), Some("https://INDEX/"));
        assert_eq!(found.find_links, ["a", "b"]);
        let found =
            with(&[("UV_INDEX", "mine=https://x/ https://y/"), ("PIP_INDEX_URL", "https://z/")]);
        assert_eq!(found.extra, ["https://x/", "https://y/"]);
        assert_eq!(found.index.as_deref(), Some("https://z/"));
        bk::file::write(
            &uv,
            "[[index]]\nurl = \"https://e/\"\n[[index]]\nurl = \"https://d/\"\ndefault = true\n\
             [pip]\nno-index = true\n",
        )
        .unwrap();
        let found = with(&[]);
        assert_eq!((found.index.as_deref(), found.no_index), (Some("https://d/"), true));
        assert_eq!(found.extra, ["https://e/"]);
    }

    #[test]
    fn pips_default_is_in_its_help() {
        let help = "  -i, --index-url <url>  Base URL of the Python Package\n   Index (default\n\
                    https://INDEX/simple). This should";
        assert_eq!(told_default(help).as_deref(), Some("https://INDEX/simple"));
        assert_eq!(told_default("no such thing (default x)"), None);
    }
}
