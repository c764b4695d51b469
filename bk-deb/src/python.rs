//! Python's side: its formats, and choosing and getting distributions.

pub mod config;
pub mod entry_points;
pub mod index;
pub mod lock;
pub mod metadata;
pub mod record;
pub mod requirement;
pub mod solve;
pub mod source;
pub mod tags;
pub mod wheel;
