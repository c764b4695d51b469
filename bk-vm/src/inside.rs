//! `bk-vm inside`: the part of `create` that runs in namespaces of its own. Nobody else calls it.

use std::path::PathBuf;

use bk::{Result, Session, Status};
use clap::Args;

use crate::bootstrap;

/// Unpack and configure the packages of a list in a tree
#[derive(Args)]
pub struct Inside {
    list: PathBuf,
    tree: PathBuf,
}

impl Inside {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        bootstrap::inside(&self.list, &self.tree, &session.console).map(|()| Status::Done)
    }
}
