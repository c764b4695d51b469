//! An apt repository as state: what is in it, how that changes, and the files that publish it.

pub mod chunk;
pub mod commit;
pub mod contents;
pub mod derive;
pub mod index;
pub mod layout;
pub mod manifest;
pub mod packer;
pub mod pdiff;
pub mod release;
pub mod repository;
pub mod retention;
pub mod translation;
pub mod xz;
