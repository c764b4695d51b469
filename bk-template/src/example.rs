//! What an example is, and how it becomes a template: values in it become variables, in all the
//! spellings of a name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bk::{Context, Error, Result, Status, display, sanitize};
use ignore::WalkBuilder;
use ignore::overrides::OverrideBuilder;

use crate::question::check_name;
use crate::spelling::{self, Style};
use crate::tree::{self, Node, Tree};

/// What the names of files that are filled in end with, here and in copier.
pub const SUFFIX: &str = ".jinja";

/// `VALUE=name`: a value of the example that becomes a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// What is in the example.
    pub value: String,
    /// The variable.
    pub name: String,
}

impl FromStr for Replacement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (value, name) =
            text.rsplit_once('=').filter(|(value, _)| !value.is_empty()).ok_or_else(|| {
                Error::new(format!("'{}' replaces nothing", sanitize(text)))
                    .hint("write it as VALUE=NAME: what is in the example, and the variable for it")
                    .status(Status::Usage)
            })?;
        check_name(name)?;
        Ok(Replacement { value: value.to_owned(), name: name.to_owned() })
    }
}

/// Reads an example. Of what git ignores there, or one of the globs `exclude` matches, nothing is read.
pub fn read(dir: &Path, exclude: &[String], all: bool) -> Result<Tree> {
    let failed = || format!("cannot read the example '{}'", display(dir));
    if !dir.is_dir() {
        return Err(Error::new("no such folder").context(failed()));
    }
    let mut without = OverrideBuilder::new(dir);
    for glob in exclude {
        without.add(&format!("!{glob}")).context(|| format!("'{}' is no glob", sanitize(glob)))?;
    }
    without.add("!/.git")?;
    let walk = WalkBuilder::new(dir)
        .overrides(without.build()?)
        .hidden(false)
        .ignore(false)
        .git_ignore(!all)
        .git_exclude(!all)
        .git_global(false)
        .parents(false)
        .require_git(false)
        .follow_links(false)
        .build();
    let mut tree = Tree::new();
    for entry in walk {
        let entry = entry.context(failed)?;
        let path = entry.path().strip_prefix(dir).unwrap_or(entry.path());
        if path.as_os_str().is_empty() {
            continue;
        }
        let node = tree::read(entry.path())?;
        if let Node::Link(to) = &node
            && !tree::stays(path, to)
        {
            let (path, to) = (display(path), display(to));
            return Err(Error::new(format!("the link '{path}' leads to '{to}', out of it"))
                .context(failed())
                .hint(format!("leave it out with --exclude '/{path}'")));
        }
        tree.insert(path.to_owned(), node);
    }
    // A folder with something in it is there because of that.
    let folders: BTreeSet<PathBuf> =
        tree.keys().filter_map(|p| p.parent()).map(Path::to_owned).collect();
    tree.retain(|path, _| !folders.contains(path));
    Ok(tree)
}

/// A spelling of a value, and the expression that stands for it.
#[derive(Clone, Debug)]
struct Spelling {
    text: String,
    variable: String,
}

/// A variable that spells the value of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Its name.
    pub name: String,
    /// What it is.
    pub expression: String,
}

/// A template of an example.
#[derive(Clone, Debug)]
pub struct Generalised {
    /// Its tree.
    pub tree: Tree,
    /// How often each value was found, in the order they were given.
    pub found: Vec<usize>,
    /// The spellings that were found beside those given.
    pub derived: Vec<Derived>,
    /// The files that are no text and have a value in them all the same.
    pub binary: Vec<PathBuf>,
    /// How often a value was found as a part of a word, and left.
    pub inside: usize,
}

