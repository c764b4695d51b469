//! Archives written again, so that the same sources give the same bytes: in order, with one time, one owner,
//! and permissions that say only whether a file may be run.

use std::io::{Cursor, Write};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bk::{Context, Error, Result};
use flate2::{Compression, GzBuilder};
use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;

use crate::archive::{Member, Members};

fn mode(member: &Member) -> u32 {
    if member.executable { 0o755 } else { 0o644 }
}

/// An sdist: a tar of what pip and uv read, in gzip.
pub fn sdist(members: &Members, epoch: i64) -> Result<Vec<u8>> {
    let time = u64::try_from(epoch).context(|| "cannot write an sdist".into())?;
    // gzip has 32 bits for it; 0 is for no time.
    let gzip = GzBuilder::new().mtime(u32::try_from(time).unwrap_or(0));
    let mut tar = tar::Builder::new(gzip.write(Vec::new(), Compression::best()));
    for (path, member) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(member.data.len() as u64);
        header.set_mode(mode(member));
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, member.data.as_slice())?;
    }
    Ok(tar.into_inner()?.finish()?)
}

/// A zip with its members in this order.
pub fn zip<'a>(
    members: impl Iterator<Item = (&'a String, &'a Member)>,
    epoch: i64,
) -> Result<Vec<u8>> {
    let time = Timestamp::from_second(epoch)?.to_zoned(TimeZone::UTC);
    let part = |value: i8| u8::try_from(value).unwrap_or(0);
    let time = zip::DateTime::from_date_and_time(
        u16::try_from(time.year()).unwrap_or(0),
        part(time.month()),
        part(time.day()),
        part(time.hour()),
        part(time.minute()),
        part(time.second()),
    )?;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, member) in members {
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            // The best that deflate has.
            .compression_level(Some(9))
            .last_modified_time(time)
            .unix_permissions(mode(member));
        zip.start_file(path.as_str(), options)?;
        zip.write_all(&member.data)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The `.dist-info` of a wheel.
pub fn dist_info(members: &Members) -> Result<String> {
    let mut dirs: Vec<&str> = members
        .keys()
        .filter_map(|path| path.split_once('/')?.0.strip_suffix(".dist-info"))
        .collect();
    dirs.dedup();
    match dirs.as_slice() {
        [one] => Ok(format!("{one}.dist-info")),
        _ => Err(Error::new(format!(
            "it has {} folders .dist-info, where a wheel has one",
            dirs.len()
        ))),
    }
}

/// A wheel: what PEP 427 recommends comes last is last, and its RECORD is in the order of the files.
pub fn wheel(mut members: Members, epoch: i64) -> Result<Vec<u8>> {
    let dist_info = dist_info(&members)?;
    let (own, record) = (format!("{dist_info}/"), format!("{dist_info}/RECORD"));
    members.remove(&record);
    let mut order: Vec<(&String, &Member)> = members.iter().collect();
    order.sort_by_key(|(path, _)| (path.starts_with(&own), *path));
    let mut text = String::new();
    for (path, member) in &order {
        let field = match path.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", path.replace('"', "\"\"")),
            false => (*path).clone(),
        };
        // Signatures cover the RECORD and cannot be in it.
        text += &match path.ends_with("/RECORD.jws") || path.ends_with("/RECORD.p7s") {
            true => format!("{field},,\n"),
            false => {
                let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&member.data));
                format!("{field},sha256={hash},{}\n", member.data.len())
            }
        };
    }
    text += &format!("{record},,\n");
    let member = Member { data: text.into_bytes(), executable: false };
    order.push((&record, &member));
    zip(order.into_iter(), epoch)
}
