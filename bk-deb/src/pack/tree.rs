//! A tree as dpkg-deb(1) builds it: a package's files, and `DEBIAN/` with its control file.

use std::path::Path;

use bk::{Context, Error, Result, display, file, sanitize};

use super::parts::Parts;
use super::template::Values;
use crate::debian::control::Paragraph;
use crate::tree;

/// A control file or a maintainer script; the largest in Debian 12 has under 1 MB.
const FILE_LIMIT: u64 = 16 << 20;

/// Reads a tree. `NAME.template` in `DEBIAN/` becomes `NAME`.
pub fn read(dir: &Path, values: &Values) -> Result<Parts> {
    let mut parts = Parts { entries: tree::walk(dir, &["DEBIAN"])?, ..Parts::default() };
    let debian = dir.join("DEBIAN");
    let mut control = None;
    let failed = || format!("cannot read '{}'", display(&debian));
    let mut items =
        debian.read_dir().context(failed)?.collect::<Result<Vec<_>, _>>().context(failed)?;
    items.sort_by_key(std::fs::DirEntry::file_name);
    for item in items {
        let name = item.file_name().to_string_lossy().into_owned();
        if !item.file_type().context(failed)?.is_file() {
            return Err(Error::new(format!("'DEBIAN/{}' is no file", sanitize(&name))));
        }
        let mut bytes = file::read(&item.path(), FILE_LIMIT)?;
        let name = match name.strip_suffix(".template") {
            None => name,
            Some(name) => {
                let text = String::from_utf8(bytes).map_err(|_| {
                    Error::new(format!("'DEBIAN/{}.template' is not UTF-8", sanitize(name)))
                })?;
                bytes = values.render(&format!("DEBIAN/{name}.template"), &text)?.into_bytes();
                name.to_owned()
            }
        };
        let twice = match name.as_str() {
            "control" => control.replace(bytes).is_some(),
            // Of what is really in it.
            "md5sums" => false,
            _ => parts.files.insert(name.clone(), bytes).is_some(),
        };
        if twice {
            let name = sanitize(&name);
            return Err(Error::new(format!("'DEBIAN' has both '{name}' and '{name}.template'")));
        }
    }
    let control = control.ok_or_else(|| Error::new("'DEBIAN' has no file 'control'"))?;
    parts.paragraph =
        Paragraph::parse(&control).context(|| "bad control file 'DEBIAN/control'".into())?;
    Ok(parts)
}
