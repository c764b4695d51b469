//! The Debian formats: control files, versions, binary packages, sources.

pub mod compression;
pub mod control;
pub mod deb;
pub(crate) mod members;
pub mod sources;
pub mod version;
