//! Virtual machines to test packages in.

pub mod address;
pub mod archive;
pub mod bootstrap;
pub mod cli;
mod copy;
mod create;
mod exec;
pub mod identity;
mod inside;
pub mod kvm;
mod kvm_ok;
mod list;
mod log;
pub mod machine;
pub mod net;
pub mod qcow2;
pub mod qemu;
pub mod qmp;
pub mod ready;
pub mod remote;
mod remove;
pub mod resolve;
pub mod running;
mod ssh;
mod start;
mod stop;
