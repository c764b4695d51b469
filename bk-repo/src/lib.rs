//! A signed apt repository in a folder.
//!
//! [`archive`] is what a repository is: its state, its log and the files that publish it.
//! [`incoming`] reads what is to be published, [`openpgp`] signs, [`store`] keeps the bytes.

pub mod add;
pub mod adopt;
pub mod archive;
pub mod check;
pub mod cli;
pub mod clone;
pub mod command;
pub mod contents;
pub mod copy;
pub mod dependency;
pub mod diff;
pub mod export;
pub mod foreign;
pub mod gc;
pub mod import_aptly;
pub mod import_reprepro;
pub mod incoming;
pub mod init;
pub mod installkey;
pub mod key;
pub mod list;
pub mod log;
pub mod merge;
pub mod metrics;
pub mod mirror;
pub mod openpgp;
pub mod overrides;
pub mod page;
pub mod publish;
pub mod put;
pub mod query;
pub mod record;
pub mod remove;
pub mod repair;
pub mod rollback;
pub mod serve;
pub mod sign;
pub mod snapshot;
pub mod sources;
pub mod state;
pub mod store;
pub mod tend;
pub mod transfer;
pub mod turn;
pub mod uploads;

use rayon::prelude::*;

/// Does something with each, on all processors; with one alone without the threads, whose start and
/// looking for work is a part of what an addition costs.
fn each<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    match all.len() {
        0..=1 => all.into_iter().map(work).collect(),
        _ => all.into_par_iter().map(work).collect(),
    }
}
