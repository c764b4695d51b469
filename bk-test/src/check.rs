//! Whether an index would take a distribution, and show its description, as `twine check --strict` says.

use bk::{Cmd, Console};

use crate::environment::{Environments, Index, Recipe};
use crate::python::Python;

/// Renders a description as Python's index does.
const RENDER: &str = "import io, sys
from readme_renderer.rst import render
said = io.StringIO()
if render(sys.stdin.read(), stream=said) is None:
    sys.exit('; '.join(said.getvalue().split('\\n')[:3]) or 'it cannot be rendered')";

/// Renders reStructuredText, for which docutils is needed.
pub struct Renderer<'a> {
    /// The interpreter.
    pub python: &'a Python,
    /// Where its environment is.
    pub environments: &'a Environments<'a>,
    /// Where docutils comes from.
    pub index: &'a Index,
    /// Where it is told.
    pub console: &'a Console,
}

/// What is wrong with a METADATA or PKG-INFO; nothing if an index takes it.
pub fn check(metadata: &str, renderer: &Renderer) -> Vec<String> {
    let (head, body) = metadata.split_once("\n\n").unwrap_or((metadata, ""));
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    };
    let mut wrong = Vec::new();
    for name in ["Metadata-Version", "Name", "Version"] {
        if field(name).is_none() {
            wrong.push(format!("its metadata has no {name}"));
        }
    }
    let description = match field("Description") {
        Some(_) => folded(head),
        None => body.to_owned(),
    };
    if description.trim().is_empty() || description.trim() == "UNKNOWN" {
        wrong.push("it has no description ('readme' in pyproject.toml)".into());
        return wrong;
    }
    let kind = field("Description-Content-Type");
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase());
    if kind.is_none() {
        wrong.push(
            "its description has no content type, so it is taken for reStructuredText".into(),
        );
    }
    // Markdown and plain text can always be shown; all else is taken for reStructuredText.
    if matches!(kind.as_deref(), Some("text/markdown" | "text/plain")) {
        return wrong;
    }
    let recipe = Recipe {
        requirements: vec!["readme_renderer".into()],
        index: renderer.index.clone(),
        ..Recipe::default()
    };
    match renderer.environments.get(renderer.python, &recipe) {
        Err(error) => renderer.console.warn(&format!("the description was not rendered: {error}")),
        Ok(environment) => {
            let render = Cmd::new(&environment.python, renderer.console)
                .args(["-I", "-c", RENDER])
                .env("PYTHONIOENCODING", "utf-8")
                .output_with(description.as_bytes());
            if let Err(error) = render {
                let why = error.causes().first().map_or(error.message(), String::as_str);
                wrong.push(format!("its description cannot be shown: {why}"));
            }
        }
    }
    wrong
}

/// A description among the fields, whose lines are indented.
fn folded(head: &str) -> String {
    let mut lines = head.lines().skip_while(|line| {
        !line.split(':').next().unwrap_or_default().eq_ignore_ascii_case("Description")
    });
    let first =
        lines.next().and_then(|line| line.split_once(':')).map_or("", |(_, rest)| rest.trim());
    let rest = lines.take_while(|line| line.starts_with(char::is_whitespace));
    let rest = rest.map(|line| line.trim_start_matches([' ', '\t']).trim_start_matches('|'));
    std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n")
}
