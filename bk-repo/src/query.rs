//! Which packages are meant: a language with aptly's operators, and dpkg's way to name a package.
//!
//! ```text
//! query     := and { '|' and }
//! and       := not { ',' not }
//! not       := '!' not | '(' query ')' | term
//! term      := name | name=version | name_version_arch     each part with * ? and [a-z]
//!            | name '(' relation version ')' [ '{' arch '}' ]   what satisfies this dependency
//!            | Field [ '(' [relation] value ')' ]              Field is there, or is like this
//! relation  := << <= = >= >> (versions), % (wildcards), ~ (regular expression)
//! ```
//!
//! Fields are those of the indexes, and `Name`, `$Architecture`, `$PackageType`, `$Source`,
//! `$SourceVersion` and `$Version`, as aptly has them. Unlike there a name alone never means a
//! virtual package: what it means can be removed.

use std::borrow::Cow;
use std::cmp::Ordering;

use bk::{Error, Result, Status};
use bk_deb::debian::control::field;
use bk_deb::debian::version;
use regex::Regex;

use crate::archive::manifest::Key;
use crate::dependency;

/// The language in short, for hints.
const HELP: &str = "say name, name=version, name_version_arch or an expression such as \
                    'Name (% python*), $Version (>= 2)'; see bk-repo-list(1)";

/// How deep brackets may be nested: nobody writes more, and each takes a call.
const DEPTH: usize = 64;

/// A package as a query sees it.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// What tells it apart.
    pub key: &'a Key,
    /// Its stanza.
    pub stanza: &'a [u8],
    /// Whether it is for the installer.
    pub udeb: bool,
}

/// Which packages are meant.
#[derive(Clone, Debug)]
pub enum Query {
    /// One of these.
    Any(Vec<Query>),
    /// All of these.
    All(Vec<Query>),
    /// Not this.
    Not(Box<Query>),
    /// A package named so.
    Named {
        /// Its name.
        name: String,
        /// Its version.
        version: Option<String>,
        /// Its architecture.
        architecture: Option<String>,
    },
    /// A package that satisfies a dependency.
    Satisfies {
        /// The name, of the package or of what it provides.
        name: String,
        /// What its version must be.
        test: Test,
        /// The architecture it must be installable on.
        architecture: Option<String>,
    },
    /// A package whose field is like this.
    Field {
        /// The field.
        name: String,
        /// What its value must be.
        test: Test,
    },
}

/// What a value must be.
#[derive(Clone, Debug)]
pub enum Test {
    /// There.
    Present,
    /// This.
    Equal(String),
    /// A version that compares so with this one.
    Version(dependency::Relation, String),
    /// Like this, with wildcards.
    Glob(String),
    /// Found by this.
    Regex(Regex),
}

impl Query {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Self> {
        let parse = || {
            let mut parser = Parser { rest: text, depth: 0 };
            let query = parser.any()?;
            match parser.peek() {
                None => Ok(query),
                Some(_) => Err(Error::new(format!("'{}' is left over", parser.rest.trim()))),
            }
        };
        parse().map_err(|e: Error| {
            let what = format!("'{}' says no package", bk::sanitize(text));
            e.context(what).hint(HELP).status(Status::Usage)
        })
    }

