//! PubGrub: one candidate of each package that is needed, and what was learnt where that cannot be.
//!
//! A package is a variable whose values are its candidates, and that none of them is there. What cannot
//! be together is an incompatibility: a set of values for each of some packages, of which not all may
//! hold. Where all but one hold, the values of the last are ruled out; where all do, one is learnt that
//! says why, and what was decided too early is taken back. Which package is decided next is uv's order
//! (`PubGrubPriorities`), so that the same versions are chosen: what is asked for comes first, and what
//! gets into each other's way again and again comes earlier or later than it would.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use bk::Result;

/// A package, by the place it was told at.
pub type Package = usize;

/// What is asked for, as a package of one candidate.
pub const ROOT: Package = 0;

/// After as many conflicts a package is decided earlier, and who conflicted with it later (as uv has it).
const CONFLICTS: usize = 5;

/// Values of a package: bit 0 is that it is not there, the next are its candidates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Set {
    size: usize,
    words: Vec<u64>,
}

impl Set {
    /// No value of a package with as many candidates.
    pub fn empty(candidates: usize) -> Self {
        let size = candidates + 1;
        Set { size, words: vec![0; size.div_ceil(64)] }
    }

    /// These of its candidates.
    pub fn of(candidates: usize, all: impl IntoIterator<Item = usize>) -> Self {
        let mut set = Set::empty(candidates);
        all.into_iter().for_each(|candidate| set.insert(candidate + 1));
        set
    }

    /// The same, or that it is not there.
    pub fn or_none(mut self) -> Self {
        self.insert(0);
        self
    }

    fn insert(&mut self, bit: usize) {
        if let Some(word) = self.words.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn has(&self, bit: usize) -> bool {
        self.words.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Whether a candidate is in it.
    pub fn contains(&self, candidate: usize) -> bool {
        self.has(candidate + 1)
    }

    /// The candidates in it.
    pub fn candidates(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.size - 1).filter(|candidate| self.contains(*candidate))
    }

    fn map(&self, other: &Set, of: impl Fn(u64, u64) -> u64) -> Set {
        let words = self.words.iter().zip(&other.words).map(|(a, b)| of(*a, *b)).collect();
        Set { size: self.size, words }
    }

    fn and(&self, other: &Set) -> Set {
        self.map(other, |a, b| a & b)
    }

    fn or(&self, other: &Set) -> Set {
        self.map(other, |a, b| a | b)
    }

    fn not(&self) -> Set {
        let mut set = self.map(self, |a, _| !a);
        // Bits beyond the last value are never set.
        if let Some(last) = set.words.last_mut() {
            *last &= u64::MAX >> ((64 - self.size % 64) % 64);
        }
        set
    }

    fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    fn is_full(&self) -> bool {
        self.not().is_empty()
    }

    fn within(&self, other: &Set) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & !b == 0)
    }

    fn is_apart(&self, other: &Set) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & b == 0)
    }
}

/// What a candidate needs of another package, or allows of it.
pub struct Dependency {
    /// The other one.
    pub package: Package,
    /// What will do. With [`Set::or_none`] it need not be there.
    pub allowed: Set,
    /// Whether one version alone will do, which is then decided before all others.
    pub exact: bool,
    /// What is said of it.
    pub label: String,
}

/// What is known of a candidate.
pub enum Needs {
    /// What it needs.
    Known(Vec<Dependency>),
    /// Why it cannot be used.
    Unusable(String),
}

/// What is to be solved.
pub trait Provider {
    /// How many candidates a package has.
    fn count(&self, package: Package) -> Result<usize>;
    /// The best of the candidates of a package that may still be.
    fn best(&self, package: Package, allowed: &Set) -> Option<usize>;
    /// What a candidate needs.
    fn needs(&self, package: Package, candidate: usize) -> Result<Needs>;
    /// The package that this one is a part of, whose candidates are the same; itself if it is none.
    fn base(&self, package: Package) -> Package;
    /// The same of one that only stands for both, the part and its base.
    fn whole(&self, package: Package) -> Option<Package>;
}

/// Why something cannot be, in words: which candidates of which package, and what of them.
pub type Reason = (Package, Set, String);

/// What came of it.
pub enum Outcome {
    /// The candidate of each package that is there, and what took part in any conflict.
    Chosen(Vec<(Package, usize)>, HashSet<Package>),
    /// Why there is none.
    Impossible(Vec<Reason>),
}

enum Cause {
    /// What the first term's package says of the second.
    Said(String),
    /// It follows from these two.
    Learnt(usize, usize),
}

