//! The Debian formats: control files, versions, binary packages.

pub mod compression;
pub mod control;
pub mod deb;
pub mod version;
