//! What is asked for: requirements (PEP 508), files and folders, and requirements files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, Status, display, file, sanitize};
use pep508_rs::{ExtraName, PackageName, Requirement, VerbatimUrl};

use super::lock::is_lock;
use crate::missing;

/// Requirements files are written by hand, or by a lock of some hundred packages.
const FILE_LIMIT: u64 = 16 << 20;
/// Files that name files: deeper than any that is not a circle.
const DEPTH: usize = 16;

/// One thing asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// A name, and maybe extras, versions, a marker or an address.
    Requirement(Box<Requirement>),
    /// A wheel, an sdist or a project's folder, with the extras of it.
    Path(PathBuf, Vec<ExtraName>),
}

/// All that is asked for.
#[derive(Debug, Default)]
pub struct Wish {
    /// What to build, in order.
    pub wanted: Vec<Wanted>,
    /// Locks, all of whose versions are wanted as they are.
    pub locks: Vec<PathBuf>,
    /// Versions to keep to, of things that may be needed (`-c`).
    pub constraints: Vec<Requirement>,
    /// The SHA-256 sums that files of a distribution may have (`--hash`).
    pub hashes: HashMap<PackageName, Vec<String>>,
    /// Indexes and folders that the files name.
    pub indexes: Indexes,
}

/// Where distributions come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Indexes {
    /// The index (PEP 503, PEP 691), if not the default one.
    pub index: Option<String>,
    /// Others.
    pub extra: Vec<String>,
    /// Folders or pages with files.
    pub find_links: Vec<String>,
    /// No index at all.
    pub no_index: bool,
}

impl Wish {
    /// Adds an argument of the command line: a path that exists, or a requirement.
    pub fn add(&mut self, argument: &str) -> Result<()> {
        let path = Path::new(argument);
        if is_lock(path) {
            self.locks.push(path.to_owned());
            return Ok(());
        }
        let wanted = parse(argument, Path::new(""))?;
        self.wanted.push(wanted);
        Ok(())
    }

    /// Adds a requirements file (pip's format), or a lock.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        if is_lock(path) {
            self.locks.push(path.to_owned());
            return Ok(());
        }
        self.read(path, false, 0)
    }

    /// Adds a constraints file.
    pub fn add_constraints(&mut self, path: &Path) -> Result<()> {
        self.read(path, true, 0)
    }

    fn read(&mut self, path: &Path, constraints: bool, depth: usize) -> Result<()> {
        let failed = || format!("cannot use the requirements file '{}'", display(path));
        if depth > DEPTH {
            return Err(Error::new("it names itself").context(failed()));
        }
        if let Some(hint) = missing::hint(path, "write it, a requirement a line, or name another") {
            return Err(Error::new("no such file").context(failed()).hint(hint));
        }
        let text = file::read(path, FILE_LIMIT).context(failed)?;
        let text = String::from_utf8_lossy(&text).replace("\\\r\n", " ").replace("\\\n", " ");
        let folder = path.parent().unwrap_or(Path::new("."));
        for (number, line) in text.lines().enumerate() {
            let line = line.split(" #").next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.line(line, folder, constraints, depth)
                .context(|| format!("line {}", number + 1))
                .context(failed)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str, folder: &Path, constraints: bool, depth: usize) -> Result<()> {
        if line.starts_with('-') {
            let (option, value) = line.split_once(['=', ' ']).unwrap_or((line, ""));
            let value = value.trim();
            let link = || match value.contains("://") || value.starts_with("file:") {
                true => value.to_owned(),
                false => display(folder.join(value)),
            };
            match option {
                "-r" | "--requirement" => self.read(&folder.join(value), constraints, depth + 1)?,
                "-c" | "--constraint" => self.read(&folder.join(value), true, depth + 1)?,
                "-e" | "--editable" => self.wanted.push(parse(value, folder)?),
                "-i" | "--index-url" => self.indexes.index = Some(value.to_owned()),
                "--extra-index-url" => self.indexes.extra.push(value.to_owned()),
                "-f" | "--find-links" => self.indexes.find_links.push(link()),
                "--no-index" => self.indexes.no_index = true,
                // They steer how pip chooses between wheels and sources, which we do ourselves.
                "--prefer-binary" | "--require-hashes" | "--only-binary" | "--trusted-host" => {}
                _ => {
                    return Err(Error::new(format!("unknown option '{}'", sanitize(option)))
                        .status(Status::Usage));
                }
            }
            return Ok(());
        }
        let (requirement, hashes) = line.split_once(" --hash").unwrap_or((line, ""));
        let wanted = parse(requirement.trim(), folder)?;
        if let Wanted::Requirement(requirement) = &wanted {
            // `=sha256:… --hash=sha256:…`, or with a space instead of `=`.
            let sums = hashes.split("--hash").filter_map(|hash| {
                hash.trim_matches(['=', ' ', '\t']).strip_prefix("sha256:").map(str::to_owned)
            });
            let sums: Vec<String> = sums.collect();
            if !sums.is_empty() {
                self.hashes.entry(requirement.name.clone()).or_default().extend(sums);
            }
        }
        match wanted {
            Wanted::Requirement(requirement) if constraints => self.constraints.push(*requirement),
            Wanted::Path(path, _) if constraints => {
                return Err(Error::new(format!("'{}' is no constraint", display(path))));
            }
            wanted => self.wanted.push(wanted),
        }
        Ok(())
    }
}

