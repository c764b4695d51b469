//! `bk-flow init`

use std::io::{BufRead, Write};

use bk::{Cmd, Context, Error, Result, Session, Status};
use clap::Args;

use crate::config::{Place, Setting};
use crate::repo::Repo;
use crate::switches::{Known, Switches};

#[derive(Clone, Debug)]
pub struct On;

impl Known for On {
    const ALL: &'static [(&'static str, Option<char>, &'static str)] = &[
        ("defaults", Some('d'), "Take the usual names, and ask nobody"),
        ("force", Some('f'), "Ask again for what is known"),
    ];
}

/// Set a repository up for git-flow
///
/// Begins a repository where there is none. Asks for the branches of what is released and what will be,
/// and for the beginnings of the names of the others; an empty answer is the usual one, `-` is none. A
/// branch develop is made where there is none, and checked out. Prints what was set.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-flow init --defaults
      With the usual names.
  bk-flow init -d --tag v
      The same, with tags like v1.2.

Exit status:
  0   set up, or it was already
  1   it cannot be; or changes are not committed
  2   the command line is wrong
")]
pub struct Init {
    #[command(flatten)]
    on: Switches<On>,
    /// How features begin
    #[arg(short = 'p', long, value_name = "PREFIX")]
    feature: Option<String>,
    /// How bugfixes begin
    #[arg(short, long, value_name = "PREFIX")]
    bugfix: Option<String>,
    /// How releases begin
    #[arg(short, long, value_name = "PREFIX")]
    release: Option<String>,
    /// How hotfixes begin
    #[arg(short = 'x', long, value_name = "PREFIX")]
    hotfix: Option<String>,
    /// How support branches begin
    #[arg(short, long, value_name = "PREFIX")]
    support: Option<String>,
    /// How tags begin
    #[arg(short, long, value_name = "PREFIX")]
    tag: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Init {
    /// Runs the command.
    pub fn run(self, session: &mut Session, show: bool) -> Result<Status> {
        let there = Cmd::new("git", &session.console).args(["rev-parse", "--git-dir"]);
        if !there.output_unchecked()?.status.success() {
            if self.dry_run {
                session.console.note("there is no repository here: one would be begun");
                return Ok(Status::Done);
            }
            Cmd::new("git", &session.console).args(["init", "--quiet"]).output()?;
        }
        let mut repo = Repo::open(session, show)?;
        let headless = repo.ask(&["rev-parse", "--verify", "--quiet", "HEAD"]).is_err();
        if !headless {
            repo.require_clean()?;
        }
        let given = |on: &str| self.on.said(on);
        let force = given("force").unwrap_or_default();
        let defaults = given("defaults").or_else(|| repo.flag("gitflow.init.defaults"));
        let defaults = defaults.unwrap_or_default();
        if repo.is_initialized() && !force {
            session.console.warn("it is set up already; --force asks again");
            return Ok(Status::Done);
        }
        let mut setter =
            Setter { session, place: self.place.option(), defaults, dry: self.dry_run };

        let known =
            |repo: &Repo, key: &str| repo.get(key).map(str::to_owned).filter(|b| repo.has(b));
        let master = match known(&repo, "gitflow.branch.master").filter(|_| !force) {
            Some(master) => master,
            None => {
                let master = setter.master(&repo)?;
                setter.set(&repo, "gitflow.branch.master", &master)?;
                master
            }
        };
        let develop = match known(&repo, "gitflow.branch.develop").filter(|_| !force) {
            Some(develop) => develop,
            None => {
                let develop = setter.develop(&repo, &master)?;
                setter.set(&repo, "gitflow.branch.develop", &develop)?;
                develop
            }
        };
        if !self.dry_run {
            begin(&mut repo, headless, &master, &develop)?;
        }

        let prefixes = [
            ("feature", "Feature branches?", &self.feature, "feature/"),
            ("bugfix", "Bugfix branches?", &self.bugfix, "bugfix/"),
            ("release", "Release branches?", &self.release, "release/"),
            ("hotfix", "Hotfix branches?", &self.hotfix, "hotfix/"),
            ("support", "Support branches?", &self.support, "support/"),
            ("versiontag", "Version tag prefix?", &self.tag, ""),
        ];
        for (name, question, given, usual) in prefixes {
            let key = format!("gitflow.prefix.{name}");
            if repo.get(&key).is_some() && !force {
                continue;
            }
            let elsewhere = repo.get_of("system", &key).or_else(|| repo.get_of("global", &key));
            let usual = given.as_deref().or(elsewhere).unwrap_or(usual).to_owned();
            let prefix = setter.ask(question, &usual)?;
            setter.set(&repo, &key, &prefix)?;
        }
        if repo.get("gitflow.path.hooks").is_none() || force {
            let own = repo.git_dir.join("hooks").display().to_string();
            let usual = repo.get("gitflow.path.hooks").or_else(|| repo.get("core.hookspath"));
            let usual = usual.map_or(own, str::to_owned);
            let hooks = setter.ask("Hooks and filters directory?", &usual)?;
            setter.set(&repo, "gitflow.path.hooks", &hooks)?;
        }
        Ok(Status::Done)
    }
}

/// Begins the branches that are not there.
fn begin(repo: &mut Repo, headless: bool, master: &str, develop: &str) -> Result<()> {
    if headless {
        repo.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{master}")])?;
        repo.git(&["commit", "--allow-empty", "--quiet", "-m", "Initial commit"])?;
        repo.look()?;
    }
    let new = !repo.has(develop);
    if new {
        let remote = format!("{}/{develop}", repo.origin());
        match repo.has_remote(develop) {
            true => repo.git(&["branch", "--quiet", develop, &remote])?,
            false => repo.git(&["branch", "--no-track", develop, master])?,
        }
    }
    match headless || new {
        true => repo.git(&["checkout", "--quiet", develop]),
        false => Ok(()),
    }
}

/// Asks, and sets.
struct Setter<'a> {
    session: &'a mut Session,
    place: Option<String>,
    defaults: bool,
    dry: bool,
}

