//! `/usr/share/doc/PACKAGE/copyright`: a machine-readable one (DEP-5, copyright-format 1.0).

use crate::convert::description::clean;
use crate::python::metadata::Metadata;

/// What is kept of a licence's text; the GPL, which is not kept at all, has 35 KB.
const TEXT_LIMIT: usize = 256 << 10;
/// Notices beyond this are those of parts, which the licence texts below name too.
const NOTICES: usize = 40;

/// A licence every Debian system has in `/usr/share/common-licenses` (Policy 12.5).
struct Common {
    /// SPDX's name, without `-only` and `-or-later`.
    spdx: &'static str,
    file: &'static str,
    /// What the text starts with, told from a mention of it.
    first: &'static str,
    /// What it ends with.
    last: &'static str,
    /// The size of the file in bytes: no text of the licence is much longer.
    size: usize,
}

const COMMON: &[Common] = &[
    Common {
        spdx: "Apache-2.0",
        file: "Apache-2.0",
        first: "Apache License Version 2.0 January 2004",
        last: "accepting any such warranty or additional liability.",
        size: 11_358,
    },
    Common {
        spdx: "GPL-3.0",
        file: "GPL-3",
        first: "GNU GENERAL PUBLIC LICENSE Version 3",
        last: "why-not-lgpl.html",
        size: 35_147,
    },
    Common {
        spdx: "GPL-2.0",
        file: "GPL-2",
        first: "GNU GENERAL PUBLIC LICENSE Version 2",
        last: "instead of this License.",
        size: 18_092,
    },
    Common {
        spdx: "LGPL-3.0",
        file: "LGPL-3",
        first: "GNU LESSER GENERAL PUBLIC LICENSE Version 3",
        last: "for the Library.",
        size: 7_651,
    },
    Common {
        spdx: "LGPL-2.1",
        file: "LGPL-2.1",
        first: "GNU LESSER GENERAL PUBLIC LICENSE Version 2.1",
        last: "That's all there is to it!",
        size: 26_530,
    },
    Common {
        spdx: "MPL-2.0",
        file: "MPL-2.0",
        first: "Mozilla Public License Version 2.0",
        last: "defined by the Mozilla Public License, v. 2.0.",
        size: 16_726,
    },
    Common {
        spdx: "CC0-1.0",
        file: "CC0-1.0",
        first: "Creative Commons Legal Code CC0 1.0 Universal",
        last: "with respect to this CC0 or use of the Work.",
        size: 7_048,
    },
];

/// The last line of the terms, which some leave out of the Apache licence, and where some copies of
/// the GPL end, without what it says on how to use it.
const END: &str = "END OF TERMS AND CONDITIONS";
/// What the Apache licence says behind its end, on how to use it: start and end. With a name filled
/// in it is a notice, and stays.
const APPENDIX: (&str, &str) =
    ("APPENDIX: How to apply the Apache License", "limitations under the License.");