/// Puts variables in the place of values.
pub fn generalise(example: &Tree, replacements: &[Replacement]) -> Result<Generalised> {
    let spellings = spellings(replacements)?;
    let mut scan = Scan { spellings: &spellings, used: BTreeMap::new(), inside: 0 };
    let (mut tree, mut binary) = (Tree::new(), Vec::new());
    for (path, node) in example {
        let mut to = match path.to_str() {
            Some(text) => PathBuf::from(scan.text(text).0),
            None => path.clone(),
        };
        let mut node = node.clone();
        if let Node::File { bytes, .. } = &mut node {
            let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
            let (template, found) = match text {
                Some(text) => scan.text(text),
                None => {
                    if spellings.iter().any(|s| contains(bytes, s.text.as_bytes())) {
                        binary.push(path.clone());
                    }
                    (String::new(), false)
                }
            };
            let suffixed = path.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes());
            if found || suffixed {
                to.as_mut_os_string().push(SUFFIX);
                if text.is_some() {
                    *bytes = template.into_bytes();
                } else {
                    let path = display(path);
                    return Err(Error::new(format!(
                        "'{path}' is no text, and its name ends with {SUFFIX}"
                    ))
                    .hint(format!("leave it out with --exclude '/{path}'")));
                }
            }
        }
        if tree.insert(to.clone(), node).is_some() {
            return Err(Error::new(format!("two files of the example become '{}'", display(to))));
        }
    }
    let count = |replacement: &Replacement| {
        let mine = spellings.iter().filter(|s| {
            s.variable == replacement.name
                || s.variable.starts_with(&format!("{}_", replacement.name))
        });
        mine.filter_map(|s| scan.used.get(&s.variable)).sum()
    };
    let found = replacements.iter().map(count).collect();
    let derive = |name: &String| {
        let own = replacements.iter().any(|r| r.name == *name);
        let (base, style) = replacements.iter().filter(|_| !own).find_map(|r| {
            let suffix = name.strip_prefix(&r.name)?.strip_prefix('_')?;
            Some((r, Style::ALL.into_iter().find(|style| style.suffix() == suffix)?))
        })?;
        Some(Derived { name: name.clone(), expression: style.expression(&base.name) })
    };
    let derived = scan.used.keys().filter_map(derive).collect();
    Ok(Generalised { tree, found, derived, binary, inside: scan.inside })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// All spellings of the values, the longest first.
fn spellings(replacements: &[Replacement]) -> Result<Vec<Spelling>> {
    let mut all: Vec<Spelling> = Vec::new();
    for Replacement { value, name } in replacements {
        if all.iter().any(|s| s.variable == *name) {
            return Err(Error::new(format!("'{name}' has two values")).status(Status::Usage));
        }
        if let Some(other) = all.iter().find(|s| s.text == *value) {
            let other = &other.variable;
            return Err(Error::new(format!(
                "'{}' is the value of both '{other}' and '{name}'",
                sanitize(value)
            ))
            .status(Status::Usage));
        }
        all.push(Spelling { text: value.clone(), variable: name.clone() });
    }
    for Replacement { value, name } in replacements {
        let Some(words) = spelling::words(value) else { continue };
        for style in Style::ALL {
            let (text, variable) = (style.spell(&words), format!("{name}_{}", style.suffix()));
            if all.iter().any(|s| s.text == text) {
                continue;
            }
            if all.iter().any(|s| s.variable == variable) {
                return Err(Error::new(format!(
                    "'{variable}' would be the variable of a spelling of '{name}' too"
                ))
                .hint("call one of the two otherwise")
                .status(Status::Usage));
            }
            all.push(Spelling { text, variable });
        }
    }
    all.sort_by_key(|s| std::cmp::Reverse(s.text.len()));
    Ok(all)
}

/// Goes through texts.
struct Scan<'a> {
    spellings: &'a [Spelling],
    /// How often each variable was used.
    used: BTreeMap<String, usize>,
    inside: usize,
}

