//! Choosing the packages of a machine: what is wanted, and what that needs.

use std::collections::{BTreeMap, VecDeque};

use bk::{Error, Result};
use bk_deb::debian::version;

use crate::archive::{Index, Package, provides};

/// What makes a Debian a machine that boots and can be logged in to; the kernel comes with it.
/// usr-is-merged stands for the program that would merge /usr, which brings all of Perl.
const MACHINE: [&str; 11] = [
    "apt",
    "ca-certificates",
    "dbus",
    "iproute2",
    "klibc-utils",
    "netbase",
    "openssh-server",
    "sudo",
    "systemd-sysv",
    "udev",
    "usr-is-merged",
];

/// The names a machine has beside what is essential and required: the kernel made for machines in
/// machines, where the architecture has one.
pub fn machine(index: &Index<'_>, arch: &str, more: &[String]) -> Vec<String> {
    let kernels = [format!("linux-image-cloud-{arch}"), format!("linux-image-{arch}")];
    let kernel = kernels.into_iter().find(|name| index.get(name).is_some());
    let set = MACHINE.iter().filter(|name| index.get(name).is_some()).map(|&name| name.to_owned());
    set.chain(kernel).chain(more.iter().cloned()).collect()
}

/// One relation: a name, and maybe a bound.
#[derive(Clone, Copy, Debug)]
struct Relation<'a> {
    name: &'a str,
    bound: Option<(&'a str, &'a str)>,
}

/// `name:any (>= 1.0) [arch]`
fn relation(text: &str) -> Relation<'_> {
    let (name, bound) = match text.split_once('(') {
        Some((name, rest)) => {
            let bound = rest.split(')').next().unwrap_or_default().trim();
            let at = bound.find(|c: char| !"<>=".contains(c)).unwrap_or(bound.len());
            let (operator, version) = bound.split_at(at);
            (name, Some((operator, version.trim())))
        }
        None => (text, None),
    };
    Relation { name: name.split([':', '[']).next().unwrap_or_default().trim(), bound }
}

fn clauses(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|clause| !clause.is_empty())
}

impl Relation<'_> {
    fn admits(&self, version: &str) -> bool {
        let Some((operator, bound)) = self.bound else { return true };
        let order = version::compare(version, bound);
        match operator {
            "<<" => order.is_lt(),
            "<=" | "<" => order.is_le(),
            "=" => order.is_eq(),
            ">=" | ">" => order.is_ge(),
            ">>" => order.is_gt(),
            _ => false,
        }
    }

    /// Whether a package is what is meant, or provides it (Policy 7.5).
    fn met_by(&self, package: &Package<'_>) -> bool {
        (package.name == self.name && self.admits(package.version))
            || provides(package.provides).any(|(name, version)| {
                name == self.name
                    && match version {
                        Some(version) => self.admits(version),
                        None => self.bound.is_none(),
                    }
            })
    }
}

/// A choice that has not been made yet.
struct Open<'a> {
    clause: &'a str,
    of: &'a str,
}

/// The packages chosen, by name.
type Chosen<'a> = BTreeMap<&'a str, Package<'a>>;

/// What is essential, required or wanted, and all that needs, in the order of their names.
///
/// Where there is a choice, what is chosen anyway is taken, else the first that there is, as apt does:
/// so choices are put off until nothing else is left.
pub fn resolve<'a>(index: &Index<'a>, wanted: &[String]) -> Result<Vec<Package<'a>>> {
    let mut queue: VecDeque<Package<'a>> = VecDeque::new();
    let base = index.all().filter(|p| p.essential || p.priority == "required");
    queue.extend(base.copied());
    for name in wanted {
        let found = candidates(index, name).into_iter().next();
        let package = found.ok_or_else(|| {
            Error::new(format!("no archive has the package '{}'", bk::sanitize(name)))
        })?;
        queue.push_back(*package);
    }
    let mut chosen = Chosen::new();
    let mut open: VecDeque<Open<'a>> = VecDeque::new();
    loop {
        while let Some(package) = queue.pop_front() {
            if chosen.insert(package.name, package).is_some() {
                continue;
            }
            for clause in clauses(package.pre_depends).chain(clauses(package.depends)) {
                match candidates(index, clause)[..] {
                    [] => {
                        return Err(Error::new(format!(
                            "'{}' needs '{clause}', and no archive has it",
                            package.name
                        ))
                        .hint("the mirror may be changing just now: try again"));
                    }
                    [only] => queue.push_back(*only),
                    _ => open.push_back(Open { clause, of: package.name }),
                }
            }
        }
        let met = |open: &Open<'_>| {
            let mut either = open.clause.split('|').map(relation);
            either.any(|relation| chosen.values().any(|package| relation.met_by(package)))
        };
        open.retain(|open| !met(open));
        // The choices of the first in the alphabet come first, however the index was sorted.
        let first = (0..open.len()).min_by_key(|&at| open.get(at).map(|open| open.of));
        let Some(next) = first.and_then(|at| open.remove(at)) else { break };
        queue.extend(candidates(index, next.clause).first().map(|&package| *package));
    }
    clashes(&chosen)?;
    Ok(chosen.into_values().collect())
}

