//! What a distribution has.

pub mod shlibs;
