//! See the crate.

bk::main!(bk_template::cli::Cli);
