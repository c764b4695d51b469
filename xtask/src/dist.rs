//! `cargo xtask dist`.

use std::path::{Path, PathBuf};
use std::process::Command;

use bk::{Context, Result, display};

use crate::{install, man, process, workspace};

/// Builds with the profile `dist`, lays out what is installed under `target/dist-tree`, and tells
/// the size of each program.
pub fn run() -> Result<()> {
    install::apt(&["gcc", "libc6-dev", "gzip"])?;
    let target = workspace::target()?;
    let programs = build(None)?;
    man::completions()?;

    let tree = target.join("dist-tree");
    if tree.exists() {
        std::fs::remove_dir_all(&tree)?;
    }
    for program in &programs {
        place(program, &tree.join("usr/bin"), 0o755)?;
    }
    for page in man::pages()? {
        let section = page.extension().unwrap_or_default().to_string_lossy().into_owned();
        let placed = place(&page, &tree.join(format!("usr/share/man/man{section}")), 0o644)?;
        // Policy 12.1: compressed with gzip -9, and without the time so that builds are equal.
        process::run(Command::new("gzip").arg("-9n").arg(placed))?;
    }
    for (shell, folder) in [
        ("bash", "usr/share/bash-completion/completions"),
        ("zsh", "usr/share/zsh/vendor-completions"),
        ("fish", "usr/share/fish/vendor_completions.d"),
    ] {
        let from = target.join("completions").join(shell);
        for entry in from.read_dir().context(|| format!("cannot read '{}'", display(&from)))? {
            place(&entry?.path(), &tree.join(folder), 0o644)?;
        }
    }
    for file in ["README.md", "CHANGELOG.md", "LICENSE"] {
        place(&workspace::root().join(file), &tree.join("usr/share/doc/buildkit"), 0o644)?;
    }

    for program in &programs {
        let size = program.metadata()?.len() as f64 / f64::from(1 << 20);
        println!("{:>7.2} MiB  {}", size, program.file_name().unwrap_or_default().display());
    }
    println!("{}", tree.display());
    Ok(())
}

/// Builds every program as it is shipped, or `only` one, and returns where they are.
pub fn build(only: Option<&str>) -> Result<Vec<PathBuf>> {
    let mut cargo = process::cargo();
    cargo.current_dir(workspace::root()).args(["build", "--bins", "--locked", "--profile=dist"]);
    match only {
        Some(name) => cargo.args(["--package", name]),
        None => cargo.args(["--workspace", "--exclude=xtask"]),
    };
    process::run(&mut cargo)?;
    let dir = workspace::target()?.join("dist");
    let mut programs = workspace::programs(&workspace::metadata()?);
    programs.retain(|name| only.is_none_or(|only| name == only));
    Ok(programs.iter().map(|name| dir.join(name)).collect())
}

/// Copies a file into a folder with the permissions `mode`, and returns where it is.
fn place(file: &Path, folder: &Path, mode: u32) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    bk::file::create_dir(folder)?;
    let placed = folder.join(file.file_name().unwrap_or_default());
    let copy = || {
        std::fs::copy(file, &placed)?;
        std::fs::set_permissions(&placed, std::fs::Permissions::from_mode(mode))
    };
    copy().context(|| format!("cannot copy '{}'", display(file)))?;
    Ok(placed)
}
