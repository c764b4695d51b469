//! The Debian formats: control files, versions, binary packages, sources.

pub mod compression;
pub mod control;
pub mod deb;
pub(crate) mod members;
pub mod sources;
pub mod version;

/// The Debian architecture of this machine.
pub fn own_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        other => other,
    }
}
