//! Writing files into a disk, without a mount: debugfs(8) is told what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Context, Error, Result, Status, display, file};

/// The user's number, the first that adduser(8) gives.
const USER: u32 = 1000;

/// What is below it is the user's, and everything else root's.
const HOME: &str = "/home/ubuntu/";

/// What is to be written into a disk, by path.
#[derive(Default)]
pub struct Files {
    all: BTreeMap<String, (Kind, u32)>,
}

enum Kind {
    Folder,
    Text(Vec<u8>),
    Copy(PathBuf),
    Link(String),
}

impl Files {
    /// A file with this text.
    pub fn text(&mut self, path: &str, text: impl Into<Vec<u8>>, mode: u32) {
        self.all.insert(path.to_owned(), (Kind::Text(text.into()), mode));
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.all.insert(path.to_owned(), (Kind::Link(target.to_owned()), 0o777));
    }

    /// A copy of a file or a folder of the host's, with its permissions. Links in a folder stay links.
    pub fn copy(&mut self, from: &Path, to: &str) -> Result<()> {
        let failed = || format!("cannot copy '{}'", display(from));
        self.copy_as(from, to, from.metadata().context(failed)?).context(failed)
    }

    fn copy_as(&mut self, from: &Path, to: &str, about: std::fs::Metadata) -> Result<()> {
        let mode = about.permissions().mode() & 0o7777;
        let kind = match about.file_type() {
            kind if kind.is_dir() => {
                for entry in std::fs::read_dir(from)? {
                    let path = entry?.path();
                    let name = path.file_name().unwrap_or_default();
                    let name = name.to_str().ok_or_else(|| {
                        Error::new(format!("'{}' has a name that is not UTF-8", display(&path)))
                    })?;
                    self.copy_as(&path, &format!("{to}/{name}"), path.symlink_metadata()?)?;
                }
                Kind::Folder
            }
            kind if kind.is_symlink() => {
                let target = std::fs::read_link(from)?;
                Kind::Link(target.to_str().unwrap_or_default().to_owned())
            }
            kind if kind.is_file() => Kind::Copy(from.canonicalize()?),
            _ => return Err(Error::new("it is no file, folder or link")),
        };
        self.all.insert(to.to_owned(), (kind, mode));
        Ok(())
    }

    /// Writes them all into a disk, with the folders that are missing; what was there is replaced.
    /// Temporary files go to `dir`.
    pub fn write(mut self, disk: &Path, dir: &Path, console: &Console) -> Result<()> {
        let failed = || format!("cannot write into '{}'", display(disk));
        let dir = file::TempDir::new_in(dir)?;
        let script = dir.path().join("script");
        let run = |lines: &str, write: bool| -> Result<Vec<String>> {
            file::write(&script, lines)?;
            let debugfs = Cmd::new(sbin("debugfs"), console).env("LC_ALL", "C");
            let debugfs = if write { debugfs.arg("-w") } else { debugfs };
            let output = debugfs.arg("-f").arg(&script).arg(disk).output_unchecked()?;
            // It says its version first, and ends with 0 whatever happened.
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let wrong = said.lines().filter(|line| !line.starts_with("debugfs 1."));
            Ok(wrong.map(str::to_owned).collect())
        };
        for path in self.all.keys().flat_map(|path| parents(path)).collect::<BTreeSet<_>>() {
            self.all.entry(path).or_insert((Kind::Folder, 0o755));
        }
        let mut lines = String::new();
        for path in self.all.keys() {
            check(path)?;
            let _ = writeln!(lines, "stat \"{path}\"");
        }
        let missing: BTreeSet<String> = run(&lines, false)
            .context(failed)?
            .iter()
            .filter_map(|line| line.trim_end().strip_suffix(": File not found by ext2_lookup"))
            .map(str::to_owned)
            .collect();

        let mut lines = String::new();
        // A folder comes before what is in it.
        for (number, (path, (kind, mode))) in self.all.iter().enumerate() {
            let new = missing.contains(path);
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let _ = writeln!(lines, "cd \"{folder}/\"");
            if !new && !matches!(kind, Kind::Folder) {
                let _ = writeln!(lines, "rm \"{name}\"");
            }
            let kind = match kind {
                Kind::Folder if !new => continue,
                Kind::Folder => {
                    let _ = writeln!(lines, "mkdir \"{name}\"");
                    0o040000
                }
                Kind::Link(target) => {
                    check(target)?;
                    let _ = writeln!(lines, "symlink \"{name}\" \"{target}\"");
                    0o120000
                }
                Kind::Copy(source) => {
                    let source = source.to_str().unwrap_or_default();
                    check(source)?;
                    let _ = writeln!(lines, "write \"{source}\" \"{name}\"");
                    0o100000
                }
                Kind::Text(text) => {
                    let source = dir.path().join(number.to_string());
                    file::write(&source, text)?;
                    let source = display(source.canonicalize().context(failed)?);
                    check(&source)?;
                    let _ = writeln!(lines, "write \"{source}\" \"{name}\"");
                    0o100000
                }
            };
            let owner = if path.starts_with(HOME) { USER } else { 0 };
            let _ = writeln!(
                lines,
                "sif \"{name}\" mode 0{:o}\nsif \"{name}\" uid {owner}\nsif \"{name}\" gid {owner}",
                kind | mode
            );
        }
        let wrong = run(&lines, true).context(failed)?;
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Error::new(wrong.join("\n")).context(failed())),
        }
    }
}

