//! The command line of bk-test.

use bk::{Common, Needs, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::inside::Inside;
use crate::matrix::Matrix;
use crate::release::Release;
use crate::run::Run;

/// Tests of Python projects run as they ship, and their sdists, wheels and eggs
#[derive(Parser)]
#[command(name = "bk-test", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    Run(Run),
    Matrix(Matrix),
    Release(Release),
    #[command(hide = true)]
    Inside(Inside),
}

impl Tool for Cli {
    const NEEDS: &'static [Needs] = &[Needs {
        program: "python3",
        package: "python3-venv",
        what_for: "to build and test projects, in environments of their own",
    }];

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::Run(command) => command.run(session),
            Command::Matrix(command) => command.run(session),
            Command::Inside(command) => command.run(session),
            Command::Release(command) => command.run(session),
        }
    }
}
