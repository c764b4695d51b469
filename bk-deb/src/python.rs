//! Python's formats: wheels and what is written in them.

pub mod entry_points;
pub mod metadata;
pub mod record;
pub mod tags;
pub mod wheel;
