//! `bk-flow … list`

use std::borrow::Cow;

use bk::record::Record;
use bk::{Level, Result, Session, Status};
use clap::Args;
use serde::Serialize;

use crate::repo::{Kind, Repo};

/// List the branches of a kind that are here
///
/// A line each, as AVH has it: `*` before the one that is checked out. With --verbose, also what it stands
/// on.
#[derive(Args, Default)]
#[command(after_long_help = "\
Examples:
  bk-flow feature list
      The features that are being worked on.

Exit status:
  0   listed, though there may be none
  1   this is no repository for git-flow
  2   the command line is wrong
")]
pub struct List {}

#[derive(Serialize)]
#[serde(tag = "type", rename = "branch")]
struct Listed<'a> {
    name: &'a str,
    short: &'a str,
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip)]
    width: usize,
}

impl Record for Listed<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let mark = if self.current { '*' } else { ' ' };
        let line = match &self.state {
            Some(state) => format!("{mark} {:width$}({state})", self.short, width = self.width),
            None => format!("{mark} {}", self.short),
        };
        line.into_bytes().into()
    }
}

impl List {
    /// Runs the command.
    pub fn run(self, session: &mut Session, kind: Kind) -> Result<Status> {
        let repo = Repo::flow(session, false)?;
        let prefix = repo.prefix(kind)?;
        let all: Vec<&str> = repo.branches().filter(|branch| branch.starts_with(&prefix)).collect();
        if all.is_empty() {
            let name = kind.name();
            session
                .console
                .note(&format!("there is no {name} branch: bk-flow {name} start NAME begins one"));
        }
        // Three columns between the longest and what is said of it.
        let width = all.iter().map(|branch| branch.len() - prefix.len()).max().unwrap_or(0) + 3;
        for branch in &all {
            let verbose = session.console.level() > Level::Normal;
            let state = if verbose { Some(state(&repo, kind, branch)?) } else { None };
            session.out.record(&Listed {
                name: branch,
                short: &branch[prefix.len()..],
                current: repo.current() == Some(branch),
                state,
                width,
            })?;
        }
        Ok(Status::Done)
    }
}

/// What a branch stands on, in AVH's words.
fn state(repo: &Repo, kind: Kind, branch: &str) -> Result<String> {
    let base =
        if kind == Kind::Support || kind == Kind::Hotfix { repo.master() } else { repo.develop() };
    let hash = |name: &str| repo.ask(&["rev-parse", "--verify", &format!("{name}^{{commit}}")]);
    let (ours, theirs) = (hash(branch)?, hash(&base)?);
    if ours == theirs {
        return Ok("no commits yet".to_owned());
    }
    let common = repo.ask(&["merge-base", branch, &base]).unwrap_or_default();
    if matches!(kind, Kind::Feature | Kind::Bugfix) {
        return Ok(match () {
            () if common == ours => format!("is behind {base}, may ff"),
            () if common == theirs => format!("based on latest {base}"),
            () => "may be rebased".to_owned(),
        });
    }
    let common = common.trim();
    let tag = ["name-rev", "--tags", "--no-undefined", "--name-only", common];
    let tag = repo.ask(&tag).ok().filter(|_| kind != Kind::Release);
    let short = match tag {
        Some(tag) => tag,
        None => repo.ask(&["rev-parse", "--short", common])?,
    };
    Ok(format!("based on {}", short.trim()))
}
