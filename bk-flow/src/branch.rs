//! What commands say of a branch.

use std::borrow::Cow;

use bk::record::Record;
use bk::{Result, Session, Status};
use serde::Serialize;

/// A branch: what was done, or would be.
#[derive(Serialize)]
#[serde(tag = "type", rename = "branch")]
pub struct Branch {
    name: String,
    /// What it began from.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    /// What it was merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    into: Option<String>,
    /// The tag that it was released with.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

impl Branch {
    /// A branch.
    pub fn of(name: &str) -> Self {
        Branch { name: name.to_owned(), base: None, into: None, tag: None }
    }

    /// It began from this.
    pub fn from(self, base: &str) -> Self {
        Branch { base: Some(base.to_owned()), ..self }
    }

    /// It was merged into this.
    pub fn into(self, into: &str) -> Self {
        Branch { into: Some(into.to_owned()), ..self }
    }

    /// It was released with this tag.
    pub fn tagged(self, tag: Option<String>) -> Self {
        Branch { tag, ..self }
    }

    /// Prints it as the record of a command that is done.
    pub fn print(self, session: &mut Session) -> Result<Status> {
        session.out.record(&self)?;
        Ok(Status::Done)
    }
}

impl Record for Branch {
    fn line(&self) -> Cow<'_, [u8]> {
        let line = self.tag.as_ref().or(self.into.as_ref()).unwrap_or(&self.name);
        line.as_bytes().into()
    }
}
