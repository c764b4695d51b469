//! All tests of a project on one interpreter: found, given what they need, run.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bk::file::{self, TempDir};
use bk::{Console, Context, Error, Result};
use sha2::{Digest, Sha256};

use crate::backend::{self, Build, EPOCH};
use crate::deb;
use crate::declared;
use crate::discover::{self, Found, Runner};
use crate::environment::{Environments, Index, Recipe};
use crate::execute::{self, Job, Place, Test};
use crate::project::{Project, put_wheel};
use crate::python::Python;
use crate::report::Summary;
use crate::{archive, tree};

/// What is said of all tests, whatever they are run on.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Only what this one runs
    #[arg(long, value_name = "NAME", value_enum)]
    pub runner: Vec<Runner>,
    /// Install this extra of the project, instead of the one for tests
    #[arg(long, value_name = "NAME")]
    pub extra: Vec<String>,
    /// Install this dependency group, instead of the one for tests
    #[arg(long, value_name = "NAME")]
    pub group: Vec<String>,
    /// Install what this file lists, instead of what the project says
    #[arg(short, long = "requirement", value_name = "FILE")]
    pub requirements: Vec<PathBuf>,
    /// Also install this
    #[arg(long, value_name = "REQUIREMENT")]
    pub with: Vec<String>,
    #[command(flatten)]
    pub index: Index,
    /// Test the sources where they are, installed as `pip install -e`
    #[arg(long)]
    pub editable: bool,
    /// Make the wheel and the environment again
    #[arg(long)]
    pub refresh: bool,
    /// How long a test may take; then it has failed
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Arguments of pytest; other runners, if the project has several, run nothing then
    #[arg(last = true, value_name = "RUNNER ARGS")]
    pub args: Vec<String>,
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse()?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| Error::new("not a time in seconds"))
}

/// What the machine has.
#[derive(Clone)]
pub struct Machine<'a> {
    /// The folder of the cache that is ours.
    pub cache: PathBuf,
    /// PATH.
    pub path: OsString,
    /// CFLAGS.
    pub flags: String,
    /// Where it is told.
    pub console: &'a Console,
    /// A file for what runners say; otherwise that goes to stderr.
    pub log: Option<&'a Path>,
}

/// Where the tests are run.
struct Ready {
    python: Vec<OsString>,
    root: PathBuf,
    variables: Vec<(String, OsString)>,
    removed: Vec<&'static str>,
    /// Folders and modules of the project; all, if it is not known.
    places: Option<Vec<PathBuf>>,
    /// Whether it is the copy of the project, or an environment made for it.
    isolated: bool,
    /// Holds the copy of the project.
    _tree: Option<TempDir>,
}

/// What the project is installed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed<'a> {
    /// An environment of its own.
    Environment,
    /// What is there.
    Here,
    /// An overlay of this system, from these packages; `program` is this one.
    Packages {
        /// The packages.
        debs: &'a [PathBuf],
        /// This program.
        program: &'a Path,
    },
}

/// Runs the tests of `project` on `python`.
pub fn run(
    project: &Project,
    python: &Python,
    installed: Installed,
    options: &Options,
    machine: &Machine,
    tell: &mut dyn FnMut(&Test) -> Result<()>,
) -> Result<(Summary, u8)> {
    let found = discover::find(&project.files, &project.root, python, machine.console)?;
    let mut runners = found.runners();
    if !options.runner.is_empty() {
        // Who is asked for runs also what the project does not seem to be made for.
        if options.runner.contains(&Runner::Pytest) && !runners.contains(&Runner::Pytest) {
            runners.insert(0, Runner::Pytest);
        }
        if found.has_examples() && !runners.contains(&Runner::Doctest) {
            runners.push(Runner::Doctest);
        }
        runners.retain(|runner| options.runner.contains(runner));
    } else if found.has_examples() && !runners.contains(&Runner::Doctest) {
        machine.console.info(
            "there are examples ('>>>'), but nothing in the project speaks of doctest: --runner doctest runs them",
        );
    }
    if !options.args.is_empty() {
        runners.truncate(1);
    }
    if !options.args.is_empty() && runners.first().is_some_and(|first| *first != Runner::Pytest) {
        return Err(Error::new("only pytest takes arguments, and the tests are not run by it")
            .hint("leave out what stands behind '--', or name --runner pytest")
            .status(bk::Status::Usage));
    }
    if runners.is_empty() {
        return Err(discover::no_tests(&project.subject));
    }
    let ready = match installed {
        Installed::Environment => prepare(project, python, &found, &runners, options, machine)?,
        Installed::Packages { debs, program } => {
            overlay(project, debs, program, &runners, options, machine)?
        }
        Installed::Here => Ready {
            python: vec![python.program.clone().into()],
            root: project.root.clone(),
            variables: Vec::new(),
            removed: Vec::new(),
            places: None,
            isolated: false,
            _tree: None,
        },
    };
    let mut summary = Summary { python: python.version.clone(), ..Summary::default() };
    let (mut status, mut names, mut doctests) = (0, Vec::new(), Vec::new());
    for runner in runners {
        let Some(job) = job(runner, &found, &ready, &doctests, project, options, machine) else {
            continue;
        };
        let place = Place {
            python: ready.python.clone(),
            root: &ready.root,
            scratch: project.scratch(),
            variables: ready.variables.clone(),
            removed: ready.removed.clone(),
            timeout: options.timeout,
            console: machine.console,
            log: machine.log,
        };
        let ran = execute::run(&job, &place, &mut |test| {
            summary.add(&test);
            tell(&test)
        })?;
        doctests.extend(ran.doctests);
        if ran.tests > 0 {
            names.push(runner.name());
        }
        // That one of several runners has nothing to run is no failure.
        if status == 0 && ran.status != 5 {
            status = ran.status;
        }
    }
    summary.runner = names.join("+");
    if summary.tests() == 0 && status == 0 {
        return Err(discover::no_tests(&project.subject));
    }
    Ok((summary, status))
}

