//! The template, as it is in `template/`: what a program that is one file brings with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bk::Result;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        /// Each file of the template: where it is, and what it has.
        pub const FILES: &[(&str, &str)] =
            &[$(($path, include_str!(concat!("../template/", $path)))),*];
    };
}

files![
    "copier.yml",
    "tree/.gitignore.jinja",
    "tree/CHANGELOG.md",
    "tree/Makefile.jinja",
    "tree/README.md.jinja",
    "tree/docs/api.rst.jinja",
    "tree/docs/conf.py.jinja",
    "tree/docs/index.rst.jinja",
    "tree/pyproject.toml.jinja",
    "tree/src/{{ import_name|replace('.', _copier_conf.sep) }}/__init__.py.jinja",
    "tree/src/{{ import_name|replace('.', _copier_conf.sep) }}/py.typed",
    "tree/src/{{ import_name|replace('.', _copier_conf.sep) }}/{% if script %}__main__.py{% endif %}.jinja",
    "tree/tests/test_{{ import_name|replace('.', '_') }}.py.jinja",
    "tree/{% if ci == 'github' %}.github{% endif %}/dependabot.yml",
    "tree/{% if ci == 'github' %}.github{% endif %}/workflows/ci.yml.jinja",
    "tree/{% if ci == 'gitlab' %}.gitlab-ci.yml{% endif %}.jinja",
    "tree/{% if debian %}debian{% endif %}/changelog.jinja",
    "tree/{% if debian %}debian{% endif %}/control.jinja",
    "tree/{% if debian %}debian{% endif %}/rules.jinja",
    "tree/{% if debian %}debian{% endif %}/source/format",
    "tree/{% if debian %}debian{% endif %}/{% if script %}python3-{{ name|lower|replace('_', '-')|replace('.', '-') }}.manpages{% endif %}.jinja",
    "tree/{% if debian %}debian{% endif %}/{% if script %}{{ name|lower|replace('.', '-') }}.1{% endif %}.jinja",
];

/// Writes the template as the folder `to`, which is there.
pub fn write(to: &Path) -> Result<()> {
    for (path, text) in FILES {
        let path = to.join(path);
        if let Some(parent) = path.parent() {
            bk::file::create_dir(parent)?;
        }
        bk::file::write(&path, text)?;
        if text.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}
