//! What Debian's policy asks of a binary package, as far as the package itself tells. Tags and
//! severities are lintian's where it has one for the same thing.

mod archive;
mod contents;
mod control;
mod python;

use std::collections::HashMap;
use std::path::Path;

use bk::{Context, Result, display, sanitize};
use serde::Serialize;

pub use self::archive::Opened;
pub(crate) use self::archive::{Item, Kind};
use crate::debian::control::Paragraph;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something does not work, or policy says "must".
    Error,
    /// Policy says "should".
    Warning,
    /// Good to know.
    Info,
}

/// One thing that is wrong with a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// lintian's name for it, or ours.
    pub tag: &'static str,
    /// Where, and in which way; may be empty.
    pub context: String,
}

/// A package that was checked.
pub struct Checked {
    /// Its name; that of the file where it does not tell.
    pub package: String,
    /// What is wrong, in the order it was found.
    pub findings: Vec<Finding>,
}

/// Which of the packages checked so far has a file: two cannot be installed with the same one.
#[derive(Default)]
pub struct Owners(HashMap<String, String>);

/// What the checks write to.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, tag: &'static str, context: impl Into<String>) {
        self.add(Severity::Error, tag, context);
    }

    fn warning(&mut self, tag: &'static str, context: impl Into<String>) {
        self.add(Severity::Warning, tag, context);
    }

    fn info(&mut self, tag: &'static str, context: impl Into<String>) {
        self.add(Severity::Info, tag, context);
    }

    fn add(&mut self, severity: Severity, tag: &'static str, context: impl Into<String>) {
        self.0.push(Finding { severity, tag, context: context.into() });
    }
}

/// Checks a package. An error is one of reading it; the error names the file.
pub fn check(path: &Path, owners: &mut Owners) -> Result<Checked> {
    let opened = Opened::read(path).context(|| format!("cannot check '{}'", display(path)))?;
    let mut findings = Findings::default();
    archive::check(&opened, &mut findings);
    let paragraph = match Paragraph::parse(opened.control("control").unwrap_or_default()) {
        Ok(paragraph) => paragraph,
        Err(error) => {
            findings.error("bad-control-file", error.to_string());
            Paragraph::new()
        }
    };
    control::check(&opened, &paragraph, &mut findings);
    contents::check(&opened, &paragraph, &mut findings);
    python::check(&opened, &paragraph, &mut findings);
    let package = match paragraph.get("Package") {
        Some(name) => sanitize(name),
        None => path.file_name().map(display).unwrap_or_default(),
    };
    conflicts(&opened, &paragraph, &package, owners, &mut findings);
    Ok(Checked { package, findings: findings.0 })
}

/// Policy 7.6: a file of another package is replaced only where `Replaces` says so, and is no
/// conflict with a package that cannot be there at the same time.
fn conflicts(
    opened: &Opened,
    paragraph: &Paragraph,
    package: &str,
    owners: &mut Owners,
    findings: &mut Findings,
) {
    let relations = [paragraph.get("Replaces"), paragraph.get("Conflicts")];
    let names: Vec<&str> = relations.into_iter().flatten().flat_map(control::names).collect();
    for file in opened.files.iter().filter(|file| !file.is_dir()) {
        match owners.0.get(&file.path) {
            Some(other) if other != package && !names.contains(&other.as_str()) => {
                findings.error("file-conflict", format!("with {other} [{}]", file.path));
            }
            Some(_) => {}
            None => {
                owners.0.insert(file.path.clone(), package.to_owned());
            }
        }
    }
}
