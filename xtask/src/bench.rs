//! `cargo xtask bench`.

mod aptcache;
mod deb;
mod docsite;
mod flow;
mod measure;
mod repo;
mod server;
mod template;
mod test;
mod vm;

use std::process::Command;

use bk::Result;

use crate::{dist, install, workspace};
use measure::{Case, Target};

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Only the cases whose name has this in it: deb, deb flask, repo, repo add, bk --version, ...
    name: Option<String>,
    /// How often each side runs
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How many packages the repositories hold
    #[arg(long, default_value_t = 1000)]
    packages: usize,
}

/// Runs the cases and prints a table with ratios.
pub fn run(args: &Args) -> Result<()> {
    install::apt(&["gcc", "libc6-dev"])?;
    // A program takes minutes to build as it is shipped.
    let group = args.name.as_deref().and_then(|name| name.split(' ').next());
    let groups = ["deb", "repo", "template", "test", "flow", "docsite", "aptcache", "vm"];
    let only = group.filter(|group| groups.contains(group));
    let programs = dist::build(only.map(|group| format!("bk-{group}")).as_deref())?;
    let dir = workspace::target()?.join("bench");
    bk::file::create_dir(&dir)?;
    let named = |name: &str| programs.iter().find(|program| program.ends_with(name));
    let wanted = |name: &str| args.name.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let group = |name: &str| args.name.as_ref().is_none_or(|part| part.starts_with(name));

    let mut cases = launcher(&programs);
    if let Some(program) = named("bk-deb").filter(|_| group("deb")) {
        cases.extend(deb::cases(&dir, program)?);
    }
    if let Some(program) = named("bk-repo").filter(|_| group("repo")) {
        if wanted("repo serve") {
            repo::serving(&dir, program, args.packages, args.runs)?;
        }
        if wanted("repo publish") {
            repo::publishing(&dir, program, args.packages, args.runs)?;
        }
        // The repositories of the others take minutes to make.
        if !["repo serve", "repo publish"].map(Some).contains(&args.name.as_deref()) {
            cases.extend(repo::cases(&dir, program, args.packages, &wanted)?);
        }
    }
    if let Some(program) = named("bk-template").filter(|_| group("template")) {
        cases.extend(template::cases(&dir, program)?);
    }
    if let Some(program) = named("bk-test").filter(|_| group("test")) {
        cases.extend(test::cases(&dir, program)?);
    }
    if let Some(program) = named("bk-flow").filter(|_| group("flow")) {
        cases.extend(flow::cases(&dir, program)?);
    }
    if let Some(program) = named("bk-docsite").filter(|_| group("docsite")) {
        cases.extend(docsite::cases(&dir, program)?);
    }
    if let Some(program) = named("bk-vm").filter(|_| group("vm")) {
        cases.extend(vm::cases(&dir, program)?);
    }
    if let Some(program) = named("bk-aptcache").filter(|_| group("aptcache")) {
        aptcache::run(&dir, program, args.runs)?;
    }
    println!("{}", measure::HEADING);
    for case in cases.iter().filter(|case| wanted(&case.name)) {
        println!("{}", case.run(args.runs)?);
    }
    for program in &programs {
        let name = program.file_name().unwrap_or_default().display();
        println!("{name}: {:.2} MiB", program.metadata()?.len() as f64 / f64::from(1 << 20));
    }
    Ok(())
}

fn launcher(programs: &[std::path::PathBuf]) -> Vec<Case> {
    let version = |program: &std::path::Path| {
        let program = program.to_owned();
        Box::new(move || {
            let mut command = Command::new(&program);
            command.arg("--version");
            Ok(command)
        })
    };
    programs
        .iter()
        .map(|program| Case {
            name: format!("{} --version", program.file_name().unwrap_or_default().display()),
            peer: "true".into(),
            // A start takes less than a millisecond: only many of them can be told apart.
            batch: 200,
            target: Target::None,
            ours: version(program),
            theirs: Box::new(|| Ok(Command::new("/bin/true"))),
        })
        .collect()
}
