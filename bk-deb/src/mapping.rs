//! From Python's names, versions and requirements to Debian's.

pub mod name;
pub mod relation;
pub mod version;
