//! INI files as Python's configparser reads them: setup.cfg, tox.ini, pytest.ini.

use std::collections::BTreeMap;

/// Sections, with keys in lower case and values whose further lines are kept.
pub type Ini = BTreeMap<String, BTreeMap<String, String>>;

/// Reads an INI file; what is no section, key or value is passed over.
pub fn parse(text: &str) -> Ini {
    let mut ini = Ini::new();
    let (mut section, mut key) = (String::new(), None::<String>);
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
            && !line.starts_with(char::is_whitespace)
        {
            section = name.trim().to_owned();
            ini.entry(section.clone()).or_default();
            key = None;
            continue;
        }
        let values = ini.entry(section.clone()).or_default();
        match (&key, line.starts_with(char::is_whitespace)) {
            (Some(key), true) => {
                let value: &mut String = values.entry(key.clone()).or_default();
                value.push('\n');
                value.push_str(trimmed);
            }
            _ => {
                let (name, value) = trimmed.split_once(['=', ':']).unwrap_or((trimmed, ""));
                let name = name.trim().to_lowercase();
                values.insert(name.clone(), value.trim().to_owned());
                key = Some(name);
            }
        }
    }
    ini
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected values are those of Python's configparser.
    #[test]
    fn values_go_on_in_lines_that_are_indented() {
        let ini = parse("[a]\nX = 1\n  2\n\n  # no\n  3\ny:z\n[b c]\nk=\n [no]\n");
        assert_eq!(ini["a"]["x"], "1\n2\n3");
        assert_eq!(ini["a"]["y"], "z");
        assert_eq!(ini["b c"]["k"], "\n[no]");
    }
}
