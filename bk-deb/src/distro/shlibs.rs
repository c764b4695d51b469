//! Which packages have the shared libraries that a file needs: from dpkg's `symbols` and `shlibs`
//! files (deb-symbols(5), deb-shlibs(5)), or, for other systems than this, from facts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bk::{Context, Result, display};

use crate::debian::version::compare;

/// What files need of one shared library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// Its name, `libc.so.6`.
    pub soname: String,
    /// The versions they were linked against, `GLIBC_2.34`.
    pub versions: BTreeSet<String>,
    /// The symbols they use, `printf@GLIBC_2.2.5`, or `deflate@Base`. Those without a version may
    /// be another library's, so that many libraries have the same.
    pub symbols: BTreeSet<Arc<str>>,
}

/// Where shared libraries come from.
pub trait Libraries: Sync {
    /// The relations that bring the library; `None` if no package is known to have it.
    fn depends(&self, needed: &Needed) -> Result<Option<Vec<String>>>;
}

/// The packages of this system, by dpkg's own files: what dpkg-shlibdeps(1) goes by.
pub struct Installed {
    admin: PathBuf,
    arch: String,
    /// Library and version → the stem of the package's files (`libc6:amd64`), relation.
    shlibs: HashMap<(String, String), (String, String)>,
}

/// A `shlibs` or `symbols` file is text of at most some MB (libstdc++6 has 1.1 MB).
const LIMIT: u64 = 64 << 20;

impl Installed {
    /// Reads the `shlibs` files in `admin`, usually `/var/lib/dpkg/info`, for `arch`.
    pub fn new(admin: &Path, arch: &str) -> Result<Self> {
        let mut shlibs = HashMap::new();
        let failed = || format!("cannot read '{}'", display(admin));
        let mut stems = Vec::new();
        for entry in std::fs::read_dir(admin).context(failed)? {
            let name = entry.context(failed)?.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".shlibs")) else {
                continue;
            };
            // Of packages that are there for several architectures only this one's count.
            if stem.split_once(':').is_none_or(|(_, of)| of == arch) {
                stems.push(stem.to_owned());
            }
        }
        // `libc6:amd64` before `libc6-i386`, which has the same names for another architecture.
        stems.sort_by_key(|stem| (!stem.contains(':'), stem.clone()));
        for stem in stems {
            let text = bk::file::read(&admin.join(format!("{stem}.shlibs")), LIMIT)?;
            for line in String::from_utf8_lossy(&text).lines() {
                if let Some((library, relation)) = shlibs_line(line) {
                    shlibs.entry(library).or_insert((stem.clone(), relation));
                }
            }
        }
        Ok(Installed { admin: admin.to_owned(), arch: arch.to_owned(), shlibs })
    }

    /// The architecture it is for.
    pub fn architecture(&self) -> &str {
        &self.arch
    }
}

/// `[type:] library version relation`. Lines with a type are for the installer (`udeb:`).
fn shlibs_line(line: &str) -> Option<((String, String), String)> {
    let line = line.split('#').next().unwrap_or(line).trim();
    let (library, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (version, relation) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let library = (!library.ends_with(':')).then(|| library.to_owned())?;
    Some(((library, version.to_owned()), relation.trim().to_owned()))
}

/// Library and version in a soname: `libc.so.6`, `libbfd-2.40.so` (deb-shlibs(5)).
fn split_soname(soname: &str) -> Option<(String, String)> {
    let (library, version) = match soname.split_once(".so.") {
        Some(parts) => parts,
        None => {
            let stem = soname.strip_suffix(".so")?;
            let digit = |at: usize| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit());
            let (at, _) = stem.match_indices('-').find(|(at, _)| digit(*at))?;
            (&stem[..at], &stem[at + 1..])
        }
    };
    Some((library.to_owned(), version.to_owned()))
}

impl Libraries for Installed {
    fn depends(&self, needed: &Needed) -> Result<Option<Vec<String>>> {
        let found = split_soname(&needed.soname).and_then(|key| self.shlibs.get(&key));
        let Some((stem, relation)) = found else { return Ok(None) };
        let symbols = self.admin.join(format!("{stem}.symbols"));
        if symbols.exists() {
            let text = bk::file::read(&symbols, LIMIT)?;
            if let Some(relations) = by_symbols(&String::from_utf8_lossy(&text), needed) {
                return Ok(Some(relations));
            }
        }
        Ok(Some(
            relation.split(',').map(|r| r.trim().to_owned()).filter(|r| !r.is_empty()).collect(),
        ))
    }
}