/// A path that exists (maybe with `[extras]`), else a requirement.
fn parse(text: &str, folder: &Path) -> Result<Wanted> {
    let local = text.strip_prefix("file://").unwrap_or(text);
    let (path, extras) = match local.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        Some((path, extras)) => (path, extras),
        None => (local, ""),
    };
    let path = folder.join(crate::fetch::path_of(path).unwrap_or_else(|| path.into()));
    // Those that pip takes.
    let archive =
        [".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz"];
    let named = archive.iter().any(|end| path.as_os_str().to_string_lossy().ends_with(end));
    // A name has no slash; addresses and markers may have one.
    let slash = text.contains('/') && !text.contains(['@', ';']) && !text.contains("://");
    let like_path = local.starts_with(['.', '/']) || text.starts_with("file:") || slash;
    // A list of requirements, whose name could be a package's.
    let list = [".txt", ".in"].iter().any(|end| text.ends_with(end)) && path.is_file();
    let like_path = like_path || list;
    if named && !text.contains("://") && !text.contains(" @ ") || like_path || is_project(&path) {
        let meant = "a package is asked for by its name alone, as 'flask' or 'flask>=3'";
        if let Some(hint) = missing::hint(&path, meant) {
            let shown = display(&path);
            return Err(
                Error::new(format!("cannot open '{shown}': no such file or folder")).hint(hint)
            );
        }
        if !named && !is_project(&path) {
            return Err(Error::new(format!(
                "'{}' is no wheel, no source archive, and no folder of a project",
                display(&path)
            ))
            .hint("a project's folder has a pyproject.toml or setup.py; give lists of requirements with -r"));
        }
        let extras = extras.split(',').map(str::trim).filter(|extra| !extra.is_empty());
        return Ok(Wanted::Path(path, extras.map(str::parse).collect::<Result<_, _>>()?));
    }
    Ok(Wanted::Requirement(Box::new(requirement(text)?)))
}

/// A folder is meant only if there is a project in it: a package's name may be a folder's, too.
fn is_project(path: &Path) -> bool {
    ["pyproject.toml", "setup.py", "setup.cfg"].iter().any(|name| path.join(name).is_file())
}

