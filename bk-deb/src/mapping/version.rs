//! PEP 440 versions as Debian versions that dpkg orders the same way.
//!
//! | PEP 440 | Debian | why |
//! | --- | --- | --- |
//! | `N!1.0` | `N:1.0` | both are epochs |
//! | `1.0a1 b1 rc1` | `1.0~a1 ~b1 ~rc1` | `~` sorts before the end |
//! | `1.0.post1` | `1.0+post1` | `.post1` would sort above `1.0.1` |
//! | `1.0.dev1` | `1.0~~dev1` | before every pre-release of 1.0 |
//! | `1.0a1.dev1` | `1.0~a1~dev1` | before that pre-release |
//! | `1.0+local` | `1.0+0.local` | `0` sorts before `post` |
//!
//! Two things dpkg sees and PEP 440 does not: `1.0` and `1.0.0` are different versions (so bounds
//! lose their trailing zeros, see [`super::relation`]), and of local labels `1` and `a` the letter
//! is the greater.

use std::fmt::Write;

use pep440_rs::{LocalSegment, Prerelease, PrereleaseKind, Version};

/// The Debian upstream version of a Python version, its release digits as published.
///
/// `epoch` is what the distribution's own package of that name has: without it, ours would be older
/// than every version there (python3-numpy is `1:1.24.2` in Debian 12). dpkg takes no epoch that does
/// not fit an `int`: who uses what is returned has to look.
pub fn debian(version: &Version, epoch: u64) -> String {
    with_release(version, epoch, version.release())
}

/// The same without the trailing zeros of the release: the least version that equals it.
pub(super) fn stripped(version: &Version, epoch: u64) -> String {
    let release = version.release();
    let zeros = release.iter().rev().take_while(|&&n| n == 0).count();
    let most = release.len().saturating_sub(1);
    with_release(version, epoch, &release[..release.len() - zeros.min(most)])
}

