//! The command line of bk-repo.

use bk::{Common, Result, Session, Status, Tool};
use clap::{Parser, Subcommand};

use crate::{
    add, adopt, check, clone, contents, copy, diff, export, gc, import_aptly, import_reprepro,
    init, installkey, key, list, log, merge, mirror, overrides, publish, remove, rollback, serve,
    sign, snapshot, sources,
};

/// A signed apt repository in a folder
#[derive(Parser)]
#[command(name = "bk-repo", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Add(add::Args),
    List(list::Args),
    Remove(remove::Args),
    Copy(copy::Args),
    Merge(merge::Args),
    Snapshot(snapshot::Args),
    Diff(diff::Args),
    Log(log::Args),
    Rollback(rollback::Args),
    Override(overrides::Args),
    Contents(contents::Args),
    Sign(sign::Args),
    Clone(clone::Args),
    Mirror(mirror::Args),
    Adopt(adopt::Args),
    ImportReprepro(import_reprepro::Args),
    ImportAptly(import_aptly::Args),
    Export(export::Args),
    Publish(publish::Args),
    Gc(gc::Args),
    Check(check::Args),
    #[command(subcommand)]
    Key(key::Command),
    Installkey(installkey::Args),
    Sources(sources::Args),
    Serve(serve::Args),
}

impl Tool for Cli {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, session: &mut Session) -> Result<Status> {
        match self.command {
            Command::Init(args) => init::run(args, session),
            Command::Add(args) => add::run(args, session),
            Command::List(args) => list::run(args, session),
            Command::Remove(args) => remove::run(args, session),
            Command::Copy(args) => copy::run(args, session),
            Command::Merge(args) => merge::run(args, session),
            Command::Snapshot(args) => snapshot::run(args, session),
            Command::Diff(args) => diff::run(args, session),
            Command::Override(args) => overrides::run(args, session),
            Command::Contents(args) => contents::run(args, session),
            Command::Sign(args) => sign::run(args, session),
            Command::Mirror(args) => mirror::run(args, session),
            Command::Adopt(args) => adopt::run(args, session),
            Command::ImportReprepro(args) => import_reprepro::run(args, session),
            Command::ImportAptly(args) => import_aptly::run(args, session),
            Command::Clone(args) => clone::run(args, session),
            Command::Export(args) => export::run(args, session),
            Command::Publish(args) => publish::run(args, session),
            Command::Installkey(args) => installkey::run(args, session),
            Command::Log(args) => log::run(args, session),
            Command::Rollback(args) => rollback::run(args, session),
            Command::Gc(args) => gc::run(args, session),
            Command::Check(args) => check::run(args, session),
            Command::Key(command) => key::run(command, session),
            Command::Sources(args) => sources::run(args, session),
            Command::Serve(args) => serve::run(args, session),
        }
    }
}
