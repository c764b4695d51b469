//! `RECORD` (PEP 376, PEP 427): the files of a distribution with their hashes, as CSV.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bk::{Error, Result};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// What a `RECORD` says, by path.
#[derive(Clone, Debug, Default)]
pub struct Record {
    entries: HashMap<String, Entry>,
}

/// One line of a `RECORD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Algorithm and value; the `RECORD` itself and signatures have none.
    pub hash: Option<(String, Vec<u8>)>,
    /// In bytes.
    pub size: Option<u64>,
}

impl Record {
    /// Reads a `RECORD`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut entries = HashMap::new();
        for (number, row) in rows(text).enumerate() {
            let bad = |why: &str| Error::new(format!("line {} of its RECORD {why}", number + 1));
            let [path, rest @ ..] = row.as_slice() else { continue };
            let field = |at: usize| rest.get(at).map(String::as_str).filter(|f| !f.is_empty());
            let hash = match field(0) {
                None => None,
                Some(hash) => {
                    let (name, value) =
                        hash.split_once('=').ok_or_else(|| bad("has a hash of no kind"))?;
                    let value = value.trim_end_matches('=');
                    // RECORDs made by Debian's own tools, and by old ones, have hexadecimal digits.
                    let value = match URL_SAFE_NO_PAD.decode(value) {
                        Ok(bytes) if value.len() != hex_len(name) => bytes,
                        _ => hex(value).ok_or_else(|| bad("has a hash that is none"))?,
                    };
                    Some((name.to_ascii_lowercase(), value))
                }
            };
            let size = match field(1) {
                None => None,
                Some(size) => Some(size.parse().map_err(|_| bad("has a size that is none"))?),
            };
            let path = path.strip_prefix("./").unwrap_or(path).to_owned();
            entries.insert(path, Entry { hash, size });
        }
        Ok(Record { entries })
    }

    /// What it says about a file.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The files it knows.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

fn hex_len(name: &str) -> usize {
    match name {
        "sha256" => 64,
        "sha384" => 96,
        _ => 128,
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.is_ascii().then(|| text.as_bytes().chunks(2).map(pair).collect())?
}

/// The rows of a CSV text, with quotes as RFC 4180 has them; empty rows are no rows.
fn rows(text: &str) -> impl Iterator<Item = Vec<String>> {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        while chars.next_if(|c| matches!(c, '\n' | '\r')).is_some() {}
        chars.peek()?;
        let (mut row, mut field, mut quoted) = (Vec::new(), String::new(), false);
        loop {
            match chars.next() {
                Some('"') if quoted => match chars.next_if_eq(&'"') {
                    Some(quote) => field.push(quote),
                    None => quoted = false,
                },
                Some('"') if field.is_empty() => quoted = true,
                Some(',') if !quoted => row.push(std::mem::take(&mut field)),
                None | Some('\n' | '\r') if !quoted => break,
                None => break,
                Some(c) => field.push(c),
            }
        }
        row.push(field);
        Some(row)
    })
}

/// A line of a `RECORD` for a file.
pub fn line(path: &str, sha256: &[u8], size: u64) -> String {
    let hash = URL_SAFE_NO_PAD.encode(sha256);
    format!("{},sha256={hash},{size}\n", quote(path))
}

/// A path as a field of CSV.
pub fn quote(path: &str) -> String {
    match path.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", path.replace('"', "\"\"")),
        false => path.to_owned(),
    }
}

/// A hash being computed, of a kind that PEP 427 takes: SHA-256 or stronger.
pub enum Hasher {
    /// The usual one.
    Sha256(Sha256),
    /// Stronger.
    Sha384(Sha384),
    /// Stronger.
    Sha512(Sha512),
}

impl Hasher {
    /// `None` for a name that PEP 427 does not take.
    pub fn new(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Hasher::Sha256(Sha256::new())),
            "sha384" => Some(Hasher::Sha384(Sha384::new())),
            "sha512" => Some(Hasher::Sha512(Sha512::new())),
            _ => None,
        }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha384(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The hash.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Hasher::Sha256(hash) => hash.finalize().to_vec(),
            Hasher::Sha384(hash) => hash.finalize().to_vec(),
            Hasher::Sha512(hash) => hash.finalize().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_missing_hashes_and_hexadecimal_ones_are_read() {
        let text = "a.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\r\n\
                    \"b,\"\"c.py\",sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855,0\n\
                    d-1.dist-info/RECORD,,\n";
        let record = Record::parse(text).unwrap();
        let empty = Sha256::digest(b"").to_vec();
        let expected = Entry { hash: Some(("sha256".into(), empty)), size: Some(0) };
        assert_eq!(record.get("a.py"), Some(&expected));
        assert_eq!(record.get("b,\"c.py"), Some(&expected));
        assert_eq!(record.get("d-1.dist-info/RECORD"), Some(&Entry { hash: None, size: None }));
        assert_eq!(record.paths().count(), 3);
    }

    #[test]
    fn what_is_no_hash_or_size_is_refused() {
        for text in ["a,x,1", "a,sha256=!,1", "a,,x", "a,,-1"] {
            assert!(Record::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_line_is_read_back(path in "[a-z ,\"\u{e9}]{1,20}", size: u64, bytes: Vec<u8>) {
            let hash = Sha256::digest(&bytes);
            let record = Record::parse(&line(&path, &hash, size)).unwrap();
            let entry = record.get(&path).unwrap();
            prop_assert_eq!(entry.size, Some(size));
            prop_assert_eq!(&entry.hash, &Some(("sha256".to_owned(), hash.to_vec())));
        }

        #[test]
        fn foreign_text_never_panics(text in "[a,\"\n\r=0-9sh\u{e9}]{0,60}") {
            drop(Record::parse(&text));
        }
    }
}