    /// Whether a package is meant.
    pub fn matches(&self, item: &Item<'_>) -> bool {
        let like = |pattern: &Option<String>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| glob(pattern, text))
        };
        match self {
            Query::Any(all) => all.iter().any(|query| query.matches(item)),
            Query::All(all) => all.iter().all(|query| query.matches(item)),
            Query::Not(query) => !query.matches(item),
            Query::Named { name, version, architecture } => {
                glob(name, &item.key.name)
                    && like(version, &item.key.version)
                    && like(architecture, &item.key.architecture)
            }
            Query::Satisfies { name, test, architecture } => {
                let runs = |wanted: &String| installable(item, wanted);
                architecture.as_ref().is_none_or(runs) && satisfies(item, name, test)
            }
            Query::Field { name, test } => match (name.as_str(), test) {
                ("$Architecture", Test::Equal(wanted)) => installable(item, wanted),
                ("$Version", Test::Equal(wanted)) => {
                    version::compare(&item.key.version, wanted).is_eq()
                }
                _ => test.holds(&value(item, name)),
            },
        }
    }

    /// The one name it can match, if that is plain to see.
    pub fn exact_name(&self) -> Option<&str> {
        match self {
            Query::Named { name, .. } if !name.contains(['*', '?', '[', '\\']) => Some(name),
            Query::Field { name, test: Test::Equal(value) } if name == "Name" => Some(value),
            Query::All(all) => all.iter().find_map(Query::exact_name),
            _ => None,
        }
    }
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Test::Present => !value.is_empty(),
            Test::Equal(wanted) => value == wanted,
            Test::Version(relation, wanted) => relation.holds(version::compare(value, wanted)),
            Test::Glob(pattern) => glob(pattern, value),
            Test::Regex(regex) => regex.is_match(value),
        }
    }

    /// The same, where the value is a version.
    fn holds_of_version(&self, value: &str) -> bool {
        match self {
            Test::Equal(wanted) => version::compare(value, wanted) == Ordering::Equal,
            test => test.holds(value),
        }
    }
}

fn satisfies(item: &Item<'_>, name: &str, test: &Test) -> bool {
    if item.key.name == name {
        return test.holds_of_version(&item.key.version);
    }
    let provides = field(item.stanza, "Provides").unwrap_or_default();
    dependency::provided(&String::from_utf8_lossy(provides)).iter().any(|(known, version)| {
        let version_fits = || version.as_ref().is_some_and(|v| test.holds_of_version(v));
        known == name && (matches!(test, Test::Present) || version_fits())
    })
}

/// Whether a package can be installed on an architecture; sources are only for `source`.
fn installable(item: &Item<'_>, wanted: &str) -> bool {
    item.key.architecture == wanted || (item.key.architecture == "all" && wanted != "source")
}

