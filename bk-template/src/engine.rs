//! The engine that fills templates in: minijinja, with what templates of copier and cookiecutter expect of
//! Jinja2.

use std::path::Path;

use bk::{Error, Result};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{
    AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, escape_formatter, path_loader,
};
use serde::Serialize;

/// How a template marks what is to be filled in, where it says so itself (copier's `_envops`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// What begins and ends statements.
    pub block: [String; 2],
    /// What begins and ends expressions.
    pub variable: [String; 2],
    /// What begins and ends comments.
    pub comment: [String; 2],
    /// Whether the first newline after a statement is dropped.
    pub trim_blocks: bool,
    /// Whether spaces before a statement are dropped.
    pub lstrip_blocks: bool,
    /// Whether the last newline of a file stays.
    pub keep_trailing_newline: bool,
}

impl Default for Syntax {
    fn default() -> Self {
        let pair = |from: &str, to: &str| [from.to_owned(), to.to_owned()];
        Syntax {
            block: pair("{%", "%}"),
            variable: pair("{{", "}}"),
            comment: pair("{#", "#}"),
            trim_blocks: false,
            lstrip_blocks: false,
            keep_trailing_newline: true,
        }
    }
}

/// What fills templates in.
pub struct Engine {
    environment: Environment<'static>,
    syntax: Syntax,
}

impl Engine {
    /// One for a template in `root`, from where it includes files. `now` is the time it is told, in seconds
    /// since 1970, unless it is to be the clock's.
    pub fn new(root: &Path, syntax: Syntax, now: Option<i64>) -> Result<Self> {
        let mut environment = Environment::new();
        let [block, variable, comment] = [&syntax.block, &syntax.variable, &syntax.comment];
        let config = SyntaxConfig::builder()
            .block_delimiters(block[0].clone(), block[1].clone())
            .variable_delimiters(variable[0].clone(), variable[1].clone())
            .comment_delimiters(comment[0].clone(), comment[1].clone())
            .trim_blocks(syntax.trim_blocks)
            .lstrip_blocks(syntax.lstrip_blocks)
            .keep_trailing_newline(syntax.keep_trailing_newline)
            .build()?;
        environment.set_syntax(config);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // What is made is no page: nothing is escaped because of a file's name.
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        // As Python writes them, in which these templates were written.
        environment.set_formatter(|out, state, value| match (value.kind(), value.is_true()) {
            (ValueKind::Bool, true) => Ok(out.write_str("True")?),
            (ValueKind::Bool, false) => Ok(out.write_str("False")?),
            (ValueKind::None, _) => Ok(out.write_str("None")?),
            _ => escape_formatter(out, state, value),
        });
        environment.set_loader(path_loader(root));
        // A template that runs for ever is a mistake: the largest of those that were tried take some 10,000.
        environment.set_fuel(Some(50_000_000));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("to_json", json);
        environment.add_filter("jsonify", pretty_json);
        environment.add_filter("to_nice_json", pretty_json);
        environment.add_filter("to_yaml", yaml);
        environment.add_filter("to_nice_yaml", yaml);
        environment.add_filter("slugify", slug);
        environment.add_filter("center", center);
        environment.add_function("now", move |zone: Option<String>, format: Option<String>| {
            time(now, zone.as_deref(), format.as_deref())
        });
        Ok(Engine { environment, syntax })
    }

    /// Fills a text in.
    pub fn render(&self, name: &str, text: &str, values: &Value) -> Result<String> {
        let text = statements(text, &self.syntax);
        let rendered = self.environment.render_named_str(name, &text, values);
        rendered.map_err(|error| explain(&error))
    }

    /// The variables that a text asks for.
    pub fn variables(&self, name: &str, text: &str) -> Result<Vec<String>> {
        let text = statements(text, &self.syntax);
        let template = self.environment.template_from_named_str(name, &text);
        let template = template.map_err(|error| explain(&error))?;
        let mut all: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        all.sort();
        Ok(all)
    }
}

/// Anything, as the engine knows it.
pub fn value(anything: impl Serialize) -> Value {
    Value::from(Serde(anything))
}

fn explain(error: &minijinja::Error) -> Error {
    let place = match (error.name(), error.line()) {
        (Some(name), Some(line)) => format!(" in '{}', line {line}", bk::sanitize(name)),
        _ => String::new(),
    };
    let detail = error.detail().map(|detail| format!(": {}", bk::sanitize(detail)));
    Error::new(format!("{}{}{place}", error.kind(), detail.unwrap_or_default()))
}

