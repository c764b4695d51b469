//! `bk-test release`

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bk::record::Record;
use bk::{Cmd, Context, Error, Result, Session, Status, display, file};
use clap::Args;
use serde::Serialize;

use crate::archive::{self, Members};
use crate::backend::{Backend, Build, EPOCH, Kind};
use crate::check::{self, Renderer};
use crate::environment::{Environments, Index};
use crate::project::Project;
use crate::run::{machine, pyenv};
use crate::{egg, pack, python};

/// Make the sdist, the wheel and the egg of a project
///
/// The project's backend makes the sdist, and of that the wheel, so that the wheel can be made again from what is
/// published; the egg is made from the wheel. All are written again in one order, with one time and with
/// plain permissions: the same sources give the same bytes. The time is SOURCE_DATE_EPOCH, or that of the
/// newest commit, or that of the newest file. The paths are printed.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-test release -o dist
      All three of the project in this folder.
  bk-test release . -o dist --sdist --wheel --strict
      What an index takes, held against what it asks for.
  bk-test release demo-1.0-py3-none-any.whl -o dist --python 3.12
      The egg of a wheel.

Exit status:
  0   made
  1   they could not be made, or other files have their names; nothing was written
  2   the command line is wrong
  3   made, but an index would refuse or not show something (--strict)
")]
pub struct Release {
    /// A project's folder or an sdist, or a wheel for an egg
    #[arg(value_name = "DIR|SDIST|WHEEL", default_value = ".")]
    project: PathBuf,
    /// Where they are put
    #[arg(short, long, value_name = "DIR", default_value = "dist")]
    output: PathBuf,
    /// Make the sdist
    #[arg(long)]
    sdist: bool,
    /// Make the wheel
    #[arg(long)]
    wheel: bool,
    /// Make the egg
    #[arg(long)]
    egg: bool,
    /// The interpreter: a version, a name or a path
    #[arg(long, value_name = "PYTHON")]
    python: Option<String>,
    #[command(flatten)]
    index: Index,
    /// End with status 3 for what `twine check --strict` would warn of
    #[arg(long)]
    strict: bool,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
    /// Make them, print their paths, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A file that was made.
#[derive(Serialize)]
#[serde(tag = "type", rename = "release")]
struct Made {
    #[serde(serialize_with = "bk::record::path")]
    path: PathBuf,
    kind: &'static str,
    #[serde(skip)]
    bytes: Vec<u8>,
    #[serde(skip)]
    metadata: String,
}

impl Record for Made {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_os_str().as_bytes().into()
    }
}

/// An artifact larger than this is not compared with what is there, but taken for another.
const SIZE_LIMIT: u64 = 4 << 30;

