//! What tests a project has and who runs them, by reading alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bk::{Cmd, Console, Context, Error, Result, Status, display, file};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::environment::TEXT_LIMIT;
use crate::ini::{self, Ini};
use crate::python::Python;
use crate::tree::Entry;

const SETUP_PY: &str = include_str!("setup_py.py");

/// Who runs tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Runner {
    /// pytest
    Pytest,
    /// The suite that setup.py or setup.cfg names
    Suite,
    /// Python's unittest
    Unittest,
    /// Python's doctest
    Doctest,
}

impl Runner {
    /// As the command line and the records have it.
    pub fn name(self) -> &'static str {
        match self {
            Runner::Pytest => "pytest",
            Runner::Suite => "suite",
            Runner::Unittest => "unittest",
            Runner::Doctest => "doctest",
        }
    }
}

/// What a project says of pytest.
#[derive(Debug, Default)]
pub struct Pytest {
    /// The options of its configuration; lists have an item a line.
    pub options: BTreeMap<String, String>,
    /// Whether it has a configuration of it.
    pub configured: bool,
}

/// What was found; paths are below the project's folder.
#[derive(Debug, Default)]
pub struct Found {
    /// Whether pytest runs the tests.
    pub uses_pytest: bool,
    /// pytest's configuration.
    pub pytest: Pytest,
    /// The module, class or function that setup.py calls the suite.
    pub suite: Option<String>,
    /// Files with classes of unittest.
    pub unittest: Vec<PathBuf>,
    /// Modules with examples.
    pub modules: Vec<PathBuf>,
    /// Texts with examples.
    pub texts: Vec<PathBuf>,
    /// Whether something in the project speaks of doctest: else examples may be mere illustrations.
    pub speaks_of_doctest: bool,
    /// What setup.py or setup.cfg say tests need.
    pub tests_require: Vec<String>,
    /// The configuration of tox.
    pub tox: Ini,
}

/// What setup.py says.
#[derive(Debug, Default, Deserialize)]
struct Setup {
    tests_require: Vec<String>,
    test_suite: Option<String>,
}

macro_rules! regex {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());
    };
}

// A function that is called a test, and whether it is in a class.
regex!(FUNCTION, r"(?m)^([ \t]*)(?:async[ \t]+)?def[ \t]+test\w*[ \t]*\(");
regex!(CASE, r"(?m)^[ \t]*class[ \t]+\w+[ \t]*\([^)]*Test(?:Case)?\b[^)]*\)");
regex!(CLASS, r"(?m)^class[ \t]+Test\w*[ \t]*(?:\(\s*(?:object)?\s*\))?[ \t]*:");
regex!(PYTEST, r"(?m)^[ \t]*(?:import|from)[ \t]+pytest\b");
regex!(SUITE, r"(?m)^def[ \t]+(?:suite|test_suite|additional_tests)[ \t]*\(\s*\)");
regex!(EXAMPLE, r"(?m)^[ \t]*>>> ?\S");

