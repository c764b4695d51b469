//! See the crate.

bk::main!(bk_pypkg::cli::Cli);
