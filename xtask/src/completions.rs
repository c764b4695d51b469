//! Completions for the shells.

use std::path::Path;

use bk::Result;
use clap_complete::Shell;

use crate::tools;

/// Writes `SHELL/FILE` for each tool, named as Debian installs them.
pub fn write(dir: &Path) -> Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let folder = dir.join(shell.to_string());
        bk::file::create_dir(&folder)?;
        for mut command in tools::commands() {
            let name = command.get_name().to_owned();
            let file = match shell {
                Shell::Zsh => format!("_{name}"),
                Shell::Fish => format!("{name}.fish"),
                _ => name.clone(),
            };
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, name, &mut text);
            bk::file::write(&folder.join(file), text)?;
        }
    }
    println!("{}", dir.display());
    Ok(())
}