impl Scan<'_> {
    /// The template of a text, and whether there is a variable in it.
    fn text(&mut self, text: &str) -> (String, bool) {
        let (mut out, mut found, mut at, mut plain) = (String::new(), false, 0, 0);
        while at < text.len() {
            let rest = &text[at..];
            let here = self.spellings.iter().find(|s| rest.starts_with(&s.text));
            let Some(spelling) = here else {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            };
            let end = at + spelling.text.len();
            if is_part_of_a_word(&text[..at], &spelling.text, &text[end..]) {
                self.inside += 1;
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
            escape(&text[plain..at], true, &mut out);
            out += &format!("{{{{ {} }}}}", spelling.variable);
            *self.used.entry(spelling.variable.clone()).or_default() += 1;
            (found, at, plain) = (true, end, end);
        }
        escape(&text[plain..], false, &mut out);
        (out, found)
    }
}

/// Whether what was found is but a part of another word: `demo` in `demonstration`, not in `test_demo`, nor
/// `Demo` in `theDemoError`.
fn is_part_of_a_word(before: &str, found: &str, after: &str) -> bool {
    let joined = |left: Option<char>, right: Option<char>| match (left, right) {
        (Some(left), Some(right)) if left.is_alphanumeric() && right.is_alphanumeric() => {
            // A hump begins a word.
            !(right.is_uppercase() && (left.is_lowercase() || left.is_numeric()))
        }
        _ => false,
    };
    joined(before.chars().next_back(), found.chars().next())
        || joined(found.chars().next_back(), after.chars().next())
}

/// A text as a template that gives it back.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    escape(text, false, &mut out);
    out
}

/// Writes a text so that the engine gives it back.
fn escape(text: &str, variable_follows: bool, out: &mut String) {
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let opens = letter == '{'
            && match letters.peek() {
                Some(next) => ['{', '%', '#'].contains(next),
                None => variable_follows,
            };
        match opens {
            true => *out += "{{ '{' }}",
            false => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(files: &[(&str, &str)]) -> Tree {
        let file = |text: &str| Node::File { bytes: text.into(), executable: false };
        files.iter().map(|(path, text)| (path.into(), file(text))).collect()
    }

    #[test]
    fn spellings_become_variables_and_parts_of_words_stay() -> Result<()> {
        let tree = example(&[
            (
                "my_demo/__init__.py",
                "class MyDemoError: pass  # my-demo, MY_DEMO, mydemonstration\n",
            ),
            ("notes.txt", "{{ x }} {% y %} {# z #} {"),
            ("braces.txt", "{my-demo} {{my-demo}}"),
        ]);
        let made = generalise(&tree, &["my-demo=name".parse()?])?;
        let text = |path: &str| match made.tree.get(Path::new(path)) {
            Some(Node::File { bytes, .. }) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(
            text("{{ name_snake }}/__init__.py.jinja"),
            "class {{ name_pascal }}Error: pass  # {{ name }}, {{ name_upper_snake }}, mydemonstration\n"
        );
        // What has no variable is not filled in, and stays as it is.
        assert_eq!(text("notes.txt"), "{{ x }} {% y %} {# z #} {");
        assert_eq!(text("braces.txt.jinja"), "{{ '{' }}{{ name }}} {{ '{' }}{{ '{' }}{{ name }}}}");
        assert_eq!((made.found, made.inside), (vec![6], 1));
        Ok(())
    }

    #[test]
    fn values_that_say_nothing_clear_are_refused() {
        for bad in ["x", "=name", "x=", "x=1a", "x=a-b"] {
            assert!(bad.parse::<Replacement>().is_err(), "{bad}");
        }
        let parse = |texts: &[&str]| -> Result<Vec<Replacement>> {
            texts.iter().map(|text| text.parse()).collect()
        };
        for bad in [&["a=x", "b=x"][..], &["a=x", "a=y"], &["a-b=x", "c=x_snake"]] {
            assert!(parse(bad).and_then(|r| spellings(&r)).is_err(), "{bad:?}");
        }
    }
}
