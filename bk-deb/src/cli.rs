//! The command line of bk-deb.

use bk::{Common, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::contents::Contents;
use crate::info::Info;

/// Python packages, and everything they need, as Debian packages
#[derive(Parser)]
#[command(name = "bk-deb", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    Info(Info),
    Contents(Contents),
}

impl Tool for Cli {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::Info(command) => command.run(session),
            Command::Contents(command) => command.run(session),
        }
    }
}
