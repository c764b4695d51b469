//! Runs a runner, takes in what it tells of each test, and outlives those that it does not.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bk::file::{self, TempDir};
use bk::{Cleanup, Console, Context, Error, Level, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::discover::Runner;

const HARNESS: &str = include_str!("harness.py");

/// How often the events are looked at: not to be noticed by people, nor by the processor.
const LOOK: Duration = Duration::from_millis(10);

/// What came of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not.
    Failed,
    /// What is around the test failed, or it could not be loaded.
    Error,
    /// Not run.
    Skipped,
    /// Failed, as was expected.
    Xfailed,
    /// Passed, though that was not expected; not taken for a failure.
    Xpassed,
}

impl Outcome {
    /// Whether something is wrong.
    pub fn is_bad(self) -> bool {
        matches!(self, Outcome::Failed | Outcome::Error)
    }

    /// Whether the test says nothing.
    pub fn is_skipped(self) -> bool {
        matches!(self, Outcome::Skipped | Outcome::Xfailed)
    }
}

/// A test that was run.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "test")]
pub struct Test {
    /// As the runner calls it.
    pub id: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// Who ran it.
    pub runner: Runner,
    /// Why it failed or was skipped, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The whole of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its file, below the project's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// A line of the harness.
#[derive(Deserialize)]
struct Event {
    event: String,
    #[serde(default)]
    id: String,
    outcome: Option<Outcome>,
    #[serde(default)]
    seconds: f64,
    message: Option<String>,
    text: Option<String>,
    file: Option<String>,
    line: Option<u64>,
    doctest: Option<PathBuf>,
    status: Option<i32>,
}

/// What the harness is told.
#[derive(Serialize)]
struct Config<'a> {
    #[serde(flatten)]
    job: &'a Job,
    events: &'a Path,
    /// Tests that were run before.
    done: &'a [String],
}

/// What is run.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// By whom.
    pub runner: Runner,
    /// The runner's arguments.
    pub args: Vec<String>,
    /// Files of tests, or modules with examples.
    pub files: Vec<PathBuf>,
    /// Texts with examples.
    pub texts: Vec<PathBuf>,
    /// Names of suites.
    pub names: Vec<String>,
    /// Flags of doctest.
    pub flags: Vec<String>,
}

/// Where and how it is run.
pub struct Place<'a> {
    /// The program that is Python, and its first arguments.
    pub python: Vec<std::ffi::OsString>,
    /// The folder it is run in.
    pub root: &'a Path,
    /// A folder for the harness.
    pub scratch: &'a Path,
    /// Variables of the environment.
    pub variables: Vec<(String, std::ffi::OsString)>,
    /// Variables that are not handed on.
    pub removed: Vec<&'static str>,
    /// How long a test may take.
    pub timeout: Option<Duration>,
    /// Where it is told.
    pub console: &'a Console,
    /// A file for what the runner says; otherwise that goes to stderr.
    pub log: Option<&'a Path>,
}

/// What came of a runner.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; 128 and the signal's number where a signal ended it.
    pub status: u8,
    /// How many tests it ran.
    pub tests: usize,
    /// Files whose examples it ran.
    pub doctests: Vec<PathBuf>,
}

/// A group of processes; none of it is left, whatever ends us.
struct Group {
    child: Child,
    pid: Option<Pid>,
    _cleanup: Cleanup,
}

impl Group {
    fn start(command: &mut Command) -> Result<Self> {
        let child = command.process_group(0).spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let kill = move || {
            let _ = pid.map(|pid| kill_process_group(pid, Signal::KILL));
        };
        Ok(Group { child, pid, _cleanup: Cleanup::new(kill) })
    }

    fn kill(&mut self) {
        let _ = self.pid.map(|pid| kill_process_group(pid, Signal::KILL));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Also what a test started and did not end.
        self.kill();
        drop(self.child.wait());
    }
}

