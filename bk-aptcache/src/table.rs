//! What an index says of the files of an archive, as a file that is searched and never loaded:
//! indexes of 100,000 packages would fill the memory of a small machine.
//!
//! A table is a list of records, sorted: 16 bytes of the path's SHA-256, the file's SHA-256, its
//! size (little endian).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bk::Result;
use bk::file::AtomicFile;
use bk_deb::debian::compression::decode;
use sha2::{Digest, Sha256};

use crate::release::Expected;
use crate::store::{Hash, parse_hash};

const RECORD: usize = 16 + 32 + 8;

/// A line of an index has some KiB at most: lists of dependencies or of files.
const LINE: usize = 4 << 20;

/// The most an index may have when decompressed. Debian's largest has 60 MB.
const INDEX: u64 = 4 << 30;

/// A table, open.
#[derive(Debug)]
pub struct Table {
    file: File,
    records: u64,
}

impl Table {
    /// Opens a table.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        if !size.is_multiple_of(RECORD as u64) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Table { records: size / RECORD as u64, file })
    }

    /// What the file of a path should be.
    pub fn find(&self, path: &str) -> io::Result<Option<Expected>> {
        let wanted = name(path);
        let (mut low, mut high) = (0, self.records);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut record = [0; RECORD];
            self.file.read_exact_at(&mut record, middle * RECORD as u64)?;
            match record[..16].cmp(&wanted) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some(read(&record))),
            }
        }
        Ok(None)
    }
}

fn name(path: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name.copy_from_slice(&Sha256::digest(path)[..16]);
    name
}

fn read(record: &[u8; RECORD]) -> Expected {
    let (mut sha256, mut size) = ([0; 32], [0; 8]);
    sha256.copy_from_slice(&record[16..48]);
    size.copy_from_slice(&record[48..]);
    Expected { sha256, size: Some(u64::from_le_bytes(size)) }
}

/// Makes the table of an index, compressed or not, unless it is there.
pub fn make(index: &File, path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut records: Vec<[u8; RECORD]> = Vec::new();
    entries(index, &mut |file, expected| {
        let mut record = [0; RECORD];
        record[..16].copy_from_slice(&name(file));
        record[16..48].copy_from_slice(&expected.sha256);
        record[48..].copy_from_slice(&expected.size.unwrap_or_default().to_le_bytes());
        records.push(record);
    })?;
    records.sort_unstable();
    records.dedup_by(|a, b| a[..16] == b[..16]);
    let mut file = AtomicFile::create(path)?;
    for record in &records {
        file.write_all(record)?;
    }
    file.commit()
}

/// Reads a Packages or Sources index, and calls `each` with the paths of files, below the root of
/// the archive, and what they should be. Paths that leave the archive are left out.
pub fn entries(index: &File, each: &mut dyn FnMut(&str, Expected)) -> io::Result<()> {
    let start = index.try_clone()?;
    io::Seek::rewind(&mut &start)?;
    let reader = decode(BufReader::with_capacity(64 << 10, start))?;
    let mut lines = BufReader::with_capacity(64 << 10, reader);
    let (mut read, mut line) = (0, Vec::new());
    let mut paragraph = Paragraph::default();
    loop {
        line.clear();
        let size = io::Read::take(&mut lines, LINE as u64).read_until(b'\n', &mut line)?;
        read += size as u64;
        if read > INDEX || size == LINE {
            return Err(io::Error::other("it is too large for an index"));
        }
        let text = std::str::from_utf8(&line).unwrap_or_default().trim_end();
        if text.is_empty() && line.len() <= 2 {
            paragraph.tell(each);
            if size == 0 {
                return Ok(());
            }
            continue;
        }
        paragraph.line(text);
    }
}

/// What of a paragraph counts here.
#[derive(Default)]
struct Paragraph {
    filename: String,
    sha256: Option<Hash>,
    size: Option<u64>,
    directory: String,
    /// Those of a source package.
    files: Vec<(String, Hash, u64)>,
    in_files: bool,
}

impl Paragraph {
    fn line(&mut self, line: &str) {
        if line.starts_with([' ', '\t']) {
            if self.in_files {
                let mut words = line.split_ascii_whitespace();
                let mut file = || {
                    let (hash, size) = (words.next()?, words.next()?);
                    Some((words.next()?.to_owned(), parse_hash(hash)?, size.parse().ok()?))
                };
                self.files.extend(file());
            }
            return;
        }
        self.in_files = false;
        let Some((name, value)) = line.split_once(':') else { return };
        let value = value.trim();
        match name {
            "Filename" => value.clone_into(&mut self.filename),
            "SHA256" => self.sha256 = parse_hash(value),
            "Size" => self.size = value.parse().ok(),
            "Directory" => value.clone_into(&mut self.directory),
            "Checksums-Sha256" => self.in_files = true,
            _ => {}
        }
    }

