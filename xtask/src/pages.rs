//! The manual pages of the tools, from their command lines.

use std::collections::BTreeMap;

use bk::{Error, Result};
use clap::builder::PossibleValue;
use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::{man, tools, workspace};

/// The heading of the options every tool has.
const COMMON: &str = "Common options";

/// The date of the pages: the day of the release, or before the first one, of its beginning. Not the
/// day they are generated, so that the same help gives the same page.
const DATE: &str = "2026-11-22";

/// Pages that are written by hand.
pub const BY_HAND: [&str; 3] = ["bk.1", "bk-stream.7", "bk.yaml.5"];

/// Writes the pages, or compares them with what is there.
pub fn run(check: bool) -> Result<()> {
    let pages = generate()?;
    let dir = workspace::root().join("man");
    let mut wrong = Vec::new();
    for (name, text) in &pages {
        let path = dir.join(name);
        let current = std::fs::read(&path).is_ok_and(|old| old == text.as_bytes());
        match (current, check) {
            (true, _) => {}
            (false, true) => wrong.push(format!("'man/{name}' is not what the tool's help says")),
            (false, false) => {
                bk::file::write(&path, text)?;
                println!("man/{name}");
            }
        }
    }
    for path in man::pages()? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !pages.contains_key(&name) && !BY_HAND.contains(&name.as_str()) {
            match check {
                true => wrong.push(format!("'man/{name}' describes no command")),
                false => std::fs::remove_file(&path)?,
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::new(wrong.join("\n")).hint("run 'cargo xtask man'")),
    }
}

/// Each page's name and text.
pub fn generate() -> Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    for tool in tools::commands() {
        add(&tool, &[], &mut pages)?;
    }
    Ok(pages)
}

fn add(command: &Command, above: &[&str], pages: &mut BTreeMap<String, String>) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    pages.insert(format!("{name}.1"), page(command, above)?);
    let path: Vec<&str> = above.iter().copied().chain([name]).collect();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        add(sub, &path, pages)?;
    }
    Ok(())
}