/// The relations that a `symbols` file gives for what is needed of a library, as dpkg-shlibdeps
/// finds them: the highest version of the symbols used, by template. `None` if it has no such
/// library.
fn by_symbols(text: &str, needed: &Needed) -> Option<Vec<String>> {
    let mut templates: Vec<&str> = Vec::new();
    let mut highest: BTreeMap<usize, &str> = BTreeMap::new();
    let (mut inside, mut smallest) = (false, None);
    for line in text.lines() {
        match line.as_bytes().first() {
            None | Some(b'#' | b'*') => {}
            Some(b'|') if inside => templates.push(line[1..].trim()),
            Some(b' ') if inside => {
                let mut words = line.split_ascii_whitespace();
                let (Some(symbol), Some(version)) = (words.next(), words.next()) else { continue };
                if smallest.is_none_or(|known| compare(version, known).is_lt()) {
                    smallest = Some(version);
                }
                if needed.symbols.contains(symbol) {
                    let template = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                    let known = highest.entry(template).or_insert(version);
                    if compare(version, known).is_gt() {
                        *known = version;
                    }
                }
            }
            Some(b' ' | b'|') => {}
            Some(_) if inside => break,
            Some(_) => {
                if let Some((soname, template)) = line.split_once(' ')
                    && soname == needed.soname
                {
                    inside = true;
                    templates.push(template.trim());
                }
            }
        }
    }
    // The library must be there even if no symbol of it is used: then any version the file knows.
    let first = *templates.first()?;
    let mut relations: BTreeSet<String> =
        relation(first, smallest.unwrap_or_default()).into_iter().collect();
    for (template, version) in highest {
        relations.extend(relation(templates.get(template).unwrap_or(&first), version));
    }
    Some(merge(relations))
}

