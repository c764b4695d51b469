//! The command line of bk-deb.

use bk::{Common, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

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
enum Command {}

impl Tool for Cli {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, _session: &mut Session) -> Result<Status> {
        match self.command {}
    }
}
