//! `Description` (Policy 3.4 and 5.6.13): what a distribution says of itself, as clean text.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::python::metadata::Metadata;

/// Policy 3.4.1: the synopsis has less than 80 characters; the name stands before it.
const SYNOPSIS: usize = 75;
/// Lines of the long text: what fits a screen beside the other fields.
const WIDTH: usize = 77;
/// Enough to say what a package is for; its documentation says the rest.
const PARAGRAPHS: usize = 8;
/// The same, in characters.
const LENGTH: usize = 1600;
/// What is looked at of a long text; some have megabytes of a change log.
const LOOK: usize = 1 << 16;

/// The value of the field: the synopsis, then the long text, each line with its space.
pub fn field(metadata: &Metadata) -> String {
    let mut value = synopsis(metadata);
    let mut paragraphs = long(metadata);
    if paragraphs.first().is_some_and(|first| is_same(first, &value)) {
        paragraphs.remove(0);
    }
    let (name, version) = (clean(&metadata.name), clean(&metadata.version));
    let own = format!("This package has the Python 3 distribution {name}, version {version}.");
    // The first line must neither be a list's (Policy 5.6.13) nor the synopsis again (3.4.1).
    let unfit = paragraphs.first().is_some_and(|first| {
        first.starts_with("* ") || wrap(first, WIDTH).first().is_some_and(|l| is_same(l, &value))
    });
    paragraphs.insert(if unfit { 0 } else { paragraphs.len() }, own);
    let mut after_item = None;
    for paragraph in &paragraphs {
        // Lines that start with two spaces are shown as they are: lists (Policy 5.6.13).
        let item = paragraph.starts_with("* ");
        if after_item.is_some_and(|after| !(after && item)) {
            value.push_str("\n .");
        }
        for line in wrap(paragraph, WIDTH) {
            value.push_str(if item { "\n  " } else { "\n " });
            value.push_str(&line);
        }
        after_item = Some(item);
    }
    value
}

/// One line, without an article in front, a full stop behind, or the name repeated.
pub fn synopsis(metadata: &Metadata) -> String {
    let summary = metadata.summary.as_deref().unwrap_or_default();
    let mut text = without_article(&clean(&plain(summary)));
    let name = clean(&metadata.name);
    for separator in [": ", " - ", " is a ", " is an ", " is the ", " \u{2013} ", " \u{2014} "] {
        let start = text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(&name));
        if start && let Some(rest) = text[name.len()..].strip_prefix(separator) {
            text = without_article(rest);
            break;
        }
    }
    let mut text = text.trim_end_matches(['.', ' ']).to_owned();
    if text.chars().count() > SYNOPSIS {
        // A first sentence that fits says more than half of a second.
        text = match text.split_once(". ") {
            Some((first, _)) if (20..=SYNOPSIS).contains(&first.chars().count()) => {
                first.to_owned()
            }
            _ => cut(&text, SYNOPSIS),
        };
    }
    if text.contains(' ') {
        return text;
    }
    // A word alone tells nobody what it is (lintian's description-too-short).
    let more = format!("{text} (Python 3)");
    match text.is_empty() || is_same(&text, &name) || more.chars().count() > SYNOPSIS {
        true => format!("Python distribution {name}"),
        false => more,
    }
}

/// Whether two texts have the same letters and digits.
fn is_same(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "");
    plain(a) == plain(b)
}

/// Policy 3.4.1: no article in front.
fn without_article(text: &str) -> String {
    let articles = ["A ", "An ", "The ", "a ", "an ", "the "];
    let text = text.trim_start();
    articles.iter().find_map(|a| text.strip_prefix(a)).unwrap_or(text).trim_start().to_owned()
}

/// At most `most` characters, ending with a word.
fn cut(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    let short = &text[..end];
    let short = short.rsplit_once(' ').map_or(short, |(words, _)| words);
    short.trim_end_matches([',', ';', ':', '.', '-', ' ', '(']).to_owned()
}

