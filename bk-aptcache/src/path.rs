//! Paths of files: one for each file, however a client writes it.

use std::borrow::Cow;

/// A path that cannot be one of a file in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad;

/// The longest path of a request. Names of packages and versions keep paths far below.
pub const LONGEST: usize = 4096;

/// The longest name Linux's file systems keep, in bytes.
const NAME: usize = 255;

/// The path of a request without its leading slash, decoded once, without empty names and `.`
/// (flat archives are asked for `./Packages`).
///
/// Whatever could mean another place is bad: `..`, encoded slashes and dots, also encoded twice,
/// backslashes, control characters, bytes that are not UTF-8.
pub fn canonical(raw: &str) -> Result<Cow<'_, str>, Bad> {
    if raw.len() > LONGEST {
        return Err(Bad);
    }
    let decoded = if raw.contains('%') { Cow::Owned(decode(raw)?) } else { Cow::Borrowed(raw) };
    if decoded.bytes().any(|b| b < b' ' || b == 0x7f || b == b'\\') {
        return Err(Bad);
    }
    let mut plain = true;
    for name in decoded.split('/') {
        if name == ".." || name.len() > NAME {
            return Err(Bad);
        }
        plain &= !matches!(name, "" | ".");
    }
    if plain || decoded.is_empty() {
        return Ok(decoded);
    }
    let names: Vec<&str> = decoded.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    Ok(Cow::Owned(names.join("/")))
}

fn decode(raw: &str) -> Result<String, Bad> {
    let decoded = bk::http::decode(raw).ok_or(Bad)?;
    let hidden = |text: &str| {
        let lower = text.to_ascii_lowercase();
        ["%2e", "%2f", "%5c", "%00"].iter().any(|code| lower.contains(code))
    };
    // `%2f` would become a separator, and what is hidden still would be one for whoever decodes
    // once more. A dot as `%2e` is only written to hide it.
    if hidden(raw) || hidden(&decoded) { Err(Bad) } else { Ok(decoded) }
}

/// A path as it is written in a request: bytes that URLs reserve are encoded, and `+`, which some
/// object stores take for a space.
pub fn encode(path: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*,;=:@".contains(&b);
    if path.bytes().all(plain) {
        return Cow::Borrowed(path);
    }
    let mut encoded = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        match plain(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    Cow::Owned(encoded)
}

/// Whether a file keeps its content for ever: packages and sources, whose versions are in their
/// names, and what is named by its hash.
pub fn is_immutable(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    ends(&[".deb", ".udeb", ".ddeb", ".dsc", ".buildinfo", ".changes", ".rpm"])
        || (name.contains(".tar.") || name.ends_with(".diff.gz")) && !path.starts_with("dists/")
        || by_hash(path).is_some()
        || is_patch(path)
}

/// Whether it is a patch of an index (`Packages.diff/T-2026…-F-2026….gz`).
fn is_patch(path: &str) -> bool {
    let mut names = path.rsplit('/');
    let (name, folder) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    folder.ends_with(".diff") && name != "Index"
}

/// The folder, algorithm and hash of a path such as `main/binary-amd64/by-hash/SHA256/0a1b…`.
pub fn by_hash(path: &str) -> Option<(&str, &str, &str)> {
    let (rest, hash) = path.rsplit_once('/')?;
    let (rest, algorithm) = rest.rsplit_once('/')?;
    let folder = rest.strip_suffix("by-hash")?;
    let hex = hash.len() >= 32 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && (folder.is_empty() || folder.ends_with('/'))).then_some((folder, algorithm, hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_path_for_one_file() {
        for (raw, expected) in [
            ("debian/pool/a.deb", "debian/pool/a.deb"),
            ("debian//pool/./a.deb", "debian/pool/a.deb"),
            ("./Packages", "Packages"),
            ("a/%7eb%2bc:1,2", "a/~b+c:1,2"),
            ("a_1%253a2.deb", "a_1%3a2.deb"),
            ("a%20b", "a b"),
            ("100%25", "100%"),
            ("a/...b", "a/...b"),
            ("a/", "a"),
            ("", ""),
        ] {
            assert_eq!(canonical(raw).unwrap(), expected, "{raw}");
        }
    }

    #[test]
    fn what_hides_a_place_is_bad() {
        for raw in [
            "../x",
            "a/../b",
            "a/..",
            "%2e%2e/x",
            "a/%2e%2E/b",
            ".%2e/x",
            "a%2fb",
            "a%2Fb",
            "a%5cb",
            "a\\b",
            "%252e%252e/x",
            "a%252fb",
            "a%00",
            "a%0d%0ab",
            "a\nb",
            "%",
            "%f",
            "%ff",
            "%+1",
        ] {
            assert_eq!(canonical(raw), Err(Bad), "{raw}");
        }
        assert_eq!(canonical(&"a".repeat(256)), Err(Bad));
        assert!(canonical(&"a".repeat(250)).is_ok());
        assert_eq!(canonical(&"a/".repeat(3000)), Err(Bad));
    }

    #[test]
    fn what_never_changes_is_told_by_its_name() {
        for path in [
            "pool/main/a/a_1.deb",
            "a_1.dsc",
            "pool/a_1.orig.tar.xz",
            "pool/a_1.diff.gz",
            "dists/x/main/binary-amd64/by-hash/SHA256/0123456789abcdef0123456789abcdef",
            "dists/x/main/binary-amd64/Packages.diff/T-2026-11-01-F-2026-10-30.gz",
        ] {
            assert!(is_immutable(path), "{path}");
        }
        for path in [
            "dists/x/InRelease",
            "dists/x/main/binary-amd64/Packages.xz",
            "dists/x/main/binary-amd64/Packages.diff/Index",
            "dists/x/main/dep11/icons-64x64.tar.gz",
            "dists/x/by-hash/SHA256/x",
            "README",
        ] {
            assert!(!is_immutable(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leaves_its_folder_and_each_is_its_own_canonical_form(raw in "\\PC{0,80}|[./%2eEfF5c\\\\]{0,20}") {
            if let Ok(path) = canonical(&raw) {
                prop_assert!(!path.starts_with('/'));
                prop_assert!(path.split('/').all(|name| name != ".." && name != "."));
                let again = encode(&path).into_owned();
                prop_assert_eq!(canonical(&again).unwrap(), path);
            }
        }
    }
}