/// Trove classifiers below `License :: OSI Approved ::` and words people write, in lower case.
const NAMES: &[(&str, &str)] = &[
    ("mit license", "MIT"),
    ("mit", "MIT"),
    ("the mit license", "MIT"),
    ("bsd license", "BSD"),
    ("bsd", "BSD"),
    ("new bsd", "BSD-3-Clause"),
    ("bsd 3-clause", "BSD-3-Clause"),
    ("bsd 3-clause license", "BSD-3-Clause"),
    ("bsd 2-clause license", "BSD-2-Clause"),
    ("apache software license", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"),
    ("apache license, version 2.0", "Apache-2.0"),
    ("apache 2.0", "Apache-2.0"),
    ("apache 2", "Apache-2.0"),
    ("isc license", "ISC"),
    ("isc license (iscl)", "ISC"),
    ("mozilla public license 2.0 (mpl 2.0)", "MPL-2.0"),
    ("python software foundation license", "PSF-2.0"),
    ("psf", "PSF-2.0"),
    ("psfl", "PSF-2.0"),
    ("zlib/libpng license", "Zlib"),
    ("the unlicense (unlicense)", "Unlicense"),
    ("gnu general public license v2 (gplv2)", "GPL-2"),
    ("gnu general public license v2 or later (gplv2+)", "GPL-2+"),
    ("gnu general public license v3 (gplv3)", "GPL-3"),
    ("gnu general public license v3 or later (gplv3+)", "GPL-3+"),
    ("gnu lesser general public license v2 or later (lgplv2+)", "LGPL-2+"),
    ("gnu lesser general public license v3 (lgplv3)", "LGPL-3"),
    ("gnu lesser general public license v3 or later (lgplv3+)", "LGPL-3+"),
];

/// Writes the file. `texts` are the licence files: name and content. `source` is where the wheel
/// came from, `year` that of the release.
pub fn file(metadata: &Metadata, texts: &[(String, String)], source: &str, year: i16) -> String {
    let license = short_name(metadata);
    let mut out = String::from(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n",
    );
    out += &format!("Upstream-Name: {}\n", clean(&metadata.name));
    if let Some(contact) = contact(metadata) {
        out += &format!("Upstream-Contact: {contact}\n");
    }
    out += &format!("Source: {source}\n");
    let mut notices: Vec<String> = Vec::new();
    for notice in texts.iter().flat_map(|(_, text)| notices_in(text)) {
        if notices.len() < NOTICES && !notices.contains(&notice) {
            notices.push(notice);
        }
    }
    if notices.is_empty() {
        notices.push(contact(metadata).unwrap_or_else(|| {
            format!("the authors of {}, who are not named in it", clean(&metadata.name))
        }));
    }
    // A licence is judged by its years too.
    let dated = |notice: &String| notice.split(|c: char| !c.is_ascii_digit()).any(|n| n.len() == 4);
    if !notices.iter().any(dated) {
        out += &format!("Comment: the copyright notices below are those of a release of {year}\n");
    }
    out += &format!("\nFiles: *\nCopyright: {}\n", notices.join("\n           "));
    out += &format!("License: {license}\n");
    out += &body(metadata, texts, &license);
    out
}

/// The text below the licence's name.
fn body(metadata: &Metadata, texts: &[(String, String)], license: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (name, text) in texts {
        if texts.len() > 1 {
            lines.push(format!("The file {name}:"));
            lines.push(String::new());
        }
        let text = without_common(text);
        let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= TEXT_LIMIT);
        let text = &text[..end.unwrap_or(text.len())];
        lines.extend(text.lines().map(|line| line.trim_end().to_owned()));
        lines.push(String::new());
    }
    if texts.is_empty() {
        if let Some(words) = metadata.license.as_deref().filter(|l| l.contains('\n')) {
            lines.extend(without_common(words).lines().map(|line| line.trim().to_owned()));
        } else {
            lines
                .push("The distribution has no file with the text of its licence. It says:".into());
            let classifiers = metadata.classifiers.iter().filter(|c| c.starts_with("License ::"));
            let said = [&metadata.license_expression, &metadata.license].into_iter().flatten();
            lines.extend(said.map(|text| format!("License: {}", clean(text))));
            lines.extend(classifiers.map(|c| format!("Classifier: {}", clean(c))));
        }
        lines.push(String::new());
    }
    // Where a common licence is meant, its text is on every system.
    let named = lines.join("\n");
    let meant = COMMON
        .iter()
        .filter(|common| license.contains(common.spdx) || license.contains(common.file))
        .map(|common| common.file);
    let mut meant: Vec<&str> = meant.collect();
    // A text may speak of a licence that is not its own.
    let which = match license.contains("GPL") || !meant.is_empty() {
        true => "The full text of the license",
        false => "The full text of the GNU license that is spoken of",
    };
    if meant.is_empty() && !named.contains("/usr/share/common-licenses/") {
        meant.extend(mentioned(license, &format!("{license}\n{named}")));
    }
    for file in meant {
        let path = format!("/usr/share/common-licenses/{file}");
        if !named.contains(&path) {
            lines.push(format!("{which} is in {path} on Debian systems."));
        }
    }
    let mut out = String::new();
    let mut empty = true;
    for line in lines {
        let line: String = line
            .chars()
            .map(|c| if c == '\t' { ' ' } else { c })
            .filter(|c| !c.is_control())
            .collect();
        if line.trim().is_empty() {
            if !empty {
                out.push_str(" .\n");
            }
            empty = true;
        } else {
            out.push_str(&format!(" {line}\n"));
            empty = false;
        }
    }
    while let Some(rest) = out.strip_suffix(" .\n") {
        out.truncate(rest.len());
    }
    out
}

/// Names of a family of licences in capitals, versions with their files, the newest one's file.
type Family = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

