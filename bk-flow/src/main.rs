//! See the crate.

bk::main!(bk_flow::cli::Cli);
