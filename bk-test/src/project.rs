//! A project: what is given, a place to work in, its wheel.

use std::fs;
use std::path::{Path, PathBuf};

use bk::file::{self, TempDir};
use bk::{Context, Error, Result, display};
use sha2::{Digest, Sha256};

use crate::backend::{Backend, Build, Kind};
use crate::tree::{self, Entry};
use crate::{archive, environment};

/// A project.
pub struct Project {
    /// What was given.
    pub subject: PathBuf,
    /// The folder with its files; only read, unless it was unpacked here.
    pub root: PathBuf,
    /// Its files.
    pub files: Vec<Entry>,
    /// The wheel that was given.
    wheel: Option<PathBuf>,
    /// A hash of it.
    hash: Vec<u8>,
    scratch: TempDir,
}

impl Project {
    /// Opens a folder, an sdist or a wheel; what is unpacked is below `cache`, and gone afterwards.
    pub fn open(subject: &Path, cache: &Path) -> Result<Self> {
        let failed = || format!("cannot open '{}'", display(subject));
        file::create_dir(cache)?;
        // Children are called in other folders.
        let path = subject.canonicalize().context(failed)?;
        let scratch = TempDir::new_in(&cache.canonicalize().context(failed)?)?;
        let name = path.file_name().map(display).unwrap_or_default();
        if path.is_dir() {
            let files = tree::files(&path)?;
            let hash = tree::hash(&files)?;
            let subject = subject.to_owned();
            return Ok(Project { subject, root: path, files, wheel: None, hash, scratch });
        }
        let is = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        let wheel = is(&[".whl"]).then(|| path.clone());
        if wheel.is_none() && !is(&[".tar.gz", ".tgz", ".tar", ".zip"]) {
            return Err(Error::new("it is no folder, no sdist and no wheel")
                .context(failed())
                .hint("an sdist ends with .tar.gz, a wheel with .whl"));
        }
        let mut root = scratch.path().join("unpacked");
        file::create_dir(&root)?;
        archive::unpack(&path, &root)?;
        if wheel.is_none() {
            root = top(&root).context(failed)?;
        }
        Ok(Project {
            subject: subject.to_owned(),
            files: tree::files(&root)?,
            root,
            wheel,
            hash: environment::hash_file(&path)?,
            scratch,
        })
    }

    /// A folder that is gone with the project.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The wheel that was given.
    pub fn given_wheel(&self) -> Option<&Path> {
        self.wheel.as_deref()
    }

    /// A copy of the project, in the folder `dir`, that a build may write to.
    pub fn copy(&self, dir: &Path) -> Result<PathBuf> {
        let to = dir.join(self.root.file_name().unwrap_or_default());
        file::create_dir(&to)?;
        tree::copy(&self.files, &to)?;
        if let Some(git) = git_dir(&self.root) {
            work_tree(&git, &to, &dir.join("git"))
                .context(|| format!("cannot copy '{}'", display(&git)))?;
        }
        Ok(to)
    }

    /// The wheel of the project, built unless it was built of the same before; none if nothing says how it
    /// is built.
    pub fn wheel(&self, cache: &Path, build: &Build) -> Result<Option<PathBuf>> {
        if let Some(wheel) = &self.wheel {
            return Ok(Some(wheel.clone()));
        }
        let built = ["pyproject.toml", "setup.py", "setup.cfg"]
            .iter()
            .any(|name| self.root.join(name).is_file());
        if !built {
            return Ok(None);
        }
        let backend = Backend::of(&self.root)?;
        let mut hash = Sha256::new();
        hash.update(&self.hash);
        hash.update(&build.python.identity);
        hash.update(format!("{:?} {:?} {}", backend.requires, build.index, build.flags));
        // The version may come from git, which no file of the project tells of.
        if let Some(git) = git_dir(&self.root) {
            for name in ["HEAD", "logs/HEAD", "packed-refs"] {
                hash.update(file::read(&git.join(name), GIT_LIMIT).unwrap_or_default());
            }
        }
        let key: String =
            hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let kept = cache.canonicalize()?.join("wheels").join(key);
        if !build.environments.refresh
            && let Some(wheel) = first_wheel(&kept)
        {
            return Ok(Some(wheel));
        }
        // Others may build it for other interpreters at the same time.
        let dir = TempDir::new_in(self.scratch())?;
        let out = dir.path().join("out");
        file::create_dir(&out)?;
        let made =
            backend.build(Kind::Wheel, &self.copy(&dir.path().join("build"))?, &out, build)?;
        remove_old(&cache.join("wheels"));
        file::create_dir(&kept)?;
        let wheel = kept.join(made.file_name().unwrap_or_default());
        fs::rename(&made, &wheel).context(|| format!("cannot keep '{}'", display(&wheel)))?;
        Ok(Some(wheel))
    }
}

