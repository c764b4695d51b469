//! `bk-template vars`

use std::borrow::Cow;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Result, Session, Status, sanitize};
use clap::Args;
use serde::Serialize;
use serde_yaml::Value as Yaml;

use crate::template::Template;

/// Print what a template asks for, a line each: name, type, usual answer, and what it is
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-template vars templates/package
      What can be said with -D.
  bk-template vars --json templates/package | jq -r 'select(.default == null).name'
      What has to be said.
")]
pub struct Vars {
    /// The template
    #[arg(value_name = "TEMPLATE")]
    template: PathBuf,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "variable")]
struct Line {
    name: String,
    kind: &'static str,
    /// A template, where it is text.
    default: Option<Yaml>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choices: Vec<Yaml>,
    /// False where it follows from others.
    asked: bool,
}

impl Record for Line {
    fn line(&self) -> Cow<'_, [u8]> {
        let usual = match &self.default {
            None => String::new(),
            Some(Yaml::String(text)) => text.clone(),
            Some(other) => serde_json::to_string(other).unwrap_or_default(),
        };
        let help = self.help.clone().unwrap_or_default();
        let [usual, help] = [usual, help].map(|text| sanitize(&text));
        format!("{}\t{}\t{usual}\t{help}", self.name, self.kind).into_bytes().into()
    }
}

impl Vars {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let template = Template::open(&self.template)?;
        for question in template.questions {
            let asked = question.when != Some(Yaml::Bool(false));
            session.out.record(&Line {
                kind: question.kind.name(),
                default: question.default.filter(|value| !value.is_null()),
                help: question.help,
                choices: question.choices.into_iter().map(|choice| choice.value).collect(),
                name: question.name,
                asked,
            })?;
        }
        Ok(Status::Done)
    }
}
