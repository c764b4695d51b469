//! Release files: what a suite says its indexes are (Debian's repository format).

use bk::{Error, Result};
use bk_deb::debian::control::field;

use crate::store::{Hash, parse_hash};

/// A file that a hash is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its SHA-256.
    pub sha256: Hash,
    /// Its size in bytes, where it is known.
    pub size: Option<u64>,
}

/// A Release or InRelease file. It is searched where it lies: it is asked for few of its lines.
#[derive(Debug)]
pub struct Release {
    text: Vec<u8>,
    /// The paragraph in it, without the signature around it.
    from: usize,
    to: usize,
    /// When it was made, in seconds since 1970.
    pub date: Option<i64>,
    /// Whether its files can be had by their hashes.
    pub by_hash: bool,
}

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END: &[u8] = b"-----END PGP SIGNATURE-----";

impl Release {
    /// Reads a Release file, or an InRelease file, which is one within a signature. Half of one is
    /// none.
    pub fn parse(text: Vec<u8>, signed: bool) -> Result<Self> {
        let find = |what: &[u8]| memchr::memmem::find(&text, what);
        let (from, to) = if signed {
            let empty = |at: usize| memchr::memmem::find(&text[at..], b"\n\n").map(|n| at + n + 2);
            let begin = find(BEGIN).and_then(empty);
            let end = find(SIGNATURE).filter(|_| find(END).is_some());
            begin.zip(end).filter(|(begin, end)| begin < end).ok_or_else(|| {
                Error::new("it is no whole InRelease file").hint("its upstream may be no archive")
            })?
        } else {
            if !text.ends_with(b"\n") {
                return Err(Error::new("it is no whole Release file"));
            }
            (0, text.len())
        };
        let paragraph = &text[from..to];
        let value = |name: &str| field(paragraph, name).and_then(|v| std::str::from_utf8(v).ok());
        if field(paragraph, "SHA256").is_none() {
            return Err(Error::new("it lists no files with SHA-256"));
        }
        let date = value("Date").and_then(|date| {
            // "UTC" is what archives write and RFC 2822 does not know.
            let date = date.replace("UTC", "+0000").replace("GMT", "+0000");
            Some(jiff::fmt::rfc2822::parse(&date).ok()?.timestamp().as_second())
        });
        let by_hash = value("Acquire-By-Hash").is_some_and(|v| v.eq_ignore_ascii_case("yes"));
        Ok(Release { text, from, to, date, by_hash })
    }

    /// All of it, as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// The lines of a list of hashes: hash, size, path.
    fn lines(&self, list: &str) -> impl Iterator<Item = (&str, u64, &str)> {
        let lines = field(&self.text[self.from..self.to], list).unwrap_or_default();
        lines.split(|&b| b == b'\n').filter_map(|line| {
            let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
            Some((words.next()?, words.next()?.parse().ok()?, words.next()?))
        })
    }

    /// What a file should be, by its path below the suite.
    pub fn expected(&self, path: &str) -> Option<Expected> {
        let (hash, size, _) = self.lines("SHA256").find(|(_, _, listed)| *listed == path)?;
        Some(Expected { sha256: parse_hash(hash)?, size: Some(size) })
    }

    /// The path of the file in the folder `folder` that has a hash in one of the lists.
    pub fn path_of(&self, folder: &str, algorithm: &str, hash: &str) -> Option<&str> {
        let list = match algorithm {
            "SHA256" | "SHA512" | "SHA1" => algorithm,
            "MD5Sum" => "MD5Sum",
            _ => return None,
        };
        let mut lines = self.lines(list);
        let inside = |path: &str| path.strip_prefix(folder).is_some_and(|name| !name.contains('/'));
        lines.find(|(h, _, path)| h.eq_ignore_ascii_case(hash) && inside(path)).map(|(_, _, p)| p)
    }

    /// All paths it lists.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.lines("SHA256").map(|(_, _, path)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn text() -> String {
        format!(
            "Origin: x\nDate: Sat, 15 Nov 2025 08:30:00 UTC\nAcquire-By-Hash: yes\nMD5Sum:\n \
             d41d8cd98f00b204e9800998ecf8427e 0 main/binary-amd64/Packages\nSHA256:\n {HASH} 0 \
             main/binary-amd64/Packages\n {HASH} 0 main/binary-arm64/Packages\n"
        )
    }

    #[test]
    fn both_forms_are_read() {
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n",
            text()
        );
        for (text, signed) in [(text(), false), (signed, true)] {
            let release = Release::parse(text.into_bytes(), signed).unwrap();
            // date -u -d 'Sat, 15 Nov 2025 08:30:00' +%s
            assert_eq!(release.date, Some(1_763_195_400));
            assert!(release.by_hash);
            let expected = Expected { sha256: parse_hash(HASH).unwrap(), size: Some(0) };
            assert_eq!(release.expected("main/binary-amd64/Packages"), Some(expected));
            assert_eq!(release.expected("main/binary-amd64/Packages.gz"), None);
            let md5 = "d41d8cd98f00b204e9800998ecf8427e";
            let found = release.path_of("main/binary-amd64/", "MD5Sum", md5);
            assert_eq!(found, Some("main/binary-amd64/Packages"));
            let found = release.path_of("main/binary-arm64/", "SHA256", HASH);
            assert_eq!(found, Some("main/binary-arm64/Packages"));
            assert_eq!(release.path_of("", "SHA256", HASH), None);
            assert_eq!(release.paths().count(), 2);
        }
    }

    #[test]
    fn half_a_file_is_none() {
        let text = text();
        assert!(Release::parse(text.trim_end().as_bytes().to_vec(), false).is_err());
        assert!(Release::parse(text.clone().into_bytes(), true).is_err());
        let cut = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\n\n{text}-----BEGIN PGP SIGNATURE-----\n\nx"
        );
        assert!(Release::parse(cut.into_bytes(), true).is_err());
        assert!(Release::parse(b"<html>\n".to_vec(), false).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), signed: bool) {
            drop(Release::parse(bytes, signed));
        }
    }
}