/// Cookiecutter's statement `{% now 'utc', '%Y' %}` as the expression it is, outside of comments and raw blocks.
fn statements(text: &str, syntax: &Syntax) -> String {
    let [open, close] = &syntax.block;
    let (mut out, mut rest) = (String::new(), text);
    let mut raw = false;
    loop {
        let (statement, comment) =
            (rest.find(open.as_str()), rest.find(syntax.comment[0].as_str()));
        if let Some(comment) = comment.filter(|at| !raw && statement.is_none_or(|s| *at < s)) {
            let end = rest[comment..].find(syntax.comment[1].as_str());
            let end = end.map_or(rest.len(), |end| comment + end + syntax.comment[1].len());
            out += &rest[..end];
            rest = &rest[end..];
            continue;
        }
        let Some(start) = statement else { return out + rest };
        let Some(length) = rest[start..].find(close.as_str()) else { return out + rest };
        let (inner, end) =
            (&rest[start + open.len()..start + length], start + length + close.len());
        let words = inner.trim_matches(['-', '+']).trim();
        match words.split_ascii_whitespace().next() {
            Some("raw") => raw = true,
            Some("endraw") => raw = false,
            Some("now") if !raw => {
                let [from, to] = &syntax.variable;
                out += &rest[..start];
                out += &format!("{from} now({}) {to}", words["now".len()..].trim());
                rest = &rest[end..];
                continue;
            }
            _ => {}
        }
        out += &rest[..end];
        rest = &rest[end..];
    }
}

/// What `now` gives: a time as text (strftime(3); without a format as in RFC 3339).
fn time(
    now: Option<i64>,
    zone: Option<&str>,
    format: Option<&str>,
) -> Result<String, minijinja::Error> {
    let wrong = |error: jiff::Error| {
        minijinja::Error::new(ErrorKind::InvalidOperation, format!("no such time: {error}"))
    };
    let zone = match zone {
        None | Some("utc" | "UTC") => TimeZone::UTC,
        Some("local") => TimeZone::system(),
        Some(other) => TimeZone::get(other).map_err(wrong)?,
    };
    let stamp = match now {
        Some(seconds) => Timestamp::from_second(seconds).map_err(wrong)?,
        None => Timestamp::now(),
    };
    let time: Zoned = stamp.to_zoned(zone);
    jiff::fmt::strtime::format(format.unwrap_or("%Y-%m-%dT%H:%M:%S%:z"), &time).map_err(wrong)
}

fn failed(error: impl std::fmt::Display) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string())
}

fn json(value: &Value, _options: Kwargs) -> Result<String, minijinja::Error> {
    serde_json::to_string(value).map_err(failed)
}

fn pretty_json(value: &Value, _options: Kwargs) -> Result<String, minijinja::Error> {
    serde_json::to_string_pretty(value).map_err(failed)
}

fn yaml(value: &Value, _options: Kwargs) -> Result<String, minijinja::Error> {
    serde_yaml::to_string(value).map_err(failed)
}

/// As python-slugify makes of ASCII: lower case, other characters as one `-`.
fn slug(value: &str, options: Kwargs) -> Result<String, minijinja::Error> {
    let separator: Option<String> = options.get("separator")?;
    let words: Vec<String> = value
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    Ok(words.join(separator.as_deref().unwrap_or("-")))
}

/// As Jinja2's: 80 columns unless said.
fn center(value: &str, width: Option<usize>) -> String {
    let missing = width.unwrap_or(80).saturating_sub(value.chars().count());
    // Python puts the odd space where the width is odd too.
    let left = missing / 2 + (missing & width.unwrap_or(80) & 1);
    format!("{}{value}{}", " ".repeat(left), " ".repeat(missing - left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_where_templates_ask_and_nowhere_else() -> Result<()> {
        let engine = Engine::new(Path::new("/nonexistent"), Syntax::default(), Some(86_400 * 365))?;
        for (text, expected) in [
            ("{% now 'utc', '%Y' %}!", "1971!"),
            ("{%- now 'local', '%Y-%m' -%}", "1971-01"),
            ("{# {% now 'utc', '%Y' %} #}x", "x"),
            ("{% raw %}{% now 'utc' %}{% endraw %}", "{% now 'utc' %}"),
            ("{{ now() }}", "1971-01-01T00:00:00+00:00"),
            ("{{ 'a b'|slugify }}{{ 'x'.upper() }}\n", "a-bX\n"),
        ] {
            assert_eq!(engine.render("t", text, &Value::from(()))?, expected, "{text}");
        }
        let missing = engine.render("a/b", "\n{{ x }}", &Value::from(())).unwrap_err();
        assert!(missing.message().ends_with("in 'a/b', line 2"), "{missing}");
        assert!(
            engine
                .render("t", "{% for i in range(99999999) %}{{ i }}{% endfor %}", &Value::from(()))
                .is_err()
        );
        Ok(())
    }
}
