//! Debian versions (Debian Policy 5.6.12, deb-version(7)).

use std::cmp::Ordering;
use std::fmt;

use bk::{Error, Result};

/// A version, `[epoch:]upstream[-revision]`, ordered as dpkg orders it. Versions that dpkg calls
/// equal (`1.0` and `1.0-0`, `0:1` and `1`) are equal, though written differently.
#[derive(Clone, Debug)]
pub struct Version {
    text: String,
}

impl Version {
    /// Reads a version by the rules of Policy 5.6.12.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Err(Error::new(format!("'{}' is no Debian version: {why}", bk::sanitize(text))))
        };
        let (epoch, upstream, revision) = split(text);
        // dpkg keeps an epoch in an int.
        if text.contains(':')
            && (epoch.is_empty() || epoch.parse::<i32>().is_err() || !digits(epoch))
        {
            return bad("its epoch is no number up to 2147483647");
        }
        if !upstream.starts_with(|c: char| c.is_ascii_digit()) {
            return bad("it does not start with a digit");
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+~".contains(c);
        if !upstream.chars().all(|c| allowed(c) || c == '-' || c == ':') {
            return bad("a character is not one of a-z A-Z 0-9 . + - ~ :");
        }
        if text.ends_with('-') || !revision.chars().all(allowed) {
            return bad("the revision is not of a-z A-Z 0-9 . + ~");
        }
        Ok(Version { text: text.to_owned() })
    }

    /// The version without its epoch, as file names have it.
    pub fn without_epoch(&self) -> &str {
        self.text.split_once(':').map_or(&self.text, |(_, rest)| rest)
    }

    /// The upstream part: no epoch, no revision.
    pub fn upstream(&self) -> &str {
        split(&self.text).1
    }

    /// The epoch, 0 where none is written.
    pub fn epoch(&self) -> i32 {
        split(&self.text).0.parse().unwrap_or(0)
    }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn split(text: &str) -> (&str, &str, &str) {
    let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Compares two versions as `dpkg --compare-versions` does; any text has its place.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (split(a), split(b));
    number(a.0.as_bytes())
        .cmp(&number(b.0.as_bytes()))
        .then_with(|| compare_part(a.1.as_bytes(), b.1.as_bytes()))
        .then_with(|| compare_part(a.2.as_bytes(), b.2.as_bytes()))
}

/// Numbers of any length compare by length and then digits, once the zeros in front are gone.
fn number(digits: &[u8]) -> (usize, &[u8]) {
    let zeros = digits.iter().take_while(|&&b| b == b'0').count();
    (digits.len() - zeros, &digits[zeros..])
}

/// `~` before the end, the end before letters, letters before all others.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        Some(b) if b.is_ascii_digit() => 0,
        None => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        while a.first().is_some_and(|c| !c.is_ascii_digit())
            || b.first().is_some_and(|c| !c.is_ascii_digit())
        {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order.is_ne() {
                return order;
            }
            (a, b) = (a.get(1..).unwrap_or(&[]), b.get(1..).unwrap_or(&[]));
        }
        let end = |s: &[u8]| s.iter().position(|c| !c.is_ascii_digit()).unwrap_or(s.len());
        let ((x, rest_a), (y, rest_b)) = (a.split_at(end(a)), b.split_at(end(b)));
        let order = number(x).cmp(&number(y));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.text, &other.text)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn versions_are_checked() {
        for good in ["1", "1.0-1", "2:1.0~rc1+dfsg-1.1", "1:1:2-3-4", "0-0"] {
            Version::parse(good).unwrap();
        }
        for bad in ["", "a", "x:1", "1-", "1 0", ":1", "1_0", "99999999999:1", "-1", "+1:1"] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Version::parse("2:1.0-a-1").unwrap().upstream(), "1.0-a");
    }

    proptest! {
        // Each case starts dpkg: some hundred say enough about forty lines.
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn the_order_is_dpkgs(
            a in "([0-9]:)?[0-9][0-9a-c.+~-]{0,6}[0-9a]",
            b in "([0-9]:)?[0-9][0-9a-c.+~-]{0,6}[0-9a]",
        ) {
            let says = |op: &str| {
                Command::new("dpkg").args(["--compare-versions", &a, op, &b]).status().unwrap().success()
            };
            let dpkg = match (says("lt"), says("eq")) {
                (true, _) => Ordering::Less,
                (_, true) => Ordering::Equal,
                _ => Ordering::Greater,
            };
            prop_assert_eq!(compare(&a, &b), dpkg, "{} {}", a, b);
        }
    }
}