/// The paragraphs of the long text. List items start with `* `.
fn long(metadata: &Metadata) -> Vec<String> {
    let text = &metadata.description;
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= LOOK).unwrap_or(text.len());
    let text = &text[..end];
    let blocks = match metadata.description_type.as_deref() {
        Some("text/markdown") => markdown(text),
        // The default of the core metadata specification.
        None | Some("text/x-rst") => rst(text),
        Some(_) => paragraphs(text),
    };
    let (mut found, mut length) = (Vec::new(), 0);
    for block in blocks {
        match block {
            // What follows is for those who have the package already, or have not Debian.
            Block::Heading(title) if !found.is_empty() && is_practical(&title) => break,
            Block::Heading(_) => {}
            Block::Text(text) => {
                let text = clean(text.trim_start_matches(['.', ' ', '\u{2026}']));
                let words = text.split(' ').filter(|w| w.chars().any(char::is_alphabetic)).count();
                // Badges leave single words behind.
                if words < 3 {
                    continue;
                }
                length += text.chars().count();
                if found.len() == PARAGRAPHS || length > LENGTH {
                    break;
                }
                found.push(text);
            }
        }
    }
    found
}

enum Block {
    Heading(String),
    Text(String),
}

fn is_practical(title: &str) -> bool {
    const STARTS: &[&str] = &[
        "install",
        "usage",
        "quick",
        "getting",
        "example",
        "licen",
        "contribut",
        "develop",
        "change",
        "document",
        "link",
        "donat",
        "sponsor",
        "support",
        "test",
        "author",
        "credit",
        "requirement",
        "download",
        "upgrad",
        "release",
        "how to",
        "build",
        "a simple example",
        "table of",
        "history",
        "code of",
        "security",
        "resources",
        "community",
        "basic",
        "what's new",
        "faq",
    ];
    let title = title.trim_start_matches(|c: char| !c.is_alphabetic()).to_lowercase();
    STARTS.iter().any(|start| title.starts_with(start))
}

fn markdown(text: &str) -> Vec<Block> {
    let (mut blocks, mut current, mut hidden) = (Vec::new(), String::new(), 0usize);
    // HTML that stands in the text: what a README hides in a heading or a table of logos.
    let mut heading: Option<HeadingLevel> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES) {
        match event {
            Event::Start(
                Tag::CodeBlock(_) | Tag::Table(_) | Tag::Image { .. } | Tag::HtmlBlock,
            )
            | Event::Start(Tag::FootnoteDefinition(_)) => hidden += 1,
            Event::End(TagEnd::CodeBlock | TagEnd::Table | TagEnd::Image | TagEnd::HtmlBlock)
            | Event::End(TagEnd::FootnoteDefinition) => hidden = hidden.saturating_sub(1),
            Event::Start(Tag::Heading { level, .. }) => {
                flush(&mut blocks, &mut current);
                heading = Some(level);
            }
            Event::End(TagEnd::Heading(_)) => {
                blocks.push(Block::Heading(std::mem::take(&mut current)));
                heading = None;
            }
            Event::Start(Tag::Item) => {
                flush(&mut blocks, &mut current);
                current.push_str("* ");
            }
            Event::End(TagEnd::Paragraph | TagEnd::Item) => flush(&mut blocks, &mut current),
            Event::Start(Tag::Paragraph) if !current.starts_with("* ") => {
                flush(&mut blocks, &mut current);
            }
            Event::Text(text) | Event::Code(text) if hidden == 0 => current.push_str(&text),
            Event::SoftBreak | Event::HardBreak => current.push(' '),
            _ => {}
        }
    }
    if heading.is_none() {
        flush(&mut blocks, &mut current);
    }
    blocks
}

fn flush(blocks: &mut Vec<Block>, current: &mut String) {
    let text = std::mem::take(current);
    if !text.trim_matches(['*', ' ']).is_empty() {
        blocks.push(Block::Text(text));
    }
}

/// Paragraphs of text that has no markup.
fn paragraphs(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut current = String::new();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            flush(&mut blocks, &mut current);
        } else {
            current.push_str(line.trim());
            current.push(' ');
        }
    }
    blocks
}

