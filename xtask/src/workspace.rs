//! What `cargo metadata` tells about the workspace.

use std::path::{Path, PathBuf};

use bk::{Error, Result};
use serde_json::Value;

use crate::process;

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// `cargo metadata`, with the features of all packages resolved together.
pub fn metadata() -> Result<Value> {
    let mut cargo = process::cargo();
    cargo.current_dir(root()).args(["metadata", "--format-version=1", "--locked"]);
    // Without this cargo fetches the crates of every other platform too.
    cargo.args(["--filter-platform", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH)]);
    Ok(serde_json::from_str(&process::stdout(&mut cargo)?)?)
}

/// The target folder, wherever cargo was told to have it.
pub fn target() -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.current_dir(root()).args(["metadata", "--format-version=1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&process::stdout(&mut cargo)?)?;
    let target = metadata["target_directory"].as_str();
    Ok(target.ok_or_else(|| Error::new("cargo names no target folder"))?.into())
}

/// The names of the programs the workspace makes, but for this one.
pub fn programs(metadata: &Value) -> Vec<String> {
    let mut names: Vec<String> = members(metadata)
        .filter(|package| package["name"] != "xtask")
        .flat_map(|package| array(&package["targets"]))
        .filter(|target| array(&target["kind"]).any(|kind| kind == "bin"))
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The packages of the workspace.
pub fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let ids: Vec<&Value> = array(&metadata["workspace_members"]).collect();
    array(&metadata["packages"]).filter(move |package| ids.contains(&&package["id"]))
}

/// The elements of a JSON array; none of anything else.
pub fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The files git knows, relative to the root.
pub fn files() -> Result<Vec<PathBuf>> {
    let mut git = std::process::Command::new("git");
    git.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let names = process::stdout(&mut git)?;
    Ok(names.lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect())
}
