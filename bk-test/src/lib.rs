//! Tests of Python projects, run as the projects ship: built, installed in an environment of their own, and
//! run by whoever runs them, which is found by reading.
//!
//! [`discover`] says what tests there are, [`declared`] what they need, [`project`] and [`backend`] make the
//! wheel, [`environment`] installs it, [`execute`] runs the tests and hears what came of each.

pub mod archive;
pub mod backend;
pub mod check;
pub mod cli;
pub mod deb;
pub mod declared;
pub mod discover;
pub mod egg;
pub mod environment;
pub mod execute;
pub mod ini;
mod inside;
mod matrix;
pub mod pack;
pub mod project;
pub mod python;
mod release;
pub mod report;
mod run;
mod suite;
pub mod tree;
