//! What is asked for on a command line: what to build, for which target, and how; and what comes of
//! it once versions are chosen.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bk::{Console, Context, Error, Result, Session, Status, file};
use pep508_rs::{PackageName, Requirement};

use crate::convert::Options;
use crate::debian::compression::Compression;
use crate::debian::version::compare;
use crate::distro::contents::{Kept, When};
use crate::distro::{Distro, Selection};
use crate::embedded;
use crate::fetch::Fetch;
use crate::graph::{Graph, Grower, Node, Reuse, Rules};
use crate::mapping::version;
use crate::overrides::{Overrides, Setting};
use crate::plan::Instruction;
use crate::python::config;
use crate::python::lock::Locked;
use crate::python::requirement::Wish;
use crate::python::solve::{Problem, Resolver};
use crate::supply::{Root, Supply};
use crate::target::{Target, own_arch};

/// What to build, for what, and how.
#[derive(clap::Args)]
pub struct Request {
    /// Requirements as pip takes them, wheels, sdists, folders of projects, uv.lock, pylock.toml;
    /// `-` reads them from stdin
    #[arg(value_name = "REQUIREMENT|PATH")]
    pub(crate) wanted: Vec<String>,
    /// Also build what a requirements file names
    #[arg(short, long = "requirement", value_name = "FILE")]
    requirement: Vec<PathBuf>,
    /// Keep to the versions in FILE
    #[arg(short, long = "constraint", value_name = "FILE")]
    constraint: Vec<PathBuf>,

    /// The suite to build for; this system's if not given
    #[arg(long, help_heading = "Target")]
    suite: Option<String>,
    /// The archive that has the suite; what apt uses if not given
    #[arg(long, value_name = "URL", help_heading = "Target")]
    mirror: Option<String>,
    /// Whether files that packages of the suite have are looked for among those to be built
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Target")]
    pub(crate) contents: When,
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
    /// Build nothing that the distribution has in a version that does: the same as --reuse prefer
    #[arg(long, conflicts_with_all = ["reuse", "all"], help_heading = "Resolving")]
    no_present: bool,
    /// Build no dependency that the distribution lacks: the same as --reuse require
    #[arg(long, conflicts_with_all = ["reuse", "all"], help_heading = "Resolving")]
    no_missing: bool,
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
    /// Build a distribution of its source, though it has wheels: a name, `:all:`, or `:embedded:` for
    /// those whose wheels have libraries inside that the suite has
    #[arg(long, value_name = "NAME", help_heading = "Resolving")]
    no_binary: Vec<String>,
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
    /// The name of who maintains the packages, in place of that of --maintainer
    #[arg(long, value_name = "NAME", help_heading = "Packages")]
    packager_name: Option<String>,
    /// The same of the address
    #[arg(long, value_name = "EMAIL", help_heading = "Packages")]
    packager_email: Option<String>,
    /// Who wrote what is named, where its metadata do not tell
    #[arg(long, value_name = "NAME", help_heading = "Packages")]
    author_name: Option<String>,
    /// The address of who wrote what is named
    #[arg(long, value_name = "EMAIL", help_heading = "Packages")]
    author_email: Option<String>,
    /// The page of what is named
    #[arg(long, value_name = "URL", help_heading = "Packages")]
    url: Option<String>,
    /// The licence of what is named, in place of the texts in its wheel
    #[arg(long, value_name = "FILE", help_heading = "Packages")]
    license_file: Option<PathBuf>,
    /// Call a distribution's package something else, `'PY -> DEB'`
    #[arg(long, value_name = "PY -> DEB", help_heading = "Packages")]
    rename: Vec<String>,
    /// Leave a requirement out wherever it is required
    #[arg(long, value_name = "PY", help_heading = "Packages")]
    delete: Vec<PackageName>,
    /// Never build this Debian package: the distribution has it
    #[arg(long, value_name = "DEB", help_heading = "Packages")]
    distro_dep: Vec<String>,
    /// Leave a module out of a distribution, where another has one of that name, `'PY -> MODULE'`
    #[arg(long, value_name = "PY -> MODULE", help_heading = "Packages")]
    conflict_module: Vec<String>,
    /// Leave files out whose installed path matches
    #[arg(short = 'x', long, value_name = "GLOB", help_heading = "Packages")]
    exclude: Vec<String>,
    /// How .debs are compressed: gzip, xz, zstd, with a level as in `zstd:19`
    #[arg(long, value_name = "METHOD", value_parser = compression, help_heading = "Packages")]
    compression: Option<Compression>,
    /// Leave the symbols of programs and libraries in
    #[arg(long, help_heading = "Packages")]
    no_strip: bool,

    /// What a wheel may unpack to: bytes, or with K, M or G
    #[arg(long, value_name = "SIZE", default_value = "16G", value_parser = size)]
    #[arg(help_heading = "Cache and speed")]
    max_size: u64,
    /// Where fetched and built wheels are kept
    #[arg(long, value_name = "DIR", help_heading = "Cache and speed")]
    cache: Option<PathBuf>,
    /// Keep nothing
    #[arg(long, conflicts_with = "cache", help_heading = "Cache and speed")]
    no_cache: bool,
    /// How many packages are built at once; as many as there are processors if not given
    #[arg(short, long, value_name = "N", help_heading = "Cache and speed")]
    jobs: Option<usize>,
    /// Whether what the distribution has is to be built all the same, as a form asks for.
    #[arg(skip)]
    pub(crate) whole: bool,
}

