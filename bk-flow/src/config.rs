//! `bk-flow config`

use std::borrow::Cow;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Cmd, Context, Error, Result, Session, Status, sanitize};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::repo::Repo;

/// What can be set: its name here, its setting, and what it is.
const OPTIONS: [(&str, &str, &str); 9] = [
    ("master", "gitflow.branch.master", "Branch name for production releases"),
    ("develop", "gitflow.branch.develop", "Branch name for \"next release\" development"),
    ("feature", "gitflow.prefix.feature", "Feature branch prefix"),
    ("bugfix", "gitflow.prefix.bugfix", "Bugfix branch prefix"),
    ("release", "gitflow.prefix.release", "Release branch prefix"),
    ("hotfix", "gitflow.prefix.hotfix", "Hotfix branch prefix"),
    ("support", "gitflow.prefix.support", "Support branch prefix"),
    ("versiontagprefix", "gitflow.prefix.versiontag", "Version tag prefix"),
    ("allowmultihotfix", "gitflow.multi-hotfix", "Allow multiple hotfix branches"),
];

/// Show or change what git-flow knows of a repository
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow config
      The branches and prefixes.
  bk-flow config set versiontagprefix v
      Tags are v1.2 from now on.
  bk-flow config base --set feature/counting release/1.2
      Finish this feature into that release.

Exit status:
  0   shown, or set
  1   it cannot be set to that
  2   the command line is wrong
")]
pub struct Config {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show the settings
    List(Place),
    /// Change a setting
    Set(Set),
    /// Show or change what a branch began from, and is finished into
    Base(Base),
}

#[derive(Args)]
struct Set {
    /// Which
    #[arg(value_parser = options(), ignore_case = true)]
    option: String,
    /// To what
    value: String,
    #[command(flatten)]
    place: Place,
}

fn options() -> clap::builder::PossibleValuesParser {
    OPTIONS.map(|(name, ..)| name).into()
}

#[derive(Args)]
struct Base {
    /// The branch
    branch: String,
    /// What it began from
    base: Option<String>,
    /// Show it; so it is anyway
    #[arg(long)]
    get: bool,
    /// Change it
    #[arg(long, requires = "base", conflicts_with = "get")]
    set: bool,
}

/// Where settings are kept.
#[derive(Args, Default)]
pub struct Place {
    /// The repository's own settings
    #[arg(long, group = "place")]
    local: bool,
    /// Those of this user
    #[arg(long, group = "place")]
    global: bool,
    /// Those of this machine
    #[arg(long, group = "place")]
    system: bool,
    /// A file of settings
    #[arg(long, group = "place", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Place {
    /// As git config is told.
    pub fn option(&self) -> Option<String> {
        match self {
            Place { file: Some(file), .. } => Some(format!("--file={}", file.display())),
            Place { local: true, .. } => Some("--local".into()),
            Place { global: true, .. } => Some("--global".into()),
            Place { system: true, .. } => Some("--system".into()),
            Place { .. } => None,
        }
    }
}

/// A setting.
#[derive(Serialize)]
#[serde(tag = "type", rename = "setting")]
pub struct Setting<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub value: &'a str,
    /// What people are told that it is.
    #[serde(skip)]
    pub label: &'a str,
}

impl Record for Setting<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        format!("{}: {}", self.label, self.value).into_bytes().into()
    }
}

impl Config {
    /// Runs the command.
    pub fn run(self, session: &mut Session, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, show)?;
        match self.action.unwrap_or_else(|| Action::List(Place::default())) {
            Action::List(place) => list(session, &place),
            Action::Set(set) => set.run(session, &repo),
            Action::Base(base) => base.run(session, &repo),
        }
    }
}

fn list(session: &mut Session, place: &Place) -> Result<Status> {
    for (name, key, label) in OPTIONS {
        let get = Cmd::new("git", &session.console).arg("config").args(place.option());
        let said = get.args(["--get", key]).output_unchecked()?;
        let value = String::from_utf8_lossy(&said.stdout);
        let setting = Setting { name, value: value.trim_end_matches('\n'), label };
        // AVH leaves it out.
        if name != "allowmultihotfix" || said.status.success() {
            session.out.record(&setting)?;
        }
    }
    Ok(Status::Done)
}

impl Set {
    fn run(self, session: &mut Session, repo: &Repo) -> Result<Status> {
        let option = self.option.to_ascii_lowercase();
        let Some((name, key, label)) = OPTIONS.into_iter().find(|(name, ..)| *name == option)
        else {
            return Err(Error::new(format!("there is no option '{}'", sanitize(&option))));
        };
        let value = self.value.as_str();
        let other = match name {
            "master" => Some(repo.develop()),
            "develop" => Some(repo.master()),
            _ => None,
        };
        if let Some(other) = other {
            if value == other {
                return Err(Error::new(format!("'{value}' is the other branch already"))
                    .hint("what is released and what will be are two branches"));
            }
            if !repo.has(value) && repo.has_remote(value) {
                repo.git(&["branch", "--quiet", value, &format!("{}/{value}", repo.origin())])?;
            } else {
                repo.require_local(value)?;
            }
        }
        let yes_or_no = ["true", "false", "yes", "no", "y", "n", "t", "f", "0", "1"];
        if name == "allowmultihotfix" && !yes_or_no.contains(&value.to_lowercase().as_str()) {
            return Err(Error::new(format!("'{}' is neither true nor false", sanitize(value))));
        }
        let place = self.place.option();
        let mut args = vec!["config"];
        args.extend(place.as_deref());
        args.extend([key, value]);
        repo.git(&args).context(|| format!("cannot set '{key}'"))?;
        session.out.record(&Setting { name, value, label })?;
        Ok(Status::Done)
    }
}

impl Base {
    fn run(self, session: &mut Session, repo: &Repo) -> Result<Status> {
        if let (true, Some(base)) = (self.set, &self.base) {
            repo.require(&self.branch)?;
            repo.require(base)?;
            repo.set_base(&self.branch, base)?;
        }
        let set = self.base.filter(|_| self.set);
        let Some(base) = set.or_else(|| repo.base(&self.branch)) else {
            session.console.note(&format!("no base is known of '{}'", sanitize(&self.branch)));
            return Ok(Status::Done);
        };
        session.out.record(&Setting { name: &self.branch, value: &base, label: &self.branch })?;
        Ok(Status::Done)
    }
}
