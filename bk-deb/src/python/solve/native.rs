//! Choosing versions ourselves, with the distribution's packages as candidates.

mod words;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bk::{Context, Error, Result};
use pep440_rs::{Operator, Version, VersionSpecifiers};
use pep508_rs::{ExtraName, PackageName, Requirement, VerbatimUrl, VersionOrUrl};
use resolvo::utils::{Pool, VersionSet};
use resolvo::{
    Candidates, Dependencies, DependencyProvider, KnownDependencies, NameId, SolvableId, Solver,
    SolverCache, UnsolvableOrCancelled, VersionSetId,
};

use super::{Problem, Solution};
use crate::graph::Reuse;
use crate::mapping::name::Names;
use crate::mapping::relation::{meets, relations, satisfied};
use crate::mapping::version;
use crate::python::index::{self, Index, Needs, Release};
use crate::python::lock::Locked;

/// A distribution, or an extra of it: a package of its own that holds on to the same version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    package: PackageName,
    extra: Option<ExtraName>,
}

/// Which candidates will do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Range {
    Specifiers(VersionSpecifiers),
    /// The extra's own distribution.
    Same(SolvableId),
    /// What a package of the distribution depends on: relations of Debian's.
    Relations(Vec<String>),
}

impl VersionSet for Range {
    type V = Candidate;
}

/// A version of something.
#[derive(Clone)]
struct Candidate {
    version: Version,
    from: From,
    /// An extra's distribution.
    base: Option<SolvableId>,
}

#[derive(Clone)]
enum From {
    /// The place in [`Index::releases`].
    Index(usize),
    /// The distribution's package and its version.
    Distro(String, String),
    /// What an address leads to.
    Direct(Arc<Direct>),
}

/// What an address leads to.
pub(super) struct Direct {
    locked: Locked,
    needs: Arc<Needs>,
}

/// What was found out too late for one run, and is known in the next.
#[derive(Default)]
struct Learnt {
    /// Of these the distribution's version will not do everywhere.
    open: HashSet<PackageName>,
    /// Somebody asks for a pre-release of these, and would be given up for an older version else.
    pre: HashSet<PackageName>,
    /// Somebody would take a pre-release of these: they are welcome where nothing else fits.
    perhaps: HashSet<PackageName>,
    direct: HashMap<PackageName, Arc<Direct>>,
}

/// Why a run was given up.
enum Halt {
    /// More was learnt.
    Again,
    Failed(Error),
}

struct Provider<'a> {
    pool: Pool<Range, Name>,
    problem: &'a Problem<'a>,
    index: &'a Index<'a>,
    roots: &'a HashSet<PackageName>,
    learnt: &'a RefCell<Learnt>,
    /// What [`Learnt::pre`] was when the run began: a set that is filtered once stays so.
    pre: HashSet<PackageName>,
    bases: RefCell<HashMap<PackageName, Arc<Vec<SolvableId>>>>,
    /// Names of which only the distribution's version was offered.
    closed: RefCell<HashSet<PackageName>>,
    /// Names that nobody knows, and who asks for them.
    missing: RefCell<BTreeMap<PackageName, BTreeSet<String>>>,
    /// Who asks for what: for names that turn out to be missing.
    requesters: RefCell<HashMap<PackageName, BTreeSet<String>>>,
    halt: RefCell<Option<Halt>>,
    halted: Cell<bool>,
}