struct Incompatibility {
    terms: Vec<(Package, Set)>,
    cause: Cause,
}

impl Incompatibility {
    fn term(&self, package: Package) -> Option<&Set> {
        self.terms.iter().find(|(p, _)| *p == package).map(|(_, set)| set)
    }
}

/// What was found out of a package, and what remains of its values.
struct Assignment {
    package: Package,
    left: Set,
    level: usize,
    /// The incompatibility that it follows from; none where it was decided.
    cause: Option<usize>,
}

/// How far an incompatibility holds.
enum Relation {
    Holds,
    /// All but the term of this package.
    Almost(Package),
    /// It cannot hold, or nothing follows from it yet.
    No {
        never: bool,
    },
}

/// When a package is decided: the greatest comes first. The numbers are those of the order in which
/// names were met.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Priority {
    Met(Reverse<usize>),
    Late(Reverse<usize>),
    Early(Reverse<usize>),
    Exact(Reverse<usize>),
}

impl Priority {
    fn number(self) -> Reverse<usize> {
        match self {
            Priority::Met(n) | Priority::Late(n) | Priority::Early(n) | Priority::Exact(n) => n,
        }
    }
}

/// What is compared when the next package is picked: its name's priority, and when it was met.
type Turn = (Option<Priority>, Reverse<usize>);

/// What is known while candidates are chosen.
pub struct Solver<'a, P> {
    provider: &'a P,
    store: Vec<Incompatibility>,
    /// Those that name a package.
    of: Vec<Vec<usize>>,
    /// The level at which one came to hold no more, however far it goes from there.
    never: Vec<Option<usize>>,
    /// For two packages, what versions of the first say of the second.
    said: HashMap<(Package, Package), Vec<usize>>,
    trail: Vec<Assignment>,
    /// The places in the trail of what is known of a package.
    known: Vec<Vec<usize>>,
    /// What was decided, in that order: a level each.
    decided: Vec<(Package, usize)>,
    /// The packages of them.
    settled: HashSet<Package>,
    /// By the package that is the base.
    priorities: BTreeMap<Package, Priority>,
    /// The order in which packages were met.
    met: HashMap<Package, usize>,
    /// The turn of each package, as it was when something was last found out of it at this place in the
    /// trail: what others make of its priority later does not count, nor does it for uv.
    turn: HashMap<Package, (usize, Turn)>,
    affected: HashMap<Package, usize>,
    culprits: HashMap<Package, usize>,
    /// What took part in any conflict.
    contested: HashSet<Package>,
    /// The candidates whose needs are known.
    asked: HashSet<(Package, usize)>,
    /// Whether anything was ever taken back: until then a candidate is decided for unseen.
    backtracked: bool,
    /// Packages that are to be decided earlier, and later.
    turns: (Vec<Package>, Vec<Package>),
}

impl<'a, P: Provider> Solver<'a, P> {
    /// Chooses.
    pub fn solve(provider: &'a P) -> Result<Outcome> {
        let mut solver = Solver {
            provider,
            store: Vec::new(),
            of: Vec::new(),
            never: Vec::new(),
            said: HashMap::new(),
            trail: Vec::new(),
            known: Vec::new(),
            decided: Vec::new(),
            settled: HashSet::new(),
            priorities: BTreeMap::new(),
            met: HashMap::new(),
            turn: HashMap::new(),
            affected: HashMap::new(),
            culprits: HashMap::new(),
            contested: HashSet::new(),
            asked: HashSet::new(),
            backtracked: false,
            turns: Default::default(),
        };
        let absent = vec![(ROOT, Set::of(1, [0]).not())];
        solver.add(absent, Cause::Said(String::new()));
        let mut next = ROOT;
        loop {
            let conflicts = match solver.propagate(next) {
                Ok(conflicts) => conflicts,
                Err(last) => return Ok(Outcome::Impossible(solver.reasons(last))),
            };
            for (package, cause) in conflicts {
                solver.count_conflict(next, package, cause);
            }
            solver.take_turns();
            let Some(package) = solver.pick() else {
                return Ok(Outcome::Chosen(solver.decided, solver.contested));
            };
            next = package;
            solver.decide(package)?;
        }
    }

    fn left(&self, package: Package) -> Option<&Set> {
        let last = *self.known.get(package)?.last()?;
        Some(&self.trail.get(last)?.left)
    }

    /// Whether a package is there and its candidate is yet to be decided.
    fn is_open(&self, package: Package) -> bool {
        self.left(package).is_some_and(|left| !left.has(0)) && !self.settled.contains(&package)
    }

