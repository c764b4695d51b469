//! `bk-repo override`

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display};
use bk_deb::debian::control::{Paragraph, field};
use bk_deb::debian::deb::Deb;

use crate::archive::commit::{Intent, Override, Settings, Suite};
use crate::archive::manifest::Stanza;
use crate::archive::repository::{Change, Repository};
use crate::archive::translation;
use crate::command::{self, Writing, check_word};
use crate::list::find_in;
use crate::query::Query;

/// Say in the index what a package does not: its section, its priority, how many get an update
///
/// What is said holds for the package's versions of today and those to come. Without packages it lists
/// what is said: suite, package, priority, section and percentage, separated by tabs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo override /srv/apt hello --section utils --priority optional
      Whatever its maintainer says.
  bk-repo override /srv/apt hello --phased 20
      Let a fifth of all machines upgrade; --phased 100 lets the others follow.
  bk-repo override /srv/apt --file override.main
      What apt-ftparchive's file says: package, priority and section a line.
  bk-repo override /srv/apt hello --remove
      Again what the package says.

Exit status:
  0   done, or there was nothing to do
  1   the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// The packages' names
    #[arg(value_name = "PACKAGE", value_parser = check_word)]
    packages: Vec<String>,
    /// The field Section
    #[arg(long, value_name = "NAME", requires = "packages", value_parser = section)]
    section: Option<String>,
    /// The field Priority
    #[arg(long, value_name = "NAME", requires = "packages")]
    #[arg(value_parser = ["required", "important", "standard", "optional", "extra"])]
    priority: Option<String>,
    /// How many of a hundred machines upgrade by themselves (Phased-Update-Percentage); 100 for all
    #[arg(long, value_name = "N", requires = "packages")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    phased: Option<u8>,
    /// Read them from a file of apt-ftparchive's: package, priority, section
    #[arg(long, value_name = "FILE", conflicts_with_all = ["packages", "remove"])]
    file: Option<PathBuf>,
    /// Say nothing of these packages any more
    #[arg(long, requires = "packages", conflicts_with_all = ["section", "priority", "phased"])]
    remove: bool,
    /// The suite [default: all]
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

fn section(text: &str) -> Result<String> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts.len() <= 2 && parts.iter().all(|part| check_word(part).is_ok()) {
        true => Ok(text.to_owned()),
        false => Err(Error::new("not a section such as net or contrib/net")),
    }
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "override")]
struct Told<'a> {
    suite: &'a str,
    package: &'a str,
    #[serde(flatten)]
    says: &'a Override,
}

impl Record for Told<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let Told { suite, package, says } = self;
        let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let phased = says.phased.map(|n| n.to_string());
        let (priority, section, phased) = (or(&says.priority), or(&says.section), or(&phased));
        format!("{suite}\t{package}\t{priority}\t{section}\t{phased}").into_bytes().into()
    }
}

/// Sets, removes or lists overrides.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.repo)?;
    let head = repository.head()?;
    if let Some(name) = &args.suite {
        command::suite(&head, Some(name))?;
    }
    let chosen = |name: &str| args.suite.as_deref().is_none_or(|wanted| wanted == name);
    if args.packages.is_empty() && args.file.is_none() {
        for (suite, state) in head.suites.iter().filter(|(name, _)| chosen(name)) {
            for (package, says) in &state.settings.overrides {
                session.out.record(&Told { suite, package, says })?;
            }
        }
        return Ok(Status::Done);
    }
    let said: BTreeMap<String, Override> = match &args.file {
        Some(path) => read(path)?,
        None => {
            let says = Override {
                section: args.section.clone(),
                priority: args.priority.clone(),
                phased: args.phased,
            };
            if says == Override::default() && !args.remove {
                return Err(Error::new("nothing is said of these packages")
                    .hint("say --section, --priority, --phased or --remove")
                    .status(Status::Usage));
            }
            args.packages.iter().map(|name| (name.clone(), says.clone())).collect()
        }
    };
    let mut writer = match args.writing.dry_run {
        true => None,
        false => Some(repository.write(args.writing.wait(), &session.console)?),
    };
    let head = writer.as_ref().and_then(|w| w.head().cloned()).unwrap_or(head);
    let mut change = Change { action: "override".into(), ..Change::default() };
    for (name, suite) in head.suites.iter().filter(|(name, _)| chosen(name)) {
        let mut settings = suite.settings.clone();
        for (package, says) in &said {
            if args.remove {
                settings.overrides.remove(package);
                continue;
            }
            let known = settings.overrides.entry(package.clone()).or_default();
            known.section = says.section.clone().or(known.section.take());
            known.priority = says.priority.clone().or(known.priority.take());
            // All is what there is without the field.
            known.phased = says.phased.or(known.phased).filter(|&n| n < 100);
            if *known == Override::default() {
                settings.overrides.remove(package);
            }
        }
        if settings != suite.settings {
            let names = said.keys().map(String::as_str).collect();
            restage(&repository, name, suite, &names, &mut change)?;
            change.intents.push(Intent::Configure { suite: name.clone() });
            change.settings.insert(name.clone(), settings);
        }
    }
    let told: BTreeMap<String, Settings> = change.settings.clone();
    if let Some(writer) = writer.as_mut().filter(|_| !change.is_empty()) {
        let signers = args.writing.signers(session, &head)?;
        writer
            .commit(change, command::now(session), &signers)
            .context(|| format!("cannot publish in '{}'", display(&args.repo)))?;
    }
    for (suite, settings) in &told {
        for package in said.keys() {
            if let Some(says) = settings.overrides.get(package) {
                session.out.record(&Told { suite, package, says })?;
            }
        }
    }
    Ok(Status::Done)
}

