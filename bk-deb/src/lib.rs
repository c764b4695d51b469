//! Python packages, and everything they need, as Debian packages; and the Debian formats
//! themselves, which BuildKit's other tools use from here.

#[cfg(feature = "build")]
pub mod cli;
pub mod debian;
#[cfg(feature = "build")]
pub mod distro;
#[cfg(feature = "build")]
pub mod fetch;
#[cfg(feature = "build")]
pub mod mapping;
