//! Environments (PEP 405), made once for what is in them and kept.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bk::{Cmd, Console, Context, Error, Result, display, file};
use sha2::{Digest, Sha256};

use crate::python::Python;

/// What nobody used for so long is removed: a month outlives holidays.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long another process may take to make the same one, code to be compiled included.
const WAIT: Duration = Duration::from_secs(3600);
/// Lists of requirements have some kilobytes.
pub const TEXT_LIMIT: u64 = 16 << 20;

/// Where distributions come from, as pip's options say it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Index {
    /// Also look for distributions in this folder or page
    #[arg(long, value_name = "DIR|URL")]
    pub find_links: Vec<String>,
    /// Take distributions of --find-links alone
    #[arg(long)]
    pub no_index: bool,
}

impl Index {
    fn arguments(&self) -> Vec<String> {
        let links = self.find_links.iter().flat_map(|link| ["--find-links".into(), link.clone()]);
        let none = self.no_index.then(|| "--no-index".to_owned());
        links.chain(none).collect()
    }
}

/// What an environment is made of.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// Requirements (PEP 508).
    pub requirements: Vec<String>,
    /// Files with requirements.
    pub files: Vec<PathBuf>,
    /// The project itself, as a wheel, and its extras.
    pub wheel: Option<(PathBuf, Vec<String>)>,
    /// The project's folder, to be installed as it is there, and its extras.
    pub editable: Option<(PathBuf, Vec<String>)>,
    /// Where distributions come from.
    pub index: Index,
}

/// The environments there are, in a folder of the cache.
pub struct Environments<'a> {
    dir: PathBuf,
    console: &'a Console,
    path: OsString,
    /// Whether to make those again that are there.
    pub refresh: bool,
}

/// An environment.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Its interpreter.
    pub python: PathBuf,
    dir: PathBuf,
    index: Index,
    path: OsString,
}

impl<'a> Environments<'a> {
    /// Those in the folder `cache`; `path` is PATH.
    pub fn new(cache: &Path, path: OsString, console: &'a Console) -> Self {
        Environments { dir: cache.join("environments"), console, path, refresh: false }
    }

    /// The environment of a recipe, made if it is not there yet.
    pub fn get(&self, python: &Python, recipe: &Recipe) -> Result<Environment> {
        plain(&recipe.requirements)?;
        file::create_dir(&self.dir)?;
        let key = key(python, recipe)?;
        let dir = self.dir.join(&key);
        let mut path = dir.join("bin").into_os_string();
        path.push(":");
        path.push(&self.path);
        let environment =
            Environment { python: dir.join("bin/python"), dir, index: recipe.index.clone(), path };
        let _lock = environment.lock(self.console)?;
        let stamp = environment.dir.join("made");
        if stamp.is_file() && !self.refresh {
            // The time of use, for who removes the old ones.
            let touched = fs::File::options().write(true).open(&stamp);
            drop(touched.and_then(|stamp| stamp.set_modified(SystemTime::now())));
            return Ok(environment);
        }
        self.remove_old();
        if environment.dir.exists() {
            fs::remove_dir_all(&environment.dir)
                .context(|| format!("cannot remove '{}'", display(&environment.dir)))?;
        }
        self.console.info(&format!("making the environment '{}'", display(&environment.dir)));
        self.make(python, &environment).context(|| "cannot make an environment".into())?;
        let extras = |path: &Path, extras: &[String]| -> String {
            let path = display(path);
            if extras.is_empty() { path } else { format!("{path}[{}]", extras.join(",")) }
        };
        let mut words = Vec::new();
        for path in &recipe.files {
            words.extend(["-r".to_owned(), display(path)]);
        }
        if let Some((path, names)) = &recipe.editable {
            words.extend(["-e".to_owned(), extras(path, names)]);
        }
        words.extend(recipe.wheel.iter().map(|(path, names)| extras(path, names)));
        words.extend(recipe.requirements.iter().cloned());
        environment.remove_setuptools()?;
        environment.install(&words, self.console)?;
        file::write(&stamp, "")?;
        Ok(environment)
    }

    fn make(&self, python: &Python, environment: &Environment) -> Result<()> {
        let cmd = match which::which("uv") {
            Ok(uv) => Cmd::new(uv, self.console)
                .args(["venv", "--quiet", "--no-project", "--no-config", "--python"])
                .arg(&python.program),
            Err(_) => Cmd::new(&python.program, self.console).args(["-I", "-m", "venv"]),
        };
        cmd.arg(&environment.dir).output().map(drop).hint(|| {
            format!(
                "'python{0} -m venv' has to work: apt-get install python{0}-venv",
                python.version
            )
        })
    }

    /// Removes what nobody used for long; what another process holds at the moment stays.
    fn remove_old(&self) {
        let Ok(entries) = self.dir.read_dir() else { return };
        for dir in entries.flatten().map(|entry| entry.path()) {
            let used = dir.join("made").metadata().and_then(|meta| meta.modified());
            let old = |used: SystemTime| used.elapsed().is_ok_and(|age| age > KEPT);
            if used.is_ok_and(old) {
                let lock = dir.with_extension("lock");
                let held = file::Lock::exclusive(&lock, Duration::ZERO, self.console);
                if held.is_ok() && fs::remove_dir_all(&dir).is_ok() {
                    drop(fs::remove_file(&lock));
                }
            }
        }
    }
}

