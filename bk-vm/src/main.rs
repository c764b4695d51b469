//! See the crate.

bk::main!(bk_vm::cli::Cli);
