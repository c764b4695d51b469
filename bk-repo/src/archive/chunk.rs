//! A run of stanzas of an index, compressed once for every form the index is published in.
//!
//! One object holds a zstd frame of a text, and a gzip member and an xz block where its suite has those
//! forms, under the hash of that text. Adding a package compresses the chunk it falls into; the others are copied.

use std::io::{self, Read, Write};

use bk::{Context, Error, Result};
use sha2::{Digest, Sha256};

use super::xz;

/// Names the format, and its version.
const MAGIC: [u8; 4] = *b"BKC2";

/// The same, with parts left out: they have no length.
const WITHOUT_PARTS: [u8; 4] = *b"BKC3";

/// The version before, without sums.
const WITHOUT_SUMS: [u8; 4] = *b"BKC1";

/// Magic, four lengths, and the unpadded length of the xz block.
const LENGTHS: usize = 24;

/// These, the CRC32 of the text and of each part, and the CRC32 of all that.
const HEAD: usize = LENGTHS + 4 * 4 + 4;

/// What a chunk's text may have. One ends at 256 KiB or with the stanza that passes that, and a
/// stanza is bounded by what `crate::incoming` takes.
const LIMIT: usize = 16 << 20;

/// What an object's first [`HEAD`] bytes say of the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The lengths of the text, the zstd frame, the gzip member, and the xz block with its padding.
    pub lengths: [usize; 4],
    /// The xz block's length without padding.
    pub xz_unpadded: u64,
    /// The CRC32 of the four, where this head has them and is itself what was written.
    pub sums: Option<[u32; 4]>,
    /// Where the parts begin.
    start: usize,
}

/// The same text in its forms.
pub struct Parts<'a> {
    /// What the object says of them.
    pub head: Head,
    /// A zstd frame.
    pub zstd: &'a [u8],
    /// A gzip member.
    pub gzip: &'a [u8],
    /// An xz block with its padding.
    pub xz: &'a [u8],
}

impl Parts<'_> {
    /// Whether the forms with these suffixes are all there.
    pub fn have(&self, suffixes: &[&str]) -> bool {
        let [plain, _, gzip, xz] = self.head.lengths;
        let left_out = |suffix: &&str| match *suffix {
            ".gz" => gzip == 0,
            ".xz" => xz == 0,
            _ => false,
        };
        plain == 0 || !suffixes.iter().any(left_out)
    }

    /// Whether the parts are what the head says; one of the version before says nothing.
    pub fn are_sound(&self) -> bool {
        let parts = [self.zstd, self.gzip, self.xz];
        match self.head.sums {
            Some([_, sums @ ..]) => parts.map(sum) == sums,
            None => self.head.start == LENGTHS,
        }
    }
}

/// The CRC32 of some bytes: it finds what a disk does to them, in a twentieth of SHA-256's time.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Reads the head of an object, from at least its first [`HEAD`] bytes.
fn head(object: &[u8]) -> Option<Head> {
    let (magic, _) = object.split_first_chunk::<4>()?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, &byte| n << 8 | u32::from(byte));
    let start = match *magic {
        MAGIC | WITHOUT_PARTS => HEAD,
        WITHOUT_SUMS => LENGTHS,
        _ => return None,
    };
    let bytes = object.get(..start)?;
    let mut numbers = bytes.get(4..)?.chunks_exact(4).map(number);
    let mut next = || numbers.next();
    let lengths = [next()?, next()?, next()?, next()?].map(|n| n as usize);
    let xz_unpadded = u64::from(next()?);
    let mut sums = None;
    if start == HEAD {
        let told = [next()?, next()?, next()?, next()?];
        sums = (next()? == sum(bytes.get(..HEAD - 4)?)).then_some(told);
    }
    // What cannot be compressed grows by less than a hundredth.
    let bounded = lengths.iter().all(|&length| length <= LIMIT + LIMIT / 100);
    bounded.then_some(Head { lengths, xz_unpadded, sums, start })
}

