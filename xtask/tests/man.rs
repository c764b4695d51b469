//! The manual says what the tools say.
#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::process::Command;

use xtask::{man, pages, tools};

/// The pages there are, by name.
fn pages_by_name() -> BTreeMap<String, String> {
    let pages = man::pages().unwrap().into_iter();
    pages
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn the_pages_are_what_the_commands_say() {
    if let Err(error) = pages::run(true) {
        panic!("{error}; {}", error.hint_text().unwrap());
    }
    for name in pages::BY_HAND {
        assert!(pages_by_name().contains_key(name), "{name}");
    }
}

#[test]
fn mandoc_finds_nothing_to_complain_about() {
    for path in man::pages().unwrap() {
        let mut mandoc = Command::new("mandoc");
        let output = mandoc.args(["-T", "lint", "-W", "warning"]).arg(path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }
}

#[test]
fn every_page_names_its_statuses_and_leads_on_to_pages_there_are() {
    let pages = pages_by_name();
    for (name, text) in &pages {
        let section = name.rsplit('.').next().unwrap();
        if section == "1" {
            assert!(text.contains("EXIT STATUS"), "{name}");
        }
        assert!(text.contains("SEE ALSO"), "{name}");
        // .Xr bk-deb 1
        for reference in text.lines().filter_map(|line| line.strip_prefix(".Xr bk")) {
            let mut words = reference.split(' ');
            let page = format!("bk{}.{}", words.next().unwrap(), words.next().unwrap());
            assert!(pages.contains_key(&page), "{name} leads on to {page}");
        }
    }
}

#[test]
fn every_option_of_the_help_is_on_its_page() {
    fn check(command: &clap::Command, name: &str) {
        let page = mandoc(name);
        let own = |arg: &&clap::Arg| {
            !arg.is_hide_set()
                && (!name.contains(' ') || arg.get_help_heading() != Some("Common options"))
        };
        for option in command.get_arguments().filter(own).filter_map(clap::Arg::get_long) {
            assert!(page.contains(&format!("--{option}")), "--{option} of {name}");
        }
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            check(sub, &format!("{name} {}", sub.get_name()));
        }
    }
    for tool in tools::commands() {
        check(&tool, tool.get_name());
    }
}

/// The page of a command, as a person reads it.
fn mandoc(command: &str) -> String {
    let name = format!("{}.1", command.replace(' ', "-"));
    let path = man::pages().unwrap().into_iter().find(|path| path.ends_with(&name));
    let mut mandoc = Command::new("mandoc");
    // Without the overstriking that makes bold letters of a terminal.
    mandoc.args(["-T", "utf8", "-O", "width=1000"]).arg(path.unwrap());
    let text = String::from_utf8(mandoc.output().unwrap().stdout).unwrap();
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '\u{8}' => {
                plain.truncate(plain.len() - plain.chars().next_back().map_or(0, char::len_utf8))
            }
            c => plain.push(c),
        }
    }
    plain
}