/// Runs a job and gives each test to `tell` as it ends. A test that ends the process, or takes too long, has
/// failed, and those after it are run in a process of their own.
pub fn run(job: &Job, place: &Place, tell: &mut dyn FnMut(Test) -> Result<()>) -> Result<Ran> {
    let failed = || format!("cannot run {}", job.runner.name());
    let dir = TempDir::new_in(place.scratch)?;
    let harness = dir.path().join("harness.py");
    file::write(&harness, HARNESS)?;
    let mut ran = Ran { status: 0, tests: 0, doctests: Vec::new() };
    let mut done: Vec<String> = Vec::new();
    let mut bad_before = false;
    for attempt in 0u32.. {
        let events = dir.path().join(format!("events-{attempt}"));
        file::write(&events, "")?;
        let config = dir.path().join(format!("config-{attempt}.json"));
        let text = Config { job, events: &events, done: &done };
        // A path that is no UTF-8 cannot be told.
        let text = serde_json::to_string(&text).context(failed)?;
        file::write(&config, text)?;
        let (program, first) = place.python.split_first().ok_or_else(|| Error::new(failed()))?;
        let mut command = Command::new(program);
        command.args(first).arg(&harness).arg(&config).current_dir(place.root);
        command.envs(place.variables.iter().map(|(name, value)| (name, value)));
        for name in &place.removed {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        if let Some(log) = place.log {
            let log = File::options().append(true).create(true).open(log).context(failed)?;
            command.stdout(log.try_clone().context(failed)?).stderr(log);
        } else if place.console.level() == Level::Quiet {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        } else {
            // stdout is for records.
            let stderr = std::io::stderr().as_fd().try_clone_to_owned().context(failed)?;
            command.stdout(Stdio::from(stderr));
        }
        place.console.info(&format!("+ {} of '{}'", job.runner.name(), bk::display(place.root)));
        let mut group = Group::start(&mut command).context(failed)?;
        let before = done.len();
        let mut follow = Follow {
            file: File::open(&events).context(failed)?,
            rest: Vec::new(),
            running: None,
            end: None,
        };
        let mut timed_out = false;
        let status = loop {
            let status = group.child.try_wait().context(failed)?;
            for event in follow.read()? {
                if event.event != "test" {
                    continue;
                }
                ran.tests += 1;
                done.push(event.id.clone());
                if let Some(path) = &event.doctest
                    && !ran.doctests.contains(path)
                {
                    ran.doctests.push(path.clone());
                }
                let test = test(event, job.runner);
                bad_before |= test.outcome.is_bad();
                tell(test)?;
            }
            if let Some(status) = status {
                break status;
            }
            let late = |(_, since): &(String, Instant)| {
                place.timeout.is_some_and(|limit| since.elapsed() >= limit)
            };
            if !timed_out && follow.running.as_ref().is_some_and(late) {
                timed_out = true;
                group.kill();
            }
            std::thread::sleep(LOOK);
        };
        drop(group);
        match (follow.end, follow.running) {
            (Some(end), _) => {
                let end = u8::try_from(end).unwrap_or(1);
                // On a second try there may be none left; and what failed before is not to be forgotten.
                ran.status = match end {
                    0 | 5 if attempt > 0 && bad_before => 1,
                    5 if attempt > 0 => 0,
                    end => end,
                };
                return Ok(ran);
            }
            (None, Some((id, since))) => {
                let message = match timed_out {
                    true => {
                        format!(
                            "timed out after {} s",
                            place.timeout.unwrap_or_default().as_secs_f64()
                        )
                    }
                    false => format!("the process ended in it: {status}"),
                };
                place.console.warn(&format!("'{id}': {message}"));
                ran.tests += 1;
                bad_before = true;
                done.push(id.clone());
                tell(Test {
                    id,
                    outcome: Outcome::Failed,
                    seconds: since.elapsed().as_secs_f64(),
                    runner: job.runner,
                    message: Some(message),
                    text: None,
                    file: None,
                    line: None,
                })?;
            }
            (None, None) if done.len() > before => {
                place
                    .console
                    .warn(&format!("{} ended between two tests: {status}", job.runner.name()));
                bad_before = true;
            }
            (None, None) => {
                ran.status = match code(status) {
                    0 => 1,
                    code => code,
                };
                if !bad_before {
                    place
                        .console
                        .warn(&format!("{} ended before it was done: {status}", job.runner.name()));
                }
                return Ok(ran);
            }
        }
    }
    Ok(ran)
}

fn code(status: ExitStatus) -> u8 {
    // As a shell has it.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn test(event: Event, runner: Runner) -> Test {
    Test {
        id: event.id,
        outcome: event.outcome.unwrap_or(Outcome::Error),
        seconds: event.seconds,
        runner: if event.doctest.is_some() { Runner::Doctest } else { runner },
        message: event.message,
        text: event.text,
        file: event.file,
        line: event.line,
    }
}

/// The events, as they are written.
struct Follow {
    file: File,
    rest: Vec<u8>,
    /// The test that runs, and since when.
    running: Option<(String, Instant)>,
    /// The status with which all were run.
    end: Option<i32>,
}

impl Follow {
    fn read(&mut self) -> Result<Vec<Event>> {
        self.file
            .read_to_end(&mut self.rest)
            .context(|| "cannot read what the tests tell".into())?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let lines: Vec<u8> = self.rest.drain(..=end).collect();
        let mut events = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // A test may write anywhere; what is no event is not ours.
            let Ok(event) = serde_json::from_slice::<Event>(line) else { continue };
            match event.event.as_str() {
                "start" => self.running = Some((event.id.clone(), Instant::now())),
                "test" if self.running.as_ref().is_some_and(|(id, _)| *id == event.id) => {
                    self.running = None;
                }
                "end" => self.end = event.status,
                _ => {}
            }
            events.push(event);
        }
        Ok(events)
    }
}
