//! Python packages, and everything they need, as Debian packages; and the Debian formats
//! themselves, which BuildKit's other tools use from here.

pub mod debian;

#[cfg(feature = "build")]
mod build;
#[cfg(feature = "build")]
mod check;
#[cfg(feature = "build")]
mod clash;
#[cfg(feature = "build")]
pub mod cli;
#[cfg(feature = "build")]
mod contents;
#[cfg(feature = "build")]
pub mod convert;
#[cfg(feature = "build")]
mod depends;
#[cfg(feature = "build")]
mod diff;
#[cfg(feature = "build")]
pub mod distro;
#[cfg(feature = "build")]
pub mod elf;
#[cfg(feature = "build")]
mod embedded;
#[cfg(feature = "build")]
mod extract;
#[cfg(feature = "fetch")]
pub mod fetch;
#[cfg(feature = "build")]
pub mod foreign;
#[cfg(feature = "build")]
pub mod form;
#[cfg(feature = "build")]
pub mod graph;
#[cfg(feature = "build")]
mod info;
#[cfg(feature = "build")]
mod made;
#[cfg(feature = "build")]
pub mod mapping;
mod missing;
#[cfg(feature = "build")]
pub mod overrides;
#[cfg(feature = "build")]
pub mod pack;
#[cfg(feature = "build")]
pub mod plan;
#[cfg(feature = "build")]
pub mod policy;
#[cfg(feature = "build")]
pub mod python;
#[cfg(feature = "build")]
mod record;
#[cfg(feature = "fetch")]
pub mod release;
#[cfg(feature = "build")]
pub mod request;
#[cfg(feature = "build")]
pub mod supply;
#[cfg(feature = "build")]
pub mod target;
#[cfg(feature = "build")]
pub mod tree;
#[cfg(feature = "build")]
mod version;
