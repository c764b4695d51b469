//! bk-template beside copier and cookiecutter, on the same template of each.

use std::path::Path;
use std::process::Command;

use bk::Result;

use super::deb::fresh;
use super::measure::{Case, Target};
use crate::install;

/// Files of the template: cookiecutter-django makes as many.
const FILES: usize = 200;

/// Lines of each, one in ten of them to be filled in.
const LINES: usize = 50;

/// The cases.
pub fn cases(dir: &Path, bk_template: &Path) -> Result<Vec<Case>> {
    let programs = install::python(&dir.join("templates"), &["cookiecutter", "copier"])?;
    let (of_cookiecutter, of_copier) = (dir.join("template-cc"), dir.join("template-cp"));
    fresh(&of_cookiecutter)?;
    fresh(&of_copier)?;
    bk::file::write(&of_cookiecutter.join("cookiecutter.json"), r#"{"name": "x"}"#)?;
    bk::file::write(&of_copier.join("copier.yml"), "name: x\n")?;
    let tree = of_cookiecutter.join("{{cookiecutter.name}}");
    bk::file::create_dir(&tree)?;
    for file in 0..FILES {
        let text = |variable: &str| -> String {
            let line = |line: usize| match line % 10 {
                0 => format!("line {line} of {{{{ {variable} }}}}\n"),
                _ => format!("line {line} of file {file}\n"),
            };
            (0..LINES).map(line).collect()
        };
        bk::file::write(&tree.join(format!("{file}.txt")), text("cookiecutter.name"))?;
        bk::file::write(&of_copier.join(format!("{file}.txt.jinja")), text("name"))?;
    }
    let out = dir.join("template-out");
    let new = |template: &Path| {
        let (program, template, out) = (bk_template.to_owned(), template.to_owned(), out.clone());
        move || {
            fresh(&out)?;
            let mut command = Command::new(&program);
            command.args(["new", "--quiet", "--defaults"]).arg(&template).arg(out.join("x"));
            Ok(command)
        }
    };
    let theirs = |program: &str, words: &[&str], template: &Path| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let (program, template, out) = (programs.join(program), template.to_owned(), out.clone());
        move || {
            fresh(&out)?;
            let mut command = Command::new(&program);
            command.args(&words);
            match words.first().is_some_and(|word| word == "copy") {
                true => command.arg(&template).arg(out.join("x")),
                false => command.arg("-o").arg(&out).arg(&template),
            };
            Ok(command)
        }
    };
    let case = |peer: &str, template: &Path, words: &[&str]| Case {
        name: format!("template new, {FILES} files"),
        peer: peer.into(),
        batch: 1,
        target: Target::None,
        ours: Box::new(new(template)),
        theirs: Box::new(theirs(peer, words, template)),
    };
    Ok(vec![
        case("cookiecutter", &of_cookiecutter, &["--no-input"]),
        case("copier", &of_copier, &["copy", "--quiet", "--defaults"]),
    ])
}
