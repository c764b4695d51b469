//! What a project's build backend makes: sdists and wheels (PEP 517), in an environment with what it asks
//! for (PEP 518).

use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Context, Error, Result, display, file};
use serde_json::json;

use crate::environment::{Environments, Index, Recipe, TEXT_LIMIT};
use crate::python::Python;

const HOOK: &str = include_str!("backend.py");

/// Times in archives, unless told otherwise: zip knows none before 1980.
pub const EPOCH: i64 = 315_532_800;

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A source distribution.
    Sdist,
    /// A built distribution.
    Wheel,
}

/// How a project is built.
#[derive(Clone, Debug)]
pub struct Backend {
    backend: String,
    path: Vec<String>,
    /// What it needs before it can be asked anything.
    pub requires: Vec<String>,
}

/// The `pyproject.toml` of a project, empty where there is none.
pub fn pyproject(root: &Path) -> Result<toml::Table> {
    let path = root.join("pyproject.toml");
    if !path.is_file() {
        return Ok(toml::Table::new());
    }
    let failed = || format!("cannot read '{}'", display(&path));
    let text = String::from_utf8(file::read(&path, TEXT_LIMIT)?).context(failed)?;
    text.parse().context(failed)
}

/// The texts of a list.
pub fn texts(value: Option<&toml::Value>) -> Vec<String> {
    let all = value.and_then(toml::Value::as_array).into_iter().flatten();
    all.filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

impl Backend {
    /// The backend of the project in `root`.
    pub fn of(root: &Path) -> Result<Self> {
        let pyproject = pyproject(root)?;
        let system = pyproject.get("build-system").and_then(toml::Value::as_table);
        if system.is_none()
            && !root.join("setup.py").is_file()
            && !root.join("setup.cfg").is_file()
            && !pyproject.contains_key("project")
        {
            return Err(Error::new(format!(
                "'{}' has no pyproject.toml that says how it is built, and no setup.py",
                display(root)
            ))
            .hint("give the folder of a project, an sdist or a wheel"));
        }
        let requires = system.map(|system| texts(system.get("requires")));
        let backend = system.and_then(|system| system.get("build-backend")?.as_str());
        Ok(Backend {
            // What PEP 517 says of projects that name none.
            backend: backend.unwrap_or("setuptools.build_meta:__legacy__").to_owned(),
            path: system.map(|system| texts(system.get("backend-path"))).unwrap_or_default(),
            requires: requires.unwrap_or_else(|| vec!["setuptools".into()]),
        })
    }

    /// Builds what is in `root`, which may be written to, into the folder `out`.
    pub fn build(&self, kind: Kind, root: &Path, out: &Path, build: &Build) -> Result<PathBuf> {
        let name = match kind {
            Kind::Sdist => "sdist",
            Kind::Wheel => "wheel",
        };
        let failed = || format!("cannot build the {name} of '{}'", display(build.subject));
        let recipe = Recipe {
            requirements: self.requires.clone(),
            index: build.index.clone(),
            ..Recipe::default()
        };
        let environment = build.environments.get(build.python, &recipe).context(failed)?;
        let out_text = out.to_str().ok_or_else(|| {
            Error::new(format!("'{}' is no UTF-8", display(out)))
                .context(failed())
                .hint("--root puts the cache elsewhere")
        })?;
        let script = out.join("backend.py");
        file::write(&script, HOOK)?;
        let call = |installed: bool| -> Result<serde_json::Value> {
            let config = json!({
                "kind": name, "backend": self.backend, "backend_path": self.path, "out": out_text,
                "installed": installed,
            });
            // The place it is built in is another each time, and must not be seen in what is compiled.
            let map = format!("-ffile-prefix-map={}=.", root.display());
            let flags = [build.flags, &map].join(" ");
            let said = Cmd::new(&environment.python, build.console)
                .arg(&script)
                .arg(config.to_string())
                .current_dir(root)
                .env("SOURCE_DATE_EPOCH", build.epoch.to_string())
                .env("CFLAGS", flags.trim())
                .env("PATH", environment.path())
                .env("TZ", "UTC")
                .env("LC_ALL", "C.UTF-8")
                .env("PYTHONHASHSEED", "0")
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env_remove("PYTHONPATH")
                .env_remove("PYTHONHOME")
                .output()
                .context(failed)
                .hint(|| {
                    "the build backend says why above; headers and libraries it needs come from apt"
                        .into()
                })?;
            serde_json::from_slice(&said).context(failed)
        };
        let mut said = call(false)?;
        let more: Vec<String> = said["requires"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|requirement| Some(requirement.as_str()?.to_owned()))
            .collect();
        if !more.is_empty() {
            environment.add(&more, build.console).context(failed)?;
            said = call(true)?;
        }
        drop(std::fs::remove_file(&script));
        let made = said["made"].as_str().unwrap_or_default();
        let path = out.join(made);
        // A name, not a path: it is the backend that says it.
        if Path::new(made).file_name().is_none_or(|name| name != made) || !path.is_file() {
            let made = bk::sanitize(made);
            return Err(Error::new(format!("it made no file '{made}'")).context(failed()));
        }
        Ok(path)
    }
}

/// What a build is done with.
pub struct Build<'a> {
    /// What is built, in words for people.
    pub subject: &'a Path,
    /// The interpreter.
    pub python: &'a Python,
    /// Where its environment is.
    pub environments: &'a Environments<'a>,
    /// Where what it needs comes from.
    pub index: &'a Index,
    /// Times in what is made.
    pub epoch: i64,
    /// The user's flags for the C compiler.
    pub flags: &'a str,
    /// Where it is told.
    pub console: &'a Console,
}