/// reStructuredText, as far as a README's prose goes: directives, comments, literal blocks and
/// tables are left out, headings are known by their underlines.
fn rst(text: &str) -> Vec<Block> {
    let (mut blocks, mut current) = (Vec::new(), String::new());
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim_end();
        let trimmed = line.trim_start();
        at += 1;
        let skip_indented = |mut at: usize, than: usize| {
            while at < lines.len() && (lines[at].trim().is_empty() || indent(lines[at]) > than) {
                at += 1;
            }
            at
        };
        if trimmed.is_empty() {
            flush(&mut blocks, &mut current);
        } else if trimmed.starts_with(".. ") || trimmed == ".." || trimmed.starts_with("__ ") {
            flush(&mut blocks, &mut current);
            at = skip_indented(at, indent(line));
        } else if is_line(trimmed) {
            // The line above a title, or below it.
            let title = std::mem::take(&mut current);
            if !title.is_empty() {
                blocks.push(Block::Heading(title));
            }
        } else if trimmed.starts_with(['|', '+', ':']) && current.is_empty()
            || trimmed.starts_with(">>>")
        {
            // Substitutions, tables, field lists, doctests.
            if trimmed.starts_with('|') && trimmed.matches('|').count() < 2 {
                current.push_str(trimmed.trim_start_matches("| "));
                current.push(' ');
            }
        } else {
            if let Some(rest) = ["* ", "- ", "+ "].iter().find_map(|b| trimmed.strip_prefix(b)) {
                flush(&mut blocks, &mut current);
                current.push_str("* ");
                current.push_str(rest);
            } else {
                current.push_str(trimmed);
            }
            current.push(' ');
            if trimmed.ends_with("::") {
                let start = current.trim_end().trim_end_matches("::").to_owned();
                current = start;
                flush(&mut blocks, &mut current);
                at = skip_indented(at, indent(line));
            }
        }
    }
    flush(&mut blocks, &mut current);
    let inline = |block: Block| match block {
        Block::Heading(text) => Block::Heading(rst_inline(&text)),
        Block::Text(text) => Block::Text(rst_inline(&text)),
    };
    blocks.into_iter().map(inline).collect()
}

/// A line of at least three of one punctuation character.
fn is_line(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next().unwrap_or(' ');
    first.is_ascii_punctuation() && text.len() >= 3 && chars.all(|c| c == first)
}