    fn pick(&mut self) -> Option<Package> {
        if self.is_open(ROOT) {
            return Some(ROOT);
        }
        let mut next: Option<(Turn, Package)> = None;
        for package in 1..self.known.len() {
            let Some(last) = self.known.get(package).and_then(|known| known.last()).copied() else {
                continue;
            };
            if !self.is_open(package) {
                continue;
            }
            let turn = match self.turn.get(&package) {
                Some((at, turn)) if *at == last => *turn,
                _ => {
                    let priority = self.priorities.get(&self.provider.base(package)).copied();
                    // A base that only its parts have asked for is met when one of them is decided.
                    let met = self.met.get(&package).copied().unwrap_or(usize::MAX);
                    let turn = (priority, Reverse(met));
                    self.turn.insert(package, (last, turn));
                    turn
                }
            };
            next = next.max(Some((turn, package)));
        }
        next.map(|(_, package)| package)
    }

    /// Decides for a candidate, or learns that one or all cannot be.
    fn decide(&mut self, package: Package) -> Result<()> {
        let Some(left) = self.left(package).cloned() else { return Ok(()) };
        let count = self.provider.count(package)?;
        let Some(candidate) = self.provider.best(package, &left) else {
            self.add(vec![(package, left)], Cause::Said(String::new()));
            return Ok(());
        };
        let only = Set::of(count, [candidate]);
        if self.asked.contains(&(package, candidate)) {
            self.choose(package, candidate, only);
            return Ok(());
        }
        let needs = match self.provider.needs(package, candidate)? {
            Needs::Unusable(why) => {
                self.add(vec![(package, only)], Cause::Said(why));
                return Ok(());
            }
            Needs::Known(needs) => needs,
        };
        self.asked.insert((package, candidate));
        for dependency in needs.iter().filter(|dependency| !dependency.allowed.has(0)) {
            self.meet(dependency);
            let Dependency { package, allowed, .. } = dependency;
            if let Some(base) = self.provider.whole(*package) {
                self.say(*package, allowed, base, allowed.not(), String::new());
            }
        }
        let mut conflict = None;
        for Dependency { package: other, allowed, label, .. } in needs {
            let id = self.say(package, &only, other, allowed.not(), label);
            let holds = self.store.get(id).is_some_and(|incompatibility| {
                incompatibility.terms.iter().all(|(p, set)| match *p == package {
                    true => only.within(set),
                    false => self.left(*p).is_some_and(|left| left.within(set)),
                })
            });
            conflict = conflict.or(holds.then_some(id));
        }
        match conflict.filter(|_| self.backtracked) {
            Some(id) => self.count_conflict(package, package, id),
            None => self.choose(package, candidate, only),
        }
        Ok(())
    }

    fn choose(&mut self, package: Package, candidate: usize, only: Set) {
        self.decided.push((package, candidate));
        self.settled.insert(package);
        self.assign(package, only, None);
    }

    fn meet(&mut self, dependency: &Dependency) {
        let next = self.met.len();
        self.met.entry(dependency.package).or_insert(next);
        let number = Reverse(self.priorities.len());
        let priority = self
            .priorities
            .entry(self.provider.base(dependency.package))
            .or_insert(Priority::Met(number));
        if dependency.exact {
            *priority = Priority::Exact(priority.number());
        }
    }

    /// Adds what a candidate says of another package; versions that say the same say it together.
    fn say(&mut self, who: Package, only: &Set, of: Package, not: Set, label: String) -> usize {
        let key = (who, of);
        let before = self.said.get(&key).into_iter().flatten().copied().find(|id| {
            let same = |i: &Incompatibility| i.term(of) == Some(&not) && i.terms.len() == 2;
            self.store.get(*id).is_some_and(same)
        });
        let mut set = only.clone();
        if let Some(before) = before {
            if let Some(known) = self.store.get(before).and_then(|i| i.term(who)) {
                set = set.or(known);
            }
            for package in [who, of] {
                if let Some(all) = self.of.get_mut(package) {
                    all.retain(|id| *id != before);
                }
            }
            if let Some(all) = self.said.get_mut(&key) {
                all.retain(|id| *id != before);
            }
        }
        let id = self.add(vec![(who, set), (of, not)], Cause::Said(label));
        self.said.entry(key).or_default().push(id);
        id
    }

    fn add(&mut self, terms: Vec<(Package, Set)>, cause: Cause) -> usize {
        let id = self.note(terms, cause);
        self.heed(id);
        id
    }

