//! Small matters of text for people.

use std::ffi::OsStr;

/// Replaces control characters, which could repaint a terminal, by `?`; newlines and tabs too.
pub fn sanitize(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A file name or other foreign text as it may be shown: sanitised, undecodable bytes as `U+FFFD`.
pub fn display(name: impl AsRef<OsStr>) -> String {
    sanitize(&name.as_ref().to_string_lossy())
}

/// The known names that are most like `name`, the likeliest first; at most three.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // One slip of the pen (a letter more, less, other, or two swapped), and one more for each four
    // letters.
    let most = 1 + name.chars().count() / 4;
    let mut scored: Vec<(usize, &str)> = known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(slips, _)| *slips <= most)
        .collect();
    scored.sort();
    scored.into_iter().take(3).map(|(_, k)| k).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_the_slip_of_the_pen() {
        assert_eq!(nearest("biuld", ["build", "info", "contents"]), ["build"]);
        assert_eq!(nearest("dbe", ["deb", "repo"]), ["deb"]);
        assert!(nearest("zzz", ["build", "info"]).is_empty());
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(sanitize("a\x1b[2Jb\nc"), "a?[2Jb?c");
    }
}
