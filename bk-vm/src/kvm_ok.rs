//! `bk-vm kvm-ok`

use std::borrow::Cow;

use bk::record::Record;
use bk::{Result, Session, Status};
use clap::Args;
use serde::Serialize;

use crate::kvm;

/// Say whether machines run at the speed of the processor
///
/// A guest of some 20,000 instructions is run and timed: /dev/kvm can be opened, and makes machines, where
/// it only interprets them.
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0   they do
  3   they would be emulated, for the reason that is printed
")]
pub struct KvmOk {}

#[derive(Serialize)]
#[serde(tag = "type", rename = "kvm")]
struct Answer {
    ok: bool,
    reason: String,
    /// Million instructions a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f64>,
}

impl Record for Answer {
    fn line(&self) -> Cow<'_, [u8]> {
        let word = if self.ok { "yes" } else { "no" };
        format!("{word}: {}", self.reason).into_bytes().into()
    }
}

impl KvmOk {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let verdict = kvm::probe();
        let answer = Answer { ok: verdict.good, reason: verdict.reason, speed: verdict.speed };
        session.out.record(&answer)?;
        Ok(if answer.ok { Status::Done } else { Status::No })
    }
}