/// Fills `#MINVER#` in.
fn relation(template: &str, version: &str) -> Vec<String> {
    let bound = match version {
        "" | "0" => String::new(),
        version => format!("(>= {version})"),
    };
    let text = template.replace("#MINVER#", &bound);
    text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// What is known of the libraries that wheels may expect of a system (PEP 600 and its lists of
/// allowed libraries), for systems whose own files are not at hand.
pub struct Known;

/// soname and package. Names with `t64` came with Debian's change to 64-bit time in 2024.
const PACKAGES: &[(&str, &str)] = &[
    ("libatomic.so.1", "libatomic1"),
    ("libexpat.so.1", "libexpat1"),
    ("libffi.so.8", "libffi8"),
    ("libgcc_s.so.1", "libgcc-s1"),
    ("libgfortran.so.5", "libgfortran5"),
    ("libglib-2.0.so.0", "libglib2.0-0t64 | libglib2.0-0"),
    ("libgobject-2.0.so.0", "libglib2.0-0t64 | libglib2.0-0"),
    ("libgthread-2.0.so.0", "libglib2.0-0t64 | libglib2.0-0"),
    ("libGL.so.1", "libgl1"),
    ("libEGL.so.1", "libegl1"),
    ("libgomp.so.1", "libgomp1"),
    ("libquadmath.so.0", "libquadmath0"),
    ("libcrypt.so.1", "libcrypt1"),
    ("libcrypto.so.3", "libssl3t64 | libssl3"),
    ("libssl.so.3", "libssl3t64 | libssl3"),
    ("libICE.so.6", "libice6"),
    ("libSM.so.6", "libsm6"),
    ("libstdc++.so.6", "libstdc++6"),
    ("libuuid.so.1", "libuuid1"),
    ("libX11.so.6", "libx11-6"),
    ("libxcb.so.1", "libxcb1"),
    ("libXext.so.6", "libxext6"),
    ("libXrender.so.1", "libxrender1"),
    ("libz.so.1", "zlib1g"),
];

/// The files of glibc; all are in one package. The loaders' names are each an architecture's.
const GLIBC: &[&str] = &[
    "libanl.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libmvec.so.1",
    "libnsl.so.1",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libthread_db.so.1",
    "libutil.so.1",
];

/// The GCC that brought a version of libstdc++ that its number does not tell, as GCC's manual
/// (libstdc++, ABI Policy and Guidelines) and Debian's symbols files have it.
const NODES: &[(&str, &str)] = &[
    ("GLIBCXX_3.4.9", "4.2.1"),
    ("GLIBCXX_3.4.10", "4.3"),
    ("GLIBCXX_3.4.11", "4.4"),
    ("GLIBCXX_3.4.12", "4.4"),
    ("GLIBCXX_3.4.13", "4.4.2"),
    ("GLIBCXX_3.4.14", "4.5"),
    ("GLIBCXX_3.4.15", "4.6"),
    ("GLIBCXX_3.4.16", "4.6"),
    ("GLIBCXX_3.4.17", "4.7"),
    ("GLIBCXX_3.4.18", "4.8"),
    ("GLIBCXX_3.4.19", "4.8"),
    ("GLIBCXX_3.4.20", "4.9"),
    ("GLIBCXX_3.4.21", "5.2"),
    ("GLIBCXX_3.4.22", "6"),
    ("GLIBCXX_3.4.23", "10.2"),
    ("GLIBCXX_3.4.24", "7"),
    ("GLIBCXX_3.4.25", "8"),
    ("GLIBCXX_3.4.26", "9"),
    ("GLIBCXX_3.4.27", "9.1"),
    ("GLIBCXX_3.4.28", "10.2"),
    ("GLIBCXX_3.4.29", "11"),
    ("GLIBCXX_3.4.30", "12"),
    ("GLIBCXX_3.4.31", "13.1"),
    ("GLIBCXX_3.4.32", "13.2"),
    ("GLIBCXX_3.4.33", "14"),
    ("GLIBCXX_3.4.34", "15"),
    ("CXXABI_1.3.2", "4.3"),
    ("CXXABI_1.3.3", "4.3"),
    ("CXXABI_1.3.4", "4.3"),
    ("CXXABI_1.3.5", "4.5"),
    ("CXXABI_1.3.6", "4.7"),
    ("CXXABI_1.3.7", "4.8"),
    ("CXXABI_1.3.8", "4.9"),
    ("CXXABI_1.3.9", "5"),
    ("CXXABI_1.3.10", "6"),
    ("CXXABI_1.3.11", "10.2"),
    ("CXXABI_1.3.12", "9"),
    ("CXXABI_1.3.13", "11"),
    ("CXXABI_1.3.14", "13"),
    ("CXXABI_1.3.15", "14"),
    ("GLIBC_ABI_DT_RELR", "2.36"),
    ("GLIBC_ABI_GNU_TLS", "2.42"),
    ("GLIBC_ABI_GNU2_TLS", "2.42"),
];

impl Libraries for Known {
    fn depends(&self, needed: &Needed) -> Result<Option<Vec<String>>> {
        let soname = needed.soname.as_str();
        let glibc = GLIBC.contains(&soname) || soname.starts_with("ld-linux");
        let known = PACKAGES.iter().find(|(name, _)| *name == soname).map(|(_, package)| *package);
        let Some(package) = glibc.then_some("libc6").or(known) else { return Ok(None) };
        let mut highest: Option<String> = None;
        for node in &needed.versions {
            if let Some(version) = node_version(package, node)
                && highest.as_ref().is_none_or(|known| compare(&version, known).is_gt())
            {
                highest = Some(version);
            }
        }
        Ok(Some(vec![match highest {
            Some(version) => format!("{package} (>= {version})"),
            None => package.to_owned(),
        }]))
    }
}

/// The version of a package that brought a version node.
fn node_version(package: &str, node: &str) -> Option<String> {
    if let Some((_, version)) = NODES.iter().find(|(name, _)| *name == node) {
        return Some((*version).to_owned());
    }
    let (family, version) = node.split_once('_')?;
    let number = version.starts_with(|c: char| c.is_ascii_digit())
        && version.chars().all(|c| c == '.' || c.is_ascii_digit());
    match (family, package) {
        ("GLIBC", "libc6") | ("GCC", "libgcc-s1") if number => Some(version.to_owned()),
        // zlib1g has an epoch.
        ("ZLIB", "zlib1g") if number => Some(format!("1:{version}")),
        _ => None,
    }
}

/// One relation a package, with the highest of the lower bounds; others stay as they are.
pub fn merge(relations: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut highest: BTreeMap<String, Option<String>> = BTreeMap::new();
    for relation in relations {
        let bound = relation.strip_suffix(')').and_then(|r| r.split_once(" (>= "));
        let (name, version): (String, Option<String>) = match bound {
            Some((name, version)) if !version.contains('|') => {
                (name.to_owned(), Some(version.to_owned()))
            }
            _ => (relation.clone(), None),
        };
        let known = highest.entry(name).or_default();
        let higher = match (&version, &known) {
            (Some(version), Some(known)) => compare(version, known).is_gt(),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if higher {
            *known = version;
        }
    }
    let written = |(name, version): (String, Option<String>)| match version {
        Some(version) => format!("{name} (>= {version})"),
        None => name,
    };
    highest.into_iter().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(soname: &str, versions: &[&str], symbols: &[&str]) -> Needed {
        let versions = versions.iter().map(|v| v.to_string()).collect();
        let symbols = symbols.iter().map(|s| Arc::from(*s)).collect();
        Needed { soname: soname.into(), versions, symbols }
    }

    #[test]
    fn this_systems_libraries_come_from_their_symbols() {
        let libraries = Installed::new(Path::new("/var/lib/dpkg/info"), "amd64").unwrap();
        let depends = |n: &Needed| libraries.depends(n).unwrap();
        let symbols = ["memcpy@GLIBC_2.14", "__libc_start_main@GLIBC_2.34", "x@Base"];
        assert_eq!(
            depends(&needed("libc.so.6", &[], &symbols)),
            Some(vec!["libc6 (>= 2.34)".into()])
        );
        assert_eq!(depends(&needed("libm.so.6", &[], &[])), Some(vec!["libc6 (>= 2.2.5)".into()]));
        let dashed = split_soname("libbfd-2.40-system.so").unwrap();
        assert_eq!(dashed, ("libbfd".into(), "2.40-system".into()));
        assert_eq!(depends(&needed("libnothing.so.1", &[], &[])), None);
    }

    #[test]
    fn templates_are_chosen_by_the_symbols_used() {
        let text = "libx.so.1 libx1 #MINVER#\n| libx1 (= 2), libx-data\n* Build-Depends-Package: x\n \
                    a@Base 1.2\n b@X_1 1.10\n c@PRIVATE 2 1\nliby.so.1 liby1 #MINVER#\n a@Base 9\n";
        let by = |symbols: &[&str]| by_symbols(text, &needed("libx.so.1", &[], symbols)).unwrap();
        assert_eq!(by(&["a@Base"]), ["libx1 (>= 1.2)"]);
        assert_eq!(by(&["a@Base", "b@X_1"]), ["libx1 (>= 1.10)"]);
        assert_eq!(by(&["c@PRIVATE"]), ["libx-data", "libx1 (>= 1.2)", "libx1 (= 2)"]);
        assert_eq!(by(&[]), ["libx1 (>= 1.2)"]);
    }

    #[test]
    fn other_systems_go_by_version_nodes() {
        let depends = |n: &Needed| Known.depends(n).unwrap();
        let c = needed("libc.so.6", &["GLIBC_2.2.5", "GLIBC_2.17", "GLIBC_PRIVATE"], &[]);
        assert_eq!(depends(&c), Some(vec!["libc6 (>= 2.17)".into()]));
        let cxx = needed("libstdc++.so.6", &["GLIBCXX_3.4.9", "CXXABI_1.3.9"], &[]);
        assert_eq!(depends(&cxx), Some(vec!["libstdc++6 (>= 5)".into()]));
        assert_eq!(depends(&needed("libunknown.so.3", &[], &[])), None);
    }

    #[test]
    fn relations_of_one_package_become_one() {
        let merged =
            merge(["libc6 (>= 2.4)", "a | b", "libc6", "libc6 (>= 2.14)"].map(String::from));
        assert_eq!(merged, ["a | b", "libc6 (>= 2.14)"]);
    }

    /// The table against the symbols files of this system, as far as those go.
    #[test]
    fn the_table_is_not_below_this_systems_symbols() {
        let path = "/var/lib/dpkg/info/libstdc++6:amd64.symbols";
        let text = std::fs::read_to_string(path).unwrap();
        for (node, version) in NODES.iter().filter(|(node, _)| node.starts_with("GLIBCXX")) {
            let line = text.lines().find(|l| l.starts_with(&format!(" {node}@{node} ")));
            if let Some(known) = line.and_then(|l| l.split_whitespace().nth(1)) {
                assert!(compare(version, known).is_ge(), "{node}: {version} < {known}");
            }
        }
    }
}
