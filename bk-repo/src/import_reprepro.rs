//! `bk-repo import-reprepro`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bk::{Context, Result, Session, Status, display};
use bk_deb::debian::control::{Paragraph, paragraphs};

use crate::adopt::take_over;
use crate::archive::commit::{Override, Settings};
use crate::command::{Writing, check_word};

/// Take over a repository of reprepro, in place
///
/// Its packages stay where they are, its suites keep their names and fields; conf/distributions tells
/// the rest. Run 'reprepro export' before, so that dists/ is what its database says, and reprepro
/// never again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  gpg --export-secret-keys apt@example.com | bk-repo key import -
  bk-repo import-reprepro /srv/apt
      Go on with the repository, and with the key that clients know.

Exit status:
  0   taken over
  1   it is no repository of reprepro, or its packages are not what its indexes say
  2   the command line or the configuration is wrong
  75  another process writes to the repository; try again
")]
pub struct Args {
    /// reprepro's folder, with conf/, dists/ and pool/
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The key to sign with [default: the oldest in the key folder, made if there is none]
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

/// Takes a repository of reprepro over.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let path = args.dir.join("conf/distributions");
    // A paragraph a suite.
    let text = bk::file::read(&path, 4 << 20)?;
    let mut known = BTreeMap::new();
    for paragraph in paragraphs(&text) {
        let failed = || format!("cannot use '{}'", display(&path));
        let paragraph = Paragraph::parse(paragraph).context(failed)?;
        let name = check_word(paragraph.require("Codename").context(failed)?).context(failed)?;
        known.insert(name.clone(), settings(&args.dir, &name, &paragraph).context(failed)?);
    }
    take_over(&args.dir, &known, args.key.as_deref(), &args.writing, session)
}

/// What a paragraph of conf/distributions says (reprepro(1)).
fn settings(dir: &Path, name: &str, paragraph: &Paragraph) -> Result<Settings> {
    let get = |field: &str| paragraph.get(field).map(str::to_owned);
    let words = |field: &str| -> Vec<String> {
        let words = paragraph.get(field).unwrap_or_default().split_ascii_whitespace();
        words.map(|word| word.rsplit('/').next().unwrap_or(word).to_owned()).collect()
    };
    let yes = |field: &str| paragraph.get(field).is_some_and(|v| v.eq_ignore_ascii_case("yes"));
    let mut architectures = words("Architectures");
    architectures.retain(|a| a != "source" && a != "all");
    let mut overrides = BTreeMap::new();
    if let Some(file) = paragraph.get("DebOverride") {
        overrides = read_override(&dir.join("conf").join(file))?;
    }
    Ok(Settings {
        components: words("Components"),
        architectures,
        suite: get("Suite").filter(|suite| suite != name),
        codename: Some(name.to_owned()),
        origin: get("Origin"),
        label: get("Label"),
        description: get("Description"),
        valid_for: get("ValidFor").and_then(|text| valid_for(&text)),
        not_automatic: yes("NotAutomatic"),
        but_automatic_upgrades: yes("ButAutomaticUpgrades"),
        contents: paragraph.get("Contents").is_some(),
        // Limit: -1 is for all; without one there is one version.
        keep: match get("Limit").and_then(|text| text.trim().parse::<i64>().ok()) {
            None => Some(1),
            Some(limit) => usize::try_from(limit).ok().filter(|&limit| limit > 0),
        },
        overrides,
        ..Settings::default()
    })
}

/// `7d`, `2w`, `3m` or `1y`, in seconds; days unless said.
fn valid_for(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let days = match &text[digits.len()..] {
        "" | "d" => 1,
        "w" => 7,
        "m" => 31,
        "y" => 365,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(days * 24 * 3600)
}

/// reprepro's override file: package, field and value a line.
fn read_override(path: &Path) -> Result<BTreeMap<String, Override>> {
    let text = bk::file::read(path, 64 << 20)?;
    let mut all: BTreeMap<String, Override> = BTreeMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(field), Some(value)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let says = all.entry(name.to_owned()).or_default();
        match field.to_ascii_lowercase().as_str() {
            "section" => says.section = Some(value.to_owned()),
            "priority" => says.priority = Some(value.to_owned()),
            "phased-update-percentage" => says.phased = value.parse().ok().filter(|&n| n < 100),
            _ => {}
        }
    }
    all.retain(|_, says| *says != Override::default());
    Ok(all)
}
