//! Trees of files in memory: an example, what a template makes, and writing it where it belongs.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use bk::file::TempDir;
use bk::{Context, Error, Result, display};

/// What a file of a template or an example may have: they are held in memory.
pub const FILE_LIMIT: u64 = 256 << 20;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// What it has.
        bytes: Vec<u8>,
        /// Whether its owner may execute it: what git keeps of a mode.
        executable: bool,
    },
    /// A symbolic link, and where it leads.
    Link(PathBuf),
}

/// Paths below a folder, and what is there.
pub type Tree = BTreeMap<PathBuf, Node>;

/// Reads a file, or where a link leads.
pub fn read(path: &Path) -> Result<Node> {
    let meta = path.symlink_metadata().context(|| format!("cannot read '{}'", display(path)))?;
    if meta.is_symlink() {
        let to = fs::read_link(path).context(|| format!("cannot read '{}'", display(path)))?;
        return Ok(Node::Link(to));
    }
    if meta.is_dir() {
        return Ok(Node::Folder);
    }
    if !meta.is_file() {
        return Err(Error::new(format!("'{}' is neither file, folder nor link", display(path))));
    }
    let executable = meta.permissions().mode() & 0o100 != 0;
    Ok(Node::File { bytes: bk::file::read(path, FILE_LIMIT)?, executable })
}

/// Whether a link at `path` of a tree stays in it.
pub fn stays(path: &Path, to: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    to.components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => {
            let inside = depth > 0;
            depth = depth.saturating_sub(1);
            inside
        }
        Component::RootDir | Component::Prefix(_) => false,
    })
}

/// Checks a path that a template makes: names alone, no way out of the folder.
pub fn check_path(path: &str) -> Result<PathBuf> {
    let legal = |part: Component<'_>| matches!(part, Component::Normal(_));
    let checked = Path::new(path);
    if path.is_empty() || path.contains('\0') || !checked.components().all(legal) {
        return Err(Error::new(format!("'{}' is no path below the project", bk::sanitize(path)))
            .hint("names are filled in without '..', and do not begin with '/'"));
    }
    Ok(checked.to_owned())
}

/// What to do with a file that is there already, and other than what is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// Nothing is written.
    Refuse,
    /// It is replaced.
    Replace,
    /// It stays.
    Keep,
}

/// Writes a tree as the folder `to`: all of it where that is not there yet, else file by file, each at
/// once. Returns the paths that were written, or would be.
pub fn write(
    tree: &Tree,
    to: &Path,
    there: There,
    kept: &dyn Fn(&Path) -> bool,
    dry: bool,
) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot write '{}'", display(to));
    if to.symlink_metadata().is_err() {
        if !dry {
            let parent = match to.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            bk::file::create_dir(parent)?;
            let scratch = TempDir::new_in(parent)?;
            let new = scratch.path().join("tree");
            fs::create_dir(&new).context(failed)?;
            for (path, node) in tree {
                put(&new.join(path), node)?;
            }
            fs::rename(&new, to).context(failed)?;
        }
        return Ok(tree.keys().cloned().collect());
    }
    let mut changes = Vec::new();
    let mut taken = Vec::new();
    for (path, node) in tree {
        let at = to.join(path);
        through_folders(to, path)?;
        if at.symlink_metadata().is_err() {
            changes.push(path);
            continue;
        }
        match (read(&at)?, node) {
            (old, new) if old == *new => {}
            (Node::Folder, _) | (_, Node::Folder) => taken.push(path),
            _ if there == There::Keep || kept(path) => {}
            _ if there == There::Replace => changes.push(path),
            _ => taken.push(path),
        }
    }
    if let Some(first) = taken.first() {
        let more = match taken.len() {
            1 => String::new(),
            n => format!(", as are {} more", n - 1),
        };
        return Err(Error::new(format!("'{}' is there already, and other{more}", display(first)))
            .context(failed())
            .hint("--overwrite replaces files, --keep keeps them; nothing was written"));
    }
    for path in &changes {
        if let Some(node) = tree.get(*path).filter(|_| !dry) {
            put(&to.join(path), node)?;
        }
    }
    Ok(changes.into_iter().cloned().collect())
}

/// Checks that no folder on the way to a path is a link, or a file.
pub fn through_folders(to: &Path, path: &Path) -> Result<()> {
    let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    for parent in parents {
        match to.join(parent).symlink_metadata() {
            Ok(meta) if !meta.is_dir() => {
                return Err(Error::new(format!("'{}' is no folder", display(to.join(parent))))
                    .hint("nothing was written"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes a file, folder or link, at once.
pub fn put(at: &Path, node: &Node) -> Result<()> {
    let failed = || format!("cannot write '{}'", display(at));
    if let Some(parent) = at.parent() {
        bk::file::create_dir(parent)?;
    }
    match node {
        Node::Folder => bk::file::create_dir(at),
        Node::Link(to) => {
            match fs::remove_file(at) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(e).context(failed);
                }
                _ => {}
            }
            symlink(to, at).context(failed)
        }
        Node::File { bytes, executable } => {
            bk::file::write(at, bytes)?;
            // As git does: who may read it may execute it.
            let mode = at.metadata().context(failed)?.permissions().mode();
            let execute = if *executable { (mode & 0o444) >> 2 } else { 0 };
            let wanted = (mode & !0o111) | execute;
            if wanted != mode {
                fs::set_permissions(at, Permissions::from_mode(wanted)).context(failed)?;
            }
            Ok(())
        }
    }
}

/// The first path at which two trees differ, and how.
pub fn difference(expected: &Tree, found: &Tree) -> Option<(PathBuf, &'static str)> {
    let all = expected.keys().chain(found.keys());
    let first = all.filter(|path| expected.get(*path) != found.get(*path)).min()?;
    let how = match (expected.get(first), found.get(first)) {
        (Some(_), None) => "is not made",
        (None, _) => "is made, and is not in the example",
        _ => "is made otherwise",
    };
    Some((first.clone(), how))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_paths_stay_in_their_tree() {
        for (path, to, inside) in [
            ("a/b", "c", true),
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("a", "..", false),
            ("a", "/etc", false),
            ("a/b/c", "../../d/../e", true),
            ("a/b", "./x/../../../y", false),
        ] {
            assert_eq!(stays(Path::new(path), Path::new(to)), inside, "{path} -> {to}");
        }
        for bad in ["", "..", "../x", "/x", "a/../b", "a\0b", "."] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_path("a/b c.txt").is_ok());
    }
}
