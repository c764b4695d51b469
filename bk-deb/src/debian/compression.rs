//! How the members of a .deb are compressed (deb(5)).

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use bk::{Error, Status};

/// A compression and its level. Written `zstd`, `xz:9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not compressed.
    None,
    /// Read by every dpkg there ever was.
    Gzip(u32),
    /// The smallest, at thirty times the time.
    Xz(u32),
    /// The fastest; read by dpkg since 1.21.18 (Debian 12) and by Ubuntu's since 18.04.
    Zstd(i32),
}

impl Compression {
    /// What a member's name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip(_) => ".gz",
            Compression::Xz(_) => ".xz",
            Compression::Zstd(_) => ".zst",
        }
    }

    /// Compresses what is written to the result; [`Encoder::finish`] ends it.
    pub fn encode<W: Write>(self, writer: W) -> io::Result<Encoder<W>> {
        Ok(match self {
            Compression::None => Encoder::None(writer),
            Compression::Gzip(level) => Encoder::Gzip(
                // No name and no time in the header: the same bytes every time.
                flate2::GzBuilder::new().write(writer, flate2::Compression::new(level)),
            ),
            Compression::Xz(level) => {
                let options = lzma_rust2::XzOptions::with_preset(level);
                Encoder::Xz(Box::new(lzma_rust2::XzWriter::new(writer, options)?))
            }
            Compression::Zstd(level) => Encoder::Zstd(zstd::Encoder::new(writer, level)?),
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => write!(f, "none"),
            Compression::Gzip(level) => write!(f, "gzip:{level}"),
            Compression::Xz(level) => write!(f, "xz:{level}"),
            Compression::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, level) = text.split_once(':').map_or((text, None), |(n, l)| (n, Some(l)));
        let level = |default: u32, range: std::ops::RangeInclusive<u32>| match level {
            None => Ok(default),
            Some(level) => level.parse().ok().filter(|l| range.contains(l)).ok_or_else(|| {
                let (from, to) = range.clone().into_inner();
                Error::new(format!("'{text}' has no level from {from} to {to}"))
                    .status(Status::Usage)
            }),
        };
        match name {
            "none" => Ok(Compression::None),
            // Levels 6 and 3 are the programs' own defaults.
            "gzip" | "gz" => Ok(Compression::Gzip(level(6, 1..=9)?)),
            "xz" => Ok(Compression::Xz(level(6, 0..=9)?)),
            "zstd" | "zst" => Ok(Compression::Zstd(level(3, 1..=19)? as i32)),
            _ => Err(Error::new(format!("'{}' is no compression", bk::sanitize(text)))
                .hint("use gzip, xz, zstd or none, with a level as in 'zstd:19'")
                .status(Status::Usage)),
        }
    }
}

/// As it is written.
impl serde::Serialize for Compression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Compression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A stream being compressed.
pub enum Encoder<W: Write> {
    /// See [`Compression::None`].
    None(W),
    /// See [`Compression::Gzip`].
    Gzip(flate2::write::GzEncoder<W>),
    /// See [`Compression::Xz`].
    Xz(Box<lzma_rust2::XzWriter<W>>),
    /// See [`Compression::Zstd`].
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Ends the stream and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Encoder::None(writer) => Ok(writer),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Xz(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Encoder::None(writer) => writer.write(buffer),
            Encoder::Gzip(encoder) => encoder.write(buffer),
            Encoder::Xz(encoder) => encoder.write(buffer),
            Encoder::Zstd(encoder) => encoder.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::None(writer) => writer.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Xz(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// What lzma(1) -9 needs to decompress, and some (KiB).
const LZMA: u32 = 100 << 10;

/// Decompresses what its first bytes say it is: gzip, xz, zstd, bzip2, lzma, or nothing known.
pub fn decode<'a>(mut reader: impl io::BufRead + 'a) -> io::Result<Box<dyn io::Read + 'a>> {
    let start = reader.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(reader))
    } else if start.starts_with(b"\xfd7zXZ\0") {
        Box::new(lzma_rust2::XzReader::new(reader, true))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::Decoder::with_buffer(reader)?)
    } else if start.starts_with(b"BZh") {
        Box::new(bzip2::bufread::MultiBzDecoder::new(reader))
    } else if start.starts_with(&[0x5d, 0, 0]) {
        Box::new(lzma_rust2::LzmaReader::new_mem_limit(reader, LZMA, None)?)
    } else {
        Box::new(reader)
    })
}
