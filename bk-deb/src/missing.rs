//! What to say of files that are not there.

use std::fs::File;
use std::path::Path;

use bk::{Error, Result, display, nearest};

/// Folders with more names than this are not searched for what was meant: those of a whole archive
/// have tens of thousands.
const NAMES: usize = 10_000;

/// Opens a file; where it is not there, the error says what may have been meant, else `otherwise`.
pub(crate) fn open(path: &Path, otherwise: &str) -> Result<File> {
    File::open(path).map_err(|error| match hint(path, otherwise) {
        Some(hint) => Error::from(error).hint(hint),
        None => error.into(),
    })
}

/// What was meant by a path that is not there: a name beside it that is nearly the same, else
/// `otherwise`. None if it is there.
pub(crate) fn hint(path: &Path, otherwise: &str) -> Option<String> {
    if path.symlink_metadata().is_ok() {
        return None;
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Some(format!("there is no folder '{}'; {otherwise}", display(folder)));
    }
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().take(NAMES);
    let names: Vec<String> = names.map(|entry| display(entry.file_name())).collect();
    let name = path.file_name().map(display).unwrap_or_default();
    Some(match nearest(&name, names.iter().map(String::as_str)).first() {
        Some(near) => format!("did you mean '{}'?", display(path.with_file_name(near))),
        None => otherwise.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_the_same_is_named() -> bk::Result<()> {
        let dir = tempfile::tempdir()?;
        let there = dir.path().join("flask_3.0-1_all.deb");
        bk::file::write(&there, b"")?;
        let hint = |name: &str| hint(&dir.path().join(name), "name a .deb");
        let near = hint("flask_3.1-1_all.deb").unwrap_or_default();
        assert!(near.contains("did you mean") && near.contains(&display(&there)), "{near}");
        assert_eq!(hint("nothing.deb").as_deref(), Some("name a .deb"));
        let folder = hint("no/such.deb").unwrap_or_default();
        assert!(folder.starts_with("there is no folder ") && folder.ends_with("name a .deb"));
        assert_eq!(hint("flask_3.0-1_all.deb"), None);
        Ok(())
    }
}
