//! Choosing versions ourselves, with the distribution's packages as candidates.

mod words;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bk::{Context, Error, Result};
use pep440_rs::{Operator, Version, VersionSpecifiers};
use pep508_rs::{ExtraName, PackageName, Requirement, VerbatimUrl, VersionOrUrl};

use super::pubgrub::{Dependency, Needs, Outcome, Package, Set, Solver};
use super::{Problem, Solution, pubgrub};
use crate::graph::Reuse;
use crate::mapping::name::Names;
use crate::mapping::relation::{meets, relations, satisfied};
use crate::mapping::version;
use crate::python::index::{self, Index, Release};
use crate::python::lock::Locked;

/// What is chosen of: a distribution, or an extra of it, which holds on to the same version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    /// What is asked for.
    Root,
    Plain(PackageName),
    /// What asks for both the distribution and its extra: so does uv.
    Both(PackageName, ExtraName),
    Extra(PackageName, ExtraName),
}

impl Name {
    fn package(&self) -> Option<&PackageName> {
        match self {
            Name::Root => None,
            Name::Plain(package) | Name::Both(package, _) | Name::Extra(package, _) => {
                Some(package)
            }
        }
    }
}

/// Which candidates will do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Range {
    Specifiers(VersionSpecifiers),
    /// What a package of the distribution depends on: relations of Debian's.
    Relations(Vec<String>),
}

/// A version of something.
#[derive(Clone)]
struct Candidate {
    version: Version,
    from: From,
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
    needs: Arc<index::Needs>,
}

/// What was found out too late for one run, and is known in the next.
#[derive(Default)]
struct Learnt {
    /// Of these the distribution's version will not do everywhere.
    open: HashSet<PackageName>,
    direct: HashMap<PackageName, Arc<Direct>>,
}

