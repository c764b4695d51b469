//! `bk-repo remove`

use std::path::PathBuf;

use bk::{Context, Error, Result, Session, Status, display};

use crate::archive::commit::{Commit, Intent};
use crate::archive::repository::{Change, Repository};
use crate::command::{self, Writing, check_word};
use crate::list::{Place, find};
use crate::query::Query;
use crate::record::{Named, Package};

/// Publish packages no more
///
/// Their files stay in the pool for those who are just fetching them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo remove /srv/apt hello
      All versions of a package, from every suite.
  bk-repo remove /srv/apt hello=1.0 --suite stable
      One version from one suite.
  bk-repo remove /srv/apt --all --suite testing
      Everything of one suite.
  bk-repo remove -n /srv/apt '*_*_arm64'
      What would go if all of one architecture did.

Exit status:
  0   every package named is published no more
  1   some were not there; all others are gone
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// name, name=version, name_version_arch, or an expression as 'bk-repo list' takes it
    #[arg(value_name = "PACKAGE", required_unless_present = "all")]
    packages: Vec<String>,
    /// Every package
    #[arg(short, long, conflicts_with = "packages")]
    all: bool,
    /// Only from this suite
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

/// Removes packages.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let packages = if args.all { vec!["*".to_owned()] } else { args.packages };
    let queries: Vec<Query> =
        packages.iter().map(|text| Query::parse(text)).collect::<Result<_>>()?;
    let mut head = repository.head()?;
    let mut writer = match args.writing.dry_run {
        true => None,
        false => Some(repository.write(args.writing.wait(), &session.console)?),
    };
    if let Some(latest) = writer.as_ref().and_then(|writer| writer.head()) {
        head = latest.clone();
    }
    let mut failed = false;
    let mut change = Change { action: "remove".into(), ..Change::default() };
    let mut gone = Vec::new();
    if let Some(name) = &args.suite {
        // What was cannot be changed.
        command::suite(&head, Some(name))?;
    }
    for (query, text) in queries.iter().zip(&packages) {
        let found = find(&repository, &head, args.suite.as_deref(), Some(query))?;
        if found.is_empty() && !args.all {
            failed = true;
            session.console.error(&missing(&repository, &head, text)?);
        }
        for (place, stanza) in found {
            let Place { suite, key, index, .. } = &place;
            let record = Package::new(repository.path(), suite, index, key, &stanza);
            let indexes = having(&repository, &head, &place)?;
            for index in &indexes {
                let edits = change.edits.entry((suite.clone(), index.clone())).or_default();
                edits.insert(key.clone(), None);
            }
            let (suite, package) = (suite.clone(), key.clone());
            let intent = Intent::Remove { suite, indexes, package };
            // Two queries may mean the same package.
            if !change.intents.contains(&intent) {
                change.intents.push(intent);
                gone.push(record);
            }
        }
    }
    if let Some(writer) = writer.as_mut().filter(|_| !change.edits.is_empty()) {
        let signers = args.writing.signers(session, &head)?;
        writer
            .commit(change, command::now(session), &signers)
            .context(|| format!("cannot publish in '{}'", display(&args.repo)))?;
    }
    for record in gone {
        session.out.record(&Named(record))?;
    }
    Ok(if failed { Status::Failed } else { Status::Done })
}

/// The indexes of a place's suite and component that may have its package.
fn having(repository: &Repository, head: &Commit, place: &Place) -> Result<Vec<String>> {
    let Place { suite, component, key, index } = place;
    let Some(suite) = head.suites.get(suite) else { return Ok(Vec::new()) };
    if key.architecture != "all" {
        return Ok(vec![index.clone()]);
    }
    // One for all architectures is in the index of each, beside others of its kind.
    let udeb = index.contains("/debian-installer/");
    let mut all = Vec::new();
    for (path, index) in &suite.indexes {
        let like = path.starts_with(&format!("{component}/"))
            && path.contains("/debian-installer/") == udeb
            && path.ends_with("/Packages");
        if like {
            let wanted = [key.clone()].into();
            if !repository.manifest(index)?.find(&wanted, &|id| repository.chunk(id))?.is_empty() {
                all.push(path.clone());
            }
        }
    }
    Ok(all)
}

fn missing(repository: &Repository, head: &Commit, text: &str) -> Result<Error> {
    let all = find(repository, head, None, None)?;
    let near = bk::nearest(text, all.keys().map(|place| place.key.name.as_str()));
    let error = Error::new(format!("no package is '{}'", bk::sanitize(text)));
    Ok(match near.first() {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint("'bk-repo list' tells what is there"),
    })
}
