//! The control file of a converted wheel, and its maintainer scripts.

use std::collections::HashSet;
use std::str::FromStr;

use bk::{Error, Result};
use pep440_rs::{Operator, VersionSpecifiers};

use super::{Options, Package, description};
use crate::debian::control::Paragraph;
use crate::python::metadata::Metadata;
use crate::python::tags::Binding;

/// What the conversion found out.
pub struct Facts<'a> {
    /// `all`, or the target's.
    pub architecture: &'a str,
    /// How the wheel is bound to Python.
    pub binding: Binding,
    /// Relations for shared libraries.
    pub libraries: Vec<String>,
    /// In KiB.
    pub installed_size: u64,
}

/// The control file.
pub fn paragraph(
    metadata: &Metadata,
    package: &Package,
    options: &Options,
    facts: &Facts<'_>,
) -> Result<Paragraph> {
    let mut control = Paragraph::new();
    control.set("Package", check_name(&package.name)?);
    control.set("Version", crate::debian::version::Version::parse(&package.version)?.to_string());
    control.set("Architecture", facts.architecture);
    control.set("Maintainer", &options.maintainer);
    control.set("Installed-Size", facts.installed_size.to_string());
    let mut depends = python(metadata, facts, options.python);
    depends.extend(facts.libraries.iter().cloned());
    depends.extend(package.depends.iter().cloned());
    dedup(&mut depends);
    let mut breaks = package.breaks.clone();
    shorten(&mut depends, &mut breaks);
    for (name, relations) in [
        ("Depends", &depends),
        ("Recommends", &package.recommends),
        ("Suggests", &package.suggests),
        ("Breaks", &breaks),
        ("Conflicts", &package.conflicts),
        ("Replaces", &package.replaces),
        ("Provides", &package.provides),
    ] {
        if !relations.is_empty() {
            if let Some(bad) = relations.iter().find(|r| r.contains(char::is_control)) {
                return Err(Error::new(format!("'{}' is no relation", bk::sanitize(bad))));
            }
            control.set(name, relations.join(", "));
        }
    }
    control.set("Section", package.section.as_deref().unwrap_or("python"));
    control.set("Priority", "optional");
    // One of any architecture will do where nothing but the interpreter is needed: a dependency
    // could be an extension module, which must be of the interpreter's (Multi-Arch specification).
    if facts.architecture == "all"
        && depends.iter().all(|d| d.starts_with("python3"))
        && package.depends.is_empty()
    {
        control.set("Multi-Arch", "foreign");
    }
    if let Some(url) = homepage(metadata) {
        control.set("Homepage", url);
    }
    control.set("Description", description::field(metadata));
    Ok(control)
}

