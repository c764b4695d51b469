//! What is different from one package to another: the key `packages` of bk.yaml, and the options
//! that name a distribution.

use std::collections::HashMap;
use std::path::PathBuf;

use bk::{Context, Error, Result, Status, file, sanitize};
use pep508_rs::PackageName;
use serde::Deserialize;

use crate::convert::Package;
use crate::convert::layout::SITE;

/// A licence text; the longest known (GPL-3) has 35 kB.
const LICENSE_LIMIT: u64 = 1 << 20;

/// What is said of one distribution.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Setting {
    /// Its package, `python3-yaml`.
    pub rename: Option<String>,
    /// The section of its package (Policy 2.4).
    pub section: Option<String>,
    /// Who wrote it.
    pub author_name: Option<String>,
    /// The address of who wrote it.
    pub author_email: Option<String>,
    /// Its page.
    pub url: Option<String>,
    /// A file with its licence.
    pub license_file: Option<PathBuf>,
    /// Modules to leave out.
    pub conflict_module: Vec<String>,
    /// Patterns of files to leave out.
    pub exclude: Vec<String>,
    /// More relations, as Policy 7 has them.
    pub depends: Vec<String>,
    /// See [`Setting::depends`].
    pub recommends: Vec<String>,
    /// See [`Setting::depends`].
    pub suggests: Vec<String>,
    /// See [`Setting::depends`].
    pub breaks: Vec<String>,
    /// See [`Setting::depends`].
    pub conflicts: Vec<String>,
    /// See [`Setting::depends`].
    pub replaces: Vec<String>,
    /// See [`Setting::depends`].
    pub provides: Vec<String>,
}

impl Setting {
    /// Makes it part of what is decided about a package.
    pub fn apply(&self, package: &mut Package) -> Result<()> {
        if let Some(path) = &self.license_file {
            let text = file::read(path, LICENSE_LIMIT)?;
            let name = path.file_name().map(bk::display).unwrap_or_default();
            package.licenses = vec![(name, String::from_utf8_lossy(&text).into_owned())];
        }
        for (to, from) in [
            (&mut package.section, &self.section),
            (&mut package.author_name, &self.author_name),
            (&mut package.author_email, &self.author_email),
            (&mut package.homepage, &self.url),
        ] {
            if from.is_some() {
                to.clone_from(from);
            }
        }
        let modules = self.conflict_module.iter().flat_map(|module| {
            let path = format!("{SITE}/{}", module.replace('.', "/"));
            ["", ".py", ".*.so", ".so"].map(|end| format!("{path}{end}"))
        });
        package.exclude.extend(modules);
        for (to, from) in [
            (&mut package.exclude, &self.exclude),
            (&mut package.depends, &self.depends),
            (&mut package.recommends, &self.recommends),
            (&mut package.suggests, &self.suggests),
            (&mut package.breaks, &self.breaks),
            (&mut package.conflicts, &self.conflicts),
            (&mut package.replaces, &self.replaces),
            (&mut package.provides, &self.provides),
        ] {
            to.extend(from.iter().cloned());
        }
        Ok(())
    }
}

/// The settings by distribution.
#[derive(Clone, Debug, Default)]
pub struct Overrides(HashMap<PackageName, Setting>);

impl Overrides {
    /// Reads the key `packages` of the configuration.
    pub fn read(value: Option<serde_yaml::Value>) -> Result<Self> {
        let Some(value) = value else { return Ok(Overrides::default()) };
        let named: HashMap<String, Setting> = serde_yaml::from_value(value)
            .context(|| "cannot use the key 'packages' of the configuration".into())
            .status(Status::Usage)?;
        let mut all = HashMap::new();
        for (name, setting) in named {
            all.insert(distribution(&name)?, setting);
        }
        Ok(Overrides(all))
    }

    /// Takes in `PY -> MODULE`.
    pub fn leave_out(&mut self, text: &str) -> Result<()> {
        let bad = || {
            Error::new(format!("'{}' leaves no module out", sanitize(text)))
                .hint("write it as 'flask -> tests'")
                .status(Status::Usage)
        };
        let (name, module) = text.split_once("->").ok_or_else(bad)?;
        let (name, module) = (distribution(name.trim()).map_err(|_| bad())?, module.trim());
        let good = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        };
        if !module.split('.').all(good) {
            return Err(bad());
        }
        self.0.entry(name).or_default().conflict_module.push(module.to_owned());
        Ok(())
    }

    /// What the packages of distributions are called.
    pub fn renamed(&self) -> impl Iterator<Item = (PackageName, String)> {
        let named = |(name, setting): (&PackageName, &Setting)| {
            Some((name.clone(), setting.rename.clone()?))
        };
        self.0.iter().filter_map(named)
    }

    /// Makes what is said of a distribution part of what is decided about its package.
    pub fn apply(&self, name: &PackageName, package: &mut Package) -> Result<()> {
        self.0.get(name).map_or(Ok(()), |setting| setting.apply(package))
    }
}

fn distribution(name: &str) -> Result<PackageName> {
    // An empty one is a name to pep508_rs.
    let parsed = if name.is_empty() { None } else { name.parse().ok() };
    parsed.ok_or_else(|| {
        Error::new(format!("'{}' is no name of a distribution", sanitize(name)))
            .status(Status::Usage)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_becomes_part_of_the_package() {
        let yaml = "Flask_X:\n  section: web\n  conflicts: [other]\n  exclude: ['*.c']\n";
        let mut overrides = Overrides::read(Some(serde_yaml::from_str(yaml).unwrap())).unwrap();
        overrides.leave_out("flask-x -> a.tests").unwrap();
        let mut package = Package::default();
        overrides.apply(&"flask-x".parse().unwrap(), &mut package).unwrap();
        assert_eq!(package.section.as_deref(), Some("web"));
        assert_eq!(package.conflicts, ["other"]);
        assert!(package.exclude.contains(&format!("{SITE}/a/tests")), "{:?}", package.exclude);
        assert!(package.exclude.contains(&"*.c".to_owned()));
    }

    #[test]
    fn slips_of_the_pen_are_told() {
        let read = |yaml: &str| Overrides::read(Some(serde_yaml::from_str(yaml).unwrap()));
        assert!(read("flask: {exlude: [a]}").is_err());
        assert!(read("'a b': {}").is_err());
        for text in ["flask", "flask ->", "-> x", "flask -> a/b", "flask -> .."] {
            assert!(Overrides::default().leave_out(text).is_err(), "{text}");
        }
    }
}