/// Chooses.
pub(super) fn solve(problem: &Problem<'_>) -> Result<Solution> {
    let roots: HashSet<PackageName> = problem.requirements.iter().map(|r| r.name.clone()).collect();
    let constraints: Vec<Requirement> = problem
        .constraints
        .iter()
        .filter(|c| c.evaluate_markers(problem.target.markers(), &[]))
        .cloned()
        .collect();
    let mut learnt = Learnt::default();
    let mut pinned = HashSet::new();
    for requirement in problem.requirements.iter().chain(&constraints) {
        if let Some(VersionOrUrl::VersionSpecifier(specifiers)) = &requirement.version_or_url {
            if names_pre_release(specifiers) {
                learnt.pre.insert(requirement.name.clone());
            }
            let exact = specifiers
                .iter()
                .filter(|s| matches!(s.operator(), Operator::Equal | Operator::ExactEqual));
            pinned.extend(exact.map(|s| (requirement.name.clone(), s.version().clone())));
        }
    }
    let elsewhere = |r: &Requirement| !roots.contains(&r.name) && fits(problem, r);
    let index = Index::new(problem.supply, problem.indexes, pinned, &elsewhere);
    let learnt = RefCell::new(learnt);
    if let Some(pins) = pins(problem) {
        return index.run(|| look_up(problem, &index, &pins));
    }
    index.run(|| {
        index.expect(
            problem
                .requirements
                .iter()
                .filter(|r| !problem.no_deps || roots.is_empty() || r.version_or_url.is_some()),
        );
        // Every further run knows of one more name at least, and there are so many of them.
        loop {
            let provider = Provider {
                pool: Pool::default(),
                problem,
                index: &index,
                roots: &roots,
                learnt: &learnt,
                pre: learnt.borrow().pre.clone(),
                bases: RefCell::default(),
                closed: RefCell::default(),
                missing: RefCell::default(),
                requesters: RefCell::default(),
                halt: RefCell::default(),
                halted: Cell::new(false),
            };
            match provider.attempt(&constraints)? {
                Some(solution) => return Ok(solution),
                None => continue,
            }
        }
    })
}

/// The versions, if everything that is asked for has exactly one, and hashes: that is a lock, and
/// nothing is left to be chosen.
fn pins(problem: &Problem<'_>) -> Option<Vec<Version>> {
    let pin = |requirement: &Requirement| match &requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => match specifiers.as_ref() {
            [only] if *only.operator() == Operator::Equal => Some(only.version().clone()),
            _ => None,
        },
        _ => None,
    };
    let hashed = |r: &Requirement| problem.supply.hashes.contains_key(&r.name);
    let all = problem.requirements.iter().map(|r| pin(r).filter(|_| hashed(r)));
    all.collect()
}

/// Looks up the files of versions that are known.
fn look_up(problem: &Problem<'_>, index: &Index<'_>, pins: &[Version]) -> Result<Solution> {
    let look = |(requirement, version): (&Requirement, &Version)| {
        let releases = index.releases(&requirement.name)?;
        let release = releases.iter().flatten().find(|release| release.version == *version);
        release.map(|release| index::locked(&requirement.name, release)).ok_or_else(|| {
            Error::new(format!("no index and no folder has '{requirement}' with that hash"))
                .hint("check the index (--index-url, --find-links), or make the lock anew")
        })
    };
    use rayon::prelude::*;
    let locked = problem.requirements.par_iter().zip(pins).map(look).collect::<Result<_>>()?;
    let built = problem.requirements.iter().map(|r| r.name.clone()).collect();
    Ok(Solution { locked, built: Some(built) })
}

/// Whether one of them names a pre-release, which makes all of them welcome (PEP 440).
fn names_pre_release(specifiers: &VersionSpecifiers) -> bool {
    specifiers.iter().any(|s| {
        !matches!(s.operator(), Operator::NotEqual | Operator::NotEqualStar)
            && s.version().any_prerelease()
    })
}

/// Whether one version alone will do.
fn is_exact(specifiers: &VersionSpecifiers) -> bool {
    specifiers.iter().any(|s| matches!(s.operator(), Operator::Equal | Operator::ExactEqual))
}

/// Whether the distribution's package will do for a requirement.
fn fits(problem: &Problem<'_>, requirement: &Requirement) -> bool {
    let any = VersionSpecifiers::empty();
    let specifiers = match &requirement.version_or_url {
        Some(VersionOrUrl::Url(_)) => return false,
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers,
        None => &any,
    };
    let found = problem.rules.candidate(problem.distro, problem.reuse, &requirement.name);
    found.is_some_and(|(package, there, python)| {
        within(problem, specifiers, &package, &there, &python)
    })
}

/// Whether a package of the distribution is within `specifiers`, by Python's rules and by dpkg's.
fn within(
    problem: &Problem<'_>,
    specifiers: &VersionSpecifiers,
    package: &str,
    there: &str,
    python: &Version,
) -> bool {
    let epoch = problem.distro.epoch(package);
    specifiers.contains(python)
        && satisfied(&relations(package, specifiers, epoch, Some(python)), there)
}