impl Release {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let console = session.console.clone();
        let (machine, chosen) = (machine(session, &console)?, session.epoch);
        let python = python::find(self.python.as_deref(), pyenv().as_deref(), &console)?;
        let project = Project::open(&self.project, &machine.cache)?;
        let epoch = match chosen {
            Some(epoch) => epoch,
            None => newest(&project, &console)?,
        };
        let epoch = epoch.max(EPOCH);
        let environments = Environments::new(&machine.cache, machine.path.clone(), &console);
        let build = Build {
            subject: &self.project,
            python: &python,
            environments: &environments,
            index: &self.index,
            epoch,
            flags: &machine.flags,
            console: &console,
        };
        let made = self.make(&project, &build)?;
        self.compare(&made)?;
        let renderer = Renderer {
            python: &python,
            environments: &environments,
            index: &self.index,
            console: &console,
        };
        let mut findings = 0;
        // The egg has what the wheel has; no index takes it.
        let checked = made.iter().filter(|made| made.kind != "egg").collect::<Vec<_>>();
        for made in &checked {
            for finding in check::check(&made.metadata, &renderer) {
                findings += 1;
                console.warn(&format!("'{}': {finding}", display(&made.path)));
            }
        }
        if findings == 0 && !checked.is_empty() {
            console.info("an index takes them as they are");
        }
        if !self.dry_run {
            file::create_dir(&self.output)?;
        }
        for made in &made {
            if !self.dry_run {
                file::write(&made.path, &made.bytes)?;
            }
            session.out.record(made)?;
        }
        Ok(if self.strict && findings > 0 { Status::No } else { Status::Done })
    }

    fn make(&self, project: &Project, build: &Build) -> Result<Vec<Made>> {
        let all = !self.sdist && !self.wheel && !self.egg;
        let mut made = Vec::new();
        let mut add = |kind: &'static str, name: &str, bytes: Vec<u8>, metadata: String| {
            made.push(Made { path: self.output.join(name), kind, bytes, metadata });
        };
        let given = project.given_wheel();
        if given.is_some() && (self.sdist || self.wheel) {
            return Err(Error::new(format!("'{}' is a wheel already", display(&self.project)))
                .hint("only an egg can be made from it"));
        }
        let built;
        let wheel = match given {
            Some(wheel) => wheel,
            None => {
                let out = project.scratch().join("release");
                file::create_dir(&out)?;
                let root = project.copy(&out.join("source"))?;
                let sdist = Backend::of(&root)?.build(Kind::Sdist, &root, &out, build)?;
                let members = archive::read(&sdist)?;
                let bytes = pack::sdist(&members, build.epoch)?;
                // PEP 625: sdists are .tar.gz, whatever an old backend is configured for.
                let name = name_of(&sdist)?;
                let stem = [".tar.gz", ".tgz", ".zip", ".tar"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end));
                let name = format!("{}.tar.gz", stem.unwrap_or(&name));
                let path = out.join(format!("again-{name}"));
                file::write(&path, &bytes)?;
                if all || self.sdist {
                    let info = format!("{}/PKG-INFO", name.trim_end_matches(".tar.gz"));
                    add("sdist", &name, bytes, text(&members, &info));
                }
                if !(all || self.wheel || self.egg) {
                    return Ok(made);
                }
                let from = Project::open(&path, project.scratch())?;
                let root = from.copy(&out.join("build"))?;
                let first = Backend::of(&root)?.build(Kind::Wheel, &root, &out, build)?;
                let members = archive::read(&first)?;
                let info = format!("{}/METADATA", pack::dist_info(&members)?);
                let metadata = text(&members, &info);
                let bytes = pack::wheel(members, build.epoch)?;
                file::write(&first, &bytes)?;
                if all || self.wheel {
                    add("wheel", &name_of(&first)?, bytes, metadata);
                }
                built = first;
                &built
            }
        };
        if all || self.egg {
            let members = archive::read(wheel)?;
            let egg = egg::of_wheel(wheel, &members, build.python, build.epoch, build.console);
            let (name, bytes) = egg.context(|| {
                format!(
                    "cannot make an egg of '{}'",
                    display(wheel.file_name().unwrap_or_default())
                )
            })?;
            add("egg", &name, bytes, String::new());
        }
        Ok(made)
    }

    /// Refuses to replace what is there and is other.
    fn compare(&self, made: &[Made]) -> Result<()> {
        for made in made.iter().filter(|_| !self.force) {
            if made.path.exists()
                && file::read(&made.path, SIZE_LIMIT).ok().as_ref() != Some(&made.bytes)
            {
                return Err(Error::new("another file has that name")
                    .context(format!("cannot write '{}'", display(&made.path)))
                    .hint("a release that was published must not change: give it another version, or --force"));
            }
        }
        Ok(())
    }
}

fn name_of(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| Error::new(format!("'{}' is no UTF-8", display(path))))
}

fn text(members: &Members, path: &str) -> String {
    let member = members.get(path).map(|member| member.data.as_slice());
    String::from_utf8_lossy(member.unwrap_or_default()).into_owned()
}

/// When the sources were last changed: the newest commit, else the newest file.
fn newest(project: &Project, console: &bk::Console) -> Result<i64> {
    if project.root.join(".git").exists() {
        let log = Cmd::new("git", console)
            .args(["log", "-1", "--format=%ct"])
            .current_dir(&project.root)
            .output();
        let time = log.ok().and_then(|said| String::from_utf8_lossy(&said).trim().parse().ok());
        if let Some(time) = time {
            return Ok(time);
        }
    }
    let mut newest = EPOCH;
    for entry in project.files.iter().filter(|entry| entry.link.is_none()) {
        let failed = || format!("cannot read '{}'", display(&entry.path));
        let time = entry.path.metadata().and_then(|meta| meta.modified()).context(failed)?;
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        newest = newest.max(i64::try_from(seconds).unwrap_or(0));
    }
    Ok(newest)
}