/// The packages that would meet a clause, the one to take first first: of each name the package itself,
/// then those that provide it, those that more systems have before others.
fn candidates<'i, 'a>(index: &'i Index<'a>, clause: &str) -> Vec<&'i Package<'a>> {
    let rank = |package: &&Package<'_>| {
        let order = ["required", "important", "standard", "optional"];
        order.iter().position(|&priority| priority == package.priority).unwrap_or(order.len())
    };
    let mut all: Vec<&Package<'a>> = Vec::new();
    for relation in clause.split('|').map(relation) {
        let mut providers: Vec<&Package<'a>> = index.providers(relation.name).collect();
        providers.sort_by_key(rank);
        for package in index.get(relation.name).into_iter().chain(providers) {
            if relation.met_by(package) && !all.iter().any(|known| known.name == package.name) {
                all.push(package);
            }
        }
    }
    all
}

/// Refuses packages that cannot be together.
fn clashes(chosen: &Chosen<'_>) -> Result<()> {
    for package in chosen.values() {
        for clause in clauses(package.conflicts).chain(clauses(package.breaks)) {
            let relation = relation(clause);
            let other = |other: &&Package<'_>| other.name != package.name && relation.met_by(other);
            if let Some(other) = chosen.values().find(other) {
                return Err(Error::new(format!(
                    "'{}' and '{}' cannot be installed together: the first conflicts with '{clause}'",
                    package.name, other.name
                ))
                .hint("leave one of them out of -a"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(index: &str, wanted: &[&str]) -> Result<Vec<String>> {
        let index = Index::of(index);
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        Ok(resolve(&index, &wanted)?.iter().map(|package| package.name.to_owned()).collect())
    }

    const INDEX: &str = "\
Package: base
Version: 1
Essential: yes
Depends: merge | merged

Package: merge
Version: 1
Depends: perl

Package: merged
Version: 1

Package: perl
Version: 5

Package: tool
Version: 2
Depends: lib:any (>= 1.5), virtual
Pre-Depends: base (>= 1)

Package: lib
Version: 1.10

Package: old
Version: 1
Depends: lib (<< 1.9)

Package: first
Version: 1
Priority: optional
Provides: virtual

Package: second
Version: 1
Priority: important
Provides: virtual (= 3)
Conflicts: virtual

Package: exact
Version: 1
Depends: virtual (>= 3)

Package: both
Version: 1
Depends: first, second
";

    #[test]
    fn the_first_alternative_is_taken_unless_another_is_there() -> bk::Result<()> {
        assert_eq!(names(INDEX, &[])?, ["base", "merge", "perl"]);
        assert_eq!(names(INDEX, &["merged"])?, ["base", "merged"]);
        Ok(())
    }

    #[test]
    fn virtual_packages_have_versions_only_where_they_say_so() -> bk::Result<()> {
        assert_eq!(names(INDEX, &["merged", "tool"])?, ["base", "lib", "merged", "second", "tool"]);
        let with_first = names(INDEX, &["merged", "first", "tool"])?;
        assert_eq!(with_first, ["base", "first", "lib", "merged", "tool"]);
        assert_eq!(names(INDEX, &["merged", "exact"])?, ["base", "exact", "merged", "second"]);
        Ok(())
    }

    #[test]
    fn what_cannot_be_is_said_with_both_names() {
        for (wanted, words) in [
            ("old", ["'old'", "lib (<< 1.9)"]),
            ("both", ["'first'", "'second'"]),
            ("nowhere", ["'nowhere'", "no archive"]),
        ] {
            let error = names(INDEX, &["merged", wanted]).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
