//! `bk-template update`

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bk::file::TempDir;

use bk::record::Record;
use bk::{Cmd, Console, Context, Error, Result, Session, Status, display};
use clap::Args;
use serde::Serialize;
use serde_yaml::Mapping;

use crate::new::data;
use crate::question::Answer;
use crate::template::Template;
use crate::tree::{self, Node, Tree};

/// What copier keeps a project's answers in.
const ANSWERS: &str = ".copier-answers.yml";

/// Bring a project up to a newer template
///
/// Makes what the template made before and what it makes now, of the same answers, and merges the difference
/// into the project: what was changed there stays, what was removed there stays away. Where both changed
/// the same lines, the file has both, between git's marks. Questions that are new get their usual answers. The
/// answers are those in .copier-answers.yml, where the project has one, and those given.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-template update libfoo --from templates/library-1 --to templates/library-2 -D name=foo
      Bring a project up to the newer template.
  bk-template update libfoo --from old --to new --data-file answers.yml --dry-run
      Only say what would change.

Exit status:
  0   up to date
  1   a template cannot be filled in, and nothing was written; or something has to be decided by hand
  2   the command line is wrong, or an answer is missing
")]
pub struct Update {
    /// The folder of the project
    #[arg(value_name = "PROJECT")]
    project: PathBuf,
    /// The template it was made of, as it was
    #[arg(long, value_name = "TEMPLATE")]
    from: PathBuf,
    /// The template it shall be like
    #[arg(long, value_name = "TEMPLATE")]
    to: PathBuf,
    /// An answer
    #[arg(short = 'D', long = "define", value_name = "NAME=VALUE")]
    define: Vec<Answer>,
    /// A YAML or JSON file with answers
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
    /// Print what would change, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// It is as the template makes it.
    Written,
    /// It has what both changed.
    Merged,
    /// It is gone, as the template makes it no more.
    Removed,
    /// It has both, or stays as it is, for people to decide.
    Conflict,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "file")]
struct Change {
    #[serde(serialize_with = "bk::record::path")]
    path: PathBuf,
    action: Action,
    #[serde(skip)]
    node: Option<Node>,
}

impl Record for Change {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_os_str().as_bytes().into()
    }
}

impl Update {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        if !self.project.is_dir() {
            return Err(Error::new(format!("'{}' is no folder", display(&self.project)))
                .hint("'bk-template new' makes a project"));
        }
        let mut data = data(self.data_file.as_ref())?;
        let kept = self.project.join(ANSWERS);
        if self.data_file.is_none() && kept.is_file() {
            data = crate::new::data(Some(&kept))?;
        }
        let before = self.make(&self.from, &data, session)?;
        let after = self.make(&self.to, &data, session)?;
        let parent = match self.project.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let scratch = TempDir::new_in(parent)?;
        let merge =
            Merge { project: &self.project, scratch: scratch.path(), console: &session.console };
        let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
        let mut changes = Vec::new();
        for path in paths {
            let trees = [before.get(path), after.get(path)];
            let change = merge.file(path, trees);
            changes.extend(change.context(|| format!("cannot merge '{}'", display(path)))?);
        }
        let mut conflicts = 0;
        for change in &changes {
            let at = self.project.join(&change.path);
            match (&change.node, change.action) {
                _ if self.dry_run => {}
                (Some(node), _) => tree::put(&at, node)?,
                (None, Action::Removed) => std::fs::remove_file(&at)
                    .context(|| format!("cannot remove '{}'", display(&at)))?,
                (None, _) => {}
            }
            conflicts += usize::from(change.action == Action::Conflict);
        }
        for mut change in changes {
            change.path = self.project.join(&change.path);
            if change.action == Action::Conflict {
                let path = display(&change.path);
                let error = match &change.node {
                    Some(_) => Error::new(format!("'{path}' was changed in the same lines"))
                        .hint("choose between git's marks in it"),
                    None => Error::new(format!("'{path}' was changed otherwise, and stays"))
                        .hint("compare it with what 'bk-template new' makes"),
                };
                session.console.error(&error);
            }
            session.out.record(&change)?;
        }
        Ok(if conflicts == 0 { Status::Done } else { Status::Failed })
    }

    fn make(&self, template: &Path, data: &Mapping, session: &Session) -> Result<Tree> {
        let template = Template::open(template)?;
        let engine = template.engine(session.epoch)?;
        // What only the other one asks for.
        let asks = |name: &str| template.questions.iter().any(|question| question.name == name);
        let define: Vec<Answer> = self.define.iter().filter(|a| asks(&a.name)).cloned().collect();
        let data = data.iter().filter(|(name, _)| name.as_str().is_some_and(asks));
        let data = data.map(|(name, value)| (name.clone(), value.clone())).collect();
        let answers = template.answer(&engine, &define, &data, None)?;
        template.make(&engine, &answers)
    }
}

