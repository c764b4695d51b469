//! The command line of bk-template.

use bk::{Common, Needs, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::check::Check;
use crate::create::Create;
use crate::new::New;
use crate::update::Update;
use crate::vars::Vars;

/// Templates made from examples, and what is like them made from templates
#[derive(Parser)]
#[command(name = "bk-template", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    Create(Create),
    New(New),
    Update(Update),
    Vars(Vars),
    Check(Check),
}

impl Tool for Cli {
    const NEEDS: &'static [Needs] =
        &[Needs { program: "git", package: "git", what_for: "to merge what both changed" }];

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::Create(command) => command.run(session),
            Command::New(command) => command.run(session),
            Command::Update(command) => command.run(session),
            Command::Vars(command) => command.run(session),
            Command::Check(command) => command.run(session),
        }
    }
}
