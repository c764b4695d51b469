//! `METADATA` and `WHEEL` (the core metadata specification, PEP 427): fields as in an e-mail.

use std::borrow::Cow;

use bk::{Error, Result};

/// The fields of a header, in their order, and what stands behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    fields: Vec<(String, String)>,
    body: String,
}

impl Fields {
    /// Reads a header. Nothing is an error: lines that are no field, as some tools write them, are
    /// passed over.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = decode(bytes);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let (header, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in header.lines() {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        Fields { fields, body: body.to_owned() }
    }

    /// The first value of a field, if it says anything: many writers put `UNKNOWN` for nothing.
    pub fn get(&self, name: &str) -> Option<&str> {
        let named = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).find_map(value)
    }

    /// All values of a field that may be there more than once.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).filter_map(value)
    }
}

fn value((_, value): &(String, String)) -> Option<&str> {
    Some(value.trim()).filter(|value| !value.is_empty() && *value != "UNKNOWN")
}

/// UTF-8 as the specification asks for, else Latin-1, in which every byte has a meaning. NULs,
/// which no reader of text expects, go.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|&b| b as char).collect()),
    };
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "")),
        false => text,
    }
}

/// What a distribution says about itself (core metadata 1.0 to 2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The name as its authors write it.
    pub name: String,
    /// The version, by PEP 440.
    pub version: String,
    /// One line.
    pub summary: Option<String>,
    /// The long text, in [`Metadata::description_type`].
    pub description: String,
    /// `text/markdown`, `text/x-rst`, `text/plain`; without parameters, in lower case.
    pub description_type: Option<String>,
    /// Label and address.
    pub urls: Vec<(String, String)>,
    /// The older field for the same.
    pub home_page: Option<String>,
    /// Who wrote it.
    pub author: Option<String>,
    /// `Name <address>`, or the address alone; several with commas.
    pub author_email: Option<String>,
    /// Who keeps it, where another than the author.
    pub maintainer: Option<String>,
    /// See [`Metadata::author_email`].
    pub maintainer_email: Option<String>,
    /// The licence in words.
    pub license: Option<String>,
    /// The licence as an SPDX expression (PEP 639).
    pub license_expression: Option<String>,
    /// Files with licence texts, relative to `.dist-info/licenses` (PEP 639) or `.dist-info`.
    pub license_files: Vec<String>,
    /// Trove classifiers.
    pub classifiers: Vec<String>,
    /// What it needs, by PEP 508.
    pub requires_dist: Vec<String>,
    /// The Pythons it runs on, as a version specifier.
    pub requires_python: Option<String>,
    /// The extras it knows.
    pub extras: Vec<String>,
}

impl Metadata {
    /// Reads `METADATA` or `PKG-INFO`. Only a name and a version must be there.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let fields = Fields::parse(bytes);
        let text = |name: &str| fields.get(name).map(str::to_owned);
        let list = |name: &str| fields.all(name).map(str::to_owned).collect::<Vec<_>>();
        let required = |name: &str| {
            let value = text(name).filter(|v| !v.contains(char::is_control));
            value.ok_or_else(|| Error::new(format!("its METADATA has no field '{name}'")))
        };
        let description = match fields.get("Description") {
            // Before metadata 2.1: a field whose further lines start with blanks, or blanks and `|`.
            Some(text) => text
                .lines()
                .map(|line| {
                    let bar = line.trim_start().strip_prefix('|');
                    bar.unwrap_or_else(|| line.strip_prefix("        ").unwrap_or(line))
                })
                .collect::<Vec<_>>()
                .join("\n"),
            None => fields.body.clone(),
        };
        let content_type = text("Description-Content-Type");
        let urls = fields.all("Project-URL").filter_map(|url| url.split_once(','));
        Ok(Metadata {
            name: required("Name")?,
            version: required("Version")?,
            summary: text("Summary"),
            description,
            description_type: content_type
                .and_then(|t| t.split(';').next().map(|t| t.trim().to_ascii_lowercase())),
            urls: urls.map(|(label, url)| (label.trim().into(), url.trim().into())).collect(),
            home_page: text("Home-page"),
            author: text("Author"),
            author_email: text("Author-email"),
            maintainer: text("Maintainer"),
            maintainer_email: text("Maintainer-email"),
            license: text("License"),
            license_expression: text("License-Expression"),
            license_files: list("License-File"),
            classifiers: list("Classifier"),
            requires_dist: list("Requires-Dist"),
            requires_python: text("Requires-Python"),
            extras: list("Provides-Extra"),
        })
    }
}

/// A name as indexes compare it: lower case, runs of `-_.` as one `-` (PEP 503).
pub fn normalize(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_description_is_the_body_or_the_old_field() {
        let new = Metadata::parse(b"Name: a\nVersion: 1\n\n# a\n\ntext\n").unwrap();
        assert_eq!(new.description, "# a\n\ntext\n");
        let old =
            b"Name: a\nVersion: 1\nDescription: one\n        two\n        |three\nLicense: MIT\n";
        let old = Metadata::parse(old).unwrap();
        assert_eq!(old.description, "one\ntwo\nthree");
        assert_eq!(old.license.as_deref(), Some("MIT"));
    }

    #[test]
    fn latin_1_crlf_and_unknown_are_read() {
        let bytes =
            b"\xef\xbb\xbfName: a\r\nVersion: 1\r\nAuthor: J\xf6rg\r\nLicense: UNKNOWN\r\n\r\nx";
        let metadata = Metadata::parse(bytes).unwrap();
        assert_eq!(metadata.author.as_deref(), Some("J\u{f6}rg"));
        assert_eq!(metadata.license, None);
        assert_eq!(metadata.description, "x");
    }

    #[test]
    fn a_name_and_a_version_must_be_there() {
        assert!(Metadata::parse(b"").is_err());
        assert!(Metadata::parse(b"Name: a\n").is_err());
        assert!(Metadata::parse(b"Name: a\nVersion: 1\n 2\n").is_err());
    }

    #[test]
    fn names_compare_by_pep_503() {
        assert_eq!(normalize("A--B.c_"), "a-b-c");
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(Metadata::parse(&bytes));
            let start = b"Name: a\nVersion: 1\n";
            Metadata::parse(&[start, &bytes[..]].concat()).ok();
        }
    }
}
