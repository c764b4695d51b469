//! `bk-pypkg check`

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display, sanitize};
use clap::Args;
use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{Requirement, VerbatimUrl};
use serde::Serialize;
use toml::{Table, Value};

use crate::name;

/// What a pyproject.toml may have; the largest known have some 100 kB.
const FILE_LIMIT: u64 = 4 << 20;
/// How deep modules are looked for: no path of more than 4,096 bytes can be opened.
const DEPTH: usize = 1024;

/// Say what a Python package lacks
///
/// Reads pyproject.toml (PEP 517, 621, 639, 735) and looks for what it names: what an installer or the
/// index would refuse, what it names and is not there, and what a package needs to be tested, documented
/// and packaged. Nothing is run.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-pypkg check
      What the package in this folder lacks, a line each.
  bk-pypkg check libfoo --json | jq -r .rule
      Only which rules it breaks.

Exit status:
  0   nothing
  1   it could not be read
  2   the command line is wrong
  3   something; each thing is printed
")]
pub struct Check {
    /// The package's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// A rule that does not matter here
    #[arg(long, value_name = "RULE")]
    ignore: Vec<String>,
}

/// Something that is wrong.
#[derive(Serialize)]
#[serde(tag = "type", rename = "finding")]
struct Finding {
    rule: &'static str,
    text: String,
}

impl Record for Finding {
    fn line(&self) -> Cow<'_, [u8]> {
        format!("{}: {}", self.rule, self.text).into_bytes().into()
    }
}

/// The keys of [project]: pyproject.toml specification of the Python Packaging User Guide (PEP 621, 639).
const KEYS: [&str; 20] = [
    "authors",
    "classifiers",
    "dependencies",
    "description",
    "dynamic",
    "entry-points",
    "gui-scripts",
    "import-names",
    "import-namespaces",
    "keywords",
    "license",
    "license-files",
    "maintainers",
    "name",
    "optional-dependencies",
    "readme",
    "requires-python",
    "scripts",
    "urls",
    "version",
];

/// The rules.
const RULES: [&str; 17] = [
    "build-system",
    "keys",
    "name",
    "version",
    "description",
    "readme",
    "license",
    "classifiers",
    "python",
    "dependencies",
    "scripts",
    "urls",
    "authors",
    "module",
    "typed",
    "tests",
    "docs",
];

impl Check {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        for rule in &self.ignore {
            if !RULES.contains(&rule.as_str()) {
                return Err(Error::new(format!("there is no rule '{}'", sanitize(rule)))
                    .hint(format!("there are {}", RULES.join(", ")))
                    .status(Status::Usage));
            }
        }
        let path = self.dir.join("pyproject.toml");
        let failed = || format!("cannot read '{}'", display(&path));
        if !path.is_file() {
            return Err(Error::new("no such file").context(failed()).hint(
                "a Python package says there what it is (PEP 621); 'bk-pypkg new' makes one",
            ));
        }
        let bytes = bk::file::read(&path, FILE_LIMIT)?;
        let text = String::from_utf8(bytes).context(failed)?;
        let all: Table = toml::from_str(&text).context(failed)?;
        let mut package = Package { dir: &self.dir, all: &all, found: Vec::new() };
        package.check()?;
        let mut status = Status::Done;
        for finding in package.found {
            if !self.ignore.iter().any(|rule| rule == finding.rule) {
                session.out.record(&finding)?;
                status = Status::No;
            }
        }
        Ok(status)
    }
}

/// A package that is looked at.
struct Package<'a> {
    dir: &'a Path,
    all: &'a Table,
    found: Vec<Finding>,
}

