//! What is said of candidates and conflicts.

use std::fmt::{self, Display};

use bk::{Error, sanitize};
use resolvo::{
    Condition, ConditionId, Interner, NameId, SolvableId, StringId, VersionSetId, VersionSetUnionId,
};

use super::{Candidate, From, Name, Provider, Range};
use crate::graph::Reuse;

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.extra {
            Some(extra) => write!(f, "{}[{extra}]", self.package),
            None => write!(f, "{}", self.package),
        }
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Specifiers(specifiers) => write!(f, "{specifiers}"),
            Range::Same(_) => Ok(()),
            Range::Relations(relations) => write!(f, "({})", relations.join(", ")),
        }
    }
}

impl Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            From::Distro(package, version) => write!(f, "{} ({package} {version})", self.version),
            _ => write!(f, "{}", self.version),
        }
    }
}

impl Provider<'_> {
    /// Why there is no solution.
    pub(super) fn explain(&self, said: &str) -> Error {
        let missing = self.missing.borrow();
        let wanted: Vec<String> = self
            .problem
            .requirements
            .iter()
            .map(|r| format!("'{}'", sanitize(&r.to_string())))
            .collect();
        let failed = format!("cannot choose versions for {}", wanted.join(", "));
        if let Some((package, requesters)) = missing.iter().next() {
            let requesters: Vec<&str> = requesters.iter().map(String::as_str).collect();
            let by = match requesters.as_slice() {
                [] | ["what is asked for"] => String::new(),
                several => format!(", which '{}' requires", several.join("', '")),
            };
            let distro = self.problem.reuse == Reuse::Require && !self.roots.contains(package);
            let (nowhere, hint) = match distro {
                true => (
                    format!("{} has no package of", self.problem.distro.suite),
                    "build it too: name it, or use --reuse prefer",
                ),
                false => (
                    "no index and no folder has".to_owned(),
                    "check its name, and the index (--index-url, --find-links)",
                ),
            };
            return Error::new(format!("{nowhere} '{package}'{by}")).context(failed).hint(hint);
        }
        Error::new(shortened(said))
            .context(failed)
            .hint("loosen a requirement, or build in two calls what need not go together")
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        let solvable = self.pool.resolve_solvable(solvable);
        format!("{} {}", self.pool.resolve_package_name(solvable.name), solvable.record)
    }

    fn display_merged_solvables(&self, solvables: &[SolvableId]) -> impl Display + '_ {
        let Some(first) = solvables.first() else { return String::new() };
        let name = self.pool.resolve_package_name(self.pool.resolve_solvable(*first).name);
        let mut versions: Vec<&Candidate> =
            solvables.iter().map(|id| &self.pool.resolve_solvable(*id).record).collect();
        versions.sort_by(|a, b| a.version.cmp(&b.version));
        versions.dedup_by(|a, b| a.version == b.version);
        // Hundreds of numbers say less than their ends.
        match versions.as_slice() {
            [first, _, _, _, .., last] => format!("{name} {first} to {last}"),
            few => {
                let few: Vec<String> = few.iter().map(ToString::to_string).collect();
                format!("{name} {}", few.join(" | "))
            }
        }
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.pool.resolve_package_name(name)
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        self.pool.resolve_version_set(version_set)
    }

    fn display_string(&self, string: StringId) -> impl Display + '_ {
        self.pool.resolve_string(string)
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        self.pool.resolve_version_set_package_name(version_set)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.pool.resolve_solvable(solvable).name
    }

    fn version_sets_in_union(
        &self,
        union: VersionSetUnionId,
    ) -> impl Iterator<Item = VersionSetId> {
        self.pool.resolve_version_set_union(union)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.pool.resolve_condition(condition).clone()
    }
}

/// The solver's words with runs of versions that fail in the same way as one line each.
fn shortened(said: &str) -> String {
    /// Branch and name, version, and what is said of it.
    fn parts(line: &str) -> Option<(&str, &str, &str)> {
        let (start, why) = line.split_once(", ")?;
        let (start, version) = start.rsplit_once(' ')?;
        Some((start, version, why))
    }
    let bare = |start: &str| start.trim_start_matches(['├', '└', '│', '─', ' ']).to_owned();
    let mut lines: Vec<String> = Vec::new();
    let mut rest = said.lines().peekable();
    while let Some(line) = rest.next() {
        let Some((start, newest, why)) = parts(line) else {
            lines.push(line.to_owned());
            continue;
        };
        let (mut last, mut oldest) = (start, newest);
        while let Some((next, version, same)) = rest.peek().and_then(|line| parts(line))
            && same == why
            && bare(next) == bare(start)
            && next.len() == start.len()
        {
            (last, oldest) = (next, version);
            rest.next();
        }
        match newest == oldest {
            true => lines.push(line.to_owned()),
            false => {
                let why = why.replace("which conflicts", "which conflict");
                lines.push(format!("{last} {newest} to {oldest}, {why}"));
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_fail_alike_are_one_line() {
        let said = "a 1 cannot be:\n   ├─ b 3, which conflicts with x.\n   ├─ b 2, which conflicts with x.\n\
                    \u{20}  └─ b 1, which conflicts with x.\n";
        assert_eq!(shortened(said), "a 1 cannot be:\n   └─ b 3 to 1, which conflict with x.");
        assert_eq!(shortened("x\n├─ b 3, why\n└─ c 2, why"), "x\n├─ b 3, why\n└─ c 2, why");
    }
}