impl Provider<'_> {
    /// One run. None if more was learnt, so that another one is due.
    fn attempt(self, constraints: &[Requirement]) -> Result<Option<Solution>> {
        let mut problem = resolvo::Problem::new();
        let mut requirements = Vec::new();
        for requirement in self.problem.requirements {
            if !self.require(requirement, "what is asked for", &mut requirements)? {
                return Ok(None);
            }
        }
        let mut limits = Vec::new();
        for constraint in constraints {
            match &constraint.version_or_url {
                Some(VersionOrUrl::VersionSpecifier(specifiers)) => {
                    let name = self.name(&constraint.name, None);
                    let range = Range::Specifiers(specifiers.clone());
                    limits.push(self.pool.intern_version_set(name, range));
                    if !fits(self.problem, constraint) {
                        self.learnt.borrow_mut().open.insert(constraint.name.clone());
                    }
                }
                Some(VersionOrUrl::Url(url)) => {
                    self.learn_direct(&constraint.name, url)?;
                }
                None => {}
            }
        }
        problem = problem
            .requirements(requirements.into_iter().map(Into::into).collect())
            .constraints(limits);
        let mut solver = Solver::new(self);
        let solved = solver.solve(problem);
        let halt = solver.provider().halt.borrow_mut().take();
        match (halt, solved) {
            (Some(Halt::Failed(error)), _) => Err(error),
            (Some(Halt::Again), _) => Ok(None),
            (None, Ok(chosen)) => solver.provider().solution(&chosen).map(Some),
            (None, Err(UnsolvableOrCancelled::Cancelled(_))) => Err(Error::new("interrupted")),
            (None, Err(UnsolvableOrCancelled::Unsolvable(conflict))) => {
                let provider = solver.provider();
                let mut learnt = provider.learnt.borrow_mut();
                let before = learnt.open.len() + learnt.pre.len();
                if provider.problem.reuse != Reuse::Require {
                    learnt.open.extend(provider.closed.borrow().iter().cloned());
                }
                let perhaps = std::mem::take(&mut learnt.perhaps);
                learnt.pre.extend(perhaps);
                if learnt.open.len() + learnt.pre.len() > before {
                    return Ok(None);
                }
                drop(learnt);
                let said = conflict.display_user_friendly(&solver).to_string();
                Err(provider.explain(&said))
            }
        }
    }

    fn name(&self, package: &PackageName, extra: Option<&ExtraName>) -> NameId {
        let name = Name { package: package.clone(), extra: extra.cloned() };
        self.pool.intern_package_name(name)
    }

    /// Turns a requirement into sets of candidates; false if a new run is due.
    fn require(
        &self,
        requirement: &Requirement,
        requester: &str,
        sets: &mut Vec<VersionSetId>,
    ) -> Result<bool> {
        let package = &requirement.name;
        self.requesters
            .borrow_mut()
            .entry(package.clone())
            .or_default()
            .insert(requester.to_owned());
        let specifiers = match &requirement.version_or_url {
            Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers.clone(),
            Some(VersionOrUrl::Url(url)) => {
                if self.learn_direct(package, url)? && self.bases.borrow().contains_key(package) {
                    return Ok(false);
                }
                VersionSpecifiers::empty()
            }
            None => VersionSpecifiers::empty(),
        };
        if names_pre_release(&specifiers) && !self.pre.contains(package) {
            let mut learnt = self.learnt.borrow_mut();
            // Others of this run may have refused it: they would choose an older version of who asks for it.
            if is_exact(&specifiers) && learnt.pre.insert(package.clone()) {
                return Ok(false);
            }
            learnt.perhaps.insert(package.clone());
        }
        let open = !fits(self.problem, requirement)
            || !requirement.extras.is_empty() && !self.has_distros_version(package)?;
        if open
            && self.problem.reuse != Reuse::Require
            && self.learnt.borrow_mut().open.insert(package.clone())
            && self.closed.borrow().contains(package)
        {
            return Ok(false);
        }
        let range = Range::Specifiers(specifiers);
        sets.push(self.pool.intern_version_set(self.name(package, None), range.clone()));
        for extra in &requirement.extras {
            let name = self.name(package, Some(extra));
            sets.push(self.pool.intern_version_set(name, range.clone()));
        }
        Ok(true)
    }

    /// Whether the index has the version that the distribution has: only it says what extras need.
    fn has_distros_version(&self, package: &PackageName) -> Result<bool> {
        let problem = self.problem;
        let Some((.., version)) = problem.rules.candidate(problem.distro, problem.reuse, package)
        else {
            return Ok(false);
        };
        let releases = self.index.releases(package)?;
        Ok(releases.iter().flatten().any(|release| release.version == version))
    }

    /// Finds out what an address leads to; false if it was known.
    fn learn_direct(&self, package: &PackageName, url: &VerbatimUrl) -> Result<bool> {
        if self.learnt.borrow().direct.contains_key(package) {
            return Ok(false);
        }
        let locked = self
            .problem
            .supply
            .direct(package, url.raw().as_str())
            .context(|| format!("cannot use '{package}' from its address"))?;
        let file = locked.wheels.first().ok_or_else(|| Error::new("no wheel came of it"))?;
        let needs = self.index.needs_of(file, None)?;
        let direct = Arc::new(Direct { locked, needs });
        self.learnt.borrow_mut().direct.insert(package.clone(), direct);
        Ok(true)
    }

    /// Gives the run up, to be begun anew.
    fn halt(&self, halt: Halt) {
        self.halt.borrow_mut().get_or_insert(halt);
        self.halted.set(true);
    }

    /// The candidates of a distribution, made once.
    fn bases(&self, package: &PackageName) -> Result<Arc<Vec<SolvableId>>> {
        if let Some(bases) = self.bases.borrow().get(package) {
            return Ok(bases.clone());
        }
        let problem = self.problem;
        let name = self.name(package, None);
        let intern = |version: &Version, from: From| {
            let candidate = Candidate { version: version.clone(), from, base: None };
            self.pool.intern_solvable(name, candidate)
        };
        let mut bases = Vec::new();
        let direct = self.learnt.borrow().direct.get(package).cloned();
        if let Some(direct) = direct {
            bases.push(intern(&direct.locked.version, From::Direct(direct.clone())));
        } else {
            let root = self.roots.contains(package);
            let distro = match root {
                true => None,
                false => problem.rules.candidate(problem.distro, problem.reuse, package),
            };
            let open = match (&distro, problem.reuse) {
                (_, Reuse::Require) if !root => false,
                (None, _) => true,
                (Some((deb, ..)), _) if problem.rules.distro.contains(deb) => false,
                (Some(_), _) => self.learnt.borrow().open.contains(package),
            };
            if let Some((deb, there, python)) = distro {
                bases.push(intern(&python, From::Distro(deb, there)));
            }
            if open {
                let releases = self.index.releases(package)?;
                for (at, release) in releases.iter().flatten().enumerate() {
                    bases.push(intern(&release.version, From::Index(at)));
                }
                if releases.is_none() && bases.is_empty() {
                    self.miss(package);
                }
            } else if bases.is_empty() {
                self.miss(package);
            } else {
                self.closed.borrow_mut().insert(package.clone());
            }
        }
        let bases = Arc::new(bases);
        self.bases.borrow_mut().insert(package.clone(), bases.clone());
        Ok(bases)
    }

    fn miss(&self, package: &PackageName) {
        let requesters = self.requesters.borrow().get(package).cloned().unwrap_or_default();
        self.missing.borrow_mut().insert(package.clone(), requesters);
    }

    fn candidates(&self, name: NameId) -> Result<Option<Candidates>> {
        let Name { package, extra } = self.pool.resolve_package_name(name).clone();
        let bases = self.bases(&package)?;
        let mut candidates = Candidates { candidates: bases.to_vec(), ..Candidates::default() };
        if extra.is_some() {
            let of = |base: &SolvableId| {
                let candidate = self.pool.resolve_solvable(*base).record.clone();
                let candidate = Candidate { base: Some(*base), ..candidate };
                self.pool.intern_solvable(name, candidate)
            };
            candidates.candidates = bases.iter().map(of).collect();
        }
        Ok((!candidates.candidates.is_empty()).then_some(candidates))
    }

    /// What a candidate needs; the distribution's own from the index, as only that knows.
    fn needs(&self, package: &PackageName, candidate: &Candidate) -> Result<Option<Arc<Needs>>> {
        if let From::Direct(direct) = &candidate.from {
            return Ok(Some(direct.needs.clone()));
        }
        let releases = self.index.releases(package)?;
        match self.release(&releases, candidate) {
            Some(release) => self.index.needs(package, release).map(Some),
            None => Ok(None),
        }
    }

    fn release<'r>(
        &self,
        releases: &'r Option<Vec<Release>>,
        candidate: &Candidate,
    ) -> Option<&'r Release> {
        match candidate.from {
            From::Index(at) => releases.as_ref()?.get(at),
            _ => releases.iter().flatten().find(|r| r.version == candidate.version),
        }
    }

    fn dependencies(&self, solvable: SolvableId) -> Result<Dependencies> {
        let solvable = self.pool.resolve_solvable(solvable);
        let Name { package, extra } = self.pool.resolve_package_name(solvable.name);
        let candidate = &solvable.record;
        let mut known = KnownDependencies::default();
        let unknown = |why: String| Ok(Dependencies::Unknown(self.pool.intern_string(why)));
        if let Some(base) = candidate.base {
            let set = self.pool.intern_version_set(self.name(package, None), Range::Same(base));
            known.requirements.push(set.into());
        }
        let distro = matches!(candidate.from, From::Distro(..));
        if let (From::Distro(deb, _), None) = (&candidate.from, extra) {
            for (python, relations) in self.problem.distro.python_depends(deb) {
                let name = self.name(&python, None);
                let set = self.pool.intern_version_set(name, Range::Relations(relations));
                known.constrains.push(set);
            }
        }
        if self.problem.no_deps || distro && extra.is_none() {
            return Ok(Dependencies::Known(known));
        }
        let needs = match self.needs(package, candidate) {
            Ok(Some(needs)) => needs,
            Ok(None) => return unknown("the index does not have this version".into()),
            // Broken metadata of one version leaves the others; a broken network does not.
            Err(error)
                if error.exit_status() != bk::Status::Temporary
                    && !built(package, candidate, self) =>
            {
                return unknown(error.to_string());
            }
            Err(error) => return Err(self.passed_by(error, package, candidate)),
        };
        let python = &self.problem.target.markers().python_full_version().version;
        if let Some(required) = &needs.requires_python
            && !distro
            && !required.contains(python)
        {
            return unknown(format!("it requires Python {required}"));
        }
        let extras: Vec<ExtraName> = extra.iter().cloned().collect();
        if let Some(extra) = extra
            && !needs.extras.contains(extra)
        {
            self.problem
                .supply
                .console
                .warn(&format!("'{package} {}' has no extra '{extra}'", candidate.version));
        }
        let plain: HashSet<&Requirement> = match extra {
            // They are there by way of the distribution itself.
            Some(_) => self.index.applying(&needs, &[]).collect(),
            None => HashSet::new(),
        };
        let applying: Vec<&Requirement> = self
            .index
            .applying(&needs, &extras)
            .filter(|r| !plain.contains(r) && !self.problem.rules.delete.contains(&r.name))
            .filter(|r| r.name != *package || !r.extras.is_empty())
            .collect();
        self.index.expect(applying.iter().copied());
        let requester =
            format!("{} {}", self.pool.resolve_package_name(solvable.name), candidate.version);
        let mut sets = Vec::new();
        for requirement in applying {
            if !self.require(requirement, &requester, &mut sets)? {
                self.halt(Halt::Again);
            }
        }
        known.requirements.extend(sets.into_iter().map(resolvo::ConditionalRequirement::from));
        Ok(Dependencies::Known(known))
    }

    fn contains(&self, set: VersionSetId, solvable: SolvableId) -> bool {
        let name = self.pool.resolve_version_set_package_name(set);
        let candidate = &self.pool.resolve_solvable(solvable).record;
        let version = &candidate.version;
        match (self.pool.resolve_version_set(set), &candidate.from) {
            (Range::Same(base), _) => *base == solvable,
            (Range::Specifiers(specifiers), From::Distro(deb, there)) => {
                within(self.problem, specifiers, deb, there, version)
            }
            (Range::Specifiers(specifiers), From::Direct(_)) => specifiers.contains(version),
            (Range::Specifiers(specifiers), From::Index(_)) => {
                (!version.any_prerelease()
                    || self.welcome(&self.pool.resolve_package_name(name).package)
                    || names_pre_release(specifiers))
                    && specifiers.contains(version)
            }
            (Range::Relations(_), From::Distro(..)) => true,
            (Range::Relations(relations), _) => {
                let package = &self.pool.resolve_package_name(name).package;
                let deb = self.problem.distro.package(package);
                let ours = version::debian(version, self.problem.distro.epoch(&deb));
                relations.iter().all(|relation| meets(relation, &deb, &format!("{ours}-1")))
            }
        }
    }

    /// The error of an old version, which is looked at since no later one seemed to fit.
    fn passed_by(&self, error: Error, package: &PackageName, candidate: &Candidate) -> Error {
        let bases = self.bases(package).unwrap_or_default();
        let all = bases.iter().map(|base| &self.pool.resolve_solvable(*base).record.version);
        match all.filter(|version| !version.any_prerelease()).max() {
            Some(latest) if *latest > candidate.version => error
                .hint("no later one seemed to fit: --resolver uv, or pip, looks in another order"),
            _ => error,
        }
    }

    /// Whether pre-releases are as good as releases: they are asked for, or there is nothing else.
    fn welcome(&self, package: &PackageName) -> bool {
        let only = || {
            let bases = self.bases.borrow().get(package).cloned().unwrap_or_default();
            bases.iter().all(|b| self.pool.resolve_solvable(*b).record.version.any_prerelease())
        };
        self.problem.pre || self.pre.contains(package) || only()
    }

    /// What was chosen.
    fn solution(&self, chosen: &[SolvableId]) -> Result<Solution> {
        let mut solution = Solution { locked: Vec::new(), built: Some(BTreeSet::new()) };
        let mut extras = HashSet::new();
        for id in chosen {
            let name = self.pool.resolve_package_name(self.pool.resolve_solvable(*id).name);
            if name.extra.is_some() {
                extras.insert(&name.package);
            }
        }
        for id in chosen {
            let solvable = self.pool.resolve_solvable(*id);
            let Name { package, extra: None } = self.pool.resolve_package_name(solvable.name)
            else {
                continue;
            };
            let candidate = &solvable.record;
            match &candidate.from {
                From::Direct(direct) => solution.locked.push(direct.locked.clone()),
                // What its extras need is read from the index's files.
                From::Distro(..) if !extras.contains(package) => continue,
                From::Index(_) | From::Distro(..) => {
                    let releases = self.index.releases(package)?;
                    let release = self.release(&releases, candidate);
                    solution.locked.extend(release.map(|release| index::locked(package, release)));
                }
            }
            if !matches!(candidate.from, From::Distro(..)) {
                solution.built.get_or_insert_default().insert(package.clone());
            }
        }
        solution.locked.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(solution)
    }
}