/// A program of administrators', whose folder is not on everybody's PATH.
fn sbin(name: &str) -> PathBuf {
    let path = Path::new("/usr/sbin").join(name);
    if path.exists() { path } else { name.into() }
}

/// The folders above a path, but for the root.
fn parents(path: &str) -> impl Iterator<Item = String> {
    path.match_indices('/').skip(1).map(|(at, _)| path.get(..at).unwrap_or_default().to_owned())
}

/// debugfs knows quotes and no way to write one.
fn check(path: &str) -> Result<()> {
    match path.contains(['"', '\n', '\\']) {
        false => Ok(()),
        true => {
            Err(Error::new(format!("'{}' has a quote or a line's end in it", bk::sanitize(path))))
        }
    }
}

/// `SRC -> DST`: what to copy, and the absolute path it gets in the machine.
pub fn pair(text: &str) -> Result<(PathBuf, String)> {
    let (from, to) = text.split_once("->").unwrap_or(("", ""));
    let (from, to) = (from.trim(), to.trim().trim_end_matches('/'));
    let inside = to.starts_with('/')
        && to.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
    match inside && !from.is_empty() {
        true => Ok((from.into(), to.to_owned())),
        false => Err(Error::new("it is not 'SOURCE -> /DESTINATION'").status(Status::Usage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_replaced_and_owned() -> bk::Result<()> {
        let dir = tempfile::tempdir()?;
        let place = |name: &str| dir.path().join(name);
        let tool = |words: &[&str]| -> bk::Result<String> {
            let mut command = std::process::Command::new(words[0]);
            let output = command.args(&words[1..]).arg(place("disk")).output()?;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8(output.stdout)?)
        };
        std::fs::File::create(place("disk"))?.set_len(4 << 20)?;
        tool(&["mke2fs", "-q", "-F", "-t", "ext4"])?;
        bk::file::create_dir(&place("tree/a b"))?;
        bk::file::write(&place("tree/a b/file"), "copied\n")?;
        std::os::unix::fs::symlink("a b/file", place("tree/link"))?;
        for text in ["one\n", "two\n"] {
            let mut files = Files::default();
            files.text("/etc/deep/text", text, 0o600);
            files.text("/home/ubuntu/.x", text, 0o644);
            files.copy(&place("tree"), "/srv/tree")?;
            files.write(&place("disk"), dir.path(), &Console::silent())?;
        }
        tool(&["e2fsck", "-fn"])?;
        let read = |path: &str| tool(&["debugfs", "-R", &format!("cat \"{path}\"")]);
        assert_eq!(read("/etc/deep/text")?, "two\n");
        assert_eq!(read("/srv/tree/a b/file")?, "copied\n");
        let stat = |path: &str| tool(&["debugfs", "-R", &format!("stat {path}")]);
        assert!(stat("/srv/tree/link")?.contains("link dest: \"a b/file\""));
        assert!(stat("/etc/deep/text")?.contains("Mode:  0600"));
        assert!(stat("/home/ubuntu/.x")?.contains("User:  1000"));
        Ok(())
    }

    #[test]
    fn names_that_debugfs_would_read_otherwise_are_refused() {
        assert!(check("/etc/a b").is_ok());
        for bad in ["a\"b", "a\nquit", "a\\b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs_are_the_2011_tools() -> bk::Result<()> {
        assert_eq!(pair("a b -> /srv/x/")?, ("a b".into(), "/srv/x".into()));
        for bad in ["a", "a -> b", "-> /x", "a -> /", "a -> /x/../y", "a -> //x"] {
            assert!(pair(bad).is_err(), "{bad}");
        }
        Ok(())
    }
}