/// The value of a field, also of those that no index has.
fn value<'a>(item: &Item<'a>, name: &str) -> Cow<'a, str> {
    let get = |name| field(item.stanza, name).map(String::from_utf8_lossy).unwrap_or_default();
    let source = item.key.architecture == "source";
    match name {
        "Name" | "Package" => item.key.name.as_str().into(),
        "Version" | "$Version" => item.key.version.as_str().into(),
        "$Architecture" => item.key.architecture.as_str().into(),
        "$PackageType" if source => "source".into(),
        "$PackageType" if item.udeb => "udeb".into(),
        "$PackageType" => "deb".into(),
        "$Source" | "$SourceVersion" if source => "".into(),
        // `Source: name (version)`, of which each part is there only where it differs.
        "$Source" => match get("Source").split_ascii_whitespace().next() {
            Some(name) => name.to_owned().into(),
            None => item.key.name.as_str().into(),
        },
        "$SourceVersion" => match get("Source").split_once('(') {
            Some((_, version)) => version.trim_end_matches([')', ' ']).to_owned().into(),
            None => item.key.version.as_str().into(),
        },
        name => get(name),
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        match self.eat(wanted) {
            true => Ok(()),
            false => Err(Error::new(format!("'{wanted}' is missing"))),
        }
    }

    fn any(&mut self) -> Result<Query> {
        self.list('|', Self::all, Query::Any)
    }

    fn all(&mut self) -> Result<Query> {
        self.list(',', Self::not, Query::All)
    }

    fn list(
        &mut self,
        between: char,
        mut one: impl FnMut(&mut Self) -> Result<Query>,
        join: impl FnOnce(Vec<Query>) -> Query,
    ) -> Result<Query> {
        let mut all = vec![one(self)?];
        while self.eat(between) {
            all.push(one(self)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { join(all) })
    }

    fn not(&mut self) -> Result<Query> {
        if self.depth > DEPTH {
            return Err(Error::new("too many brackets in it"));
        }
        self.depth += 1;
        let query = if self.eat('!') {
            Query::Not(Box::new(self.not()?))
        } else if self.eat('(') {
            let inner = self.any()?;
            self.expect(')')?;
            inner
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(query)
    }

    fn term(&mut self) -> Result<Query> {
        let quoted = matches!(self.peek(), Some('\'' | '"'));
        let word = self.word("()|,!{}")?;
        let is_field = !quoted && word.starts_with(|c: char| c.is_ascii_uppercase() || c == '$');
        let test = self.test()?;
        if is_field {
            return Ok(Query::Field { name: word, test: test.unwrap_or(Test::Present) });
        }
        let architecture = match self.eat('{') {
            true => {
                let word = self.word("()|,!{}")?;
                self.expect('}')?;
                Some(word)
            }
            false => None,
        };
        match test {
            None if architecture.is_none() => named(&word),
            test => {
                let test = test.unwrap_or(Test::Present);
                Ok(Query::Satisfies { name: word, test, architecture })
            }
        }
    }

    /// What stands in brackets behind a name.
    fn test(&mut self) -> Result<Option<Test>> {
        if !self.eat('(') {
            return Ok(None);
        }
        self.peek();
        use dependency::Relation::{Earlier, EarlierOrEqual, Later, LaterOrEqual};
        let signs = [
            ("<<", Some(Earlier)),
            (">>", Some(Later)),
            ("<=", Some(EarlierOrEqual)),
            (">=", Some(LaterOrEqual)),
            // What these once meant (Policy 7.1), they still mean to aptly.
            ("<", Some(EarlierOrEqual)),
            (">", Some(LaterOrEqual)),
            ("%", None),
            ("~", None),
            ("=", None),
        ];
        let found = signs.into_iter().find(|(sign, _)| self.rest.starts_with(sign));
        let (sign, relation) = found.unwrap_or(("", None));
        self.rest = &self.rest[sign.len()..];
        if sign.is_empty() && self.eat(')') {
            return Ok(Some(Test::Present));
        }
        let value = self.value()?;
        self.expect(')')?;
        Ok(Some(match (sign, relation) {
            (_, Some(relation)) => Test::Version(relation, value),
            ("%", _) => Test::Glob(value),
            ("~", _) => Test::Regex(
                // Foreign expressions must not take the memory: 1 MiB compiled is plenty.
                regex::RegexBuilder::new(&value).size_limit(1 << 20).build()?,
            ),
            _ => Test::Equal(value),
        }))
    }

    /// A value: quoted, or up to the bracket that ends it, whose own brackets are in pairs.
    fn value(&mut self) -> Result<String> {
        if let Some('\'' | '"') = self.peek() {
            return self.word("");
        }
        let mut open = 0;
        let end = self.rest.find(|c: char| {
            open += i32::from(c == '(') - i32::from(c == ')');
            open < 0
        });
        let (value, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match value.trim() {
            "" => Err(Error::new("a value is missing")),
            value => Ok(value.to_owned()),
        }
    }

    /// A word, up to a blank or one of `ends`; or one in quotes, where `\` keeps the next character.
    fn word(&mut self, ends: &str) -> Result<String> {
        let quote = self.peek().filter(|c| "'\"".contains(*c));
        if let Some(quote) = quote {
            let mut word = String::new();
            let mut chars = self.rest[1..].char_indices();
            while let Some((at, c)) = chars.next() {
                match c {
                    c if c == quote => {
                        self.rest = &self.rest[1 + at + c.len_utf8()..];
                        return Ok(word);
                    }
                    '\\' => word.extend(chars.next().map(|(_, c)| c)),
                    c => word.push(c),
                }
            }
            return Err(Error::new(format!("the closing {quote} is missing")));
        }
        let mut before = None;
        let end = self.rest.find(|c: char| {
            // The shell's sign for a set of others.
            let of_set = c == '!' && before == Some('[');
            before = Some(c);
            !of_set && (c.is_whitespace() || ends.contains(c))
        });
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match word {
            "" => Err(Error::new("a name is missing")),
            word => Ok(word.to_owned()),
        }
    }
}

/// `name`, `name=version` or `name_version_arch`.
fn named(text: &str) -> Result<Query> {
    // Neither names nor versions have an underscore.
    let words: Vec<&str> = text.split('_').collect();
    let (name, version, architecture) = match words[..] {
        [word] => match word.split_once('=') {
            Some((name, version)) => (name, Some(version), None),
            None => (word, None, None),
        },
        [name, version] => (name, Some(version), None),
        [name, version, architecture] => (name, Some(version), Some(architecture)),
        _ => return Err(Error::new("too many '_'")),
    };
    if name.is_empty() || version == Some("") || architecture == Some("") {
        return Err(Error::new("a part of it is empty"));
    }
    let owned = |part: Option<&str>| part.map(str::to_owned);
    Ok(Query::Named {
        name: name.to_owned(),
        version: owned(version),
        architecture: owned(architecture),
    })
}

/// Whether a text is like a pattern: `*` is any text, `?` any character, `[a-z]` and `[^a-z]` one of
/// some, `\` keeps what follows. Linear but for the last `*` tried again.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        match one(&pattern[p.min(pattern.len())..], text[t]) {
            Some(length) => (p, t) = (p + length, t + 1),
            None => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|&c| c == '*')
}

