//! Python packages, and everything they need, as Debian packages; and the Debian formats
//! themselves, which BuildKit's other tools use from here.

#[cfg(feature = "build")]
pub mod cli;
#[cfg(feature = "build")]
mod contents;
#[cfg(feature = "build")]
pub mod convert;
pub mod debian;
#[cfg(feature = "build")]
pub mod distro;
#[cfg(feature = "build")]
pub mod elf;
#[cfg(feature = "build")]
pub mod fetch;
#[cfg(feature = "build")]
mod info;
#[cfg(feature = "build")]
pub mod mapping;
#[cfg(feature = "build")]
pub mod python;
