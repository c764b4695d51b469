//! An .xz stream put together from blocks that were compressed before (the .xz file format 1.1).
//!
//! apt reads one stream and takes what comes after it for an error, so streams cannot simply stand
//! behind one another as gzip members and zstd frames can; blocks of one stream can.

use std::io::{self, Write};

use flate2::Crc;
use lzma_rust2::{CheckType, MfType, XzOptions, XzWriter};

/// Magic bytes, the stream flags for CRC32 checks, and their CRC32 (2.1.1).
pub const HEADER: [u8; 12] = [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 0x01, 0x69, 0x22, 0xde, 0x36];

/// A block: its bytes with padding, and its size without.
#[derive(Clone, Debug)]
pub struct Block {
    /// Header, data, padding to four bytes and check.
    pub bytes: Vec<u8>,
    /// The size the stream's index wants: without the padding.
    pub unpadded: u64,
}

/// Compresses `plain` into a block; nothing into none, as every compressor does.
pub fn block(plain: &[u8]) -> io::Result<Block> {
    if plain.is_empty() {
        return Ok(Block { bytes: Vec::new(), unpadded: 0 });
    }
    // Of text like this 6, the default, makes a fiftieth less and 3 makes a tenth more. Hash chains, with
    // a depth and a nice length found by trial, make what 4 does in four fifths of its time.
    let mut options = XzOptions::with_preset(4);
    options.lzma_options.mf = MfType::Hc4;
    options.lzma_options.depth_limit = 6;
    options.lzma_options.nice_len = 24;
    options.check_type = CheckType::Crc32;
    // A dictionary beyond the block costs memory and finds nothing; 4 KiB is the least there is.
    options.lzma_options.dict_size = (plain.len().next_power_of_two() as u32).max(4096);
    let mut writer = XzWriter::new(Vec::new(), options)?;
    writer.write_all(plain)?;
    let stream = writer.finish()?;
    let bad = || io::Error::other("the compressor wrote no .xz stream of one block");
    let footer = stream.last_chunk::<12>().ok_or_else(bad)?;
    // The footer tells the index's size in units of four bytes, less one (2.1.2.2).
    let backward = u32::from_le_bytes([footer[4], footer[5], footer[6], footer[7]]);
    let index_size = (backward as usize + 1) * 4;
    let start = stream.len().checked_sub(12 + index_size).filter(|&s| s >= 12).ok_or_else(bad)?;
    let mut index = stream.get(start..).ok_or_else(bad)?;
    if stream.get(..12) != Some(&HEADER[..]) || take(&mut index, 2) != Some(&[0, 1][..]) {
        return Err(bad());
    }
    let unpadded = read_number(&mut index).ok_or_else(bad)?;
    if read_number(&mut index) != Some(plain.len() as u64) {
        return Err(bad());
    }
    Ok(Block { bytes: stream[12..start].to_vec(), unpadded })
}

/// Writes the stream's header; its blocks follow.
pub fn start(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&HEADER)
}

/// Ends a stream of blocks, given as their unpadded and uncompressed sizes.
pub fn end(out: &mut impl Write, blocks: &[(u64, u64)]) -> io::Result<()> {
    let mut index = vec![0];
    write_number(&mut index, blocks.len() as u64);
    for (unpadded, uncompressed) in blocks {
        write_number(&mut index, *unpadded);
        write_number(&mut index, *uncompressed);
    }
    index.resize(index.len().next_multiple_of(4), 0);
    let sum = crc(&index);
    index.extend(sum);
    // The index's size is written less one, in units of four bytes.
    let mut footer = ((index.len() / 4 - 1) as u32).to_le_bytes().to_vec();
    footer.extend(&HEADER[6..8]);
    out.write_all(&index)?;
    out.write_all(&crc(&footer))?;
    out.write_all(&footer)?;
    out.write_all(b"YZ")
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

fn take<'a>(from: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(n)?;
    *from = rest;
    Some(taken)
}

/// Seven bits a byte, the lowest first, the top bit saying that more follow (1.2).
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    // Nine bytes hold the 63 bits a number has.
    for i in 0..9 {
        let byte = *take(from, 1)?.first()?;
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn stream(parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        start(&mut out).unwrap();
        let mut sizes = Vec::new();
        for part in parts {
            let block = block(part).unwrap();
            out.extend(&block.bytes);
            assert_eq!(block.bytes.len() % 4, 0);
            sizes.push((block.unpadded, part.len() as u64));
        }
        end(&mut out, &sizes).unwrap();
        out
    }

    #[test]
    fn xz_reads_one_stream_of_many_blocks() {
        let text: Vec<u8> = (0..300_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let parts: Vec<&[u8]> = text.chunks(100_003).collect();
        for parts in [&parts[..], &[], &[b"x"], &[b"one", b"two"]] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.xz");
            bk::file::write(&path, stream(parts)).unwrap();
            let run = |args: &[&str]| {
                let out =
                    Command::new("xz").args(args).arg(&path).stderr(Stdio::inherit()).output();
                let out = out.unwrap();
                assert!(out.status.success());
                out.stdout
            };
            assert_eq!(run(&["-dc"]), parts.concat());
            let listed = String::from_utf8(run(&["--robot", "--list"])).unwrap();
            let totals = listed.lines().find(|l| l.starts_with("file")).unwrap();
            let totals: Vec<&str> = totals.split('\t').collect();
            assert_eq!(totals[1..3], ["1", &parts.len().to_string()], "{listed}");
        }
    }
}
