//! What every BuildKit tool needs, and nothing that only one of them needs.
//!
//! A tool is a [`Tool`]: a clap parser with a `run`. [`main!`] makes its `main`, which keeps the
//! stream contract (bk-stream.7): records on stdout, words for people on stderr, and an exit
//! [`Status`] that scripts can rely on.

mod config;
mod console;
mod dirs;
mod error;
pub mod file;
#[cfg(feature = "http")]
pub mod http;
pub mod memory;
mod process;
pub mod record;
mod signal;
mod text;
mod tool;

pub use console::{Console, Level, Progress};
pub use dirs::Dirs;
pub use error::{Context, Error, Result, Status};
pub use process::Cmd;
pub use signal::Cleanup;
pub use text::{display, nearest, sanitize};
pub use tool::{Common, Needs, Session, Tool, parse_again, run};
