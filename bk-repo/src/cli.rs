//! The command line of bk-repo.

use bk::{Common, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::{add, check, copy, gc, init, key, list, log, remove, rollback, serve, sources};

/// A signed apt repository in a folder
#[derive(Parser)]
#[command(name = "bk-repo", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Add(add::Args),
    List(list::Args),
    Remove(remove::Args),
    Copy(copy::Args),
    Log(log::Args),
    Rollback(rollback::Args),
    Gc(gc::Args),
    Check(check::Args),
    #[command(subcommand)]
    Key(key::Command),
    Sources(sources::Args),
    Serve(serve::Args),
}

impl Tool for Cli {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::Init(args) => init::run(args, session),
            Command::Add(args) => add::run(args, session),
            Command::List(args) => list::run(args, session),
            Command::Remove(args) => remove::run(args, session),
            Command::Copy(args) => copy::run(args, session),
            Command::Log(args) => log::run(args, session),
            Command::Rollback(args) => rollback::run(args, session),
            Command::Gc(args) => gc::run(args, session),
            Command::Check(args) => check::run(args, session),
            Command::Key(command) => key::run(command, session),
            Command::Sources(args) => sources::run(args, session),
            Command::Serve(args) => serve::run(args, session),
        }
    }
}
