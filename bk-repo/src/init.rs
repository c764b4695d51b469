//! `bk-repo init`

use std::collections::BTreeMap;
use std::path::PathBuf;

use bk::{Error, Result, Session, Status};

use crate::archive::commit::{Commit, Compression, Compressions, Intent, Settings, Suite};
use crate::archive::repository::{Change, Repository};
use crate::archive::translation;
use crate::command::{self, Writing, check_word, this_architecture};
use crate::list::find_in;
use crate::record::Made;
use crate::store::RACES;
use crate::transfer;

/// Make a repository, or give one more suites, components and architectures
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo init /srv/apt
      The suite stable with the component main for this machine's architecture.
  bk-repo init /srv/apt --suite bookworm --suite trixie --arch amd64 --arch arm64
      Two suites, each for two architectures.
  bk-repo init /srv/apt --component contrib --valid-for 7d
      One more component for what is there, and an end to how long apt believes it.
  bk-repo init 's3://bucket/apt?endpoint=http://HOST:9000' --arch amd64
      In an object store; the variables of AWS have the credentials. First it is tried whether the
      engine keeps several writers apart.

Exit status:
  0   done, or there was nothing to do
  1   the work failed
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// The folder, or s3://BUCKET/PREFIX?endpoint=URL, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX?account=NAME
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// A suite; given several times: several [default: stable, or all the repository has]
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Vec<String>,
    /// A component of the suites [default: main]
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    component: Vec<String>,
    /// An architecture of the suites [default: this machine's]
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    arch: Vec<String>,
    /// Who the packages come from (the field Origin)
    #[arg(long, value_name = "TEXT", value_parser = one_line)]
    origin: Option<String>,
    /// What the repository is called (the field Label)
    #[arg(long, value_name = "TEXT", value_parser = one_line)]
    label: Option<String>,
    /// The name of the release the suite has now (the field Codename)
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    codename: Option<String>,
    /// What it is for (the field Description)
    #[arg(long, value_name = "TEXT", value_parser = one_line)]
    description: Option<String>,
    /// After what time apt shall believe it no more, such as 7d or 12h (the field Valid-Until); 0 for
    /// never
    #[arg(long, value_name = "TIME", value_parser = validity)]
    valid_for: Option<u64>,
    /// Let apt install from here only what it is told to
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_parser = clap::builder::BoolishValueParser::new())]
    not_automatic: Option<bool>,
    /// Let apt upgrade from here what was installed from here, with --not-automatic
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_parser = clap::builder::BoolishValueParser::new())]
    but_automatic_upgrades: Option<bool>,
    /// Give packages for all architectures an index of their own, binary-all, instead of a place in
    /// each; only for suites that are empty
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_parser = clap::builder::BoolishValueParser::new())]
    binary_all: Option<bool>,
    /// Have long descriptions in i18n/Translation-en instead of in Packages, as Debian has
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_parser = clap::builder::BoolishValueParser::new())]
    translations: Option<bool>,
    /// Have Contents indexes for apt-file, which 'bk-repo contents' and 'serve' keep up to date
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_parser = clap::builder::BoolishValueParser::new())]
    contents: Option<bool>,
    /// How indexes are compressed: gz, xz, zst, several of them with commas, or none; the
    /// uncompressed one is always there [default: gz,zst]
    #[arg(long, value_name = "LIST", value_parser = compressions)]
    compression: Option<Compressions>,
    /// Name the keys in the Release file, so that apt takes no other (the field Signed-By)
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_parser = clap::builder::BoolishValueParser::new())]
    signed_by: Option<bool>,
    /// How many changes back clients may be and still fetch patches (Packages.diff); 0 for none
    #[arg(long, value_name = "N")]
    pdiffs: Option<usize>,
    /// How many versions of each package stay when one is added; 0 for all
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// The key to sign with; given several times: all of them [default: the oldest in the key
    /// folder, made if there is none]
    #[arg(long, value_name = "FINGERPRINT")]
    key: Vec<String>,
    /// Make a repository in an object store that cannot keep several writers apart
    #[arg(long)]
    single_writer: bool,
    #[command(flatten)]
    writing: Writing,
}

