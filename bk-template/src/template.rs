//! Templates: folders with questions and a tree, as copier has them, or cookiecutter.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, Status, display, sanitize};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use minijinja::Value;
use serde_yaml::{Mapping, Value as Yaml};

use crate::engine::{Engine, Syntax, value};
use crate::example::{SUFFIX, escaped};
use crate::question::{Answer, Choice, Kind, Question, check_name};
use crate::tree::{self, Node, Tree};

/// What the files with the questions may have.
const QUESTIONS_LIMIT: u64 = 4 << 20;

/// What copier leaves out of a template without a folder of its own for the tree.
const LEFT_OUT: [&str; 8] =
    ["copier.yaml", "copier.yml", "~*", "*.py[co]", "__pycache__", ".git", ".DS_Store", ".svn"];

/// How deep a tree may be: paths of more than 4,096 bytes cannot be opened (path_resolution(7)).
const DEPTH: usize = 1024;

/// A template.
pub struct Template {
    /// Where it is.
    pub root: PathBuf,
    /// The folder with its tree: what its path is filled in of, or nothing for the template's own.
    folder: String,
    /// What it asks, in its order.
    pub questions: Vec<Question>,
    /// Whose it is.
    pub style: Style,
    syntax: Syntax,
    exclude: Vec<String>,
    skip_if_exists: Vec<String>,
    keep_links: bool,
    /// The commands that it would run, and we do not.
    pub commands: Vec<String>,
}

/// Whose a template is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Style {
    /// Copier's, and our own: files with this suffix are filled in.
    Copier(String),
    /// Cookiecutter's: all files are filled in, but those that these globs match.
    Cookiecutter(Vec<String>),
}

/// Who is asked a question, told the usual answer, and may give another.
pub type Ask<'a> = &'a mut dyn FnMut(&Question, Option<&Value>) -> Result<Option<String>>;

/// The answers to a template's questions.
pub struct Answers {
    named: BTreeMap<String, Value>,
    /// Those that nobody may see.
    secret: Vec<String>,
    /// What the templates are told.
    pub values: Value,
}

impl Template {
    /// Reads a template's questions.
    pub fn open(root: &Path) -> Result<Self> {
        let open = || {
            for name in ["copier.yml", "copier.yaml"] {
                let path = root.join(name);
                if path.is_file() {
                    let context = || format!("cannot read '{}'", display(&path));
                    return Self::of_copier(root, &path).context(context);
                }
            }
            let path = root.join("cookiecutter.json");
            if path.is_file() {
                let context = || format!("cannot read '{}'", display(&path));
                return Self::of_cookiecutter(root, &path).context(context);
            }
            let what = if root.is_dir() {
                "neither copier.yml nor cookiecutter.json is there"
            } else {
                "no such folder"
            };
            Err(Error::new(what)
                .hint("'bk-template create EXAMPLE -o TEMPLATE -r VALUE=name' makes a template"))
        };
        open().context(|| format!("cannot use the template '{}'", display(root)))
    }

    fn of_copier(root: &Path, path: &Path) -> Result<Self> {
        let bytes = bk::file::read(path, QUESTIONS_LIMIT)?;
        let all: Yaml = serde_yaml::from_slice(&bytes)?;
        let all = match all {
            Yaml::Mapping(all) => all,
            Yaml::Null => Mapping::new(),
            _ => return Err(Error::new("not a mapping of questions")),
        };
        let mut template = Template {
            root: root.to_owned(),
            folder: String::new(),
            questions: Vec::new(),
            style: Style::Copier(SUFFIX.to_owned()),
            syntax: Syntax::default(),
            exclude: LEFT_OUT.map(str::to_owned).into(),
            skip_if_exists: Vec::new(),
            keep_links: false,
            commands: Vec::new(),
        };
        let mut secret = Vec::new();
        for (name, about) in &all {
            let name = name.as_str().ok_or_else(|| Error::new("a question's name is no text"))?;
            let context = || format!("in '{}'", sanitize(name));
            let Some(setting) = name.strip_prefix('_') else {
                check_name(name)?;
                template.questions.push(Question::parse(name, about).context(context)?);
                continue;
            };
            let texts = || texts(about).context(context);
            match setting {
                "subdirectory" => {
                    let text =
                        about.as_str().ok_or_else(|| Error::new("not text").context(context()))?;
                    if !matches!(text, "" | ".") {
                        template.folder = text.trim_end_matches('/').to_owned();
                        if !all.contains_key("_exclude") {
                            template.exclude.clear();
                        }
                    }
                }
                "templates_suffix" => {
                    template.style = Style::Copier(about.as_str().unwrap_or_default().to_owned());
                }
                "exclude" => template.exclude = texts()?,
                "skip_if_exists" => template.skip_if_exists = texts()?,
                "preserve_symlinks" => template.keep_links = about.as_bool().unwrap_or_default(),
                "secret_questions" => secret = texts()?,
                "envops" => template.syntax = syntax(about).context(context)?,
                "tasks" | "migrations" => template.commands.push(setting.to_owned()),
                "jinja_extensions" => {
                    for extension in texts()? {
                        if !KNOWN_EXTENSIONS.iter().any(|known| extension.ends_with(known)) {
                            return Err(Error::new(format!(
                                "the extension '{}' is Python, which is not run",
                                sanitize(&extension)
                            ))
                            .context(context()));
                        }
                    }
                }
                // Words for people, and what only copier's own update needs.
                _ => {}
            }
        }
        for question in &mut template.questions {
            question.secret |= secret.contains(&question.name);
        }
        Ok(template)
    }