/// The common licence that words refer to without having its text, `license` being the name of what
/// they are about: the one of the version that stands behind its name, else the newest.
fn mentioned(license: &str, text: &str) -> Option<&'static str> {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let upper = words.to_ascii_uppercase();
    // "It is compatible with the GPL" is said of other licences; lintian(1) passes over it as well.
    let compatible =
        ["GPL-COMPATIBLE", "GPL COMPATIBLE", "COMPATIBLE WITH THE GPL", "COMPATIBLE WITH GPL"];
    if compatible.iter().any(|said| upper.contains(said)) && !license.contains("GPL") {
        return None;
    }
    let find = |names: &[&str]| names.iter().find_map(|name| Some(upper.find(name)? + name.len()));
    let families: [Family; 2] = [
        (
            &["GNU LESSER GENERAL PUBLIC LICENSE", "GNU LIBRARY GENERAL PUBLIC LICENSE", "LGPL"],
            &[("3", "LGPL-3"), ("2.1", "LGPL-2.1"), ("2", "LGPL-2")],
            "LGPL-3",
        ),
        (
            &["GNU GENERAL PUBLIC LICENSE", "GPL"],
            &[("3", "GPL-3"), ("2", "GPL-2"), ("1", "GPL-1")],
            "GPL-3",
        ),
    ];
    for (names, versions, newest) in families {
        let Some(at) = find(names) else { continue };
        // "as published by the Free Software Foundation; either version 3": some 90 letters.
        let behind: String = upper[at..].chars().take(120).collect();
        let number = behind.split_once("VERSION ").map_or(behind.as_str(), |(_, rest)| rest);
        let number = number.trim_start_matches(['V', '-', '(', ' ', ',']);
        let version = versions.iter().find(|(version, _)| number.starts_with(version));
        return Some(version.map_or(newest, |(_, file)| file));
    }
    None
}

/// A licence text with the common ones in it replaced by where they are (Policy 12.5).
fn without_common(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n").replace(['\r', '\u{c}'], "\n");
    for Common { file, first, last, size, .. } in COMMON {
        let words: Vec<&str> = first.split(' ').collect();
        let last: Vec<&str> = last.split(' ').collect();
        // Blanks at the start of lines make some a third longer.
        let sizes = size / 2..size / 2 * 3;
        let mut from = 0;
        while let Some((start, title_end)) = find_words(&text, &words, from) {
            // A mention, or a part, is not the text.
            let ends = |words: &[&str]| {
                let (_, end) = find_words(&text, words, title_end)?;
                sizes.contains(&(end - start)).then_some(end)
            };
            let terms: Vec<&str> = END.split(' ').collect();
            let Some(end) = ends(&last).or_else(|| ends(&terms)) else {
                from = title_end;
                continue;
            };
            let mut end = text[end..].find('\n').map_or(text.len(), |at| end + at);
            let rest = text[end..].trim_start();
            if rest.starts_with(END) {
                end = text.len() - rest.len() + END.len();
            }
            let note = format!(
                "[The text of the {file} license is in\n\
                 /usr/share/common-licenses/{file} on Debian systems.]"
            );
            let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
            text.replace_range(line..end, &note);
            from = line + note.len();
        }
    }
    let (start, end) = APPENDIX;
    while let Some(at) = text.find(start) {
        let Some(end) = text[at..].find(end).map(|found| at + found + end.len()) else { break };
        let blank = ["[yyyy]", "{yyyy}", "[name of copyright owner]"];
        if !blank.iter().any(|blank| text[at..end].contains(blank)) {
            break;
        }
        text.replace_range(at..end, "");
    }
    without_old_address(text)
}

/// Where the Free Software Foundation has not been for long, by the ends of the addresses, as
/// lintian(1) knows them.
const OLD_ADDRESSES: &[&str] = &["02139", "02111-1307"];

/// A text with the place to ask for the GPL that its author gives today in place of those where
/// letters do not arrive any more.
fn without_old_address(mut text: String) -> String {
    let words: Vec<&str> = "write to the Free Software Foundation".split(' ').collect();
    let mut from = 0;
    while let Some((start, name_end)) = find_words(&text, &words, from) {
        from = name_end;
        // The longest in use has 90 letters, without the marks of comments at the starts of lines.
        let address: String = text[name_end..].chars().take(150).collect();
        let ends = OLD_ADDRESSES.iter().filter_map(|code| Some(address.find(code)? + code.len()));
        let Some(end) = ends.min() else { continue };
        let rest = &text[name_end + end..];
        let country = rest.trim_start_matches([',', ' ', '\n']);
        let after = ["USA", "U.S.A"].iter().find_map(|usa| country.strip_prefix(usa));
        let end = text.len() - after.unwrap_or(rest).len();
        text.replace_range(start..end, "see <https://www.gnu.org/licenses/>");
        from = start;
    }
    text
}

