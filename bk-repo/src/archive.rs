//! An apt repository as state: what is in it, how that changes, and the files that publish it.

pub mod chunk;
pub mod commit;
pub mod index;
pub mod manifest;
pub mod release;
pub mod repository;
pub mod retention;
pub mod xz;
