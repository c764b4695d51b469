//! `bk-template check`

use std::borrow::Cow;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Context, Result, Session, Status, display};
use clap::Args;
use serde::Serialize;

use crate::example;
use crate::new::data;
use crate::question::Answer;
use crate::template::{Style, Template};
use crate::tree;

/// Say what is wrong with a template
///
/// Fills it in with the usual answers, or those given: what fails, what asks for a variable that nobody is
/// asked for, and what nobody needs to be asked. With --example, says also at what path the outcome
/// differs from that first.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-template check templates/package
      Fill it in with the usual answers, and write nothing.
  bk-template check templates/package --example ../libfoo -D name=foo
      Whether the template gives that example back, byte for byte.

Exit status:
  0   nothing is wrong
  1   it could not be read
  2   the command line is wrong
  3   something is wrong; each thing is printed
")]
pub struct Check {
    /// The template
    #[arg(value_name = "TEMPLATE")]
    template: PathBuf,
    /// What it is to make with these answers
    #[arg(long, value_name = "DIR")]
    example: Option<PathBuf>,
    /// What of the example is not meant
    #[arg(long, value_name = "GLOB", requires = "example")]
    exclude: Vec<String>,
    /// An answer
    #[arg(short = 'D', long = "define", value_name = "NAME=VALUE")]
    define: Vec<Answer>,
    /// A YAML or JSON file with answers
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "finding")]
struct Finding {
    text: String,
}

impl Record for Finding {
    fn line(&self) -> Cow<'_, [u8]> {
        self.text.as_bytes().into()
    }
}

impl Check {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let template = Template::open(&self.template)?;
        let engine = template.engine(session.epoch)?;
        let data = data(self.data_file.as_ref())?;
        let mut wrong = Vec::new();
        let said = |error: bk::Error| {
            let causes: Vec<&str> = error.causes().iter().map(String::as_str).collect();
            [&[error.message()], &causes[..]].concat().join(": ")
        };
        match template.answer(&engine, &self.define, &data, None) {
            Err(error) => wrong.push(said(error)),
            Ok(answers) => {
                match template.asked_for(&engine, &answers) {
                    Err(error) => wrong.push(said(error)),
                    Ok(asked_for) => {
                        let known = |name: &str| match &template.style {
                            Style::Cookiecutter(_) => name == "cookiecutter",
                            Style::Copier(_) => {
                                name.starts_with("_copier_")
                                    || template.questions.iter().any(|q| q.name == name)
                            }
                        };
                        for (name, path) in asked_for.iter().filter(|(name, _)| !known(name)) {
                            wrong.push(format!(
                                "'{}' asks for '{name}', which is no question",
                                display(path)
                            ));
                        }
                    }
                }
                match template.make(&engine, &answers) {
                    Err(error) => wrong.push(said(error)),
                    Ok(made) => {
                        if let Some(dir) = &self.example {
                            let example = example::read(dir, &self.exclude, false)
                                .context(|| "cannot compare".into())?;
                            if let Some((path, how)) = tree::difference(&example, &made) {
                                wrong.push(format!("'{}' {how}", display(path)));
                            }
                        }
                    }
                }
            }
        }
        for text in &wrong {
            session.out.record(&Finding { text: text.clone() })?;
        }
        Ok(if wrong.is_empty() { Status::Done } else { Status::No })
    }
}