    fn tell(&mut self, each: &mut dyn FnMut(&str, Expected)) {
        if let Some(sha256) = self.sha256.filter(|_| !self.filename.is_empty())
            && let Ok(path) = crate::path::canonical(&self.filename.replace('%', "%25"))
        {
            each(&path, Expected { sha256, size: self.size });
        }
        for (name, sha256, size) in &self.files {
            let path = format!("{}/{name}", self.directory).replace('%', "%25");
            if let Ok(path) = crate::path::canonical(&path) {
                each(&path, Expected { sha256: *sha256, size: Some(*size) });
            }
        }
        *self = Paragraph::default();
    }
}

/// Whether a path is one of an index that lists packages or sources, and of what: the path without
/// its compression.
pub fn stem(path: &str) -> Option<&str> {
    let compressed = [".gz", ".xz", ".zst", ".bz2", ".lzma"];
    let stem = compressed.iter().find_map(|s| path.strip_suffix(s)).unwrap_or(path);
    let name = stem.rsplit('/').next().unwrap_or(stem);
    matches!(name, "Packages" | "Sources").then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn index(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn an_index_becomes_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for i in 0..500 {
            text += &format!(
                "Package: p{i}\nFilename: ./pool/p{i}_1%3a2.deb\nSize: {i}\nSHA256: {HASH}\nDescription: x\n Filename: no\n\n"
            );
        }
        text += &format!(
            "Package: s\nDirectory: pool/s\nFiles:\n d41d8cd98f00b204e9800998ecf8427e 0 x\nChecksums-Sha256:\n {HASH} 7 s.dsc\n {HASH} 8 s.tar.xz\n\nFilename: ../../etc/passwd\nSHA256: {HASH}\n"
        );
        let path = dir.path().join("table");
        make(&index(text.as_bytes()), &path).unwrap();
        let table = Table::open(&path).unwrap();
        assert_eq!(table.records, 502);
        let size = |path: &str| table.find(path).unwrap().map(|e| e.size.unwrap());
        assert_eq!(size("pool/p0_1%3a2.deb"), Some(0));
        assert_eq!(size("pool/p499_1%3a2.deb"), Some(499));
        assert_eq!(size("pool/s/s.tar.xz"), Some(8));
        assert_eq!(size("pool/s/x"), None);
        assert_eq!(size("etc/passwd"), None);
        assert_eq!(table.find("pool/s/s.dsc").unwrap().unwrap().sha256, parse_hash(HASH).unwrap());
    }

    #[test]
    fn every_compression_of_an_index_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Packages");
        let text = format!("Package: p\nFilename: pool/p.deb\nSize: 7\nSHA256: {HASH}\n");
        bk::file::write(&path, text).unwrap();
        for (program, ending) in
            [("gzip", ".gz"), ("xz", ".xz"), ("zstd", ".zst"), ("bzip2", ".bz2"), ("lzma", ".lzma")]
        {
            let packed = std::process::Command::new(program).arg("-c").arg(&path).output().unwrap();
            assert!(packed.status.success(), "{program}");
            let mut found = Vec::new();
            entries(&index(&packed.stdout), &mut |file, e| found.push((file.to_owned(), e.size)))
                .unwrap();
            assert_eq!(found, [("pool/p.deb".to_owned(), Some(7))], "{program}");
            let name = format!("main/binary-amd64/Packages{ending}");
            assert_eq!(stem(&name), Some("main/binary-amd64/Packages"));
        }
    }

    #[test]
    fn only_lists_of_packages_have_tables() {
        assert_eq!(stem("main/binary-amd64/Packages.xz"), Some("main/binary-amd64/Packages"));
        assert_eq!(stem("Sources"), Some("Sources"));
        assert_eq!(stem("main/i18n/Translation-en.xz"), None);
        assert_eq!(stem("main/Contents-amd64.gz"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(entries(&index(&bytes), &mut |_, _| {}));
            let mut packed = vec![0x1f, 0x8b, 8, 0];
            packed.extend(&bytes);
            drop(entries(&index(&packed), &mut |_, _| {}));
        }
    }
}