fn one_line(text: &str) -> Result<String> {
    match text.trim().is_empty() || text.contains(char::is_control) {
        true => Err(Error::new("not one line of text")),
        false => Ok(text.trim().to_owned()),
    }
}

fn validity(text: &str) -> Result<u64> {
    if text == "0" { Ok(0) } else { seconds(text) }
}

fn compressions(list: &str) -> Result<Compressions> {
    if list == "none" {
        return Ok(Compressions(Vec::new()));
    }
    let known = |word: &str| {
        let suffix = format!(".{word}");
        Compression::ALL.into_iter().find(|compression| compression.suffix() == suffix)
    };
    let mut all: Vec<Compression> = list
        .split(',')
        .map(|word| known(word).ok_or_else(|| Error::new("not a list of gz, xz and zst, or none")))
        .collect::<Result<_>>()?;
    all.sort();
    all.dedup();
    Ok(Compressions(all))
}

/// Reads a time such as `7d`, in seconds.
pub fn seconds(text: &str) -> Result<u64> {
    let parse = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "w" => 7 * 24 * 3600,
            "d" => 24 * 3600,
            "h" => 3600,
            "m" => 60,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit).filter(|seconds| *seconds > 0)
    };
    parse().ok_or_else(|| Error::new("not a time such as 2w, 7d, 12h or 30m"))
}

/// Makes or extends a repository.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let repository = command::repository(session, &args.dir)?;
    if !args.writing.dry_run {
        repository.store().prepare()?;
    }
    if args.writing.dry_run {
        let mut head = repository.head_if_any()?.unwrap_or_default();
        let settings = settings(&args, &head);
        head.suites.extend(
            settings
                .into_iter()
                .map(|(name, settings)| (name, Suite { settings, ..Suite::default() })),
        );
        session.out.record(&Made::new(&args.dir, &head))?;
        return Ok(Status::Done);
    }
    match repository.store().local("") {
        Some(dir) => bk::file::create_dir(&dir)?,
        None if repository.head_if_any()?.is_none() && !args.single_writer => {
            let wrong = repository.store().race()?;
            if wrong > 0 {
                return Err(Error::new(format!(
                    "of {RACES} objects that several created at once, {wrong} had not one creator"
                ))
                .context("the store loses what several write at once")
                .hint("take another engine, or --single-writer and see to it that there is one"));
            }
        }
        None => {}
    }
    let mut writer = repository.write(args.writing.wait(), &session.console)?;
    let head = writer.head().cloned().unwrap_or_default();
    let settings = settings(&args, &head);
    let (keys, signers) = if head.number == 0 {
        let mut keys = match args.key.is_empty() {
            true => vec![command::default_key(session, None)?],
            false => {
                let key = |wanted: &String| command::default_key(session, Some(wanted));
                args.key.iter().map(key).collect::<Result<_>>()?
            }
        };
        args.writing.unlocking().unlock(session, &mut keys)?;
        (Some(keys.iter().map(command::signer).collect::<Result<_>>()?), keys)
    } else if !args.key.is_empty() {
        return Err(Error::new("the repository has its key")
            .hint("'bk-repo key rotate REPO --to FINGERPRINT' gives it another")
            .status(Status::Usage));
    } else {
        (None, args.writing.signers(session, &head)?)
    };
    let changed = |(name, new): &(&String, &Settings)| {
        head.suites.get(*name).is_none_or(|suite| suite.settings != **new)
    };
    let intents: Vec<Intent> = settings
        .iter()
        .filter(changed)
        .map(|(suite, _)| Intent::Configure { suite: suite.clone() })
        .collect();
    if !intents.is_empty() {
        let mut change =
            Change { action: "init".into(), intents, settings, keys, ..Change::default() };
        adapt(&repository, &head, &mut change)?;
        writer.commit(change, command::now(session), &signers)?;
    }
    if let Some(head) = writer.head() {
        session.out.record(&Made::new(&args.dir, head))?;
    }
    Ok(Status::Done)
}

