//! Choosing versions: ourselves, or with uv or pip.

mod native;
mod pubgrub;

use std::collections::BTreeSet;
use std::path::Path;

use bk::{Cmd, Console, Context, Error, Result, Status, file};
use pep440_rs::Version;
use pep508_rs::{PackageName, Requirement};

use super::lock::{self, File, Locked};
use super::requirement::Indexes;
use crate::distro::Distro;
use crate::graph::{Reuse, Rules};
use crate::supply::Supply;
use crate::target::Target;

/// What has to be chosen.
pub struct Problem<'a> {
    /// What is asked for, as requirements.
    pub requirements: &'a [Requirement],
    /// Versions to keep to.
    pub constraints: &'a [Requirement],
    /// Versions to take if they will do: those the distribution has.
    pub preferences: &'a [(PackageName, Version)],
    /// Where distributions come from.
    pub indexes: &'a Indexes,
    /// What is built for.
    pub target: &'a Target,
    /// Whether pre-releases may be chosen where a release would do.
    pub pre: bool,
    /// What is asked for alone, without what it needs.
    pub no_deps: bool,
    /// Where temporary files go.
    pub scratch: &'a Path,
    /// How files are fetched and sources built.
    pub supply: &'a Supply<'a>,
    /// The suite.
    pub distro: &'a Distro,
    /// Whether its packages are candidates.
    pub reuse: Reuse,
    /// How names are mapped.
    pub rules: &'a Rules,
}

/// What was chosen.
#[derive(Debug, Default)]
pub struct Solution {
    /// The versions, and of the distribution's those whose extras are needed.
    pub locked: Vec<Locked>,
    /// What must be built though the distribution may have it; None if nobody has decided.
    pub built: Option<BTreeSet<PackageName>>,
}

/// Who chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Resolver {
    /// bk-deb itself
    Native,
    /// uv
    Uv,
    /// pip
    Pip,
}

