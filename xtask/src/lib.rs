//! Tasks of BuildKit's developers: `cargo xtask demo | test | lint | man | completions | dist |
//! bench`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task speaks to the person who started it"
)]

pub mod bench;
pub mod demo;
pub mod dist;
pub mod install;
pub mod layout;
pub mod lint;
pub mod machine;
pub mod man;
pub mod process;
pub mod test;
pub mod workspace;

#[cfg(feature = "tools")]
pub mod completions;
#[cfg(feature = "tools")]
pub mod pages;
#[cfg(feature = "tools")]
pub mod tools;

use std::process::ExitCode;

use bk::{Console, Level, Result};
use clap::{Parser, Subcommand};

/// Tasks of BuildKit's developers
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Package something with all it needs, publish it, and install it with apt-get
    Demo(demo::Args),
    #[command(hide = true)]
    DemoInstall(demo::InstallArgs),
    /// Install what the tests need, build every program, and run every test
    Test(test::Args),
    /// Check formatting, clippy, the invariants, manual pages and the supply chain
    Lint,
    /// Write the manual pages of the tools
    Man(man::Args),
    /// Write completions for bash, zsh and fish into target/completions
    Completions,
    /// Build what is shipped, and lay it out as it will be installed
    Dist,
    /// Run each tool beside its peers on the same work
    Bench(bench::Args),
}

/// Runs the task the command line names.
pub fn main() -> ExitCode {
    let console = Console::new("xtask", Level::Normal, false);
    match run(Cli::parse().task, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&error);
            ExitCode::from(error.exit_status().code())
        }
    }
}

fn run(task: Task, console: &Console) -> Result<()> {
    match task {
        Task::Demo(args) => demo::run(&args, console),
        Task::DemoInstall(args) => demo::install(&args, console),
        Task::Test(args) => test::run(&args),
        Task::Lint => lint::run(),
        Task::Man(args) => man::run(&args),
        Task::Completions => man::completions(),
        Task::Dist => dist::run(),
        Task::Bench(args) => bench::run(&args),
    }
}
