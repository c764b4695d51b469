//! `bk-flow install`

use std::borrow::Cow;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use bk::record::Record;
use bk::{Context, Error, Result, Session, Status, display};
use clap::Args;
use serde::Serialize;

/// Make this program what `git flow` runs
///
/// git runs the program git-flow that it finds first on PATH: a link of that name is made to this one, and
/// printed.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow install
      From now on, git flow is bk-flow.
  bk-flow install --remove
      No longer.

Exit status:
  0   it is so
  1   something else is there
  2   the command line is wrong
")]
pub struct Install {
    /// Where the link is made; ~/.local/bin, or /usr/local/bin for root, if not given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Take the link away
    #[arg(long)]
    remove: bool,
    /// Replace what is there
    #[arg(short, long)]
    force: bool,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "link")]
struct Link {
    #[serde(serialize_with = "bk::record::path")]
    path: PathBuf,
}

impl Record for Link {
    fn line(&self) -> Cow<'_, [u8]> {
        self.path.as_os_str().as_bytes().into()
    }
}

impl Install {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let own = std::env::current_exe().context(|| "cannot find this program itself".into())?;
        let dir = match self.dir {
            Some(dir) => dir,
            None if rustix::process::geteuid().is_root() => PathBuf::from("/usr/local/bin"),
            None => std::env::var_os("HOME")
                .map(|home| PathBuf::from(home).join(".local/bin"))
                .ok_or_else(|| {
                    Error::new("it is not said where your home is ($HOME)").hint("say --dir")
                })?,
        };
        let path = dir.join("git-flow");
        let failed = || format!("cannot change '{}'", display(&path));
        let there = path.symlink_metadata().is_ok();
        let ours = fs::read_link(&path).is_ok_and(|to| to == own);
        if there && !ours && !self.force {
            return Err(Error::new("something else is there already")
                .context(failed())
                .hint("--force replaces it, --dir makes the link elsewhere"));
        }
        if !self.dry_run {
            bk::file::create_dir(&dir)?;
            // A link of another name that takes this one: whoever calls it finds the one or the other.
            if self.remove {
                if there {
                    fs::remove_file(&path).context(failed)?;
                }
            } else if !ours {
                let new = dir.join(".git-flow.new");
                drop(fs::remove_file(&new));
                symlink(&own, &new).context(failed)?;
                fs::rename(&new, &path).context(failed)?;
            }
        }
        let first = std::env::var_os("PATH").and_then(|all| {
            let all: Vec<PathBuf> = std::env::split_paths(&all).collect();
            all.into_iter().map(|dir| dir.join("git-flow")).find(|path| path.exists())
        });
        if !self.remove && first.as_ref().is_none_or(|first| *first != path) && !self.dry_run {
            let what =
                first.map_or("no git-flow".to_owned(), |first| format!("'{}'", display(first)));
            session.console.warn(&format!(
                "on PATH, {what} comes first: put '{}' in front of it",
                display(&dir)
            ));
        }
        session.out.record(&Link { path })?;
        Ok(Status::Done)
    }
}
