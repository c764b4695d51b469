//! The command line of bk-flow.

use std::ffi::OsString;

use bk::{Common, Error, Needs, Result, Session, Status, Tool};
use clap::{Args, Parser, Subcommand};

use crate::checkout::Checkout;
use crate::config::Config;
use crate::delete::Delete;
use crate::diff::Diff;
use crate::finish::topic::TopicFinish;
use crate::finish::version::VersionFinish;
use crate::init::Init;
use crate::install::Install;
use crate::list::List;
use crate::log::Log;
use crate::publish::Publish;
use crate::pull::Pull;
use crate::rebase::Rebase;
use crate::release::ReleaseBranch;
use crate::rename::Rename;
use crate::repo::{Kind, Repo};
use crate::start::Start;
use crate::track::Track;

/// The git-flow branching model, with git-flow AVH's commands, settings and hooks
#[derive(Parser)]
#[command(name = "bk-flow", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say each command of git that changes something
    #[arg(long, global = true)]
    showcommands: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    Init(Box<Init>),
    /// Work on what the next release will have
    Feature(Actions<Topic>),
    /// Work on what the next release will no longer have
    Bugfix(Actions<Topic>),
    /// Prepare a release
    Release(Actions<Release>),
    /// Mend what was released
    Hotfix(Actions<Hotfix>),
    /// Keep an old release alive
    Support(Actions<Support>),
    /// Finish the branch that is checked out
    Finish(Rest),
    /// Delete the branch that is checked out
    Delete(Rest),
    /// Publish the branch that is checked out
    Publish(Rest),
    /// Rebase the branch that is checked out
    Rebase(Rest),
    Config(Config),
    Log(Log),
    /// Say which version this is
    Version,
    Install(Install),
}

/// The actions on a kind of branches; without one, these are listed.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
struct Actions<A: Subcommand> {
    #[command(subcommand)]
    action: Option<A>,
}

#[derive(Subcommand)]
enum Topic {
    List(List),
    Start(Start),
    Finish(Box<TopicFinish>),
    Publish(Publish),
    Track(Track),
    Diff(Diff),
    Checkout(Checkout),
    Rebase(Rebase),
    Pull(Pull),
    Delete(Delete),
    Rename(Rename),
}

#[derive(Subcommand)]
enum Release {
    List(List),
    Start(Start),
    Finish(Box<VersionFinish>),
    Branch(Box<ReleaseBranch>),
    Publish(Publish),
    Track(Track),
    Rebase(Rebase),
    Delete(Delete),
}

#[derive(Subcommand)]
enum Hotfix {
    List(List),
    Start(Start),
    Finish(Box<VersionFinish>),
    Publish(Publish),
    Track(Track),
    Rebase(Rebase),
    Delete(Delete),
    Rename(Rename),
}

#[derive(Subcommand)]
enum Support {
    List(List),
    Start(Start),
    Rebase(Rebase),
}

/// The options of that command.
#[derive(Args)]
struct Rest {
    /// Options of the command of its kind
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<OsString>,
}

impl Tool for Cli {
    const NEEDS: &'static [Needs] =
        &[Needs { program: "git", package: "git", what_for: "everything" }];

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        let show = self.showcommands;
        match self.command {
            Command::Init(command) => command.run(session, show),
            Command::Feature(actions) => topic(actions, session, Kind::Feature, show),
            Command::Bugfix(actions) => topic(actions, session, Kind::Bugfix, show),
            Command::Release(actions) => release(actions, session, show),
            Command::Hotfix(actions) => hotfix(actions, session, show),
            Command::Support(actions) => support(actions, session, show),
            Command::Finish(rest) => rest.run(session, "finish", show),
            Command::Delete(rest) => rest.run(session, "delete", show),
            Command::Publish(rest) => rest.run(session, "publish", show),
            Command::Rebase(rest) => rest.run(session, "rebase", show),
            Command::Config(command) => command.run(session, show),
            Command::Log(command) => command.run(session, show),
            Command::Version => {
                let version = env!("CARGO_PKG_VERSION");
                session.out.raw(format!("{version} (BuildKit, as 1.12.3 of the AVH Edition)\n"))?;
                Ok(Status::Done)
            }
            Command::Install(command) => command.run(session),
        }
    }
}

