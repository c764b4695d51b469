//! Licences by their SPDX identifiers: their texts, and what debian/copyright says of them.

use bk::{Error, Result, Status, sanitize};
use spdx::Expression;

/// Longer lines of a text are broken here, as its steward's own text has them.
const WIDTH: usize = 79;

/// A licence, or a choice of several.
pub struct License {
    /// The expression (PEP 639), as SPDX spells it.
    pub expression: String,
    /// Each licence of it, and exception: its identifier and text.
    texts: Vec<(String, String)>,
    author: String,
    year: i16,
}

impl License {
    /// Reads an SPDX expression: `MIT`, `Apache-2.0 OR MIT`, `LicenseRef-Proprietary`.
    pub fn parse(expression: &str, author: &str, year: i16) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(format!("'{}' is no licence: {why}", sanitize(expression)))
                .hint(
                    "an SPDX expression: MIT, 'MIT OR Apache-2.0', GPL-3.0-or-later; \
                     LicenseRef-Proprietary for what is nobody else's",
                )
                .status(Status::Usage)
        };
        let parsed = Expression::parse(expression).map_err(|error| {
            let near = spdx::imprecise_license_id(expression);
            wrong(match near {
                Some((near, length)) if length == expression.len() => {
                    format!("SPDX calls it {}", near.name)
                }
                _ => error.reason.to_string(),
            })
        })?;
        let mut texts: Vec<(String, String)> = Vec::new();
        for wanted in parsed.requirements() {
            let requirement = &wanted.req;
            let text = requirement.license.id().map_or("", |id| id.text());
            texts.push((requirement.license.to_string(), filled_in(text, author, year)));
            if let Some(exception) = &requirement.addition {
                let text = exception.id().map_or("", |id| id.text());
                texts.push((exception.to_string(), filled_in(text, author, year)));
            }
        }
        texts.sort();
        texts.dedup();
        Ok(License { expression: expression.to_owned(), texts, author: author.to_owned(), year })
    }

    /// The files with its texts, by name.
    pub fn files(&self) -> Vec<(String, &str)> {
        match self.texts.as_slice() {
            [(_, text)] => vec![("LICENSE".to_owned(), text.as_str())],
            all => all.iter().map(|(id, text)| (format!("LICENSE.{id}"), text.as_str())).collect(),
        }
    }

    /// debian/copyright (<https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>).
    pub fn debian_copyright(&self, name: &str, email: &str, url: &str) -> String {
        let mut all =
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
                .to_owned();
        all += &format!("Upstream-Name: {name}\nUpstream-Contact: {} <{email}>\n", self.author);
        if !url.is_empty() {
            all += &format!("Source: {url}\n");
        }
        let names = self.expression.replace(" OR ", " or ").replace(" AND ", " and ");
        all += &format!(
            "\nFiles: *\nCopyright: {} {} <{email}>\nLicense: {names}\n",
            self.year, self.author
        );
        for (id, text) in &self.texts {
            let common = common(id).map(|file| {
                format!("The text is in /usr/share/common-licenses/{file} on Debian systems.\n")
            });
            all += &format!("\nLicense: {id}\n");
            for line in common.as_deref().unwrap_or(text).lines() {
                all += &match line.trim_end() {
                    "" => " .\n".to_owned(),
                    line => format!(" {line}\n"),
                };
            }
        }
        all
    }
}

/// The file in /usr/share/common-licenses that Debian Policy 12.5 wants to be referred to.
fn common(id: &str) -> Option<&'static str> {
    Some(match id.trim_end_matches("-only").trim_end_matches("-or-later") {
        "Apache-2.0" => "Apache-2.0",
        "Artistic-1.0-Perl" => "Artistic",
        "CC0-1.0" => "CC0-1.0",
        "GFDL-1.2" => "GFDL-1.2",
        "GFDL-1.3" => "GFDL-1.3",
        "GPL-1.0" => "GPL-1",
        "GPL-2.0" => "GPL-2",
        "GPL-3.0" => "GPL-3",
        "LGPL-2.0" => "LGPL-2",
        "LGPL-2.1" => "LGPL-2.1",
        "LGPL-3.0" => "LGPL-3",
        "MPL-1.1" => "MPL-1.1",
        "MPL-2.0" => "MPL-2.0",
        _ => return None,
    })
}

/// A text with its notice of copyright filled in, if it has one to fill in, and lines that can be read.
fn filled_in(text: &str, author: &str, year: i16) -> String {
    let notice = format!("Copyright (c) {year} {author}");
    if text.trim().is_empty() {
        return format!("{notice}. All rights reserved.\n");
    }
    let mut lines: Vec<String> = Vec::new();
    // The notice is at the top; what stands at the end of long ones says how to apply them.
    for (number, line) in text.trim_matches('\n').lines().enumerate() {
        let open = ["<year>", "[year]", "YEAR"].iter().any(|year| line.contains(year));
        let is_notice = number < 10 && open && line.trim_start().starts_with("Copyright");
        lines.push(if is_notice { notice.clone() } else { line.trim_end().to_owned() });
    }
    let mut all = String::new();
    for paragraph in lines.chunk_by(|a, b| !a.is_empty() && !b.is_empty()) {
        if paragraph.iter().all(|line| line.chars().count() <= WIDTH) {
            paragraph.iter().for_each(|line| all += &format!("{line}\n"));
        } else {
            fill(paragraph, &mut all);
        }
    }
    all
}

/// Writes a paragraph in lines that are no wider than [`WIDTH`], as far in as it begins.
fn fill(paragraph: &[String], all: &mut String) {
    let first = paragraph.first().map_or("", String::as_str);
    let indent = &first[..first.len() - first.trim_start().len()];
    let mut line = String::new();
    for word in paragraph.iter().flat_map(|line| line.split_whitespace()) {
        let width = indent.len() + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && width > WIDTH {
            *all += &format!("{indent}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    *all += &format!("{indent}{line}\n");
}
