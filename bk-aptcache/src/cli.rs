//! The command line of bk-aptcache.

use bk::{Common, Needs, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::{config, detect, gc, import, mirrors, prefetch, serve, stats, verify};

/// A cache in front of apt archives
#[derive(Parser)]
#[command(name = "bk-aptcache", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Stats(stats::Args),
    Gc(gc::Args),
    Verify(verify::Args),
    Import(import::Args),
    Prefetch(prefetch::Args),
    Mirrors(mirrors::Args),
    Detect(detect::Args),
    Config(config::Args),
}

impl Cli {
    /// The options of `serve`, if that is the command.
    pub(crate) fn into_serve(self) -> Option<serve::Args> {
        match self.command {
            Command::Serve(args) => Some(*args),
            _ => None,
        }
    }
}

impl Tool for Cli {
    const NEEDS: &'static [Needs] = &[
        Needs { program: "gpgv", package: "gpgv", what_for: "to check archives' signatures" },
        Needs { program: "avahi-publish", package: "avahi-utils", what_for: "for serve --mdns" },
    ];

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::Serve(args) => serve::run(*args, session),
            Command::Stats(args) => stats::run(args, session),
            Command::Gc(args) => gc::run(args, session),
            Command::Verify(args) => verify::run(args, session),
            Command::Import(args) => import::run(args, session),
            Command::Prefetch(args) => prefetch::run(args, session),
            Command::Mirrors(args) => mirrors::run(args, session),
            Command::Detect(args) => detect::run(args, session),
            Command::Config(args) => config::run(args, session),
        }
    }
}