/// The length of what at the start of the pattern takes the character.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', next, ..] => (*next == c).then_some(2),
        ['[', rest @ ..] => {
            let end = rest.iter().skip(1).position(|&c| c == ']').map(|at| at + 1)?;
            let (set, not) = match &rest[..end] {
                ['^' | '!', set @ ..] => (set, true),
                set => (set, false),
            };
            let mut found = false;
            let mut set = set;
            while let [first, more @ ..] = set {
                match more {
                    ['-', last, more @ ..] => {
                        found |= (*first..=*last).contains(&c);
                        set = more;
                    }
                    more => {
                        found |= *first == c;
                        set = more;
                    }
                }
            }
            (found != not).then_some(end + 2)
        }
        [first, ..] => (*first == c).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(query: &str) -> bool {
        let key = Key::from(("python3-x".to_owned(), "1:2.0-1".to_owned(), "amd64".to_owned()));
        let stanza = b"Package: python3-x\nVersion: 1:2.0-1\nArchitecture: amd64\n\
            Source: x (2.0-1)\nPriority: optional\nProvides: py, api (= 3)\nSection: net/x\n";
        Query::parse(query).unwrap().matches(&Item { key: &key, stanza, udeb: false })
    }

    #[test]
    fn names_mean_what_they_say() {
        for yes in ["python3-x", "python*", "*", "python?-x", "python3-x=1:2*", "*_*_amd64", "p*x"]
        {
            assert!(matches(yes), "{yes}");
        }
        for no in ["python", "x", "python3-x=2.0-1", "*_*_all", "python3-x_1:2.0-1_i386", "?", "py"]
        {
            assert!(!matches(no), "{no}");
        }
    }

    #[test]
    fn expressions_mean_what_aptlys_do() {
        for yes in [
            "Name (% python*), $Version (>= 2)",
            "a | python3-x",
            "!a, !(b | c)",
            "Priority",
            "Priority (optional), !Essential",
            "$Version (<< 1:3)",
            "$Architecture (amd64)",
            "$PackageType (= deb)",
            "$Source (x), $SourceVersion (= 2.0-1)",
            "Name (~ ^py.*[xyz]$)",
            "Name (~ '(a|x)$')",
            "Name (% 'p[w-y]thon[0-9]*')",
            "python3-x (>= 1:1) {amd64}",
            "py () | nothing",
            "api (>= 2)",
            "[!x]*, !a",
            "Section (% net/*)",
            "Priority (~ (opt|req))",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in [
            "a | b",
            "!python3-x",
            "python3-x, b",
            "Essential",
            "$Architecture (i386)",
            "$PackageType (source)",
            "python3-x (>> 1:2.0-1)",
            "python3-x (>= 1) {arm64}",
            "py (>= 1)",
            "api (<< 3)",
            "Name (% [^p]*)",
            "[!p]*",
        ] {
            assert!(!matches(no), "{no}");
        }
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for bad in [
            "",
            "=1",
            "a_b_c_d",
            "a=",
            "_1_all",
            "a |",
            "(a",
            "a)",
            "a (>= )",
            "Name (~ '[')",
            "'a",
            "a {",
            "!",
            ",",
        ] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        assert!(Query::parse(&"(".repeat(100_000)).is_err());
        assert!(Query::parse(&"!".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-zA$(){}|,!<>=%~'\"\\[\\]\\\\*?^ _.-]{0,40}", name in "[a-z*\\[]{0,8}") {
            let _ = Query::parse(&text);
            let _ = glob(&text, &name);
        }
    }
}
