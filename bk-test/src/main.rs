//! See the crate.

bk::main!(bk_test::cli::Cli);
