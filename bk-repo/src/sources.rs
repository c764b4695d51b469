//! `bk-repo sources`

use std::path::PathBuf;

use bk::{Error, Result, Session, Status};

use crate::archive::commit::Commit;
use crate::archive::repository::public_keys;
use crate::command::{self, check_word};
use crate::openpgp::armor_keys;

/// Print the .sources file (sources.list(5)) with which apt uses a repository, the key in it
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bk-repo sources /srv/apt --uri http://HOST:8080/ > /etc/apt/sources.list.d/own.sources
      Let this machine use the repository; then run apt-get update.
  bk-repo sources /srv/apt --uri file:/srv/apt --suite stable
      One suite, without a server.

Exit status:
  0   printed
  1   the repository cannot be read
  2   the command line or the configuration is wrong
")]
pub struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repo: PathBuf,
    /// Where clients find it, such as http://HOST:PORT/ or file:/srv/apt
    #[arg(long, value_name = "URI", value_parser = uri)]
    uri: String,
    /// Only this suite; given several times: these
    #[arg(long, value_name = "NAME", value_parser = check_word)]
    suite: Vec<String>,
}

fn uri(text: &str) -> Result<String> {
    let good = text.contains(':') && !text.contains(|c: char| c.is_control() || c == ' ');
    match good {
        true => Ok(text.to_owned()),
        false => Err(Error::new("not a URI such as http://HOST/ or file:/DIR")),
    }
}

/// Prints the .sources file.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let head = command::repository(session, &args.repo)?.head()?;
    if let Some(name) = args.suite.iter().find(|name| !head.suites.contains_key(*name)) {
        return Err(
            Error::new(format!("the repository has no suite '{name}'")).status(Status::Usage)
        );
    }
    session.out.raw(text(&head, &args.uri, &args.suite)?)?;
    Ok(Status::Done)
}

/// Suites that a paragraph can name together.
struct Group<'a> {
    components: &'a [String],
    names: Vec<&'a str>,
    sources: bool,
}

/// The .sources file for `suites`, or for all of them: a paragraph for those with the same components,
/// since apt warns of those that a suite has not.
pub fn text(head: &Commit, uri: &str, suites: &[String]) -> Result<String> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (name, suite) in &head.suites {
        if !suites.is_empty() && !suites.contains(name) {
            continue;
        }
        let components = suite.settings.components.as_slice();
        let sources = suite.indexes.keys().any(|index| index.ends_with("/Sources"));
        match groups.iter_mut().find(|group| group.components == components) {
            Some(group) => {
                group.names.push(name);
                group.sources |= sources;
            }
            None => groups.push(Group { components, names: vec![name], sources }),
        }
    }
    let key = armor_keys(&public_keys(head)?)?;
    let mut text = String::new();
    for Group { components, names, sources } in groups {
        let types = if sources { "deb deb-src" } else { "deb" };
        if !text.is_empty() {
            text += "\n";
        }
        text += &format!(
            "Types: {types}\nURIs: {uri}\nSuites: {}\nComponents: {}\nSigned-By:\n",
            names.join(" "),
            components.join(" ")
        );
        for line in key.lines() {
            // An empty line inside a field is a dot (deb822(5)).
            text += &format!(" {}\n", if line.is_empty() { "." } else { line });
        }
    }
    Ok(text)
}
