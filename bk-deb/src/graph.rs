//! Which of the chosen versions are built and which the distribution has, and what depends on what.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bk::{Error, Result};
use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{ExtraName, PackageName, Requirement, VersionOrUrl};
use rayon::prelude::*;

use crate::debian::version::compare;
use crate::distro::Distro;
use crate::mapping::name::{self, Names};
use crate::mapping::relation::{relations, satisfied};
use crate::mapping::version;
use crate::python::lock::{File, Locked};
use crate::target::Target;

/// What is done with a dependency that the distribution has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Reuse {
    /// It is used where its version will do
    #[default]
    Prefer,
    /// It is built all the same
    Never,
    /// Everything but what is named must come from the distribution
    Require,
}

/// How names are mapped, beyond what the distribution says.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Python name → Debian package (`--rename`).
    pub rename: HashMap<PackageName, String>,
    /// Requirements that are left out (`--delete`).
    pub delete: BTreeSet<PackageName>,
    /// Debian packages that are never built (`--distro-dep`).
    pub distro: BTreeSet<String>,
}

impl Rules {
    /// The distribution's package and version of a Python distribution, if it may be used.
    pub fn candidate(
        &self,
        distro: &Distro,
        reuse: Reuse,
        name: &PackageName,
    ) -> Option<(String, String, Version)> {
        if let Some(package) = self.rename.get(name).filter(|p| self.distro.contains(*p)) {
            let there = distro.version(package)?.to_owned();
            let python = version::python(&there)?;
            return Some((package.clone(), there, python));
        }
        if reuse == Reuse::Never {
            return None;
        }
        distro.installed(name)
    }
}

/// How many series back an upgrade may come from: further than that, `apt-get install` is needed.
const SERIES: u64 = 3;

fn series(package: &str, major: u64) -> String {
    format!("{package}-v{major}")
}

/// The database of time zones, as Python's index and Debian both call it.
const TIME_ZONES: &str = "tzdata";

/// A distribution whose metadata was read.
pub struct Loaded {
    /// Its wheel.
    pub wheel: File,
    /// What it requires, markers and all.
    pub requires: Vec<Requirement>,
}

/// A package to be built.
pub struct Node {
    /// The distribution.
    pub name: PackageName,
    /// Its version.
    pub python_version: Version,
    /// Its wheel.
    pub wheel: File,
    /// The binary package.
    pub package: String,
    /// Its upstream version, with epoch.
    pub version: String,
    /// The distribution's package that it stands in place of, where it has another name.
    pub instead: Option<String>,
    /// Others whose place it takes, but whose name it has not: the series before it that have a name of
    /// their own, and the distribution's package that has it as a part.
    pub replaced: Vec<String>,
    /// The distribution's packages, and all after them, that do not do for what it requires a series of:
    /// where that takes the place of one of them, apt goes by what requires it.
    pub breaks: Vec<String>,
    /// Relations of its requirements.
    pub depends: Vec<String>,
    /// The extras whose requirements are among them.
    pub extras: Vec<ExtraName>,
    /// The distributions among the nodes that it requires.
    pub requires: Vec<PackageName>,
}

/// What came of it.
#[derive(Default)]
pub struct Graph {
    /// What is to be built, by name.
    pub nodes: Vec<Node>,
    /// The distribution's packages that are used, and their versions.
    pub reused: BTreeMap<String, String>,
    /// What could not be had, and why.
    pub failed: Vec<(PackageName, Error)>,
}

impl Graph {
    /// Every package of it: the version of what is built with `revision`, none of what the
    /// distribution has.
    pub fn suite(&self, revision: &str) -> BTreeMap<String, Option<String>> {
        let built = self
            .nodes
            .iter()
            .map(|node| (node.package.clone(), Some(format!("{}-{revision}", node.version))));
        self.reused.keys().map(|package| (package.clone(), None)).chain(built).collect()
    }
}

/// What a distribution is called as a package.
#[derive(Clone)]
struct Called {
    package: String,
    instead: Option<String>,
}

impl Called {
    /// What the distribution calls it.
    fn there(&self) -> &str {
        self.instead.as_ref().unwrap_or(&self.package)
    }
}

