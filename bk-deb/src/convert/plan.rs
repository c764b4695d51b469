//! What becomes of each file of a wheel, decided before any is written.

use std::collections::BTreeMap;

use bk::{Error, Result, sanitize};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::layout::{Layout, Place, Role, SITE};
use super::{Options, Package, docs, script};
use crate::python::wheel::Wheel;

/// What a stub of a namespace package has at most; real modules of a few lines are read to see.
const STUB: u64 = 2048;

/// Where an installed file's bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A member of the wheel, by its place in [`Wheel::members`].
    Member(usize),
    /// Made here.
    Text(Vec<u8>),
}

/// A file to install.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is for.
    pub role: Role,
    /// Where it comes from.
    pub source: Source,
}

/// The files to install, by path, and what is to be told about them.
#[derive(Debug, Default)]
pub struct Plan {
    /// Path without a slash in front.
    pub items: BTreeMap<String, Item>,
    /// What someone should know.
    pub warnings: Vec<String>,
    /// What goes without saying, unless asked.
    pub notes: Vec<String>,
}

impl Plan {
    /// Decides for a wheel.
    pub fn new(wheel: &mut Wheel, package: &Package, options: &Options) -> Result<Self> {
        let mut plan = Plan { warnings: wheel.oddities.clone(), ..Plan::default() };
        let exclude = globs(&options.exclude)?;
        let own_exclude = globs(&package.exclude)?;
        let mut excluded = 0;
        let dist_info = wheel.dist_info.clone();
        let layout = Layout {
            data: format!("{}.data", dist_info.trim_end_matches(".dist-info")),
            name: &wheel.metadata.name.clone(),
            package: &package.name,
            python: options.python,
        };
        let mut compiled = 0;
        for at in 0..wheel.members.len() {
            let path = wheel.members[at].path.clone();
            if let Some(file) = path.strip_prefix(&dist_info).and_then(|p| p.strip_prefix('/')) {
                // Written anew below; the others sign the old one, and INSTALLER is pip's to write.
                if ["RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED"].contains(&file)
                {
                    continue;
                }
            }
            let Some(place) = layout.place(&path) else {
                compiled += 1;
                continue;
            };
            if exclude.is_match(&path) || exclude.is_match(&place.path) {
                plan.notes.push(format!("'{path}' is left out, as asked for"));
                continue;
            }
            if own_exclude.is_match(&path) || own_exclude.is_match(&place.path) {
                plan.notes.push(format!("'{path}' is left out, as asked for"));
                excluded += 1;
                continue;
            }
            if plan.is_namespace(wheel, at, &place)? {
                continue;
            }
            plan.add(place, Source::Member(at))?;
        }
        if compiled > 0 {
            plan.notes
                .push(format!("{compiled} compiled modules are left out; py3compile makes them"));
        }
        plan.commands(wheel, &[&exclude, &own_exclude])?;
        plan.manuals(wheel)?;
        let commands = wheel.entry_points.iter().map(|entry| format!("usr/bin/{}", entry.name));
        excluded += commands.filter(|path| own_exclude.is_match(path)).count();
        if excluded == 0 && !package.exclude.is_empty() {
            plan.warnings.push("nothing in it is what was to be left out".into());
        }
        let place = Place {
            path: format!("{SITE}/{dist_info}/INSTALLER"),
            role: Role::Library,
            oddity: None,
        };
        // What pip tells who wants it to remove the package.
        plan.add(place, Source::Text(b"debian\n".to_vec()))?;
        Ok(plan)
    }

    /// Files that only make a folder a package that distributions share. Two packages cannot both
    /// have them, and Python 3 does without (PEP 420).
    fn is_namespace(&mut self, wheel: &mut Wheel, at: usize, place: &Place) -> Result<bool> {
        let Some(path) = place.path.strip_prefix(SITE).and_then(|p| p.strip_prefix('/')) else {
            return Ok(false);
        };
        if path.ends_with(".pth") && !path.contains('/') {
            if path.ends_with("-nspkg.pth") {
                self.warnings.push(format!(
                    "'{path}' is left out: Python 3 needs none for a namespace package"
                ));
                return Ok(true);
            }
            self.warnings.push(format!("'{path}' is read whenever Python starts"));
        }
        let Some(folder) = path.strip_suffix("/__init__.py") else { return Ok(false) };
        let declared = wheel.namespaces.contains(&folder.replace('/', "."));
        if wheel.members[at].size > STUB || (folder.contains('/') && !declared) {
            return Ok(false);
        }
        let text = wheel.bytes(at, STUB)?;
        if !is_stub(&String::from_utf8_lossy(&text)) {
            return Ok(false);
        }
        self.warnings.push(format!(
            "'{path}' is left out: it only declares a namespace package, which others share"
        ));
        Ok(true)
    }

    /// The scripts of entry points.
    fn commands(&mut self, wheel: &Wheel, exclude: &[&GlobSet]) -> Result<()> {
        for entry in &wheel.entry_points {
            let path = format!("usr/bin/{}", entry.name);
            if exclude.iter().any(|set| set.is_match(&path)) {
                self.notes.push(format!("the command '{}' is left out, as asked for", entry.name));
                continue;
            }
            if self.items.contains_key(&path) {
                self.warnings.push(format!("the command '{}' is there twice", entry.name));
                continue;
            }
            let text = script::entry_point(entry).into_bytes();
            self.add(Place { path, role: Role::Command, oddity: None }, Source::Text(text))?;
        }
        Ok(())
    }

