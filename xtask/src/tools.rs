//! The command lines of the tools there are.

use clap::{Command, CommandFactory};

/// Each tool's command, with all it inherits filled in.
pub fn commands() -> Vec<Command> {
    let mut commands = [
        bk_aptcache::cli::Cli::command(),
        bk_deb::cli::Cli::command(),
        bk_docsite::cli::Cli::command(),
        bk_flow::cli::Cli::command(),
        bk_pypkg::cli::Cli::command(),
        bk_repo::cli::Cli::command(),
        bk_template::cli::Cli::command(),
        bk_test::cli::Cli::command(),
        bk_vm::cli::Cli::command(),
    ];
    for command in &mut commands {
        *command = std::mem::take(command).disable_help_subcommand(true);
        command.build();
    }
    commands.into()
}
