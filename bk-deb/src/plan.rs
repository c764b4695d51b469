//! `bk-deb plan`: what would be built of what, as instructions that can be carried out elsewhere.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display, sanitize};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::convert::{Options, Package};
use crate::debian::version::Version;
use crate::fetch::path_of;
use crate::graph::{Graph, Node};
use crate::mapping::name;
use crate::python::lock::File;
use crate::python::tags;
use crate::request::Request;
use crate::supply::sha256;

/// A line of a plan is one package with its licence texts, at most.
const LINE_LIMIT: u64 = 16 << 20;
/// How many packages a plan may have: ten times what the largest of trees has.
const LINES_LIMIT: usize = 10_000;

/// Say what would be built of what, an instruction for each package
///
/// Versions are chosen, sources that have no wheel are built, and nothing is converted: of the
/// wheels of an index only the metadata are read, so files that two packages have come to light when
/// they are built. Each line is JSON and holds all that `bk-deb build --plan` needs to make one
/// package, the same bytes on any machine: hand the lines to as many as you like.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-deb plan flask > plan && bk-deb build --plan plan -o debs
      The same as bk-deb build flask -o debs.
  bk-deb plan --make -o debs sphinx > Makefile && make -j8
      Packages that are there and newer than the Makefile are not built again.
  bk-deb plan sphinx | parallel --pipe -N1 -S host1,host2 bk-deb build --plan - -o /srv/debs
      GNU parallel gives each of two machines a package at a time. Wheels of an index are fetched
      there; those of this machine must be on a file system that all share.

Exit status:
  0   every package has its instruction
  1   some cannot be built; all others have theirs
  2   the command line or the configuration is wrong
  75  the network did not answer; try again
")]
pub struct Plan {
    #[command(flatten)]
    request: Request,
    /// Write a Makefile, which holds the instructions itself
    #[arg(long)]
    make: bool,
    /// Where the Makefile puts the .debs
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

/// All that one package is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename = "package")]
pub struct Instruction {
    /// The binary package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The distribution.
    pub name: String,
    /// The distribution's version.
    pub python_version: String,
    /// The file it will be, as far as its wheel's name tells.
    pub file: String,
    /// The packages of the same plan that it depends on.
    pub requires: Vec<String>,
    /// Its wheel. Where it is on this machine, its hash is there only in a plan.
    pub wheel: File,
    /// What was decided about it.
    pub spec: Package,
    /// How it is converted.
    pub options: Options,
    /// The packages of the whole plan: the version of what is built, none of what the distribution
    /// has. Who makes this package alone knows by them whom it may meet.
    #[serde(default)]
    pub suite: Arc<BTreeMap<String, Option<String>>>,
    /// The distribution's packages of the source that its package of this name has, and whether those
    /// of other sources depend on them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub siblings: BTreeMap<String, bool>,
}

impl Record for Instruction {
    /// There is no shorter line that says it all.
    fn line(&self) -> Cow<'_, [u8]> {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl Instruction {
    /// What a node of the graph says.
    pub fn new(
        node: &Node,
        graph: &Graph,
        suite: &Arc<BTreeMap<String, Option<String>>>,
        revision: &str,
        options: Options,
    ) -> Self {
        let version = format!("{}-{revision}", node.version);
        let default = name::default(&node.name);
        let others: Vec<String> = node.instead.iter().chain(&node.replaced).cloned().collect();
        let mut alias: Vec<String> = node.instead.iter().cloned().collect();
        if default != node.package && !alias.contains(&default) {
            alias.push(default);
        }
        let extras = node.extras.iter().map(|extra| name::extra(&node.package, extra.as_ref()));
        let provides = alias.into_iter().chain(extras).map(|p| format!("{p} (= {version})"));
        let spec = Package {
            name: node.package.clone(),
            depends: node.depends.clone(),
            provides: provides.collect(),
            conflicts: others.clone(),
            replaces: others,
            breaks: node.breaks.clone(),
            version: version.clone(),
            ..Package::default()
        };
        let built = |name: &&pep508_rs::PackageName| graph.nodes.iter().find(|n| n.name == **name);
        let requires = node
            .requires
            .iter()
            .filter_map(|name| built(&name))
            .map(|n| n.package.clone())
            .collect();
        let any = tags::parse_file_name(&node.wheel.name)
            .is_ok_and(|name| name.tags.iter().any(|tag| tag.platform == "any"));
        let arch = if any { "all" } else { options.arch.as_str() };
        let plain = Version::parse(&version).map(|v| v.without_epoch().to_owned());
        Instruction {
            file: format!("{}_{}_{arch}.deb", node.package, plain.unwrap_or_default()),
            package: node.package.clone(),
            name: node.name.to_string(),
            python_version: node.python_version.to_string(),
            requires,
            wheel: node.wheel.clone(),
            spec,
            options,
            version,
            suite: suite.clone(),
            siblings: BTreeMap::new(),
        }
    }

