//! `bk-vm log`

use bk::{Context, Result, Session, Status};
use clap::Args;

use crate::machine::Machine;

/// A console that says more than this has gone mad.
const LIMIT: u64 = 256 << 20;

/// Print what a machine's console said, since it was last started
#[derive(Args)]
pub struct Log {
    /// Its number, name, address or folder
    machine: String,
}

impl Log {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let machine = Machine::find(&self.machine, &session.dirs)?;
        let log = bk::file::read(&machine.path("serial.log"), LIMIT)
            .hint(|| "it has never been started".into())?;
        session.out.raw(log).map(|()| Status::Done)
    }
}
