//! `bk-flow … finish`

pub mod topic;
pub mod version;

use std::path::PathBuf;

use bk::{Context, Result};

use crate::repo::{Kind, Repo};

/// Merges a branch into the one that is checked out: as one commit of its own with `squash`, and then with
/// the words of all its commits where `info` is the line to begin them with.
pub(crate) fn merge(
    repo: &Repo,
    branch: &str,
    into: &str,
    squash: bool,
    info: Option<&str>,
) -> Result<()> {
    if !squash {
        return repo.git(&["merge", "--no-ff", branch]);
    }
    repo.git(&["merge", "--squash", branch])?;
    if let Some(info) = info {
        let not = format!("^{into}");
        let log = repo.ask(&["log", "--no-merges", "--pretty=medium", &not, branch, "--"])?;
        let text = format!("Squashed commit of the following:\n\n{info}\n\n{log}");
        bk::file::write(&message(repo), text)?;
    }
    repo.git(&["commit", "--quiet", "--no-edit"])
}

/// Where git keeps the words of a commit that squashes.
fn message(repo: &Repo) -> PathBuf {
    repo.git_dir.join("SQUASH_MSG")
}

/// Deletes a branch that was merged, here and at the remote repository, and forgets its base.
pub(crate) fn clean_up(
    repo: &mut Repo,
    kind: Kind,
    branch: &str,
    to: &str,
    (keep_remote, keep_local): (bool, bool),
) -> Result<()> {
    let origin = repo.origin();
    if !keep_remote && repo.has_remote(branch) {
        repo.git(&["push", "--quiet", &origin, &format!(":{branch}")])
            .context(|| format!("it is merged, but '{branch}' is still in '{origin}'"))?;
    }
    if !keep_local && repo.has(branch) {
        if repo.current() == Some(branch) {
            repo.git(&["checkout", "--quiet", to])?;
        }
        // That all of it is merged was seen; git would look at where it was pushed to.
        repo.git(&["branch", "--quiet", "-D", branch])?;
    }
    repo.look()?;
    if !repo.has_remote(branch) {
        repo.forget_base(branch)?;
    }
    let state = match (repo.has(branch), repo.has_remote(branch)) {
        (true, true) => format!("is still here and in '{origin}'"),
        (true, false) => "is still here".to_owned(),
        (false, true) => format!("is deleted here, and still in '{origin}'"),
        (false, false) => "is deleted".to_owned(),
    };
    repo.console().note(&format!("the {} branch '{branch}' {state}", kind.name()));
    Ok(())
}
