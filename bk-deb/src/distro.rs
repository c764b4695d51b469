//! The packages of the target suite: what is there already, and what it is called.

pub mod contents;
mod facts;
pub mod shlibs;
mod sources;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::OnceLock;

use bk::{Console, Context, Error, Result};
use pep440_rs::Version;
use pep508_rs::PackageName;

use self::shlibs::{Installed, Known, Libraries, Needed};
use crate::debian::version::compare;
use crate::fetch::Fetch;
use crate::mapping;
use crate::mapping::name::{self, Names};

/// Which distribution is meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The suite, `bookworm`; this system's if not given.
    pub suite: Option<String>,
    /// The archive, `http://MIRROR/debian`; what this system's apt sources say if not given.
    pub mirror: Option<String>,
    /// The Debian architecture.
    pub arch: String,
}

/// What is known of the packages of a suite.
pub struct Distro {
    /// Its code name.
    pub suite: String,
    /// One line a package, `name TAB version TAB provides TAB depends TAB source TAB asked TAB libraries TAB linked`,
    /// sorted by name: of the dependencies only those of Python's packages on others of Python's, the
    /// source where it is called otherwise, `y` where packages of other sources depend on it, and the
    /// libraries that one without code for a machine depends on, if it needs Python; at the end those
    /// that one of Python's with such code is linked to.
    packages: String,
    /// Normalised Python name → binary package, as the suite's dh-python knows them.
    names: HashMap<String, String>,
    /// The same of the distributions that are only a part of a package: python3-azure has a hundred, and
    /// neither its name nor its version is theirs.
    parts: HashMap<String, String>,
    /// Virtual package of Python's → the package that provides it; looked for when first asked.
    virtuals: OnceLock<HashMap<String, String>>,
}

impl Distro {
    /// Reads this system's apt lists, or fetches those of another suite. What is drawn from them is
    /// kept in `cache`.
    pub fn load(
        selection: &Selection,
        cache: &Path,
        fetch: &Fetch,
        console: &Console,
    ) -> Result<Self> {
        let own = sources::own_suite();
        let suite = selection.suite.clone().or(own.clone()).ok_or_else(|| {
            Error::new("this system does not say which suite it is").hint("say it with --suite")
        })?;
        let local = own.as_deref() == Some(&suite) && selection.mirror.is_none();
        let lists = if local { sources::apt_lists(&suite, &selection.arch) } else { Vec::new() };
        let facts = match lists.is_empty() {
            false => facts::from_lists(&suite, &selection.arch, &lists, cache, fetch, console),
            true => {
                let mirror =
                    selection.mirror.clone().or_else(|| sources::mirror(&suite)).ok_or_else(
                        || {
                            Error::new("no apt source on this system")
                                .hint("name an archive with --mirror http://MIRROR/debian")
                        },
                    )?;
                facts::from_mirror(&suite, &selection.arch, &mirror, cache, fetch, console)
            }
        };
        let facts = facts.context(|| format!("cannot read the packages of '{suite}'"))?;
        let distro = Distro {
            suite,
            packages: facts.packages,
            names: HashMap::new(),
            parts: HashMap::new(),
            virtuals: OnceLock::new(),
        };
        Ok(distro.with_table(facts.names))
    }

    /// A distribution with these packages, as lines of [`Distro::packages`], whose last fields are
    /// optional, and no table of names.
    pub fn from_lines(suite: &str, lines: &[&str]) -> Self {
        let mut lines = lines.to_vec();
        lines.sort_unstable();
        let packages = lines.iter().map(|line| format!("{line}\n")).collect();
        Distro {
            suite: suite.to_owned(),
            packages,
            names: HashMap::new(),
            parts: HashMap::new(),
            virtuals: OnceLock::new(),
        }
    }