impl Environment {
    fn lock(&self, console: &Console) -> Result<file::Lock> {
        file::Lock::exclusive(&self.dir.with_extension("lock"), WAIT, console)
    }

    /// Installs more into it; what is there in a version that fits stays.
    pub fn add(&self, requirements: &[String], console: &Console) -> Result<()> {
        plain(requirements)?;
        let _lock = self.lock(console)?;
        self.install(requirements, console)
    }

    /// Removes the setuptools that venv puts there before Python 3.12: nobody asked for it in that version, and
    /// with uv it is not there.
    fn remove_setuptools(&self) -> Result<()> {
        let library = self.dir.join("lib").read_dir()?.flatten();
        for entry in library.filter_map(|dir| dir.path().join("site-packages").read_dir().ok()) {
            for path in entry.flatten().map(|entry| entry.path()) {
                let name = path.file_name().map(display).unwrap_or_default();
                let own =
                    ["setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence"];
                if own.iter().any(|own| name.starts_with(own)) {
                    let removed = if path.is_dir() {
                        fs::remove_dir_all(&path)
                    } else {
                        fs::remove_file(&path)
                    };
                    removed.context(|| format!("cannot remove '{}'", display(&path)))?;
                }
            }
        }
        Ok(())
    }

    fn install(&self, words: &[String], console: &Console) -> Result<()> {
        if words.is_empty() {
            return Ok(());
        }
        let cmd = match which::which("uv") {
            // pip compiles too; tests are told not to, so it would have to be done in each run.
            Ok(uv) => Cmd::new(uv, console)
                .args(["pip", "install", "--quiet", "--compile-bytecode", "--python"])
                .arg(&self.python),
            Err(_) => Cmd::new(&self.python, console).args([
                "-I",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]),
        };
        let words = words.iter().filter(|word| !word.is_empty());
        cmd.args(self.index.arguments()).args(words).output().map(drop).context(|| {
            "cannot install what the tests need".into()
        }).hint(|| "the installer says why above; --with, -r, --extra and --group say what is installed, --find-links and --no-index where from".into())
    }

    /// PATH, with its commands first.
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Refuses options of the installer where requirements belong: a project may write anything there.
fn plain(requirements: &[String]) -> Result<()> {
    match requirements.iter().find(|text| text.trim().starts_with('-')) {
        None => Ok(()),
        Some(option) => Err(Error::new(format!("'{}' is no requirement", bk::sanitize(option)))
            .hint("options of the installer have no place among requirements")),
    }
}

/// A hash of all that makes one environment differ from another.
fn key(python: &Python, recipe: &Recipe) -> Result<String> {
    let mut hash = Sha256::new();
    let mut add = |kind: &str, value: &[u8]| {
        hash.update(format!("{kind} {}\n", value.len()));
        hash.update(value);
    };
    // The form of what is kept; another number when it changes.
    add("format", b"1");
    add("python", python.identity.as_bytes());
    for text in &recipe.requirements {
        add("requirement", text.as_bytes());
    }
    let mut files = recipe.files.clone();
    // A list may name others, which may name others; each is read once.
    let mut at = 0;
    while let Some(path) = files.get(at).cloned() {
        let bytes = file::read(&path, TEXT_LIMIT)?;
        add("file", &bytes);
        let folder = path.parent().unwrap_or(Path::new(""));
        for line in String::from_utf8_lossy(&bytes).lines() {
            let named = ["-r", "--requirement", "-c", "--constraint"].iter().find_map(|option| {
                let rest = line.trim().strip_prefix(option)?;
                Some(folder.join(rest.trim_start_matches('=').trim()))
            });
            if let Some(named) = named.filter(|path| path.is_file() && !files.contains(path)) {
                files.push(named);
            }
        }
        at += 1;
    }
    for (kind, project) in [("wheel", &recipe.wheel), ("editable", &recipe.editable)] {
        let Some((path, extras)) = project else { continue };
        add(kind, path.file_name().unwrap_or_default().as_encoded_bytes());
        match path.is_dir() {
            true => add("folder", path.as_os_str().as_encoded_bytes()),
            false => add("content", &hash_file(path)?),
        }
        add("extras", extras.join(",").as_bytes());
    }
    for link in &recipe.index.find_links {
        add("links", link.as_bytes());
        // A folder with another release in it gives another environment.
        let mut names: Vec<_> = Path::new(link)
            .read_dir()
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| (entry.file_name(), entry.metadata().and_then(|m| m.modified()).ok()))
            .collect();
        names.sort();
        add("links", format!("{names:?}").as_bytes());
    }
    add("no-index", &[recipe.index.no_index.into()]);
    let digest = hash.finalize();
    // 128 bits tell all apart, and leave room in the first line of a script, which has 127 bytes.
    Ok(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// The SHA-256 of a file.
pub fn hash_file(path: &Path) -> Result<Vec<u8>> {
    let failed = || format!("cannot read '{}'", display(path));
    let mut file = fs::File::open(path).context(failed)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).context(failed)?;
    Ok(hash.finalize().to_vec())
}