/// Drops inline markup: roles, links, emphasis, substitutions.
fn rst_inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '|', '*']) {
        let (before, from) = rest.split_at(at);
        // `:role:` before a quote is not text.
        let role = before.strip_suffix(':').filter(|_| from.starts_with('`'));
        let role = role.and_then(|b| b.rsplit_once(':')).filter(|(_, r)| !r.contains(' '));
        out.push_str(role.map_or(before, |(text, _)| text));
        let mark =
            ["``", "**", "`", "|", "*"].into_iter().find(|m| from.starts_with(m)).unwrap_or("*");
        let inside = &from[mark.len()..];
        // Markup does not start before a space: a lone `*` or `|` is itself.
        match inside.find(mark).filter(|_| !inside.starts_with([' ', '\t'])) {
            Some(end) => {
                let content = &inside[..end];
                rest = inside[end + mark.len()..].trim_start_matches('_');
                match mark {
                    "|" => {}
                    "`" => out.push_str(content.split(" <").next().unwrap_or(content)),
                    _ => out.push_str(content),
                }
            }
            None => {
                out.push_str(mark);
                rest = inside;
            }
        }
    }
    out.push_str(rest);
    // `word_` refers to a link.
    let words =
        out.split(' ').map(|word| match word.trim_end_matches(['.', ',']).strip_suffix('_') {
            Some(link) if link.chars().all(char::is_alphanumeric) => word.replacen('_', "", 1),
            _ => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}

/// Text without HTML: tags go, the commonest entities become what they stand for.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let tag = after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
        match after.split_once('>').filter(|_| tag) {
            Some((_, behind)) => rest = behind,
            None => {
                out.push('<');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(out, |text, (entity, meaning)| text.replace(entity, meaning))
}

/// One line: runs of blanks are one, control and invisible characters and pictures are none.
pub fn clean(text: &str) -> String {
    let text = plain(text);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let visible = |c: &char| {
        // Joiners, directions, variation selectors, emoji.
        !matches!(*c as u32, 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f
            | 0xfeff | 0x2600..=0x27bf | 0x1f000..=0x1faff | 0xe0000..=0xe007f)
    };
    let words = words.map(|word| word.chars().filter(visible).collect::<String>());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Lines of at most `width` characters; none starts with a blank or is a lone dot.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        // A word that fits no line, an address maybe, is cut: nobody reads it here.
        let word: String = word.chars().take(width).collect();
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
            // The lines of an item stand below its text.
            if text.starts_with("* ") {
                line.push_str("  ");
                used = 2;
            }
        } else if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(&word);
        used += length;
    }
    lines.push(line);
    for line in &mut lines {
        // A dot in front is an instruction; a second space keeps it text.
        if line.starts_with('.') {
            line.insert(0, ' ');
        }
    }
    lines.into_iter().filter(|line| !line.trim_matches(['.', ' ']).is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metadata(summary: &str, kind: &str, description: &str) -> Metadata {
        Metadata {
            name: "Flask".into(),
            version: "1.0".into(),
            summary: Some(summary.into()),
            description: description.into(),
            description_type: Some(kind.into()),
            ..Metadata::default()
        }
    }

    #[test]
    fn a_synopsis_has_no_article_stop_or_name() {
        for (summary, expected) in [
            ("A simple framework.", "simple framework"),
            ("Flask - the web framework", "web framework"),
            ("flask: small", "small (Python 3)"),
            ("Flask is a framework", "framework (Python 3)"),
            ("flask", "Python distribution Flask"),
            ("<b>fast</b> \u{1f680}\tweb", "fast web"),
            ("", "Python distribution Flask"),
            ("Aged like wine", "Aged like wine"),
        ] {
            assert_eq!(synopsis(&metadata(summary, "", "")), expected);
        }
        let long = "word ".repeat(40);
        assert!(synopsis(&metadata(&long, "", "")).len() <= SYNOPSIS);
    }

    #[test]
    fn markdown_becomes_prose() {
        let text = "# Flask\n\n[![badge](x.svg)](y)\n\n<div align=\"center\"><img src=x></div>\n\n\
                    Flask is a *lightweight* [WSGI](https://x) `web` framework.\nIt is good.\n\n\
                    - one item of it\n- two items of it\n\n```python\nimport x\n```\n\n\
                    | a | b |\n|---|---|\n| c | d |\n\n## Installation\n\nUse pip to get it.\n";
        let field = field(&metadata("Framework", "text/markdown", text));
        assert_eq!(
            field,
            "Framework (Python 3)\n Flask is a lightweight WSGI web framework. It is good.\n .\n  * one item of it\n  \
             * two items of it\n .\n This package has the Python 3 distribution Flask, version 1.0."
        );
    }

    #[test]
    fn rst_becomes_prose() {
        let text = "=====\nFlask\n=====\n\n.. image:: x.svg\n   :alt: badge\n\n|badge| |other|\n\n\
                    Flask is a *light* :ref:`framework` for `the web <https://x>`_, see WSGI_.\n\n\
                    A short example of it is::\n\n    import x\n\nInstalling\n----------\n\nUse pip for that.\n";
        let field = field(&metadata("Framework", "text/x-rst", text));
        assert_eq!(
            field,
            "Framework (Python 3)\n Flask is a light framework for the web, see WSGI.\n .\n \
             A short example of it is\n .\n This package has the Python 3 distribution Flask, version 1.0."
        );
    }

    #[test]
    fn the_long_text_does_not_begin_with_the_synopsis() {
        let own = "This package has the Python 3 distribution Flask, version 1.0.";
        for (text, expected) in [
            ("Small, fast web-framework!", format!("small fast web framework\n {own}")),
            (
                "* small, fast web framework for all\n\nIt is so small that nobody has seen it.",
                format!(
                    "small fast web framework\n {own}\n .\n  * small, fast web framework for all\n .\n It is so \
                     small that nobody has seen it."
                ),
            ),
        ] {
            let field = field(&metadata("A small fast web framework", "text/markdown", text));
            assert_eq!(field, expected);
        }
    }

    proptest! {
        #[test]
        fn the_field_is_well_formed_whatever_comes(
            summary in "[ -~\u{a0}-\u{ff}\n\t.*`|<&]{0,200}",
            text in "[ a-z\n\t.*`|_<>&#=:-]{0,600}",
            kind in "text/(markdown|x-rst|plain)",
        ) {
            let field = field(&metadata(&summary, &kind, &text));
            let mut lines = field.split('\n');
            let first = lines.next().unwrap();
            prop_assert!(!first.is_empty() && first.chars().count() < 80, "{first}");
            for line in lines {
                prop_assert!(line.starts_with(' ') && line.trim_end().len() > 1, "{line:?}");
                prop_assert!(line == " ." || !line.starts_with(" ."), "{line:?}");
                prop_assert!(line.chars().count() <= 80, "{line:?}");
            }
        }
    }
}
