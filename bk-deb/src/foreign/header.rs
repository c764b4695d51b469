//! The headers of an .rpm, looked at before the crate that reads them sees them: it takes the places
//! and counts in them at their word.

use std::io::Read;

use bk::{Error, Result};

/// The lead: a name and some numbers that nobody reads any more.
const LEAD: u64 = 96;
/// What a header begins with: magic, its version, four bytes of nothing; then two numbers.
const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 1];
const INTRODUCTION: u64 = 16;
/// Tag, type, place and count, of four bytes each.
const ENTRY: usize = 16;
/// rpm takes no more entries, and no more bytes of data, than these (`HEADER_TAGS_MAX` and
/// `HEADER_DATA_MAX` of lib/header.c).
const ENTRIES_LIMIT: u32 = 0xffff;
const DATA_LIMIT: u32 = 256 << 20;
/// Entries may share strings; rpm's own do not.
const SHARING: usize = 4;

/// Reads the lead and both headers, if all that they name is in them.
pub fn read(mut reader: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    more(&mut reader, LEAD, &mut bytes)?;
    for signature in [true, false] {
        let introduction = more(&mut reader, INTRODUCTION, &mut bytes)?;
        if !introduction.starts_with(&MAGIC) {
            return Err(Error::new("a header of it is of another kind"));
        }
        let (entries, data) = (number(introduction, 8), number(introduction, 12));
        if entries > ENTRIES_LIMIT || data > DATA_LIMIT {
            return Err(Error::new("a header of it is larger than rpm takes"));
        }
        let size = entries as usize * ENTRY;
        let rest = more(&mut reader, size as u64 + u64::from(data), &mut bytes)?;
        let (entries, data) = rest.split_at_checked(size).unwrap_or_default();
        let mut left = data.len() * SHARING;
        for entry in entries.chunks_exact(ENTRY) {
            if !fits(entry, data, &mut left) {
                let tag = number(entry, 0);
                return Err(Error::new(format!("its tag {tag} is outside of its header")));
            }
        }
        if signature {
            // The header proper begins at a place that eight divides.
            let padding = data.len().next_multiple_of(8) - data.len();
            more(&mut reader, padding as u64, &mut bytes)?;
        }
    }
    Ok(bytes)
}

fn more<'a>(reader: &mut impl Read, size: u64, bytes: &'a mut Vec<u8>) -> Result<&'a [u8]> {
    let start = bytes.len();
    if reader.take(size).read_to_end(bytes)? as u64 != size {
        return Err(Error::new("it is cut off"));
    }
    Ok(bytes.get(start..).unwrap_or_default())
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).unwrap_or_default();
    four.iter().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

/// Whether what an entry names is in the data; `left` bytes of strings may be looked through.
fn fits(entry: &[u8], data: &[u8], left: &mut usize) -> bool {
    let (kind, count) = (number(entry, 4), number(entry, 12) as usize);
    let Some(rest) = data.get(number(entry, 8) as usize..) else { return false };
    let width = match kind {
        0 => return true,
        // Characters, bytes, binary data; numbers of 16, 32 and 64 bits.
        1 | 2 | 7 => 1,
        3 => 2,
        4 => 4,
        5 => 8,
        // A string, strings, strings in languages: each ends with a zero.
        6 | 8 | 9 => {
            let Some(last) = count.checked_sub(1) else { return true };
            let end = memchr::memchr_iter(0, rest.get(..*left).unwrap_or(rest)).nth(last);
            *left = left.saturating_sub(end.map_or(0, |end| end + 1));
            return end.is_some();
        }
        _ => return false,
    };
    count.checked_mul(width).is_some_and(|size| size <= rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_packages_pass_and_no_damage_makes_their_reader_panic() -> Result<()> {
        let mut package = Vec::new();
        let mut builder = rpm::PackageBuilder::new("x", "1", "MIT", "noarch", "x");
        builder.build()?.write(&mut package)?;
        let header = read(&package[..])?;
        let whole = rpm::PackageMetadata::parse(&mut &package[..])?;
        assert_eq!(header.len() as u64, whole.get_package_segment_offsets().payload);
        let (mut refused, mut bytes) = (0, header.clone());
        for at in 0..header.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                bytes[at] = value;
                match read(&bytes[..]) {
                    Ok(header) => drop(rpm::PackageMetadata::parse(&mut &header[..])),
                    Err(_) => refused += 1,
                }
            }
            bytes[at] = header[at];
            assert!(read(&header[..at]).is_err());
        }
        assert!(refused > 1000, "{refused}");
        Ok(())
    }
}
