//! A static site of many packages: the documentation of each of their versions, what can be downloaded, an
//! index for pip, and a search over all of it.
//!
//! Any web server can serve it, and it can be read as files. What generators made stays as it is but for a
//! script in each page that offers the other versions: pages that are published need not be made again
//! when there are new ones.

mod alias;
mod check;
pub mod cli;
mod diff;
pub mod distribution;
pub mod html;
mod init;
mod list;
pub mod pages;
mod publish;
mod remove;
pub mod search;
mod serve;
pub mod simple;
pub mod site;
mod yank;
