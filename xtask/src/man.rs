//! `cargo xtask man` and `completions`: the part that needs no tool.

use std::path::PathBuf;

use bk::{Context, Result, display};

#[cfg(not(feature = "tools"))]
use crate::process;
use crate::workspace;

/// Arguments of `man`.
#[derive(clap::Args)]
pub struct Args {
    /// Change nothing; fail if a page is not what it should be
    #[arg(long)]
    pub check: bool,
}

/// Writes man/*.1, or compares.
#[cfg(feature = "tools")]
pub fn run(args: &Args) -> Result<()> {
    crate::pages::run(args.check)
}

/// Writes the completions.
#[cfg(feature = "tools")]
pub fn completions() -> Result<()> {
    crate::completions::write(&workspace::target()?.join("completions"))
}

/// Writes man/*.1, or compares.
#[cfg(not(feature = "tools"))]
pub fn run(args: &Args) -> Result<()> {
    again(if args.check { &["man", "--check"] } else { &["man"] })
}

/// Writes the completions.
#[cfg(not(feature = "tools"))]
pub fn completions() -> Result<()> {
    again(&["completions"])
}

/// Runs a task that needs the tools' command lines, in an xtask that has them.
#[cfg(not(feature = "tools"))]
fn again(words: &[&str]) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.current_dir(workspace::root()).args(["run", "--quiet", "--package", "xtask", "--"]);
    process::run(cargo.args(words))
}

/// The pages there are, generated or not.
pub fn pages() -> Result<Vec<PathBuf>> {
    let dir = workspace::root().join("man");
    let entries =
        dir.read_dir().context(|| format!("cannot read the folder '{}'", display(&dir)))?;
    let mut pages: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    pages.sort();
    Ok(pages)
}
