//! Interpreters: which one is meant, and what it is.

use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Context, Error, Result, display};

/// An interpreter that runs.
#[derive(Clone, Debug)]
pub struct Python {
    /// The program.
    pub program: PathBuf,
    /// `3.11`.
    pub version: String,
    /// `py3.11`, with the platform after it: what an egg with code for a machine is called by.
    pub platform: String,
    /// All that makes it another one: version, build, place.
    pub identity: String,
}

/// Prints what makes an interpreter itself.
const IDENTITY: &str = "import sys, sysconfig
print('%d.%d' % sys.version_info[:2])
print(sysconfig.get_platform())
print(sys.executable)
print(repr((sys.version, sys.prefix, sys.base_prefix, sys.implementation.cache_tag)))";

impl Python {
    fn ask(program: &Path, console: &Console) -> Result<Self> {
        let said = Cmd::new(program, console).args(["-I", "-S", "-c", IDENTITY]).output()?;
        let said = String::from_utf8_lossy(&said);
        let mut lines = said.lines();
        let mut next = || lines.next().filter(|line| !line.is_empty());
        let (version, platform, executable) = (next(), next(), next());
        match (version, platform, executable) {
            (Some(version), Some(platform), Some(executable)) => Ok(Python {
                program: executable.into(),
                version: version.to_owned(),
                platform: platform.to_owned(),
                identity: said.trim().to_owned(),
            }),
            _ => Err(Error::new(format!("'{}' is no Python 3", display(program)))),
        }
    }
}

/// Finds an interpreter: a path, a name on PATH, or a version such as `3.12`, which may also be one of
/// `pyenv` (its root folder) or one that uv has or fetches.
pub fn find(wanted: Option<&str>, pyenv: Option<&Path>, console: &Console) -> Result<Python> {
    let wanted = wanted.unwrap_or("python3");
    let failed = || format!("cannot use the interpreter '{}'", bk::sanitize(wanted));
    if wanted.contains('/') {
        return Python::ask(Path::new(wanted), console).context(failed);
    }
    let version = wanted.trim_start_matches("python");
    let is_version = version.starts_with(|c: char| c.is_ascii_digit());
    let name = if is_version { format!("python{version}") } else { wanted.to_owned() };
    let mut candidates = Vec::new();
    if is_version {
        candidates.push(Path::new("/usr/bin").join(&name));
    }
    // Also those behind the first: pyenv has programs of all versions that only say they are not installed.
    candidates.extend(which::which_all(&name).into_iter().flatten());
    if let (true, Some(root)) = (is_version, pyenv) {
        candidates.extend(of_pyenv(root, version));
    }
    let found = candidates.iter().filter(|path| path.is_file());
    let mut found = found.filter_map(|path| Python::ask(path, console).ok());
    let fits = |python: &Python| !is_version || same_version(python, version);
    if let Some(python) = found.find(fits) {
        return Ok(python);
    }
    if which::which("uv").is_ok() {
        let fetched = Cmd::new("uv", console).args(["python", "find", "--no-project", wanted]);
        let fetched = fetched.output().or_else(|_| {
            Cmd::new("uv", console).args(["python", "install", "--quiet", wanted]).output()?;
            Cmd::new("uv", console).args(["python", "find", "--no-project", wanted]).output()
        });
        let path = fetched.context(failed)?;
        let path = String::from_utf8_lossy(&path).trim().to_owned();
        return Python::ask(Path::new(&path), console).context(failed);
    }
    Err(Error::new("it is not on this system").context(failed()).hint(format!(
        "install it (apt-get install {name} {name}-venv), give its path, or install uv, which fetches it"
    )))
}

/// `3.12` is any 3.12; `3.12.1` names that one, of which the path has told already.
fn same_version(python: &Python, version: &str) -> bool {
    python.version == version
        || version.strip_prefix(&python.version).is_some_and(|rest| rest.starts_with('.'))
        || python.version.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'))
}

/// The newest of a version that pyenv has.
fn of_pyenv(root: &Path, version: &str) -> Option<PathBuf> {
    let number = |name: &str| -> Option<Vec<u32>> {
        name.split('.').map(|part| part.parse().ok()).collect()
    };
    let names = root.join("versions").read_dir().ok()?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let fits = |name: &String| {
        name == version || name.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'))
    };
    let newest = names.filter(fits).filter_map(|name| Some((number(&name)?, name))).max()?;
    Some(root.join("versions").join(newest.1).join("bin/python"))
}
