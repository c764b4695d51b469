//! Wheel file names and compatibility tags (PEP 425, PEP 427, PEP 600).

use std::fmt;

use bk::{Error, Result};

/// One compatibility tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// `py3`, `cp311`, …
    pub python: String,
    /// `none`, `abi3`, `cp311`, …
    pub abi: String,
    /// `any`, `manylinux_2_17_x86_64`, …
    pub platform: String,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.python, self.abi, self.platform)
    }
}

/// What a wheel's file name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    /// The distribution, as it is written there.
    pub name: String,
    /// Its version, as it is written there.
    pub version: String,
    /// The build tag, which orders wheels of the same version.
    pub build: Option<String>,
    /// All tags of its compressed set.
    pub tags: Vec<Tag>,
}

/// Reads `NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`.
pub fn parse_file_name(file_name: &str) -> Result<FileName> {
    let bad = |why: &str| {
        Error::new(format!("'{}' is no wheel's file name: {why}", bk::sanitize(file_name)))
            .hint("a wheel is named NAME-VERSION-PYTHON-ABI-PLATFORM.whl (PEP 427)")
    };
    let stem = file_name.strip_suffix(".whl").ok_or_else(|| bad("it does not end in '.whl'"))?;
    let parts: Vec<&str> = stem.split('-').collect();
    let (name, version, build, tags) = match parts.as_slice() {
        [name, version, tags @ ..] if tags.len() == 3 => (name, version, None, tags),
        [name, version, build, tags @ ..] if tags.len() == 3 => {
            if !build.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(bad("its build tag does not start with a digit"));
            }
            (name, version, Some(*build), tags)
        }
        _ => return Err(bad("it has not five or six parts")),
    };
    let part = |text: &str| {
        text.starts_with(char::is_alphanumeric)
            && text.chars().all(|c| c.is_alphanumeric() || "_.+!".contains(c))
    };
    if ![name, version].into_iter().chain(tags).all(|text| part(text)) {
        return Err(bad("a part has other characters than letters, digits, '_', '.', '+', '!'"));
    }
    let tags = expand(&tags.join("-"));
    Ok(FileName {
        name: (*name).into(),
        version: (*version).into(),
        build: build.map(str::to_owned),
        tags,
    })
}

/// The tags of a compressed set: `py2.py3-none-any` is two.
pub fn expand(set: &str) -> Vec<Tag> {
    let mut parts = set.split('-');
    let (Some(pythons), Some(abis), Some(platforms)) = (parts.next(), parts.next(), parts.next())
    else {
        return Vec::new();
    };
    let mut tags = Vec::new();
    for python in pythons.split('.') {
        for abi in abis.split('.') {
            for platform in platforms.split('.') {
                // Names of a few parts each; a set made to explode is cut where none is real.
                if tags.len() < 1000 {
                    tags.push(Tag {
                        python: python.into(),
                        abi: abi.into(),
                        platform: platform.into(),
                    });
                }
            }
        }
    }
    tags
}

/// How closely a wheel is bound to a Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Binding {
    /// Runs on any Python 3 (`py3-none`).
    Any,
    /// Runs on this version and all later ones (`cp39-abi3`, `py39-none`).
    From(u32, u32),
    /// Runs on this version alone (`cp311-cp311`).
    Only(u32, u32),
}

impl Tag {
    /// How a wheel with this tag is bound to Python, if it runs on CPython `python`.
    pub fn binding(&self, python: (u32, u32)) -> Option<Binding> {
        let version = |text: &str| {
            let text = text.split_once('_').map_or(text, |(major, _)| major);
            let (major, minor) = text.split_at_checked(1)?;
            let minor = if minor.is_empty() { None } else { Some(minor.parse::<u32>().ok()?) };
            Some((major.parse::<u32>().ok()?, minor))
        };
        if let Some(generic) = self.python.strip_prefix("py") {
            let (major, minor) = version(generic)?;
            return match (self.abi.as_str(), minor) {
                ("none", None) if major == python.0 => Some(Binding::Any),
                ("none", Some(minor)) if major == python.0 && minor <= python.1 => {
                    Some(Binding::From(major, minor))
                }
                _ => None,
            };
        }
        let (major, minor) = version(self.python.strip_prefix("cp")?)?;
        let minor = minor.unwrap_or(0);
        match self.abi.as_str() {
            "abi3" if major == python.0 && minor <= python.1 => Some(Binding::From(major, minor)),
            // `cp37m` and the like are the Pythons before 3.8; `cp313t` is another Python.
            abi if (major, minor) == python && (abi == "none" || abi == self.python) => {
                Some(Binding::Only(major, minor))
            }
            _ => None,
        }
    }

