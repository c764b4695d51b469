//! What a template asks, and what may be answered.

use std::str::FromStr;

use bk::{Context, Error, Result, Status, sanitize};
use minijinja::Value;
use serde_yaml::Value as Yaml;

use crate::engine::{Engine, value};

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Str,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Yes or no.
    Bool,
    /// Anything, written as JSON.
    Json,
    /// Anything, written as YAML.
    Yaml,
}

impl Kind {
    /// What it is called in templates.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Str => "str",
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::Bool => "bool",
            Kind::Json => "json",
            Kind::Yaml => "yaml",
        }
    }

    fn of(name: &str) -> Result<Self> {
        let known = [Kind::Int, Kind::Float, Kind::Bool, Kind::Json, Kind::Yaml];
        match known.into_iter().find(|kind| kind.name() == name) {
            Some(kind) => Ok(kind),
            None if name == "str" || name == "path" => Ok(Kind::Str),
            None => Err(Error::new(format!("'{}' is no type of answers", sanitize(name)))
                .hint("there are str, int, float, bool, json, yaml and path")),
        }
    }

    /// Reads an answer.
    fn read(self, text: &str) -> Result<Value> {
        let other = || Error::new(format!("'{}' is no {}", sanitize(text), self.name()));
        Ok(match self {
            Kind::Str => Value::from(text),
            Kind::Int => Value::from(text.trim().parse::<i64>().map_err(|_| other())?),
            Kind::Float => Value::from(text.trim().parse::<f64>().map_err(|_| other())?),
            // Those YAML 1.1 and people write.
            Kind::Bool => Value::from(match text.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" | "true" | "on" | "1" => true,
                "n" | "no" | "false" | "off" | "0" | "" => false,
                _ => return Err(other()),
            }),
            Kind::Json => {
                let read: serde_json::Value = serde_json::from_str(text).map_err(|_| other())?;
                value(read)
            }
            Kind::Yaml => {
                let read: Yaml = serde_yaml::from_str(text).map_err(|_| other())?;
                value(read)
            }
        })
    }
}

/// A choice: what it is called, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What people see.
    pub label: String,
    /// The answer.
    pub value: Yaml,
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The variable.
    pub name: String,
    /// What an answer is.
    pub kind: Kind,
    /// What people are asked.
    pub help: Option<String>,
    /// The answer unless another is given: a template, where it is text.
    pub default: Option<Yaml>,
    /// The answers there are, if not all.
    pub choices: Vec<Choice>,
    /// Whether several of the choices are one answer.
    pub multiselect: bool,
    /// Whether it is asked at all: a template, where it is text.
    pub when: Option<Yaml>,
    /// A template that says what is wrong with an answer.
    pub validator: Option<String>,
    /// Whether the answer is for nobody's eyes.
    pub secret: bool,
}

impl Question {
    /// A question for a text, with its usual answer.
    pub fn text(name: &str, default: Yaml) -> Self {
        Question {
            name: name.to_owned(),
            kind: Kind::Str,
            help: None,
            default: Some(default),
            choices: Vec::new(),
            multiselect: false,
            when: None,
            validator: None,
            secret: false,
        }
    }

    /// Reads one of copier's: a mapping of what is known of it, or its usual answer alone.
    pub fn parse(name: &str, about: &Yaml) -> Result<Self> {
        let mut question = Question::text(name, about.clone());
        let Yaml::Mapping(fields) = about else {
            question.kind = kind_of(about);
            return Ok(question);
        };
        let get = |field: &str| fields.get(field);
        let text = |field: &str| get(field).and_then(Yaml::as_str).map(str::to_owned);
        let flag = |field: &str| get(field).and_then(Yaml::as_bool).unwrap_or_default();
        question.default = get("default").cloned();
        question.help = text("help");
        question.when = get("when").cloned();
        question.validator = text("validator");
        question.secret = flag("secret");
        question.multiselect = flag("multiselect");
        question.choices = match get("choices") {
            None => Vec::new(),
            Some(choices) => choices_of(choices)?,
        };
        question.kind = match text("type") {
            Some(kind) => Kind::of(&kind)?,
            None => question.default.as_ref().map_or(Kind::Yaml, kind_of),
        };
        Ok(question)
    }

    /// Whether it is asked, by what was answered before.
    pub fn is_asked(&self, engine: &Engine, values: &Value) -> Result<bool> {
        match &self.when {
            None => Ok(true),
            Some(Yaml::Bool(when)) => Ok(*when),
            Some(Yaml::String(when)) => {
                let when = engine.render(&self.name, when, values)?;
                let never = ["", "false", "no", "off", "n", "0", "none"];
                Ok(!never.contains(&when.trim().to_ascii_lowercase().as_str()))
            }
            Some(_) => Err(Error::new("'when' is neither yes, no nor a template")),
        }
    }

