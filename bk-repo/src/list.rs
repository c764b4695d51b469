//! `bk-repo list`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bk::{Result, Session, Status};
use bk_deb::debian::control::paragraphs;

use crate::archive::commit::{Commit, Suite};
use crate::archive::layout::Before;
use crate::archive::manifest::Key;
use crate::archive::repository::Repository;
use crate::archive::retention::folder;
use crate::archive::translation;
use crate::command;
use crate::dependency::{NEEDS, Universe};
use crate::query::{Item, Query};
use crate::record::{Line, Named, Package, component};
use crate::state;
use crate::transfer::Packages;

/// List the packages of a repository, name_version_arch a line
///
/// A query is name, name=version or name_version_arch, each part with the wildcards *, ? and [a-z];
/// or an expression of such names and of conditions, put together with ',' (and), '|' (or), '!' (not)
/// and brackets:
///
/// 'Field (relation value)' compares a field with =, with << <= >= >> as a version, with % as a
/// pattern, with ~ as a regular expression; 'Field' alone asks whether it is there. Fields are those
/// of the indexes, and Name, $Version, $Architecture (all is in each), $PackageType (deb, udeb,
/// source), $Source and $SourceVersion. 'name (>= 1.0) {amd64}' is what satisfies this dependency,
/// by its name or by what it provides; 'name ()' whatever its version.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo list /srv/apt
      Everything, name_version_arch a line.
  bk-repo list /srv/apt 'python3-*'
      What has such a name.
  bk-repo list /srv/apt 'Name (~ ^python3-), $Version (>= 2), !$Architecture (arm64)'
      What is like this.
  bk-repo list /srv/apt 'mail-transport-agent () | $Source (exim4)'
      What provides something, or was built from something.
  bk-repo list /srv/apt hello --with-deps
      A package and all it needs, as far as it is here.
  bk-repo list /srv/apt --suite stable@12 --json
      What a suite had then, as objects; a snapshot's name is good too.
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
    /// name, name=version, name_version_arch, or an expression
    #[arg(value_name = "QUERY")]
    query: Option<String>,
    /// Only what is in this state: SUITE, SUITE@COMMIT or a snapshot
    #[arg(long, value_name = "STATE")]
    suite: Option<String>,
    /// And what these packages depend on
    #[arg(long)]
    with_deps: bool,
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
    let repository = command::repository(session, &args.repo)?;
    let head = repository.head()?;
    let query = args.query.as_deref().map(Query::parse).transpose()?;
    let lines = session.out.format() != bk::record::Format::Json;
    let mut shown = BTreeSet::new();
    let suites = chosen(&repository, &head, args.suite.as_deref())?;
    // The same may be in two components too.
    let several =
        suites.len() > 1 || suites.iter().any(|(_, suite)| suite.settings.components.len() > 1);
    for (name, suite) in suites {
        if lines && !args.stanzas && !args.with_deps {
            for key in keys_in(&repository, &name, &suite, query.as_ref())? {
                // A line says nothing of the suite: one is enough.
                if !several || shown.insert(key.clone()) {
                    session.out.record(&Line(&key))?;
                }
            }
            continue;
        }
        let mut found = find_in(&repository, &name, &suite, query.as_ref())?;
        if args.with_deps {
            found =
                with_dependencies(&find_in(&repository, &name, &suite, None)?, &found, &NEEDS).0;
        }
        if args.stanzas {
            translation::rejoin(&repository, &suite, &mut found)?;
        }
        for (place, stanza) in found {
            if lines && !shown.insert(place.key.clone()) {
                continue;
            }
            if args.stanzas {
                session.out.raw([&stanza[..], b"\n"].concat())?;
                continue;
            }
            let Place { suite, key, index, .. } = &place;
            session.out.record(&Named(Package::new(
                repository.path(),
                suite,
                index,
                key,
                &stanza,
            )))?;
        }
    }
    Ok(Status::Done)
}