/// `500M`: powers of 1024, as ls(1) and dd(1) have them.
fn size(text: &str) -> Result<u64, String> {
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(*unit)?, shift)));
    let (digits, shift) = unit.unwrap_or((text, &0));
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|n| n.checked_mul(1 << shift))
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("'{}' is no size, as 500M is", bk::sanitize(text)))
}

fn compression(text: &str) -> Result<Compression, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

/// What can be had of what is asked for, the versions that were chosen, and what is built of them
/// in any case.
type Choice = (Vec<Root>, HashMap<PackageName, Locked>, BTreeSet<PackageName>);

/// What is to be built, and for what.
pub struct Resolved {
    /// Versions, and what depends on what.
    pub graph: Graph,
    /// The suite.
    pub distro: Distro,
    /// Its Python and machine.
    pub target: Target,
    /// What was named.
    pub roots: BTreeSet<PackageName>,
    /// Whether some of it could not be had, which was told.
    pub failed: bool,
}

/// The folder where fetched and built wheels are; gone with this if nothing is to be kept.
pub struct Cache {
    folder: PathBuf,
    temporary: Option<file::TempDir>,
}

impl Cache {
    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it will be there the next time.
    pub fn is_kept(&self) -> bool {
        self.temporary.is_none()
    }
}

impl Request {
    /// The cache; a temporary one is made in `beside`.
    pub fn cache(&self, session: &Session, beside: &Path) -> Result<Cache> {
        if self.no_cache {
            file::create_dir(beside)?;
            let temporary = file::TempDir::new_in(beside)?;
            return Ok(Cache { folder: temporary.path().to_owned(), temporary: Some(temporary) });
        }
        let folder = self.cache.clone().unwrap_or_else(|| session.dirs.cache.join("deb"));
        file::create_dir(&folder)?;
        Ok(Cache { folder, temporary: None })
    }

    /// How many packages are built at once.
    pub fn set_jobs(&self) {
        if let Some(jobs) = self.jobs {
            // Fails only if the pool is there already, which it is not.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global();
        }
    }

    fn reuse(&self) -> Reuse {
        match (self.all || self.whole, self.no_missing) {
            (true, _) => Reuse::Never,
            (_, true) => Reuse::Require,
            // What --no-present asks for is the default.
            _ => self.reuse,
        }
    }

