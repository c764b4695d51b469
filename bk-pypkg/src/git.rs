//! Repositories for new packages, with git as a process.

use std::path::Path;

use bk::{Cmd, Console, Context, Error, Result, Status, display};

/// A person, by git's configuration.
pub fn identity(console: &Console) -> (Option<String>, Option<String>) {
    let get = |key: &str| {
        let said = Cmd::new("git", console).args(["config", "--get", key]).output().ok()?;
        let said = String::from_utf8(said).ok()?.trim().to_owned();
        Some(said).filter(|said| !said.is_empty())
    };
    (get("user.name"), get("user.email"))
}

/// Checks, before anything is made, that a repository can be begun in what will be `dir`.
pub fn check(dir: &Path, console: &Console) -> Result<()> {
    let there = dir.ancestors().find(|dir| dir.is_dir());
    let there = there.unwrap_or(Path::new("."));
    let ask = Cmd::new("git", console)
        .args(["rev-parse", "--show-toplevel"])
        .current_dir(there)
        .output_unchecked()
        .context(|| "cannot begin a repository".into())?;
    if ask.status.success() {
        let top = String::from_utf8_lossy(&ask.stdout).trim().to_owned();
        return Err(Error::new(format!("it would be in that of '{}'", bk::sanitize(&top)))
            .context(format!("cannot begin a repository in '{}'", display(dir)))
            .hint("leave --git out: what is made can be committed there")
            .status(Status::Usage));
    }
    Ok(())
}

/// Begins a repository in `dir` with what is there as its first commit; for git-flow with `flow`.
pub fn init(
    dir: &Path,
    (author, email): (&str, &str),
    epoch: Option<i64>,
    flow: bool,
    console: &Console,
) -> Result<()> {
    let git = |args: &[&str]| {
        let mut command = Cmd::new("git", console).args(args).current_dir(dir);
        for (variable, value) in [
            ("GIT_AUTHOR_NAME", author),
            ("GIT_COMMITTER_NAME", author),
            ("GIT_AUTHOR_EMAIL", email),
            ("GIT_COMMITTER_EMAIL", email),
        ] {
            command = command.env(variable, value);
        }
        if let Some(epoch) = epoch {
            let date = format!("@{epoch} +0000");
            command = command.env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date);
        }
        command.output().map(drop).context(|| {
            format!("the package is made, but not all of its repository in '{}'", display(dir))
        })
    };
    git(&["init", "--quiet", "--initial-branch=main"])?;
    git(&["add", "--all"])?;
    git(&["commit", "--quiet", "--message=Begin the package"])?;
    if flow {
        // Beside this program, or on PATH.
        let beside = std::env::current_exe().ok().map(|own| own.with_file_name("bk-flow"));
        let program = beside.filter(|program| program.is_file()).unwrap_or("bk-flow".into());
        let init = Cmd::new(program, console).args(["init", "--defaults"]).current_dir(dir);
        init.output().context(|| {
            format!("the package in '{}' is made, but not set up for git-flow", display(dir))
        })?;
    }
    Ok(())
}
