//! Control files (Debian Policy chapter 5, deb822(5)): paragraphs of fields.
//!
//! Indexes of 100,000 packages are scanned where they lie ([`paragraphs`], [`field`]); a
//! [`Paragraph`] owns its fields and can be changed.

use std::fmt;

use bk::{Error, Result};

/// One paragraph: fields in their order. Names compare without regard to case.
///
/// A value is what stands after the colon: its first line trimmed, its continuation lines as they
/// are, with their leading space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// A paragraph without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one paragraph, strictly: no line that is neither a field nor a continuation, no field
    /// twice, nothing behind the paragraph. Bytes that are not UTF-8 become `U+FFFD`.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut all = paragraphs(text);
        let text = all.next().ok_or_else(|| Error::new("no fields in it"))?;
        if all.next().is_some() {
            return Err(Error::new("more than one paragraph"));
        }
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.split(|&b| b == b'\n') {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                let (_, value) = fields
                    .last_mut()
                    .ok_or_else(|| Error::new("a continuation line before any field"))?;
                value.push('\n');
                value.push_str(line.trim_end());
                continue;
            }
            let (name, value) = line
                .split_once(':')
                .filter(|(name, _)| is_name(name))
                .ok_or_else(|| Error::new(format!("'{}' is no field", bk::sanitize(&line))))?;
            if fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(Error::new(format!("the field '{name}' is there twice")));
            }
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Paragraph { fields })
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a field that must be there.
    pub fn require(&self, name: &str) -> Result<&str> {
        let value = self.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Error::new(format!("the field '{name}' is missing")))
    }

    /// Sets a field, in its place if it is there, else at the end. Lines of `value` after the first
    /// must start with a space.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.fields.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    /// Removes a field and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.fields.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(self.fields.remove(at).1)
    }

    /// The fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The paragraph as it is written, each line ended, without an empty line behind it.
impl fmt::Display for Paragraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields.iter().try_for_each(|(name, value)| match value.starts_with('\n') {
            true => writeln!(f, "{name}:{value}"),
            false => writeln!(f, "{name}: {value}"),
        })
    }
}

/// A field's name: printable ASCII but space and colon, not starting with `#` or `-`.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['#', '-'])
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// The paragraphs of a control file or an index, without the empty lines between them.
pub fn paragraphs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end_of_line = |text: &[u8]| memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1);
        let empty = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
        while !rest.is_empty() && empty(&rest[..end_of_line(rest)]) {
            rest = &rest[end_of_line(rest)..];
        }
        let mut end = 0;
        while end < rest.len() {
            let line = &rest[end..end + end_of_line(&rest[end..])];
            if empty(line) {
                break;
            }
            end += line.len();
        }
        let (paragraph, after) = rest.split_at(end);
        rest = after;
        (!paragraph.is_empty()).then_some(paragraph)
    })
}

/// The fields of a paragraph as bytes, in order: names, and values with their continuation lines.
pub fn fields(paragraph: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = paragraph;
    std::iter::from_fn(move || {
        let colon = memchr::memchr(b':', rest)?;
        let mut end = colon;
        loop {
            match memchr::memchr(b'\n', &rest[end..]) {
                None => {
                    end = rest.len();
                    break;
                }
                Some(at) => end += at + 1,
            }
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (field, after) = rest.split_at(end);
        rest = after;
        Some((&field[..colon], field[colon + 1..].trim_ascii()))
    })
}

/// The value of one field of a paragraph, as bytes.
pub fn field<'a>(paragraph: &'a [u8], name: &str) -> Option<&'a [u8]> {
    fields(paragraph).find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"Package: a\nVersion:1.0 \nDescription: short\n long\n .\n more\n";

    #[test]
    fn a_paragraph_is_read_and_written_back() {
        let mut paragraph = Paragraph::parse(TEXT).unwrap();
        assert_eq!(paragraph.get("version"), Some("1.0"));
        assert_eq!(paragraph.get("Description"), Some("short\n long\n .\n more"));
        paragraph.set("version", "2");
        assert_eq!(
            paragraph.to_string(),
            "Package: a\nVersion: 2\nDescription: short\n long\n .\n more\n"
        );
    }

    #[test]
    fn bad_paragraphs_are_refused() {
        for text in
            [&b""[..], b"\n \n", b"a\n", b" a: b\n", b"A: b\na: c\n", b"A: b\n\nB: c\n", b": x\n"]
        {
            assert!(Paragraph::parse(text).is_err(), "{:?}", String::from_utf8_lossy(text));
        }
        assert_eq!(Paragraph::parse(b"A: \xff\n").unwrap().get("a"), Some("\u{fffd}"));
        assert_eq!(Paragraph::parse(b"A: b\r\nC: d\r\n").unwrap().get("a"), Some("b"));
    }

    #[test]
    fn an_index_is_scanned_where_it_lies() {
        let index = [b"\n", TEXT, b"\n\n", b"Package: b\nDepends: x,\n y\n", b" \n", b"Package: c"]
            .concat();
        let all: Vec<_> = paragraphs(&index).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(field(all[1], "depends"), Some(&b"x,\n y"[..]));
        assert_eq!(field(all[2], "package"), Some(&b"c"[..]));
        assert_eq!(fields(all[0]).count(), 3);
    }
}