/// One requirement of one distribution, as it applies.
struct Edge {
    name: PackageName,
    extras: Vec<ExtraName>,
    specifiers: VersionSpecifiers,
}

/// A walk from what is asked for along the requirements.
#[derive(Default)]
struct Walk {
    /// What was reached, with all extras that are asked of it.
    extras: BTreeMap<PackageName, BTreeSet<ExtraName>>,
    edges: BTreeMap<PackageName, Vec<Edge>>,
    reused: BTreeSet<PackageName>,
    /// Reached, but not yet loaded.
    missing: BTreeSet<PackageName>,
}

/// What is known while the graph grows.
pub struct Grower<'a> {
    /// The suite.
    pub distro: &'a Distro,
    /// What is built for.
    pub target: &'a Target,
    /// Who wins where both are to be had.
    pub reuse: Reuse,
    /// How names are mapped.
    pub rules: &'a Rules,
    /// The versions that were chosen.
    pub locked: HashMap<PackageName, Locked>,
    /// What is built though the distribution may have it.
    pub built: BTreeSet<PackageName>,
    /// Finds a distribution's wheel and reads its requirements.
    pub load: &'a (dyn Fn(&Locked) -> Result<Loaded> + Sync),
}

impl Grower<'_> {
    /// Grows the graph from what is asked for, which is built in any case.
    pub fn grow(&self, roots: &[(PackageName, Vec<ExtraName>)]) -> Result<Graph> {
        let mut built: BTreeSet<PackageName> = roots.iter().map(|(name, _)| name.clone()).collect();
        built.extend(self.built.iter().cloned());
        let mut loaded: HashMap<PackageName, Result<Loaded>> = HashMap::new();
        loop {
            let walk = self.walk(roots, &built, &loaded);
            if !walk.missing.is_empty() {
                let missing: Vec<_> = walk.missing.into_iter().collect();
                let load = |name: PackageName| {
                    let loaded = (self.load)(&self.locked[&name]);
                    (name, loaded)
                };
                let more: Vec<_> = missing.into_par_iter().map(load).collect();
                loaded.extend(more);
                continue;
            }
            // A version that does for one requirement may not do for another.
            let unfit = self.unfit(&walk)?;
            if unfit.is_empty() {
                return Ok(self.finish(&walk, loaded));
            }
            built.extend(unfit);
        }
    }

    fn walk(
        &self,
        roots: &[(PackageName, Vec<ExtraName>)],
        built: &BTreeSet<PackageName>,
        loaded: &HashMap<PackageName, Result<Loaded>>,
    ) -> Walk {
        let mut walk = Walk::default();
        let mut queue: Vec<(PackageName, Vec<ExtraName>)> = roots.to_vec();
        while let Some((name, extras)) = queue.pop() {
            let known = walk.extras.contains_key(&name);
            let asked = walk.extras.entry(name.clone()).or_default();
            let before = asked.len();
            asked.extend(extras);
            if known && asked.len() == before {
                continue;
            }
            let asked: Vec<ExtraName> = asked.iter().cloned().collect();
            let edges = match loaded.get(&name) {
                None => {
                    walk.missing.insert(name);
                    continue;
                }
                Some(Err(_)) => continue,
                Some(Ok(loaded)) => self.edges(loaded, &asked),
            };
            let mut all = Vec::new();
            let mut stack = edges;
            let mut seen = BTreeSet::new();
            while let Some(edge) = stack.pop() {
                if edge.name == name {
                    queue.push((name.clone(), edge.extras));
                    continue;
                }
                if !built.contains(&edge.name)
                    && self.rules.candidate(self.distro, self.reuse, &edge.name).is_some()
                {
                    walk.reused.insert(edge.name.clone());
                    // The distribution's package has no extras: what they need, we need.
                    if !edge.extras.is_empty()
                        && seen.insert((edge.name.clone(), edge.extras.clone()))
                    {
                        match loaded.get(&edge.name) {
                            None if self.locked.contains_key(&edge.name) => {
                                walk.missing.insert(edge.name.clone());
                            }
                            Some(Ok(loaded)) => {
                                let plain = self.edges(loaded, &[]);
                                let mut more = self.edges(loaded, &edge.extras);
                                more.retain(|m| !plain.iter().any(|p| p.name == m.name));
                                stack.extend(more);
                            }
                            _ => {}
                        }
                    }
                } else if self.locked.contains_key(&edge.name) {
                    queue.push((edge.name.clone(), edge.extras.clone()));
                }
                all.push(edge);
            }
            all.sort_by(|a, b| a.name.cmp(&b.name));
            walk.edges.insert(name, all);
        }
        walk
    }

    /// The requirements that apply with `extras`.
    fn edges(&self, loaded: &Loaded, extras: &[ExtraName]) -> Vec<Edge> {
        loaded
            .requires
            .iter()
            .filter(|r| r.evaluate_markers(self.target.markers(), extras))
            .filter(|r| !self.rules.delete.contains(&r.name))
            .map(|r| Edge {
                name: r.name.clone(),
                extras: r.extras.clone(),
                specifiers: match &r.version_or_url {
                    Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers.clone(),
                    _ => VersionSpecifiers::empty(),
                },
            })
            .collect()
    }

    /// Whether it requires `tzdata` of Python's index, but not here: zoneinfo reads the system's
    /// database where there is one, and a Debian without the package of it is no rarity.
    fn wants_time_zones(&self, loaded: &Loaded, extras: &[ExtraName]) -> bool {
        let here = self.target.markers();
        let windows = here.clone().with_os_name("nt").with_platform_system("Windows");
        let windows = windows.with_sys_platform("win32");
        let mut wanted = loaded
            .requires
            .iter()
            .filter(|r| r.name.as_ref() == TIME_ZONES && !self.rules.delete.contains(&r.name));
        self.distro.version(TIME_ZONES).is_some()
            && wanted
                .any(|r| !r.evaluate_markers(here, extras) && r.evaluate_markers(&windows, extras))
    }

    /// What is used from the distribution, though its version does not do.
    fn unfit(&self, walk: &Walk) -> Result<BTreeSet<PackageName>> {
        let mut unfit = BTreeSet::new();
        for (requester, edge) in
            walk.edges.iter().flat_map(|(r, all)| all.iter().map(move |e| (r, e)))
        {
            let used = walk.reused.contains(&edge.name);
            let found = self.rules.candidate(self.distro, self.reuse, &edge.name);
            let fits = found.as_ref().is_some_and(|(package, there, python)| {
                let epoch = self.distro.epoch(package);
                let relations = relations(package, &edge.specifiers, epoch, Some(python));
                edge.specifiers.contains(python) && satisfied(&relations, there)
            });
            if self.reuse == Reuse::Require && !fits && !walk.extras.contains_key(&edge.name) {
                let has =
                    found.map_or("has no package of it".into(), |(p, v, _)| format!("has {p} {v}"));
                return Err(Error::new(format!(
                    "'{requester}' requires '{}{}', but {} {has}",
                    edge.name, edge.specifiers, self.distro.suite
                ))
                .hint("build it too: name it, or use --reuse prefer"));
            }
            if used && !fits && self.locked.contains_key(&edge.name) {
                unfit.insert(edge.name.clone());
            }
        }
        Ok(unfit)
    }

    fn finish(&self, walk: &Walk, mut loaded: HashMap<PackageName, Result<Loaded>>) -> Graph {
        let mut graph = Graph::default();
        let names = self.names(walk);
        let package_of = |name: &PackageName| -> Called {
            let called = || Called { package: self.package(name), instead: None };
            names.get(name).cloned().unwrap_or_else(called)
        };
        for (name, extras) in &walk.extras {
            let found = match loaded.remove(name) {
                Some(Ok(found)) => found,
                Some(Err(error)) => {
                    graph.failed.push((name.clone(), error));
                    continue;
                }
                None => continue,
            };
            let edges = walk.edges.get(name).map(Vec::as_slice).unwrap_or_default();
            let (mut depends, mut breaks) = (Vec::<String>::new(), Vec::new());
            for edge in edges {
                let used = if walk.extras.contains_key(&edge.name) {
                    None
                } else {
                    self.rules.candidate(self.distro, self.reuse, &edge.name)
                };
                let (called, resolved) = match used {
                    Some((package, there, python)) => {
                        graph.reused.insert(package.clone(), there);
                        (Called { package, instead: None }, Some(python))
                    }
                    None => (
                        package_of(&edge.name),
                        self.locked.get(&edge.name).map(|l| l.version.clone()),
                    ),
                };
                let epoch = self.distro.epoch(called.there());
                if let Some(plain) = &called.instead
                    && let Some(there) = self.distro.version(plain)
                {
                    breaks.push(format!("{plain} (>= {there})"));
                }
                let package = called.package;
                let mut wanted = relations(&package, &edge.specifiers, epoch, resolved.as_ref());
                if walk.extras.contains_key(&edge.name) {
                    for extra in &edge.extras {
                        let package = name::extra(&package, extra.as_ref());
                        wanted.extend(relations(
                            &package,
                            &edge.specifiers,
                            epoch,
                            resolved.as_ref(),
                        ));
                    }
                }
                // A bound says more than the bare name.
                wanted.retain(|w| !depends.contains(w));
                depends.extend(wanted);
            }
            let bounded: BTreeSet<String> = depends
                .iter()
                .filter_map(|d| d.split_once(" ("))
                .map(|(p, _)| p.to_owned())
                .collect();
            depends.retain(|relation| !bounded.contains(relation));
            let asked: Vec<ExtraName> = extras.iter().cloned().collect();
            if self.wants_time_zones(&found, &asked) {
                depends.push(TIME_ZONES.into());
            }
            let locked = &self.locked[name];
            let called = package_of(name);
            let version = version::debian(&locked.version, self.distro.epoch(called.there()));
            if let Err(error) = crate::debian::version::Version::parse(&version) {
                let what = format!("'{}' cannot be a version of a Debian package", locked.version);
                let hint = "leave it out with --exclude, or choose another version of it";
                graph.failed.push((name.clone(), error.context(what).hint(hint)));
                continue;
            }
            let mut replaced = self.series(&called, &locked.version);
            replaced.extend(self.distro.whole(name).map(str::to_owned));
            let requires: BTreeSet<&PackageName> =
                edges.iter().map(|e| &e.name).filter(|n| walk.extras.contains_key(*n)).collect();
            graph.nodes.push(Node {
                name: name.clone(),
                python_version: locked.version.clone(),
                wheel: found.wheel,
                version,
                breaks,
                replaced,
                package: called.package,
                instead: called.instead,
                depends,
                extras: asked,
                requires: requires.into_iter().cloned().collect(),
            });
        }
        graph
    }

    fn package(&self, name: &PackageName) -> String {
        self.rules.rename.get(name).cloned().unwrap_or_else(|| self.distro.package(name))
    }

    /// The packages of what is built; where `python-x` and `x` would be the same, one keeps its
    /// prefix.
    fn names(&self, walk: &Walk) -> HashMap<PackageName, Called> {
        let mut taken = BTreeSet::new();
        let mut names = HashMap::new();
        for name in walk.extras.keys() {
            let mut called = Called { package: self.package(name), instead: None };
            if let Some(series) = self.passed_over(walk, name, &called.package) {
                called.instead = Some(std::mem::replace(&mut called.package, series));
            }
            if !taken.insert(called.package.clone()) {
                called.package = format!("python3-{name}");
                taken.insert(called.package.clone());
            }
            names.insert(name.clone(), called);
        }
        names
    }

    /// The name of a series of its own for a package that apt would not take: it goes by the highest
    /// version of a name, which is the distribution's here, though that is not what is required. So
    /// Debian has python3-sqlalchemy1.4 where others still require the series before the last.
    fn passed_over(&self, walk: &Walk, name: &PackageName, package: &str) -> Option<String> {
        let there = self.distro.version(package)?;
        let chosen = &self.locked.get(name)?.version;
        let epoch = self.distro.epoch(package);
        if compare(there, &version::debian(chosen, epoch)).is_lt() {
            return None;
        }
        let mut edges = walk.edges.values().flatten().filter(|edge| edge.name == *name);
        let refused = |edge: &Edge| {
            let relations = relations(package, &edge.specifiers, epoch, Some(chosen));
            !satisfied(&relations, there)
        };
        let major = chosen.release().first()?;
        edges.any(refused).then(|| series(package, *major))
    }

    /// The series before of a package, as [`Grower::passed_over`] may have named them. apt holds an upgrade
    /// back that takes one of them away, unless what comes says so by its name, and it alone.
    fn series(&self, called: &Called, chosen: &Version) -> Vec<String> {
        let there = self.distro.version(called.there()).and_then(version::python);
        let major = |version: Version| version.release().first().copied();
        let Some(newest) = there.and_then(major) else { return Vec::new() };
        let end = match called.instead {
            Some(_) => major(chosen.clone()).unwrap_or_default(),
            None => newest + 1,
        };
        (end.saturating_sub(SERIES)..end).map(|major| series(called.there(), major)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(all: &[(&str, &str)]) -> HashMap<PackageName, Locked> {
        let lock = |(name, version): &(&str, &str)| {
            let name: PackageName = name.parse().unwrap();
            let version = version.parse().unwrap();
            (name.clone(), Locked { name, version, wheels: Vec::new(), sdist: None })
        };
        all.iter().map(lock).collect()
    }

    fn grow(reuse: Reuse, root: &str, requires: &'static [(&str, &[&str])]) -> Result<Graph> {
        let locked = locked(&[
            ("flask", "3.0.0"),
            ("click", "8.1.8"),
            ("numpy", "2.1.0"),
            ("socks", "1.0"),
            ("requests", "2.0"),
        ]);
        grow_of(locked, reuse, root, requires)
    }

    fn grow_of(
        locked: HashMap<PackageName, Locked>,
        reuse: Reuse,
        root: &str,
        requires: &'static [(&str, &[&str])],
    ) -> Result<Graph> {
        let distro = Distro::from_lines(
            "bookworm",
            &[
                "python3\t3.11.2-1\t",
                "python3-click\t8.1.3-2\t",
                "python3-numpy\t1:1.24.2-1\t",
                "tzdata\t2024a-0\t",
                "python3-many\t20230112-1\t",
            ],
        )
        .with_names(&[
            ("click", "python3-click"),
            ("numpy", "python3-numpy"),
            ("one", "python3-many"),
            ("other", "python3-many"),
        ]);
        let target = Target::new(&distro, "amd64", None).unwrap();
        let load = |locked: &Locked| {
            let found = requires.iter().find(|(name, _)| locked.name.as_ref() == *name);
            let requires = found.map(|(_, r)| *r).ok_or_else(|| Error::new("not there"))?;
            let requires = requires.iter().map(|r| r.parse().unwrap()).collect();
            let (name, url) = (String::new(), String::new());
            Ok(Loaded { wheel: File { name, url, sha256: None }, requires })
        };
        let grower = Grower {
            distro: &distro,
            target: &target,
            reuse,
            rules: &Rules::default(),
            locked,
            built: BTreeSet::new(),
            load: &load,
        };
        let root: Requirement = root.parse().unwrap();
        grower.grow(&[(root.name, root.extras)])
    }

    fn depends(graph: &Graph, name: &str) -> String {
        let node = graph.nodes.iter().find(|node| node.name.as_ref() == name).unwrap();
        node.depends.join(", ")
    }

    #[test]
    fn what_the_distribution_has_is_used_where_it_does() {
        let requires: &[(&str, &[&str])] = &[
            ("flask", &["click>=8.1.3", "numpy>=2", "socks; sys_platform == 'win32'"]),
            ("click", &[]),
            ("numpy", &[]),
        ];
        let graph = grow(Reuse::Prefer, "flask", requires).unwrap();
        assert_eq!(depends(&graph, "flask"), "python3-click (>= 8.1.3), python3-numpy (>= 1:2)");
        let built: Vec<_> =
            graph.nodes.iter().map(|n| (n.package.as_str(), n.version.as_str())).collect();
        assert_eq!(built, [("python3-flask", "3.0.0"), ("python3-numpy", "1:2.1.0")]);
        assert_eq!(graph.reused["python3-click"], "8.1.3-2");
        assert_eq!(grow(Reuse::Never, "flask", requires).unwrap().nodes.len(), 3);
        let error = grow(Reuse::Require, "flask", requires).err().unwrap().to_string();
        assert!(error.contains("python3-numpy 1:1.24.2-1"), "{error}");
    }

    #[test]
    fn extras_are_provided_and_their_requirements_not_lost() {
        let requires: &[(&str, &[&str])] = &[
            ("flask", &["requests[socks]"]),
            ("requests", &["socks!=1.5; extra == 'socks'", "requests[socks]; extra == 'all'"]),
            ("socks", &[]),
        ];
        let graph = grow(Reuse::Prefer, "flask", requires).unwrap();
        assert_eq!(depends(&graph, "flask"), "python3-requests, python3-requests+socks");
        assert_eq!(
            depends(&graph, "requests"),
            "python3-socks (<< 1.5) | python3-socks (>= 1.5+post)"
        );
        let graph = grow(Reuse::Prefer, "requests[all]", requires).unwrap();
        assert_eq!(graph.nodes[0].extras.len(), 2);
        assert!(depends(&graph, "requests").contains("python3-socks"));
        assert!(grow(Reuse::Prefer, "requests", requires).unwrap().nodes[0].depends.is_empty());
    }

    #[test]
    fn time_zones_that_windows_has_not_are_the_systems() -> Result<()> {
        let requires: &[(&str, &[&str])] = &[
            ("flask", &["click", "tzdata; sys_platform == 'win32'"]),
            ("socks", &["tzdata; platform_system == 'Windows' and extra == 'zones'"]),
            ("requests", &["tzdata>=2022; python_version < '3.9'"]),
        ];
        let of = |root: &str| -> Result<Vec<String>> {
            Ok(grow(Reuse::Prefer, root, requires)?.nodes[0].depends.clone())
        };
        assert_eq!(of("flask")?, ["python3-click", "tzdata"]);
        assert_eq!(of("socks[zones]")?, ["tzdata"]);
        assert!(of("socks")?.is_empty() && of("requests")?.is_empty());
        Ok(())
    }

    #[test]
    fn what_apt_would_pass_over_has_a_name_of_its_own() -> Result<()> {
        let requires: &[(&str, &[&str])] = &[
            ("flask", &["click>=8.1.3", "requests[all]"]),
            ("requests", &["numpy<1.24", "click!=8.1.3; extra == 'all'"]),
            ("click", &[]),
            ("numpy", &[]),
        ];
        let mut locked = locked(&[("flask", "3.0"), ("requests", "2.0"), ("click", "8.1.8")]);
        locked.extend(self::locked(&[("numpy", "1.23.5")]));
        let graph = grow_of(locked, Reuse::Prefer, "flask", requires)?;
        // Debian's numpy is newer than what is required; its click is older.
        let built: Vec<_> = graph.nodes.iter().map(|n| (&*n.package, &*n.version)).collect();
        assert_eq!(
            built,
            [
                ("python3-click", "8.1.8"),
                ("python3-flask", "3.0"),
                ("python3-numpy-v1", "1:1.23.5"),
                ("python3-requests", "2.0")
            ]
        );
        assert_eq!(graph.nodes[2].instead.as_deref(), Some("python3-numpy"));
        assert_eq!(
            depends(&graph, "requests"),
            "python3-click (<< 8.1.3) | python3-click (>= 8.1.3+post), \
             python3-numpy-v1 (<< 1:1.24~)"
        );
        Ok(())
    }

    #[test]
    fn parts_of_one_package_are_packages_that_take_its_place() -> Result<()> {
        let requires: &[(&str, &[&str])] =
            &[("flask", &["one~=7.0", "other==2.0"]), ("one", &[]), ("other", &[])];
        let locked = locked(&[("flask", "3.0"), ("one", "7.1"), ("other", "2.0")]);
        let graph = grow_of(locked, Reuse::Prefer, "flask", requires)?;
        let built: Vec<_> =
            graph.nodes.iter().map(|n| (&*n.package, n.replaced.as_slice())).collect();
        let whole = ["python3-many".to_owned()];
        assert_eq!(
            built,
            [("python3-flask", [].as_slice()), ("python3-one", &whole), ("python3-other", &whole)]
        );
        assert!(graph.nodes.iter().all(|node| node.instead.is_none()));
        Ok(())
    }

    #[test]
    fn what_cannot_be_had_is_told_and_the_others_are_there() {
        let requires: &[(&str, &[&str])] = &[("flask", &["socks"])];
        let graph = grow(Reuse::Prefer, "flask", requires).unwrap();
        assert_eq!(graph.nodes.len(), 1);
        assert_eq!(graph.failed[0].0.as_ref(), "socks");
    }
}
