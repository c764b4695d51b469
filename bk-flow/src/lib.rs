//! The git-flow branching model (<https://nvie.com/posts/a-successful-git-branching-model/>), with git-flow
//! AVH's commands, options, settings, hooks and results.
//!
//! What there is is read with two calls of git, and each change is one more.

mod branch;
mod checkout;
pub mod cli;
mod config;
mod delete;
mod diff;
mod finish;
mod hooks;
mod init;
mod install;
mod list;
mod log;
mod publish;
mod pull;
mod rebase;
mod release;
mod rename;
pub mod repo;
mod start;
pub mod switches;
mod track;