/// Whether what a candidate needs would have to be found out by building it.
fn built(package: &PackageName, candidate: &Candidate, provider: &Provider<'_>) -> bool {
    let releases = provider.index.releases(package).ok();
    let release = releases.as_ref().and_then(|releases| provider.release(releases, candidate));
    release.is_some_and(|release| {
        index::locked(package, release).wheel(provider.problem.target).is_none()
    })
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let fits = |id: &SolvableId| self.contains(version_set, *id) != inverse;
        candidates.iter().copied().filter(fits).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        self.candidates(name).unwrap_or_else(|error| {
            self.halt(Halt::Failed(error));
            None
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        solvables.sort_by_cached_key(|id| {
            let candidate = &self.pool.resolve_solvable(*id).record;
            let place = !matches!(candidate.from, From::Distro(..));
            (place, std::cmp::Reverse(candidate.version.clone()))
        });
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        self.dependencies(solvable).unwrap_or_else(|error| {
            self.halt(Halt::Failed(error));
            Dependencies::Known(KnownDependencies::default())
        })
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        self.halted.get().then(|| Box::new(()) as Box<dyn Any>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_of_debians_packages_are_met() {
        for (relation, version, expected) in [
            ("python3-x (<< 3)", "2.9-1", true),
            ("python3-x (<< 3)", "3-1", false),
            ("python3-x:any (>= 2)", "2-1", true),
            ("python3-x (= 2-3)", "2-1", false),
            ("python3-x (<< 3) | python3-y", "3-1", true),
            ("python3-x (<= 1) | python3-x (>> 2)", "3-1", true),
            ("python3-x", "3-1", true),
        ] {
            assert_eq!(meets(relation, "python3-x", version), expected, "{relation}");
        }
    }
}
