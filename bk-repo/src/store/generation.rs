//! Publishing the files of a folder at once, for clients that ask for them by their names.
//!
//! The names are links into `.current`, which is a link to the folder of a generation; one rename of
//! that changes all of them. In a generation's folder the indexes are links to what they are under
//! their hashes, so that it takes no room. All links are relative: the repository can be moved.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bk::{Context, Result, display};

use super::{Content, Folder, Published, Store, there};

/// The link to the generation that is published.
const CURRENT: &str = ".current";

/// The folder of the generations.
const GENERATIONS: &str = ".generations";

/// Publishes `files` in the folder `dir`.
pub fn publish(store: &Folder, dir: &str, number: u64, files: &[Published<'_>]) -> Result<()> {
    let root = store.path(dir);
    let failed = || format!("cannot publish '{}'", display(&root));
    let generations = root.join(GENERATIONS);
    store.make_parent(&format!("{dir}/{GENERATIONS}/x"))?;
    let scratch = store.scratch()?;
    let new = scratch.path().join("generation");
    let dirs = fill(&new, files).context(failed)?;
    store.sync_dirs(&dirs)?;
    let place = || -> io::Result<PathBuf> {
        let mut name = number.to_string();
        // The same generation may have been published before, and been damaged.
        for again in 1.. {
            match fs::rename(&new, generations.join(&name)) {
                Err(e) if taken(&e) => name = format!("{number}.{again}"),
                done => return done.map(|()| Path::new(GENERATIONS).join(name)),
            }
        }
        Err(io::Error::other("there are too many generations"))
    };
    let target = place().context(failed)?;
    let current = root.join(CURRENT);
    // Names that lead nowhere must not be seen, not even the first time.
    if fs::symlink_metadata(&current).is_err() {
        link(store, &target, &current)?;
    }
    let mut changed = BTreeSet::from([generations.clone()]);
    for Published { name, .. } in files {
        let path = root.join(name);
        let up = "../".repeat(name.matches('/').count());
        if link(store, &PathBuf::from(format!("{up}{CURRENT}/{name}")), &path)? {
            changed.extend(path.parent().map(Path::to_owned));
        }
    }
    store.sync_dirs(&changed)?;
    let before = fs::read_link(&current).ok();
    link(store, &target, &current)?;
    store.sync_dirs(&[root.clone()].into())?;
    let clean_up = || -> io::Result<()> {
        for entry in fs::read_dir(&generations)? {
            let name = Path::new(GENERATIONS).join(entry?.file_name());
            // A client may be looking at the one before.
            if name != target && Some(&name) != before.as_ref() {
                fs::remove_dir_all(root.join(name))?;
            }
        }
        let known: HashSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        remove_names(&root, "", &known)
    };
    // What is published is published: the next one cleans up again.
    drop(clean_up());
    Ok(())
}

fn taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

/// Removes the names in the folder `dir` that the current generation has not.
fn remove_names(root: &Path, dir: &str, known: &HashSet<&str>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(dir))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && name != "by-hash" {
            remove_names(root, &path, known)?;
        } else if kind.is_symlink() && name != CURRENT && !known.contains(path.as_str()) {
            fs::remove_file(root.join(path))?;
        }
    }
    Ok(())
}

/// Fills the folder of a generation, and returns the folders in it.
fn fill(new: &Path, files: &[Published<'_>]) -> io::Result<BTreeSet<PathBuf>> {
    let mut dirs = BTreeSet::from([new.to_owned()]);
    fs::create_dir(new)?;
    for Published { name, content } in files {
        let path = new.join(name);
        let above = path.ancestors().skip(1).take_while(|dir| dir.starts_with(new));
        dirs.extend(above.map(Path::to_owned));
        fs::create_dir_all(path.parent().unwrap_or(new))?;
        match content {
            Content::Bytes(bytes, modified) => {
                let mut file = File::create(&path)?;
                file.write_all(bytes)?;
                file.set_modified(*modified)?;
                file.sync_all()?;
            }
            Content::Same(other) => {
                // Out of the folders of the name, the generation, and the generations.
                let up = "../".repeat(name.matches('/').count() + 2);
                symlink(format!("{up}{other}"), &path)?;
            }
        }
    }
    Ok(dirs)
}

/// Makes `path` a link to `target`, replacing what was there; says whether it was another.
fn link(store: &Folder, target: &Path, path: &Path) -> Result<bool> {
    if fs::read_link(path).is_ok_and(|there| there == target) {
        return Ok(false);
    }
    let waiting = store.waiting()?.join("link");
    let make = || -> io::Result<bool> {
        there(fs::remove_file(&waiting))?;
        symlink(target, &waiting)?;
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::rename(&waiting, path)?;
        Ok(true)
    };
    make().context(|| format!("cannot write '{}'", display(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn names_change_at_once_and_old_generations_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Folder::new(dir.path());
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for number in 1..=4 {
            let text = number.to_string();
            store.create(&format!("d/main/by-hash/{text}"), text.as_bytes()).unwrap();
            let files = [
                Published {
                    name: "main/Packages".into(),
                    content: Content::Same(format!("main/by-hash/{text}")),
                },
                Published {
                    name: "InRelease".into(),
                    content: Content::Bytes(text.as_bytes(), time),
                },
            ];
            // Twice: a publication that was damaged can be done again.
            for _ in 0..2 {
                store.publish("d", number, &files).unwrap();
                for name in ["d/InRelease", "d/main/Packages"] {
                    assert_eq!(store.read(name).unwrap().unwrap(), text.as_bytes());
                }
            }
            assert_eq!(store.modified("d/InRelease").unwrap(), Some(time));
        }
        assert_eq!(fs::read_dir(dir.path().join("d/.generations")).unwrap().count(), 2);
        assert_eq!(fs::read_dir(dir.path().join(".buildkit/tmp")).unwrap().count(), 0);
        let moved = dir.path().join("moved");
        fs::rename(dir.path().join("d"), &moved).unwrap();
        assert_eq!(fs::read(moved.join("main/Packages")).unwrap(), b"4");
    }
}
