//! `cargo xtask lint`.

use std::process::Command;

use bk::{Error, Result};

use crate::{install, layout, man, process, workspace};

/// Everything a reviewer should not have to look for.
pub fn run() -> Result<()> {
    install::apt(&["gcc", "libc6-dev", "git", "mandoc"])?;
    let cargo = |words: &[&str]| {
        let mut cargo = process::cargo();
        cargo.current_dir(workspace::root()).args(words);
        process::run(&mut cargo)
    };
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    invariants()?;
    man::run(&man::Args { check: true })?;
    if process::succeeds(process::cargo().args(["deny", "--version"])) {
        cargo(&["deny", "--locked", "check", "bans", "licenses", "sources"])?;
    } else {
        println!("not checked: bans, licences and sources (cargo install cargo-deny --locked)");
    }
    println!("lint found nothing");
    Ok(())
}

/// The invariants of ARCHITECTURE.md; an error names all that do not hold.
pub fn invariants() -> Result<()> {
    let metadata = workspace::metadata()?;
    let mut wrong = layout::dependencies(&metadata);
    wrong.extend(layout::packages(&metadata));
    for path in workspace::files()? {
        // What is not text has no words.
        if let Ok(text) = std::fs::read_to_string(workspace::root().join(&path)) {
            wrong.extend(layout::file(&path, &text));
        }
    }
    for page in man::pages()? {
        let mut mandoc = Command::new("mandoc");
        mandoc.args(["-T", "lint", "-W", "warning"]).arg(&page);
        let said = mandoc.output()?;
        wrong.extend(String::from_utf8_lossy(&said.stdout).lines().map(str::to_owned));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::new(wrong.join("\n")).context("the project breaks its own rules")),
    }
}