fn has(regex: &LazyLock<Option<Regex>>, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// Folders whose modules are not a package's, and are not imported for their examples.
const NOT_THE_PACKAGE: &[&str] = &[
    "tests",
    "test",
    "testing",
    "docs",
    "doc",
    "examples",
    "example",
    "benchmarks",
    "scripts",
    "tools",
];

/// Files that say how a project is tested.
const CONFIGURATION: &[&str] = &[
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "Makefile",
    "noxfile.py",
    "conftest.py",
    "conf.py",
    "setup.py",
];

/// Reads what a project has.
pub fn find(files: &[Entry], root: &Path, python: &Python, console: &Console) -> Result<Found> {
    let mut found = Found::default();
    let read = |path: &Path| -> Result<String> {
        Ok(String::from_utf8_lossy(&file::read(path, TEXT_LIMIT)?).into_owned())
    };
    let optional = |name: &str| -> Result<Option<String>> {
        let path = root.join(name);
        path.is_file().then(|| read(&path)).transpose()
    };
    let setup_cfg = optional("setup.cfg")?.map(|text| ini::parse(&text)).unwrap_or_default();
    found.tox = optional("tox.ini")?.map(|text| ini::parse(&text)).unwrap_or_default();
    found.pytest = pytest(root, &optional, &setup_cfg, &found.tox)?;
    let mut setup = Setup::default();
    if let Some(text) = optional("setup.py")?.filter(|text| text.contains("test")) {
        let said = Cmd::new(&python.program, console).args(["-I", "-S", "-c", SETUP_PY]);
        setup = serde_json::from_slice(&said.output_with(text.as_bytes())?)
            .context(|| "cannot read setup.py".into())?;
    }
    let cfg = |section: &str, key: &str| setup_cfg.get(section)?.get(key).cloned();
    found.suite = setup.test_suite.or_else(|| cfg("options", "test_suite"));
    found.tests_require = setup.tests_require;
    if let Some(text) = cfg("options", "tests_require") {
        found.tests_require.extend(text.split(['\n', ';']).map(|line| line.trim().to_owned()));
    }
    found.uses_pytest = found.pytest.configured;
    let mut cases = Vec::new();
    // Python imports nothing whose name is no UTF-8.
    let readable = |entry: &&Entry| entry.link.is_none() && entry.relative.to_str().is_some();
    for entry in files.iter().filter(readable) {
        let path = &entry.relative;
        let name = path.file_name().map(display).unwrap_or_default();
        let parts: Vec<String> = path.iter().map(display).collect();
        let folders = parts.len().saturating_sub(1);
        let among =
            |names: &[&str]| parts.iter().take(folders).any(|part| names.contains(&part.as_str()));
        if name == "conftest.py" {
            found.uses_pytest = true;
        }
        if name.ends_with(".py") {
            let text = read(&entry.path)?;
            let for_pytest = pytest_collects(&name, &found.pytest);
            let in_tests = among(&["tests", "test"]);
            let says = in_tests || is_test_name(&name) || CONFIGURATION.contains(&name.as_str());
            found.speaks_of_doctest |= says && text.contains("doctest");
            if for_pytest || in_tests || is_test_name(&name) {
                let function = has(&FUNCTION, &text);
                let case = has(&CASE, &text) && text.contains("unittest") || has(&SUITE, &text);
                let plain = FUNCTION.as_ref().is_some_and(|regex| {
                    let mut indents = regex.captures_iter(&text).filter_map(|c| c.get(1));
                    indents.any(|indent| indent.is_empty()) || has(&CLASS, &text)
                });
                if has(&PYTEST, &text) || function && plain && is_test_name(&name) {
                    found.uses_pytest = true;
                }
                if case && (function || has(&SUITE, &text)) {
                    cases.push((path.clone(), name.clone()));
                }
            } else if has(&EXAMPLE, &text)
                && !among(NOT_THE_PACKAGE)
                && !["setup.py", "__main__.py", "conf.py"].contains(&name.as_str())
            {
                found.modules.push(path.clone());
            }
        } else if folders == 0 && CONFIGURATION.contains(&name.as_str()) {
            found.speaks_of_doctest |= read(&entry.path)?.contains("doctest");
        } else if [".rst", ".md", ".txt"].iter().any(|end| name.ends_with(end)) {
            let stem = name.split('.').next().unwrap_or_default().to_lowercase();
            let read_me = folders == 0 && stem == "readme";
            let documents = parts.first().is_some_and(|part| part == "docs" || part == "doc");
            if (read_me || documents && folders > 0) && has(&EXAMPLE, &read(&entry.path)?) {
                found.texts.push(path.clone());
            }
        }
    }
    // pytest runs the classes of unittest that are in its files, so that none is left to be counted twice.
    let chosen =
        ["python_files", "testpaths"].iter().any(|key| found.pytest.options.contains_key(*key));
    let uses_pytest = found.uses_pytest;
    let left = |name: &str| match uses_pytest {
        true => !chosen && is_test_name(name) && !pytest_collects(name, &Pytest::default()),
        false => true,
    };
    found.unittest =
        cases.into_iter().filter(|(_, name)| left(name)).map(|(path, _)| path).collect();
    if found.uses_pytest {
        found.suite = None;
    }
    Ok(found)
}

/// `unittest discover` takes `test*.py`; names that end so are usual too.
fn is_test_name(name: &str) -> bool {
    name.starts_with("test") || name.ends_with("_test.py") || name.ends_with("_tests.py")
}

/// Whether a file is one that pytest looks into, by its `python_files`.
fn pytest_collects(name: &str, pytest: &Pytest) -> bool {
    let Some(globs) = pytest.options.get("python_files") else {
        return name.starts_with("test_") || name.ends_with("_test.py");
    };
    globs.split_whitespace().any(|glob| {
        let text = regex::escape(glob).replace("\\*", ".*").replace("\\?", ".");
        Regex::new(&format!("^(?:{text})$")).is_ok_and(|regex| regex.is_match(name))
    })
}

/// pytest's configuration, from the first file that has one, in the order pytest looks for it.
fn pytest(
    root: &Path,
    optional: &impl Fn(&str) -> Result<Option<String>>,
    setup_cfg: &Ini,
    tox: &Ini,
) -> Result<Pytest> {
    let configured = |options: BTreeMap<String, String>| Pytest { options, configured: true };
    let of_toml = |table: &toml::Table| {
        let text = |value: &toml::Value| match value {
            toml::Value::Array(items) => {
                let texts = items.iter().filter_map(toml::Value::as_str);
                texts.collect::<Vec<_>>().join("\n")
            }
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        configured(table.iter().map(|(key, value)| (key.clone(), text(value))).collect())
    };
    for name in ["pytest.toml", ".pytest.toml"] {
        if let Some(text) = optional(name)? {
            let table: toml::Table = text.parse().context(|| format!("cannot read '{name}'"))?;
            let own = table.get("pytest").and_then(toml::Value::as_table);
            return Ok(of_toml(own.unwrap_or(&toml::Table::new())));
        }
    }
    for name in ["pytest.ini", ".pytest.ini"] {
        if let Some(text) = optional(name)? {
            return Ok(configured(ini::parse(&text).remove("pytest").unwrap_or_default()));
        }
    }
    let pyproject = crate::backend::pyproject(root)?;
    let own = pyproject.get("tool").and_then(|tool| tool.get("pytest"));
    let own = own.map(|own| own.get("ini_options").unwrap_or(own)).and_then(toml::Value::as_table);
    if let Some(table) = own {
        return Ok(of_toml(table));
    }
    let of_ini = tox.get("pytest").or_else(|| setup_cfg.get("tool:pytest"));
    Ok(of_ini.cloned().map(configured).unwrap_or_default())
}

impl Pytest {
    /// The plugins that its options name by what only they understand.
    pub fn plugins(&self) -> Vec<String> {
        // Options and keys of the plugins that configurations name most.
        const KNOWN: &[(&str, &str, &str)] = &[
            ("--cov", "", "pytest-cov"),
            ("-n", "", "pytest-xdist"),
            ("--numprocesses", "", "pytest-xdist"),
            ("--dist", "", "pytest-xdist"),
            ("--timeout", "timeout", "pytest-timeout"),
            ("--asyncio-mode", "asyncio_mode", "pytest-asyncio"),
            ("--benchmark", "", "pytest-benchmark"),
            ("--randomly", "", "pytest-randomly"),
            ("--reruns", "", "pytest-rerunfailures"),
            ("--ds", "django_settings_module", "pytest-django"),
        ];
        let words: Vec<&str> = self
            .options
            .get("addopts")
            .map_or(Vec::new(), |text| text.split_whitespace().collect());
        let known = |(option, key, _): &&(&str, &str, &str)| {
            words.iter().any(|word| match option.starts_with("--") {
                true => word.starts_with(option),
                false => word.strip_prefix(option).is_some_and(|rest| !rest.starts_with('o')),
            }) || !key.is_empty() && self.options.keys().any(|name| name.eq_ignore_ascii_case(key))
        };
        let mut plugins: Vec<String> =
            KNOWN.iter().filter(known).map(|(.., plugin)| (*plugin).to_owned()).collect();
        if let Some(required) = self.options.get("required_plugins") {
            plugins.extend(required.split_whitespace().map(str::to_owned));
        }
        plugins
    }

    /// The flags that examples are compared by.
    pub fn doctest_flags(&self) -> Vec<String> {
        let flags = self.options.get("doctest_optionflags");
        flags.map_or(Vec::new(), |text| text.split_whitespace().map(str::to_owned).collect())
    }
}

impl Found {
    /// Who has something to run. Examples count where the project speaks of doctest or has nothing else.
    pub fn runners(&self) -> Vec<Runner> {
        let mut all = Vec::new();
        if self.uses_pytest {
            all.push(Runner::Pytest);
        }
        match self.suite {
            Some(_) => all.push(Runner::Suite),
            None if !self.unittest.is_empty() => all.push(Runner::Unittest),
            None => {}
        }
        if self.has_examples() && (self.speaks_of_doctest || all.is_empty()) {
            all.push(Runner::Doctest);
        }
        all
    }

    /// Whether there are examples.
    pub fn has_examples(&self) -> bool {
        !self.modules.is_empty() || !self.texts.is_empty()
    }
}

/// There is nothing to be run.
pub fn no_tests(subject: &Path) -> Error {
    Error::new(format!("no test found in '{}'", display(subject)))
        .context("no tests")
        .hint(
            "looked for a configuration of pytest, conftest.py, functions and classes of tests in test*.py, \
             *_test.py and tests/, a test_suite in setup.py or setup.cfg, and '>>>' in modules, in README and docs/",
        )
        // As pytest and unittest of Python 3.12 have it.
        .status(Status::Child(5))
}
