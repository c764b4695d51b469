//! bk-flow beside git-flow AVH, on the same repository.

use std::path::Path;
use std::process::Command;

use bk::Result;

use super::deb::fresh;
use super::measure::{Case, Target};
use crate::{install, process};

/// What is done, and what was done before it.
const STEPS: [(&str, &[&str], &[&str]); 4] = [
    ("feature start", &["feature", "start", "x"], &[]),
    ("feature finish", &["feature", "finish", "x"], &["feature", "start", "x"]),
    ("release finish", &["release", "finish", "-m", "x", "x"], &["release", "start", "x"]),
    ("feature list", &["feature", "list"], &["feature", "start", "x"]),
];

/// The cases.
pub fn cases(dir: &Path, bk_flow: &Path) -> Result<Vec<Case>> {
    install::apt(&["git", "git-flow"])?;
    let mut cases = Vec::new();
    for (name, words, before) in STEPS {
        let prepared = dir.join(format!("flow-{}", name.replace(' ', "-")));
        fresh(&prepared)?;
        let git = |words: &[&str]| {
            process::run(as_somebody(Command::new("git").current_dir(&prepared)).args(words))
        };
        git(&["init", "--quiet", "--initial-branch=master"])?;
        git(&["commit", "--quiet", "--allow-empty", "--message=x"])?;
        git(&["flow", "init", "--defaults"])?;
        if !before.is_empty() {
            git(&[&["flow"], before].concat())?;
            git(&["commit", "--quiet", "--allow-empty", "--message=y"])?;
        }
        let side = |program: &Path, first: &[&str]| {
            let (program, prepared) = (program.to_owned(), prepared.clone());
            let work = dir.join("flow-work");
            let words: Vec<String> = first.iter().chain(words).map(|&w| w.to_owned()).collect();
            move || {
                fresh(&work)?;
                process::run(Command::new("cp").arg("-r").arg(prepared.join(".git")).arg(&work))?;
                let mut command = Command::new(&program);
                as_somebody(command.current_dir(&work)).args(&words);
                Ok(command)
            }
        };
        cases.push(Case {
            name: format!("flow {name}"),
            peer: "git-flow AVH".into(),
            batch: 1,
            target: Target::None,
            ours: Box::new(side(bk_flow, &[])),
            theirs: Box::new(side(Path::new("git"), &["flow"])),
        });
    }
    Ok(cases)
}

/// Whose commits they are; nobody is asked.
fn as_somebody(command: &mut Command) -> &mut Command {
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "x")
            .env(format!("GIT_{role}_EMAIL"), "x@example.com");
    }
    command.env("GIT_EDITOR", "true")
}
