//! `bk-template create`

use std::borrow::Cow;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bk::file::TempDir;
use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display, sanitize};
use clap::Args;
use serde::Serialize;
use serde_yaml::{Mapping, Value as Yaml};

use crate::example::{self, Generalised, Replacement, escaped};
use crate::template::Template;
use crate::tree::{self, Node, There, Tree};

/// The folder in a template with its tree.
const TREE: &str = "template";

/// Make a template of an example
///
/// Each VALUE becomes a variable, in names as in files, and in all the ways a name is spelled: with
/// -r my-tool=name also my_tool, MyTool, MY_TOOL and so on, which follow from the answer. Parts of other
/// words stay. What git ignores is left out. The template is filled in with the values it was made from
/// before it is written: it gives the example back, byte for byte, or there is none.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-template create libfoo -o templates/library -r foo=name -r 'Jane Doe=author'
      Make a template of a project; copier can fill it in too.
  bk-template new templates/library libbar -D name=bar
      Make another project of it.

Exit status:
  0   made
  1   the example cannot be read, or would not be given back
  2   the command line is wrong
")]
pub struct Create {
    /// The example
    #[arg(value_name = "EXAMPLE_DIR")]
    example: PathBuf,
    /// The template to make
    #[arg(short, long, value_name = "TEMPLATE")]
    output: PathBuf,
    /// What becomes a variable
    #[arg(short, long = "replace", value_name = "VALUE=NAME", required = true)]
    replace: Vec<Replacement>,
    /// What to leave out, as in .gitignore
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Take also what git ignores
    #[arg(long)]
    all: bool,
    /// Say what would be made, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A template that was made.
#[derive(Serialize)]
#[serde(tag = "type", rename = "template")]
struct Made {
    #[serde(serialize_with = "bk::record::path")]
    path: PathBuf,
    variables: Vec<String>,
    /// How many files it has, and how many places in them are filled in.
    files: usize,
    places: usize,
}

impl Record for Made {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_os_str().as_bytes().into()
    }
}

impl Create {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        if self.output.symlink_metadata().is_ok() {
            return Err(Error::new(format!("'{}' is there already", display(&self.output)))
                .hint("say another folder with -o, or remove it first"));
        }
        let example = example::read(&self.example, &self.exclude, self.all)?;
        if example.is_empty() {
            return Err(Error::new(format!("'{}' has no files", display(&self.example))));
        }
        let made = example::generalise(&example, &self.replace)?;
        let found = self.replace.iter().zip(&made.found);
        if let Some((missing, _)) = found.into_iter().find(|(_, found)| **found == 0) {
            let value = sanitize(&missing.value);
            return Err(Error::new(format!("'{value}' is nowhere in the example"))
                .hint("values are found as they are written, and not as parts of other words"));
        }
        for path in &made.binary {
            session
                .console
                .warn(&format!("'{}' is no text, and keeps the values in it", display(path)));
        }
        if made.inside > 0 {
            session.console.info(&format!("{} parts of other words stay as they are", made.inside));
        }
        let template = template(&made, &self.replace)?;
        let parent = match self.output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // What is only said is tried out all the same, where there is a place for it.
        let there = parent.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
        if !self.dry_run {
            bk::file::create_dir(parent)?;
        }
        let scratch = TempDir::new_in(if self.dry_run { there } else { parent })?;
        let new = scratch.path().join("template");
        tree::write(&template, &new, There::Refuse, &|_| false, false)?;
        prove(&new, &example)?;
        if !self.dry_run {
            fs::rename(&new, &self.output)
                .context(|| format!("cannot write '{}'", display(&self.output)))?;
        }
        session.out.record(&Made {
            path: self.output,
            variables: self.replace.into_iter().map(|replacement| replacement.name).collect(),
            files: made.tree.len(),
            places: made.found.iter().sum(),
        })?;
        Ok(Status::Done)
    }
}

/// The files of a template.
fn template(made: &Generalised, replacements: &[Replacement]) -> Result<Tree> {
    let mut questions = Mapping::new();
    questions.insert("_subdirectory".into(), TREE.into());
    if made.tree.values().any(|node| matches!(node, Node::Link(_))) {
        questions.insert("_preserve_symlinks".into(), true.into());
    }
    for Replacement { value, name } in replacements {
        let mut about = Mapping::new();
        about.insert("type".into(), "str".into());
        about.insert("default".into(), escaped(value).into());
        questions.insert(name.as_str().into(), about.into());
    }
    for derived in &made.derived {
        let mut about = Mapping::new();
        about.insert("type".into(), "str".into());
        about.insert("default".into(), format!("{{{{ {} }}}}", derived.expression).into());
        about.insert("when".into(), false.into());
        questions.insert(derived.name.as_str().into(), about.into());
    }
    let bytes = serde_yaml::to_string(&Yaml::Mapping(questions))?.into_bytes();
    let below = made.tree.iter().map(|(path, node)| (Path::new(TREE).join(path), node.clone()));
    let mut tree: Tree = below.collect();
    tree.insert("copier.yml".into(), Node::File { bytes, executable: false });
    Ok(tree)
}

/// Checks that a template gives its example back.
fn prove(template: &Path, example: &Tree) -> Result<()> {
    let template = Template::open(template)?;
    let engine = template.engine(None)?;
    let answers = template.answer(&engine, &[], &Mapping::new(), None)?;
    let made = template.make(&engine, &answers)?;
    match tree::difference(example, &made) {
        None => Ok(()),
        Some((path, how)) => Err(Error::new(format!(
            "the template would not give the example back: '{}' {how}",
            display(path)
        ))
        .hint("leave the file out with --exclude; nothing was written")),
    }
}