/// The suites of today, or the state that is named.
pub fn chosen(
    repository: &Repository,
    head: &Commit,
    state: Option<&str>,
) -> Result<Vec<(String, Suite)>> {
    match state {
        Some(name) => Ok(vec![(name.to_owned(), state::resolve(repository, head, name)?)]),
        None => Ok(head.suites.iter().map(|(n, s)| (n.clone(), s.clone())).collect()),
    }
}

/// The packages a query means, in order, with their stanzas.
pub fn find(
    repository: &Repository,
    head: &Commit,
    state: Option<&str>,
    query: Option<&Query>,
) -> Result<Packages> {
    let mut found = Packages::new();
    for (name, suite) in chosen(repository, head, state)? {
        found.extend(find_in(repository, &name, &suite, query)?);
    }
    Ok(found)
}

/// The same of one suite.
pub fn find_in(
    repository: &Repository,
    name: &str,
    suite: &Suite,
    query: Option<&Query>,
) -> Result<Packages> {
    let mut found = Packages::new();
    let mut seen = BTreeSet::new();
    visit(repository, name, suite, query, &mut |path, item| {
        let component = component(path);
        if seen.insert((component.to_owned(), item.udeb, item.key.clone())) {
            let (suite, index, key) = (name.to_owned(), path.to_owned(), item.key.clone());
            let place = Place { suite, component: component.to_owned(), key, index };
            found.insert(place, item.stanza.into());
        }
    })?;
    Ok(found)
}

/// Their keys alone, in the same order.
fn keys_in(
    repository: &Repository,
    name: &str,
    suite: &Suite,
    query: Option<&Query>,
) -> Result<Vec<Key>> {
    let mut found: Vec<(usize, Key)> = Vec::new();
    let mut components: Vec<String> = suite.packages().map(|(p, _)| component(p).into()).collect();
    components.sort_unstable();
    visit(repository, name, suite, query, &mut |path, item| {
        let component = components.partition_point(|known| known.as_str() < component(path));
        found.push((component, item.key.clone()));
    })?;
    // Each index has its own in order.
    found.sort();
    found.dedup();
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// Shows what a query means in each index of a suite, with the path of that.
fn visit(
    repository: &Repository,
    name: &str,
    suite: &Suite,
    query: Option<&Query>,
    show: &mut dyn FnMut(&str, &Item<'_>),
) -> Result<()> {
    for (path, index) in suite.packages() {
        let manifest = repository.manifest(index)?;
        let dir = folder(name, path);
        let published =
            Before::open(repository.store(), manifest.clone(), index, (name, &dir, path));
        let load = |id: &str| {
            // To read it takes a tenth of unpacking it.
            let known = published.as_ref().and_then(|published| published.believed(id));
            known.map_or_else(|| repository.chunk(id), Ok)
        };
        let udeb = path.contains("/debian-installer/");
        let mut take = |key: &Key, stanza: &[u8]| {
            let item = Item { key, stanza, udeb };
            if query.is_none_or(|query| query.matches(&item)) {
                show(path, &item);
            }
        };
        match query.and_then(Query::exact_name) {
            Some(exact) => {
                for (key, stanza) in manifest.named(exact, &load)? {
                    take(&key, &stanza);
                }
            }
            None => {
                for chunk in &manifest.chunks {
                    for stanza in paragraphs(&load(&chunk.id)?) {
                        take(&Key::of(stanza)?, stanza);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Packages with all they need among `all`, and the names of what they need that is not there.
pub fn with_dependencies(
    all: &Packages,
    some: &Packages,
    fields: &[&str],
) -> (Packages, BTreeMap<String, String>) {
    let mut universe = Universe::default();
    all.iter().for_each(|(place, stanza)| universe.add(&place.key, stanza));
    let start = all.keys().filter(|place| some.contains_key(*place)).map(|place| &place.key);
    let (chosen, missing) = universe.closure(start, fields);
    let found = all.iter().filter(|(place, _)| chosen.contains(&place.key));
    let missing = missing.into_iter().map(|(name, key)| (name, key.to_string())).collect();
    (found.map(|(place, stanza)| (place.clone(), stanza.clone())).collect(), missing)
}
