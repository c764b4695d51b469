//! The command line of bk-docsite.

use bk::{Common, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::alias::Alias;
use crate::check::Check;
use crate::diff::Diff;
use crate::init::Init;
use crate::list::List;
use crate::publish::Publish;
use crate::remove::Remove;
use crate::serve::Serve;
use crate::yank::Yank;

/// A static site of packages' documentation, their downloads and an index for pip
#[derive(Parser)]
#[command(name = "bk-docsite", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    Init(Init),
    Publish(Publish),
    Alias(Alias),
    Remove(Remove),
    Yank(Yank),
    List(List),
    Check(Check),
    Diff(Diff),
    Serve(Serve),
}

impl Tool for Cli {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::Init(command) => command.run(session),
            Command::Publish(command) => command.run(session),
            Command::Alias(command) => command.run(session),
            Command::Remove(command) => command.run(session),
            Command::Yank(command) => command.run(session),
            Command::List(command) => command.run(session),
            Command::Check(command) => command.run(session),
            Command::Diff(command) => command.run(session),
            Command::Serve(command) => command.run(session),
        }
    }
}
