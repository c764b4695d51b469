//! Dependencies between packages (Policy 7): what a package needs, and which others that brings.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use std::cmp::Ordering;

use bk_deb::debian::control::field;
use bk_deb::debian::version;

use crate::archive::manifest::Key;

/// How a version must compare (Policy 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Relation {
    /// Whether an order is what is asked for.
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Relation::Earlier => order.is_lt(),
            Relation::EarlierOrEqual => order.is_le(),
            Relation::Equal => order.is_eq(),
            Relation::LaterOrEqual => order.is_ge(),
            Relation::Later => order.is_gt(),
        }
    }
}

/// One alternative of a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The package, real or virtual.
    pub name: String,
    /// What its version must be.
    pub version: Option<(Relation, String)>,
    /// The architectures it is for, as written in brackets: `amd64`, `!i386`.
    pub architectures: Vec<String>,
}

/// Reads a field such as `Depends`: all of the outer list are needed, one of each inner one. What
/// cannot be read needs nothing.
pub fn parse(text: &str) -> Vec<Vec<Dependency>> {
    let one = |text: &str| -> Option<Dependency> {
        let end = text.find(|c: char| c.is_whitespace() || "([<".contains(c));
        let (name, mut rest) = text.split_at(end.unwrap_or(text.len()));
        let name = name.split(':').next().filter(|name| !name.is_empty())?.to_owned();
        let (mut version, mut architectures) = (None, Vec::new());
        if let Some((_, inner)) = rest.split_once('(') {
            let (inner, after) = inner.split_once(')')?;
            let inner = inner.trim();
            let signs = [
                ("<<", Relation::Earlier),
                (">>", Relation::Later),
                ("<=", Relation::EarlierOrEqual),
                (">=", Relation::LaterOrEqual),
                ("=", Relation::Equal),
                ("<", Relation::EarlierOrEqual),
                (">", Relation::LaterOrEqual),
            ];
            let found = signs.into_iter().find_map(|(sign, relation)| {
                Some((relation, inner.strip_prefix(sign)?.trim().to_owned()))
            });
            version = Some(found?);
            rest = after;
        }
        if let Some((_, inner)) = rest.split_once('[') {
            let inner = inner.split(']').next()?;
            architectures = inner.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Some(Dependency { name, version, architectures })
    };
    let all = text.split(',').map(|group| group.split('|').filter_map(|t| one(t.trim())).collect());
    all.filter(|group: &Vec<Dependency>| !group.is_empty()).collect()
}

/// What a field `Provides` says: names, and versions where it says them.
pub fn provided(text: &str) -> Vec<(String, Option<String>)> {
    let all = parse(text).into_iter().flatten();
    all.map(|d| (d.name, d.version.map(|(_, version)| version))).collect()
}

impl Dependency {
    fn is_for(&self, architecture: &str) -> bool {
        let listed = |sign: &str| {
            let names = self.architectures.iter().filter_map(|a| match sign {
                "!" => a.strip_prefix('!'),
                _ => Some(a.as_str()).filter(|a| !a.starts_with('!')),
            });
            names.collect::<Vec<_>>()
        };
        let (yes, no) = (listed(""), listed("!"));
        let like = |wanted: &&str| *wanted == architecture || *wanted == "any";
        !no.iter().any(like) && (yes.is_empty() || yes.iter().any(like))
    }
}

/// Packages among which dependencies are looked for.
#[derive(Default)]
pub struct Universe<'a> {
    /// By name, what has it or provides it: the version that counts, and which it is.
    named: HashMap<String, Vec<(Option<String>, usize)>>,
    all: Vec<(&'a Key, &'a [u8])>,
}

/// The fields that name what must be there for a package to work.
pub const NEEDS: [&str; 2] = ["Pre-Depends", "Depends"];

/// The same, with what is there unless someone decides otherwise.
pub const WANTS: [&str; 3] = ["Pre-Depends", "Depends", "Recommends"];

impl<'a> Universe<'a> {
    /// Adds a package.
    pub fn add(&mut self, key: &'a Key, stanza: &'a [u8]) {
        let number = self.all.len();
        self.all.push((key, stanza));
        if key.architecture == "source" {
            return;
        }
        let mut name =
            |name: String, version| self.named.entry(name).or_default().push((version, number));
        name(key.name.clone(), Some(key.version.clone()));
        let provides = field(stanza, "Provides").unwrap_or_default();
        for (provides, version) in provided(&String::from_utf8_lossy(provides)) {
            name(provides, version);
        }
    }