/// What a runner is told; nothing if it has nothing to run.
fn job(
    runner: Runner,
    found: &Found,
    ready: &Ready,
    doctests: &[PathBuf],
    project: &Project,
    options: &Options,
    machine: &Machine,
) -> Option<Job> {
    let there = |paths: &[PathBuf]| -> Vec<PathBuf> {
        let all = paths.iter().map(|path| ready.root.join(path));
        all.filter(|path| path.is_file() && !doctests.contains(path)).collect()
    };
    let mut job = Job {
        runner,
        args: options.args.clone(),
        files: Vec::new(),
        texts: Vec::new(),
        names: Vec::new(),
        flags: Vec::new(),
    };
    match runner {
        Runner::Pytest => {
            let options = found.pytest.options.get("addopts");
            if ready.isolated && options.is_none_or(|text| !text.contains("no:cacheprovider")) {
                // What failed last time is remembered, though the folder it is run in is gone.
                let hash = Sha256::digest(project.root.as_os_str().as_encoded_bytes());
                let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                let dir = machine.cache.join("pytest").join(name);
                job.args.splice(0..0, ["-o".into(), format!("cache_dir={}", dir.display())]);
            }
        }
        Runner::Suite => job.names.extend(found.suite.clone()),
        Runner::Unittest => job.files = there(&found.unittest),
        Runner::Doctest => {
            job.files = there(&found.modules);
            if let Some(places) = &ready.places {
                job.files.retain(|path| places.iter().any(|place| path.starts_with(place)));
            }
            job.texts = there(&found.texts);
            job.flags = found.pytest.doctest_flags();
            if job.files.is_empty() && job.texts.is_empty() {
                return None;
            }
        }
    }
    Some(job)
}

