//! What is built for: a suite, an architecture and a Python.

use bk::{Error, Result, Status};
use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};

use crate::debian::compression::Compression;
pub use crate::debian::own_arch;
use crate::distro::Distro;
use crate::python::tags::{Binding, Tag, machine};

/// What is built for.
#[derive(Clone, Debug)]
pub struct Target {
    /// The suite's code name, `bookworm`.
    pub suite: String,
    /// The Debian architecture, `amd64`.
    pub arch: String,
    /// The Python that `python3` is there.
    pub python: (u32, u32),
    /// Its C library, which manylinux tags (PEP 600) are held against.
    pub glibc: (u32, u32),
    /// What the suite's tools read best.
    pub compression: Compression,
    markers: MarkerEnvironment,
}

impl Target {
    /// The suite `distro` on `arch`, with the suite's own Python unless `python` says `3.13`.
    pub fn new(distro: &Distro, arch: &str, python: Option<&str>) -> Result<Self> {
        let machine = machine(arch).ok_or_else(|| {
            Error::new(format!(
                "'{}' is no architecture that wheels are made for",
                bk::sanitize(arch)
            ))
            .status(Status::Usage)
        })?;
        let own = distro.python();
        let (version, full) = match python {
            None => own.ok_or_else(|| {
                Error::new(format!("'{}' has no package 'python3'", distro.suite))
                    .hint("say which Python is meant with --python 3.11")
            })?,
            Some(text) => {
                let version = parse(text)?;
                match own.filter(|(own, _)| *own == version) {
                    Some(own) => own,
                    None => (version, format!("{}.{}.0", version.0, version.1)),
                }
            }
        };
        let short = format!("{}.{}", version.0, version.1);
        let markers = MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: &full,
            os_name: "posix",
            platform_machine: machine,
            platform_python_implementation: "CPython",
            // Of the kernel it will once run on nothing is known.
            platform_release: "",
            platform_system: "Linux",
            platform_version: "",
            python_full_version: &full,
            python_version: &short,
            sys_platform: "linux",
        })?;
        // lintian took zst members for errors until 2.117 (Debian 13, Ubuntu 24.04), whose suites
        // have dpkg 1.22. Level 5 of gzip takes the time of 4 and is 2 % smaller: Sphinx and what
        // it needs take 1.5 s either way, and come to 16.5 MB.
        let compression = match distro.dpkg_at_least("1.22") {
            true => Compression::Zstd(3),
            false => Compression::Gzip(5),
        };
        Ok(Target {
            suite: distro.suite.clone(),
            arch: arch.to_owned(),
            python: version,
            // Debian 10's, where nothing is known: what most wheels of today are made for.
            glibc: distro.glibc().unwrap_or((2, 28)),
            compression,
            markers,
        })
    }

    /// The environment that markers are evaluated in (PEP 508).
    pub fn markers(&self) -> &MarkerEnvironment {
        &self.markers
    }

    /// How well a wheel with this tag fits, the smaller the better; None if it does not run there.
    /// The order is that of PEP 425's reference, packaging's `sys_tags`.
    pub fn rank(&self, tag: &Tag) -> Option<(u32, u32)> {
        let binding = tag.binding(self.python)?;
        if !tag.runs_on(&self.arch) {
            return None;
        }
        let platform = self.platform(&tag.platform)?;
        let age = |minor: u32| self.python.1.saturating_sub(minor);
        let kind = match (binding, tag.abi.as_str(), tag.platform.as_str()) {
            (Binding::Only(..), "none", "any") => 300,
            (Binding::Only(..), "none", _) => 2,
            (Binding::Only(..), ..) => 0,
            (Binding::From(_, minor), "abi3", _) if age(minor) == 0 => 1,
            (Binding::From(_, minor), "abi3", _) => 2 + age(minor),
            (Binding::From(_, minor), _, "any") => 301 + age(minor),
            (Binding::Any, _, "any") => 302,
            (Binding::From(_, minor), ..) => 200 + age(minor),
            (Binding::Any, ..) => 201,
        };
        Some((kind, platform))
    }

    /// How far a platform is from this one; None if it needs a newer C library.
    fn platform(&self, platform: &str) -> Option<u32> {
        // PEP 600's table of the older names.
        let legacy = [("manylinux1_", 5), ("manylinux2010_", 12), ("manylinux2014_", 17)];
        let minor = match platform.strip_prefix("manylinux_2_") {
            Some(rest) => rest.split('_').next()?.parse().ok()?,
            None => match legacy.iter().find(|(name, _)| platform.starts_with(name)) {
                Some((_, minor)) => *minor,
                None if platform == "any" => return Some(0),
                // Made on some Linux for itself: the last choice.
                None => return Some(u32::MAX),
            },
        };
        (self.glibc.0, self.glibc.1).ge(&(2, minor)).then(|| self.glibc.1.saturating_sub(minor))
    }

    /// What uv calls this platform: it knows some C libraries of two machines by name.
    pub(crate) fn uv_platform(&self) -> String {
        let machine = machine(&self.arch).unwrap_or("x86_64");
        let known = match self.glibc.1 {
            ..28 => 17,
            28..31 => 28,
            newer => newer.min(40),
        };
        match machine {
            "x86_64" | "aarch64" => format!("{machine}-manylinux_2_{known}"),
            "riscv64" => "riscv64-unknown-linux".into(),
            _ => "linux".into(),
        }
    }

    /// The Python as `3.11`.
    pub fn python_version(&self) -> String {
        format!("{}.{}", self.python.0, self.python.1)
    }
}