    /// Pins the wheel by its content.
    fn pin(&mut self) -> Result<()> {
        if self.wheel.sha256.is_none()
            && let Some(path) = path_of(&self.wheel.url)
        {
            self.wheel.sha256 = Some(sha256(&path)?);
        }
        Ok(())
    }
}

impl Plan {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        self.request.set_jobs();
        let overrides = self.request.overrides(session)?;
        let cache = self.request.cache(session, Path::new("."))?;
        if !cache.is_kept() {
            return Err(Error::new("a plan names wheels of the cache")
                .hint("leave --no-cache out")
                .status(Status::Usage));
        }
        let resolved = self.request.resolve(session, &cache, &overrides)?;
        let mut all = self.request.instructions(&resolved, &overrides, session.epoch)?;
        all.iter_mut().try_for_each(Instruction::pin)?;
        match self.make {
            true => session.out.raw(makefile(&all, &self.output)?)?,
            false => {
                all.iter().try_for_each(|i| session.out.raw([&i.line(), &b"\n"[..]].concat()))?
            }
        }
        Ok(if resolved.failed { Status::Failed } else { Status::Done })
    }
}

/// A Makefile of the instructions, which are its comments.
fn makefile(all: &[Instruction], out: &Path) -> Result<String> {
    let out = out.to_str().filter(|out| !out.contains(['$', ' ', '#', ':', '\\', '\'', '\n']));
    let out = out.ok_or_else(|| Error::new("make cannot take the name of the folder of -o"))?;
    let files: Vec<String> = all.iter().map(|i| format!("{out}/{}", i.file)).collect();
    let mut text = format!(
        "# Written by bk-deb plan --make: the packages and how they are made.\n\
         BK_DEB ?= bk-deb\n\nall: {}\n.PHONY: all\n",
        files.join(" ")
    );
    for (instruction, file) in all.iter().zip(&files) {
        let line = serde_json::to_string(instruction)?;
        let Instruction { package, .. } = instruction;
        text += &format!(
            "\n#{line}\n{file}: $(firstword $(MAKEFILE_LIST))\n\
             \t@$(BK_DEB) build --plan $< --only {package} -o {out}\n\t@touch $@\n"
        );
    }
    Ok(text)
}

/// Reads a plan, or a Makefile of one: the packages named by `only`, or all.
pub fn read(path: &Path, only: &[String]) -> Result<Vec<Instruction>> {
    let failed = || format!("cannot use the plan '{}'", display(path));
    let mut all = match path.as_os_str() == "-" {
        true => parse(std::io::stdin().lock()),
        false => {
            std::fs::File::open(path).map_err(Error::from).and_then(|f| parse(BufReader::new(f)))
        }
    }
    .context(failed)?;
    if let Some(missing) = only.iter().find(|name| !all.iter().any(|i| i.package == **name)) {
        return Err(
            Error::new(format!("it has no package '{}'", sanitize(missing))).context(failed())
        );
    }
    all.retain(|i| only.is_empty() || only.contains(&i.package));
    Ok(all)
}

fn parse(mut input: impl BufRead) -> Result<Vec<Instruction>> {
    let mut all: Vec<Instruction> = Vec::new();
    let mut seen: HashMap<String, ()> = HashMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = std::io::Read::take(&mut input, LINE_LIMIT).read_until(b'\n', &mut line)?;
        if n == 0 {
            return Ok(all);
        }
        let text = line.strip_prefix(b"#").unwrap_or(&line);
        if !text.starts_with(b"{") {
            continue;
        }
        let mut instruction: Instruction = serde_json::from_slice(text)
            .context(|| format!("line {} is no instruction", all.len() + 1))?;
        // Of one plan it is the same in all lines, and kept once.
        if let Some(before) = all.last().filter(|before| before.suite == instruction.suite) {
            instruction.suite = before.suite.clone();
        }
        if seen.insert(instruction.package.clone(), ()).is_some() || all.len() == LINES_LIMIT {
            let package = sanitize(&instruction.package);
            return Err(Error::new(format!("it has '{package}' twice, or too many packages")));
        }
        all.push(instruction);
    }
}
