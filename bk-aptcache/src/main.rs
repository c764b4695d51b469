//! See the crate.

bk::main!(bk_aptcache::cli::Cli);