fn parse(text: &str) -> Result<(u32, u32)> {
    let parse = || {
        let (major, minor) = text.strip_prefix("python").unwrap_or(text).split_once('.')?;
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    };
    parse().filter(|(major, _)| *major == 3).ok_or_else(|| {
        Error::new(format!("'{}' is no Python 3", bk::sanitize(text)))
            .hint("write it as 3.13")
            .status(Status::Usage)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::tags::expand;

    fn target() -> Target {
        let distro = Distro::from_lines(
            "bookworm",
            &["python3\t3.11.2-1+b1\t", "libc6\t2.36-9\t", "dpkg\t1.21.22\t"],
        );
        Target::new(&distro, "amd64", None).unwrap()
    }

    #[test]
    fn the_order_of_tags_is_packagings() {
        let script = "import sys; from packaging import tags as t
p = ['manylinux_2_36_x86_64', 'manylinux_2_28_x86_64', 'manylinux_2_17_x86_64', 'manylinux2014_x86_64',
     'manylinux_2_5_x86_64', 'manylinux1_x86_64', 'linux_x86_64']
for x in list(t.cpython_tags((3, 11), ['cp311'], p)) + list(t.compatible_tags((3, 11), 'cp311', p)):
    print(x)";
        let output = std::process::Command::new("python3").args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let target = target();
        let mut last = (0, 0);
        let mut seen = 0;
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let tag = &expand(line)[0];
            // Python 2's and the generic interpreters' names of long ago never meet Python 3.11.
            let Some(rank) = target.rank(tag) else {
                assert!(tag.abi == "abi3" || line.starts_with("cp3"), "{line} is not taken");
                continue;
            };
            // py311 … py30 on a platform come before the same without one; within, ours is by age.
            let grouped = (rank.0 / 100, if rank.0 < 100 { rank.0 } else { 0 });
            assert!(grouped >= last, "{line}: {rank:?} after {last:?}");
            (last, seen) = (grouped, seen + 1);
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn what_does_not_run_there_has_no_rank() {
        let target = target();
        for other in [
            "cp312-cp312-manylinux_2_17_x86_64",
            "cp311-cp311-manylinux_2_39_x86_64",
            "cp311-cp311-musllinux_1_2_x86_64",
            "cp311-cp311-win_amd64",
            "py2-none-any",
        ] {
            assert_eq!(target.rank(&expand(other)[0]), None, "{other}");
        }
        let rank = |tag: &str| target.rank(&expand(tag)[0]).unwrap();
        assert!(
            rank("cp311-cp311-manylinux_2_28_x86_64") < rank("cp311-cp311-manylinux2014_x86_64")
        );
        assert!(rank("cp311-cp311-manylinux1_x86_64") < rank("cp311-cp311-linux_x86_64"));
        assert!(rank("cp39-abi3-manylinux1_x86_64") < rank("py3-none-any"));
    }

    #[test]
    fn another_python_can_be_meant() {
        let distro = Distro::from_lines("x", &["dpkg\t1.22.6\t"]);
        assert!(Target::new(&distro, "amd64", None).is_err());
        assert!(Target::new(&distro, "amd64", Some("2.7")).is_err());
        assert!(Target::new(&distro, "vax", Some("3.13")).is_err());
        let target = Target::new(&distro, "arm64", Some("3.13")).unwrap();
        assert_eq!((target.python, target.compression), ((3, 13), Compression::Zstd(3)));
        assert_eq!(target.markers().platform_machine(), "aarch64");
    }
}
