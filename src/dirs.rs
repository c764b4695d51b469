//! Where things live (bk-stream.7, FILES).

use std::path::{Path, PathBuf};

/// The folders of this user, or of the system when root runs the tool.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Repositories, keys, machines: `/var/lib/buildkit`, or `$XDG_DATA_HOME/buildkit`.
    pub data: PathBuf,
    /// What can be fetched or made again: `/var/cache/buildkit`, or `$XDG_CACHE_HOME/buildkit`.
    pub cache: PathBuf,
    /// Sockets and process numbers: `/run/buildkit`, or `$XDG_STATE_HOME/buildkit`.
    pub run: PathBuf,
    /// The folders with `TOOL.yaml`, the strongest first.
    pub config: Vec<PathBuf>,
}

impl Dirs {
    /// The folders under `root` if given, the system's for root, else those of the XDG Base
    /// Directory Specification. `env` looks up an environment variable.
    pub fn new(root: Option<&Path>, env: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let system = |root: &Path| Dirs {
            data: root.join("var/lib/buildkit"),
            cache: root.join("var/cache/buildkit"),
            run: root.join("run/buildkit"),
            config: vec![root.join("etc/buildkit")],
        };
        if let Some(root) = root {
            return system(root);
        }
        if rustix::process::geteuid().is_root() {
            return system(Path::new("/"));
        }
        let home = env("HOME").unwrap_or_else(|| PathBuf::from("/"));
        let xdg = |variable: &str, default: &str| {
            env(variable)
                .filter(|path| path.is_absolute())
                .unwrap_or_else(|| home.join(default))
                .join("buildkit")
        };
        Dirs {
            data: xdg("XDG_DATA_HOME", ".local/share"),
            cache: xdg("XDG_CACHE_HOME", ".cache"),
            run: xdg("XDG_STATE_HOME", ".local/state"),
            config: vec![xdg("XDG_CONFIG_HOME", ".config"), PathBuf::from("/etc/buildkit")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_holds_everything() {
        let dirs = Dirs::new(Some(Path::new("/r")), |_| None);
        for dir in [&dirs.data, &dirs.cache, &dirs.run, &dirs.config[0]] {
            assert!(dir.starts_with("/r"), "{dir:?}");
        }
    }
}
