//! `bk-deb build`: Python distributions and everything they need, as .debs.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use bk::record::Record;
use bk::{Console, Context, Error, Result, Session, Status, file};
use pep508_rs::{PackageName, Requirement};
use rayon::prelude::*;
use serde::Serialize;

use crate::convert::{self, Built, Options, Package};
use crate::debian::compression::Compression;
use crate::distro::{Distro, Selection};
use crate::fetch::Fetch;
use crate::graph::{Graph, Grower, Node, Reuse, Rules};
use crate::mapping::name;
use crate::python::config;
use crate::python::lock::Locked;
use crate::python::requirement::Wish;
use crate::python::solve::{Problem, Resolver};
use crate::supply::{Root, Supply};
use crate::target::{Target, own_arch};

/// Build .debs of Python packages and everything they need
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-deb build flask -o debs
      Flask, and of what it needs all that the distribution has not.
  bk-deb build . -r requirements.txt --suite trixie -o debs
      A project's folder and a list of requirements, for another suite.
  bk-deb build 'requests[socks]' | bk-repo add /srv/apt -
      Publish what was built.

Exit status:
  0   every package was built
  1   some could not be built; all others were
  2   the command line or the configuration is wrong
  75  the network did not answer; try again
")]
pub struct Build {
    /// Requirements as pip takes them, wheels, sdists, folders of projects, uv.lock, pylock.toml;
    /// `-` reads them from stdin
    #[arg(value_name = "REQUIREMENT|PATH")]
    wanted: Vec<String>,
    /// Also build what a requirements file names
    #[arg(short, long = "requirement", value_name = "FILE")]
    requirement: Vec<PathBuf>,
    /// Keep to the versions in FILE
    #[arg(short, long = "constraint", value_name = "FILE")]
    constraint: Vec<PathBuf>,
    /// Where the .debs go
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Say what would be built, and build nothing
    #[arg(long)]
    dry_run: bool,

    /// The suite to build for; this system's if not given
    #[arg(long, help_heading = "Target")]
    suite: Option<String>,
    /// The archive that has the suite; what apt uses if not given
    #[arg(long, value_name = "URL", help_heading = "Target")]
    mirror: Option<String>,
    /// The version of Python, `3.11`; the suite's own if not given
    #[arg(long, value_name = "VERSION", help_heading = "Target")]
    python: Option<String>,
    /// The Debian architecture; this machine's if not given
    #[arg(long, help_heading = "Target")]
    arch: Option<String>,

    /// What is done with dependencies that the distribution has
    #[arg(long, value_name = "WHEN", default_value = "prefer", help_heading = "Resolving")]
    reuse: Reuse,
    /// Build everything: the same as --reuse never
    #[arg(long, conflicts_with_all = ["reuse", "no_deps"], help_heading = "Resolving")]
    all: bool,
    /// Build only what is named
    #[arg(long, help_heading = "Resolving")]
    no_deps: bool,
    /// Who chooses the versions
    #[arg(long, value_name = "WHO", default_value = "native", help_heading = "Resolving")]
    resolver: Resolver,
    /// Allow pre-releases
    #[arg(long, help_heading = "Resolving")]
    pre: bool,
    /// The Python index
    #[arg(short, long, value_name = "URL", help_heading = "Resolving")]
    index_url: Option<String>,
    /// Another index
    #[arg(long, value_name = "URL", help_heading = "Resolving")]
    extra_index_url: Vec<String>,
    /// A folder or page with wheels and sdists
    #[arg(short, long, value_name = "DIR|URL", help_heading = "Resolving")]
    find_links: Vec<String>,
    /// Use no index, only --find-links
    #[arg(long, help_heading = "Resolving")]
    no_index: bool,

    /// The Debian revision
    #[arg(short, long, value_name = "REVISION", default_value = "1", help_heading = "Packages")]
    packaging_version: String,
    /// Who maintains the packages, `Name <email>`
    #[arg(long, value_name = "NAME <EMAIL>", help_heading = "Packages")]
    #[arg(default_value = "BuildKit-Automatic-Packaging <buildkit@example.com>")]
    maintainer: String,
    /// Call a distribution's package something else, `'PY -> DEB'`
    #[arg(long, value_name = "PY -> DEB", help_heading = "Packages")]
    rename: Vec<String>,
    /// Leave a requirement out wherever it is required
    #[arg(long, value_name = "PY", help_heading = "Packages")]
    delete: Vec<PackageName>,
    /// Never build this Debian package: the distribution has it
    #[arg(long, value_name = "DEB", help_heading = "Packages")]
    distro_dep: Vec<String>,
    /// Leave files out whose installed path matches
    #[arg(short = 'x', long, value_name = "GLOB", help_heading = "Packages")]
    exclude: Vec<String>,
    /// How .debs are compressed: gzip, xz, zstd, with a level as in `zstd:19`
    #[arg(long, value_name = "METHOD", value_parser = compression, help_heading = "Packages")]
    compression: Option<Compression>,
    /// Leave the symbols of programs and libraries in
    #[arg(long, help_heading = "Packages")]
    no_strip: bool,

