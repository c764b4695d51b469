//! What is said of candidates and conflicts.

use std::fmt::{self, Display};

use bk::{Error, sanitize};
use pep508_rs::PackageName;

use super::{Candidate, From, Name, Provider, Range};
use crate::graph::Reuse;
use crate::python::solve::pubgrub::{Reason, Set};

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Root => write!(f, "what is asked for"),
            Name::Plain(package) => write!(f, "{package}"),
            Name::Both(package, extra) | Name::Extra(package, extra) => {
                write!(f, "{package}[{extra}]")
            }
        }
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Specifiers(specifiers) => write!(f, "{specifiers}"),
            Range::Relations(relations) => write!(f, " ({})", relations.join(", ")),
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
    pub(super) fn explain(&self, reasons: Vec<Reason>) -> Error {
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
        let lines: Vec<String> = reasons.iter().map(|reason| self.line(reason)).collect();
        Error::new(lines.join("\n"))
            .context(failed)
            .hint("loosen a requirement, or build in two calls what need not go together")
    }

    /// A reason as a sentence.
    fn line(&self, (package, set, said): &Reason) -> String {
        let name = self.name(*package);
        let versions = name.package().and_then(|package| self.versions(package, set));
        match versions {
            Some(versions) => format!("{name} {versions} {}", sanitize(said)),
            None => format!("{name} {}", sanitize(said)),
        }
    }

    /// Some candidates, the oldest first.
    fn versions(&self, package: &PackageName, set: &Set) -> Option<String> {
        let bases = self.bases(package).ok()?;
        let mut versions: Vec<&Candidate> =
            set.candidates().filter_map(|at| bases.get(at)).collect();
        versions.sort_by(|a, b| a.version.cmp(&b.version));
        versions.dedup_by(|a, b| a.version == b.version);
        // Hundreds of numbers say less than their ends.
        Some(match versions.as_slice() {
            [first, _, _, _, .., last] => format!("{first} to {last}"),
            few => few.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "),
        })
    }
}