fn page(command: &Command, above: &[&str]) -> Result<String> {
    let mut text = Vec::new();
    let mut shown = command.clone().mut_args(values);
    if !above.is_empty() {
        // Said once, on the tool's own page.
        shown = shown.mut_args(|arg| match arg.get_help_heading() {
            Some(COMMON) => arg.hide(true),
            _ => arg,
        });
    }
    title(&shown).to_writer(&mut text)?;
    let man = Man::new(shown.clone());
    man.render_name_section(&mut text)?;
    synopsis(&mut shown).to_writer(&mut text)?;
    man.render_description_section(&mut text)?;
    if shown.get_arguments().any(|arg| !arg.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if let [tool, ..] = above {
        let mut roff = Roff::new();
        roff.control("SH", ["COMMON OPTIONS"]);
        roff.text([
            roman("See "),
            bold(*tool),
            roman("(1) for the options all commands have, such as "),
            bold("--json"),
            roman("."),
        ]);
        roff.to_writer(&mut text)?;
    }
    if shown.get_subcommands().any(|sub| !sub.is_hide_set()) {
        man.render_subcommands_section(&mut text)?;
    }
    let after = shown.get_after_long_help().or(shown.get_after_help());
    sections(&after.map(ToString::to_string).unwrap_or_default()).to_writer(&mut text)?;
    see_also(&shown, above).to_writer(&mut text)?;
    let text = String::from_utf8(text)?;
    // Each section brings this definition of an apostrophe anew; the character itself needs none.
    let preamble = |line: &&str| line.starts_with(".ie \\n(.g ") || line.starts_with(".el .ds Aq ");
    // Blanks at the end of a line mean nothing to a reader, and something to mandoc.
    let lines = text.lines().filter(|line| !preamble(line)).map(str::trim_end);
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    Ok(text.replace("\\*(Aq", "\\(aq").replace(".br\n\n.br\n", ".sp\n"))
}

/// Tells the values an option can have in its help, which takes a line instead of a list.
fn values(arg: Arg) -> Arg {
    let values = arg.get_possible_values();
    let visible = values.iter().filter(|value| !value.is_hide_set());
    if values.is_empty() || arg.is_hide_possible_values_set() || visible.clone().any(told) {
        return arg;
    }
    let names: Vec<&str> = visible.map(PossibleValue::get_name).collect();
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = format!("{help} [one of: {}]", names.join(", "));
    arg.long_help(help).hide_possible_values(true)
}

/// Whether a value has a help of its own.
fn told(value: &PossibleValue) -> bool {
    value.get_help().is_some()
}

fn title(command: &Command) -> Roff {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_uppercase();
    let mut roff = Roff::new();
    let version = concat!("BuildKit ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [name.as_str(), "1", DATE, version, "BuildKit"]);
    roff
}

fn synopsis(command: &mut Command) -> Roff {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let usage = command.render_usage().to_string();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for (number, form) in usage.trim_start_matches("Usage:").lines().map(str::trim).enumerate() {
        if number > 0 {
            roff.control("br", []);
        }
        match form.strip_prefix(&name) {
            Some(rest) => roff.text([bold(name.as_str()), roman(rest)]),
            None => roff.text([roman(form)]),
        };
    }
    roff
}

/// What follows the options in the help: a line that ends with a colon and is not indented starts
/// a section, indented lines are kept as they are.
fn sections(help: &str) -> Roff {
    let mut sections: Vec<(String, Vec<&str>)> = Vec::new();
    for line in help.lines() {
        match line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            Some(heading) => sections.push((heading.to_uppercase(), Vec::new())),
            None if sections.is_empty() && line.trim().is_empty() => {}
            None => match sections.last_mut() {
                Some((_, lines)) => lines.push(line),
                None => sections.push(("NOTES".into(), vec![line])),
            },
        }
    }
    let mut roff = Roff::new();
    if !sections.iter().any(|(heading, _)| heading == "EXIT STATUS") {
        roff.control("SH", ["EXIT STATUS"]);
        for (status, meaning) in [
            ("0", "Everything asked for was done."),
            ("1", "The work failed, or some inputs failed and all others were done."),
            ("2", "The command line or the configuration is wrong."),
            ("75", "A lock is held or the network does not answer: try again."),
        ] {
            roff.control("TP", []);
            roff.text([bold(status)]);
            roff.text([roman(meaning)]);
        }
    }
    for (heading, lines) in &sections {
        roff.control("SH", [heading.as_str()]);
        let text = lines.join("\n");
        match heading.as_str() {
            "EXIT STATUS" => statuses(&mut roff, text.trim_matches('\n')),
            _ => paragraphs(&mut roff, text.trim_matches('\n')),
        }
    }
    roff
}

/// Lines of a number and its meaning.
fn statuses(roff: &mut Roff, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(' ').filter(|(status, _)| status.parse::<u8>().is_ok()) {
            Some((status, meaning)) => {
                roff.control("TP", []);
                roff.text([bold(status)]);
                roff.text([roman(meaning.trim())]);
            }
            None => drop(roff.text([roman(line)])),
        }
    }
}

fn paragraphs(roff: &mut Roff, text: &str) {
    for (number, paragraph) in text.split("\n\n").enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        if paragraph.lines().all(|line| line.starts_with(' ')) {
            let indent = |line: &str| line.len() - line.trim_start().len();
            let least = paragraph.lines().map(indent).min().unwrap_or(0);
            roff.control("RS", ["4"]);
            roff.control("nf", []);
            for line in paragraph.lines() {
                roff.text([roman(&line[least..])]);
            }
            roff.control("fi", []);
            roff.control("RE", []);
        } else {
            for line in paragraph.lines() {
                roff.text([roman(line.trim())]);
            }
        }
    }
}

fn see_also(command: &Command, above: &[&str]) -> Roff {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut pages: Vec<(String, &str)> = above.iter().map(|page| (page.to_string(), "1")).collect();
    let subs = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    pages.extend(subs.map(|sub| (format!("{name}-{}", sub.get_name()), "1")));
    pages.extend([("bk", "1"), ("bk.yaml", "5"), ("bk-stream", "7")].map(|(n, s)| (n.into(), s)));
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let last = pages.len() - 1;
    for (number, (page, section)) in pages.iter().enumerate() {
        let end = if number == last { "" } else { "," };
        roff.text([bold(page.as_str()), roman(format!("({section}){end}"))]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_after_the_options_becomes_sections() {
        let roff = sections(
            "Exit status:\n  0  done\n  3  the answer is no\n\nExamples:\n  What it does:\n\n  $ \
             bk x | y\n    z\n",
        );
        let text = roff.render();
        assert!(
            text.contains(".SH \"EXIT STATUS\"\n.TP\n\\fB0\\fR\ndone\n.TP\n\\fB3\\fR\n"),
            "{text}"
        );
        assert!(text.contains(".SH EXAMPLES\n"), "{text}");
        assert!(text.contains(".nf\n$ bk x | y\n  z\n.fi\n"), "{text}");
    }
}
