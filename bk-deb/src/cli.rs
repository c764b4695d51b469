//! The command line of bk-deb.

use bk::{Common, Needs, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::build::Build;
use crate::check::Check;
use crate::contents::Contents;
use crate::depends::Depends;
use crate::diff::Diff;
use crate::extract::Extract;
use crate::foreign::Convert;
use crate::info::Info;
use crate::pack::Pack;
use crate::plan::Plan;
use crate::version::Version;

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
    Build(Box<Build>),
    Version(Version),
    Depends(Depends),
    Info(Info),
    Contents(Contents),
    Check(Check),
    Extract(Extract),
    Diff(Diff),
    Pack(Pack),
    Plan(Box<Plan>),
    Convert(Convert),
}

impl Tool for Cli {
    const NEEDS: &'static [Needs] = &[
        Needs { program: "uv", package: "uv (from PyPI)", what_for: "to choose versions fast" },
        Needs { program: "python3", package: "python3", what_for: "to build wheels of sources" },
    ];

    const SETTINGS: &'static [&'static str] = &["packages"];

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::Build(command) => command.run(session),
            Command::Version(command) => command.run(session),
            Command::Depends(command) => command.run(session),
            Command::Info(command) => command.run(session),
            Command::Contents(command) => command.run(session),
            Command::Check(command) => command.run(session),
            Command::Extract(command) => command.run(session),
            Command::Diff(command) => command.run(session),
            Command::Pack(command) => command.run(session),
            Command::Plan(command) => command.run(session),
            Command::Convert(command) => command.run(session),
        }
    }
}