struct Provider<'a> {
    problem: &'a Problem<'a>,
    index: &'a Index<'a>,
    roots: &'a HashSet<PackageName>,
    constraints: &'a [Requirement],
    /// Of these a pre-release is asked for.
    pre: &'a HashSet<PackageName>,
    learnt: &'a RefCell<Learnt>,
    /// More was learnt: another run is due.
    again: Cell<bool>,
    names: RefCell<Vec<Name>>,
    places: RefCell<HashMap<Name, Package>>,
    bases: RefCell<HashMap<PackageName, Arc<Vec<Candidate>>>>,
    /// What of the candidates is in a range.
    sets: RefCell<HashMap<(PackageName, Range), Set>>,
    /// Names of which only the distribution's version was offered.
    closed: RefCell<HashSet<PackageName>>,
    /// Names that nobody knows, and who asks for them.
    missing: RefCell<BTreeMap<PackageName, BTreeSet<String>>>,
    /// Who asks for what: for names that turn out to be missing.
    requesters: RefCell<HashMap<PackageName, BTreeSet<String>>>,
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
    let mut pre = HashSet::new();
    let mut pinned = HashSet::new();
    for requirement in problem.requirements.iter().chain(&constraints) {
        if let Some(VersionOrUrl::VersionSpecifier(specifiers)) = &requirement.version_or_url {
            if names_pre_release(specifiers) {
                pre.insert(requirement.name.clone());
            }
            let exact = specifiers
                .iter()
                .filter(|s| matches!(s.operator(), Operator::Equal | Operator::ExactEqual));
            pinned.extend(exact.map(|s| (requirement.name.clone(), s.version().clone())));
        }
    }
    let elsewhere = |r: &Requirement| !roots.contains(&r.name) && fits(problem, r);
    let index = Index::new(problem.supply, problem.indexes, pinned, &elsewhere);
    let learnt = RefCell::new(Learnt::default());
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
                problem,
                index: &index,
                roots: &roots,
                constraints: &constraints,
                pre: &pre,
                learnt: &learnt,
                again: Cell::new(false),
                names: RefCell::new(vec![Name::Root]),
                places: RefCell::default(),
                bases: RefCell::default(),
                sets: RefCell::default(),
                closed: RefCell::default(),
                missing: RefCell::default(),
                requesters: RefCell::default(),
            };
            match provider.attempt()? {
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

/// Whether one of them names a pre-release, which makes all of them as good as releases (PEP 440).
fn names_pre_release(specifiers: &VersionSpecifiers) -> bool {
    specifiers.iter().any(|s| {
        !matches!(s.operator(), Operator::NotEqual | Operator::NotEqualStar)
            && s.version().any_prerelease()
    })
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
    fn attempt(&self) -> Result<Option<Solution>> {
        let outcome = Solver::solve(self);
        if self.again.get() {
            return Ok(None);
        }
        match outcome? {
            Outcome::Chosen(chosen, contested) => {
                if self.gives_way(&chosen)? && self.open(&contested) {
                    return Ok(None);
                }
                self.solution(&chosen).map(Some)
            }
            Outcome::Impossible(reasons) => {
                let mut learnt = self.learnt.borrow_mut();
                let before = learnt.open.len();
                if self.problem.reuse != Reuse::Require {
                    learnt.open.extend(self.closed.borrow().iter().cloned());
                }
                if learnt.open.len() > before {
                    return Ok(None);
                }
                drop(learnt);
                Err(self.explain(reasons))
            }
        }
    }

    /// Whether something that is asked for is older than it could be.
    fn gives_way(&self, chosen: &[(Package, usize)]) -> Result<bool> {
        for (package, at) in chosen {
            let Name::Plain(name) = self.name(*package) else { continue };
            if self.roots.contains(&name) {
                let bases = self.bases(&name)?;
                let all = Set::of(bases.len(), 0..bases.len());
                if pubgrub::Provider::best(self, *package, &all) != Some(*at) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Offers others than the distribution's of those that were in the way; false if there are none.
    fn open(&self, contested: &HashSet<Package>) -> bool {
        let closed = self.closed.borrow();
        let names = contested.iter().filter_map(|package| self.name(*package).package().cloned());
        let more: Vec<PackageName> = names.filter(|name| closed.contains(name)).collect();
        let mut learnt = self.learnt.borrow_mut();
        let before = learnt.open.len();
        if self.problem.reuse != Reuse::Require {
            learnt.open.extend(more);
        }
        learnt.open.len() > before
    }

    fn place(&self, name: Name) -> Package {
        let mut names = self.names.borrow_mut();
        let mut places = self.places.borrow_mut();
        *places.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() - 1
        })
    }

    fn name(&self, package: Package) -> Name {
        self.names.borrow().get(package).cloned().unwrap_or(Name::Root)
    }

    /// Gives the run up, to be begun anew.
    fn again<T>(&self) -> Result<T> {
        self.again.set(true);
        Err(Error::new("begun anew"))
    }

    fn needs_of_root(&self) -> Result<Vec<Dependency>> {
        let mut needs = Vec::new();
        for requirement in self.problem.requirements {
            self.require(requirement, "what is asked for", &mut needs)?;
        }
        for constraint in self.constraints {
            match &constraint.version_or_url {
                Some(VersionOrUrl::VersionSpecifier(specifiers)) => {
                    if !fits(self.problem, constraint) {
                        self.learnt.borrow_mut().open.insert(constraint.name.clone());
                    }
                    let range = Range::Specifiers(specifiers.clone());
                    needs.push(self.limit(&constraint.name, range)?);
                }
                Some(VersionOrUrl::Url(url)) => {
                    self.learn_direct(&constraint.name, url)?;
                }
                None => {}
            }
        }
        Ok(needs)
    }

    /// What keeps a package within a range, if it is there.
    fn limit(&self, package: &PackageName, range: Range) -> Result<Dependency> {
        let label = format!("allows '{package}{range}' only");
        let allowed = self.within(package, range)?.or_none();
        let package = self.place(Name::Plain(package.clone()));
        Ok(Dependency { package, allowed, exact: false, label })
    }

    /// Turns a requirement into what is needed.
    fn require(
        &self,
        requirement: &Requirement,
        requester: &str,
        needs: &mut Vec<Dependency>,
    ) -> Result<()> {
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
                    return self.again();
                }
                VersionSpecifiers::empty()
            }
            None => VersionSpecifiers::empty(),
        };
        let open = !fits(self.problem, requirement)
            || !requirement.extras.is_empty() && !self.has_distros_version(package)?;
        if open
            && self.problem.reuse != Reuse::Require
            && self.learnt.borrow_mut().open.insert(package.clone())
            && self.closed.borrow().contains(package)
        {
            return self.again();
        }
        let exact = match specifiers.as_ref() {
            [only] => matches!(only.operator(), Operator::Equal | Operator::ExactEqual),
            _ => self.learnt.borrow().direct.contains_key(package),
        };
        let allowed = self.within(package, Range::Specifiers(specifiers.clone()))?;
        let mut names: Vec<Name> = requirement
            .extras
            .iter()
            .map(|extra| Name::Both(package.clone(), extra.clone()))
            .collect();
        if names.is_empty() {
            names.push(Name::Plain(package.clone()));
        }
        for name in names {
            let label = format!("requires '{name}{specifiers}'");
            let allowed = allowed.clone();
            needs.push(Dependency { package: self.place(name), allowed, exact, label });
        }
        Ok(())
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

    /// The candidates of a distribution, made once.
    fn bases(&self, package: &PackageName) -> Result<Arc<Vec<Candidate>>> {
        if let Some(bases) = self.bases.borrow().get(package) {
            return Ok(bases.clone());
        }
        let problem = self.problem;
        let candidate =
            |version: &Version, from: From| Candidate { version: version.clone(), from };
        let mut bases = Vec::new();
        let direct = self.learnt.borrow().direct.get(package).cloned();
        if let Some(direct) = direct {
            bases.push(candidate(&direct.locked.version, From::Direct(direct.clone())));
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
                bases.push(candidate(&python, From::Distro(deb, there)));
            }
            if open {
                let releases = self.index.releases(package)?;
                for (at, release) in releases.iter().flatten().enumerate() {
                    bases.push(candidate(&release.version, From::Index(at)));
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

    /// The candidates that are in a range.
    fn within(&self, package: &PackageName, range: Range) -> Result<Set> {
        let bases = self.bases(package)?;
        let key = (package.clone(), range);
        if let Some(set) = self.sets.borrow().get(&key) {
            return Ok(set.clone());
        }
        let fits = |(at, candidate): (usize, &Candidate)| {
            self.contains(package, &key.1, candidate).then_some(at)
        };
        let set = Set::of(bases.len(), bases.iter().enumerate().filter_map(fits));
        self.sets.borrow_mut().insert(key, set.clone());
        Ok(set)
    }

    /// What a candidate needs; the distribution's own from the index, as only that knows.
    fn needs(
        &self,
        package: &PackageName,
        candidate: &Candidate,
    ) -> Result<Option<Arc<index::Needs>>> {
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

    /// What a candidate of a distribution needs, or of an extra of it.
    fn dependencies(&self, name: &Name, at: usize) -> Result<Needs> {
        let (package, extra) = match name {
            Name::Root => return self.needs_of_root().map(Needs::Known),
            Name::Plain(package) => (package, None),
            Name::Both(package, extra) | Name::Extra(package, extra) => (package, Some(extra)),
        };
        let bases = self.bases(package)?;
        let Some(candidate) = bases.get(at) else { return Ok(Needs::Known(Vec::new())) };
        if let Name::Both(package, extra) = name {
            let same = |name: Name| Dependency {
                package: self.place(name),
                allowed: Set::of(bases.len(), [at]),
                exact: true,
                label: String::new(),
            };
            let extra = Name::Extra(package.clone(), extra.clone());
            return Ok(Needs::Known(vec![same(Name::Plain(package.clone())), same(extra)]));
        }
        let mut all = Vec::new();
        let distro = matches!(candidate.from, From::Distro(..));
        if let (From::Distro(deb, _), None) = (&candidate.from, extra) {
            for (python, relations) in self.problem.distro.python_depends(deb) {
                // What nobody has is in nobody's way, and what is asked for is not the suite's.
                all.push(self.limit(&python, Range::Relations(relations))?);
            }
        }
        if self.problem.no_deps || distro && extra.is_none() {
            return Ok(Needs::Known(all));
        }
        let unusable = |why: String| Ok(Needs::Unusable(format!("cannot be used: {why}")));
        let needs = match self.needs(package, candidate) {
            Ok(Some(needs)) => needs,
            Ok(None) => return unusable("the index does not have this version".into()),
            // Broken metadata of one version leaves the others; a broken network does not.
            Err(error)
                if error.exit_status() != bk::Status::Temporary
                    && !built(package, candidate, self) =>
            {
                return unusable(error.to_string());
            }
            Err(error) => return Err(self.passed_by(error, package, candidate)),
        };
        let python = &self.problem.target.markers().python_full_version().version;
        if let Some(required) = &needs.requires_python
            && !distro
            && !required.contains(python)
        {
            return Ok(Needs::Unusable(format!("requires Python {required}")));
        }
        let extras: Vec<ExtraName> = extra.into_iter().cloned().collect();
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
        let requester = format!("{name} {}", candidate.version);
        for requirement in applying {
            self.require(requirement, &requester, &mut all)?;
        }
        Ok(Needs::Known(all))
    }

    fn contains(&self, package: &PackageName, range: &Range, candidate: &Candidate) -> bool {
        let version = &candidate.version;
        match (range, &candidate.from) {
            (Range::Specifiers(specifiers), From::Distro(deb, there)) => {
                within(self.problem, specifiers, deb, there, version)
            }
            (Range::Specifiers(specifiers), _) => specifiers.contains(version),
            (Range::Relations(_), From::Distro(..)) => true,
            (Range::Relations(relations), _) => {
                let deb = self.problem.distro.package(package);
                let ours = version::debian(version, self.problem.distro.epoch(&deb));
                relations.iter().all(|relation| meets(relation, &deb, &format!("{ours}-1")))
            }
        }
    }

    /// The error of an old version, which is looked at since no later one seemed to fit.
    fn passed_by(&self, error: Error, package: &PackageName, candidate: &Candidate) -> Error {
        let bases = self.bases(package).unwrap_or_default();
        let all = bases.iter().map(|base| &base.version);
        match all.filter(|version| !version.any_prerelease()).max() {
            Some(latest) if *latest > candidate.version => error
                .hint("no later one seemed to fit: --resolver uv, or pip, looks in another order"),
            _ => error,
        }
    }

    /// What was chosen.
    fn solution(&self, chosen: &[(Package, usize)]) -> Result<Solution> {
        let mut solution = Solution { locked: Vec::new(), built: Some(BTreeSet::new()) };
        let names: Vec<(Name, usize)> = chosen.iter().map(|(p, at)| (self.name(*p), *at)).collect();
        let extras: HashSet<&PackageName> = names
            .iter()
            .filter(|(name, _)| matches!(name, Name::Extra(..)))
            .filter_map(|(name, _)| name.package())
            .collect();
        for (name, at) in &names {
            let Name::Plain(package) = name else { continue };
            let bases = self.bases(package)?;
            let Some(candidate) = bases.get(*at) else { continue };
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

impl pubgrub::Provider for Provider<'_> {
    fn count(&self, package: Package) -> Result<usize> {
        match self.name(package).package() {
            Some(package) => Ok(self.bases(package)?.len()),
            None => Ok(1),
        }
    }

    /// The distribution's, else the newest; a pre-release where it is asked for or nothing else fits.
    fn best(&self, package: Package, allowed: &Set) -> Option<usize> {
        let name = self.name(package);
        let Some(package) = name.package() else { return Some(0) };
        let bases = self.bases.borrow().get(package)?.clone();
        let pre = self.problem.pre || self.pre.contains(package);
        let rank = |at: &usize| {
            let candidate = bases.get(*at)?;
            let release = pre || !candidate.version.any_prerelease();
            let distro = matches!(candidate.from, From::Distro(..));
            Some((distro, release, &candidate.version))
        };
        allowed.candidates().max_by_key(rank)
    }

    fn needs(&self, package: Package, candidate: usize) -> Result<Needs> {
        self.dependencies(&self.name(package), candidate)
    }

    fn base(&self, package: Package) -> Package {
        match self.name(package) {
            Name::Root | Name::Plain(_) => package,
            Name::Both(package, _) | Name::Extra(package, _) => self.place(Name::Plain(package)),
        }
    }

    fn whole(&self, package: Package) -> Option<Package> {
        match self.name(package) {
            Name::Both(package, _) => Some(self.place(Name::Plain(package))),
            _ => None,
        }
    }
}