    /// Where fetched and built wheels are kept
    #[arg(long, value_name = "DIR", help_heading = "Cache and speed")]
    cache: Option<PathBuf>,
    /// Keep nothing
    #[arg(long, conflicts_with = "cache", help_heading = "Cache and speed")]
    no_cache: bool,
    /// How many packages are built at once; as many as there are processors if not given
    #[arg(short, long, value_name = "N", help_heading = "Cache and speed")]
    jobs: Option<usize>,
}

fn compression(text: &str) -> Result<Compression, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

/// A .deb that was written.
#[derive(Serialize)]
#[serde(tag = "type", rename = "deb")]
struct Deb<'a> {
    #[serde(serialize_with = "bk::record::path")]
    path: &'a Path,
    package: &'a str,
    version: &'a str,
    architecture: &'a str,
    size: u64,
    /// The distribution it was made of.
    name: &'a str,
    python_version: String,
}

impl Record for Deb<'_> {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        use std::os::unix::ffi::OsStrExt;
        self.path.as_os_str().as_bytes().into()
    }
}

/// A .deb that would be written.
#[derive(Serialize)]
#[serde(tag = "type", rename = "planned")]
struct Planned<'a> {
    package: &'a str,
    version: String,
    name: &'a str,
    depends: &'a [String],
}

impl Record for Planned<'_> {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        format!("{} {}", self.package, self.version).into_bytes().into()
    }
}

/// A package of the distribution that is used as it is.
#[derive(Serialize)]
#[serde(tag = "type", rename = "reused")]
struct Reused<'a> {
    package: &'a str,
    version: &'a str,
}

impl Record for Reused<'_> {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        format!("{} {}", self.package, self.version).into_bytes().into()
    }
}

/// What can be had of what is asked for, the versions that were chosen, and what is built of them
/// in any case.
type Choice = (Vec<Root>, HashMap<PackageName, Locked>, BTreeSet<PackageName>);

impl Build {
    /// Runs the command.
    pub fn run(mut self, session: &mut Session) -> Result<Status> {
        if let Some(jobs) = self.jobs {
            // Fails only if the pool is there already, which it is not.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global();
        }
        if self.all {
            self.reuse = Reuse::Never;
        }
        let console = session.console.clone();
        let mut failed = false;
        let mut wish = self.wish(&console, &mut failed)?;
        if wish.wanted.is_empty() && wish.locks.is_empty() && !failed {
            return Err(Error::new("nothing to build")
                .hint("name a requirement, a wheel, an sdist or a folder, or give -r FILE")
                .status(Status::Usage));
        }
        let cache = self.cache.clone().unwrap_or_else(|| session.dirs.cache.join("deb"));
        // Without a cache everything lives as long as this.
        let temporary;
        let folder = if self.no_cache {
            file::create_dir(&self.output)?;
            temporary = file::TempDir::new_in(&self.output)?;
            temporary.path().to_owned()
        } else {
            file::create_dir(&cache)?;
            cache
        };
        let fetch = Fetch::new(&console, false);
        let arch = self.arch.clone().unwrap_or_else(|| own_arch().to_owned());
        let (suite, mirror) = (self.suite.clone(), self.mirror.clone());
        let selection = Selection { suite, mirror, arch: arch.clone() };
        let distro = Distro::load(&selection, &folder.join("distro"), &fetch, &console)?;
        let target = Target::new(&distro, &arch, self.python.as_deref())?;
        let supply = Supply {
            fetch: &fetch,
            target: &target,
            folder: &folder,
            hashes: &wish.hashes,
            console: &console,
        };

        let roots: Vec<Result<Root>> =
            wish.wanted.iter().filter_map(|wanted| supply.root(wanted).transpose()).collect();
        let mut roots: Vec<Root> = told(roots, &console, &mut failed);
        // A lock is whole: with nothing beside it there is nothing left to choose.
        let only_locks = wish.wanted.is_empty();
        for path in &wish.locks {
            roots.extend(supply.lock(path)?);
        }
        if !only_locks
            && wish.indexes.index.is_none()
            && !wish.indexes.no_index
            && self.resolver == Resolver::Native
        {
            wish.indexes.index = Some(config::default_index(&folder, &console)?);
        }
        let rules = self.rules()?;
        let (roots, locked, built) = match only_locks {
            true => {
                let all = roots.iter().filter_map(|root| root.locked.clone());
                let locked = all.map(|locked| (locked.name.clone(), locked)).collect();
                (roots, locked, BTreeSet::new())
            }
            false => self.choose(&supply, &distro, &rules, &wish, roots, &mut failed)?,
        };
        let load = |locked: &Locked| supply.load(locked);
        let grower = Grower {
            distro: &distro,
            target: &target,
            reuse: self.reuse,
            rules: &rules,
            locked,
            built,
            load: &load,
        };
        let asked = |root: Root| (root.requirement.name, root.requirement.extras);
        let mut graph = grower.grow(&roots.into_iter().map(asked).collect::<Vec<_>>())?;
        for (name, error) in std::mem::take(&mut graph.failed) {
            console.error(&error.context(format!("cannot build '{name}'")));
            failed = true;
        }
        for (package, version) in &graph.reused {
            session.console.info(&format!("{} has {package} {version}", distro.suite));
        }
        if self.dry_run {
            self.plan(&graph, session)?;
        } else {
            failed |= !self.convert(&graph, &distro, &target, session)?;
        }
        Ok(if failed { Status::Failed } else { Status::Done })
    }

