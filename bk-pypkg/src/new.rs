//! `bk-pypkg new`

use std::path::{Path, PathBuf};

use bk::file::TempDir;
use bk::{Context, Error, Result, Session, Status};
use bk_template::question::Answer;
use bk_template::template::Template;
use bk_template::tree::{self, Node, There};
use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::license::License;
use crate::template::Made;
use crate::{files, git, name};

/// Make a Python package
///
/// It is set up for pip, Sphinx and the index, with tests and doctests that pass, types that are checked
/// and a Makefile for all of it; bk-deb makes a Debian package of it as it is. Prints the files. A folder
/// that is not there yet appears with all that belongs in it, or not at all; in one that is there, nothing
/// is written if a file would be replaced.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-pypkg new libfoo -d 'Counts things' --author 'Jane Doe' --email jane@example.com
      Make the package libfoo in the folder libfoo.
  bk-pypkg new libfoo --git --license 'MIT OR Apache-2.0' --url https://git.example.com/libfoo
      The same, with a repository; author and email are those git knows.
  bk-pypkg new libfoo && bk-deb build ./libfoo -o debs
      A Debian package of it.

Exit status:
  0   made
  1   files there are other, and nothing was written; or git failed, which is said
  2   the command line is wrong, a name cannot be used, or nobody knows who the author is
")]
pub struct New {
    /// What pip installs
    name: String,
    /// Its folder; the name if not given
    dir: Option<PathBuf>,
    /// What it is, in a line
    #[arg(short, long, value_name = "TEXT")]
    description: Option<String>,
    /// Who wrote it; $DEBFULLNAME, or who git says, if not given
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Where to reach them; $DEBEMAIL, or what git says, if not given
    #[arg(long)]
    email: Option<String>,
    /// Its licence, as an SPDX expression; the text is written too
    #[arg(long, value_name = "SPDX", default_value = "MIT")]
    license: String,
    /// Where its source is
    #[arg(long)]
    url: Option<String>,
    /// What Python imports; with dots, it is in a namespace
    #[arg(long, value_name = "NAME")]
    import_name: Option<String>,
    /// The oldest Python it runs with
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// Only a library, without a program
    #[arg(long)]
    no_script: bool,
    /// Who runs its tests at each push; by --url if not given
    #[arg(long, value_parser = PossibleValuesParser::new(["none", "github", "gitlab"]))]
    ci: Option<String>,
    /// With the folder debian, for dpkg-buildpackage
    #[arg(long)]
    debian: bool,
    /// Begin a git repository
    #[arg(long)]
    git: bool,
    /// The same, with the branches and settings of git-flow
    #[arg(long)]
    git_flow: bool,
    /// A template of your own, as `bk-pypkg template` writes it
    #[arg(long, value_name = "DIR")]
    template: Option<PathBuf>,
    /// An answer to what such a template asks beside
    #[arg(short = 'D', long = "define", value_name = "NAME=VALUE", requires = "template")]
    define: Vec<Answer>,
    /// Replace files that are there
    #[arg(long, conflicts_with = "keep")]
    overwrite: bool,
    /// Keep files that are there
    #[arg(long)]
    keep: bool,
    /// Print what would be made, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl New {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        name::check(&self.name)?;
        let dir = self.dir.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        let import_name = match &self.import_name {
            Some(import_name) => import_name.clone(),
            None => name::import_name(&self.name),
        };
        name::check_import(&import_name)?;
        let (author, email) = self.who(session)?;
        let now = match session.epoch {
            Some(epoch) => Timestamp::from_second(epoch)?.to_zoned(TimeZone::UTC),
            None => Zoned::now(),
        };
        let license = License::parse(&self.license, &author, now.year())?;
        if self.git || self.git_flow {
            git::check(&dir, &session.console)?;
        }

