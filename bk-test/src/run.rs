//! `bk-test run`

use std::path::PathBuf;

use bk::record::Format;
use bk::{Console, Context, Error, Result, Session, Status, file};
use clap::Args;

use crate::execute::Test;
use crate::project::Project;
use crate::suite::{self, Installed, Machine, Options};
use crate::{python, report};

/// Run the tests of a project
///
/// Finds out who runs them: pytest, unittest, a suite, doctest, several of them where a project has several. The
/// project is built as a wheel and installed in an environment of its own with what its tests need. The
/// tests are run in a copy of its folder, in which its packages are the wheel's: what is tested is what
/// ships. Wheel and environment are kept until something in them changes. A line is printed for each test
/// that failed; what runners say themselves is on stderr.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-test run
      The tests of the project in this folder.
  bk-test run dist/demo-1.0.tar.gz --python 3.12 --junit results.xml
      Those of an sdist, on another Python, with a report.
  bk-test run . -- -k parse -x
      With arguments for pytest.
  bk-test run . --deb debs/python3-demo_1.0-1_all.deb
      Against the installed package, as root.
  bk-test run . --json | tail -n 1
      How many there were: {\"type\":\"summary\",\"passed\":…,\"failed\":…,\"skipped\":…,\"runner\":…}.

Exit status:
  0   all passed
  1   some failed, or the work did
  2   the command line is wrong
  5   there is no test
  else the runner's own
")]
pub struct Run {
    /// A project's folder, an sdist or a wheel
    #[arg(value_name = "DIR|SDIST|WHEEL", default_value = ".")]
    project: PathBuf,
    /// The interpreter: a version, a name or a path
    #[arg(long, value_name = "PYTHON")]
    python: Option<String>,
    /// Run them with what is installed, in the project's folder
    #[arg(long, conflicts_with = "editable")]
    no_isolation: bool,
    /// Test what this package installs, in an overlay of this system that is gone afterwards; --with names
    /// packages then
    #[arg(long, value_name = "FILE", conflicts_with_all = ["editable", "no_isolation", "python"])]
    deb: Vec<PathBuf>,
    /// Print TAP 14
    #[arg(long, conflicts_with = "null")]
    tap: bool,
    /// Write JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// pyenv's folder, where it is used.
pub fn pyenv() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv"));
    std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(home)
}

/// What the machine has, as the environment says.
pub fn machine<'a>(session: &Session, console: &'a Console) -> Result<Machine<'a>> {
    let cache = session.dirs.cache.join("test");
    file::create_dir(&cache)?;
    Ok(Machine {
        // Children are called in other folders.
        cache: cache.canonicalize()?,
        path: std::env::var_os("PATH").unwrap_or_default(),
        flags: std::env::var("CFLAGS").unwrap_or_default(),
        console,
        log: None,
    })
}

impl Run {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let console = session.console.clone();
        let machine = machine(session, &console)?;
        if self.tap && session.out.format() == Format::Json {
            return Err(Error::new("--tap and --json are two forms of the same")
                .hint("give one of them")
                .status(Status::Usage));
        }
        let program = std::env::current_exe().context(|| "cannot find this program".into())?;
        let (wanted, installed) = match (self.no_isolation, self.deb.as_slice()) {
            (true, _) => (self.python.as_deref(), Installed::Here),
            (false, []) => (self.python.as_deref(), Installed::Environment),
            // The interpreter that packages are installed for.
            (false, debs) => {
                (Some("/usr/bin/python3"), Installed::Packages { debs, program: &program })
            }
        };
        let python = python::find(wanted, pyenv().as_deref(), &console)?;
        let project = Project::open(&self.project, &machine.cache)?;
        let mut tests: Vec<Test> = Vec::new();
        if self.tap {
            session.out.raw("TAP version 14\n")?;
        }
        let out = &mut session.out;
        let tap = self.tap;
        let (summary, status) =
            suite::run(&project, &python, installed, &self.options, &machine, &mut |test| {
                tests.push(test.clone());
                match out.format() {
                    _ if tap => out.raw(report::tap(tests.len(), test))?,
                    Format::Json => out.record(test)?,
                    _ if test.outcome.is_bad() => out.record(test)?,
                    _ => return Ok(()),
                }
                out.flush()
            })?;
        if tap {
            session.out.raw(format!("1..{}\n", tests.len()))?;
        }
        if session.out.format() == Format::Json {
            session.out.record(&summary)?;
        }
        if let Some(path) = &self.junit {
            file::write(path, report::junit(&tests))?;
        }
        console.note(&format!("{} ({})", summary.text(), summary.runner));
        for hint in suite::hints(&tests) {
            console.note(&hint);
        }
        Ok(if status == 0 { Status::Done } else { Status::Child(status) })
    }
}
