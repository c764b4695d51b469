//! What several commands tell on stdout.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bk::record::Record;
use serde::Serialize;

/// A package that was written, or would be.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Package<'a> {
    /// For dpkg.
    Deb(About<'a>),
    /// For rpm.
    Rpm(About<'a>),
    /// A tar archive, compressed by gzip.
    Tgz(About<'a>),
}

/// What is told about a package.
#[derive(Serialize)]
pub(crate) struct About<'a> {
    #[serde(serialize_with = "bk::record::path")]
    pub path: &'a Path,
    pub package: &'a str,
    pub version: &'a str,
    pub architecture: &'a str,
    /// Of the file, in bytes; none of one that would be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl Record for Package<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let (Package::Deb(about) | Package::Rpm(about) | Package::Tgz(about)) = self;
        about.path.as_os_str().as_bytes().into()
    }
}

/// A folder that was written.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Written<'a> {
    /// A folder.
    Dir {
        #[serde(serialize_with = "bk::record::path")]
        path: &'a Path,
    },
}

impl Record for Written<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let Written::Dir { path } = self;
        path.as_os_str().as_bytes().into()
    }
}
