//! `entry_points.txt` (the entry points specification): an INI file as Python's configparser reads
//! it with `=` as the only delimiter.

use bk::{Error, Result};

/// What an installed command calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// The command's name.
    pub name: String,
    /// The module to import.
    pub module: String,
    /// What to call in it: `main`, or `a.b` for an attribute of an attribute.
    pub attribute: String,
    /// The extras it needs.
    pub extras: Vec<String>,
    /// Whether it is one of `gui_scripts`.
    pub gui: bool,
}

/// The commands of a distribution, `console_scripts` and then `gui_scripts`, in their order.
/// Other groups are for other programs.
pub fn parse(text: &str) -> Result<Vec<EntryPoint>> {
    let mut group = "";
    let mut pairs: Vec<(&str, &str, String)> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with([' ', '\t'])
            && let Some((in_group, _, value)) = pairs.last_mut()
            && *in_group == group
        {
            value.push_str(trimmed);
        } else if let Some(name) = trimmed.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            group = name.trim();
        } else if let Some((name, value)) = trimmed.split_once('=') {
            pairs.push((group, name.trim(), value.trim().to_owned()));
        }
    }
    let of = |wanted: &'static str| pairs.iter().filter(move |(group, ..)| *group == wanted);
    of("console_scripts")
        .chain(of("gui_scripts"))
        .map(|(group, name, value)| {
            entry_point(name, value, *group == "gui_scripts").ok_or_else(|| {
                let line = bk::sanitize(&format!("{name} = {value}"));
                Error::new(format!("its entry point '{line}' is no command"))
            })
        })
        .collect()
}

fn entry_point(name: &str, value: &str, gui: bool) -> Option<EntryPoint> {
    let (target, extras) = match value.split_once('[') {
        Some((target, extras)) => (target.trim(), extras.trim().strip_suffix(']')?),
        None => (value, ""),
    };
    let (module, attribute) = target.split_once(':')?;
    let (module, attribute) = (module.trim(), attribute.trim());
    let extras = extras.split(',').map(str::trim).filter(|extra| !extra.is_empty());
    // What is written into a script must be names and nothing else; what becomes a file name too.
    let identifier = |name: &str| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let names = |dotted: &str| dotted.split('.').all(identifier);
    let file_name = !name.is_empty()
        && !name.starts_with(['-', '.'])
        && !name.contains(|c: char| c == '/' || c == '\\' || c.is_control());
    (file_name && names(module) && names(attribute)).then(|| EntryPoint {
        name: name.into(),
        module: module.into(),
        attribute: attribute.into(),
        extras: extras.map(str::to_owned).collect(),
        gui,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_commands_are_found_with_attributes_and_extras() {
        let text = "# comment\n[gui_scripts]\nwin=a.b:c\n[console_scripts]\nx = m:main\n\
                    y : z = m.n : C.run [fast, big]\n\n[other]\nx = nothing\n";
        let points = parse(text).unwrap();
        let names: Vec<_> = points.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["x", "y : z", "win"]);
        assert_eq!(points[1].attribute, "C.run");
        assert_eq!(points[1].extras, ["fast", "big"]);
        assert!(points[2].gui);
    }

    #[test]
    fn what_would_escape_a_script_or_a_folder_is_refused() {
        for bad in
            ["../x = m:f", "x = m", "x = m:f()", "x = m;import os:f", "x = m:f [a", "- = m:f"]
        {
            let text = format!("[console_scripts]\n{bad}\n");
            assert!(parse(&text).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in "[\\[\\]a:=.\n \u{e9}#-]{0,60}") {
            drop(parse(&format!("[console_scripts]\n{text}")));
        }
    }
}