        bk::file::create_dir(&session.dirs.cache)?;
        let scratch = TempDir::new_in(&session.dirs.cache)?;
        let root = match &self.template {
            Some(template) => template.as_path(),
            None => {
                files::write(scratch.path())?;
                scratch.path()
            }
        };
        let template = Template::open(root)?;
        let engine = template.engine(session.epoch)?;
        let answers = self.answers(&template, &import_name, (&author, &email), &now)?;
        let answers = template.answer(&engine, &answers, &serde_yaml::Mapping::new(), None)?;
        let mut made = template.make(&engine, &answers)?;
        for (file, text) in license.files() {
            let node = Node::File { bytes: text.as_bytes().to_vec(), executable: false };
            made.insert(file.into(), node);
        }
        if self.debian {
            let url = self.url.as_deref().unwrap_or_default();
            let bytes = license.debian_copyright(&self.name, &email, url).into_bytes();
            made.insert("debian/copyright".into(), Node::File { bytes, executable: false });
        }
        let there = match (self.overwrite, self.keep) {
            (true, _) => There::Replace,
            (_, true) => There::Keep,
            _ => There::Refuse,
        };
        let written = tree::write(&made, &dir, there, &|_: &Path| false, self.dry_run)?;
        for path in written {
            session.out.record(&Made { path: dir.join(path) })?;
        }
        if (self.git || self.git_flow) && !self.dry_run {
            let who = (author.as_str(), email.as_str());
            git::init(&dir, who, session.epoch, self.git_flow, &session.console)?;
        }
        Ok(Status::Done)
    }

    /// Who the author is, and where to reach them.
    fn who(&self, session: &Session) -> Result<(String, String)> {
        // As dch(1) and reportbug(1) have them.
        let told = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let mut author = self.author.clone().or_else(|| told("DEBFULLNAME"));
        let mut email = self.email.clone().or_else(|| told("DEBEMAIL"));
        if author.is_none() || email.is_none() {
            let known = git::identity(&session.console);
            author = author.or(known.0);
            email = email.or(known.1);
        }
        let missing = |what: &str, option: &str| {
            Error::new(format!("nobody knows {what}"))
                .hint(format!("say it with {option}, or to git: git config --global user.*"))
                .status(Status::Usage)
        };
        let author = author.ok_or_else(|| missing("who the author is", "--author"))?;
        let email = email.ok_or_else(|| missing("where to reach the author", "--email"))?;
        line("--author", &author)?;
        line("--email", &email)?;
        let address = email.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && !host.is_empty() && !email.contains([' ', '<', '>', ',', '"', '\\'])
        });
        if !address {
            return Err(Error::new(format!("'{}' is no address", bk::sanitize(&email)))
                .hint("as jane@example.com")
                .status(Status::Usage));
        }
        Ok((author, email))
    }

    /// What the template is told.
    fn answers(
        &self,
        template: &Template,
        import_name: &str,
        (author, email): (&str, &str),
        now: &Zoned,
    ) -> Result<Vec<Answer>> {
        let python = self.python.as_deref();
        let version = |text: &str| {
            let digits = |part: &str| {
                !part.is_empty() && part.len() < 4 && part.bytes().all(|b| b.is_ascii_digit())
            };
            text.split_once('.').is_some_and(|(major, minor)| major == "3" && digits(minor))
        };
        if let Some(python) = python.filter(|python| !version(python)) {
            return Err(Error::new(format!(
                "'{}' is no version of Python 3",
                bk::sanitize(python)
            ))
            .hint("as 3.11")
            .status(Status::Usage));
        }
        let url = self.url.as_deref();
        if let Some(url) = url.filter(|url| {
            let web = url.starts_with("https://") || url.starts_with("http://");
            !web || url
                .contains(|c: char| c.is_whitespace() || c.is_control() || "\"<>\\".contains(c))
        }) {
            return Err(Error::new(format!("'{}' is no URL of a page", bk::sanitize(url)))
                .hint("as https://git.example.com/libfoo")
                .status(Status::Usage));
        }
        let date =
            jiff::fmt::rfc2822::to_string(now).context(|| "cannot say what day it is".into())?;
        let year = now.year().to_string();
        let description = self.description.as_deref().map(str::trim).filter(|d| !d.is_empty());
        if let Some(description) = description {
            line("--description", description)?;
        }
        let yes_or_no = |yes: bool| if yes { "true" } else { "false" };
        let all = [
            ("name", Some(self.name.as_str())),
            ("import_name", Some(import_name)),
            ("description", description),
            ("author", Some(author)),
            ("email", Some(email)),
            ("license", Some(self.license.as_str())),
            ("url", url.map(|url| url.trim_end_matches('/'))),
            ("python", python),
            ("script", Some(yes_or_no(!self.no_script))),
            ("ci", self.ci.as_deref()),
            ("debian", Some(yes_or_no(self.debian))),
            ("year", Some(year.as_str())),
            ("date", Some(date.as_str())),
        ];
        // A template of one's own need not ask for all of it.
        let asked = |name: &str| template.questions.iter().any(|question| question.name == name);
        let told = all.into_iter().filter(|(name, _)| asked(name)).filter_map(|(name, text)| {
            Some(Answer { name: name.to_owned(), text: text?.to_owned() })
        });
        Ok(told.chain(self.define.iter().cloned()).collect())
    }
}

/// Checks that what goes into many formats is a line of text.
fn line(option: &str, text: &str) -> Result<()> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Error::new(format!("what {option} says is not a line of text"))
            .hint("letters, digits and signs, without line breaks")
            .status(Status::Usage));
    }
    Ok(())
}