    /// All that some packages need, they themselves among it. Each alternative that can be had is
    /// taken in its newest version, so that a client can choose. The second value names
    /// dependencies that nothing here satisfies.
    pub fn closure(
        &self,
        start: impl IntoIterator<Item = &'a Key>,
        fields: &[&str],
    ) -> (BTreeSet<&'a Key>, BTreeMap<String, &'a Key>) {
        let mut chosen: BTreeSet<&Key> = BTreeSet::new();
        let mut missing = BTreeMap::new();
        let mut left: Vec<&Key> = start.into_iter().collect();
        let by_key: HashMap<&Key, usize> =
            self.all.iter().enumerate().map(|(number, (key, _))| (*key, number)).collect();
        while let Some(key) = left.pop() {
            if !chosen.insert(key) || key.architecture == "source" {
                continue;
            }
            let Some((_, stanza)) = by_key.get(key).and_then(|number| self.all.get(*number)) else {
                continue;
            };
            for name in fields {
                let text = field(stanza, name).map(String::from_utf8_lossy).unwrap_or_default();
                for group in parse(&text) {
                    let mut found = false;
                    let mut applies = false;
                    for one in &group {
                        if key.architecture != "all" && !one.is_for(&key.architecture) {
                            continue;
                        }
                        applies = true;
                        for number in self.best(one, &key.architecture) {
                            found = true;
                            left.extend(self.all.get(number).map(|(key, _)| *key));
                        }
                    }
                    if applies
                        && !found
                        && let Some(first) = group.first()
                    {
                        missing.insert(first.name.clone(), key);
                    }
                }
            }
        }
        (chosen, missing)
    }

    /// The newest that satisfies, of each name and architecture.
    fn best(&self, wanted: &Dependency, architecture: &str) -> Vec<usize> {
        let mut best: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (version, number) in self.named.get(&wanted.name).into_iter().flatten() {
            let Some((key, _)) = self.all.get(*number) else { continue };
            let fits = match (&wanted.version, version) {
                (None, _) => true,
                (Some((relation, than)), Some(version)) => {
                    relation.holds(version::compare(version, than))
                }
                (Some(_), None) => false,
            };
            let here = architecture == "all"
                || key.architecture == "all"
                || key.architecture == architecture;
            if !fits || !here {
                continue;
            }
            let place = best.entry((&key.name, &key.architecture)).or_insert(*number);
            if self.all.get(*place).is_some_and(|(known, _)| *known < *key) {
                *place = *number;
            }
        }
        best.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let all = parse("a (>= 1), b:any | c [!i386 amd64] <!nocheck>,\n d(<<2~), , e");
        assert_eq!(all.len(), 4);
        assert_eq!(all[0][0].version, Some((Relation::LaterOrEqual, "1".into())));
        assert_eq!(all[1][0].name, "b");
        assert_eq!(all[1][1].architectures, ["!i386", "amd64"]);
        assert!(all[1][1].is_for("amd64") && !all[1][1].is_for("i386"));
        assert_eq!(all[2][0].version, Some((Relation::Earlier, "2~".into())));
        assert_eq!(
            provided("x, y (= 2)"),
            [("x".into(), None), ("y".into(), Some("2".to_owned()))]
        );
        assert!(parse("a (, ((), [").len() <= 1);
    }

    #[test]
    fn the_closure_takes_what_is_needed_and_says_what_is_not_there() {
        let stanza = |name: &str, version: &str, more: &str| {
            let text = format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n{more}");
            (Key::of(text.as_bytes()).unwrap(), text.into_bytes())
        };
        let all = [
            stanza("a", "1", "Depends: b (>= 2), v | gone, nowhere\n"),
            stanza("b", "1", ""),
            stanza("b", "2", "Pre-Depends: c\n"),
            stanza("b", "3", ""),
            stanza("c", "1", ""),
            stanza("p", "1", "Provides: v\nRecommends: r\n"),
            stanza("r", "1", ""),
            stanza("z", "1", ""),
        ];
        let mut universe = Universe::default();
        all.iter().for_each(|(key, stanza)| universe.add(key, stanza));
        let names = |fields: &[&str]| {
            let (chosen, missing) = universe.closure([&all[0].0], fields);
            assert_eq!(missing.keys().collect::<Vec<_>>(), ["nowhere"]);
            chosen.into_iter().map(|k| format!("{}{}", k.name, k.version)).collect::<Vec<_>>()
        };
        assert_eq!(names(&NEEDS), ["a1", "b3", "p1"]);
        assert_eq!(names(&WANTS), ["a1", "b3", "p1", "r1"]);
    }
}