impl Package<'_> {
    fn say(&mut self, rule: &'static str, text: impl Into<String>) {
        self.found.push(Finding { rule, text: text.into() });
    }

    fn check(&mut self) -> Result<()> {
        self.build_system();
        match self.all.get("project") {
            Some(Value::Table(project)) => self.project(project),
            Some(_) => self.say("name", "[project] is no table"),
            None => self.say("name", "there is no [project] (PEP 621)"),
        }
        let group = self.all.get("dependency-groups");
        for (group, wanted) in group.and_then(Value::as_table).into_iter().flatten() {
            self.requirements(&format!("the group '{}'", sanitize(group)), wanted, true);
        }
        self.contents()
    }

    fn build_system(&mut self) {
        let Some(system) = self.all.get("build-system").and_then(Value::as_table) else {
            return self
                .say("build-system", "there is no [build-system]: pip takes setuptools (PEP 518)");
        };
        match system.get("requires") {
            Some(wanted) => self.requirements("build-system.requires", wanted, false),
            None => self.say("build-system", "it has no 'requires' (PEP 518)"),
        }
        let backend = system.get("build-backend").and_then(Value::as_str);
        if backend.is_none() {
            self.say("build-system", "it has no 'build-backend' (PEP 517)");
        }
    }

    fn project(&mut self, project: &Table) {
        let dynamic = project.get("dynamic").and_then(Value::as_array);
        let dynamic: BTreeSet<&str> =
            dynamic.into_iter().flatten().filter_map(Value::as_str).collect();
        let text = |key: &str| project.get(key).and_then(Value::as_str);
        for key in &dynamic {
            if project.contains_key(*key) {
                self.say("version", format!("'{}' is both said and dynamic", sanitize(key)));
            }
        }
        for key in project.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let near = bk::nearest(key, KEYS);
            let instead = near.first().map(|near| format!(", is it '{near}'?"));
            let instead = instead.unwrap_or_default();
            self.say("keys", format!("[project] has no '{}'{instead}", sanitize(key)));
        }
        match text("name") {
            None => self.say("name", "the project has no name"),
            Some(name) => {
                if let Err(error) = name::check(name) {
                    self.say("name", error.to_string());
                }
            }
        }
        match text("version") {
            None if dynamic.contains("version") => {}
            None => self.say("version", "it has no version, and none that is dynamic"),
            Some(version) => {
                if let Err(error) = Version::from_str(version) {
                    self.say("version", format!("'{}': {error} (PEP 440)", sanitize(version)));
                }
            }
        }
        match text("description").map(str::trim) {
            None if dynamic.contains("description") => {}
            None | Some("") => self.say("description", "it does not say what it is"),
            Some(text) if text.contains('\n') => {
                self.say("description", "it has more than one line");
            }
            _ => {}
        }
        self.readme(project, &dynamic);
        self.license(project, &dynamic);
        match text("requires-python") {
            None if dynamic.contains("requires-python") => {}
            None => self.say("python", "it does not say which Python it needs (requires-python)"),
            Some(wanted) => {
                if let Err(error) = VersionSpecifiers::from_str(wanted) {
                    self.say("python", first_line(&error));
                }
            }
        }
        if let Some(wanted) = project.get("dependencies") {
            self.requirements("dependencies", wanted, false);
        }
        let extras = project.get("optional-dependencies").and_then(Value::as_table);
        for (extra, wanted) in extras.into_iter().flatten() {
            self.requirements(&format!("the extra '{}'", sanitize(extra)), wanted, false);
        }
        self.scripts(project);
        for (label, url) in project.get("urls").and_then(Value::as_table).into_iter().flatten() {
            // Core metadata, "Project-URL": the index takes labels of 32 characters.
            if label.chars().count() > 32 {
                self.say("urls", format!("'{}' is longer than 32 characters", sanitize(label)));
            }
            let web = url.as_str().is_some_and(|url| {
                url.split_once("://")
                    .is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty())
            });
            if !web {
                self.say("urls", format!("'{}' leads to no URL", sanitize(label)));
            }
        }
        let people = ["authors", "maintainers"];
        let said = people.iter().any(|key| project.contains_key(*key) || dynamic.contains(key));
        if !said {
            self.say("authors", "it does not say who wrote it");
        }
        for person in people.iter().filter_map(|key| project.get(*key)?.as_array()).flatten() {
            let known = person.as_table().is_some_and(|person| {
                !person.is_empty()
                    && person.iter().all(|(key, value)| {
                        ["name", "email"].contains(&key.as_str()) && value.is_str()
                    })
            });
            if !known {
                self.say("authors", "an author is a name, an email, or both (PEP 621)");
            }
        }
    }

    fn readme(&mut self, project: &Table, dynamic: &BTreeSet<&str>) {
        let file = match project.get("readme") {
            None if dynamic.contains("readme") => return,
            None => return self.say("readme", "the index would have nothing to show: no readme"),
            Some(Value::String(file)) => file,
            Some(Value::Table(about)) => match (about.get("file"), about.get("text")) {
                (Some(Value::String(file)), None) => file,
                (None, Some(Value::String(_))) => return,
                _ => return self.say("readme", "it has either a file or a text (PEP 621)"),
            },
            Some(_) => return self.say("readme", "it is neither a file nor a table"),
        };
        if !self.dir.join(file).is_file() {
            self.say("readme", format!("'{}' is not there", sanitize(file)));
        }
        let typed = project.get("readme").is_some_and(Value::is_table);
        let end = Path::new(file).extension().and_then(|end| end.to_str());
        if !typed && !matches!(end, Some("md" | "rst" | "txt")) {
            self.say("readme", format!("nobody knows what '{}' is written in", sanitize(file)));
        }
    }

    fn license(&mut self, project: &Table, dynamic: &BTreeSet<&str>) {
        let classifiers = project.get("classifiers").and_then(Value::as_array);
        let classified = classifiers
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .find(|classifier| classifier.starts_with("License ::"));
        match project.get("license") {
            None if dynamic.contains("license") => {}
            None => self.say("license", "it has no licence: nobody may use it"),
            Some(Value::String(expression)) => {
                if let Err(error) = spdx::Expression::parse(expression) {
                    let why = error.reason;
                    self.say("license", format!("'{}': {why} (PEP 639)", sanitize(expression)));
                }
                if let Some(classifier) = classified {
                    self.say(
                        "classifiers",
                        format!("'{}' is said by the licence (PEP 639)", sanitize(classifier)),
                    );
                }
            }
            Some(Value::Table(about)) => {
                self.say("license", "it is a table, as before PEP 639; write an SPDX expression");
                if let Some(file) = about.get("file").and_then(Value::as_str)
                    && !self.dir.join(file).is_file()
                {
                    self.say("license", format!("'{}' is not there", sanitize(file)));
                }
            }
            Some(_) => self.say("license", "it is no text"),
        }
        let named = project.get("license-files").and_then(Value::as_array);
        let there = |name: &str| {
            ["LICEN", "COPYING", "NOTICE", "AUTHORS"].iter().any(|start| name.starts_with(start))
        };
        let any = match named {
            Some(named) => !named.is_empty(),
            None => {
                self.dir.read_dir().is_ok_and(|mut all| {
                    all.any(|entry| {
                        entry.is_ok_and(|entry| there(&entry.file_name().to_string_lossy()))
                    })
                }) || self.dir.join("LICENSES").is_dir()
            }
        };
        if !any {
            self.say("license", "the text of its licence is not there (LICENSE)");
        }
    }

    /// Requirements, a list of them; groups may include groups (PEP 735).
    fn requirements(&mut self, what: &str, wanted: &Value, group: bool) {
        let Some(wanted) = wanted.as_array() else {
            return self.say("dependencies", format!("{what} is no list"));
        };
        let groups = self.all.get("dependency-groups").and_then(Value::as_table);
        for requirement in wanted {
            match requirement {
                Value::String(text) => {
                    if let Err(error) = Requirement::<VerbatimUrl>::from_str(text) {
                        let why = first_line(&error);
                        self.say("dependencies", format!("{what}: '{}': {why}", sanitize(text)));
                    }
                }
                Value::Table(table) if group => {
                    let other = table.get("include-group").and_then(Value::as_str);
                    let normal = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
                    let known = other.is_some_and(|other| {
                        groups.is_some_and(|all| all.keys().any(|key| normal(key) == normal(other)))
                    });
                    if !known || table.len() != 1 {
                        self.say("dependencies", format!("{what} includes no group that is there"));
                    }
                }
                _ => self.say("dependencies", format!("{what} has what is no requirement")),
            }
        }
    }

    fn scripts(&mut self, project: &Table) {
        let tables = ["scripts", "gui-scripts"];
        for (script, object) in
            tables.iter().filter_map(|key| project.get(*key)?.as_table()).flatten()
        {
            let object = object.as_str().unwrap_or_default();
            let identifiers = |path: &str| {
                path.split('.').all(|part| {
                    !part.is_empty()
                        && !part.starts_with(|c: char| c.is_ascii_digit())
                        && part.chars().all(|c| c.is_alphanumeric() || c == '_')
                })
            };
            let (module, attribute) = object.split_once(':').unwrap_or((object, ""));
            let (module, attribute) = (module.trim(), attribute.trim());
            if !identifiers(module) || !identifiers(attribute) {
                self.say("scripts", format!("'{}' is no 'module:function'", sanitize(script)));
            } else if self.file_of(module).is_none() {
                self.say(
                    "scripts",
                    format!("'{}' calls '{module}', which is not there", sanitize(script)),
                );
            }
        }
    }

    /// The file of a module, with or without `src`.
    fn file_of(&self, module: &str) -> Option<PathBuf> {
        let path = module.replace('.', "/");
        let roots = ["src", "", "lib"].map(|root| self.dir.join(root));
        let ends = [".py", "/__init__.py", ".pyx", "/__init__.pyx"];
        roots.iter().find_map(|root| {
            ends.iter().map(|end| root.join(format!("{path}{end}"))).find(|file| file.is_file())
        })
    }

    /// The package itself, its tests and its documentation.
    fn contents(&mut self) -> Result<()> {
        let project = self.all.get("project").and_then(Value::as_table);
        let classifiers = project.and_then(|project| project.get("classifiers")?.as_array());
        let typed =
            classifiers.into_iter().flatten().any(|c| c.as_str() == Some("Typing :: Typed"));
        let mut files = Vec::new();
        walk(self.dir, "", DEPTH, &mut files)?;
        let name = |file: &str| file.rsplit('/').next().unwrap_or_default().to_owned();
        let below =
            |file: &str, folders: &[&str]| file.split('/').any(|part| folders.contains(&part));
        let python = |file: &str| file.ends_with(".py") || file.ends_with(".pyx");
        let apart = |file: &str| {
            below(file, &["tests", "test", "docs", "doc", "examples", "build", "dist"])
                || ["setup.py", "conftest.py", "noxfile.py"].contains(&file)
        };
        if !files.iter().any(|file| python(file) && !apart(file)) {
            self.say("module", "there is no Python in it");
        }
        if typed && !files.iter().any(|file| name(file) == "py.typed") {
            self.say("typed", "it says that it is typed, and has no py.typed (PEP 561)");
        }
        let tests = files.iter().map(|file| name(file)).any(|name| {
            let test = name.starts_with("test_") && name.ends_with(".py");
            test || name.ends_with("_test.py") || name == "tests.py"
        });
        if !tests {
            self.say("tests", "there are no tests (tests/test_*.py)");
        }
        let docs = files.iter().any(|file| {
            let conf = name(file) == "conf.py" && below(file, &["docs", "doc"]);
            conf || file == "mkdocs.yml"
        });
        if !docs {
            self.say("docs", "there is no documentation (docs/conf.py, mkdocs.yml)");
        }
        Ok(())
    }
}

/// The files below a folder, by their paths, but for what is hidden or an environment.
fn walk(dir: &Path, below: &str, depth: usize, files: &mut Vec<String>) -> Result<()> {
    let failed = || format!("cannot read the folder '{}'", display(dir));
    for entry in dir.read_dir().context(failed)? {
        let entry = entry.context(failed)?;
        let kind = entry.file_type().context(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{below}{name}");
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() && depth > 0 && !name.starts_with('.') {
            let dir = entry.path();
            if !dir.join("pyvenv.cfg").is_file() {
                walk(&dir, &format!("{path}/"), depth - 1, files)?;
            }
        }
    }
    Ok(())
}

fn first_line(error: &impl ToString) -> String {
    sanitize(error.to_string().lines().next().unwrap_or_default())
}
