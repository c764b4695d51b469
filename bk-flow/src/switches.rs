//! Options that are on or off, each with its opposite, and with a setting of the repository for who says
//! neither.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::repo::{Kind, Repo};

/// The switches of a command: name, letter, and what it does.
pub trait Known: Clone {
    /// All of them.
    const ALL: &'static [(&'static str, Option<char>, &'static str)];
}

/// What of the switches was said.
#[derive(Clone, Debug)]
pub struct Switches<K> {
    said: BTreeMap<&'static str, bool>,
    known: PhantomData<K>,
}

impl<K> Switches<K> {
    /// Whether one was said to be on or off.
    pub fn said(&self, name: &str) -> Option<bool> {
        self.said.get(name).copied()
    }

    /// Whether one is on: by the command line, else by the setting `gitflow.KIND.ACTION.NAME`.
    pub fn on(&self, repo: &Repo, kind: Kind, action: &str, name: &str) -> bool {
        let key = format!("gitflow.{}.{action}.{name}", kind.name());
        self.said(name).or_else(|| repo.flag(&key)).unwrap_or_default()
    }
}

impl<K: Known> FromArgMatches for Switches<K> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut said = BTreeMap::new();
        for (name, ..) in K::ALL {
            if matches.get_flag(name) {
                said.insert(*name, true);
            } else if matches.get_flag(&format!("no{name}")) {
                said.insert(*name, false);
            }
        }
        Ok(Switches { said, known: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<K: Known> Args for Switches<K> {
    fn augment_args(mut command: Command) -> Command {
        for (name, letter, help) in K::ALL {
            let no = format!("no{name}");
            let on = Arg::new(*name).long(*name).short(*letter).help(*help);
            // AVH's own spelling of one of them.
            let on = match name.contains('-') {
                true => on.alias(name.replace('-', "_")),
                false => on,
            };
            command = command.arg(on.action(ArgAction::SetTrue).overrides_with(no.clone()));
            let off = Arg::new(no.clone()).long(no).alias(format!("no-{name}")).hide(true);
            command = command.arg(off.action(ArgAction::SetTrue).overrides_with(*name));
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
