//! A run of stanzas of an index, compressed once for every form the index is published in.
//!
//! One object holds a zstd frame, a gzip member and an xz block of the same text, under the hash of
//! that text. Adding a package compresses the chunk it falls into; the others are copied.

use std::io::{self, Read, Write};

use bk::{Context, Error, Result};
use sha2::{Digest, Sha256};

use super::xz;

/// Names the format, and its version.
const MAGIC: [u8; 4] = *b"BKC1";

/// Magic, four lengths, and the unpadded length of the xz block.
const HEAD: usize = 24;

/// What a chunk's text may have. One ends at 256 KiB or with the stanza that passes that, and a
/// stanza is bounded by what `crate::incoming` takes.
const LIMIT: usize = 16 << 20;

/// The same text in three forms.
pub struct Parts<'a> {
    /// The text's length.
    pub plain: usize,
    /// A zstd frame.
    pub zstd: &'a [u8],
    /// A gzip member.
    pub gzip: &'a [u8],
    /// An xz block with its padding.
    pub xz: &'a [u8],
    /// The xz block's length without padding.
    pub xz_unpadded: u64,
}

/// The hash that names a text: SHA-256 in hex.
pub fn id(text: &[u8]) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// Compresses a text.
pub fn pack(text: &[u8]) -> Result<Vec<u8>> {
    let pack = || -> io::Result<Vec<u8>> {
        // Level 9 is the last that costs clearly less than gzip's.
        let zstd = zstd::bulk::compress(text, 9)?;
        // The default level: the last three cost twice the time for a hundredth of the size.
        let mut gzip = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::new(6));
        gzip.write_all(text)?;
        let gzip = gzip.finish()?;
        let xz = xz::block(text)?;
        let mut object = MAGIC.to_vec();
        let lengths = [text.len(), zstd.len(), gzip.len(), xz.bytes.len(), xz.unpadded as usize];
        lengths.iter().for_each(|&n| object.extend((n as u32).to_le_bytes()));
        [zstd, gzip, xz.bytes].iter().for_each(|part| object.extend(part));
        Ok(object)
    };
    pack().context(|| "cannot compress an index".into())
}

/// Finds the parts of an object.
pub fn parts(object: &[u8]) -> Result<Parts<'_>> {
    let find = || {
        let (head, rest) = object.split_at_checked(HEAD)?;
        if head[..4] != MAGIC {
            return None;
        }
        let mut numbers = head[4..]
            .chunks_exact(4)
            .map(|n| n.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)));
        let (plain, zstd) = (numbers.next()?, numbers.next()?);
        let (gzip, xz, unpadded) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let (zstd, rest) = rest.split_at_checked(zstd)?;
        let (gzip, rest) = rest.split_at_checked(gzip)?;
        (rest.len() == xz && plain <= LIMIT).then_some(Parts {
            plain,
            zstd,
            gzip,
            xz: rest,
            xz_unpadded: unpadded as u64,
        })
    };
    find().ok_or_else(|| Error::new("not a chunk of an index"))
}

/// The text of the object named `id`, checked against that name.
pub fn unpack(id: &str, object: &[u8]) -> Result<Vec<u8>> {
    let parts = parts(object)?;
    let text = zstd::bulk::decompress(parts.zstd, parts.plain)?;
    match self::id(&text) == id {
        true => Ok(text),
        false => Err(Error::new("its text is not what its name says")),
    }
}

/// Whether all three forms are of the text the object is named for.
pub fn is_whole(id: &str, object: &[u8]) -> bool {
    let whole = || -> Result<bool> {
        let parts = parts(object)?;
        let text = unpack(id, object)?;
        Ok(gunzip(&parts)? == text && unxz(&parts)? == text)
    };
    whole().unwrap_or(false)
}

/// The text, from whichever form still has it.
pub fn salvage(id: &str, object: &[u8]) -> Option<Vec<u8>> {
    let parts = parts(object).ok()?;
    let forms = [unpack(id, object).ok(), gunzip(&parts).ok(), unxz(&parts).ok()];
    forms.into_iter().flatten().find(|text| self::id(text) == id)
}

fn gunzip(parts: &Parts<'_>) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(parts.gzip).take(parts.plain as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn unxz(parts: &Parts<'_>) -> Result<Vec<u8>> {
    let mut stream = Vec::new();
    xz::start(&mut stream)?;
    let blocks = [(parts.xz_unpadded, parts.plain as u64)];
    stream.extend_from_slice(parts.xz);
    xz::end(&mut stream, if parts.xz.is_empty() { &[] } else { &blocks })?;
    let mut text = Vec::new();
    // Blocks have a dictionary of their size, and that is bounded.
    let reader = lzma_rust2::XzReader::new(&stream[..], false);
    reader.take(parts.plain as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_back_and_damage_is_seen() {
        let text = b"Package: a\n\n".repeat(5000);
        let (id, object) = (id(&text), pack(&text).unwrap());
        assert_eq!(unpack(&id, &object).unwrap(), text);
        assert!(unpack(&self::id(b"x"), &object).is_err());
        for end in [0, 3, HEAD, object.len() - 1] {
            assert!(unpack(&id, &object[..end]).is_err());
        }
        let mut damaged = object.clone();
        damaged[HEAD + 20] ^= 1;
        assert!(unpack(&id, &damaged).is_err());
    }
}