/// Builds the project, installs it with what its tests need, and makes the folder they are run in: a copy of
/// the project in which its packages are those of the wheel. So the folder can be on the path, as many tests
/// expect, and still nothing is tested that does not ship; and what tests leave behind is gone.
fn prepare(
    project: &Project,
    python: &Python,
    found: &Found,
    runners: &[Runner],
    options: &Options,
    machine: &Machine,
) -> Result<Ready> {
    let console = machine.console;
    let mut environments = Environments::new(&machine.cache, machine.path.clone(), console);
    environments.refresh = options.refresh;
    let pyproject = backend::pyproject(&project.root)?;
    let mut recipe = Recipe { index: options.index.clone(), ..Recipe::default() };
    let (wheel, extras) = match options.editable {
        true => (None, declared::extras(&pyproject)),
        false => {
            let build = Build {
                subject: &project.subject,
                python,
                environments: &environments,
                index: &options.index,
                epoch: EPOCH,
                flags: &machine.flags,
                console,
            };
            let wheel = project.wheel(&machine.cache, &build)?;
            let extras = match &wheel {
                Some(wheel) => extras_of(wheel)?,
                None => declared::extras(&pyproject),
            };
            (wheel, extras)
        }
    };
    let declared = if options.extra.is_empty()
        && options.group.is_empty()
        && options.requirements.is_empty()
    {
        declared::find(&project.root, &pyproject, &extras, found)?
    } else {
        let mut own = declared::Declared { extras: options.extra.clone(), ..Default::default() };
        for group in &options.group {
            own.requirements.extend(declared::group(&pyproject, group)?);
        }
        for path in &options.requirements {
            let failed = || format!("cannot open '{}'", bk::display(path));
            own.files.push(path.canonicalize().context(failed)?);
        }
        own
    };
    if !declared.source.is_empty() {
        console.info(&format!("what the tests need is said by {}", declared.source));
    }
    if let Some(extra) = options.extra.iter().find(|extra| !extras.contains(*extra)) {
        let known: Vec<&str> = extras.iter().map(String::as_str).collect();
        return Err(Error::new(format!("the project has no extra '{}'", bk::sanitize(extra)))
            .hint(format!("it has: {}", known.join(", "))));
    }
    match (&wheel, options.editable) {
        (_, true) => recipe.editable = Some((project.root.clone(), declared.extras.clone())),
        (Some(wheel), _) => recipe.wheel = Some((wheel.clone(), declared.extras.clone())),
        (None, _) => {
            let all = declared.extras.iter().flat_map(|name| declared::extra(&pyproject, name));
            recipe.requirements.extend(all);
        }
    }
    recipe.requirements.extend(declared.requirements);
    recipe.files = declared.files;
    recipe.requirements.extend(options.with.clone());
    if runners.contains(&Runner::Pytest) {
        recipe.requirements.push("pytest".into());
        recipe.requirements.extend(found.pytest.plugins());
    }
    let environment = environments.get(python, &recipe)?;
    let (mut root, mut places, mut copied) = (project.root.clone(), None, None);
    if !options.editable {
        let dir = TempDir::new_in(project.scratch())?;
        root = dir.path().join(project.root.file_name().unwrap_or_default());
        file::create_dir(&root)?;
        tree::copy(&project.files, &root)?;
        places = wheel.as_ref().map(|wheel| put_wheel(wheel, &root)).transpose()?;
        copied = Some(dir);
    }
    let variables = vec![
        ("PATH".to_owned(), environment.path().to_owned()),
        ("VIRTUAL_ENV".to_owned(), environment.dir().as_os_str().to_owned()),
        ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".into()),
    ];
    Ok(Ready {
        python: vec![environment.python.clone().into()],
        root,
        variables,
        removed: vec!["PYTHONPATH", "PYTHONHOME"],
        places,
        isolated: true,
        _tree: copied,
    })
}

/// Has the packages installed where the tests are run, in a copy of the project without what they install.
fn overlay(
    project: &Project,
    debs: &[PathBuf],
    program: &Path,
    runners: &[Runner],
    options: &Options,
    machine: &Machine,
) -> Result<Ready> {
    let dir = TempDir::new_in(project.scratch())?;
    let root = dir.path().join(project.root.file_name().unwrap_or_default());
    file::create_dir(&root)?;
    tree::copy(&project.files, &root)?;
    deb::remove_sources(debs, &root, machine.console)?;
    let mut names = options.with.clone();
    if runners.contains(&Runner::Pytest) {
        names.push("python3-pytest".into());
    }
    let mut words = deb::command(program, project.scratch(), debs, &names, machine.console)?;
    words.extend(["env".into(), "-C".into(), root.clone().into(), "/usr/bin/python3".into()]);
    Ok(Ready {
        python: words,
        root,
        variables: vec![("PYTHONDONTWRITEBYTECODE".to_owned(), "1".into())],
        removed: vec!["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"],
        places: None,
        isolated: true,
        _tree: Some(dir),
    })
}

/// The extras of a wheel.
fn extras_of(wheel: &Path) -> Result<BTreeSet<String>> {
    let members = archive::read(wheel)?;
    let metadata = members
        .iter()
        .find(|(path, _)| path.ends_with(".dist-info/METADATA") && path.matches('/').count() == 1);
    let text = metadata.map(|(_, member)| String::from_utf8_lossy(&member.data).into_owned());
    Ok(declared::provided_extras(&text.unwrap_or_default()))
}

/// What may be done about failures that have a usual reason.
pub fn hints(tests: &[Test]) -> Vec<String> {
    let mut hints = Vec::new();
    let bad = || tests.iter().filter(|test| test.outcome.is_bad());
    let missing: BTreeSet<&str> = bad()
        .filter_map(|test| test.message.as_deref()?.split_once("No module named '"))
        .filter_map(|(_, rest)| rest.split(['\'', '.']).next())
        .collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.into_iter().collect();
        hints.push(format!(
            "there is no module '{}': --with installs what the project does not name, --extra and --group what it does",
            names.join("', '")
        ));
    }
    let examples = bad().filter(|test| test.runner == Runner::Doctest).count();
    if examples > 0
        && examples == bad().count()
        && tests.iter().any(|t| t.runner != Runner::Doctest)
    {
        hints.push(
            "only examples failed; if they are not meant as tests, name the --runner that is"
                .into(),
        );
    }
    hints
}
