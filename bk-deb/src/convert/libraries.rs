//! What the ELF files of a package need of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bk::Result;

use crate::distro::shlibs::{Libraries, Needed, merge};
use crate::elf::Elf;

/// Collects what is needed, file by file, and what the package brings itself.
#[derive(Debug, Default)]
pub struct Needs {
    needed: BTreeMap<String, Needed>,
    own: BTreeSet<String>,
    /// What defines symbols for others of the package, by soname.
    libraries: BTreeMap<String, Elf>,
    /// The files that are not linked against the C library, with their paths.
    apart: Vec<(String, Elf)>,
}

impl Needs {
    /// Takes in a file by its path and its name.
    pub fn add(&mut self, path: &str, name: &str, elf: Elf) {
        // Found beside the file that needs it, by RUNPATH: auditwheel's `*.libs` folders.
        self.own.insert(name.to_owned());
        self.own.extend(elf.soname.clone());
        // It may be any library's; deb-symbols(5) calls no version `Base`.
        let bare = elf.symbols.iter().filter(|symbol| symbol.version.is_none());
        let bare: Vec<Arc<str>> = bare.map(|s| format!("{}@Base", s.name).into()).collect();
        for soname in &elf.needed {
            let needed = self.needed.entry(soname.clone()).or_default();
            needed.soname.clone_from(soname);
            let versions = elf.versions.get(soname).map_or(&[][..], Vec::as_slice);
            needed.versions.extend(versions.iter().cloned());
            let symbols = elf.symbols.iter().filter_map(|symbol| match &symbol.version {
                Some(version) if versions.contains(version) => {
                    Some(format!("{}@{version}", symbol.name).into())
                }
                _ => None,
            });
            needed.symbols.extend(symbols.chain(bare.iter().cloned()));
        }
        if !elf.program && !elf.needed.iter().any(|soname| soname.starts_with("libc.so.")) {
            self.apart.push((path.to_owned(), elf.clone()));
        }
        if let Some(soname) = &elf.soname {
            self.libraries.insert(soname.clone(), elf);
        }
    }

    /// The files that need libraries, but prove to need nothing of the C library.
    pub fn without_libc(&self) -> impl Iterator<Item = &str> {
        let apart = self.apart.iter().filter(|(_, elf)| !elf.needed.is_empty());
        apart.filter(|(_, elf)| self.is_explained(elf)).map(|(path, _)| path.as_str())
    }

    /// The files that need no library, and prove to need none.
    pub fn needless(&self) -> impl Iterator<Item = &str> {
        let apart = self.apart.iter().filter(|(_, elf)| elf.needed.is_empty());
        apart.filter(|(_, elf)| self.is_explained(elf)).map(|(path, _)| path.as_str())
    }

    /// Whether every symbol that must be there is the interpreter's, that of a library of the
    /// package that the file names, or by its version another library's that it names.
    fn is_explained(&self, elf: &Elf) -> bool {
        let own: Vec<&Elf> =
            elf.needed.iter().filter_map(|soname| self.libraries.get(soname)).collect();
        let named = |version: &String| {
            elf.needed
                .iter()
                .any(|soname| elf.versions.get(soname).is_some_and(|v| v.contains(version)))
        };
        let mut symbols = elf.symbols.iter().filter(|symbol| !symbol.weak);
        symbols.all(|symbol| match &symbol.version {
            _ if own.iter().any(|library| library.defines(&symbol.name)) => true,
            Some(version) => named(version),
            None => symbol.name.starts_with("Py") || symbol.name.starts_with("_Py"),
        })
    }

    /// The relations that bring what is needed, and the names of what nobody is known to bring.
    pub fn resolve(self, libraries: &dyn Libraries) -> Result<(Vec<String>, Vec<String>)> {
        let (mut relations, mut unknown) = (Vec::new(), Vec::new());
        for (soname, needed) in &self.needed {
            if !self.own.contains(soname) {
                match libraries.depends(needed)? {
                    Some(found) => relations.extend(found),
                    None => unknown.push(soname.clone()),
                }
            }
        }
        Ok((merge(relations), unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Symbol;

    struct Recording;

    impl Libraries for Recording {
        fn depends(&self, needed: &Needed) -> Result<Option<Vec<String>>> {
            let symbols: Vec<&str> = needed.symbols.iter().map(|symbol| &**symbol).collect();
            Ok((needed.soname != "libgone.so").then(|| vec![symbols.join("|")]))
        }
    }

    #[test]
    fn own_libraries_are_not_asked_for_and_symbols_go_to_their_library() {
        let symbol = |name: &str, version: Option<&str>| Symbol {
            name: name.into(),
            version: version.map(str::to_owned),
            weak: false,
        };
        let elf = Elf {
            needed: ["libc.so.6", "libm.so.6", "libown-1.so", "libgone.so"]
                .map(String::from)
                .into(),
            versions: BTreeMap::from([
                ("libc.so.6".into(), vec!["C_1".into()]),
                ("libm.so.6".into(), vec!["M_1".into()]),
            ]),
            symbols: vec![symbol("c", Some("C_1")), symbol("m", Some("M_1")), symbol("x", None)],
            ..Elf::default()
        };
        let mut needs = Needs::default();
        needs.add("a.so", "a.so", elf);
        needs.add("x.libs/libown-1.so", "libown-1.so", Elf::default());
        let (relations, unknown) = needs.resolve(&Recording).unwrap();
        assert_eq!(relations, ["c@C_1|x@Base", "m@M_1|x@Base"]);
        assert_eq!(unknown, ["libgone.so"]);
    }
}