/// Policy 5.6.1.
pub(crate) fn check_name(name: &str) -> Result<&str> {
    let good = name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
    good.then_some(name).ok_or_else(|| {
        Error::new(format!("'{}' is no package's name", bk::sanitize(name)))
            .hint("use lower case letters, digits, '+', '-' and '.'")
    })
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

/// What no field may be longer than (lintian's field-too-long, an error).
const LENGTH: usize = 5000;

/// Says in Breaks what is too much for Depends. To depend on a package and to break what is not below a
/// version of it is to depend on what is below, so upper bounds can be moved, where the package is named
/// by a lower one.
fn shorten(depends: &mut Vec<String>, breaks: &mut Vec<String>) {
    let length = |relations: &[String]| relations.join(", ").len();
    let mut excess = length(depends).saturating_sub(LENGTH);
    let mut room = LENGTH.saturating_sub(length(breaks));
    let split = |relation: &str, op: &str| -> Option<(String, String)> {
        let (name, bound) = relation.split_once(op).filter(|_| !relation.contains('|'))?;
        Some((name.to_owned(), bound.to_owned()))
    };
    let named: HashSet<String> =
        depends.iter().filter_map(|r| split(r, " (>= ")).map(|(name, _)| name).collect();
    depends.retain(|relation| {
        let size = relation.len() + ", ".len();
        match split(relation, " (<< ").filter(|(name, _)| named.contains(name)) {
            Some((name, bound)) if excess > 0 && size <= room => {
                breaks.push(format!("{name} (>= {bound}"));
                excess = excess.saturating_sub(size);
                room -= size;
                false
            }
            _ => true,
        }
    });
}

/// The relations to Python itself, in the form dh_python3(1) writes.
fn python(metadata: &Metadata, facts: &Facts<'_>, target: (u32, u32)) -> Vec<String> {
    // Any architecture's interpreter runs pure Python.
    let name = match facts.binding {
        Binding::Only(..) => "python3",
        Binding::From(..) if facts.architecture != "all" => "python3",
        _ => "python3:any",
    };
    let (mut lower, mut upper) = match facts.binding {
        Binding::Any => (None, None),
        Binding::From(major, minor) => (Some((major, minor)), None),
        Binding::Only(major, minor) => (Some((major, minor)), Some((major, minor + 1))),
    };
    if let Some((from, to)) = metadata.requires_python.as_deref().and_then(|s| bounds(s, target)) {
        lower = lower.max(from);
        upper = match (upper, to) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    // Every Python 3 that a suite still has is later than 3.2.
    let lower = lower.filter(|bound| *bound > (3, 2));
    let mut relations = Vec::new();
    if let Some((major, minor)) = lower {
        relations.push(format!("{name} (>= {major}.{minor}~)"));
    }
    if let Some((major, minor)) = upper {
        relations.push(format!("{name} (<< {major}.{minor})"));
    }
    if relations.is_empty() {
        relations.push(name.to_owned());
    }
    relations
}

type Bound = Option<(u32, u32)>;

/// The lowest Python and the first one too high that `Requires-Python` names, as far as whole
/// versions go; a bound that the target does not keep is another's to report.
fn bounds(requires: &str, target: (u32, u32)) -> Option<(Bound, Bound)> {
    let specifiers = VersionSpecifiers::from_str(requires).ok()?;
    let (mut lower, mut upper): (Bound, Bound) = (None, None);
    for specifier in specifiers.iter() {
        let part = |at: usize| {
            specifier.version().release().get(at).map_or(Some(0), |n| u32::try_from(*n).ok())
        };
        let version = (part(0)?, part(1)?);
        let whole = part(2)? == 0;
        match specifier.operator() {
            Operator::GreaterThanEqual | Operator::TildeEqual if version <= target => {
                lower = lower.max(Some(version));
            }
            // Python 4 is no Debian package: `<4` says nothing.
            Operator::LessThan if version.0 == target.0 && whole && version > target => {
                upper = Some(upper.map_or(version, |known| known.min(version)));
            }
            _ => {}
        }
    }
    Some((lower, upper))
}

/// The project's page: the field made for it, else the likeliest of the others.
pub fn homepage(metadata: &Metadata) -> Option<&str> {
    let good = |url: &str| {
        (url.starts_with("https://") || url.starts_with("http://"))
            && !url.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if let Some(url) = metadata.home_page.as_deref().filter(|url| good(url)) {
        return Some(url);
    }
    let labels =
        ["homepage", "home", "website", "source", "repository", "code", "documentation", "docs"];
    let by = |label: &str| {
        let plain = |text: &str| text.to_lowercase().replace([' ', '-', '_'], "");
        metadata.urls.iter().find(|(known, url)| plain(known).starts_with(label) && good(url))
    };
    labels.iter().find_map(|label| by(label)).map(|(_, url)| url.as_str())
}

/// `postinst`: compiles the modules, as dh_python3 writes it (dh-python's postinst-py3compile), but that a
/// module which does not compile is no reason not to install it: distributions have some for other
/// versions of Python, which only those import, and pip installs them without a word.
pub fn postinst(package: &str) -> String {
    format!(
        "#!/bin/sh\nset -e\n\n\
         if command -v py3compile >/dev/null 2>&1; then\n\tpy3compile -p {package} 2>/dev/null || true\nfi\n\
         if command -v pypy3compile >/dev/null 2>&1; then\n\tpypy3compile -p {package} || true\nfi\n\n\
         exit 0\n"
    )
}

/// `prerm`: removes what was compiled, as dh_python3 writes it (dh-python's prerm-py3clean).
pub fn prerm(package: &str) -> String {
    format!(
        "#!/bin/sh\nset -e\n\n\
         if command -v py3clean >/dev/null 2>&1; then\n\tpy3clean -p {package}\nelse\n\
         \tdpkg -L {package} | sed -En -e '/^(.*)\\/(.+)\\.py$/s,,rm \"\\1/__pycache__/\\2\".*,e'\n\
         \tfind /usr/lib/python3/dist-packages/ -type d -name __pycache__ -empty -print0 \
         | xargs --null --no-run-if-empty rmdir\nfi\n\n\
         exit 0\n"
    )
}

/// `postrm`: removes what programs have written into the package's own folders, such as caches, when
/// nothing of it shall be left (Policy 6.8). A folder that another package has files in stays.
pub fn postrm(package: &str, folders: &[String]) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| format!("/{folder}")).collect();
    // dpkg still knows the folders that were not empty as this package's own.
    format!(
        "#!/bin/sh\nset -e\n\n\
         if [ \"$1\" = purge ]; then\n\
         \tfor folder in {}; do\n\
         \t\t[ -d \"$DPKG_ROOT$folder\" ] || continue\n\
         \t\tif ! dpkg-query -S \"$folder\" \"$folder/*\" 2>/dev/null | grep -qv '^{package}: '; then\n\
         \t\t\trm -rf \"$DPKG_ROOT$folder\"\n\
         \t\tfi\n\
         \tdone\n\
         fi\n\n\
         exit 0\n",
        folders.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depends(binding: Binding, architecture: &str, requires: &str) -> String {
        let metadata = Metadata { requires_python: Some(requires.into()), ..Metadata::default() };
        let facts = Facts { architecture, binding, libraries: Vec::new(), installed_size: 0 };
        python(&metadata, &facts, (3, 11)).join(", ")
    }

    #[test]
    fn python_is_bound_as_dh_python3_binds_it() {
        assert_eq!(
            depends(Binding::Only(3, 11), "amd64", ""),
            "python3 (>= 3.11~), python3 (<< 3.12)"
        );
        assert_eq!(depends(Binding::From(3, 9), "amd64", ">=3.8"), "python3 (>= 3.9~)");
        assert_eq!(depends(Binding::Any, "all", ""), "python3:any");
        assert_eq!(depends(Binding::Any, "all", ">=3.10, <4"), "python3:any (>= 3.10~)");
        assert_eq!(
            depends(Binding::Any, "all", ">=3.8,!=3.9.0,<3.13"),
            "python3:any (>= 3.8~), python3:any (<< 3.13)"
        );
        assert_eq!(depends(Binding::Any, "all", "nonsense"), "python3:any");
    }

    #[test]
    fn scripts_are_those_of_dh_python() {
        for (name, ours) in
            [("postinst-py3compile", postinst("python3-x")), ("prerm-py3clean", prerm("python3-x"))]
        {
            let path = format!("/usr/share/debhelper/autoscripts/{name}");
            let snippet = std::fs::read_to_string(path).unwrap();
            let snippet = snippet.replace("#PACKAGE#", "python3-x").replace(" #ARGS#", "");
            let strict = "\tpy3compile -p python3-x\n";
            let snippet =
                snippet.replace(strict, "\tpy3compile -p python3-x 2>/dev/null || true\n");
            assert!(ours.contains(&snippet), "{ours}\n{snippet}");
        }
    }

    #[test]
    fn the_homepage_is_the_field_or_the_likeliest_address() {
        let url = |label: &str, url: &str| (label.to_owned(), url.to_owned());
        let mut metadata = Metadata {
            urls: vec![url("Docs", "https://d"), url("Home Page", "https://h"), url("Source", "x")],
            ..Metadata::default()
        };
        assert_eq!(homepage(&metadata), Some("https://h"));
        metadata.home_page = Some("https://own".into());
        assert_eq!(homepage(&metadata), Some("https://own"));
        metadata.home_page = Some("javascript:x".into());
        assert_eq!(homepage(&metadata), Some("https://h"));
    }
}
