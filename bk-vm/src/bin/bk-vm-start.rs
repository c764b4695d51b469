//! `bk-vm start` by the name it had in 2011.

bk::main!(bk_vm::cli::Cli, "start");
