//! What a project says its tests need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bk::{Error, Result, sanitize};

use crate::backend::texts;
use crate::discover::Found;

/// What tests are called in extras and groups, the best first.
const TESTS: &[&str] = &["test", "tests", "testing"];
/// Where projects have them beside other things for developers.
const DEVELOPERS: &[&str] = &["dev", "develop", "development"];
/// Files with what tests need.
const FILES: &[&str] = &[
    "requirements-test.txt",
    "requirements-tests.txt",
    "requirements-testing.txt",
    "requirements_test.txt",
    "requirements_tests.txt",
    "test-requirements.txt",
    "tests-requirements.txt",
    "test_requirements.txt",
    "requirements/test.txt",
    "requirements/tests.txt",
    "requirements/testing.txt",
    "tests/requirements.txt",
    "test/requirements.txt",
];
const DEVELOPERS_FILES: &[&str] = &[
    "requirements-dev.txt",
    "requirements_dev.txt",
    "dev-requirements.txt",
    "dev_requirements.txt",
    "requirements/dev.txt",
];

/// What tests need, and where that is said.
#[derive(Debug, Default)]
pub struct Declared {
    /// Extras of the project.
    pub extras: Vec<String>,
    /// Requirements.
    pub requirements: Vec<String>,
    /// Files of requirements.
    pub files: Vec<PathBuf>,
    /// Where it is said, in words for people.
    pub source: String,
}

/// The first place that says what tests need: a dependency group (PEP 735), an extra, tests_require, a file,
/// tox's configuration; then those that say what developers need. They say the same thing in several ways,
/// so one is enough, and all of them together may not fit each other.
pub fn find(
    root: &Path,
    pyproject: &toml::Table,
    extras: &BTreeSet<String>,
    found: &Found,
) -> Result<Declared> {
    let tests = [(TESTS, FILES, true), (DEVELOPERS, DEVELOPERS_FILES, false)];
    for (names, files, for_tests) in tests {
        for name in names {
            if has_group(pyproject, name) {
                let requirements = group(pyproject, name)?;
                let source = format!("the dependency group '{name}'");
                return Ok(Declared { requirements, source, ..Declared::default() });
            }
        }
        if let Some(name) = names.iter().find(|name| extras.contains(**name)) {
            let source = format!("the extra '{name}'");
            return Ok(Declared {
                extras: vec![(*name).to_owned()],
                source,
                ..Declared::default()
            });
        }
        if for_tests && !found.tests_require.is_empty() {
            let requirements = found.tests_require.clone();
            let source = "tests_require".into();
            return Ok(Declared { requirements, source, ..Declared::default() });
        }
        if let Some(name) = files.iter().find(|name| root.join(name).is_file()) {
            let source = format!("'{name}'");
            return Ok(Declared { files: vec![root.join(name)], source, ..Declared::default() });
        }
        let deps = found.tox.get("testenv").and_then(|section| section.get("deps"));
        if let Some(deps) = deps.filter(|_| for_tests) {
            return Ok(Declared { source: "tox.ini".into(), ..tox(root, deps) });
        }
    }
    Ok(Declared::default())
}

/// What `deps` of tox.ini has. Lines for some of its environments, and substitutions, are left out.
fn tox(root: &Path, deps: &str) -> Declared {
    let mut declared = Declared::default();
    for line in deps.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // `py39: mock` is for one of the environments alone.
        let factor = line.split_once(':').is_some_and(|(before, after)| {
            !before.contains(['=', '<', '>', ';', '@', '/', ' ']) && !after.starts_with('/')
        });
        if factor || line.contains('{') && !line.contains("{toxinidir}") {
            continue;
        }
        let line = line.replace("{toxinidir}/", "").replace("{toxinidir}", ".");
        match line.strip_prefix("-r") {
            Some(file) => declared.files.push(root.join(file.trim())),
            None if line.starts_with('-') || line.starts_with('.') => {}
            None => declared.requirements.push(line),
        }
    }
    declared.files.retain(|file| file.is_file());
    declared
}

fn groups(pyproject: &toml::Table) -> Option<&toml::Table> {
    pyproject.get("dependency-groups").and_then(toml::Value::as_table)
}

/// Names of groups are compared as those of distributions (PEP 735).
fn normalize(name: &str) -> String {
    let mut normal = String::new();
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.extend(c.to_lowercase()),
        }
    }
    normal
}

fn has_group(pyproject: &toml::Table, name: &str) -> bool {
    groups(pyproject).is_some_and(|all| all.keys().any(|key| normalize(key) == normalize(name)))
}

/// The requirements of a group, with those it includes.
pub fn group(pyproject: &toml::Table, name: &str) -> Result<Vec<String>> {
    let mut requirements = Vec::new();
    include(pyproject, name, &mut Vec::new(), &mut requirements)?;
    Ok(requirements)
}

fn include(
    pyproject: &toml::Table,
    name: &str,
    path: &mut Vec<String>,
    requirements: &mut Vec<String>,
) -> Result<()> {
    let bad = |why: &str| {
        Error::new(format!("the dependency group '{}' {why}", sanitize(name)))
            .hint("dependency-groups in pyproject.toml are lists of requirements and {include-group = \"NAME\"}")
    };
    let normal = normalize(name);
    if path.contains(&normal) {
        return Err(bad("includes itself"));
    }
    let found =
        groups(pyproject).and_then(|all| all.iter().find(|(key, _)| normalize(key) == normal));
    let (_, items) = found.ok_or_else(|| bad("does not exist"))?;
    path.push(normal);
    for item in items.as_array().ok_or_else(|| bad("is no list"))? {
        match item {
            toml::Value::String(text) => requirements.push(text.clone()),
            toml::Value::Table(table) => {
                let other = table.get("include-group").and_then(toml::Value::as_str);
                let other = other.ok_or_else(|| bad("has an item that is no requirement"))?;
                include(pyproject, other, path, requirements)?;
            }
            _ => return Err(bad("has an item that is no requirement")),
        }
    }
    path.pop();
    Ok(())
}

/// The extras that a METADATA names.
pub fn provided_extras(text: &str) -> BTreeSet<String> {
    let head = text.split("\n\n").next().unwrap_or_default();
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let extras = fields.filter(|(key, _)| key.eq_ignore_ascii_case("Provides-Extra"));
    extras.map(|(_, value)| value.trim().to_owned()).collect()
}

/// The extras of a pyproject.toml, for a project that is not built.
pub fn extras(pyproject: &toml::Table) -> BTreeSet<String> {
    let project = pyproject.get("project").and_then(toml::Value::as_table);
    let extras = project.and_then(|project| project.get("optional-dependencies")?.as_table());
    extras.map(|extras| extras.keys().cloned().collect()).unwrap_or_default()
}

/// The requirements of an extra in a pyproject.toml.
pub fn extra(pyproject: &toml::Table, name: &str) -> Vec<String> {
    let project = pyproject.get("project").and_then(toml::Value::as_table);
    let extras = project.and_then(|project| project.get("optional-dependencies")?.as_table());
    texts(extras.and_then(|extras| extras.get(name)))
}
