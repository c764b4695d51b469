//! Child processes: argument vectors only, shown at `-v`, their last words kept for the error.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use crate::{Console, Context, Error, Result, display};

/// A command to run.
pub struct Cmd {
    command: Command,
    console: Console,
}

impl Cmd {
    /// `program` is looked up in `PATH`.
    pub fn new(program: impl AsRef<OsStr>, console: &Console) -> Self {
        Cmd { command: Command::new(program), console: console.clone() }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs in the folder `dir`.
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it and returns its stdout. Its stderr goes into the error if it fails.
    pub fn output(mut self) -> Result<Vec<u8>> {
        let output = self.run(None)?;
        self.check(output.status, &output.stderr)?;
        Ok(output.stdout)
    }

    /// The same, with `input` on its stdin.
    pub fn output_with(mut self, input: &[u8]) -> Result<Vec<u8>> {
        let output = self.run(Some(input))?;
        self.check(output.status, &output.stderr)?;
        Ok(output.stdout)
    }

    /// Runs it and returns status, stdout and stderr, whatever the status.
    pub fn output_unchecked(mut self) -> Result<Output> {
        self.run(None)
    }

    fn run(&mut self, input: Option<&[u8]>) -> Result<Output> {
        self.console.info(&format!("+ {}", self.line()));
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |program: &OsStr| format!("cannot run '{}'", display(program));
        let mut child =
            self.command.spawn().context(|| failed(self.command.get_program())).hint(|| {
                format!("install '{}', or put it on PATH", display(self.command.get_program()))
            })?;
        std::thread::scope(|scope| {
            if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
                // A child that stops reading says why with its status.
                scope.spawn(move || drop(std::io::Write::write_all(&mut stdin, input)));
            }
            child.wait_with_output().context(|| failed(self.command.get_program()))
        })
    }

    fn check(&self, status: ExitStatus, stderr: &[u8]) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let mut error = Error::new(format!("'{}' failed: {status}", self.line()));
        let stderr = String::from_utf8_lossy(stderr);
        // The last lines are where programs say what went wrong; 20 fit a screen.
        let lines: Vec<&str> = stderr.trim().lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n");
        if !last.is_empty() {
            let message = error.message().to_owned();
            error = Error::new(last).context(message);
        }
        Err(error)
    }

    /// The command as a person would type it.
    fn line(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let words: Vec<OsString> = words.map(quote).collect();
        display(words.join(OsStr::new(" ")))
    }
}

/// Quotes a word for sh(1), to be read, never to be run.
fn quote(word: &OsStr) -> OsString {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+~".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_child_shows_its_last_words() {
        let cmd = Cmd::new("sh", &Console::silent()).args(["-c", "echo why >&2; exit 7"]);
        let error = cmd.output().unwrap_err();
        assert!(error.message().contains("exit status: 7"), "{error}");
        assert_eq!(error.causes(), ["why"]);
    }

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        let error = Cmd::new("no-such-program", &Console::silent()).output().unwrap_err();
        assert!(error.hint_text().unwrap().contains("install 'no-such-program'"));
    }

    #[test]
    fn stdin_reaches_the_child() {
        let cmd = Cmd::new("cat", &Console::silent());
        assert_eq!(cmd.output_with(&[b'x'; 200_000]).unwrap().len(), 200_000);
    }
}