/// Where these words stand in a text one after the other, whatever blanks and commas are between.
fn find_words(text: &str, words: &[&str], from: usize) -> Option<(usize, usize)> {
    let (first, others) = words.split_first()?;
    let mut at = from;
    loop {
        let start = at + text.get(at..)?.find(first)?;
        let mut end = start + first.len();
        let all = others.iter().all(|word| {
            let rest = &text[end..];
            let gap = rest.len() - rest.trim_start_matches([' ', '\n', '\t', ',', '"']).len();
            let found = rest[gap..].starts_with(word);
            end += gap + word.len() * usize::from(found);
            found
        });
        if all {
            return Some((start, end));
        }
        at = start + first.len();
    }
}

/// The lines of a text that claim a copyright.
fn notices_in(text: &str) -> Vec<String> {
    let lines = without_common(text);
    let lines = lines.lines().map(clean).filter(|line| line.len() < 200);
    lines
        .filter_map(|line| {
            let line = line.trim_start_matches(['*', '#', '/', '-', ' ', '%']).to_owned();
            let start = line.get(..9)?.eq_ignore_ascii_case("copyright");
            let rest = line.get(9..)?.trim_start_matches([' ', ':']);
            let rest =
                ["(c)", "(C)", "\u{a9}"].iter().find_map(|c| rest.strip_prefix(c)).unwrap_or(rest);
            let rest = rest.trim().trim_start_matches(',').trim();
            // "Copyright notice", "copyright holders": words of the licence, not a claim.
            let claim = rest.contains(|c: char| c.is_ascii_digit())
                || line.contains("(c)")
                || line.contains("(C)");
            (start && claim && rest.len() > 4 && !rest.contains("[yyyy]")).then(|| rest.to_owned())
        })
        .collect()
}

/// The licence as DEP-5 names it: an SPDX expression with `and`, `or`, `with` in lower case.
fn short_name(metadata: &Metadata) -> String {
    if let Some(expression) = &metadata.license_expression {
        let words = clean(expression).replace(['(', ')'], " ");
        let words = words.split_whitespace().map(|word| match word {
            "AND" | "OR" | "WITH" => word.to_lowercase(),
            // DEP-5 7.1: `GPL-2+` for what SPDX calls GPL-2.0-or-later.
            word => match word.strip_suffix("-or-later") {
                Some(name) => format!("{}+", name.trim_end_matches(".0")),
                None => word.trim_end_matches("-only").to_owned(),
            },
        });
        return words.collect::<Vec<_>>().join(" ").replace(" with ", "-with-");
    }
    let known = |text: &str| {
        let text = clean(text).to_lowercase();
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, short)| (*short).to_owned())
    };
    let classified = metadata.classifiers.iter().filter(|c| c.starts_with("License ::"));
    let classified: Vec<String> =
        classified.filter_map(|c| known(c.rsplit("::").next().unwrap_or_default())).collect();
    let said = metadata.license.as_deref().filter(|l| !l.contains('\n') && l.len() < 60);
    if let Some(found) = said.and_then(known).or_else(|| classified.first().cloned()) {
        return found;
    }
    let words = said.map(|l| {
        let word = |c: char| if c.is_ascii_alphanumeric() || ".+-".contains(c) { c } else { '-' };
        let name: String = clean(l).chars().map(word).collect();
        name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    });
    words.filter(|words| !words.is_empty()).unwrap_or_else(|| "unknown".into())
}

/// Who to write to: `Name <address>`.
fn contact(metadata: &Metadata) -> Option<String> {
    let pair = |name: &Option<String>, email: &Option<String>| match (name, email) {
        (Some(name), Some(email)) if !email.contains('<') => {
            Some(format!("{} <{}>", clean_name(name), clean_name(email)))
        }
        (_, Some(email)) => Some(clean_name(email)),
        (Some(name), None) => Some(clean_name(name)),
        (None, None) => None,
    };
    pair(&metadata.author, &metadata.author_email)
        .or_else(|| pair(&metadata.maintainer, &metadata.maintainer_email))
        .filter(|contact| !contact.is_empty())
}