    fn wish(&self, console: &Console, failed: &mut bool) -> Result<Wish> {
        let mut wish = Wish::default();
        let mut add = |wanted: &str| match wish.add(wanted) {
            // A file that is not there is one input less; what is no requirement is a slip.
            Err(error) if error.exit_status() != Status::Usage => {
                console.error(&error);
                *failed = true;
                Ok(())
            }
            added => added,
        };
        for wanted in &self.wanted {
            if wanted == "-" {
                for line in std::io::stdin().lines() {
                    let line = line.context(|| "cannot read stdin".into())?;
                    if !line.trim().is_empty() {
                        add(line.trim())?;
                    }
                }
            } else {
                add(wanted)?;
            }
        }
        self.requirement.iter().try_for_each(|path| wish.add_file(path))?;
        self.constraint.iter().try_for_each(|path| wish.add_constraints(path))?;
        let indexes = &mut wish.indexes;
        indexes.index = self.index_url.clone().or(indexes.index.take());
        indexes.extra.extend(self.extra_index_url.iter().cloned());
        indexes.find_links.extend(self.find_links.iter().cloned());
        indexes.no_index |= self.no_index;
        indexes.add(config::indexes(|name| std::env::var(name).ok()));
        Ok(wish)
    }

    /// Chooses versions for all roots together. If that cannot be, those that cannot be had even
    /// alone are left out, and told.
    fn choose(
        &self,
        supply: &Supply<'_>,
        distro: &Distro,
        rules: &Rules,
        wish: &Wish,
        roots: Vec<Root>,
        failed: &mut bool,
    ) -> Result<Choice> {
        let mut preferences = match (self.resolver, self.reuse) {
            (Resolver::Native, _) | (_, Reuse::Never) => Vec::new(),
            _ => distro.all_installed(),
        };
        // What is asked for is built, so it may as well be the newest.
        preferences.retain(|(name, _)| !roots.iter().any(|root| root.requirement.name == *name));
        let progress = supply.console.progress("choosing versions", 0);
        let solve = |roots: &[Root]| {
            let requirements: Vec<Requirement> =
                roots.iter().map(|r| r.requirement.clone()).collect();
            let problem = Problem {
                requirements: &requirements,
                constraints: &wish.constraints,
                preferences: &preferences,
                indexes: &wish.indexes,
                target: supply.target,
                pre: self.pre,
                no_deps: self.no_deps,
                scratch: supply.folder,
                supply,
                distro,
                reuse: self.reuse,
                rules,
            };
            problem.solve(self.resolver, supply.console)
        };
        let (roots, solution) = match solve(&roots) {
            Ok(solution) => (roots, solution),
            Err(error) if roots.len() == 1 || error.exit_status() == Status::Temporary => {
                return Err(error);
            }
            Err(error) => {
                let all = roots.len();
                let alone = |root: Root| solve(std::slice::from_ref(&root)).map(|_| root);
                let roots = roots.into_iter().map(alone).collect();
                let roots: Vec<Root> = told(roots, supply.console, failed);
                if roots.len() == all {
                    return Err(error);
                }
                let solution = solve(&roots)?;
                (roots, solution)
            }
        };
        drop(progress);
        let mut locked: HashMap<PackageName, Locked> =
            solution.locked.into_iter().map(|l| (l.name.clone(), l)).collect();
        for root in &roots {
            if let Some(entry) = root.locked.clone() {
                locked.insert(entry.name.clone(), entry);
            }
        }
        Ok((roots, locked, solution.built.unwrap_or_default()))
    }