/// Reads a requirement. Forms that were written before PEP 440 and PEP 508 were settled are read as
/// pip read them: `x (>=1.0.*)`, `x>=1.0.*`.
pub fn requirement(text: &str) -> Result<Requirement> {
    let bad = |why: &str| {
        Error::new(format!("'{}' is no requirement: {why}", sanitize(text)))
            .hint("write it like 'flask>=3' or 'requests[socks]', or name a file or folder")
            .status(Status::Usage)
    };
    // The grammar is ASCII, and pep508_rs panics beyond it.
    if !text.is_ascii() {
        return Err(bad("it has a character that is not ASCII; addresses have them as '%C3%A9'"));
    }
    if !names_are_whole(text) {
        return Err(bad("a name does not end with a letter or a digit"));
    }
    let parsed = text.parse::<Requirement<VerbatimUrl>>();
    let parsed = match parsed {
        Ok(requirement) => Ok(requirement),
        Err(error) => lenient(text).parse().map_err(|_| error),
    };
    parsed.map_err(|error| {
        // Its text is several lines, with the place marked under the requirement.
        let why = error.to_string();
        bad(why.lines().next().unwrap_or_default())
    })
}

/// Whether the names before any version or marker end as names must (PEP 508): pep508_rs panics
/// where one does not and something follows it.
fn names_are_whole(text: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let head = text.split(['@', ';', '<', '>', '=', '!', '~', '(']).next().unwrap_or_default();
    let mut names = head.split(|c| !part(c)).filter(|name| !name.is_empty());
    names.all(|name| name.ends_with(|c: char| c.is_ascii_alphanumeric()))
}

fn lenient(text: &str) -> String {
    let (spec, marker) = text.split_once(';').map_or((text, ""), |(a, b)| (a, b));
    let fixed: Vec<String> = spec
        .split(',')
        .map(|part| {
            let star = [">=", "<=", ">", "<", "~="].iter().any(|op| part.contains(op));
            if star { part.replace(".*", "") } else { part.to_owned() }
        })
        .collect();
    let spec = fixed.join(",").trim().trim_end_matches(',').to_owned();
    if marker.is_empty() { spec } else { format!("{spec} ;{marker}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirements_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| file::write(&dir.path().join(name), text).unwrap();
        write("c.txt", "urllib3<2\n");
        write("more.txt", "idna # why\n");
        write("x-1.0-py3-none-any.whl", "");
        write(
            "r.txt",
            "# comment\n-r more.txt\n-c c.txt\n--index-url https://INDEX/simple\n-f wheels\n\
             flask==3.0 \\\n  --hash=sha256:aa \\\n  --hash=sha256:bb\n\
             ./x-1.0-py3-none-any.whl[a,b]\nold>=1.0.*\n",
        );
        let mut wish = Wish::default();
        wish.add_file(&dir.path().join("r.txt")).unwrap();
        assert_eq!(wish.wanted.len(), 4);
        assert!(matches!(&wish.wanted[2], Wanted::Path(_, extras) if extras.len() == 2));
        assert_eq!(wish.constraints.len(), 1);
        assert_eq!(wish.hashes[&"flask".parse().unwrap()], ["aa", "bb"]);
        assert_eq!(wish.indexes.index.as_deref(), Some("https://INDEX/simple"));
        assert_eq!(wish.indexes.find_links, [display(dir.path().join("wheels"))]);
    }

    #[test]
    fn mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.txt");
        file::write(&path, "ok\n--nonsense\n").unwrap();
        let error = Wish::default().add_file(&path).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("--nonsense"), "{error}");
        file::write(&path, "-r r.txt\n").unwrap();
        assert!(Wish::default().add_file(&path).is_err());
        for nothing in [path.as_path(), dir.path()] {
            let error = Wish::default().add(&display(nothing)).unwrap_err().to_string();
            assert!(error.contains("no folder of a project"), "{error}");
        }
        for bad in
            ["not a requirement", "./nowhere", "x-1.0-py3-none-any.whl", "==1", "x_ >=1", "x[a-]"]
        {
            assert!(Wish::default().add(bad).is_err(), "{bad}");
        }
    }
}