    /// Whether it is for Linux with glibc on `arch`, a Debian architecture, or for any platform.
    pub fn runs_on(&self, arch: &str) -> bool {
        if self.platform == "any" {
            return true;
        }
        let Some(rest) =
            self.platform.strip_prefix("manylinux").or_else(|| self.platform.strip_prefix("linux"))
        else {
            return false;
        };
        machine(arch).is_some_and(|machine| {
            rest.strip_suffix(machine).is_some_and(|before| before.ends_with('_'))
        })
    }
}

/// The machine in platform tags (`uname -m`) of a Debian architecture.
pub fn machine(arch: &str) -> Option<&'static str> {
    Some(match arch {
        "amd64" => "x86_64",
        "i386" => "i686",
        "arm64" => "aarch64",
        "armhf" => "armv7l",
        "armel" => "armv6l",
        "ppc64el" => "ppc64le",
        "s390x" => "s390x",
        "riscv64" => "riscv64",
        "loong64" => "loongarch64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn file_names_have_five_or_six_parts() {
        let name =
            parse_file_name("a_b-1.0+x-1b-cp39-abi3-manylinux1_x86_64.linux_x86_64.whl").unwrap();
        assert_eq!(name.build.as_deref(), Some("1b"));
        assert_eq!(name.tags.len(), 2);
        assert_eq!(name.tags[1].to_string(), "cp39-abi3-linux_x86_64");
        for bad in [
            "a.whl",
            "a-1-py3-none-any.zip",
            "a-1-x-py3-none-any.whl",
            "-1-py3-none-any.whl",
            "a b-1-py3-none-any.whl",
        ] {
            assert!(parse_file_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_binds_to_python() {
        let binding = |set: &str| expand(set)[0].binding((3, 11));
        assert_eq!(binding("py3-none-any"), Some(Binding::Any));
        assert_eq!(binding("py39-none-any"), Some(Binding::From(3, 9)));
        assert_eq!(binding("cp39-abi3-any"), Some(Binding::From(3, 9)));
        assert_eq!(binding("cp311-cp311-any"), Some(Binding::Only(3, 11)));
        assert_eq!(binding("cp311-none-any"), Some(Binding::Only(3, 11)));
        for other in [
            "cp310-cp310-any",
            "cp312-abi3-any",
            "py2-none-any",
            "pp39-pypy39_pp73-any",
            "cp311-cp311t-any",
            "cp27-cp27mu-any",
            "py313-none-any",
        ] {
            assert_eq!(binding(other), None, "{other}");
        }
    }

    #[test]
    fn a_platform_is_an_architecture() {
        let runs =
            |platform: &str, arch: &str| expand(&format!("py3-none-{platform}"))[0].runs_on(arch);
        assert!(runs("any", "s390x"));
        assert!(runs("manylinux_2_17_x86_64", "amd64"));
        assert!(runs("manylinux2014_aarch64", "arm64"));
        assert!(runs("linux_i686", "i386"));
        for platform in
            ["musllinux_1_2_x86_64", "win_amd64", "macosx_11_0_x86_64", "manylinux_2_17_aarch64"]
        {
            assert!(!runs(platform, "amd64"), "{platform}");
        }
    }

    proptest! {
        #[test]
        fn foreign_names_never_panic(name in "[a-z0-9\u{e9}._-]{0,40}", python in "[a-z0-9\u{e9}_]{0,8}") {
            drop(parse_file_name(&format!("{name}.whl")));
            let tag = Tag { python: python.clone(), abi: "none".into(), platform: python };
            tag.binding((3, 11));
            tag.runs_on("amd64");
        }
    }
}
