//! Names of Python distributions as names of Debian packages.

use pep508_rs::PackageName;

/// What a Python distribution is called as a Debian package.
pub trait Names: Sync {
    /// The binary package's name.
    fn package(&self, name: &PackageName) -> String;
    /// The epoch that the distribution's own package of that name has, 0 where there is none.
    fn epoch(&self, package: &str) -> u64;
}

/// `python3-` and the normalised name (Debian Python Policy 4.3), where nothing better is known.
pub fn default(name: &PackageName) -> String {
    let name = name.as_ref();
    // python-dateutil is python3-dateutil: the prefix is never there twice.
    let stem = ["python3-", "python-"].iter().find_map(|prefix| name.strip_prefix(prefix));
    format!("python3-{}", stem.filter(|stem| !stem.is_empty()).unwrap_or(name))
}

/// The virtual package that a package with the dependencies of an extra provides.
pub fn extra(package: &str, extra: &str) -> String {
    format!("{package}+{extra}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_and_never_prefixed_twice() {
        for (python, expected) in [
            ("Flask_X", "python3-flask-x"),
            ("zope.interface", "python3-zope-interface"),
            ("A--B.c", "python3-a-b-c"),
            ("python-dateutil", "python3-dateutil"),
        ] {
            assert_eq!(default(&python.parse().unwrap()), expected);
        }
    }
}
