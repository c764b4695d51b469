//! What a repository wants to be run before and after a command, and to decide itself.

use std::process::{Command, Stdio};

use bk::{Context, Error, Result, display};

use crate::repo::{Kind, Repo, is_program};

/// Runs a hook `pre-flow-KIND-ACTION` or `post-flow-KIND-ACTION` if there is one; a `pre` that fails stops
/// the command.
pub fn run(repo: &Repo, when: &str, kind: Kind, action: &str, args: &[&str]) -> Result<()> {
    let path = repo.hooks().join(format!("{when}-flow-{}-{action}", kind.name()));
    if !is_program(&path) {
        return Ok(());
    }
    let mut command = prepared(repo, &path, args);
    // stdout is for records.
    let status = command.stdout(std::io::stderr()).status();
    let status = status.context(|| format!("cannot run the hook '{}'", display(&path)))?;
    match when {
        "pre" if !status.success() => {
            Err(Error::new(format!("the hook '{}' says no: {status}", display(&path))))
        }
        _ => Ok(()),
    }
}

/// What the filter `filter-flow-NAME` makes of a text, its first argument, if there is one.
pub fn filter(repo: &Repo, name: &str, args: &[&str]) -> Result<String> {
    let text = args.first().copied().unwrap_or_default();
    let path = repo.hooks().join(format!("filter-flow-{name}"));
    if !is_program(&path) {
        return Ok(text.to_owned());
    }
    let failed = || format!("cannot run the filter '{}'", display(&path));
    let output = prepared(repo, &path, args).stderr(Stdio::inherit()).output().context(failed)?;
    let said = String::from_utf8(output.stdout).context(failed)?.trim_end().to_owned();
    // AVH's filters stop a command with this status alone.
    if output.status.code() == Some(127) {
        return Err(Error::new(bk::sanitize(&said))
            .context(format!("the filter '{}' says no", display(&path))));
    }
    Ok(said)
}

/// A hook, with what AVH's hooks are told.
fn prepared(repo: &Repo, path: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(args).env("DOT_GIT_DIR", &repo.git_dir).env("HOOKS_DIR", repo.hooks());
    command.env("MASTER_BRANCH", repo.master()).env("DEVELOP_BRANCH", repo.develop());
    command.env("ORIGIN", repo.origin());
    if let Some(top) = repo.top() {
        command.env("GIT_CURRENT_REPO_DIR", top);
    }
    command
}
