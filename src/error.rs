//! Errors that say what failed, why, and what to do about it.

use std::fmt;

/// How a program ends (bk-stream.7, EXIT STATUS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Everything asked for was done.
    Done,
    /// The work failed, or some inputs failed and all others were done.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// The answer to a check is "no".
    No,
    /// Temporary: a lock is held, the network does not answer. Trying again may succeed.
    Temporary,
    /// A wrapped child's own exit status, where the child is the point.
    Child(u8),
}

impl Status {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Status::Done => 0,
            Status::Failed => 1,
            Status::Usage => 2,
            Status::No => 3,
            // EX_TEMPFAIL of sysexits.h
            Status::Temporary => 75,
            Status::Child(code) => code,
        }
    }
}

/// An error for people: the failure first, then its causes, then a hint.
///
/// Like `anyhow::Error` it converts from every standard error; unlike it, the hint and the exit
/// status are part of it.
#[derive(Clone)]
pub struct Error {
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    status: Status,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `message` is lower case, without a full stop, with the subject in single quotes.
    pub fn new(message: impl Into<String>) -> Self {
        Error { message: message.into(), causes: Vec::new(), hint: None, status: Status::Failed }
    }

    /// Says what the person can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit status this error ends the program with.
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Puts `message` in front; what was said before becomes its cause.
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let cause = std::mem::replace(&mut self.message, message.into());
        self.causes.insert(0, cause);
        self
    }

    /// The failure itself, without causes and hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Why it failed, the nearest cause first.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// What to do about it, where something is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The exit status the program should end with.
    pub fn exit_status(&self) -> Status {
        self.status
    }
}

/// The failure and its causes on one line, for logs and tests.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?})", self.status)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; hint: {hint}"))
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut new = Error::new(error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many libraries repeat their source in their own text.
            if !new.message.contains(&text) {
                new.causes.push(text);
            }
            source = cause.source();
        }
        new
    }
}

/// For callers that know nothing of ours, such as clap with its value parsers.
impl From<Error> for Box<dyn std::error::Error + Send + Sync> {
    fn from(error: Error) -> Self {
        error.to_string().into()
    }
}

/// Adds what was being done to an error on its way up.
pub trait Context<T> {
    /// See [`Error::context`].
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
    /// See [`Error::hint`].
    fn hint(self, hint: impl FnOnce() -> String) -> Result<T>;
    /// See [`Error::status`].
    fn status(self, status: Status) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.into().context(message()))
    }

    fn hint(self, hint: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.into().hint(hint()))
    }

    fn status(self, status: Status) -> Result<T> {
        self.map_err(|e| e.into().status(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_goes_in_front_and_keeps_hint_and_status() {
        let error = Error::new("not a Debian package")
            .hint("give it a .deb")
            .status(Status::Temporary)
            .context("cannot open 'x.deb'");
        assert_eq!(error.to_string(), "cannot open 'x.deb': not a Debian package");
        assert_eq!(error.hint_text(), Some("give it a .deb"));
        assert_eq!(error.exit_status().code(), 75);
    }

    #[test]
    fn standard_errors_convert() {
        let failed: Result<()> =
            std::fs::File::open("/nonexistent/x").map(drop).context(|| "cannot open".into());
        assert_eq!(
            failed.unwrap_err().to_string(),
            "cannot open: No such file or directory (os error 2)"
        );
    }
}