    /// The usual answer, by what was answered before; `None` where there is none.
    pub fn usual(&self, engine: &Engine, values: &Value) -> Result<Option<Value>> {
        let Some(default) = &self.default else { return Ok(None) };
        let value = match default {
            Yaml::String(text) => self.kind.read(&engine.render(&self.name, text, values)?)?,
            Yaml::Null => return Ok(None),
            other => value(fill(other, &self.name, engine, values)?),
        };
        Ok(Some(value))
    }

    /// Reads an answer, as text or by the label of a choice.
    pub fn read(&self, text: &str) -> Result<Value> {
        let labelled = self.choices.iter().find(|choice| choice.label == text);
        match labelled {
            Some(choice) if !self.multiselect => Ok(value(&choice.value)),
            _ if self.multiselect => Kind::Yaml.read(text),
            _ => self.kind.read(text),
        }
    }

    /// Checks an answer.
    pub fn check(&self, answer: &Value, engine: &Engine, values: &Value) -> Result<()> {
        let mut choices = Vec::new();
        for choice in &self.choices {
            choices.push(value(fill(&choice.value, &self.name, engine, values)?));
        }
        let known = |answer: &Value| choices.iter().any(|choice| choice == answer);
        let all_known = match (choices.is_empty(), self.multiselect) {
            (true, _) => true,
            (_, true) => answer.try_iter().is_ok_and(|mut all| all.all(|answer| known(&answer))),
            _ => known(answer),
        };
        if !all_known {
            let labels: Vec<&str> = self.choices.iter().map(|c| c.label.as_str()).collect();
            return Err(Error::new(format!(
                "'{}' is none of the choices",
                sanitize(&answer.to_string())
            ))
            .hint(format!("there are {}", labels.join(", "))));
        }
        let Some(validator) = &self.validator else { return Ok(()) };
        let wrong = engine.render(&self.name, validator, values)?;
        match wrong.trim() {
            "" => Ok(()),
            wrong => Err(Error::new(format!("the template says: {}", sanitize(wrong)))),
        }
    }
}

/// Fills in the texts in a value.
fn fill(value: &Yaml, name: &str, engine: &Engine, values: &Value) -> Result<Yaml> {
    Ok(match value {
        Yaml::String(text) => Yaml::String(engine.render(name, text, values)?),
        Yaml::Sequence(all) => {
            let all = all.iter().map(|value| fill(value, name, engine, values));
            Yaml::Sequence(all.collect::<Result<_>>()?)
        }
        Yaml::Mapping(all) => {
            let all = all
                .iter()
                .map(|(key, value)| Ok((key.clone(), fill(value, name, engine, values)?)));
            Yaml::Mapping(all.collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

/// What kind of answer a usual one is.
fn kind_of(value: &Yaml) -> Kind {
    match value {
        Yaml::String(_) => Kind::Str,
        Yaml::Bool(_) => Kind::Bool,
        Yaml::Number(number) if number.is_f64() => Kind::Float,
        Yaml::Number(_) => Kind::Int,
        _ => Kind::Yaml,
    }
}

/// Choices as copier has them: values, pairs of a label and a value, or a mapping of labels.
fn choices_of(choices: &Yaml) -> Result<Vec<Choice>> {
    let label = |value: &Yaml| match value {
        Yaml::String(text) => text.clone(),
        other => serde_yaml::to_string(other).unwrap_or_default().trim().to_owned(),
    };
    // A mapping with a `value` says more about a choice than what it is.
    let inner = |value: &Yaml| match value {
        Yaml::Mapping(about) => about.get("value").cloned().unwrap_or_else(|| value.clone()),
        value => value.clone(),
    };
    match choices {
        Yaml::Sequence(all) => Ok(all
            .iter()
            .map(|choice| match choice.as_sequence().map(Vec::as_slice) {
                Some([name, value]) => Choice { label: label(name), value: inner(value) },
                _ => Choice { label: label(choice), value: choice.clone() },
            })
            .collect()),
        Yaml::Mapping(all) => Ok(all
            .iter()
            .map(|(name, value)| Choice { label: label(name), value: inner(value) })
            .collect()),
        _ => Err(Error::new("'choices' is neither a list nor a mapping")),
    }
}

/// Checks the name of a variable.
pub fn check_name(name: &str) -> Result<()> {
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match good {
        true => Ok(()),
        false => Err(Error::new(format!("'{}' is no name for a variable", sanitize(name)))
            .hint("it begins with a letter, and has letters, digits and '_'")
            .status(Status::Usage)),
    }
}

/// `NAME=VALUE`: an answer on the command line.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The variable.
    pub name: String,
    /// The answer, as text.
    pub text: String,
}

impl FromStr for Answer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Error::new(format!("'{}' answers nothing", sanitize(text)))
                .hint("write it as NAME=VALUE")
                .status(Status::Usage)
        })?;
        let context = || format!("cannot take the answer '{}'", sanitize(text));
        // Those of cookiecutter may begin with '_'.
        check_name(name.trim_start_matches('_')).context(context)?;
        Ok(Answer { name: name.to_owned(), text: value.to_owned() })
    }
}
