//! Values that are put into control files: templates of Jinja, and `${NAME}` in manifests.

use std::collections::BTreeMap;
use std::str::FromStr;

use bk::{Context, Error, Result, Status, sanitize};

/// `-D NAME=VALUE`.
#[derive(Clone, Debug)]
pub struct Define {
    name: String,
    value: String,
}

impl FromStr for Define {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let good = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match text.split_once('=') {
            Some((name, value)) if good(name) => {
                Ok(Define { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err(Error::new(format!("'{}' defines nothing", sanitize(text)))
                .hint("write it as NAME=VALUE")
                .status(Status::Usage)),
        }
    }
}

/// The values there are, by name.
#[derive(Clone, Debug, Default)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    /// Those of the command line; the last one of a name counts.
    pub fn new(defines: &[Define]) -> Self {
        Values(defines.iter().map(|d| (d.name.clone(), d.value.clone())).collect())
    }

    /// Renders a template. What is not defined is an error.
    pub fn render(&self, name: &str, text: &str) -> Result<String> {
        let mut environment = minijinja::Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        // The engine drops the last newline of a template, which files of lines need.
        let end = if text.ends_with('\n') { "\n" } else { "" };
        let rendered = environment.render_str(text, &self.0).map(|text| text + end);
        rendered.context(|| format!("cannot fill in '{}'", sanitize(name))).hint(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            match known.is_empty() {
                true => "give its values with -D NAME=VALUE".into(),
                false => format!("values are there for {}; give others with -D", known.join(", ")),
            }
        })
    }

    /// Puts values in for `${NAME}`, as nfpm does with variables of the environment.
    pub fn expand(&self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) =
                after.split_once('}').ok_or_else(|| Error::new("'${' without its '}'"))?;
            let value = self.0.get(name).ok_or_else(|| {
                Error::new(format!("'${{{}}}' has no value", sanitize(name)))
                    .hint(format!("give it one with -D '{}=VALUE'", sanitize(name)))
            })?;
            out += before;
            out += value;
            rest = after;
        }
        Ok(out + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_and_missing_ones_told() {
        let values = Values::new(&["version=1.2".parse().unwrap(), "x=a=b".parse().unwrap()]);
        assert_eq!(values.render("control", "V: {{ version }}\n").unwrap(), "V: 1.2\n");
        assert_eq!(values.expand("a ${version} ${x}").unwrap(), "a 1.2 a=b");
        assert!(values.render("control", "{{ other }}").unwrap_err().hint_text().is_some());
        assert!(values.expand("${other}").is_err() && values.expand("${x").is_err());
        assert!("1x=2".parse::<Define>().is_err() && "x".parse::<Define>().is_err());
    }
}