    /// Keeps an incompatibility, from which nothing follows yet.
    fn note(&mut self, terms: Vec<(Package, Set)>, cause: Cause) -> usize {
        self.store.push(Incompatibility { terms, cause });
        self.never.push(None);
        self.store.len() - 1
    }

    fn heed(&mut self, id: usize) {
        for (package, _) in self.store.get(id).map(|i| i.terms.as_slice()).unwrap_or_default() {
            if self.of.len() <= *package {
                self.of.resize_with(package + 1, Vec::new);
            }
            if let Some(all) = self.of.get_mut(*package) {
                all.push(id);
            }
        }
    }

    fn assign(&mut self, package: Package, set: Set, cause: Option<usize>) {
        let left = self.left(package).map(|left| left.and(&set)).unwrap_or(set);
        if self.known.len() <= package {
            self.known.resize_with(package + 1, Vec::new);
        }
        if let Some(known) = self.known.get_mut(package) {
            known.push(self.trail.len());
        }
        self.trail.push(Assignment { package, left, level: self.decided.len(), cause });
    }

    fn relation(&self, id: usize) -> Relation {
        let mut almost = None;
        for (package, set) in self.store.get(id).map(|i| i.terms.as_slice()).unwrap_or_default() {
            match self.left(*package) {
                Some(left) if left.within(set) => continue,
                Some(left) if left.is_apart(set) => return Relation::No { never: true },
                _ if almost.is_some() => return Relation::No { never: false },
                _ => almost = Some(*package),
            }
        }
        almost.map_or(Relation::Holds, Relation::Almost)
    }

    fn set_never(&mut self, id: usize) {
        if let Some(never) = self.never.get_mut(id) {
            *never = Some(self.decided.len());
        }
    }

    /// Rules out what cannot be, beginning with what is known of `package`. What it had to learn for
    /// that is returned; an error is what cannot be in any way.
    fn propagate(&mut self, package: Package) -> Result<Vec<(Package, usize)>, usize> {
        let mut conflicts = Vec::new();
        let mut queue = vec![package];
        while let Some(current) = queue.pop() {
            let mut conflict = None;
            // The newest say the most.
            for id in self.of.get(current).cloned().unwrap_or_default().into_iter().rev() {
                if self.never.get(id).is_none_or(Option::is_some) {
                    continue;
                }
                match self.relation(id) {
                    Relation::Holds => {
                        conflict = Some(id);
                        break;
                    }
                    Relation::Almost(other) => {
                        self.derive(other, id);
                        if !queue.contains(&other) {
                            queue.push(other);
                        }
                    }
                    Relation::No { never: true } => self.set_never(id),
                    Relation::No { never: false } => {}
                }
            }
            if let Some(id) = conflict {
                let (other, learnt) = self.learn(id, &mut conflicts)?;
                queue = vec![other];
                self.derive(other, learnt);
            }
        }
        Ok(conflicts)
    }

    /// All but `package`'s term of an incompatibility hold, so that one must not.
    fn derive(&mut self, package: Package, id: usize) {
        let Some(set) = self.store.get(id).and_then(|i| i.term(package)).map(Set::not) else {
            return;
        };
        self.assign(package, set, Some(id));
        self.set_never(id);
    }

    /// The place in the trail from which on a term holds, of what is known up to `end`, together with
    /// `more`.
    fn since(&self, package: Package, set: &Set, more: Option<&Set>) -> usize {
        let known = self.known.get(package).map(Vec::as_slice).unwrap_or_default();
        let holds = |at: &usize| {
            let left = self.trail.get(*at).map(|assignment| &assignment.left);
            left.is_some_and(|left| match more {
                Some(more) => left.and(more).within(set),
                None => left.within(set),
            })
        };
        let first = known.partition_point(|at| !holds(at));
        known.get(first).copied().unwrap_or(self.trail.len())
    }

