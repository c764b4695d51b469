//! bk-docsite beside mike, which keeps versions of documentation, and dumb-pypi, which writes an index.

use std::path::Path;
use std::process::Command;

use bk::Result;

use super::deb::fresh;
use super::measure::{Case, Target};
use crate::{install, process};

/// Versions that are there when one more is published.
const VERSIONS: usize = 20;

/// Pages of each.
const PAGES: usize = 12;

/// Files in the index.
const FILES: usize = 1000;

/// The cases.
pub fn cases(dir: &Path, bk_docsite: &Path) -> Result<Vec<Case>> {
    Ok(vec![versions(dir, bk_docsite)?, index(dir, bk_docsite)?])
}

/// One more version of documentation that is HTML already.
fn versions(dir: &Path, bk_docsite: &Path) -> Result<Case> {
    let programs = install::python(&dir.join("mike"), &["mike", "mkdocs<2"])?;
    let (work, site) = (dir.join("mike-work"), dir.join("docsite-versions"));
    fresh(&work)?;
    fresh(&site)?;
    let docs = work.join("docs");
    bk::file::create_dir(&docs)?;
    for page in 0..PAGES {
        let name = if page == 0 { "index.html".to_owned() } else { format!("page{page}.html") };
        let words: String = (0..2000).map(|n| format!("word{} ", n * (page + 1) % 997)).collect();
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><title>{name}</title></head><body><main>\
             <h1>{name}</h1><p>{words}</p></main></body></html>\n"
        );
        bk::file::write(&docs.join(name), html)?;
    }
    bk::file::write(&work.join("mkdocs.yml"), "site_name: x\nplugins: []\n")?;
    let path = install::path_with(&[&programs])?;
    let git = |words: &[&str]| process::run(Command::new("git").current_dir(&work).args(words));
    git(&["init", "--quiet"])?;
    git(&["config", "user.name", "x"])?;
    git(&["config", "user.email", "x@example.com"])?;
    git(&["commit", "--quiet", "--allow-empty", "--message=x"])?;
    let mike = programs.join("mike");
    process::run(Command::new(bk_docsite).args(["init", "--quiet"]).arg(&site))?;
    for version in 0..VERSIONS {
        let version = format!("1.{version}");
        let mut command = Command::new(&mike);
        process::run(
            command.current_dir(&work).env("PATH", &path).args(["deploy", "-q", &version]),
        )?;
        let mut command = Command::new(bk_docsite);
        command.args(["publish", "--quiet"]).arg(&site).args(["x", &version, "--docs"]).arg(&docs);
        process::run(&mut command)?;
    }
    let program = bk_docsite.to_owned();
    Ok(Case {
        name: format!("docsite publish, {PAGES} pages, onto {VERSIONS} versions"),
        peer: "mike".into(),
        batch: 1,
        target: Target::None,
        ours: Box::new(move || {
            let mut command = Command::new(&program);
            command.args(["publish", "--quiet"]).arg(&site).args(["x", "2.0", "--docs"]).arg(&docs);
            Ok(command)
        }),
        theirs: Box::new(move || {
            let mut command = Command::new(&mike);
            command.current_dir(&work).env("PATH", &path).args(["deploy", "-q", "2.0"]);
            Ok(command)
        }),
    })
}

/// One more file in an index of many; dumb-pypi writes all of it, and is told the hashes.
fn index(dir: &Path, bk_docsite: &Path) -> Result<Case> {
    let programs = install::python(&dir.join("dumb-pypi"), &["dumb-pypi"])?;
    let (site, out) = (dir.join("docsite-index"), dir.join("dumb-index"));
    let source = dir.join("docsite-files");
    for place in [&site, &out, &source] {
        fresh(place)?;
    }
    process::run(Command::new(bk_docsite).args(["init", "--quiet"]).arg(&site))?;
    let mut list = String::new();
    for number in 0..FILES {
        // Ten versions of a hundred packages.
        let (package, version) = (format!("p{}", number % 100), format!("1.{}", number / 100));
        let name = format!("{package}-{version}.tar.gz");
        bk::file::write(&source.join(&name), &name)?;
        let mut command = Command::new(bk_docsite);
        command.args(["publish", "--quiet"]).arg(&site).args([&package, &version]);
        process::run(command.arg(source.join(&name)))?;
        let hash = format!("{:064x}", number);
        list += &format!("{{\"filename\": \"{name}\", \"hash\": \"sha256={hash}\"}}\n");
    }
    let packages = dir.join("dumb-list.json");
    bk::file::write(&packages, list)?;
    let (program, dumb) = (bk_docsite.to_owned(), programs.join("dumb-pypi"));
    let new = source.join("p0-2.0.tar.gz");
    bk::file::write(&new, "x")?;
    Ok(Case {
        name: format!("docsite publish, a file onto {FILES}"),
        peer: "dumb-pypi".into(),
        batch: 1,
        target: Target::None,
        ours: Box::new(move || {
            let mut command = Command::new(&program);
            command.args(["publish", "--quiet"]).arg(&site).args(["p0", "2.0"]).arg(&new);
            Ok(command)
        }),
        theirs: Box::new(move || {
            let mut command = Command::new(&dumb);
            command.arg("--package-list-json").arg(&packages);
            command.args(["--packages-url", "../../files/", "--output-dir"]).arg(&out);
            Ok(command)
        }),
    })
}