    /// Whether nothing was named.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.requirement.is_empty()
    }

    fn selection(&self) -> Selection {
        let arch = self.arch.clone().unwrap_or_else(|| own_arch().to_owned());
        Selection { suite: self.suite.clone(), mirror: self.mirror.clone(), arch }
    }

    /// The files of the suite's packages, where they are to be looked at.
    pub fn contents(&self, suite: &str, cache: &Cache, console: &Console) -> Result<Option<Kept>> {
        let fetch = Fetch::new(console, false);
        let folder = cache.folder().join("distro");
        file::create_dir(&folder)?;
        Kept::find(&self.selection(), suite, self.contents, &folder, &fetch, console)
    }

    /// Chooses versions, gets the wheels, and finds out what depends on what.
    pub fn resolve(
        &self,
        session: &Session,
        cache: &Cache,
        overrides: &Overrides,
    ) -> Result<Resolved> {
        let console = session.console.clone();
        let mut failed = false;
        let mut wish = self.wish(&console, &mut failed)?;
        if wish.wanted.is_empty() && wish.locks.is_empty() && !failed {
            return Err(Error::new("nothing to build")
                .hint("name a requirement, a wheel, an sdist or a folder, or give -r FILE")
                .status(Status::Usage));
        }
        let folder = cache.folder();
        let fetch = Fetch::new(&console, false);
        let selection = self.selection();
        let distro = Distro::load(&selection, &folder.join("distro"), &fetch, &console)?;
        let target = Target::new(&distro, &selection.arch, self.python.as_deref())?;
        let supply = Supply {
            fetch: &fetch,
            target: &target,
            folder,
            hashes: &wish.hashes,
            max_size: self.max_size,
            no_binary: &self.no_binary,
            distro: &distro,
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
            wish.indexes.index = Some(config::default_index(folder, &console)?);
        }
        let rules = self.rules(overrides)?;
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
            reuse: self.reuse(),
            rules: &rules,
            locked,
            built,
            load: &load,
        };
        let asked = |root: Root| (root.requirement.name, root.requirement.extras);
        let roots: Vec<_> = roots.into_iter().map(asked).collect();
        let mut graph = grower.grow(&roots)?;
        let roots = roots.into_iter().map(|(name, _)| name).collect();
        for (name, error) in std::mem::take(&mut graph.failed) {
            console.error(&error.context(format!("cannot build '{name}'")));
            failed = true;
        }
        for (package, version) in &graph.reused {
            console.info(&format!("{} has {package} {version}", distro.suite));
        }
        tell_of_older(&graph, &distro, &console);
        embedded::tell(&graph, &distro, &console);
        Ok(Resolved { graph, distro, target, roots, failed })
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
        let mut preferences = match (self.resolver, self.reuse()) {
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
                reuse: self.reuse(),
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

    fn rules(&self, overrides: &Overrides) -> Result<Rules> {
        let mut rules = Rules { delete: self.delete.iter().cloned().collect(), ..Rules::default() };
        rules.rename.extend(overrides.renamed());
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

    /// What is different from one package to another: of the configuration, and what the options
    /// say of single ones. `roots` are those the other options are for.
    pub fn overrides(&self, session: &Session) -> Result<Overrides> {
        let mut overrides = Overrides::read(session.setting("packages"))?;
        for text in &self.conflict_module {
            overrides.leave_out(text)?;
        }
        Ok(overrides)
    }

    /// What is said of those that were named.
    fn of_roots(&self) -> Setting {
        Setting {
            author_name: self.author_name.clone(),
            author_email: self.author_email.clone(),
            url: self.url.clone(),
            license_file: self.license_file.clone(),
            ..Setting::default()
        }
    }

    /// How all of them are converted.
    pub fn options(&self, target: &Target, epoch: Option<i64>) -> Result<Options> {
        Ok(Options {
            compression: self.compression.unwrap_or(target.compression),
            mtime: epoch.and_then(|seconds| seconds.try_into().ok()),
            maintainer: self.maintainer()?,
            exclude: self.exclude.clone(),
            python: target.python,
            arch: target.arch.clone(),
            distribution: target.suite.clone(),
            strip: !self.no_strip,
            max_size: self.max_size,
        })
    }

    fn maintainer(&self) -> Result<String> {
        let (name, email) = self
            .maintainer
            .split_once('<')
            .and_then(|(name, rest)| Some((name.trim(), rest.trim().strip_suffix('>')?)))
            .ok_or_else(|| {
                Error::new(format!("'{}' is no maintainer", bk::sanitize(&self.maintainer)))
                    .hint("write it as 'Name <email>'")
                    .status(Status::Usage)
            })?;
        let name = self.packager_name.as_deref().unwrap_or(name);
        let email = self.packager_email.as_deref().unwrap_or(email);
        if format!("{name}{email}").contains(|c: char| c.is_control() || "<>".contains(c)) {
            return Err(Error::new(format!("'{}' is no maintainer", bk::sanitize(name)))
                .status(Status::Usage));
        }
        Ok(format!("{name} <{email}>"))
    }

    /// What each package is made of, in the order of their names.
    pub fn instructions(
        &self,
        resolved: &Resolved,
        overrides: &Overrides,
        epoch: Option<i64>,
    ) -> Result<Vec<Instruction>> {
        let options = self.options(&resolved.target, epoch)?;
        let of_roots = self.of_roots();
        let revision = &self.packaging_version;
        let suite = Arc::new(resolved.graph.suite(revision));
        let nodes = &resolved.graph.nodes;
        let there = |node: &Node| node.instead.clone().unwrap_or_else(|| node.package.clone());
        let packages: Vec<String> = nodes.iter().map(there).collect();
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        let mut siblings = resolved.distro.siblings(&packages);
        let one = |node: &Node| {
            let mut instruction =
                Instruction::new(node, &resolved.graph, &suite, revision, options.clone());
            instruction.siblings = siblings.remove(&there(node)).unwrap_or_default();
            if instruction.file.ends_with("_all.deb") {
                let libraries = resolved.distro.loads(&node.name, &there(node));
                let libraries = libraries.into_iter().map(str::to_owned);
                instruction.spec.recommends.extend(libraries);
            }
            if resolved.roots.contains(&node.name) {
                of_roots.apply(&mut instruction.spec)?;
            }
            overrides.apply(&node.name, &mut instruction.spec)?;
            Ok(instruction)
        };
        nodes.iter().map(one).collect()
    }
}

/// Tells of packages that are older than the distribution's, which apt goes by.
fn tell_of_older(graph: &Graph, distro: &Distro, console: &Console) {
    for Node { package, version, python_version, instead, .. } in &graph.nodes {
        let called = instead.as_ref().unwrap_or(package);
        // Another revision of the same is no other version, nor is a repack (1.7.1+dfsg).
        let same = |v: &str| version::python(v).as_ref() == Some(python_version);
        let newer = |v: &&str| compare(v, version).is_gt() && !same(v);
        let Some(there) = distro.version(called).filter(newer) else { continue };
        let newer = format!("{} has {called} {there}", distro.suite);
        match instead {
            Some(_) => console.info(&format!(
                "{newer}, which does not do: {package} {version} is built to stand in its place"
            )),
            None => console.warn(&format!(
                "{newer}, newer than the {version} that is built: apt installs that one, unless it is \
                 told the version"
            )),
        }
    }
}

/// Tells the errors and keeps the rest.
pub fn told<T>(results: Vec<Result<T>>, console: &Console, failed: &mut bool) -> Vec<T> {
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
