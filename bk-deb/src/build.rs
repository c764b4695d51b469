//! `bk-deb build`: Python distributions and everything they need, as .debs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bk::record::{Format, Record};
use bk::{Console, Context, Result, Session, Status, file};
use rayon::prelude::*;
use serde::Serialize;

use crate::clash;
use crate::convert::{self, Built, Libraries};
use crate::debian::compression::Compression;
use crate::distro;
use crate::distro::contents::Kept;
use crate::fetch::Fetch;
use crate::form::Forms;
use crate::graph::Graph;
use crate::made::{Made, stamp};
use crate::plan::{self, Instruction};
use crate::request::{Cache, Request, told};
use crate::supply;

/// Build .debs of Python packages and everything they need
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-deb build flask -o debs
      Flask, and of what it needs all that the distribution has not.
  bk-deb build . -r requirements.txt --suite trixie -o debs
      A project's folder and a list of requirements, for another suite.
  bk-deb build 'requests[socks]' | bk-repo add /srv/apt -
      Publish what was built.

Exit status:
  0   every package was built
  1   some could not be built; all others were
  2   the command line or the configuration is wrong
  75  the network did not answer; try again
")]
pub struct Build {
    #[command(flatten)]
    request: Request,
    /// Where the .debs go
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Say what would be built, and build nothing
    #[arg(long)]
    dry_run: bool,
    /// Build what a plan says, as `bk-deb plan` wrote it; `-` reads it from stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["wanted", "requirement"])]
    plan: Option<PathBuf>,
    /// Of the plan only this package
    #[arg(long, value_name = "PACKAGE", requires = "plan")]
    only: Vec<String>,
    #[command(flatten)]
    forms: Forms,
}

/// A .deb that was written.
#[derive(Serialize)]
#[serde(tag = "type", rename = "deb")]
struct Deb<'a> {
    #[serde(serialize_with = "bk::record::path")]
    path: &'a Path,
    package: &'a str,
    version: &'a str,
    architecture: &'a str,
    size: u64,
    /// The distribution it was made of.
    name: &'a str,
    python_version: &'a str,
    /// Whether it was there already, made of the same.
    unchanged: bool,
}

impl Record for Deb<'_> {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        use std::os::unix::ffi::OsStrExt;
        self.path.as_os_str().as_bytes().into()
    }
}

/// A .deb that would be written.
#[derive(Serialize)]
#[serde(tag = "type", rename = "planned")]
struct Planned<'a> {
    package: &'a str,
    version: &'a str,
    name: &'a str,
    depends: &'a [String],
}

impl Record for Planned<'_> {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        format!("{} {}", self.package, self.version).into_bytes().into()
    }
}

/// A package of the distribution that is used as it is.
#[derive(Serialize)]
#[serde(tag = "type", rename = "reused")]
struct Reused<'a> {
    package: &'a str,
    version: &'a str,
}

impl Record for Reused<'_> {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        format!("{} {}", self.package, self.version).into_bytes().into()
    }
}

/// A package that is there now, and whether it was there before, made of the same.
type Done<'a> = (&'a Instruction, Built, bool);

impl Build {
    /// Runs the command.
    pub fn run(mut self, session: &mut Session) -> Result<Status> {
        self.forms.check()?;
        // Indexes are read, and wheels packed, by a dozen threads: 128 MiB are enough for all.
        bk::memory::share();
        self.request.set_jobs();
        let cache = self.request.cache(session, &self.output)?;
        let overrides = self.request.overrides(session)?;
        let (mut instructions, graph, roots, mut failed) = match &self.plan {
            Some(plan) => {
                let all = plan::read(plan, &self.only)?;
                // Of a plan everything was asked for.
                let roots = all.iter().map(|i| i.package.clone()).collect();
                (all, Graph::default(), roots, false)
            }
            None => {
                self.request.whole |= self.forms.is_whole();
                let resolved = self.request.resolve(session, &cache, &overrides)?;
                let all = self.request.instructions(&resolved, &overrides, session.epoch)?;
                let named = |i: &&Instruction| resolved.roots.iter().any(|n| n.as_ref() == i.name);
                let roots: Vec<String> =
                    all.iter().filter(named).map(|i| i.package.clone()).collect();
                (all, resolved.graph, roots, resolved.failed)
            }
        };
        if self.dry_run {
            for instruction in &instructions {
                session.out.record(&Planned {
                    package: &instruction.package,
                    version: &instruction.version,
                    name: &instruction.name,
                    depends: &instruction.spec.depends,
                })?;
            }
        } else if self.forms.instead() {
            file::create_dir(&self.output)?;
            let temporary = file::TempDir::new_in(&self.output)?;
            let compression = instructions.first().map(|i| i.options.compression);
            for instruction in &mut instructions {
                // Read once, and gone.
                instruction.options.compression = Compression::None;
            }
            let (built, good) =
                self.make(&mut instructions, temporary.path(), &cache, false, session)?;
            failed |= !good;
            let reused = !graph.reused.is_empty();
            self.forms.replace(&built, &roots, reused, &self.output, compression, session)?;
        } else {
            let (built, good) =
                self.make(&mut instructions, &self.output, &cache, cache.is_kept(), session)?;
            failed |= !good;
            for (instruction, built, unchanged) in &built {
                if self.forms.add(instruction, built, session)? {
                    continue;
                }
                session.out.record(&Deb {
                    path: &built.path,
                    package: &built.package,
                    version: &built.version,
                    architecture: &built.architecture,
                    size: built.size,
                    name: &instruction.name,
                    python_version: &instruction.python_version,
                    unchanged: *unchanged,
                })?;
            }
        }
        // What is used as it is has no path, so it is for readers of JSON alone.
        if session.out.format() == Format::Json {
            for (package, version) in &graph.reused {
                session.out.record(&Reused { package, version })?;
            }
        }
        Ok(if failed { Status::Failed } else { Status::Done })
    }

