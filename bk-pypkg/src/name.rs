//! Names of packages: what pip installs, what Python imports.

use bk::{Error, Result, Status, sanitize};

/// What Python has itself, from 3.10 to 3.13 (sys.stdlib_module_names): a package of that name would hide it, or be hidden.
const STANDARD: &str = include_str!("standard.txt");

/// What a top-level package may not be called since every project has a folder of that name, and who
/// installs two of them has one.
const COMMON: [&str; 8] = ["bin", "build", "dist", "doc", "docs", "examples", "src", "tests"];

/// Python's keywords (keyword.kwlist of 3.14), which cannot be imported.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

/// Checks the name of a distribution (PEP 508, "Names").
pub fn check(name: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let outer = |c: char| c.is_ascii_alphanumeric();
    if name.starts_with(outer) && name.ends_with(outer) && name.chars().all(inner) {
        return Ok(());
    }
    Err(Error::new(format!("'{}' is no name for a Python package", sanitize(name)))
        .hint("letters, digits, and between them '-', '_' and '.' (PEP 508)")
        .status(Status::Usage))
}

/// What a distribution is imported as, unless it is told: `Foo-Bar.baz` as `foo_bar_baz`.
pub fn import_name(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}

/// Checks what a package is imported as: identifiers, with dots between them where it is in a namespace.
pub fn check_import(name: &str) -> Result<()> {
    let wrong = |why: String| {
        Err(Error::new(format!("'{}' cannot be what is imported: {why}", sanitize(name)))
            .hint("say another with --import-name")
            .status(Status::Usage))
    };
    for part in name.split('.') {
        let starts = part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return wrong(format!("'{}' is no name in Python", sanitize(part)));
        }
        if KEYWORDS.contains(&part) {
            return wrong(format!("'{part}' is a word of Python's"));
        }
    }
    let top = name.split('.').next().unwrap_or_default();
    if STANDARD.lines().any(|standard| standard == top) {
        return wrong(format!("Python has a '{top}' of its own"));
    }
    if COMMON.contains(&top) {
        return wrong(format!(
            "many projects have a folder '{top}', which is none of the package's"
        ));
    }
    Ok(())
}
