//! Control fields and maintainer scripts (Policy chapters 3, 5, 6 and 7).

use bk::sanitize;

use super::{Findings, Opened};
use crate::debian::control::Paragraph;
use crate::debian::version::Version;

/// The sections of the archive (Policy 2.4).
const SECTIONS: &[&str] = &[
    "admin",
    "cli-mono",
    "comm",
    "database",
    "debian-installer",
    "debug",
    "devel",
    "doc",
    "editors",
    "education",
    "electronics",
    "embedded",
    "fonts",
    "games",
    "gnome",
    "gnu-r",
    "gnustep",
    "golang",
    "graphics",
    "hamradio",
    "haskell",
    "httpd",
    "interpreters",
    "introspection",
    "java",
    "javascript",
    "kde",
    "kernel",
    "libdevel",
    "libs",
    "lisp",
    "localization",
    "mail",
    "math",
    "metapackages",
    "misc",
    "net",
    "news",
    "ocaml",
    "oldlibs",
    "otherosfs",
    "perl",
    "php",
    "python",
    "raku",
    "ruby",
    "rust",
    "science",
    "shells",
    "sound",
    "tasks",
    "tex",
    "text",
    "utils",
    "vcs",
    "video",
    "virtual",
    "web",
    "x11",
    "xfce",
    "zope",
];

/// Policy 2.5.
const PRIORITIES: &[&str] = &["required", "important", "standard", "optional", "extra"];

/// Fields that relate to other packages (Policy 7).
const RELATIONS: &[&str] = &[
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Breaks",
    "Conflicts",
    "Replaces",
    "Provides",
];

/// Checks control fields and scripts.
pub fn check(opened: &Opened, paragraph: &Paragraph, findings: &mut Findings) {
    for field in ["Package", "Version", "Architecture", "Maintainer", "Description"] {
        if paragraph.get(field).is_none_or(str::is_empty) {
            findings.error("required-field", field);
        }
    }
    // Policy 5.6.1.
    let good_name = |name: &str| {
        name.len() > 1
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
    };
    let field = |name: &str| paragraph.get(name).filter(|value| !value.is_empty());
    if let Some(name) = field("Package").filter(|name| !good_name(name)) {
        findings.error("bad-package-name", sanitize(name));
    }
    if let Some(version) = field("Version")
        && let Err(error) = Version::parse(version)
    {
        findings.error("bad-version-number", format!("{} ({error})", sanitize(version)));
    }
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(architecture) = field("Architecture").filter(|a| !a.chars().all(word)) {
        findings.error("bad-architecture", sanitize(architecture));
    }
    if let Some(contact) = field("Maintainer").filter(|contact| !is_contact(contact)) {
        let address = is_contact(&format!("x <{}>", contact.trim_matches(['<', '>'])));
        let tag = if address { "no-phrase" } else { "malformed-contact" };
        findings.error(tag, format!("Maintainer {}", sanitize(contact)));
    }
    match field("Section") {
        None => findings.warning("recommended-field", "Section"),
        Some(section) => {
            let area = section.rsplit_once('/').map_or(section, |(_, section)| section);
            if !SECTIONS.contains(&area) {
                findings.warning("unknown-section", sanitize(section));
            }
        }
    }
    match field("Priority") {
        None => findings.warning("recommended-field", "Priority"),
        Some(priority) if !PRIORITIES.contains(&priority) => {
            findings.error("unknown-priority", sanitize(priority));
        }
        _ => {}
    }
    if let Some(value) = field("Multi-Arch")
        && !["no", "same", "foreign", "allowed"].contains(&value)
    {
        findings.error("unknown-multi-arch-value", sanitize(value));
    }
    if field("Multi-Arch") == Some("same") && field("Architecture") == Some("all") {
        findings.error("illegal-multi-arch-value", "all same");
    }
    if let Some(url) = field("Homepage") {
        let scheme = ["http://", "https://", "ftp://"].iter().any(|start| url.starts_with(start));
        if !scheme || url.contains(char::is_whitespace) {
            findings.warning("bad-homepage", sanitize(url));
        }
    }
    for name in RELATIONS {
        for relation in field(name).unwrap_or_default().split([',', '|']) {
            if !is_relation(relation.trim(), good_name) {
                findings.error("bad-relation", format!("{name}: {}", sanitize(relation.trim())));
            }
        }
    }
    description(field("Description").unwrap_or_default(), field("Package"), findings);
    scripts(opened, findings);
}

/// The packages that a relation field names.
pub fn names(field: &str) -> impl Iterator<Item = &str> {
    let word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    field.split([',', '|']).map(move |relation| {
        let relation = relation.trim();
        let end = relation.find(|c: char| !word(c)).unwrap_or(relation.len());
        &relation[..end]
    })
}

/// `name[:arch] [(op version)]`; Policy 7.1.
fn is_relation(text: &str, good_name: impl Fn(&str) -> bool) -> bool {
    // An empty field, or a comma at the end, says nothing; dpkg takes it.
    if text.is_empty() {
        return true;
    }
    let (name, bound) = match text.split_once('(') {
        Some((name, bound)) => (name.trim(), Some(bound)),
        None => (text, None),
    };
    let (name, architecture) = name.split_once(':').unwrap_or((name, "any"));
    let bound_is_good = |bound: &str| {
        let Some(bound) = bound.strip_suffix(')') else { return false };
        let operator =
            ["<<", "<=", ">=", ">>", "=", "<", ">"].iter().find(|o| bound.starts_with(**o));
        let version = operator.map(|operator| bound[operator.len()..].trim());
        version.is_some_and(|version| Version::parse(version).is_ok())
    };
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    good_name(name)
        && !architecture.is_empty()
        && architecture.chars().all(word)
        && bound.is_none_or(bound_is_good)
}