/// Reads an override file (apt-ftparchive(1)): package, priority, section, and what is not used here.
fn read(path: &Path) -> Result<BTreeMap<String, Override>> {
    // Debian's, with 60,000 packages, has 3 MB.
    let text = bk::file::read(path, 64 << 20)?;
    let text = String::from_utf8_lossy(&text);
    let mut all = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, priority, place, ..] = words[..] else {
            if words.is_empty() {
                continue;
            }
            return Err(Error::new(format!(
                "line {} is not package, priority, section",
                number + 1
            ))
            .context(format!("cannot read '{}'", display(path))));
        };
        let failed = || format!("cannot read line {} of '{}'", number + 1, display(path));
        check_word(name).context(failed)?;
        check_word(priority).context(failed)?;
        let (section, priority) = (Some(section(place).context(failed)?), Some(priority.into()));
        all.insert(name.to_owned(), Override { section, priority, phased: None });
    }
    Ok(all)
}

/// Puts the packages of these names into the indexes anew, as they say themselves: what a suite's
/// settings make of that is decided by the commit.
pub fn restage(
    repository: &Repository,
    name: &str,
    suite: &Suite,
    names: &BTreeSet<&str>,
    change: &mut Change,
) -> Result<()> {
    let queries = names.iter().map(|name| Query::parse(name)).collect::<Result<Vec<_>>>()?;
    for query in queries {
        let mut found = find_in(repository, name, suite, Some(&query))?;
        found.retain(|place, _| place.key.architecture != "source");
        translation::rejoin(repository, suite, &mut found)?;
        for (place, stanza) in found {
            let stanza: Stanza = own_words(repository, &stanza)?.into();
            for index in crate::transfer::targets(&place, &suite.settings)? {
                let edits = change.edits.entry((name.to_owned(), index)).or_default();
                edits.insert(place.key.clone(), Some(stanza.clone()));
            }
        }
    }
    Ok(())
}

/// A stanza with the section and priority that the package in the pool has.
fn own_words(repository: &Repository, stanza: &[u8]) -> Result<Vec<u8>> {
    let file = field(stanza, "Filename").map(String::from_utf8_lossy).unwrap_or_default();
    let package = repository.store().open(&file)?;
    let package = package.ok_or_else(|| {
        Error::new(format!("'{file}' is missing")).hint("'bk-repo check' tells what else is")
    })?;
    let control = Deb::read(package).and_then(|mut deb| deb.control());
    let control = control.context(|| format!("cannot read '{file}'"))?.paragraph;
    let mut paragraph = Paragraph::parse(stanza)?;
    paragraph.remove("Phased-Update-Percentage");
    for name in ["Section", "Priority"] {
        match control.get(name) {
            Some(value) => paragraph.set(name, value),
            None => drop(paragraph.remove(name)),
        }
    }
    Ok(paragraph.to_string().into_bytes())
}
