//! Version specifiers (PEP 440) as relations between Debian packages (Policy 7.1).

use pep440_rs::{Operator, Prerelease, Version, VersionSpecifier, VersionSpecifiers};

use super::version::{debian, stripped};
use crate::debian::version::compare;

/// The relations that hold the package `name` within `specifiers`; one bare name if there are
/// none. `epoch` is the distribution's, see [`debian`].
///
/// `resolved` is the version that was chosen: where a specifier names it, it is written with that
/// version's digits, as dpkg tells `1.0` from `1.0.0`.
pub fn relations(
    name: &str,
    specifiers: &VersionSpecifiers,
    epoch: u64,
    resolved: Option<&Version>,
) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for specifier in specifiers.iter() {
        for bound in bounds(specifier, epoch, resolved) {
            let alternatives: Vec<String> =
                bound.iter().map(|(op, version)| format!("{name} ({op} {version})")).collect();
            let relation = alternatives.join(" | ");
            if !all.contains(&relation) {
                all.push(relation);
            }
        }
    }
    if all.is_empty() {
        all.push(name.to_owned());
    }
    all
}

/// All of these must hold; within one, any of its alternatives.
type Bounds = Vec<Vec<(&'static str, String)>>;

fn bounds(specifier: &VersionSpecifier, epoch: u64, resolved: Option<&Version>) -> Bounds {
    let given = specifier.version();
    // Same version, maybe with other zeros: the spelling that is really there.
    let version = resolved.filter(|r| *r == given).unwrap_or(given);
    let low = |v: &Version| if v.any_prerelease() { debian(v, epoch) } else { stripped(v, epoch) };
    let next = |parts: usize| format!("{}~", stripped(&bumped(given, parts), epoch));
    let parts = given.release().len();
    match specifier.operator() {
        Operator::Equal | Operator::ExactEqual => {
            vec![vec![(">=", debian(version, epoch))], vec![("<<", above(version, epoch))]]
        }
        Operator::EqualStar => vec![vec![(">=", low(given))], vec![("<<", next(parts))]],
        Operator::NotEqual => {
            vec![vec![("<<", debian(version, epoch)), (">=", above(version, epoch))]]
        }
        Operator::NotEqualStar => {
            let first = format!("{}~", stripped(given, epoch));
            vec![vec![("<<", first), (">=", next(parts))]]
        }
        Operator::TildeEqual => {
            vec![vec![(">=", low(given))], vec![("<<", next(parts.saturating_sub(1)))]]
        }
        Operator::LessThan if given.any_prerelease() => vec![vec![("<<", debian(given, epoch))]],
        // PEP 440: `<2.0` leaves the pre-releases of 2.0 out.
        Operator::LessThan => vec![vec![("<<", format!("{}~", stripped(given, epoch)))]],
        Operator::LessThanEqual => vec![vec![("<<", above(version, epoch))]],
        Operator::GreaterThan => vec![vec![(">=", after(version, epoch))]],
        Operator::GreaterThanEqual => vec![vec![(">=", low(given))]],
    }
}

/// The first release that does not start with the first `parts` parts of `version`.
fn bumped(version: &Version, parts: usize) -> Version {
    let mut release = version.release()[..parts.max(1)].to_vec();
    if let Some(last) = release.last_mut() {
        *last += 1;
    }
    Version::new(release).with_epoch(version.epoch())
}

/// The least version above `version`, its revisions, repacks (`+dfsg`) and local versions.
fn above(version: &Version, epoch: u64) -> String {
    if let Some(dev) = version.dev() {
        return debian(&version.clone().without_local().with_dev(Some(dev + 1)), epoch);
    }
    if let Some(post) = version.post() {
        let next = version.clone().without_local().with_post(Some(post + 1));
        return format!("{}~", debian(&next, epoch));
    }
    format!("{}+post", debian(&version.clone().without_local(), epoch))
}

/// The least version that `>version` allows: PEP 440 leaves post-releases and local versions of
/// `version` out, unless it is a post-release itself.
fn after(version: &Version, epoch: u64) -> String {
    if version.dev().is_some() || version.post().is_some() {
        return above(version, epoch);
    }
    let version = version.clone().without_local();
    let next = match version.pre() {
        Some(pre) => version.with_pre(Some(Prerelease { number: pre.number + 1, ..pre })),
        None => {
            let release: Vec<u64> = version.release().iter().copied().chain([0]).collect();
            version.with_release(release)
        }
    };
    format!("{}~", debian(&next, epoch))
}

/// Whether a package of this version meets relations that [`relations`] wrote.
pub fn satisfied(relations: &[String], version: &str) -> bool {
    let holds = |alternative: &str| {
        let bound = alternative.split_once(" (").and_then(|(_, rest)| rest.strip_suffix(')'));
        let Some((op, bound)) = bound.and_then(|bound| bound.split_once(' ')) else { return true };
        let order = compare(version, bound);
        match op {
            ">=" => order.is_ge(),
            "<<" => order.is_lt(),
            _ => false,
        }
    };
    relations.iter().all(|relation| relation.split(" | ").any(holds))
}

/// Whether the package `deb` at `version` meets a relation (Policy 7.1); what it says of other
/// packages is theirs to meet.
pub fn meets(relation: &str, deb: &str, version: &str) -> bool {
    relation.split('|').any(|alternative| {
        let alternative = alternative.trim();
        let (name, bound) = alternative.split_once('(').unwrap_or((alternative, ""));
        if name.trim().split(':').next() != Some(deb) {
            return true;
        }
        let bound = bound.trim_end_matches(')').trim();
        let (op, bound) = bound.split_at(bound.find(|c| !"<>=".contains(c)).unwrap_or(0));
        let order = compare(version, bound.trim());
        match op {
            "<<" => order.is_lt(),
            "<=" | "<" => order.is_le(),
            "=" => order.is_eq(),
            ">=" | ">" => order.is_ge(),
            ">>" => order.is_gt(),
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(specifiers: &str) -> String {
        relations("x", &specifiers.parse().unwrap(), 0, None).join(", ")
    }

    #[test]
    fn the_mapping_is_the_documented_one() {
        assert_eq!(written(""), "x");
        assert_eq!(written(">=1.0"), "x (>= 1)");
        assert_eq!(written("<2.0"), "x (<< 2~)");
        assert_eq!(written("~=2.8"), "x (>= 2.8), x (<< 3~)");
        assert_eq!(written("~=2.8.0"), "x (>= 2.8), x (<< 2.9~)");
        assert_eq!(written("==1.5"), "x (>= 1.5), x (<< 1.5+post)");
        assert_eq!(written("==1.*"), "x (>= 1), x (<< 2~)");
        assert_eq!(written("!=1.5"), "x (<< 1.5) | x (>= 1.5+post)");
        assert_eq!(written("!=1.5.*"), "x (<< 1.5~) | x (>= 1.6~)");
        assert_eq!(written("<2,>=1.0a1"), "x (>= 1.0~a1), x (<< 2~)");
        assert_eq!(written("<=2"), "x (<< 2+post)");
        assert_eq!(written(">2"), "x (>= 2.0~)");
    }

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

    #[test]
    fn the_version_that_is_there_is_spelled_as_it_is() {
        let specifiers = "==1.0".parse().unwrap();
        let resolved = "1.0.0".parse().unwrap();
        assert_eq!(
            relations("x", &specifiers, 1, Some(&resolved)).join(", "),
            "x (>= 1:1.0.0), x (<< 1:1.0.0+post)"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100_000))]
        /// Releases and post-releases of as many parts as the specifier has (fewer where the
        /// specifier's own are written with zeros), as built by us, repacked, and revised.
        #[test]
        fn dpkgs_verdict_is_pep_440s(
            op in prop::sample::select(vec!["==", "!=", "<=", ">=", "<", ">", "~=", "==*", "!=*"]),
            bound in prop::collection::vec(0..4u64, 3),
            release in prop::collection::vec(0..4u64, 3),
            post in prop::option::of(0..3u64),
            mark in prop::sample::select(vec!["", "+dfsg", "+ds1"]),
        ) {
            let dots = |parts: &[u64]| parts.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
            let specifier = match op.strip_suffix('*') {
                Some(op) => format!("{op}{}.*", dots(&bound[..2])),
                None => format!("{op}{}", dots(&bound)),
            };
            let post = post.map(|n| format!(".post{n}")).unwrap_or_default();
            let version: Version = format!("{}{post}", dots(&release)).parse().unwrap();
            let specifiers: VersionSpecifiers = specifier.parse().unwrap();
            let there = format!("{}{mark}-1", debian(&version, 0));
            let relations = relations("x", &specifiers, 0, None);
            prop_assert_eq!(
                satisfied(&relations, &there), specifiers.contains(&version),
                "{} {} {:?}", specifier, there, relations
            );
        }
    }
}