impl Problem<'_> {
    /// Chooses a version of everything that is needed.
    pub fn solve(&self, resolver: Resolver, console: &Console) -> Result<Solution> {
        if self.requirements.is_empty() {
            return Ok(Solution::default());
        }
        let locked = match resolver {
            Resolver::Native => return native::solve(self),
            Resolver::Uv => self.uv(console)?,
            Resolver::Pip => self.pip(console)?,
        };
        Ok(Solution { locked, built: None })
    }

    fn uv(&self, console: &Console) -> Result<Vec<Locked>> {
        let dir = file::TempDir::new_in(self.scratch)?;
        let lines = |all: &[Requirement]| all.iter().map(|r| format!("{r}\n")).collect::<String>();
        let constraints = dir.path().join("constraints.txt");
        file::write(&constraints, lines(self.constraints))?;
        // uv keeps to the versions of a lock that is there, where it can.
        let lock = dir.path().join("pylock.toml");
        if !self.preferences.is_empty() {
            let mut text = String::from("lock-version = \"1.0\"\ncreated-by = \"bk-deb\"\n");
            for (name, version) in self.preferences {
                text += &format!("[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\n");
            }
            file::write(&lock, text)?;
        }
        let mut uv = Cmd::new("uv", console)
            .args(["pip", "compile", "-", "--quiet", "--no-header", "--format", "pylock.toml"])
            .args(["--python-version", &self.target.python_version()])
            .args(["--python-platform", &self.target.uv_platform()])
            .arg("--output-file")
            .arg(&lock)
            .arg("--constraints")
            .arg(&constraints);
        if self.pre {
            uv = uv.args(["--prerelease", "allow"]);
        }
        if self.no_deps {
            uv = uv.arg("--no-deps");
        }
        uv = self.indexes(uv);
        uv.output_with(lines(self.requirements).as_bytes()).map_err(|e| self.explain(e))?;
        let text = file::read(&lock, 64 << 20)?;
        lock::pylock(&String::from_utf8_lossy(&text), dir.path(), self.target)
    }

    fn pip(&self, console: &Console) -> Result<Vec<Locked>> {
        let dir = file::TempDir::new_in(self.scratch)?;
        let constraints = dir.path().join("constraints.txt");
        let text: String = self.constraints.iter().map(|r| format!("{r}\n")).collect();
        file::write(&constraints, text)?;
        let version = self.target.python_version();
        let python = super::source::python(&version)?;
        let mut pip = Cmd::new(&python, console)
            .args(["-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"])
            .args(["--disable-pip-version-check", "--break-system-packages", "--report", "-"])
            .arg("--constraint")
            .arg(&constraints);
        if self.pre {
            pip = pip.arg("--pre");
        }
        if self.no_deps {
            pip = pip.arg("--no-deps");
        }
        pip = self.indexes(pip).arg("--");
        let output = pip.args(self.requirements.iter().map(|r| r.to_string())).output();
        let report: serde_json::Value =
            serde_json::from_slice(&output.map_err(|e| self.explain(e))?)
                .context(|| "cannot read pip's report".into())?;
        let installs = report["install"].as_array().map(Vec::as_slice).unwrap_or_default();
        installs.iter().map(installed).collect::<Result<_>>()
    }

    /// Both know the same options.
    fn indexes(&self, mut cmd: Cmd) -> Cmd {
        if let Some(index) = &self.indexes.index {
            cmd = cmd.args(["--index-url", index]);
        }
        for index in &self.indexes.extra {
            cmd = cmd.args(["--extra-index-url", index]);
        }
        for link in &self.indexes.find_links {
            cmd = cmd.args(["--find-links", link]);
        }
        if self.indexes.no_index { cmd.arg("--no-index") } else { cmd }
    }

    /// What the resolver said, with what was asked for and what can be done about it.
    fn explain(&self, error: Error) -> Error {
        let wanted: Vec<String> = self.requirements.iter().map(|r| format!("'{r}'")).collect();
        let failed = format!("cannot choose versions for {}", wanted.join(", "));
        // Its own words come last; the command that said them is of no use here.
        let Some(said) = error.causes().last().cloned() else { return error.context(failed) };
        let has = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
        let said_only = Error::new(said.clone()).context(failed);
        if has(&NETWORK) {
            let hint = "try again, or use --find-links DIR --no-index";
            return said_only.hint(hint).status(Status::Temporary);
        }
        said_only.hint(match has(&MISSING) {
            true => "check its name and version, and the index (--index-url, --find-links)",
            false => "loosen a requirement, or build in two calls what need not go together",
        })
    }
}

/// How uv and pip say that the network failed them.
const NETWORK: [&str; 7] = [
    "error sending request",
    "dns error",
    "Failed to fetch",
    "Temporary failure",
    "Connection refused",
    "Max retries",
    "timed out",
];

/// How they say that there is no such thing.
const MISSING: [&str; 3] = [
    "was not found in the package registry",
    "was not found in the provided package locations",
    "No matching distribution",
];

/// One entry of pip's installation report.
fn installed(entry: &serde_json::Value) -> Result<Locked> {
    let text = |value: &serde_json::Value| {
        value.as_str().map(str::to_owned).ok_or_else(|| Error::new("pip's report misses a field"))
    };
    let info = &entry["download_info"];
    let url = text(&info["url"])?;
    let last = url.rsplit('/').next().unwrap_or_default();
    let sha256 = info["archive_info"]["hashes"]["sha256"].as_str().map(str::to_owned);
    let file = File { name: crate::fetch::percent_decode(last), url, sha256 };
    let wheel = file.name.ends_with(".whl");
    Ok(Locked {
        name: text(&entry["metadata"]["name"])?.parse()?,
        version: text(&entry["metadata"]["version"])?.parse()?,
        wheels: if wheel { vec![file.clone()] } else { Vec::new() },
        sdist: (!wheel).then_some(file),
    })
}