/// One line; an address in angle brackets is not a tag here.
fn clean_name(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::control::{Paragraph, paragraphs};
    use proptest::prelude::*;

    fn metadata() -> Metadata {
        Metadata { name: "a".into(), version: "1".into(), ..Metadata::default() }
    }

    #[test]
    fn what_is_compatible_with_the_gpl_is_not_under_it() {
        let text = "It is GPL-compatible(1).";
        assert_eq!(mentioned("BSD", text), None);
        // No version is the newest one, as Debian's link has it.
        let newest = std::fs::read_link("/usr/share/common-licenses/GPL").ok();
        assert_eq!(mentioned("GPL-2+", text), newest.as_deref().and_then(std::path::Path::to_str));
        assert_eq!(mentioned("MIT", "under the GNU GPL version 2"), Some("GPL-2"));
    }

    #[test]
    fn licences_have_debians_names() {
        let by = |expression: &str| {
            short_name(&Metadata { license_expression: Some(expression.into()), ..metadata() })
        };
        assert_eq!(by("Apache-2.0 OR BSD-3-Clause"), "Apache-2.0 or BSD-3-Clause");
        assert_eq!(by("GPL-2.0-or-later AND MIT"), "GPL-2+ and MIT");
        let by =
            |license: &str| short_name(&Metadata { license: Some(license.into()), ..metadata() });
        assert_eq!(by("MIT License"), "MIT");
        assert_eq!(by("My own (1)"), "My-own-1");
        let classifiers = vec!["License :: OSI Approved :: BSD License".into()];
        assert_eq!(short_name(&Metadata { classifiers, ..metadata() }), "BSD");
        assert_eq!(short_name(&metadata()), "unknown");
    }

    #[test]
    fn common_licences_are_referred_to() {
        for name in ["Apache-2.0", "GPL-2", "GPL-3", "LGPL-2.1", "LGPL-3", "MPL-2.0"] {
            let text =
                std::fs::read_to_string(format!("/usr/share/common-licenses/{name}")).unwrap();
            let text = format!("Parts are under this:\n\n{text}\nAnd more.\n");
            let short = without_common(&text);
            assert!(
                short.contains(&format!("/usr/share/common-licenses/{name}")),
                "{name}\n{short}"
            );
            assert!(short.len() < 600, "{name}: {}\n{short}", short.len());
            assert!(
                short.starts_with("Parts are under this:") && short.contains("And more."),
                "{short}"
            );
        }
    }

    #[test]
    fn terms_without_how_to_use_them_are_the_licence() -> bk::Result<()> {
        for name in ["GPL-2", "GPL-3", "Apache-2.0"] {
            let text = std::fs::read_to_string(format!("/usr/share/common-licenses/{name}"))?;
            let terms = text.split(END).next().unwrap_or_default();
            let short = without_common(&format!("{terms}{END}\n\nAnd more.\n"));
            assert!(short.contains(&format!("common-licenses/{name} on")), "{name}\n{short}");
            assert!(short.len() < 300 && short.ends_with("And more.\n"), "{name}\n{short}");
        }
        Ok(())
    }

    /// What lintian's check looks for (old-fsf-address-in-copyright-file) is gone, and nothing else.
    #[test]
    fn the_gpl_is_asked_for_where_its_author_is() {
        for address in [
            "write to the Free Software Foundation, Inc., 59 Temple Place, Suite 330, Boston,\n  MA 02111-1307 USA.",
            "write to the Free Software\nFoundation, Inc., 675 Mass Ave, Cambridge, MA 02139, USA.",
            "write to the Free Software Foundation, Inc., 59 Temple Place - Suite 330, Boston, MA\n02111-1307, U.S.A.",
        ] {
            let text = without_common(&format!("If not, {address}\nMore (02139).\n"));
            assert_eq!(text, "If not, see <https://www.gnu.org/licenses/>.\nMore (02139).\n");
        }
        let today = "write to the Free Software Foundation, Inc., 51 Franklin Street, Boston";
        assert_eq!(without_common(today), today);
    }

    #[test]
    fn a_notice_is_found_and_the_file_has_its_fields() {
        let text =
            "BSD\n\nCopyright (c) 2010 by the Pallets team.\n\nThe above copyright notice shall\n";
        let texts = [("LICENSE".to_owned(), text.to_owned())];
        let file = file(&metadata(), &texts, "https://example.com", 2020);
        let all: Vec<_> =
            paragraphs(file.as_bytes()).map(|p| Paragraph::parse(p).unwrap()).collect();
        assert_eq!(all[1].get("Copyright"), Some("2010 by the Pallets team."));
        assert!(all[1].get("License").unwrap().starts_with("unknown\n BSD\n .\n"), "{file}");
    }

    proptest! {
        #[test]
        fn the_file_is_a_control_file_whatever_comes(text in "[ -~\n\t\u{e9}]{0,300}", license in "[ -~\n]{0,80}") {
            let metadata = Metadata { license: Some(license), ..metadata() };
            let file = file(&metadata, &[("LICENSE".to_owned(), text)], "x", 2020);
            for paragraph in paragraphs(file.as_bytes()) {
                Paragraph::parse(paragraph).unwrap();
            }
        }
    }
}