    fn rules(&self) -> Result<Rules> {
        let mut rules = Rules { delete: self.delete.iter().cloned().collect(), ..Rules::default() };
        for text in &self.rename {
            let bad = || {
                Error::new(format!("'{}' renames nothing", bk::sanitize(text)))
                    .hint("write it as 'PyYAML -> python3-yaml'")
                    .status(Status::Usage)
            };
            let (python, package) = text.split_once("->").ok_or_else(bad)?;
            let python = python.trim().parse().map_err(|_| bad())?;
            rules.rename.insert(python, package.trim().to_owned());
        }
        rules.distro = self.distro_dep.iter().cloned().collect();
        Ok(rules)
    }

    fn plan(&self, graph: &Graph, session: &mut Session) -> Result<()> {
        for node in &graph.nodes {
            session.out.record(&Planned {
                package: &node.package,
                version: self.version(node),
                name: node.name.as_ref(),
                depends: &node.depends,
            })?;
        }
        self.reused(graph, session)
    }

    /// What is used as it is has no path, so it is for readers of JSON alone.
    fn reused(&self, graph: &Graph, session: &mut Session) -> Result<()> {
        if session.out.format() == bk::record::Format::Json {
            for (package, version) in &graph.reused {
                session.out.record(&Reused { package, version })?;
            }
        }
        Ok(())
    }

    fn version(&self, node: &Node) -> String {
        format!("{}-{}", node.version, self.packaging_version)
    }

    fn package(&self, node: &Node) -> Package {
        let version = self.version(node);
        let default = name::default(&node.name);
        let alias = (default != node.package).then_some(default);
        let extras = node.extras.iter().map(|extra| name::extra(&node.package, extra.as_ref()));
        Package {
            name: node.package.clone(),
            depends: node.depends.clone(),
            provides: alias
                .into_iter()
                .chain(extras)
                .map(|p| format!("{p} (= {version})"))
                .collect(),
            version,
            ..Package::default()
        }
    }

    /// Writes the packages; false if some could not be.
    fn convert(
        &self,
        graph: &Graph,
        distro: &Distro,
        target: &Target,
        session: &mut Session,
    ) -> Result<bool> {
        let console = session.console.clone();
        let options = Options {
            compression: self.compression.unwrap_or(target.compression),
            mtime: session.epoch.and_then(|seconds| seconds.try_into().ok()),
            maintainer: self.maintainer.clone(),
            exclude: self.exclude.clone(),
            python: target.python,
            arch: target.arch.clone(),
            distribution: target.suite.clone(),
            strip: !self.no_strip,
            ..Options::default()
        };
        let packages: Vec<(&Node, Package)> =
            graph.nodes.iter().map(|node| (node, self.package(node))).collect();
        let mut failed = false;
        let paths: Vec<Result<_>> = packages
            .par_iter()
            .map(|(node, package)| {
                convert::installed_paths(&node.wheel, package, &options)
                    .context(|| format!("cannot build '{}'", node.name))
                    .map(|paths| (node.package.as_str(), paths))
            })
            .collect();
        let unusable: Vec<bool> = paths.iter().map(Result::is_err).collect();
        clashes(&told(paths, &console, &mut failed))?;

        file::create_dir(&self.output)?;
        let libraries = distro.libraries(&target.arch)?;
        let progress = console.progress("building", graph.nodes.len() as u64);
        let built: Vec<Result<(&Node, Built)>> = packages
            .par_iter()
            .zip(unusable)
            .filter(|(_, unusable)| !unusable)
            .map(|((node, package), _)| {
                progress.step(&package.name);
                convert::convert(
                    &node.wheel,
                    package,
                    &options,
                    &*libraries,
                    &self.output,
                    &console,
                )
                .context(|| format!("cannot build '{}'", node.name))
                .map(|built| (*node, built))
            })
            .collect();
        drop(progress);
        for (node, built) in told(built, &console, &mut failed) {
            session.out.record(&Deb {
                path: &built.path,
                package: &built.package,
                version: &built.version,
                architecture: &built.architecture,
                size: built.size,
                name: node.name.as_ref(),
                python_version: node.python_version.to_string(),
            })?;
        }
        self.reused(graph, session)?;
        Ok(!failed)
    }
}

/// Tells the errors and keeps the rest.
fn told<T>(results: Vec<Result<T>>, console: &Console, failed: &mut bool) -> Vec<T> {
    let tell = |result: Result<T>| match result {
        Ok(value) => Some(value),
        Err(error) => {
            console.error(&error);
            *failed = true;
            None
        }
    };
    results.into_iter().filter_map(tell).collect()
}

/// Two packages must not ship the same path: dpkg would refuse the second one.
fn clashes(packages: &[(&str, Vec<String>)]) -> Result<()> {
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for (package, paths) in packages {
        for path in paths {
            if let Some(other) = owners.insert(path, package) {
                return Err(Error::new(format!(
                    "'{other}' and '{package}' both have '/{}'",
                    bk::sanitize(path)
                ))
                .hint(format!(
                    "leave it out of one of them (--exclude '{path}'), or build one only"
                )));
            }
        }
    }
    Ok(())
}