/// The hash that names a text: SHA-256 in hex.
pub fn id(text: &[u8]) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// Compresses a text into the forms with these suffixes; the zstd frame is what it is read from, and always
/// there.
pub fn pack(text: &[u8], suffixes: &[&str]) -> Result<Vec<u8>> {
    let (with_gzip, with_xz) = (suffixes.contains(&".gz"), suffixes.contains(&".xz"));
    let pack = || -> io::Result<Vec<u8>> {
        // Level 9 is the last that costs clearly less than gzip's.
        let zstd = zstd::bulk::compress(text, 9)?;
        // The default level: the last three cost twice the time for a hundredth of the size.
        let mut gzip = Vec::new();
        if with_gzip {
            let level = flate2::Compression::new(6);
            let mut writer = flate2::GzBuilder::new().write(&mut gzip, level);
            writer.write_all(text)?;
            writer.finish()?;
        }
        let xz = xz::block(if with_xz { text } else { b"" })?;
        let parts = [text, &zstd, &gzip, &xz.bytes];
        let mut object = if with_gzip && with_xz { MAGIC } else { WITHOUT_PARTS }.to_vec();
        parts.iter().for_each(|part| object.extend((part.len() as u32).to_le_bytes()));
        object.extend((xz.unpadded as u32).to_le_bytes());
        parts.iter().for_each(|part| object.extend(sum(part).to_le_bytes()));
        object.extend(sum(&object).to_le_bytes());
        parts.iter().skip(1).for_each(|part| object.extend_from_slice(part));
        Ok(object)
    };
    pack().context(|| "cannot compress an index".into())
}

/// Finds the parts of an object.
pub fn parts(object: &[u8]) -> Result<Parts<'_>> {
    let find = || {
        let head = head(object)?;
        let [_, zstd, gzip, xz] = head.lengths;
        let (zstd, rest) = object.get(head.start..)?.split_at_checked(zstd)?;
        let (gzip, rest) = rest.split_at_checked(gzip)?;
        (rest.len() == xz).then_some(Parts { head, zstd, gzip, xz: rest })
    };
    find().ok_or_else(|| Error::new("not a chunk of an index"))
}

/// The text of the object named `id`, checked against that name.
pub fn unpack(id: &str, object: &[u8]) -> Result<Vec<u8>> {
    let parts = parts(object)?;
    let text = zstd::bulk::decompress(parts.zstd, parts.head.lengths[0])?;
    match self::id(&text) == id {
        true => Ok(text),
        false => Err(Error::new("its text is not what its name says")),
    }
}

/// Whether all its forms are of the text the object is named for, and its head says so.
pub fn is_whole(id: &str, object: &[u8]) -> bool {
    let whole = || -> Result<bool> {
        let parts = parts(object)?;
        let text = unpack(id, object)?;
        let sums = parts.head.sums.is_none_or(|[plain, ..]| plain == sum(&text));
        let same = |suffix, unpack: fn(&Parts<'_>) -> Result<Vec<u8>>| {
            Ok::<_, Error>(!parts.have(&[suffix]) || unpack(&parts)? == text)
        };
        Ok(sums && parts.are_sound() && same(".gz", gunzip)? && same(".xz", unxz)?)
    };
    whole().unwrap_or(false)
}

/// The text, from whichever form still has it.
fn salvage(id: &str, object: &[u8]) -> Option<Vec<u8>> {
    let parts = parts(object).ok()?;
    let forms = [unpack(id, object).ok(), gunzip(&parts).ok(), unxz(&parts).ok()];
    forms.into_iter().flatten().find(|text| self::id(text) == id)
}

/// The object anew, in the forms it had, if one of them still has the text.
pub fn repack(id: &str, object: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(text) = salvage(id, object) else { return Ok(None) };
    let parts = parts(object)?;
    let forms: Vec<&str> =
        [".gz", ".xz"].into_iter().filter(|suffix| parts.have(&[suffix])).collect();
    pack(&text, &forms).map(Some)
}