    /// The same with a table of names: Python's, Debian's.
    pub fn with_names(self, names: &[(&str, &str)]) -> Self {
        self.with_table(names.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    fn with_table(mut self, names: HashMap<String, String>) -> Self {
        let mut sharing: HashMap<&str, usize> = HashMap::new();
        names.values().for_each(|package| *sharing.entry(package).or_default() += 1);
        // What each of those that have several is called, and provides. One at another version is a part's:
        // python3-typeshed, which is no distribution, provides `python3-types-requests (= 2.28)`.
        let shared: HashMap<String, HashSet<&str>> = sharing
            .into_iter()
            .filter(|(_, n)| *n > 1)
            .map(|(package, _)| {
                let provides = self.line(package).and_then(|line| line.split('\t').nth(2));
                let names = provides.unwrap_or_default().split(',').map(str::trim);
                (package.to_owned(), names.collect())
            })
            .collect();
        // Whether a package is that of many, and neither called as this one is nor providing it: python3-pil is
        // Pillow.
        let is_part = |name: &str, package: &str| {
            let Some(provided) = shared.get(package).filter(|_| name != package) else {
                return false;
            };
            let Ok(python) = name.parse() else { return true };
            let default = name::default(&python);
            default != package && !provided.contains(default.as_str())
        };
        let (parts, names) = names.into_iter().partition(|(name, package)| is_part(name, package));
        drop(shared);
        (self.parts, self.names) = (parts, names);
        self
    }

    /// The package that has a Python distribution as a part among others, which no package can have
    /// beside it.
    pub fn whole(&self, python: &PackageName) -> Option<&str> {
        let whole = self.parts.get(python.as_ref()).map(String::as_str);
        whole.filter(|package| self.version(package).is_some())
    }

    /// What a package says of a part of it: the virtual package of its name, at its own version.
    fn part(&self, python: &PackageName) -> Option<(String, &str)> {
        let default = name::default(python);
        let provides = self.line(self.whole(python)?)?.split('\t').nth(2)?;
        let version = provides.split(',').find_map(|provided| {
            let version = provided.trim().strip_prefix(&default)?.strip_prefix(" (= ")?;
            version.strip_suffix(')')
        })?;
        Some((default, version))
    }

    /// The package that has a Python distribution, its version, and Python's idea of that version.
    ///
    /// Only what dh-python's table names counts: a package that is merely called the same may be
    /// something else.
    pub fn installed(&self, python: &PackageName) -> Option<(String, String, Version)> {
        let (package, there) = match self.named(python) {
            Some(package) => (package.to_owned(), self.version(package)?),
            None => self.part(python)?,
        };
        Some((package, there.to_owned(), mapping::version::python(there)?))
    }

    /// What the table calls a Python distribution.
    fn named(&self, python: &PackageName) -> Option<&str> {
        match python.as_ref() {
            // The table means what programs import; the distribution of that name is another one.
            "setuptools" => Some("python3-setuptools"),
            name => self.names.get(name).map(String::as_str),
        }
    }

    /// All distributions that [`Distro::installed`] finds, sorted by name.
    pub fn all_installed(&self) -> Vec<(PackageName, Version)> {
        let mut names: Vec<&String> = self.names.keys().collect();
        names.sort();
        let found = names.into_iter().filter_map(|name| {
            let name: PackageName = name.parse().ok()?;
            let (_, _, version) = self.installed(&name)?;
            Some((name, version))
        });
        found.collect()
    }

    /// The version of a binary package.
    pub fn version(&self, package: &str) -> Option<&str> {
        self.line(package)?.split('\t').nth(1)
    }

    /// What is known of a binary package.
    fn line(&self, package: &str) -> Option<&str> {
        let text = &self.packages;
        // Binary search over lines: no map of 60,000 packages for the dozens that are asked for.
        let (mut low, mut high) = (0, text.len());
        while low < high {
            let middle = (low + high) / 2;
            let start = text[..middle].rfind('\n').map_or(0, |at| at + 1).max(low);
            let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
            let line = &text[start..end];
            match line.split('\t').next().unwrap_or_default().cmp(package) {
                std::cmp::Ordering::Equal => return Some(line),
                std::cmp::Ordering::Less => low = end + 1,
                std::cmp::Ordering::Greater => high = start,
            }
        }
        None
    }

    /// The packages that provide the virtual package `name`.
    pub fn providers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.packages.lines().filter_map(move |line| {
            let mut fields = line.split('\t');
            let (package, _, provides) = (fields.next()?, fields.next()?, fields.next()?);
            let named = |p: &str| p.split(['(', ' ']).next() == Some(name);
            provides.split(',').any(|p| named(p.trim())).then_some(package)
        })
    }

    /// The other packages that are built of the same source as each of `packages`, and whether those of
    /// other sources depend on them.
    pub fn siblings(&self, packages: &[&str]) -> HashMap<String, BTreeMap<String, bool>> {
        fn about(line: &str) -> (&str, &str, bool) {
            let mut fields = line.split('\t');
            let name = fields.next().unwrap_or_default();
            let source = fields.nth(3).filter(|source| !source.is_empty()).unwrap_or(name);
            (name, source, fields.next() == Some("y"))
        }
        let mut wanted: HashMap<&str, Vec<&str>> = HashMap::new();
        for package in packages {
            if let Some((_, source, _)) = self.line(package).map(about) {
                wanted.entry(source).or_default().push(package);
            }
        }
        let mut found: HashMap<String, BTreeMap<String, bool>> = HashMap::new();
        for (name, source, asked) in self.packages.lines().map(about) {
            for package in wanted.get(source).into_iter().flatten().filter(|p| **p != name) {
                found.entry((*package).to_owned()).or_default().insert(name.to_owned(), asked);
            }
        }
        found
    }

    /// What a package of it asks of the versions of other Python distributions: the relations its
    /// Depends has to their packages, and that those are the suite's whose interfaces it needs.
    pub fn python_depends(&self, package: &str) -> Vec<(PackageName, Vec<String>)> {
        let mut all = self.interfaces(package);
        for relation in self.relations(package) {
            let Some(other) = relation.split(' ').next() else { continue };
            for python in self.names_of(other) {
                match all.iter_mut().find(|(name, _)| *name == python) {
                    Some((_, relations)) => relations.push(relation.to_owned()),
                    None => all.push((python, vec![relation.to_owned()])),
                }
            }
        }
        all
    }

    /// The libraries that the modules of a distribution load by their names, which nothing in them tells:
    /// what the suite's package of it depends on, if that is pure Python. `package` is what it is called if
    /// nothing else is known.
    pub fn loads(&self, python: &PackageName, package: &str) -> Vec<&str> {
        let line = self.line(self.named(python).unwrap_or(package));
        let libraries = line.and_then(|line| line.split('\t').nth(6));
        let libraries = libraries.unwrap_or_default().split(", ");
        libraries.filter(|relation| !relation.is_empty()).collect()
    }

    /// The libraries that the suite's package of a distribution is linked to, it or parts of it that are
    /// packages of their own.
    pub fn linked(&self, python: &PackageName) -> BTreeSet<&str> {
        let default = name::default(python);
        let package = self.named(python).unwrap_or(&default);
        let siblings = self.siblings(&[package]).remove(package).unwrap_or_default();
        let parts =
            self.relations(package).filter_map(|relation| relation.split([' ', ':']).next());
        parts
            .filter(|part| siblings.contains_key(*part))
            .chain([package])
            .filter_map(|part| self.line(part)?.split('\t').nth(7))
            .flat_map(|linked| linked.split(' ').filter(|name| !name.is_empty()))
            .collect()
    }

    /// The package with what it takes to build against a library: of those of the library's source
    /// (Policy 8.4) the one that is called most like it.
    pub fn headers(&self, library: &str) -> Option<String> {
        let siblings = self.siblings(&[library]).remove(library)?;
        let like = |name: &String| {
            let same = name.bytes().zip(library.bytes()).take_while(|(a, b)| a == b).count();
            (same, std::cmp::Reverse(name.len()))
        };
        let all = siblings.into_keys().filter(|name| name.ends_with("-dev"));
        // Of names that are as like, the first: they are sorted.
        all.rev().max_by_key(like)
    }

    fn relations(&self, package: &str) -> impl Iterator<Item = &str> {
        let depends = self.line(package).and_then(|line| line.split('\t').nth(3));
        depends.unwrap_or_default().split(", ").filter(|relation| !relation.is_empty())
    }

    /// The distributions whose packages provide what a package, or one that it depends on, needs of
    /// their interfaces, such as `python3-numpy-abi9` and `python3-cffi-backend-api-min`: a package
    /// that is built of them does not.
    fn interfaces(&self, package: &str) -> Vec<(PackageName, Vec<String>)> {
        let virtuals = self.virtuals.get_or_init(|| self.find_virtuals());
        let mut all: Vec<(PackageName, Vec<String>)> = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::from([package]);
        let mut queue = vec![package];
        while let Some(next) = queue.pop() {
            for relation in self.relations(next).filter(|relation| !relation.contains('|')) {
                let other = relation.split([' ', ':']).next().unwrap_or_default();
                if !seen.insert(other) {
                    continue;
                }
                queue.push(other);
                let Some(provider) = virtuals.get(other) else { continue };
                let mut siblings = self.siblings(&[provider]).remove(provider).unwrap_or_default();
                siblings.insert(provider.clone(), false);
                for (sibling, python) in siblings
                    .keys()
                    .filter(|sibling| *sibling != package)
                    .flat_map(|s| self.names_of(s).into_iter().map(move |python| (s, python)))
                {
                    let Some(there) = self.version(sibling) else { continue };
                    let exactly =
                        [format!("{sibling} (>= {there})"), format!("{sibling} (<< {there}+c)")];
                    if !all.iter().any(|(known, _)| *known == python) {
                        all.push((python, exactly.into()));
                    }
                }
            }
        }
        all
    }

    fn find_virtuals(&self) -> HashMap<String, String> {
        let mut all = HashMap::new();
        for line in self.packages.lines().filter(|line| line.starts_with("python3-")) {
            let mut fields = line.split('\t');
            let package = fields.next().unwrap_or_default();
            let provides = fields.nth(1).unwrap_or_default().split(',');
            for name in provides.filter_map(|p| p.trim().split([' ', '(']).next()) {
                if name.starts_with("python3-") && self.version(name).is_none() {
                    all.insert(name.to_owned(), package.to_owned());
                }
            }
        }
        all
    }

    /// The Python distributions that are in a package.
    fn names_of(&self, package: &str) -> Vec<PackageName> {
        let names = self.names.iter().filter(|(_, there)| *there == package);
        let mut names: Vec<PackageName> = names.filter_map(|(name, _)| name.parse().ok()).collect();
        names.sort();
        names
    }

    /// The version of Python that `python3` is, as (3, 11), and in full.
    pub fn python(&self) -> Option<((u32, u32), String)> {
        let version = self.version("python3")?;
        let (major, minor) = numbers(version)?;
        let full = self.version(&format!("python{major}.{minor}")).unwrap_or(version);
        Some(((major, minor), full.split(['-', '~', '+']).next()?.to_owned()))
    }

    /// The version of the C library, as (2, 36).
    pub fn glibc(&self) -> Option<(u32, u32)> {
        numbers(self.version("libc6").or_else(|| self.version("libc6.1"))?)
    }

    /// Where its shared libraries come from: dpkg's own files if this system is of the suite, and
    /// what is known of all suites.
    pub fn libraries(&self, arch: &str) -> Result<Box<dyn Libraries>> {
        libraries(&self.suite, arch)
    }

    /// Whether the suite's dpkg is at least `version`.
    pub fn dpkg_at_least(&self, version: &str) -> bool {
        self.version("dpkg").is_some_and(|there| compare(there, version).is_ge())
    }
}

/// Where the shared libraries of a suite come from: see [`Distro::libraries`].
pub fn libraries(suite: &str, arch: &str) -> Result<Box<dyn Libraries>> {
    let admin = Path::new("/var/lib/dpkg/info");
    let own = sources::own_suite().as_deref() == Some(suite) && admin.is_dir();
    if !own || arch != crate::target::own_arch() {
        return Ok(Box::new(Known));
    }
    Ok(Box::new(OwnThenKnown(Installed::new(admin, arch)?)))
}

/// A library that is not installed here may be one that is known.
struct OwnThenKnown(Installed);

impl Libraries for OwnThenKnown {
    fn depends(&self, needed: &Needed) -> Result<Option<Vec<String>>> {
        match self.0.depends(needed)? {
            None => Known.depends(needed),
            found => Ok(found),
        }
    }
}

/// The first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Names for Distro {
    fn package(&self, python: &PackageName) -> String {
        let default = name::default(python);
        // The table also names packages that are programs first, or gone.
        let fits = |named: &&str| named.starts_with("python3-") && self.version(named).is_some();
        if let Some(named) = self.named(python).filter(fits) {
            return named.to_owned();
        }
        // python3-f2py is provided by python3-numpy, which is numpy's.
        let mut named = self.names.values().chain(self.parts.values());
        let free = |p: &&str| p.starts_with("python3-") && !named.any(|n| n == p);
        let provider = self.providers(&default).find(free);
        provider.filter(|_| self.version(&default).is_none()).map_or(default.clone(), str::to_owned)
    }

