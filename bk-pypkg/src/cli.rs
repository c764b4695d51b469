//! The command line of bk-pypkg.

use bk::{Common, Needs, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::check::Check;
use crate::new::New;
use crate::template::Template;

/// Python packages set up for pip, Sphinx, the index and Debian
#[derive(Parser)]
#[command(name = "bk-pypkg", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    New(Box<New>),
    Check(Check),
    Template(Template),
}

impl Tool for Cli {
    const NEEDS: &'static [Needs] = &[
        Needs { program: "git", package: "git", what_for: "to begin repositories (--git)" },
        Needs { program: "bk-flow", package: "BuildKit", what_for: "to set them up for git-flow" },
    ];

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::New(command) => command.run(session),
            Command::Check(command) => command.run(session),
            Command::Template(command) => command.run(session),
        }
    }
}