    /// Manual pages for the commands that have none (Policy 12.1).
    fn manuals(&mut self, wheel: &Wheel) -> Result<()> {
        let commands = self.items.iter().filter(|(_, item)| item.role == Role::Command);
        let names = commands.filter_map(|(path, _)| path.strip_prefix("usr/bin/"));
        let names: Vec<String> =
            names.filter(|name| !name.contains('/')).map(str::to_owned).collect();
        for name in names {
            let pages = format!("usr/share/man/man1/{name}.1");
            if !self.items.keys().any(|path| path.starts_with(&pages)) {
                let entry = wheel.entry_points.iter().find(|entry| entry.name == name);
                let page = docs::manual(&name, entry, &wheel.metadata).into_bytes();
                let place = Place { path: pages, role: Role::Manual, oddity: None };
                self.add(place, Source::Text(page))?;
            }
        }
        Ok(())
    }

    /// Adds a file; two of one path, or below each other, are refused.
    pub fn add(&mut self, place: Place, source: Source) -> Result<()> {
        let Place { mut path, role, oddity } = place;
        self.warnings.extend(oddity);
        if role == Role::Manual {
            path.push_str(".gz");
        }
        if self.items.insert(path.clone(), Item { role, source }).is_some() {
            return Err(Error::new(format!("two of its files would be '/{}'", sanitize(&path)))
                .hint("leave one out with --exclude"));
        }
        Ok(())
    }

    /// The folders of modules that are no other distribution's too: regular packages that are in no
    /// other (PEP 420), by names that are identifiers.
    pub fn own_folders(&self) -> Vec<String> {
        let inside = |path: &str| {
            let folder = path.strip_suffix("/__init__.py")?;
            let name = folder.strip_prefix(SITE)?.strip_prefix('/')?;
            let good = |c: char| c.is_ascii_alphanumeric() || "_/".contains(c);
            name.chars().all(good).then(|| format!("{folder}/"))
        };
        let mut folders: Vec<String> = Vec::new();
        // In the order of their paths a folder comes before those in it.
        let mut all: Vec<String> = self.items.keys().filter_map(|path| inside(path)).collect();
        all.sort();
        for folder in all {
            if folders.last().is_none_or(|outer| !folder.starts_with(outer)) {
                folders.push(folder);
            }
        }
        folders.iter().map(|folder| folder.trim_end_matches('/').to_owned()).collect()
    }

    /// Refuses a file that is another's folder.
    pub fn check(&self) -> Result<()> {
        for path in self.items.keys() {
            for (end, _) in path.match_indices('/') {
                if self.items.contains_key(&path[..end]) {
                    let path = sanitize(&path[..end]);
                    return Err(Error::new(format!("'/{path}' would be a file and a folder"))
                        .hint("leave one out with --exclude"));
                }
            }
        }
        Ok(())
    }
}

/// `*` does not cross a slash, `**` does; a pattern without a slash is for names anywhere, and a
/// folder's pattern is for all in it.
fn globs(patterns: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let bare = pattern.trim_start_matches('/').trim_end_matches('/');
        let anywhere = if bare.contains('/') { bare.to_owned() } else { format!("**/{bare}") };
        for glob in [anywhere.clone(), format!("{anywhere}/**")] {
            let glob = GlobBuilder::new(&glob).literal_separator(true).build().map_err(|e| {
                Error::from(e)
                    .context(format!("'{}' is no pattern", sanitize(pattern)))
                    .status(bk::Status::Usage)
            })?;
            set.add(glob);
        }
    }
    Ok(set.build()?)
}

/// Whether a module does nothing but declare a namespace, with setuptools or pkgutil.
fn is_stub(text: &str) -> bool {
    let declares = text.contains("declare_namespace(") || text.contains("extend_path(");
    let mut quoted = false;
    declares
        && text.lines().map(str::trim).all(|line| {
            let quotes = line.matches("\"\"\"").count() + line.matches("'''").count();
            let inside = quoted || quotes > 0;
            quoted ^= quotes % 2 == 1;
            inside
                || line.is_empty()
                || line.starts_with('#')
                || ["try:", "pass"].contains(&line)
                || ["except ", "except:"].iter().any(|start| line.starts_with(start))
                || ["pkg_resources", "pkgutil", "extend_path", "declare_namespace"]
                    .iter()
                    .any(|word| line.contains(word))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stubs_are_stubs() {
        for stub in [
            "__import__('pkg_resources').declare_namespace(__name__)\n",
            "# this is a namespace package\ntry:\n    import pkg_resources\n    pkg_resources.declare_namespace(__name__)\nexcept ImportError:\n    import pkgutil\n    __path__ = pkgutil.extend_path(__path__, __name__)\n",
            "\"\"\"Shared\nby many.\"\"\"\nfrom pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n",
        ] {
            assert!(is_stub(stub), "{stub}");
        }
        for module in [
            "",
            "import x\n",
            "__version__ = '1'\n__import__('pkg_resources').declare_namespace(__name__)\n",
        ] {
            assert!(!is_stub(module), "{module}");
        }
    }

    #[test]
    fn patterns_match_names_anywhere_and_folders_whole() {
        let set = globs(&["*.c".into(), "a/tests".into(), "docs/".into()]).unwrap();
        for path in ["x.c", "a/b/x.c", "a/tests/x.py", "docs/x", "b/docs/y/x"] {
            assert!(set.is_match(path), "{path}");
        }
        for path in ["x.py", "b/a/tests/x.py", "tests/x"] {
            assert!(!set.is_match(path), "{path}");
        }
        assert!(globs(&["[".into()]).is_err());
    }
}
