//! What the ELF files of a package need of others.

use std::collections::{BTreeMap, BTreeSet};

use bk::Result;

use crate::distro::shlibs::{Libraries, Needed, merge};
use crate::elf::Elf;

/// Collects what is needed, file by file, and what the package brings itself.
#[derive(Debug, Default)]
pub struct Needs {
    needed: BTreeMap<String, Needed>,
    own: BTreeSet<String>,
}

impl Needs {
    /// Takes in a file by its name.
    pub fn add(&mut self, name: &str, elf: &Elf) {
        // Found beside the file that needs it, by RUNPATH: auditwheel's `*.libs` folders.
        self.own.insert(name.to_owned());
        self.own.extend(elf.soname.clone());
        for soname in &elf.needed {
            let needed = self.needed.entry(soname.clone()).or_default();
            needed.soname.clone_from(soname);
            let versions = elf.versions.get(soname).map_or(&[][..], Vec::as_slice);
            needed.versions.extend(versions.iter().cloned());
            let symbols = elf.symbols.iter().filter_map(|symbol| match &symbol.version {
                Some(version) if versions.contains(version) => {
                    Some(format!("{}@{version}", symbol.name))
                }
                Some(_) => None,
                // It may be any library's; deb-symbols(5) calls no version `Base`.
                None => Some(format!("{}@Base", symbol.name)),
            });
            needed.symbols.extend(symbols);
        }
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
            let symbols: Vec<&str> = needed.symbols.iter().map(String::as_str).collect();
            Ok((needed.soname != "libgone.so").then(|| vec![symbols.join("|")]))
        }
    }

    #[test]
    fn own_libraries_are_not_asked_for_and_symbols_go_to_their_library() {
        let symbol = |name: &str, version: Option<&str>| Symbol {
            name: name.into(),
            version: version.map(str::to_owned),
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
        needs.add("a.so", &elf);
        needs.add("libown-1.so", &Elf::default());
        let (relations, unknown) = needs.resolve(&Recording).unwrap();
        assert_eq!(relations, ["c@C_1|x@Base", "m@M_1|x@Base"]);
        assert_eq!(unknown, ["libgone.so"]);
    }
}