fn with_release(version: &Version, epoch: u64, release: &[u64]) -> String {
    let mut text = String::new();
    let epoch = epoch.saturating_add(version.epoch());
    if epoch > 0 {
        push(&mut text, format_args!("{epoch}:"));
    }
    for (i, number) in release.iter().enumerate() {
        let dot = if i == 0 { "" } else { "." };
        push(&mut text, format_args!("{dot}{number}"));
    }
    if let Some(Prerelease { kind, number }) = version.pre() {
        let kind = match kind {
            PrereleaseKind::Alpha => "a",
            PrereleaseKind::Beta => "b",
            PrereleaseKind::Rc => "rc",
        };
        push(&mut text, format_args!("~{kind}{number}"));
    }
    if let Some(number) = version.post() {
        push(&mut text, format_args!("+post{number}"));
    }
    if let Some(number) = version.dev() {
        let bare = version.pre().is_none() && version.post().is_none();
        push(&mut text, format_args!("{}dev{number}", if bare { "~~" } else { "~" }));
    }
    if !version.local().is_empty() {
        text.push_str("+0");
        for segment in version.local() {
            match segment {
                LocalSegment::String(s) => push(&mut text, format_args!(".{s}")),
                LocalSegment::Number(n) => push(&mut text, format_args!(".{n}")),
            }
        }
    }
    text
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

/// The Python version that a version of the distribution's package stands for: without epoch,
/// revision and the marks of repacking (`+dfsg`, `+ds1`, `+really…`). None where it follows no rule.
pub fn python(debian: &str) -> Option<Version> {
    let rest = debian.split_once(':').map_or(debian, |(_, rest)| rest);
    let upstream = rest.rsplit_once('-').map_or(rest, |(upstream, _)| upstream);
    let upstream = upstream.split_once("+really").map_or(upstream, |(_, really)| really);
    let end = upstream
        .find("+post")
        .map(|at| at + 5 + upstream[at + 5..].bytes().take_while(u8::is_ascii_digit).count());
    let end = end.or_else(|| upstream.find('+')).unwrap_or(upstream.len());
    let kept = upstream[..end].replace("+post", ".post").replace('~', "");
    let kept = ["dfsg", "ds", "repack", ".orig"]
        .iter()
        .fold(kept.as_str(), |kept, mark| kept.split_once(mark).map_or(kept, |(kept, _)| kept));
    kept.trim_end_matches(['.', '+']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::version::compare;
    use proptest::prelude::*;

    #[test]
    fn the_mapping_is_the_documented_one() {
        for (python, expected) in [
            ("1.0", "1.0"),
            ("2!1.0", "2:1.0"),
            ("1.0a1", "1.0~a1"),
            ("1.0b2", "1.0~b2"),
            ("1.0rc1", "1.0~rc1"),
            ("1.0.post2", "1.0+post2"),
            ("1.0.dev3", "1.0~~dev3"),
            ("1.0a1.dev3", "1.0~a1~dev3"),
            ("1.0.post1.dev3", "1.0+post1~dev3"),
            ("1.0+local", "1.0+0.local"),
            ("v1.0-1", "1.0+post1"),
        ] {
            assert_eq!(debian(&python.parse().unwrap(), 0), expected);
        }
        assert_eq!(debian(&"1.24".parse().unwrap(), 1), "1:1.24");
    }

    #[test]
    fn the_distributions_versions_are_read() {
        for (debian, expected) in [
            ("1:1.24.2-1+deb12u1", "1.24.2"),
            ("2.31.0+dfsg-1", "2.31.0"),
            ("0.19+dfsg-6", "0.19"),
            ("4.0.0~rc1-1", "4.0.0rc1"),
            ("1.0+post2-1", "1.0.post2"),
            ("2.28+really2.27-1", "2.27"),
            ("6.0-3+b2", "6.0"),
            ("1.2.dfsg-1", "1.2"),
        ] {
            assert_eq!(python(debian).unwrap(), expected.parse().unwrap(), "{debian}");
        }
        assert!(python("20180625.git.abc-1").is_none());
    }

    fn versions() -> impl Strategy<Value = String> {
        let number = 0..30u64;
        let parts = prop::collection::vec(0..4u64, 3);
        let pre = prop::option::of((prop::sample::select(vec!["a", "b", "rc"]), number.clone()));
        let post = prop::option::of(number.clone());
        let dev = prop::option::of(number);
        let local = prop::option::of("[a-z][a-z0-9]{0,3}");
        (0..2u64, parts, pre, post, dev, local).prop_map(|(epoch, parts, pre, post, dev, local)| {
            let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
            let mut text = format!("{epoch}!{}", parts.join("."));
            text += &pre.map(|(kind, n)| format!("{kind}{n}")).unwrap_or_default();
            text += &post.map(|n| format!(".post{n}")).unwrap_or_default();
            text += &dev.map(|n| format!(".dev{n}")).unwrap_or_default();
            text + &local.map(|l| format!("+{l}")).unwrap_or_default()
        })
    }

    proptest! {
        // Cheap: the order of pep440_rs against our compare, which a test of its own holds to dpkg.
        #![proptest_config(ProptestConfig::with_cases(100_000))]
        #[test]
        fn no_order_is_ever_inverted(a in versions(), b in versions()) {
            let (a, b): (Version, Version) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert_eq!(compare(&debian(&a, 0), &debian(&b, 0)), a.cmp(&b), "{} {}", a, b);
        }

        #[test]
        fn what_is_written_is_a_version_and_is_read_back(a in versions()) {
            let version: Version = a.parse().unwrap();
            let text = debian(&version, 0);
            crate::debian::version::Version::parse(&text).unwrap();
            let plain = version.without_local().with_epoch(0);
            if !(plain.is_dev() && plain.post().is_some()) {
                prop_assert_eq!(python(&format!("{text}-1")).unwrap(), plain);
            }
        }
    }
}
