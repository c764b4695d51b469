//! uv.lock: a graph for all platforms, of which the target's part is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, display, sanitize};
use pep508_rs::{ExtraName, MarkerTree, PackageName};
use serde::Deserialize;

use super::{File, Locked};
use crate::fetch::percent_decode;
use crate::target::Target;

#[derive(Deserialize)]
struct Lock {
    version: u32,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: Option<String>,
    #[serde(default)]
    source: BTreeMap<String, toml::Value>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Dependency>>,
    sdist: Option<Artifact>,
    #[serde(default)]
    wheels: Vec<Artifact>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    #[serde(default)]
    extra: Vec<String>,
}

#[derive(Deserialize)]
struct Artifact {
    url: Option<String>,
    path: Option<String>,
    hash: Option<String>,
}

/// What a lock says for one target.
#[derive(Debug, Default)]
pub struct Part {
    /// The versions.
    pub locked: Vec<Locked>,
    /// The extras of them that are needed.
    pub extras: Vec<(PackageName, ExtraName)>,
    /// The folders of the projects that it locks.
    pub projects: Vec<PathBuf>,
}

/// Reads a uv.lock that lies in `folder`: its projects, and what they need on `target`.
pub fn parse(text: &str, folder: &Path, target: &Target) -> Result<Part> {
    let lock: Lock = toml::from_str(text).context(|| "not a uv.lock".into())?;
    if lock.version != 1 {
        return Err(Error::new(format!("its format is {}, not 1", lock.version)));
    }
    let place = |package: &Package| -> Option<String> {
        let kinds = ["editable", "virtual", "directory"];
        let place = kinds.iter().find_map(|kind| package.source.get(*kind))?;
        Some(place.as_str().unwrap_or(".").to_owned())
    };
    let mut queue: Vec<(usize, Option<&str>)> = (0..lock.package.len())
        .filter(|at| place(&lock.package[*at]).is_some())
        .map(|at| (at, None))
        .collect();
    if queue.is_empty() {
        return Err(Error::new("it names no project"));
    }
    let mut seen = BTreeSet::new();
    while let Some((at, extra)) = queue.pop() {
        if !seen.insert((at, extra)) {
            continue;
        }
        let package = &lock.package[at];
        let dependencies = match extra {
            None => Some(&package.dependencies),
            Some(extra) => package.optional_dependencies.get(extra),
        };
        for dependency in dependencies.into_iter().flatten() {
            if let Some(marker) = &dependency.marker {
                let marker: MarkerTree = marker.parse()?;
                if !marker.evaluate(target.markers(), &[]) {
                    continue;
                }
            }
            let is = |package: &Package| {
                package.name == dependency.name
                    && (dependency.version.is_none() || package.version == dependency.version)
            };
            let found = lock.package.iter().position(is).ok_or_else(|| {
                Error::new(format!("it does not have '{}'", sanitize(&dependency.name)))
            })?;
            queue.push((found, None));
            queue.extend(dependency.extra.iter().map(|extra| (found, Some(extra.as_str()))));
        }
    }
    let mut part = Part::default();
    for (at, extra) in seen {
        let package = &lock.package[at];
        if let Some(extra) = extra {
            part.extras.push((package.name.parse()?, extra.parse()?));
            continue;
        }
        match place(package) {
            Some(_) if package.source.contains_key("virtual") => {}
            Some(place) => part.projects.push(folder.join(place)),
            None => {
                let locked = locked(package, folder);
                let locked =
                    locked.context(|| format!("cannot use '{}'", sanitize(&package.name)))?;
                part.locked.push(locked);
            }
        }
    }
    Ok(part)
}

fn locked(package: &Package, folder: &Path) -> Result<Locked> {
    if package.source.contains_key("git") {
        return Err(Error::new("it is a repository, not a release")
            .hint("check it out and name its folder beside the others"));
    }
    let version = package.version.as_ref().ok_or_else(|| Error::new("it has no version"))?;
    let file = |artifact: &Artifact| -> Result<File> {
        let url = match (&artifact.url, &artifact.path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => display(folder.join(path)),
            (None, None) => return Err(Error::new("a file of it has neither url nor path")),
        };
        let last = url.split(['?', '#']).next().and_then(|url| url.rsplit('/').next());
        let sha256 = artifact.hash.as_ref().and_then(|hash| hash.strip_prefix("sha256:"));
        Ok(File {
            name: percent_decode(last.unwrap_or(&url)),
            sha256: sha256.map(str::to_owned),
            url,
        })
    };
    Ok(Locked {
        name: package.name.parse()?,
        version: version.parse()?,
        wheels: package.wheels.iter().map(file).collect::<Result<_>>()?,
        sdist: package.sdist.as_ref().map(file).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distro::Distro;

    #[test]
    fn the_targets_part_is_taken() {
        let distro = Distro::from_lines("x", &["python3\t3.11.2-1\t", "libc6\t2.36-9\t"]);
        let target = Target::new(&distro, "amd64", None).unwrap();
        let lock = r#"
version = 1
[[package]]
name = "app"
version = "0.1"
source = { editable = "." }
dependencies = [
  { name = "a", extra = ["x"] },
  { name = "b", version = "1", marker = "python_full_version < '3.12'" },
  { name = "b", version = "2", marker = "python_full_version >= '3.12'" },
]
[[package]]
name = "a"
version = "1.0"
source = { registry = "https://INDEX/simple" }
sdist = { url = "https://x/a-1.0.tar.gz", hash = "sha256:00", size = 1 }
wheels = [{ url = "https://x/a-1.0-py3-none-any.whl", hash = "sha256:11" }]
[package.optional-dependencies]
x = [{ name = "c" }]
y = [{ name = "d" }]
[[package]]
name = "b"
version = "1"
source = { registry = "wheels" }
wheels = [{ path = "b-1-py3-none-any.whl" }]
[[package]]
name = "b"
version = "2"
source = { registry = "wheels" }
[[package]]
name = "c"
version = "3"
source = { registry = "https://INDEX/simple" }
[[package]]
name = "d"
version = "4"
source = { registry = "https://INDEX/simple" }
"#;
        let part = parse(lock, Path::new("/w"), &target).unwrap();
        let names: Vec<String> =
            part.locked.iter().map(|l| format!("{} {}", l.name, l.version)).collect();
        assert_eq!(names, ["a 1.0", "b 1", "c 3"]);
        assert_eq!(part.locked[0].wheels[0].sha256.as_deref(), Some("11"));
        assert_eq!(part.locked[1].wheels[0].url, "/w/b-1-py3-none-any.whl");
        assert_eq!(part.extras, [("a".parse().unwrap(), "x".parse().unwrap())]);
        assert_eq!(part.projects, [Path::new("/w/.")]);
        assert!(parse("version = 2", Path::new("/"), &target).is_err());
        assert!(parse("version = 1", Path::new("/"), &target).is_err());
    }
}