    fn of_cookiecutter(root: &Path, path: &Path) -> Result<Self> {
        let bytes = bk::file::read(path, QUESTIONS_LIMIT)?;
        // In the order that is written: later answers follow from earlier ones.
        let all: Mapping = serde_json::from_slice(&bytes)?;
        let mut folders = Vec::new();
        for entry in root.read_dir().context(|| format!("cannot read '{}'", display(root)))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains("{{") && name.contains("cookiecutter") && entry.path().is_dir() {
                folders.push(name);
            }
        }
        let [tree] = folders.as_slice() else {
            return Err(Error::new(format!(
                "{} folders have 'cookiecutter' between braces in their names, not one",
                folders.len()
            )));
        };
        let mut raw = Vec::new();
        let mut questions = Vec::new();
        let prompts = all.get("__prompts__").and_then(Yaml::as_mapping);
        for (name, value) in &all {
            let name = name.as_str().unwrap_or_default();
            match name {
                "_copy_without_render" => raw = texts(value)?,
                "_extensions" => {
                    for extension in texts(value)? {
                        if !KNOWN_EXTENSIONS.iter().any(|known| extension.ends_with(known)) {
                            let extension = sanitize(&extension);
                            return Err(Error::new(format!(
                                "the extension '{extension}' is Python, which is not run"
                            )));
                        }
                    }
                }
                "__prompts__" => {}
                _ => {
                    check_name(name.trim_start_matches('_'))?;
                    let mut question = cookiecutters(name, value)?;
                    question.help = prompts.and_then(|all| match all.get(name)? {
                        Yaml::String(text) => Some(text.clone()),
                        other => Some(other.get("__prompt__")?.as_str()?.to_owned()),
                    });
                    questions.push(question);
                }
            }
        }
        let hooks = ["pre_prompt", "pre_gen_project", "post_gen_project"];
        let hook = |name: &&str| {
            ["py", "sh"].iter().any(|end| root.join(format!("hooks/{name}.{end}")).exists())
        };
        Ok(Template {
            root: root.to_owned(),
            folder: escaped(tree),
            questions,
            style: Style::Cookiecutter(raw),
            syntax: Syntax::default(),
            exclude: Vec::new(),
            skip_if_exists: Vec::new(),
            keep_links: true,
            commands: hooks.into_iter().filter(hook).map(|hook| format!("hooks/{hook}")).collect(),
        })
    }

    /// The folder with its tree.
    fn tree(&self, engine: &Engine, answers: &Answers) -> Result<PathBuf> {
        if self.folder.is_empty() {
            return Ok(self.root.clone());
        }
        let folder = engine.render("_subdirectory", &self.folder, &answers.values);
        let folder = folder.and_then(|folder| tree::check_path(&folder));
        Ok(self.root.join(folder.context(|| "cannot find the folder of the tree".into())?))
    }

    /// What fills it in.
    pub fn engine(&self, now: Option<i64>) -> Result<Engine> {
        Engine::new(&self.root, self.syntax.clone(), now)
    }

    /// Whether a file that is there already stays, by the template's word.
    pub fn keeps(&self, engine: &Engine, answers: &Answers) -> Result<Gitignore> {
        globs(&self.skip_if_exists, engine, &answers.values)
    }

    /// Finds the answers to all questions: those given, then `ask`'s, then the usual ones.
    pub fn answer(
        &self,
        engine: &Engine,
        given: &[Answer],
        data: &Mapping,
        ask: Option<Ask<'_>>,
    ) -> Result<Answers> {
        let names: Vec<&str> = self.questions.iter().map(|q| q.name.as_str()).collect();
        let unknown = given.iter().map(|answer| answer.name.as_str());
        let unknown =
            unknown.chain(data.keys().filter_map(Yaml::as_str).filter(|k| !k.starts_with('_')));
        for name in unknown {
            if !names.contains(&name) {
                let near = bk::nearest(name, names.iter().copied());
                return Err(Error::new(format!("the template asks for no '{}'", sanitize(name)))
                    .hint(match near.as_slice() {
                        [] => format!("it asks for {}", names.join(", ")),
                        near => format!("it asks for {}", near.join(", ")),
                    })
                    .status(Status::Usage));
            }
        }
        let mut ask = ask;
        let mut answers = Answers {
            named: BTreeMap::new(),
            secret: Vec::new(),
            values: self.values(&BTreeMap::new()),
        };
        for question in &self.questions {
            let name = &question.name;
            let context = || format!("cannot answer '{name}'");
            let values = answers.values.clone();
            let asked = question.is_asked(engine, &values).context(context)?;
            // A validator looks at the answer under its name.
            let check = |answer: &Value, named: &BTreeMap<String, Value>| {
                let mut named = named.clone();
                named.insert(name.clone(), answer.clone());
                question.check(answer, engine, &self.values(&named))
            };
            let told = given.iter().rev().find(|answer| answer.name == *name);
            let answer = if let Some(told) = told {
                Some(question.read(&told.text).context(context)?)
            } else if let Some(told) = data.get(name.as_str()) {
                Some(value(told))
            } else {
                let usual = question.usual(engine, &values).context(context)?;
                match &mut ask {
                    Some(ask) if asked => loop {
                        let Some(text) = ask(question, usual.as_ref())? else { break usual };
                        let read = question.read(&text);
                        match read.and_then(|a| check(&a, &answers.named).map(|()| a)) {
                            Ok(answer) => break Some(answer),
                            Err(error) => say(&format!("  {error}\n"))?,
                        }
                    },
                    _ => usual,
                }
            };
            let answer = match answer {
                Some(answer) => answer,
                None if asked => {
                    return Err(Error::new("it has no usual answer")
                        .context(context())
                        .hint(format!("give one with -D {name}=VALUE"))
                        .status(Status::Usage));
                }
                None => Value::from(()),
            };
            if asked {
                check(&answer, &answers.named).context(context)?;
            }
            if question.secret {
                answers.secret.push(name.clone());
            }
            answers.named.insert(name.clone(), answer);
            answers.values = self.values(&answers.named);
        }
        Ok(answers)
    }

    /// What templates are told of answers.
    fn values(&self, named: &BTreeMap<String, Value>) -> Value {
        match self.style {
            Style::Cookiecutter(_) => value(BTreeMap::from([("cookiecutter", named)])),
            Style::Copier(_) => {
                let mut all = named.clone();
                // As in copier's documentation, "Context variables".
                let shown: BTreeMap<&String, &Value> =
                    named.iter().filter(|(name, _)| !self.is_secret(name)).collect();
                all.insert("_copier_answers".into(), value(shown));
                let conf = BTreeMap::from([
                    ("answers_file", ".copier-answers.yml"),
                    ("os", "linux"),
                    ("sep", "/"),
                ]);
                all.insert("_copier_conf".into(), value(conf));
                value(all)
            }
        }
    }

    fn is_secret(&self, name: &str) -> bool {
        self.questions.iter().any(|question| question.secret && question.name == name)
    }

    /// Makes what the template makes of these answers.
    pub fn make(&self, engine: &Engine, answers: &Answers) -> Result<Tree> {
        let mut made = Tree::new();
        let maker = Maker {
            template: self,
            root: self.tree(engine, answers)?,
            engine,
            values: &answers.values,
            exclude: globs(&self.exclude, engine, &answers.values)?,
            raw: match &self.style {
                Style::Cookiecutter(raw) => globs(raw, engine, &answers.values)?,
                Style::Copier(_) => Gitignore::empty(),
            },
        };
        maker
            .folder(Path::new(""), Path::new(""), DEPTH, &mut made)
            .context(|| format!("cannot fill in '{}'", display(&self.root)))?;
        Ok(made)
    }

    /// The variables that the files and names of its tree ask for, each with a file that does.
    pub fn asked_for(
        &self,
        engine: &Engine,
        answers: &Answers,
    ) -> Result<BTreeMap<String, PathBuf>> {
        let mut all = BTreeMap::new();
        let root = self.tree(engine, answers)?;
        self.look(engine, (&root, Path::new("")), DEPTH, &mut all)?;
        Ok(all)
    }

    fn look(
        &self,
        engine: &Engine,
        (root, below): (&Path, &Path),
        depth: usize,
        all: &mut BTreeMap<String, PathBuf>,
    ) -> Result<()> {
        for name in names(&root.join(below))? {
            let path = below.join(&name);
            let mut note = |text: &str| -> Result<()> {
                for variable in engine.variables(&display(&path), text)? {
                    all.entry(variable).or_insert_with(|| path.clone());
                }
                Ok(())
            };
            note(&name)?;
            match tree::read(&root.join(&path))? {
                Node::Folder if depth > 0 => self.look(engine, (root, &path), depth - 1, all)?,
                Node::File { bytes, .. }
                    if self.is_filled_in(&name, &path, &Gitignore::empty()) =>
                {
                    if let Ok(text) = std::str::from_utf8(&bytes) {
                        note(text)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_filled_in(&self, name: &str, path: &Path, raw: &Gitignore) -> bool {
        match &self.style {
            Style::Copier(suffix) => name.ends_with(suffix.as_str()),
            Style::Cookiecutter(_) => !raw.matched_path_or_any_parents(path, false).is_ignore(),
        }
    }
}

/// Extensions of Jinja2's that are part of the engine, or of cookiecutter's own filters that are.
const KNOWN_EXTENSIONS: [&str; 6] = [
    "ext.do",
    "ext.loopcontrols",
    "JsonifyExtension",
    "SlugifyExtension",
    "TimeExtension",
    "ext.i18n",
];

/// Makes the tree of a template.
struct Maker<'a> {
    template: &'a Template,
    /// The folder with the tree.
    root: PathBuf,
    engine: &'a Engine,
    values: &'a Value,
    exclude: Gitignore,
    raw: Gitignore,
}

impl Maker<'_> {
    /// Makes what is in a folder of the template, as a folder of the project.
    fn folder(&self, below: &Path, to: &Path, depth: usize, made: &mut Tree) -> Result<()> {
        if depth == 0 {
            return Err(Error::new(format!("'{}' is too deep", display(below))));
        }
        let all = names(&self.root.join(below))?;
        if all.is_empty() && !to.as_os_str().is_empty() {
            made.insert(to.to_owned(), Node::Folder);
        }
        for name in all {
            let from = below.join(&name);
            let mut node = self.read(&from)?;
            let mut new = self.engine.render(&display(&from), &name, self.values)?;
            let filled_in = matches!(node, Node::File { .. })
                && self.template.is_filled_in(&name, &from, &self.raw);
            if let Style::Copier(suffix) = &self.template.style
                && filled_in
            {
                new.truncate(new.len().saturating_sub(suffix.len()));
            }
            // What an answer leaves without a name is not wanted.
            if new.is_empty() || new.split('/').any(str::is_empty) {
                continue;
            }
            let path = to.join(tree::check_path(&new)?);
            let folder = matches!(node, Node::Folder);
            if self.exclude.matched_path_or_any_parents(&path, folder).is_ignore() {
                continue;
            }
            if folder {
                self.folder(&from, &path, depth - 1, made)?;
                continue;
            }
            if let Node::File { bytes, .. } = &mut node
                && filled_in
                && let Ok(text) = std::str::from_utf8(bytes)
            {
                *bytes = self.engine.render(&display(&from), text, self.values)?.into_bytes();
            }
            if made.insert(path.clone(), node).is_some() {
                return Err(Error::new(format!("two files of it become '{}'", display(&path))));
            }
        }
        Ok(())
    }

    /// Reads what is at a path of the template; what a link leads to in its place, if links do not stay.
    fn read(&self, path: &Path) -> Result<Node> {
        let at = self.root.join(path);
        let node = tree::read(&at)?;
        let Node::Link(to) = &node else { return Ok(node) };
        if !tree::stays(path, to) {
            return Err(Error::new(format!(
                "the link '{}' leads to '{}', out of it",
                display(path),
                display(to)
            )));
        }
        if self.template.keep_links {
            return Ok(node);
        }
        let real = at.canonicalize().context(|| format!("cannot follow '{}'", display(path)))?;
        if !real.starts_with(self.root.canonicalize()?) {
            return Err(Error::new(format!("the link '{}' leads out of it", display(path))));
        }
        tree::read(&real)
    }
}

/// The names in a folder, in order.
fn names(dir: &Path) -> Result<Vec<String>> {
    let failed = || format!("cannot read the folder '{}'", display(dir));
    let mut all = Vec::new();
    for entry in dir.read_dir().context(failed)? {
        let name = entry.context(failed)?.file_name();
        all.push(name.into_string().map_err(|name| {
            Error::new(format!("'{}' is no UTF-8, as names in a template are", display(&name)))
        })?);
    }
    all.sort();
    Ok(all)
}

/// A text, or a list of them.
fn texts(value: &Yaml) -> Result<Vec<String>> {
    let text =
        |value: &Yaml| value.as_str().map(str::to_owned).ok_or_else(|| Error::new("not text"));
    match value {
        Yaml::Sequence(all) => all.iter().map(text).collect(),
        Yaml::Null => Ok(Vec::new()),
        other => Ok(vec![text(other)?]),
    }
}

/// Globs as .gitignore has them, filled in.
fn globs(all: &[String], engine: &Engine, values: &Value) -> Result<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    for glob in all {
        let glob = engine.render("a glob", glob, values)?;
        builder.add_line(None, &glob).context(|| format!("'{}' is no glob", sanitize(&glob)))?;
    }
    Ok(builder.build()?)
}

/// Copier's `_envops`: the options of a Jinja2 environment.
fn syntax(about: &Yaml) -> Result<Syntax> {
    let mut syntax = Syntax::default();
    let Yaml::Mapping(all) = about else { return Err(Error::new("not a mapping")) };
    for (name, value) in all {
        let name = name.as_str().unwrap_or_default();
        let text = || {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| Error::new(format!("'{name}' is no text")))
        };
        let flag =
            || value.as_bool().ok_or_else(|| Error::new(format!("'{name}' is neither yes nor no")));
        match name {
            "block_start_string" => syntax.block[0] = text()?,
            "block_end_string" => syntax.block[1] = text()?,
            "variable_start_string" => syntax.variable[0] = text()?,
            "variable_end_string" => syntax.variable[1] = text()?,
            "comment_start_string" => syntax.comment[0] = text()?,
            "comment_end_string" => syntax.comment[1] = text()?,
            "trim_blocks" => syntax.trim_blocks = flag()?,
            "lstrip_blocks" => syntax.lstrip_blocks = flag()?,
            "keep_trailing_newline" => syntax.keep_trailing_newline = flag()?,
            _ => return Err(Error::new(format!("'{}' is not known", sanitize(name)))),
        }
    }
    Ok(syntax)
}

