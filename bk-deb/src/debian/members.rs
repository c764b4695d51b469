//! The members of a package's ar archive, looked at before the crate that reads them sees them: it
//! trusts what GNU's and BSD's variants of long names say, which no package has (deb(5)).

use std::io::{self, Read};

/// `!<arch>` and a newline.
const MAGIC: usize = 8;

/// The header of a member: its name in 16 bytes, its size in the 10 before the last two.
const HEADER: usize = 60;

/// A reader of an archive that fails at a header which is no package's.
pub struct Members<R> {
    reader: R,
    /// What was read ahead, and from where on it was not handed out.
    ahead: Vec<u8>,
    at: usize,
    /// What is left of the member.
    left: u64,
    started: bool,
}

impl<R: Read> Members<R> {
    /// A reader of what `reader` reads.
    pub fn new(reader: R) -> Self {
        Members { reader, ahead: Vec::with_capacity(HEADER), at: 0, left: 0, started: false }
    }

    fn header(&mut self) -> io::Result<()> {
        let size = if self.started { HEADER } else { MAGIC };
        self.ahead.clear();
        self.at = 0;
        self.reader.by_ref().take(size as u64).read_to_end(&mut self.ahead)?;
        if !std::mem::replace(&mut self.started, true) || self.ahead.len() < HEADER {
            // What is cut off, or no archive, the reader of archives knows by itself.
            return Ok(());
        }
        let bad = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if self.ahead.starts_with(b"/") || self.ahead.starts_with(b"#1/") {
            return bad("a member has a long name, and those of a package are short (deb(5))");
        }
        let digits = self.ahead.get(48..58).unwrap_or_default().trim_ascii_end();
        let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
        let Some(size) = text.and_then(|text| text.parse::<u64>().ok()) else {
            return bad("the size of a member is no number");
        };
        // Members begin at even places.
        self.left = size + size % 2;
        Ok(())
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ahead.len() && self.left == 0 {
            self.header()?;
        }
        if self.at < self.ahead.len() {
            let n = self.ahead.get(self.at..).unwrap_or_default().read(buffer)?;
            self.at += n;
            return Ok(n);
        }
        let n = self.reader.by_ref().take(self.left).read(buffer)?;
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: &str) -> String {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100644)
    }

    fn names(archive: &[u8]) -> io::Result<Vec<String>> {
        let mut archive = ar::Archive::new(Members::new(archive));
        let mut names = Vec::new();
        while let Some(entry) = archive.next_entry() {
            names.push(String::from_utf8_lossy(entry?.header().identifier()).into_owned());
        }
        Ok(names)
    }

    #[test]
    fn members_of_packages_pass_and_long_names_do_not() {
        let start =
            format!("!<arch>\n{}2.0\n{}xyz\n", header("debian-binary", "4"), header("odd/", "3"));
        let good = names(start.as_bytes()).ok();
        assert_eq!(good, Some(vec!["debian-binary".to_owned(), "odd".to_owned()]));
        // A name out of a table that is not there, a table without end, a length without end.
        for name in ["/3001000000001", "//", "#1/4294967295"] {
            let archive = format!("{start}{}", header(name, "9999999999"));
            let error = names(archive.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("long name"), "{name}: {error}");
        }
        for size in ["", "-1", "+1", "1e3"] {
            let archive = format!("{start}{}", header("x", size));
            assert!(names(archive.as_bytes()).is_err(), "{size}");
        }
        for end in 0..start.len() {
            drop(names(&start.as_bytes()[..end]));
        }
    }
}