/// Says in `change` what new settings mean for packages that are there.
fn adapt(repository: &Repository, head: &Commit, change: &mut Change) -> Result<()> {
    for (name, new) in change.settings.clone() {
        let Some(suite) = head.suites.get(&name) else { continue };
        let old = &suite.settings;
        if old.binary_all != new.binary_all && suite.packages().any(|(_, index)| index.count > 0) {
            return Err(Error::new(format!("'{name}' has packages: its indexes stay as they are"))
                .hint("make another suite with --binary-all, and 'bk-repo merge' this one into it")
                .status(Status::Usage));
        }
        // What is for all is in the indexes of new architectures too.
        let more: Vec<String> =
            new.architectures.iter().filter(|a| !old.architectures.contains(a)).cloned().collect();
        let translate = new.translations && !old.translations;
        if !translate && (more.is_empty() || new.binary_all) {
            continue;
        }
        let mut found = find_in(repository, &name, suite, None)?;
        found.retain(|place, _| translate || place.key.architecture == "all");
        translation::rejoin(repository, suite, &mut found)?;
        for (place, stanza) in found {
            for index in transfer::targets(&place, &new)? {
                let edits = change.edits.entry((name.clone(), index)).or_default();
                edits.insert(place.key.clone(), Some(stanza.clone()));
            }
        }
    }
    Ok(())
}

/// The change that makes a repository with the defaults.
pub fn defaults(suite: &str) -> BTreeMap<String, Settings> {
    let settings = Settings {
        components: vec!["main".into()],
        architectures: vec![this_architecture().into()],
        ..Settings::default()
    };
    BTreeMap::from([(suite.to_owned(), settings)])
}

/// The settings of the suites named, after the command.
fn settings(args: &Args, head: &Commit) -> BTreeMap<String, Settings> {
    let names: Vec<String> = match (&args.suite[..], head.suites.is_empty()) {
        ([], true) => vec!["stable".into()],
        ([], false) => head.suites.keys().cloned().collect(),
        (named, _) => named.to_vec(),
    };
    let mut all = BTreeMap::new();
    for name in names {
        let old = head.suites.get(&name).map(|suite| suite.settings.clone());
        let mut new = old.clone().unwrap_or_default();
        extend(&mut new.components, &args.component, "main");
        extend(&mut new.architectures, &args.arch, this_architecture());
        // Packages for all are in the index of each architecture; sources are of none.
        new.architectures.retain(|a| a != "all" && a != "source");
        let set = |field: &mut Option<String>, value: &Option<String>| {
            if value.is_some() {
                field.clone_from(value);
            }
        };
        set(&mut new.origin, &args.origin);
        set(&mut new.label, &args.label);
        set(&mut new.codename, &args.codename);
        set(&mut new.description, &args.description);
        new.valid_for = args.valid_for.or(new.valid_for).filter(|&seconds| seconds > 0);
        new.keep = args.keep.or(new.keep).filter(|&versions| versions > 0);
        new.pdiffs = args.pdiffs.unwrap_or(new.pdiffs);
        let set = |field: &mut bool, value: Option<bool>| *field = value.unwrap_or(*field);
        set(&mut new.not_automatic, args.not_automatic);
        set(&mut new.but_automatic_upgrades, args.but_automatic_upgrades);
        set(&mut new.binary_all, args.binary_all);
        set(&mut new.translations, args.translations);
        set(&mut new.contents, args.contents);
        set(&mut new.signed_by, args.signed_by);
        new.compression = args.compression.clone().unwrap_or(new.compression);
        all.insert(name, new);
    }
    all
}

fn extend(list: &mut Vec<String>, wanted: &[String], default: &str) {
    let default = [default.to_owned()];
    let wanted = if wanted.is_empty() && list.is_empty() { &default[..] } else { wanted };
    for word in wanted {
        if !list.contains(word) {
            list.push(word.clone());
        }
    }
}