fn gunzip(parts: &Parts<'_>) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let plain = parts.head.lengths[0] as u64;
    flate2::read::GzDecoder::new(parts.gzip).take(plain + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn unxz(parts: &Parts<'_>) -> Result<Vec<u8>> {
    let mut stream = Vec::new();
    xz::start(&mut stream)?;
    let plain = parts.head.lengths[0] as u64;
    let blocks = [(parts.head.xz_unpadded, plain)];
    stream.extend_from_slice(parts.xz);
    xz::end(&mut stream, if parts.xz.is_empty() { &[] } else { &blocks })?;
    let mut text = Vec::new();
    // Blocks have a dictionary of their size, and that is bounded.
    let reader = lzma_rust2::XzReader::new(&stream[..], false);
    reader.take(plain + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 4] = ["", ".gz", ".xz", ".zst"];

    #[test]
    fn the_text_comes_back_and_damage_is_seen() -> Result<()> {
        let text = b"Package: a\n\n".repeat(5000);
        let (id, object) = (id(&text), pack(&text, &ALL)?);
        assert_eq!(unpack(&id, &object)?, text);
        assert!(unpack(&self::id(b"x"), &object).is_err());
        for end in [0, 3, HEAD, object.len() - 1] {
            assert!(unpack(&id, &object[..end]).is_err());
        }
        let mut damaged = object.clone();
        damaged[HEAD + 20] ^= 1;
        assert!(unpack(&id, &damaged).is_err());
        assert!(is_whole(&id, &object) && parts(&object)?.are_sound());
        // Wherever it is: the text is still found, or the object is refused.
        for at in 0..object.len() {
            let mut damaged = object.clone();
            damaged[at] ^= 1;
            assert!(!is_whole(&id, &damaged), "{at}");
            assert!(parts(&damaged).is_err() || !parts(&damaged)?.are_sound());
            assert!(salvage(&id, &damaged).is_none_or(|found| found == text));
        }
        Ok(())
    }

    #[test]
    fn objects_of_the_version_before_are_read() -> Result<()> {
        let text = b"Package: a\n\n".repeat(50);
        let (id, object) = (id(&text), pack(&text, &ALL)?);
        let mut old = WITHOUT_SUMS.to_vec();
        old.extend_from_slice(&object[4..LENGTHS]);
        old.extend_from_slice(&object[HEAD..]);
        assert!(is_whole(&id, &old));
        assert_eq!(unpack(&id, &old)?, text);
        assert_eq!(head(&old).map(|head| head.sums), Some(None));
        assert_eq!(parts(&old)?.gzip, parts(&object)?.gzip);
        Ok(())
    }

    #[test]
    fn forms_that_nobody_wants_are_left_out() -> Result<()> {
        let text = b"Package: a\n\n".repeat(50);
        let (id, all) = (id(&text), pack(&text, &ALL)?);
        for wanted in [&[][..], &[".gz"], &[".xz"], &[".gz", ".xz"]] {
            let object = pack(&text, wanted)?;
            assert!(is_whole(&id, &object) && unpack(&id, &object)? == text);
            let parts = parts(&object)?;
            for suffix in [".gz", ".xz"] {
                assert_eq!(parts.have(&[suffix]), wanted.contains(&suffix));
            }
            assert!(parts.are_sound() && parts.have(&["", ".zst"]));
            let mut damaged = object.clone();
            damaged[HEAD + 20] ^= 1;
            // The zstd frame is the only one there may be.
            let again = (!wanted.is_empty()).then(|| object.clone());
            assert_eq!(repack(&id, &damaged)?, again);
            // What is there is the same as with all of them.
            assert_eq!(parts.zstd, super::parts(&all)?.zstd);
            assert!(parts.gzip.is_empty() || parts.gzip == super::parts(&all)?.gzip);
            for at in 0..object.len() {
                let mut damaged = object.clone();
                damaged[at] ^= 1;
                assert!(!is_whole(&id, &damaged), "{wanted:?} {at}");
            }
        }
        Ok(())
    }
}
