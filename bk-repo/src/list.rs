//! `bk-repo list`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bk::{Result, Session, Status};
use bk_deb::debian::control::paragraphs;

use crate::archive::commit::Commit;
use crate::archive::manifest::Key;
use crate::archive::repository::Repository;
use crate::command::check_word;
use crate::query::Query;
use crate::record::{Named, Package, component};

/// List the packages of a repository, name_version_arch a line
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo list /srv/apt
      Everything, name_version_arch a line.
  bk-repo list /srv/apt 'python3-*'
      What has such a name.
  bk-repo list /srv/apt --stanzas | grep-dctrl -FDepends libc6 -sPackage
      What is in the indexes, for tools that read them.

Exit status:
  0   listed, or there is nothing to list
  1   the repository cannot be read
  2   the command line or the configuration is wrong
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// name, name=version or name_version_arch, with * and ? if you like
    #[arg(value_name = "QUERY")]
    query: Option<String>,
    /// Only what is in this suite
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Option<String>,
    /// Print the stanzas of the indexes instead
    #[arg(long, conflicts_with = "json")]
    stanzas: bool,
}

/// A package where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its suite.
    pub suite: String,
    /// Its component.
    pub component: String,
    /// What tells it apart.
    pub key: Key,
    /// The first index that has it: one for all architectures is in several.
    pub index: String,
}

/// Lists packages.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = Repository::at(&args.repo);
    let head = repository.head()?;
    let query = args.query.as_deref().map(Query::parse).transpose()?;
    let found = find(&repository, &head, args.suite.as_deref(), query.as_ref())?;
    let lines = session.out.format() != bk::record::Format::Json;
    let mut shown = BTreeSet::new();
    for (place, stanza) in found {
        // A line says nothing of the suite: one is enough.
        if lines && !shown.insert(place.key.clone()) {
            continue;
        }
        if args.stanzas {
            session.out.raw([&stanza[..], b"\n"].concat())?;
            continue;
        }
        let Place { suite, key, index, .. } = &place;
        session.out.record(&Named(Package::new(&args.repo, suite, index, key, &stanza)))?;
    }
    Ok(Status::Done)
}

/// The packages a query means, in order, with their stanzas.
pub fn find(
    repository: &Repository,
    head: &Commit,
    suite: Option<&str>,
    query: Option<&Query>,
) -> Result<BTreeMap<Place, Vec<u8>>> {
    let mut found: BTreeMap<Place, Vec<u8>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    if let Some(name) = suite.filter(|name| !head.suites.contains_key(*name)) {
        let known: Vec<&str> = head.suites.keys().map(String::as_str).collect();
        return Err(bk::Error::new(format!("the repository has no suite '{name}'"))
            .hint(format!("it has {}", known.join(", ")))
            .status(Status::Usage));
    }
    let load = |id: &str| repository.chunk(id);
    for (name, state) in head.suites.iter().filter(|(n, _)| suite.is_none_or(|s| s == *n)) {
        for (path, index) in &state.indexes {
            let manifest = repository.manifest(index)?;
            let mut take = |key: Key, stanza: &[u8]| {
                let place = Place {
                    suite: name.clone(),
                    component: component(path).to_owned(),
                    key,
                    index: path.clone(),
                };
                let udeb = path.contains("/debian-installer/");
                let same = (name.clone(), place.component.clone(), udeb, place.key.clone());
                if query.is_none_or(|query| query.matches(&place.key)) && seen.insert(same) {
                    found.insert(place, stanza.to_vec());
                }
            };
            match query.and_then(Query::exact_name) {
                Some(exact) => {
                    for (key, stanza) in manifest.named(exact, &load)? {
                        take(key, &stanza);
                    }
                }
                None => {
                    for chunk in &manifest.chunks {
                        for stanza in paragraphs(&load(&chunk.id)?) {
                            take(Key::of(stanza)?, stanza);
                        }
                    }
                }
            }
        }
    }
    Ok(found)
}
