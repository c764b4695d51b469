//! `bk-test matrix`

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use bk::record::{Format, Record};
use bk::{Context, Error, Level, Result, Session, Status, file};
use clap::Args;
use serde::Serialize;

use crate::execute::Test;
use crate::project::Project;
use crate::python;
use crate::report::Summary;
use crate::run::{machine, pyenv};
use crate::suite::{self, Installed, Machine, Options};

/// Run the tests of a project on several interpreters
///
/// As `bk-test run` does on each: the project is built and installed for each of them. Several are
/// at work at the same time; what they say comes in the order they were named in. A line is printed for
/// each. Interpreters are looked for in /usr/bin, on PATH, in pyenv's folder, and with uv, which fetches
/// them.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-test matrix --python 3.11 --python 3.13
      The tests of the project in this folder, on both.
  bk-test matrix dist/demo-1.0.tar.gz --python 3.9 --python 3.14 -j 1 --json
      Those of an sdist, one after the other, as records.

Exit status:
  0   all passed on all of them
  1   some failed, or could not be run
  2   the command line is wrong
")]
pub struct Matrix {
    /// A project's folder, an sdist or a wheel
    #[arg(value_name = "DIR|SDIST|WHEEL", default_value = ".")]
    project: PathBuf,
    /// An interpreter: a version, a name or a path
    #[arg(long, value_name = "PYTHON", required = true)]
    python: Vec<String>,
    /// How many are at work at the same time; as many as there are processors
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    options: Options,
}

/// What came of an interpreter.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    summary: Summary,
    /// As it was named.
    interpreter: String,
    /// Why nothing was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Record for Row {
    fn line(&self) -> Cow<'_, [u8]> {
        let name = bk::sanitize(&self.interpreter);
        let what = match &self.error {
            Some(error) => bk::sanitize(error),
            None => format!("{}\t{}", self.summary.text(), self.summary.runner),
        };
        format!("{name}\t{what}").into_bytes().into()
    }
}

/// A test, and the interpreter it was run on.
#[derive(Serialize)]
struct On<'a> {
    #[serde(flatten)]
    test: &'a Test,
    interpreter: &'a str,
}

impl Record for On<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        self.test.line()
    }
}

/// What one interpreter did.
struct Done {
    result: Result<(Summary, u8)>,
    tests: Vec<Test>,
}

/// What a runner may have said: a failure of each of ten thousand tests.
const LOG_LIMIT: u64 = 1 << 30;

impl Matrix {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let console = session.console.clone();
        let machine = machine(session, &console)?;
        let project = Project::open(&self.project, &machine.cache)?;
        let processors = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let jobs = self.jobs.map_or_else(processors, NonZero::get).min(self.python.len());
        let log = |index: usize| project.scratch().join(format!("log-{index}"));
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        let mut all_passed = true;
        std::thread::scope(|scope| -> Result<()> {
            for _ in 0..jobs {
                let (sender, next, log) = (sender.clone(), &next, &log);
                let (this, project, machine) = (&self, &project, &machine);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(name) = this.python.get(index) else { break };
                        let done = this.one(name, project, machine, &log(index));
                        if sender.send((index, done)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let (mut waiting, mut shown) = (BTreeMap::new(), 0);
            for (index, done) in receiver {
                waiting.insert(index, done);
                while let Some(done) = waiting.remove(&shown) {
                    let name = self.python.get(shown).map_or("", String::as_str);
                    all_passed &= show(session, name, &log(shown), done)?;
                    shown += 1;
                }
            }
            Ok(())
        })?;
        Ok(if all_passed { Status::Done } else { Status::Failed })
    }

    fn one(&self, name: &str, project: &Project, machine: &Machine, log: &Path) -> Done {
        let mut tests = Vec::new();
        let machine = Machine { log: Some(log), ..machine.clone() };
        let result =
            python::find(Some(name), pyenv().as_deref(), machine.console).and_then(|python| {
                suite::run(
                    project,
                    &python,
                    Installed::Environment,
                    &self.options,
                    &machine,
                    &mut |test| {
                        tests.push(test.clone());
                        Ok(())
                    },
                )
            });
        Done { result, tests }
    }
}

/// Tells what came of an interpreter, and returns whether all passed.
fn show(session: &mut Session, name: &str, log: &Path, done: Done) -> Result<bool> {
    if session.console.level() > Level::Quiet && log.exists() {
        let said = file::read(log, LOG_LIMIT)?;
        let mut stderr = std::io::stderr().lock();
        std::io::Write::write_all(&mut stderr, &said)
            .context(|| "cannot write to stderr".into())?;
    }
    let json = session.out.format() == Format::Json;
    for test in done.tests.iter().filter(|_| json) {
        session.out.record(&On { test, interpreter: name })?;
    }
    let interpreter = name.to_owned();
    let passed = match done.result {
        Ok((summary, status)) => {
            session.out.record(&Row { summary, interpreter, error: None })?;
            status == 0
        }
        Err(error) => {
            let context = format!("cannot test on '{}'", bk::sanitize(name));
            let text = error.to_string();
            session.console.error(&Error::context(error, context));
            let summary = Summary::default();
            session.out.record(&Row { summary, interpreter, error: Some(text) })?;
            false
        }
    };
    session.out.flush()?;
    Ok(passed)
}
