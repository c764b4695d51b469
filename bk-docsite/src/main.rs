//! See the crate.

bk::main!(bk_docsite::cli::Cli);
