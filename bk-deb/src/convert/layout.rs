//! Where the files of a wheel go: the installation schemes of Python, as Debian's Python has them
//! (Debian Python Policy 3, FHS 3.0).

/// Where Debian's Python looks for modules, whatever its version.
pub const SITE: &str = "usr/lib/python3/dist-packages";

/// What a file is for, as far as its permissions and its content depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A module, or data beside it.
    Library,
    /// A command.
    Command,
    /// A configuration file, which its owner may change.
    Config,
    /// A manual page, which Debian compresses.
    Manual,
    /// Anything else.
    Data,
}

/// Where a file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Without a slash in front.
    pub path: String,
    /// What it is for.
    pub role: Role,
    /// What is odd about where it wanted to go.
    pub oddity: Option<String>,
}

impl Place {
    fn new(path: String, role: Role) -> Self {
        Place { path, role, oddity: None }
    }
}

/// What places depend on.
pub struct Layout<'a> {
    /// `NAME-VERSION.data`, the folder of what does not go beside the modules.
    pub data: String,
    /// The distribution's name, under which its headers go.
    pub name: &'a str,
    /// The binary package, under which homeless files go.
    pub package: &'a str,
    /// The target's Python.
    pub python: (u32, u32),
}

impl Layout<'_> {
    /// Where the member `path` goes; `None` for what the machine makes itself: bytecode.
    pub fn place(&self, path: &str) -> Option<Place> {
        if path.ends_with(".pyc") || path.split('/').any(|part| part == "__pycache__") {
            return None;
        }
        let Some(rest) = path.strip_prefix(&self.data).and_then(|rest| rest.strip_prefix('/'))
        else {
            return Some(Place::new(format!("{SITE}/{path}"), Role::Library));
        };
        let Some((scheme, rest)) = rest.split_once('/') else {
            return Some(self.homeless(rest));
        };
        Some(match scheme {
            "purelib" | "platlib" => Place::new(format!("{SITE}/{rest}"), Role::Library),
            "scripts" => Place::new(format!("usr/bin/{rest}"), Role::Command),
            "headers" => {
                let (major, minor) = self.python;
                let name = self.name;
                Place::new(format!("usr/include/python{major}.{minor}/{name}/{rest}"), Role::Data)
            }
            "data" => self.prefixed(rest),
            _ => self.homeless(rest),
        })
    }

    /// Where a file below `sys.prefix`, which is `/usr`, goes.
    fn prefixed(&self, path: &str) -> Place {
        // `data_files` that were meant to be absolute; /usr/local is the administrator's (9.1.2).
        let path = path.strip_prefix("usr/").unwrap_or(path);
        let path = path.strip_prefix("local/").unwrap_or(path);
        let Some((top, rest)) = path.split_once('/') else { return self.homeless(path) };
        if let Some(site) = site(path) {
            return Place::new(format!("{SITE}/{site}"), Role::Library);
        }
        match top {
            "etc" => Place::new(path.to_owned(), Role::Config),
            "bin" | "sbin" | "games" => Place::new(format!("usr/{path}"), Role::Command),
            "man" => Place::new(format!("usr/share/{path}"), manual(rest)),
            "share" => {
                let role = rest.strip_prefix("man/").map_or(Role::Data, manual);
                Place::new(format!("usr/{path}"), role)
            }
            "lib" | "libexec" | "include" | "src" => Place::new(format!("usr/{path}"), Role::Data),
            "doc" | "docs" => {
                Place::new(format!("usr/share/doc/{}/{rest}", self.package), Role::Data)
            }
            _ => Place {
                path: format!("usr/{path}"),
                role: Role::Data,
                oddity: Some(format!(
                    "'{path}' goes to '/usr/{path}', where Debian has no such folder"
                )),
            },
        }
    }

    /// Files in no folder: with the documentation if that is what they are, else with the data.
    fn homeless(&self, path: &str) -> Place {
        let upper = path.to_ascii_uppercase();
        let documents =
            ["README", "LICEN", "COPYING", "CHANGE", "NOTICE", "AUTHORS", "NEWS", "HISTORY"];
        let folder = if documents.iter().any(|start| upper.starts_with(start)) {
            format!("usr/share/doc/{}", self.package)
        } else {
            format!("usr/share/{}", self.package)
        };
        Place {
            oddity: Some(format!("'{path}' is for no folder, and goes to '/{folder}'")),
            path: format!("{folder}/{path}"),
            role: Role::Data,
        }
    }
}

/// What is behind `lib/python3.x/site-packages/`.
fn site(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("lib/python")?;
    let (version, rest) = rest.split_once('/')?;
    let site =
        rest.strip_prefix("site-packages/").or_else(|| rest.strip_prefix("dist-packages/"))?;
    version.starts_with('3').then_some(site)
}

/// `manN/page.N`, maybe under a language.
fn manual(path: &str) -> Role {
    let page = path.rsplit('/').next().unwrap_or(path);
    let section = |text: &str| text.starts_with(|c: char| ('1'..='9').contains(&c));
    match page.rsplit_once('.') {
        Some((_, last)) if section(last) => Role::Manual,
        _ => Role::Data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_has_its_place() {
        let layout =
            Layout { data: "a-1.data".into(), name: "a", package: "python3-a", python: (3, 11) };
        for (member, path, role, odd) in [
            ("a/b.py", "usr/lib/python3/dist-packages/a/b.py", Role::Library, false),
            (
                "a-1.dist-info/METADATA",
                "usr/lib/python3/dist-packages/a-1.dist-info/METADATA",
                Role::Library,
                false,
            ),
            ("a-1.data/platlib/a.so", "usr/lib/python3/dist-packages/a.so", Role::Library, false),
            ("a-1.data/scripts/x", "usr/bin/x", Role::Command, false),
            ("a-1.data/headers/x.h", "usr/include/python3.11/a/x.h", Role::Data, false),
            ("a-1.data/data/etc/jupyter/x.json", "etc/jupyter/x.json", Role::Config, false),
            ("a-1.data/data/share/icons/x.svg", "usr/share/icons/x.svg", Role::Data, false),
            ("a-1.data/data/share/man/man1/x.1", "usr/share/man/man1/x.1", Role::Manual, false),
            ("a-1.data/data/share/man/man1/x.1.gz", "usr/share/man/man1/x.1.gz", Role::Data, false),
            ("a-1.data/data/man/de/man8/x.8", "usr/share/man/de/man8/x.8", Role::Manual, false),
            ("a-1.data/data/usr/local/bin/x", "usr/bin/x", Role::Command, false),
            (
                "a-1.data/data/lib/python3.8/site-packages/y.py",
                "usr/lib/python3/dist-packages/y.py",
                Role::Library,
                false,
            ),
            ("a-1.data/data/LICENSE", "usr/share/doc/python3-a/LICENSE", Role::Data, true),
            ("a-1.data/data/x.ini", "usr/share/python3-a/x.ini", Role::Data, true),
            ("a-1.data/data/models/x", "usr/models/x", Role::Data, true),
        ] {
            let place = layout.place(member).unwrap();
            assert_eq!((place.path.as_str(), place.role), (path, role), "{member}");
            assert_eq!(place.oddity.is_some(), odd, "{member}");
        }
        assert_eq!(layout.place("a/__pycache__/b.cpython-311.pyc"), None);
        assert_eq!(layout.place("a/b.pyc"), None);
    }
}