    /// Writes the packages into `out`, with whether each was there already; false if some could not
    /// be. `keep` tells whether they are to be found there the next time.
    fn make<'a>(
        &self,
        instructions: &'a mut [Instruction],
        out: &Path,
        cache: &Cache,
        keep: bool,
        session: &Session,
    ) -> Result<(Vec<Done<'a>>, bool)> {
        let console = session.console.clone();
        file::create_dir(out)?;
        let status = Path::new("/var/lib/dpkg/status");
        let about = |path: &Path| path.metadata().map(|m| stamp(&m)).unwrap_or_default();
        let made = Made {
            folder: keep.then(|| cache.folder().join("made")),
            program: std::env::current_exe().map(|path| about(&path)).unwrap_or_default(),
            libraries: about(status),
            out,
        };
        let suite = instructions.first().map(|i| i.options.distribution.clone());
        let contents = match suite {
            Some(suite) => self.request.contents(&suite, cache, &console)?,
            None => None,
        };
        let files = contents.as_ref().map(Kept::stamp).unwrap_or_default();
        let keys = |all: &[Instruction]| -> Vec<Option<String>> {
            all.iter().map(|i| made.key(i)).collect()
        };
        let get = |key: &Option<String>| key.as_ref().and_then(|key| made.get(key));
        let plain: Option<Vec<String>> = keys(instructions).into_iter().collect();
        let before = plain.as_ref().and_then(|keys| made.settled(keys, &files));
        let before = before.and_then(|keys| keys.iter().map(|key| made.get(key)).collect());
        let mut failed = false;
        let mut wheels: Vec<Option<PathBuf>> = vec![None; instructions.len()];
        let mut settled = Vec::new();
        let there: Vec<Option<Built>> = match before {
            // Where all are there and fit together, not even the wheels are looked at.
            Some(there) => {
                wheels.fill(Some(PathBuf::new()));
                Vec::into_iter(there).map(Some).collect()
            }
            None => {
                let looked = told(look(instructions, cache, &console), &console, &mut failed);
                let contents = contents.map(Kept::read).transpose()?;
                clash::settle(&looked, instructions, contents.as_ref(), &console)?;
                for Looked { at, wheel, .. } in looked {
                    wheels[at] = Some(wheel);
                }
                settled = keys(instructions);
                if let (Some(plain), Some(settled)) =
                    (plain.filter(|_| !failed), settled.iter().cloned().collect::<Option<Vec<_>>>())
                {
                    made.note_settled(&plain, &files, &settled)?;
                }
                settled.iter().map(get).collect()
            }
        };
        let instructions: &'a [Instruction] = instructions;
        let libraries = libraries(instructions)?;
        let todo = there.iter().filter(|there| there.is_none()).count();
        let progress = console.progress("building", todo as u64);
        let built: Vec<Result<Done<'_>>> = instructions
            .par_iter()
            .enumerate()
            .filter_map(|(at, i)| Some((at, i, wheels[at].as_deref()?)))
            .map(|(at, i, wheel)| {
                if let Some(there) = &there[at] {
                    return Ok((i, there.clone(), true));
                }
                progress.step(&i.package);
                let libraries = &*libraries[&i.options.arch];
                convert::convert(wheel, &i.spec, &i.options, libraries, out, &console)
                    .and_then(|built| {
                        if let Some(Some(key)) = settled.get(at) {
                            made.put(key, &built)?;
                        }
                        Ok((i, built, false))
                    })
                    .context(|| format!("cannot build '{}'", i.name))
            })
            .collect();
        drop(progress);
        let built = told(built, &console, &mut failed);
        Ok((built, !failed))
    }
}

/// What is known of a package before it is written.
pub(crate) struct Looked {
    /// Its place among the instructions.
    pub at: usize,
    /// Its wheel.
    pub wheel: PathBuf,
    /// What it installs, without a slash in front.
    pub paths: Vec<String>,
}

/// Gets the wheels and looks what is in them.
fn look(instructions: &[Instruction], cache: &Cache, console: &Console) -> Vec<Result<Looked>> {
    let fetch = Fetch::new(console, false);
    let look = |(at, i): (usize, &Instruction)| -> Result<Looked> {
        let wheel = supply::get(&i.wheel, &fetch, cache.folder(), console)?;
        let paths = convert::installed_paths(&wheel, &i.spec, &i.options)?;
        Ok(Looked { at, wheel, paths })
    };
    let named = |(at, i): (usize, &Instruction)| {
        look((at, i)).context(|| format!("cannot build '{}'", i.name))
    };
    instructions.par_iter().enumerate().map(named).collect()
}

/// Where shared libraries come from, for each machine that is built for.
fn libraries(instructions: &[Instruction]) -> Result<HashMap<String, Box<dyn Libraries>>> {
    let mut all = HashMap::new();
    for convert::Options { arch, distribution, .. } in instructions.iter().map(|i| &i.options) {
        if !all.contains_key(arch) {
            all.insert(arch.clone(), distro::libraries(distribution, arch)?);
        }
    }
    Ok(all)
}
