//! See the crate.

bk::main!(bk_deb::cli::Cli);
