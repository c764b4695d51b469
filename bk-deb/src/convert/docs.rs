//! What a Debian package says beside its control file: the change log, and manual pages for
//! commands that come without one.

use std::io::Write;

use bk::{Context, Result};
use jiff::{Timestamp, tz::TimeZone};

use super::description::{clean, synopsis};
use super::{Options, Package};
use crate::convert::control::homepage;
use crate::debian::compression::Compression;
use crate::python::entry_points::EntryPoint;
use crate::python::metadata::Metadata;

/// Policy 12.7 and 12.1 ask for the best compression, and no time or name in it is repeatable.
pub fn gzip(text: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = Compression::Gzip(9).encode(Vec::new())?;
    encoder.write_all(text)?;
    Ok(encoder.finish()?)
}

/// `changelog.Debian` (Policy 4.4): one entry, which says where the package came from.
pub fn changelog(
    package: &Package,
    options: &Options,
    metadata: &Metadata,
    mtime: u64,
) -> Result<String> {
    let date = jiff::fmt::rfc2822::to_string(&utc(mtime)).context(|| "bad time".into())?;
    let mut change = change(&metadata.name, &metadata.version);
    // Where lintian(1) finds lines too long; 80 fit a terminal.
    if change.len() > 80 {
        change = change.replacen("wheel of ", "wheel of\n    ", 1);
    }
    let Package { name, version, .. } = package;
    let Options { distribution, maintainer, .. } = options;
    Ok(format!(
        "{name} ({version}) {distribution}; urgency=medium\n\n{change}\n\n -- {maintainer}  {date}\n"
    ))
}

/// What its one entry says.
pub fn change(name: &str, version: &str) -> String {
    format!("  * Converted from the wheel of {} {}.", clean(name), clean(version))
}

/// A time in seconds since 1970.
pub fn utc(seconds: u64) -> jiff::Zoned {
    let time = i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC)
}

/// A page of section 1 that says what a command is, what it calls if it is an entry point, and where
/// to read more.
pub fn manual(command: &str, entry: Option<&EntryPoint>, metadata: &Metadata) -> String {
    let name = roff(command);
    let title = name.to_uppercase();
    let distribution = roff(&clean(&metadata.name));
    let version = roff(&clean(&metadata.version));
    let mut page = format!(
        ".TH \"{title}\" 1 \"\" \"{distribution} {version}\"\n\
         .SH NAME\n{name} \\- {}\n\
         .SH SYNOPSIS\n.B {name}\n.RI [ argument \" ...]\"\n\
         .SH DESCRIPTION\n.B {name}\nis a command of the Python distribution {distribution}.\n",
        roff(&synopsis(metadata)),
    );
    if let Some(EntryPoint { attribute, module, .. }) = entry {
        let (attribute, module) = (roff(attribute), roff(module));
        page += &format!("It calls\n.I {attribute}\nin the module\n.IR {module} .\n");
    }
    page += ".PP\nMost such commands list their options when called with\n.BR \\-\\-help .\n";
    if let Some(url) = homepage(metadata) {
        page += &format!(".SH SEE ALSO\n{}\n", roff(url));
    }
    page
}

/// Text that groff(7) shows as it is.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
    // A dot or a quote at the start of a line would be a request.
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}