    fn epoch(&self, package: &str) -> u64 {
        let version = self.version(package).and_then(|version| version.split_once(':'));
        version.and_then(|(epoch, _)| epoch.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distro() -> Distro {
        let mut distro = Distro::from_lines(
            "bookworm",
            &[
                "python3\t3.11.2-1+b1\t",
                "python3.11\t3.11.2-6+deb12u6\t",
                "python3-yaml\t6.0-3+b2\tpython3.11-yaml",
                "python3-numpy\t1:1.24.2-1+deb12u1\tpython3-numpy-abi9, python3-f2py (= 1:1.24.2-1)",
                "libc6\t2.36-9+deb12u13\t",
                "python3-elsewhere\t1.0-1\tpython3-other (= 1.0-1)",
                "python3-setuptools\t66.1.1-1\t",
                "dpkg\t1.21.22\t",
            ],
        );
        distro.names.insert("pyyaml".into(), "python3-yaml".into());
        distro.names.insert("numpy".into(), "python3-numpy".into());
        distro.names.insert("setuptools".into(), "python3-pkg-resources".into());
        distro.names.insert("gone".into(), "python3-gone".into());
        distro
    }

    #[test]
    fn packages_are_found() {
        let distro = distro();
        assert_eq!(distro.version("python3-yaml"), Some("6.0-3+b2"));
        assert_eq!(distro.version("dpkg"), Some("1.21.22"));
        assert_eq!(distro.version("python3.11"), Some("3.11.2-6+deb12u6"));
        for missing in ["", "a", "python3-", "zzz", "libc6 "] {
            assert_eq!(distro.version(missing), None, "{missing}");
        }
        assert_eq!(distro.providers("python3-f2py").collect::<Vec<_>>(), ["python3-numpy"]);
        assert_eq!(distro.python(), Some(((3, 11), "3.11.2".into())));
        assert_eq!(distro.glibc(), Some((2, 36)));
        assert!(distro.dpkg_at_least("1.21.18") && !distro.dpkg_at_least("1.22"));
    }

    #[test]
    fn interfaces_are_those_of_the_suites_own_packages() {
        let distro = Distro::from_lines(
            "bookworm",
            &[
                "python3-cffi\t1.15.1-5\t\t\tpython-cffi\ty",
                "python3-cffi-backend\t1.15.1-5+b1\tpython3-cffi-backend-api-min (= 9729)\t\tpython-cffi\ty",
                "python3-bcrypt\t3.2.2-1\t\tpython3-cffi-backend-api-min (<= 9729)\t\t",
                "python3-numpy\t1:1.24.2-1\tpython3-numpy-abi9\t\tnumpy\t",
                "python3-pandas\t1.5.3-2\t\tpython3-pandas-lib (>= 1.5.3)\t\t",
                "python3-pandas-lib\t1.5.3-2\t\tpython3-numpy-abi9\tpandas\t",
                "python3-twisted\t22.4.0-4\t\tpython3-bcrypt (>= 3), python3-attr\t\t",
            ],
        )
        .with_names(&[("cffi", "python3-cffi"), ("numpy", "python3-numpy"), ("bcrypt", "python3-bcrypt")]);
        let of = |package: &str| -> Vec<String> {
            let all = distro.python_depends(package).into_iter();
            all.map(|(name, relations)| format!("{name}: {}", relations.join(", "))).collect()
        };
        let cffi = "cffi: python3-cffi (>= 1.15.1-5), python3-cffi (<< 1.15.1-5+c)";
        assert_eq!(of("python3-bcrypt"), [cffi]);
        assert_eq!(of("python3-twisted"), [cffi, "bcrypt: python3-bcrypt (>= 3)"]);
        let numpy = "numpy: python3-numpy (>= 1:1.24.2-1), python3-numpy (<< 1:1.24.2-1+c)";
        assert_eq!(of("python3-pandas"), [numpy]);
        assert!(of("python3-cffi").is_empty());
    }

    #[test]
    fn a_part_of_a_package_has_a_name_and_a_version_of_its_own() -> Result<()> {
        let distro = Distro::from_lines(
            "bookworm",
            &[
                "python3-azure\t20230112+git-1\t",
                "python3-typeshed\t0.0~git20221107-1\tpython3-types-six (= 1.16), python3-types-toml (= 0.10)",
                "python3-pil\t9.4.0-1\tpython3-pillow",
                "python3-configobj\t5.0.8-1\t",
                "flit\t3.8.0-1\t",
            ],
        )
        .with_names(&[
            ("azure-mgmt-dns", "python3-azure"),
            ("azure-batch", "python3-azure"),
            ("types-six", "python3-typeshed"),
            ("types-toml", "python3-typeshed"),
            ("pillow", "python3-pil"),
            ("pil", "python3-pil"),
            ("configobj", "python3-configobj"),
            ("validate", "python3-configobj"),
            ("flit", "flit"),
            ("flit-core", "flit"),
        ]);
        for (python, called, there, whole) in [
            ("azure-batch", "python3-azure-batch", None, Some("python3-azure")),
            ("types-six", "python3-types-six", Some("1.16"), Some("python3-typeshed")),
            ("pillow", "python3-pil", Some("9.4.0-1"), None),
            ("configobj", "python3-configobj", Some("5.0.8-1"), None),
            ("validate", "python3-validate", None, Some("python3-configobj")),
            ("flit", "python3-flit", Some("3.8.0-1"), None),
            ("flit-core", "python3-flit-core", None, Some("flit")),
        ] {
            let python: PackageName = python.parse()?;
            assert_eq!(distro.package(&python), called);
            assert_eq!(distro.installed(&python).map(|(_, v, _)| v).as_deref(), there, "{python}");
            assert_eq!(distro.whole(&python), whole, "{python}");
        }
        Ok(())
    }

    #[test]
    fn siblings_are_of_one_source() {
        let distro = Distro::from_lines(
            "bookworm",
            &[
                "python3-cffi\t1.15.1-5\t\t\tpython-cffi\ty",
                "python3-cffi-backend\t1.15.1-5+b1\t\t\tpython-cffi\ty",
                "python-cffi-doc\t1.15.1-5\t\t\tpython-cffi\t",
                "python-cffi\t1.0-1\t",
                "python3-lone\t1.0-1\t",
            ],
        );
        let found = distro.siblings(&["python3-cffi", "python3-lone", "python3-gone"]);
        let siblings =
            [("python-cffi", false), ("python-cffi-doc", false), ("python3-cffi-backend", true)];
        let siblings = siblings.map(|(name, asked)| (name.to_owned(), asked)).into();
        assert_eq!(found, HashMap::from([("python3-cffi".to_owned(), siblings)]));
    }

    #[test]
    fn what_a_package_is_linked_to_and_what_builds_against_it_is_of_the_suite() -> Result<()> {
        let distro = Distro::from_lines(
            "bookworm",
            &[
                "python3-cffi\t1.15.1-5\t\tpython3-cffi-backend (>= 1.15.1-5+b1), python3-ply\tpython-cffi",
                "python3-cffi-backend\t1.15.1-5+b1\t\t\tpython-cffi\ty\t\tlibc6 libffi8",
                "python3-cffi-dbg\t1.15.1-5+b1\t\t\tpython-cffi\t\t\tlibdbg1",
                "python3-ply\t3.11-5\t\t\t\t\t\tlibply1",
                "libfreetype-dev\t2.12.1\t\t\tfreetype",
                "libfreetype6\t2.12.1\t\t\tfreetype",
                "libfreetype6-dev\t2.12.1\t\t\tfreetype",
                "libblas-dev\t3.11\t\t\tlapack",
                "libblas3\t3.11\t\t\tlapack",
                "libblas64-dev\t3.11\t\t\tlapack",
                "liblapack-dev\t3.11\t\t\tlapack",
                "liblone1\t1",
            ],
        );
        let cffi: PackageName = "cffi".parse()?;
        assert_eq!(distro.linked(&cffi), BTreeSet::from(["libc6", "libffi8"]));
        assert!(distro.linked(&"gone".parse()?).is_empty());
        assert_eq!(distro.headers("libblas3").as_deref(), Some("libblas-dev"));
        assert_eq!(distro.headers("libfreetype6").as_deref(), Some("libfreetype6-dev"));
        assert_eq!(distro.headers("liblone1"), None);
        assert_eq!(distro.headers("libgone1"), None);
        Ok(())
    }

    #[test]
    fn names_come_from_the_suite() {
        let distro = distro();
        let package = |name: &str| distro.package(&name.parse().unwrap());
        assert_eq!(package("PyYAML"), "python3-yaml");
        assert_eq!(package("gone"), "python3-gone");
        assert_eq!(package("f2py"), "python3-f2py");
        assert_eq!(package("other"), "python3-elsewhere");
        assert_eq!(package("setuptools"), "python3-setuptools");
        assert_eq!(package("Flask"), "python3-flask");
        assert_eq!(distro.epoch("python3-numpy"), 1);
        assert_eq!(distro.epoch("python3-flask"), 0);
    }
}
