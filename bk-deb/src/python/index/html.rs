//! The links of a page of an index (PEP 503) or of a folder listing.

use super::page::{Listed, join};
use crate::fetch::percent_decode;

/// The files that a page at `base` links to.
pub fn files(page: &str, base: &str) -> Vec<Listed> {
    let mut base = base.to_owned();
    let mut files = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            continue;
        }
        let (name, attributes, after) = tag(rest);
        rest = after;
        let get = |name: &str| {
            attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        match (name.as_str(), get("href")) {
            ("base", Some(href)) => base = join(&base, href),
            ("a", Some(href)) => {
                let (link, fragment) = href.split_once('#').unwrap_or((href, ""));
                let last = link.split('?').next().unwrap_or_default();
                let last = last.rsplit('/').next().unwrap_or_default();
                let metadata = get("data-core-metadata").or(get("data-dist-info-metadata"));
                let sum = |text: &str| text.strip_prefix("sha256=").unwrap_or_default().to_owned();
                files.push(Listed {
                    name: percent_decode(last),
                    url: join(&base, link),
                    sha256: sum(fragment),
                    requires_python: get("data-requires-python").unwrap_or_default().to_owned(),
                    yanked: get("data-yanked").is_some(),
                    metadata: metadata.filter(|value| *value != "false").map(sum),
                });
            }
            _ => {}
        }
    }
    files
}

/// Reads a tag behind its `<`: its name and attributes, and what comes after it.
fn tag(text: &str) -> (String, Vec<(String, String)>, &str) {
    let end = |c: char| c.is_ascii_whitespace() || c == '>';
    let at = text.find(end).unwrap_or(text.len());
    let name = text[..at].to_ascii_lowercase();
    let (mut attributes, mut rest) = (Vec::new(), &text[at..]);
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return (name, attributes, after);
        }
        let at = rest.find(|c: char| end(c) || c == '=').unwrap_or(rest.len());
        if at == 0 && !rest.starts_with('=') {
            return (name, attributes, rest);
        }
        let key = rest[..at].to_ascii_lowercase();
        rest = rest[at..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            (value, rest) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    after[1..].split_once(quote).unwrap_or((&after[1..], ""))
                }
                _ => after.split_at(after.find(end).unwrap_or(after.len())),
            };
        }
        attributes.push((key, unescape(value)));
    }
}

/// Character references that writers of indexes use (HTML 13.5).
fn unescape(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // The longest number of a character has seven digits.
        let end = rest.char_indices().take(10).find(|(_, c)| *c == ';').map(|(at, _)| at);
        let found = end.and_then(|end| {
            let number = |text: &str, radix| u32::from_str_radix(text, radix).ok();
            let char = match &rest[1..end] {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                other => {
                    let other = other.strip_prefix('#')?;
                    let code = match other.strip_prefix(['x', 'X']) {
                        Some(hex) => number(hex, 16),
                        None => number(other, 10),
                    };
                    char::from_u32(code?)?
                }
            };
            Some((char, end))
        });
        match found {
            Some((char, end)) => {
                out.push(char);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn anchors_are_read() {
        let page = "<!DOCTYPE html><!-- <a href='no'> --><A HREF=\"../f/a%2Bb-1.tar.gz#sha256=aa\"
            data-requires-python='&gt;=3.8,&#60;4' data-yanked>a</a><a href=x-1-py3-none-any.whl
            data-core-metadata=\"sha256=bb\">x</a><a name=y>";
        let found = files(page, "https://x/simple/a/");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].name, "a+b-1.tar.gz");
        assert_eq!(found[0].url, "https://x/simple/f/a%2Bb-1.tar.gz");
        assert_eq!((found[0].sha256.as_str(), found[0].yanked), ("aa", true));
        assert_eq!(found[0].requires_python, ">=3.8,<4");
        assert_eq!(found[1].metadata.as_deref(), Some("bb"));
        assert_eq!(found[1].url, "https://x/simple/a/x-1-py3-none-any.whl");
    }

    proptest! {
        #[test]
        fn foreign_pages_never_panic(page in "(<[!a-zé]?|href|[ ='\"&;>#x0-9é/-])*") {
            files(&page, "https://x/");
        }
    }
}
