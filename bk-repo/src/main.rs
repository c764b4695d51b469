//! See the crate.

bk::main!(bk_repo::cli::Cli);