/// Merges into a project.
struct Merge<'a> {
    project: &'a Path,
    scratch: &'a Path,
    console: &'a Console,
}

impl Merge<'_> {
    /// What becomes of a file that a template made before, makes now, or both.
    fn file(&self, path: &Path, [before, after]: [Option<&Node>; 2]) -> Result<Option<Change>> {
        let at = self.project.join(path);
        tree::through_folders(self.project, path)?;
        let mine = match at.symlink_metadata() {
            Ok(_) => Some(tree::read(&at)?),
            Err(_) => None,
        };
        let change =
            |action, node: Option<Node>| Ok(Some(Change { path: path.to_owned(), action, node }));
        let mine = mine.as_ref();
        if before == after || mine == after {
            return Ok(None);
        }
        match (before, mine, after) {
            // A folder that is empty in the template need not be so in the project.
            (_, Some(Node::Folder), _) => Ok(None),
            // What was removed from the project stays away.
            (Some(_), None, _) | (None, None, None) => Ok(None),
            (None, None, Some(new)) => change(Action::Written, Some(new.clone())),
            (_, mine, Some(new)) if mine == before => change(Action::Written, Some(new.clone())),
            (_, mine, None) if mine == before => change(Action::Removed, None),
            (before, Some(mine), Some(new)) => match self.lines(before, mine, new)? {
                Some((action, node)) => change(action, Some(node)),
                None => change(Action::Conflict, None),
            },
            (_, Some(_), None) => change(Action::Conflict, None),
        }
    }

    /// Merges files line by line; `None` where they are none, or no text.
    fn lines(
        &self,
        before: Option<&Node>,
        mine: &Node,
        new: &Node,
    ) -> Result<Option<(Action, Node)>> {
        let nothing = Node::File { bytes: Vec::new(), executable: false };
        let (
            Node::File { bytes: old, executable: old_mode },
            Node::File { bytes: ours, executable: our_mode },
            Node::File { bytes: theirs, executable: their_mode },
        ) = (before.unwrap_or(&nothing), mine, new)
        else {
            return Ok(None);
        };
        let sides = [("project", ours), ("before", old), ("template", theirs)];
        if sides.iter().any(|(_, bytes)| bytes.contains(&0)) {
            return Ok(None);
        }
        let mut command = Cmd::new("git", self.console).args(["merge-file", "-p", "--quiet"]);
        for (name, _) in &sides {
            command = command.args(["-L", name]);
        }
        for (name, bytes) in &sides {
            let path = self.scratch.join(name);
            bk::file::write(&path, bytes)?;
            command = command.arg(path);
        }
        let output = command.output_unchecked()?;
        let action = match output.status.code() {
            Some(0) => Action::Merged,
            // The number of conflicts (git-merge-file(1)); 255 is an error.
            Some(1..=127) => Action::Conflict,
            _ => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(Error::new(format!("git says: {}", bk::sanitize(&said))));
            }
        };
        let executable = if old_mode == their_mode { *our_mode } else { *their_mode };
        Ok(Some((action, Node::File { bytes: output.stdout, executable })))
    }
}