impl Setter<'_> {
    /// The branch of what is released: one that is there, unless there are none.
    fn master(&mut self, repo: &Repo) -> Result<String> {
        let known = repo.get("gitflow.branch.master").unwrap_or("master").to_owned();
        if repo.branches().next().is_none() {
            return self.ask("Branch name for production releases:", &known);
        }
        let guesses = [known.as_str(), "production", "main", "master"];
        let guess = guesses.into_iter().find(|guess| repo.has(guess));
        let usual = guess.map(str::to_owned).or(self.defaults.then_some(known.clone()));
        let all: Vec<&str> = repo.branches().collect();
        self.session.console.note(&format!("branches: {}", all.join(", ")));
        let master =
            self.ask("Branch name for production releases:", usual.as_deref().unwrap_or_default())?;
        if !repo.has(&master) && repo.has_remote(&master) && !self.dry {
            repo.git(&["branch", "--quiet", &master, &format!("{}/{master}", repo.origin())])?;
        } else if !repo.has_remote(&master) {
            repo.require_local(&master)?;
        }
        Ok(master)
    }

    /// The branch of what will be.
    fn develop(&mut self, repo: &Repo, master: &str) -> Result<String> {
        let known = repo.get("gitflow.branch.develop").unwrap_or("develop").to_owned();
        let question = "Branch name for \"next release\" development:";
        let alone = repo.branches().all(|branch| branch == master);
        let guesses = [known.as_str(), "develop", "int", "integration", "master"];
        let guess = guesses.into_iter().find(|guess| repo.has(guess) && *guess != master);
        let usual = match guess {
            Some(guess) => guess.to_owned(),
            None if alone || self.defaults => known.clone(),
            None => String::new(),
        };
        let develop = self.ask(question, &usual)?;
        if develop == *master {
            return Err(Error::new("what is released and what will be are one branch")
                .hint("they are to be two, as master and develop"));
        }
        if !alone {
            repo.require_local(&develop)?;
        }
        Ok(develop)
    }

    /// An answer to a question, or the usual one.
    fn ask(&mut self, question: &str, usual: &str) -> Result<String> {
        if self.defaults {
            return Ok(usual.to_owned());
        }
        let mut stderr = std::io::stderr();
        write!(stderr, "{question} [{usual}] ").context(|| "cannot ask".into())?;
        let mut answer = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut answer)
            .context(|| "cannot read an answer".into())?;
        Ok(match answer.trim_end_matches('\n') {
            "" => usual.to_owned(),
            "-" => String::new(),
            answer => answer.to_owned(),
        })
    }

    /// Sets what was answered.
    fn set(&mut self, repo: &Repo, key: &str, value: &str) -> Result<()> {
        if !self.dry {
            let mut args = vec!["config"];
            args.extend(self.place.as_deref());
            args.extend([key, value]);
            repo.git(&args).context(|| format!("cannot set '{key}'"))?;
        }
        self.session.out.record(&Setting { name: key, value, label: key })
    }
}