/// A question of cookiecutter's: a text, a list of choices, or anything; of those with `_` nobody is asked.
fn cookiecutters(name: &str, value: &Yaml) -> Result<Question> {
    // Numbers are texts there.
    let text = |value: &Yaml| match value {
        Yaml::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    };
    let mut question = match value {
        Yaml::Bool(_) => Question::parse(name, value)?,
        Yaml::Sequence(all) if !name.starts_with('_') => {
            let first =
                all.first().ok_or_else(|| Error::new(format!("'{name}' has no choices")))?;
            let choice = |value: &Yaml| Choice { label: text(value), value: text(value).into() };
            let choices = all.iter().map(choice).collect();
            Question { choices, ..Question::text(name, text(first).into()) }
        }
        Yaml::Mapping(_) | Yaml::Sequence(_) => {
            Question { kind: Kind::Json, ..Question::text(name, value.clone()) }
        }
        Yaml::Null => Question::text(name, String::new().into()),
        other => Question::text(name, text(other).into()),
    };
    if name.starts_with('_') {
        question.when = Some(Yaml::Bool(false));
        // One `_` alone: as it is. Two: filled in.
        if !name.starts_with("__")
            && let Some(Yaml::String(text)) = &question.default
        {
            question.default = Some(Yaml::String(escaped(text)));
        }
    }
    Ok(question)
}

/// Asks people, on the terminal.
pub fn ask(question: &Question, usual: Option<&Value>) -> Result<Option<String>> {
    let mut text = question.help.clone().unwrap_or_else(|| question.name.clone());
    for choice in &question.choices {
        text += &format!("\n  {}", choice.label);
    }
    match usual {
        Some(usual) if !question.secret => text += &format!(" [{usual}]"),
        _ => {}
    }
    say(&format!("{}: ", sanitize(&text).replace("\\n", "\n")))?;
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(Error::new("the answers ended"));
    }
    let line = line.trim_end_matches(['\n', '\r']);
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

/// Whether there is somebody to ask.
pub fn somebody_is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn say(text: &str) -> Result<()> {
    let mut stderr = std::io::stderr().lock();
    stderr.write_all(text.as_bytes())?;
    Ok(stderr.flush()?)
}