/// What git has in one of its lists: more than any has.
const GIT_LIMIT: u64 = 64 << 20;

/// The folder where git keeps what it knows of a folder.
fn git_dir(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    // A work tree of its own, or a submodule.
    let text = fs::read_to_string(&git).ok()?;
    let dir = root.join(text.strip_prefix("gitdir:")?.trim());
    dir.is_dir().then_some(dir)
}

/// Makes the folder `to` a work tree of the repository `git`, so that backends can ask git for the version and
/// the files; what git writes then of what it sees there is in `own`, and gone with it.
fn work_tree(git: &Path, to: &Path, own: &Path) -> Result<()> {
    let git = git.canonicalize()?;
    let common = match fs::read_to_string(git.join("commondir")) {
        Ok(text) => git.join(text.trim()),
        Err(_) => git.clone(),
    };
    file::create_dir(own)?;
    for name in ["HEAD", "index"] {
        if git.join(name).is_file() {
            fs::copy(git.join(name), own.join(name))?;
        }
    }
    let line = |path: &Path| [path.as_os_str().as_encoded_bytes(), b"\n"].concat();
    let pointer = to.join(".git");
    file::write(&own.join("commondir"), line(&common))?;
    file::write(&own.join("gitdir"), line(&pointer))?;
    file::write(&pointer, [b"gitdir: ", line(own).as_slice()].concat())
}

/// Removes wheels that were made long ago; those that are still needed are made again.
fn remove_old(dir: &Path) {
    for entry in dir.read_dir().into_iter().flatten().flatten() {
        let made = entry.metadata().and_then(|meta| meta.modified());
        if made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > environment::KEPT)) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// The wheel in a folder.
fn first_wheel(dir: &Path) -> Option<PathBuf> {
    let mut paths = dir.read_dir().ok()?.flatten().map(|entry| entry.path());
    paths.find(|path| path.extension().is_some_and(|end| end == "whl"))
}

/// The one folder in an unpacked sdist.
fn top(dir: &Path) -> Result<PathBuf> {
    let entries = dir.read_dir()?.collect::<std::io::Result<Vec<_>>>()?;
    match entries.as_slice() {
        [one] if one.path().is_dir() => Ok(one.path()),
        _ => Err(Error::new("it is no sdist: it has not one folder, NAME-VERSION, with all of it")),
    }
}

/// Puts the files of the project's wheel where its sources are, so that what is tested is what ships: in
/// `tree`, the project's copy, the folders and modules that the wheel has are the wheel's, but tests in them
/// that it leaves out stay. Returns where they are.
pub fn put_wheel(wheel: &Path, tree: &Path) -> Result<Vec<PathBuf>> {
    let members = archive::read(wheel)?;
    let mut places = Vec::new();
    let mut tops: Vec<&str> = members.keys().filter_map(|path| path.split('/').next()).collect();
    tops.dedup();
    for top in tops.iter().filter(|top| !top.ends_with(".dist-info") && !top.ends_with(".data")) {
        // The layouts that the packaging guide names, and some older ones.
        let found = ["src", "", "lib", "python"].iter().map(|dir| tree.join(dir).join(top));
        let Some(place) = found.into_iter().find(|path| path.exists()) else { continue };
        if place.is_dir() {
            for entry in tree::files(&place)? {
                if !is_test(&entry.relative) {
                    fs::remove_file(&entry.path)?;
                }
            }
        }
        let base = place.parent().unwrap_or(tree).to_owned();
        let prefix = format!("{top}/");
        for (path, member) in
            members.iter().filter(|(path, _)| path == top || path.starts_with(&prefix))
        {
            let path = base.join(path);
            path.parent().map_or(Ok(()), file::create_dir)?;
            // A link of the source's would be written through.
            drop(fs::remove_file(&path));
            let mut file = fs::File::create(&path)?;
            std::io::Write::write_all(&mut file, &member.data)?;
        }
        places.push(place);
    }
    Ok(places)
}

/// Whether a file in a package belongs to its tests, which a wheel may leave out.
pub fn is_test(path: &Path) -> bool {
    let name = path.file_name().map(display).unwrap_or_default();
    let folders = path.parent().into_iter().flat_map(Path::iter);
    name == "conftest.py"
        || name.starts_with("test_")
        || name.ends_with("_test.py")
        || folders.map(display).any(|part| part == "tests" || part == "test")
}