    /// Finds out why an incompatibility that holds came to do so, takes back what was decided too early,
    /// and returns what is learnt of it and which package's term follows.
    /// Each step to it is added to `steps`.
    fn learn(
        &mut self,
        held: usize,
        steps: &mut Vec<(Package, usize)>,
    ) -> Result<(Package, usize), usize> {
        let mut id = held;
        loop {
            let Some(incompatibility) = self.store.get(id) else { return Err(id) };
            let terms = &incompatibility.terms;
            let satisfier = terms.iter().map(|(p, set)| (self.since(*p, set, None), *p)).max();
            let Some((at, package)) = satisfier.filter(|(_, p)| *p != ROOT || terms.len() > 1)
            else {
                return Err(id);
            };
            let (Some(assignment), Some(term)) =
                (self.trail.get(at), incompatibility.term(package))
            else {
                return Err(id);
            };
            let (level, cause) = (assignment.level, assignment.cause);
            let level_at = |at: usize| self.trail.get(at).map_or(0, |a| a.level);
            // What the assignment says alone, without what was known of its package before.
            let alone = match cause.and_then(|cause| self.store.get(cause)?.term(package)) {
                Some(ruled_out) => ruled_out.not(),
                None => assignment.left.clone(),
            };
            // It says it no earlier than the package was met, as uv's solver has it.
            let own = level_at(self.since(package, term, Some(&alone)));
            let others = terms.iter().filter(|(p, _)| *p != package);
            let before = others.map(|(p, set)| level_at(self.since(*p, set, None))).max();
            // The root is never taken back.
            let before = before.unwrap_or(0).max(own).max(1);
            let Some(cause) = cause.filter(|_| before >= level) else {
                self.back_to(before);
                if id != held {
                    self.heed(id);
                }
                steps.push((package, id));
                return Ok((package, id));
            };
            let Some(other) = self.store.get(cause) else { return Err(id) };
            self.contested.extend(terms.iter().chain(&other.terms).map(|(p, _)| *p));
            let mut merged: BTreeMap<Package, Set> = BTreeMap::new();
            for (p, set) in terms.iter().chain(&other.terms) {
                let known = merged.remove(p);
                let set = match known {
                    None => set.clone(),
                    Some(known) if *p == package => known.or(set),
                    Some(known) => known.and(set),
                };
                merged.insert(*p, set);
            }
            merged.retain(|_, set| !set.is_full());
            id = self.note(merged.into_iter().collect(), Cause::Learnt(id, cause));
            steps.push((package, id));
        }
    }

    fn back_to(&mut self, level: usize) {
        self.backtracked = true;
        while let Some(last) = self.trail.last().filter(|last| last.level > level) {
            self.turn.remove(&last.package);
            if let Some(known) = self.known.get_mut(last.package) {
                known.pop();
            }
            self.trail.pop();
        }
        for (package, _) in self.decided.drain(level.min(self.decided.len())..) {
            self.settled.remove(&package);
        }
        for never in &mut self.never {
            *never = never.filter(|at| *at <= level);
        }
    }

    /// Counts who is in whose way: `next` is what was decided last.
    fn count_conflict(&mut self, next: Package, affected: Package, id: usize) {
        let base = self.provider.base(affected);
        let mut real = false;
        for (culprit, _) in self.store.get(id).map(|i| i.terms.as_slice()).unwrap_or_default() {
            if self.provider.base(*culprit) == base {
                continue;
            }
            real = true;
            self.contested.insert(*culprit);
            let count = self.culprits.entry(*culprit).or_default();
            *count += 1;
            if *count == CONFLICTS {
                self.turns.1.push(*culprit);
            }
        }
        if real {
            let count = self.affected.entry(next).or_default();
            *count += 1;
            if *count == CONFLICTS {
                self.turns.0.push(next);
            }
        }
    }

    fn take_turns(&mut self) {
        let (early, late) = std::mem::take(&mut self.turns);
        for package in early {
            if let Some(priority) = self.priorities.get_mut(&self.provider.base(package)) {
                *priority = Priority::Early(priority.number());
            }
        }
        for package in late {
            let Some(priority) = self.priorities.get_mut(&self.provider.base(package)) else {
                continue;
            };
            if matches!(priority, Priority::Early(_) | Priority::Late(_)) {
                continue;
            }
            *priority = Priority::Late(priority.number());
            if let Some(level) = self.decided.iter().position(|(p, _)| *p == package) {
                self.back_to(level);
            }
        }
    }

    /// What all that was learnt goes back to.
    fn reasons(&self, last: usize) -> Vec<Reason> {
        let mut seen = HashSet::new();
        let mut stack = vec![last];
        let mut reasons: Vec<Reason> = Vec::new();
        while let Some(id) = stack.pop() {
            let Some(incompatibility) = self.store.get(id).filter(|_| seen.insert(id)) else {
                continue;
            };
            match (&incompatibility.cause, incompatibility.terms.first()) {
                (Cause::Learnt(a, b), _) => stack.extend([*a, *b]),
                (Cause::Said(label), Some((package, set))) if !label.is_empty() => {
                    let same = |(p, _, said): &&mut Reason| p == package && said == label;
                    match reasons.iter_mut().find(same) {
                        Some((_, known, _)) => *known = known.or(set),
                        None => reasons.push((*package, set.clone(), label.clone())),
                    }
                }
                _ => {}
            }
        }
        reasons
    }
}
