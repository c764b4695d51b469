//! `bk-deb diff`: what is different between two packages.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bk::record::Record;
use bk::{Context, Result, Session, Status, display, sanitize};
use clap::Args;
use serde::Serialize;

use crate::debian::control::Paragraph;
use crate::policy::{Item, Kind, Opened};

/// Tell what is different between two packages
///
/// Control fields, maintainer scripts and other control files, paths, kinds, permissions, owners,
/// targets of links, and content. Times and compression are not compared.
#[derive(Args)]
#[command(after_long_help = "\
Output:
  field NAME: OLD -> NEW        control NAME: OLD -> NEW (lines)
  - PATH                        + PATH
  kind, mode, owner, target or content PATH: OLD -> NEW

Examples:
  bk-deb diff old.deb new.deb
      A line a difference.
  bk-deb diff a/x.deb b/x.deb >/dev/null && echo the same
      Compare two builds.

Exit status:
  0   nothing is different
  1   one could not be read
  2   the command line or the configuration is wrong
  3   something is different
")]
pub struct Diff {
    /// The old .deb
    old: PathBuf,
    /// The new .deb
    new: PathBuf,
}

/// One difference.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "difference")]
struct Difference {
    /// `field`, `control`, `path`, `kind`, `mode`, `owner`, `target` or `content`.
    what: &'static str,
    /// The field, the control file or the path.
    name: String,
    /// What the old package has; none if it has no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<String>,
    /// What the new package has.
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<String>,
}

impl Record for Difference {
    fn line(&self) -> Cow<'_, [u8]> {
        let name = sanitize(&self.name);
        let text = match (self.what, &self.old, &self.new) {
            ("path", Some(_), _) => format!("- {name}"),
            ("path", None, _) => format!("+ {name}"),
            (what, old, new) => {
                let show = |value: &Option<String>| value.as_deref().map_or("-".into(), sanitize);
                format!("{what} {name}: {} -> {}", show(old), show(new))
            }
        };
        text.into_bytes().into()
    }
}

impl Diff {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let read = |path: &PathBuf| {
            Opened::read(path).context(|| format!("cannot compare '{}'", display(path)))
        };
        let differences = compare(&read(&self.old)?, &read(&self.new)?)?;
        differences.iter().try_for_each(|difference| session.out.record(difference))?;
        Ok(if differences.is_empty() { Status::Done } else { Status::No })
    }
}

fn compare(old: &Opened, new: &Opened) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let paragraph = |opened: &Opened| {
        Paragraph::parse(opened.control("control").unwrap_or_default())
            .context(|| "bad control file".into())
    };
    let (a, b) = (paragraph(old)?, paragraph(new)?);
    // In the order of the old one, then what is new.
    let more = b.iter().filter(|(name, _)| a.get(name).is_none());
    for (name, _) in a.iter().chain(more) {
        let (old, new) = (a.get(name), b.get(name));
        if old != new {
            found.push(Difference {
                what: "field",
                name: name.to_owned(),
                old: old.map(str::to_owned),
                new: new.map(str::to_owned),
            });
        }
    }
    // The sums follow from the content, which is compared itself.
    let names = |opened: &Opened| -> BTreeSet<String> {
        let all = opened.control.iter().map(|file| file.name.clone());
        all.filter(|name| !["control", "md5sums"].contains(&name.as_str())).collect()
    };
    for name in names(old).union(&names(new)) {
        let (a, b) = (old.control(name), new.control(name));
        if a != b {
            let lines =
                |bytes: &[u8]| format!("{} lines", String::from_utf8_lossy(bytes).lines().count());
            found.push(Difference {
                what: "control",
                name: name.clone(),
                old: a.map(lines),
                new: b.map(lines),
            });
        }
    }
    let by_path = |opened: &'_ Opened| -> BTreeMap<String, usize> {
        let items = opened.files.iter().enumerate();
        items.map(|(at, item)| (item.path.clone(), at)).collect()
    };
    let (a, b) = (by_path(old), by_path(new));
    let all: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for path in all {
        let shown = format!("/{path}");
        let old = a.get(path).map(|at| &old.files[*at]);
        let new = b.get(path).map(|at| &new.files[*at]);
        match (old, new) {
            (Some(old), Some(new)) => items(&shown, old, new, &mut found),
            (old, new) => found.push(Difference {
                what: "path",
                name: shown,
                old: old.map(|item| kind(item).to_owned()),
                new: new.map(|item| kind(item).to_owned()),
            }),
        }
    }
    Ok(found)
}

fn items(path: &str, old: &Item, new: &Item, found: &mut Vec<Difference>) {
    let mut differ = |what: &'static str, old: String, new: String| {
        if old != new {
            found.push(Difference { what, name: path.to_owned(), old: Some(old), new: Some(new) });
        }
    };
    differ("kind", kind(old).into(), kind(new).into());
    differ("mode", format!("{:04o}", old.mode), format!("{:04o}", new.mode));
    differ("owner", old.owner.clone(), new.owner.clone());
    if kind(old) != kind(new) {
        return;
    }
    differ("target", target(old), target(new));
    if old.md5 != new.md5 {
        let shown = |item: &Item| format!("{} bytes, md5 {}", item.size, item.md5);
        differ("content", shown(old), shown(new));
    }
}

fn kind(item: &Item) -> &'static str {
    match item.kind {
        Kind::File => "file",
        Kind::Dir => "dir",
        Kind::Symlink(_) => "symlink",
        Kind::Hardlink(_) => "link",
        Kind::Other => "other",
    }
}

fn target(item: &Item) -> String {
    match &item.kind {
        Kind::Symlink(target) | Kind::Hardlink(target) => target.clone(),
        _ => String::new(),
    }
}
