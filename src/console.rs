//! stderr: words and progress for people.

use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{Error, sanitize};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors only (`-q`).
    Quiet,
    /// Errors and warnings.
    Normal,
    /// Also what is being done (`-v`).
    Verbose,
    /// Also why (`-vv`).
    Debug,
}

/// Where a tool speaks to people. Cheap to clone; usable from any thread.
#[derive(Clone)]
pub struct Console {
    name: String,
    level: Level,
    color: bool,
    bars: Option<MultiProgress>,
}

impl Console {
    /// A console that starts its lines with `name: `. Bars are drawn only on a terminal.
    pub fn new(name: &str, level: Level, color: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = (terminal && level >= Level::Normal)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Console { name: name.into(), level, color, bars }
    }

    /// A console that says nothing, for tests and for callers that only want the result.
    pub fn silent() -> Self {
        Console { name: String::new(), level: Level::Quiet, color: false, bars: None }
    }

    /// How much is said.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Prints an error with its causes and its hint.
    pub fn error(&self, error: &Error) {
        if self.name.is_empty() {
            return;
        }
        let mut text = format!("{} {}\n", self.red("", &self.name), lines(error.message()));
        for cause in error.causes() {
            text += &format!("  caused by: {}\n", lines(cause));
        }
        if let Some(hint) = error.hint_text() {
            text += &format!("  hint: {}\n", lines(hint));
        }
        self.write(&text);
    }

    /// Says that something is odd, though the work goes on.
    pub fn warn(&self, message: &str) {
        self.say(Level::Normal, &format!("warning: {message}"));
    }

    /// Says what was done beyond what was asked for.
    pub fn note(&self, message: &str) {
        self.say(Level::Normal, message);
    }

    /// Says what is being done, at `-v`.
    pub fn info(&self, message: &str) {
        self.say(Level::Verbose, message);
    }

    /// Says why, at `-vv`.
    pub fn debug(&self, message: &str) {
        self.say(Level::Debug, message);
    }

    fn say(&self, level: Level, message: &str) {
        if self.level >= level && !self.name.is_empty() {
            self.write(&format!("{}: {}\n", self.name, lines(message)));
        }
    }

    fn red(&self, message: &str, name: &str) -> String {
        if self.color {
            format!("\x1b[1;31m{name}:\x1b[0m{message}")
        } else {
            format!("{name}:{message}")
        }
    }

    fn write(&self, text: &str) {
        // One write, so that lines of parallel processes do not mix; a closed stderr is no error.
        let write = || drop(std::io::stderr().lock().write_all(text.as_bytes()));
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Starts a progress bar over `total` steps; 0 when the number is not known.
    pub fn progress(&self, what: &str, total: u64) -> Progress {
        let bar = match &self.bars {
            Some(bars) => bars.add(if total == 0 {
                ProgressBar::new_spinner()
            } else {
                ProgressBar::new(total)
            }),
            None => ProgressBar::hidden(),
        };
        let template = if total == 0 {
            "{prefix} {spinner} {msg}"
        } else {
            "{prefix} [{bar:30}] {pos}/{len} {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        Progress { bar, console: self.clone(), what: what.to_owned() }
    }
}

/// Keeps the newlines of a message, and nothing else that steers a terminal.
fn lines(text: &str) -> String {
    text.split('\n').map(sanitize).collect::<Vec<_>>().join("\n    ")
}

/// A running piece of work; gone from the screen when dropped.
pub struct Progress {
    bar: ProgressBar,
    console: Console,
    what: String,
}

impl Progress {
    /// One more step is done; `message` names it. Without a terminal it is a line at `-v`.
    pub fn step(&self, message: &str) {
        // Threads that make steps all the time would wait for each other to set what nobody sees.
        if self.console.bars.is_none() {
            return self.console.info(&format!("{} {message}", self.what));
        }
        self.bar.inc(1);
        self.bar.set_message(sanitize(message));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
