//! Python's modules in a package (Debian Python Policy).

use bk::sanitize;

use super::{Findings, Opened};
use crate::debian::control::Paragraph;

/// Names of modules that every other project has, too (lintian's data file
/// generic-python-modules).
const GENERIC: &[&str] = &[
    "backport",
    "backports",
    "core",
    "doc",
    "docs",
    "site",
    "test",
    "tests",
    "example",
    "examples",
    "script",
    "scripts",
];

/// Checks what is installed for Python 3.
pub fn check(opened: &Opened, paragraph: &Paragraph, findings: &mut Findings) {
    let (mut modules, mut sources) = (false, false);
    for item in &opened.files {
        let shown = format!("[{}]", sanitize(&item.path));
        let Some(inside) = inside(&item.path) else { continue };
        let name = inside.rsplit('/').next().unwrap_or(inside);
        if name == "__pycache__" && item.is_dir() {
            findings.error("package-installs-python-pycache-dir", shown);
            continue;
        }
        if !item.is_file() {
            continue;
        }
        modules = true;
        sources |= name.ends_with(".py");
        if name.ends_with(".pyc") || name.ends_with(".pyo") {
            findings.error("package-installs-python-bytecode", shown);
            continue;
        }
        let top = inside.strip_suffix("/__init__.py").or_else(|| inside.strip_suffix(".py"));
        if let Some(top) = top.filter(|top| GENERIC.contains(&top.to_lowercase().as_str())) {
            findings.error("python-module-has-overly-generic-name", format!("({top}) {shown}"));
        }
        let version = item.path.strip_prefix("usr/lib/python3.");
        if version.is_some() || item.path.contains("/site-packages/") {
            findings.warning("python-module-in-wrong-location", shown);
        }
    }
    let depends = paragraph.get("Depends").unwrap_or_default();
    let python = |name: &str| {
        name == "python3"
            || name
                .strip_prefix("python3.")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let names: Vec<&str> = super::control::names(depends).collect();
    if modules && !names.iter().any(|name| python(name)) {
        findings.error("python-package-missing-depends-on-python", "");
    }
    for (script, program) in [("postinst", "py3compile"), ("prerm", "py3clean")] {
        let text = opened.text(script).unwrap_or_default();
        if sources && !text.contains(program) {
            let tag = match script {
                "postinst" => "python-modules-not-compiled",
                _ => "python-modules-not-cleaned",
            };
            findings.warning(tag, format!("{script} does not call {program}"));
        }
    }
}

/// What is behind `usr/lib/python3*/{dist,site}-packages/`.
fn inside(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("usr/lib/python3")?;
    let (version, rest) = rest.split_once('/')?;
    let packages =
        rest.strip_prefix("dist-packages/").or_else(|| rest.strip_prefix("site-packages/"));
    packages.filter(|_| version.is_empty() || version.starts_with('.'))
}
