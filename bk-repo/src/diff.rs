//! `bk-repo diff`

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bk::record::Record;
use bk::{Result, Session, Status};
use bk_deb::debian::control::paragraphs;

use crate::add::content;
use crate::archive::commit::{Suite, holds_packages};
use crate::archive::manifest::Key;
use crate::archive::repository::Repository;
use crate::command;
use crate::record::component;
use crate::state;

/// Tell how two states of a repository differ
///
/// Prints '+name_version_arch' for what only the second has, and '-' for what only the first has. A
/// state is a suite, a suite as a commit of the log had it (stable@12), or a snapshot's name.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo diff /srv/apt stable testing
      What a promotion would bring.
  bk-repo diff /srv/apt stable@12 stable
      What happened since commit 12.
  bk-repo diff /srv/apt before-upgrade stable --json
      The same as objects, with components.

Exit status:
  0   told, or there is no difference
  1   the repository cannot be read
  2   the command line or the configuration is wrong
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// A state: SUITE, SUITE@COMMIT or a snapshot
    #[arg(value_name = "FROM")]
    from: String,
    /// Another one
    #[arg(value_name = "TO")]
    to: String,
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "difference")]
struct Difference<'a> {
    change: &'static str,
    package: &'a str,
    version: &'a str,
    architecture: &'a str,
    component: &'a str,
}

impl Record for Difference<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let Difference { package, version, architecture, .. } = self;
        let sign = if self.change == "added" { '+' } else { '-' };
        format!("{sign}{package}_{version}_{architecture}").into_bytes().into()
    }
}

/// A package, its component, and what tells its content.
type Entry = (Key, String, String);

/// Tells the differences.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let head = repository.head()?;
    let from = state::resolve(&repository, &head, &args.from)?;
    let to = state::resolve(&repository, &head, &args.to)?;
    let (removed, added) = (only(&repository, &from, &to)?, only(&repository, &to, &from)?);
    let mut all: BTreeMap<&Entry, &str> = BTreeMap::new();
    all.extend(removed.difference(&added).map(|entry| (entry, "removed")));
    all.extend(added.difference(&removed).map(|entry| (entry, "added")));
    for ((key, component, _), change) in all {
        let Key { name, version, architecture } = key;
        let difference = Difference { change, package: name, version, architecture, component };
        session.out.record(&difference)?;
    }
    Ok(Status::Done)
}

/// The packages in chunks of `suite` that `other` has not: only those can differ.
fn only(repository: &Repository, suite: &Suite, other: &Suite) -> Result<BTreeSet<Entry>> {
    let mut found = BTreeSet::new();
    for (path, index) in suite.indexes.iter().filter(|(path, _)| holds_packages(path)) {
        let known = match other.indexes.get(path) {
            Some(there) if there.manifest == index.manifest => continue,
            Some(there) => repository.manifest(there)?,
            None => Default::default(),
        };
        let known: BTreeSet<&str> = known.chunks.iter().map(|chunk| chunk.id.as_str()).collect();
        for chunk in repository.manifest(index)?.chunks {
            if known.contains(chunk.id.as_str()) {
                continue;
            }
            for stanza in paragraphs(&repository.chunk(&chunk.id)?) {
                found.insert((Key::of(stanza)?, component(path).to_owned(), content(stanza)));
            }
        }
    }
    Ok(found)
}
