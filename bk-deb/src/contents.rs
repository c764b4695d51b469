//! `bk-deb contents`: the files in packages.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bk::record::{Format, Record};
use bk::{Level, Result, Session, Status};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use crate::debian::deb::Deb;

/// List the files in packages, an absolute path a line; -v shows them as `ls -l` does
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-deb contents debs/*.deb
      All paths, a line each.
  bk-deb contents -v x.deb
      With permissions, owner, size and time.

Exit status:
  0   every package was read
  1   some file is no package; all others were read
  2   the command line or the configuration is wrong
")]
pub struct Contents {
    /// A .deb, or `-` for those named on stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// List folders too
    #[arg(long)]
    dirs: bool,
}

impl Contents {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let mut status = Status::Done;
        for path in session.inputs(&self.files) {
            if let Err(error) = path.and_then(|path| self.list(&path, session)) {
                session.console.error(&error);
                status = Status::Failed;
            }
        }
        Ok(status)
    }

    fn list(&self, deb: &Path, session: &mut Session) -> Result<()> {
        let long = session.console.level() >= Level::Verbose;
        let dirs = self.dirs || long || session.out.format() == Format::Json;
        Deb::open(deb)?
            .data(|entry| {
                let kind = entry.header().entry_type();
                if kind.is_dir() && !dirs {
                    return Ok(());
                }
                let bytes = entry.path_bytes();
                let bytes = bytes.strip_prefix(b"./").unwrap_or(&bytes);
                let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
                let file = [b"/", bytes].concat();
                let text = |bytes: Option<&[u8]>| {
                    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
                };
                let header = entry.header();
                let link = entry.link_name_bytes();
                session.out.record(&Entry {
                    deb,
                    file: std::ffi::OsString::from_vec(file).into(),
                    kind: match kind {
                        k if k.is_dir() => "dir",
                        k if k.is_symlink() => "symlink",
                        k if k.is_hard_link() => "link",
                        k if k.is_character_special() => "char",
                        k if k.is_block_special() => "block",
                        k if k.is_fifo() => "fifo",
                        _ => "file",
                    },
                    mode: header.mode()? & 0o7777,
                    owner: text(header.username_bytes()),
                    group: text(header.groupname_bytes()),
                    size: header.size()?,
                    mtime: header.mtime()?,
                    target: link.map(|l| PathBuf::from(OsStr::from_bytes(&l))),
                    long,
                })
            })
            .map_err(|e| e.context(format!("cannot read '{}'", bk::display(deb))))
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "file")]
struct Entry<'a> {
    #[serde(serialize_with = "bk::record::path")]
    deb: &'a Path,
    #[serde(serialize_with = "bk::record::path")]
    file: PathBuf,
    kind: &'static str,
    mode: u32,
    owner: String,
    group: String,
    size: u64,
    mtime: u64,
    #[serde(serialize_with = "target", skip_serializing_if = "Option::is_none")]
    target: Option<PathBuf>,
    #[serde(skip)]
    long: bool,
}

fn target<S: serde::Serializer>(
    target: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    bk::record::path(target.as_deref().unwrap_or(Path::new("")), serializer)
}

impl Record for Entry<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        if !self.long {
            return self.file.as_os_str().as_bytes().into();
        }
        let letter = match self.kind {
            "file" => '-',
            "link" => 'h',
            "symlink" => 'l',
            other => other.chars().next().unwrap_or('?'),
        };
        let time = i64::try_from(self.mtime).ok().and_then(|s| Timestamp::from_second(s).ok());
        let time = time.unwrap_or_default().to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M");
        let Entry { owner, group, size, mode, .. } = self;
        let mode = permissions(*mode);
        let mut line = format!("{letter}{mode} {owner}/{group} {size:>9} {time} ").into_bytes();
        line.extend_from_slice(self.file.as_os_str().as_bytes());
        if let Some(target) = &self.target {
            line.extend_from_slice(if self.kind == "link" { b" link to " } else { b" -> " });
            line.extend_from_slice(target.as_os_str().as_bytes());
        }
        line.into()
    }
}

/// `rwxr-xr-x`, with `s` and `t` as ls(1) has them.
fn permissions(mode: u32) -> String {
    let mut text: Vec<char> = (0..9)
        .map(|bit| if mode >> (8 - bit) & 1 == 1 { ['r', 'w', 'x'][bit % 3] } else { '-' })
        .collect();
    for (bit, at, letter) in [(0o4000, 2, 's'), (0o2000, 5, 's'), (0o1000, 8, 't')] {
        if mode & bit != 0 {
            text[at] = if text[at] == 'x' { letter } else { letter.to_ascii_uppercase() };
        }
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn permissions_are_written_as_ls_does() {
        for (mode, text) in [
            (0o755, "rwxr-xr-x"),
            (0o4755, "rwsr-xr-x"),
            (0o1777, "rwxrwxrwt"),
            (0o2640, "rw-r-S---"),
        ] {
            assert_eq!(super::permissions(mode), text);
        }
    }
}