/// `Name <address>` (Policy 5.6.2).
fn is_contact(contact: &str) -> bool {
    let parts = contact.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
    let Some((name, address)) = parts else { return false };
    let (local, host) = address.split_once('@').unwrap_or_default();
    let plain = |text: &str| {
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "<>@".contains(c))
    };
    !name.trim().is_empty() && name.ends_with(' ') && plain(local) && plain(host)
}

/// Policy 3.4 and 5.6.13.
fn description(text: &str, package: Option<&str>, findings: &mut Findings) {
    if text.is_empty() {
        return;
    }
    let mut lines = text.split('\n');
    let synopsis = lines.next().unwrap_or_default();
    if synopsis.is_empty() {
        findings.error("description-synopsis-is-empty", "");
    }
    // Less than 80 with the name and ` - ` before it is what lists show; 80 is the limit.
    if synopsis.chars().count() >= 80 {
        findings.warning("synopsis-too-long", "");
    }
    if package.is_some_and(|name| synopsis.eq_ignore_ascii_case(name)) {
        findings.error("description-is-pkg-name", sanitize(synopsis));
    }
    let lines: Vec<&str> = lines.collect();
    if lines.iter().all(|line| line.trim().is_empty() || line.trim() == ".") {
        findings.error("extended-description-is-empty", "");
        return;
    }
    if lines[0].starts_with("  ") {
        findings.warning("description-starts-with-leading-spaces", "line 1");
    }
    if lines[0].trim() == "." {
        findings.warning("extended-description-contains-empty-paragraph", "");
    }
    for (number, line) in lines.iter().enumerate() {
        if line.contains('\t') {
            findings.error("description-contains-tabs", format!("line {}", number + 1));
        }
        if line.starts_with(" .") && line.trim() != "." {
            let line = sanitize(line);
            findings.error("description-contains-invalid-control-statement", line);
        }
        if line.chars().count() > 81 {
            findings.info("extended-description-line-too-long", format!("line {}", number + 1));
        }
    }
}

/// Policy 6: scripts are run by the kernel, and must fail when something in them does.
fn scripts(opened: &Opened, findings: &mut Findings) {
    for name in ["preinst", "postinst", "prerm", "postrm", "config"] {
        let Some(text) = opened.text(name) else { continue };
        let idle = |line: &str| {
            line.is_empty()
                || line.starts_with('#')
                || line.starts_with("set -")
                || line == "exit 0"
        };
        if text.lines().map(str::trim).all(idle) {
            findings.warning("maintainer-script-empty", name);
            continue;
        }
        let first = text.lines().next().unwrap_or_default();
        let interpreter = first.strip_prefix("#!").map(|rest| rest.trim().to_owned());
        let program = interpreter.as_deref().and_then(|line| line.split_whitespace().next());
        match program {
            None if crate::elf::is_elf(text.as_bytes()) => {}
            None => findings.error("script-without-interpreter", format!("[{name}]")),
            Some(program) if !program.starts_with('/') => {
                let program = sanitize(program);
                findings.warning("interpreter-not-absolute", format!("{program} [{name}]"));
            }
            Some(program) if program.starts_with("/usr/local/") => {
                let program = sanitize(program);
                findings.error("control-interpreter-in-usr-local", format!("{program} [{name}]"));
            }
            Some(program) => {
                let shell = ["/bin/sh", "/bin/bash", "/bin/dash", "/usr/bin/sh"].contains(&program);
                let sets = |line: &str| {
                    let line = line.trim();
                    line.strip_prefix("set -").is_some_and(|options| {
                        options
                            .split_whitespace()
                            .any(|word| !word.starts_with('-') && word.contains('e'))
                    })
                };
                let by_option = interpreter.as_deref().is_some_and(|line| line.contains(" -e"));
                if shell && !by_option && !text.lines().any(sets) {
                    findings.info("maintainer-script-without-set-e", format!("[{name}]"));
                }
            }
        }
        if text.contains("#DEBHELPER#") {
            findings.error("maintainer-script-has-unexpanded-debhelper-token", format!("[{name}]"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_those_of_policy_7_1() {
        let good = |_: &str| true;
        for relation in ["a", "a:any", "a (>= 1:2-3)", "a:amd64 (<< 2~)", ""] {
            assert!(is_relation(relation, good), "{relation}");
        }
        for relation in ["a (>= )", "a (1)", "a (>= 1", "a:", "a (>= b c)"] {
            assert!(!is_relation(relation, good), "{relation}");
        }
        let all: Vec<&str> = names("a (>= 1), b:any | c").collect();
        assert_eq!(all, ["a", "b", "c"]);
    }

    #[test]
    fn contacts_are_names_with_addresses() {
        assert!(is_contact("A B <a@example.com>"));
        for contact in ["A B", "a@example.com", "<a@example.com>", "A <a>", "A <a b@c>"] {
            assert!(!is_contact(contact), "{contact}");
        }
    }
}