fn topic(actions: Actions<Topic>, session: &mut Session, kind: Kind, show: bool) -> Result<Status> {
    match actions.action.unwrap_or(Topic::List(List {})) {
        Topic::List(command) => command.run(session, kind),
        Topic::Start(command) => command.run(session, kind, show),
        Topic::Finish(command) => command.run(session, kind, show),
        Topic::Publish(command) => command.run(session, kind, show),
        Topic::Track(command) => command.run(session, kind, show),
        Topic::Diff(command) => command.run(session, kind, show),
        Topic::Checkout(command) => command.run(session, kind, show),
        Topic::Rebase(command) => command.run(session, kind, show),
        Topic::Pull(command) => command.run(session, kind, show),
        Topic::Delete(command) => command.run(session, kind, show),
        Topic::Rename(command) => command.run(session, kind, show),
    }
}

fn release(actions: Actions<Release>, session: &mut Session, show: bool) -> Result<Status> {
    let kind = Kind::Release;
    match actions.action.unwrap_or(Release::List(List {})) {
        Release::List(command) => command.run(session, kind),
        Release::Start(command) => command.run(session, kind, show),
        Release::Finish(command) => command.run(session, kind, show),
        Release::Branch(command) => command.run(session, show),
        Release::Publish(command) => command.run(session, kind, show),
        Release::Track(command) => command.run(session, kind, show),
        Release::Rebase(command) => command.run(session, kind, show),
        Release::Delete(command) => command.run(session, kind, show),
    }
}

fn hotfix(actions: Actions<Hotfix>, session: &mut Session, show: bool) -> Result<Status> {
    let kind = Kind::Hotfix;
    match actions.action.unwrap_or(Hotfix::List(List {})) {
        Hotfix::List(command) => command.run(session, kind),
        Hotfix::Start(command) => command.run(session, kind, show),
        Hotfix::Finish(command) => command.run(session, kind, show),
        Hotfix::Publish(command) => command.run(session, kind, show),
        Hotfix::Track(command) => command.run(session, kind, show),
        Hotfix::Rebase(command) => command.run(session, kind, show),
        Hotfix::Delete(command) => command.run(session, kind, show),
        Hotfix::Rename(command) => command.run(session, kind, show),
    }
}

fn support(actions: Actions<Support>, session: &mut Session, show: bool) -> Result<Status> {
    let kind = Kind::Support;
    match actions.action.unwrap_or(Support::List(List {})) {
        Support::List(command) => command.run(session, kind),
        Support::Start(command) => command.run(session, kind, show),
        Support::Rebase(command) => command.run(session, kind, show),
    }
}

impl Rest {
    /// Runs an action of the kind of the branch that is checked out.
    fn run(self, session: &mut Session, action: &str, show: bool) -> Result<Status> {
        let repo = Repo::flow(session, false)?;
        let current = repo.current().unwrap_or_default();
        let kinds = [Kind::Feature, Kind::Bugfix, Kind::Hotfix, Kind::Release];
        let of = kinds
            .into_iter()
            .find(|kind| repo.prefix(*kind).is_ok_and(|prefix| current.starts_with(&prefix)));
        let Some(kind) = of else {
            return Err(Error::new("what is checked out is no branch of git-flow's")
                .hint(format!("say which: bk-flow feature {action} NAME")));
        };
        let words = ["bk-flow", kind.name(), action].map(OsString::from);
        match Cli::try_parse_from(words.into_iter().chain(self.options)) {
            Ok(cli) => Cli { showcommands: show || cli.showcommands, ..cli }.run(session),
            Err(error) => {
                Err(Error::new(error.to_string().trim().to_owned()).status(Status::Usage))
            }
        }
    }
}
