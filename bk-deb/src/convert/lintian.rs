//! The tags of lintian(1) that do not hold for a package made here, each with its reason.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::SITE;

/// Files for a version control system, as lintian's data file vcs-control-files has them.
const VCS: &[&str] = &[
    ".arch-inventory",
    ".cvsignore",
    ".gitattributes",
    ".gitignore",
    ".gitmodules",
    ".hg_archival.txt",
    ".hgignore",
    ".hgtags",
];
/// How the names of fonts end, where lintian looks for others of their names.
const FONTS: &[&str] = &["eot", "otf", "pfb", "ttf", "woff", "woff2"];
/// How the names of scripts end that lintian takes for a language's.
const LANGUAGES: &[&str] = &["pl", "py", "php", "rb", "sh", "bsh", "csh", "tcl"];

/// A package's overrides: by reason, the lines.
#[derive(Debug, Default)]
pub struct Overrides {
    package: String,
    lines: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Overrides {
    /// Those that every package has.
    pub fn new(package: &str) -> Self {
        let mut overrides = Overrides { package: package.to_owned(), ..Overrides::default() };
        overrides.add(
            "It is not uploaded to Debian, where the first upload closes a request for the package.",
            "initial-upload-closes-no-bugs".into(),
        );
        // lintian takes this file for documentation by the end of its name.
        if package.ends_with(".devhelp") || package.ends_with(".devhelp2") {
            for tag in ["old-devhelp-standard", "stray-devhelp-documentation"] {
                overrides.add(
                    "The file of overrides is named after the package, and is no Devhelp book.",
                    format!("{tag} [usr/share/lintian/overrides/{package}]"),
                );
            }
        }
        overrides
    }

    fn add(&mut self, reason: &'static str, line: String) {
        self.lines.entry(reason).or_default().insert(line);
    }

    /// A file of the distribution, by its path.
    pub fn look(&mut self, path: &str) {
        let end = path.rsplit_once('.').map(|(_, end)| end).unwrap_or_default();
        if path.starts_with("usr/bin/") && LANGUAGES.contains(&end) {
            self.add(
                "What calls this command calls it by the name that the distribution gave it.",
                format!("script-with-language-extension [{path}]"),
            );
        }
        let inside = path.strip_prefix(SITE).and_then(|path| path.strip_prefix('/'));
        let Some(inside) = inside else { return };
        let name = inside.rsplit('/').next().unwrap_or(inside);
        if VCS.contains(&name) {
            self.add(
                "The distribution has this file, and all that it has is installed.",
                format!("package-contains-vcs-control-file [{path}]"),
            );
        }
        let font = name.trim_end_matches(".gz").rsplit_once('.');
        if font.is_some_and(|(_, end)| FONTS.contains(&end.to_ascii_lowercase().as_str())) {
            self.add(
                "The distribution reads the fonts it was made with from its own folder, whatever others \
                 of their names are elsewhere.",
                format!("duplicate-font-file * [{SITE}/*]"),
            );
        }
        if [".js", ".js.gz", ".css"].iter().any(|end| name.ends_with(end)) {
            self.add(
                "The distribution's pages are made for the versions of the scripts that they come with.",
                format!("embedded-javascript-library * [{SITE}/*]"),
            );
        }
        let dot = |part: &str| part.starts_with('.');
        let Some(at) = inside.split('/').position(dot) else { return };
        if inside.split('/').count() == at + 1 {
            return;
        }
        let folder = inside.split('/').take(at + 1).collect::<Vec<_>>().join("/");
        self.add(
            "The distribution has this folder, and all that it has is installed.",
            format!("package-contains-python-dot-directory [{SITE}/{folder}/*]"),
        );
    }

    /// A file, by its path and how it starts.
    pub fn start(&mut self, path: &str, head: &[u8]) {
        // RFC 1952 2.3.1.
        if path.ends_with(".gz") && !head.starts_with(&[0x1f, 0x8b]) {
            self.add(
                "It is not made by gzip, though it is named so: it is data of the distribution's own.",
                format!("broken-gz [{path}]"),
            );
        }
    }

    /// A file that starts as a script does, and may not be run.
    pub fn read_only(&mut self, path: &str) {
        // lintian asks it of no module, wherever in the path its end is, and of no template.
        let module = path.contains(".py") || path.contains(".pm");
        if !module && ![".in", ".erb", ".ex"].iter().any(|end| path.ends_with(end)) {
            self.add(
                "The distribution has it without permission to be run: it is read, or run elsewhere.",
                format!("script-not-executable [{path}]"),
            );
        }
    }

    /// A command that does not say what runs it.
    pub fn unsaid(&mut self, path: &str) {
        self.add(
            "The distribution installs it among its commands: a shell reads it, or another system's.",
            format!("executable-not-elf-or-script [{path}]"),
        );
    }

    /// A library that calls nothing of the C library.
    pub fn without_libc(&mut self, path: &str) {
        self.add(
            "It uses no symbol of the C library: those it needs are Python's, or its own libraries'.",
            format!("library-not-linked-against-libc [{path}]"),
        );
    }

    /// A library that needs no other.
    pub fn needless(&mut self, path: &str) {
        self.add(
            "It uses no symbol but those of the interpreter that loads it.",
            format!("shared-library-lacks-prerequisites [{path}]"),
        );
    }

    /// Whether a file by this path may be a template of pages.
    pub fn may_be_template(path: &str) -> bool {
        [".html", ".htm", ".xhtml", ".xml"].iter().any(|end| path.ends_with(end))
    }

    /// A file that may be a template: what it loads from elsewhere is in the pages of who makes
    /// some with it, not in this package's documentation. Debian overrides the same tags for the
    /// same files (python3-alabaster).
    pub fn template(&mut self, path: &str, content: &[u8]) {
        let has =
            |content: &[u8], word: &str| memchr::memmem::find(content, word.as_bytes()).is_some();
        if path.ends_with(".xml") {
            let lower = String::from_utf8_lossy(content).to_ascii_lowercase();
            if !lower.contains("<html") && !lower.contains("<svg") && loads_from_elsewhere(&lower) {
                self.add(
                    "It is data, not a page: no browser reads it, and fetches what it names.",
                    format!("privacy-breach-generic * [{path}]"),
                );
                return;
            }
        }
        if !has(content, "{%") && !has(content, "{{") {
            return;
        }
        let lower = String::from_utf8_lossy(content).to_ascii_lowercase();
        if asks_before_it_tracks(&lower) {
            self.add(
                "It is a template that names a tracker only where its user asks for it.",
                format!("privacy-breach-google-adsense * [{path}]"),
            );
        }
        if loads_from_elsewhere(&lower) {
            self.add(
                "It is a template: what pages made with it load is for their author to say.",
                format!("privacy-breach-generic * [{path}]"),
            );
        }
    }

    /// A file of text that is not UTF-8.
    pub fn encoding(&mut self, path: &str) {
        self.add(
            "The distribution has this file in the encoding that it reads it in.",
            format!("national-encoding [{path}]"),
        );
    }

    /// The file.
    pub fn text(self) -> String {
        let mut text = String::new();
        for (reason, lines) in &self.lines {
            text += &format!("# {reason}\n");
            for line in lines {
                text += &format!("{}: {line}\n", self.package);
            }
        }
        text
    }
}

/// Whether a template in lower case names a tracker, and each time inside of a condition.
fn asks_before_it_tracks(page: &str) -> bool {
    let word = |statement: &str| {
        let words = statement.trim_start_matches(['-', '+', ' ', '\n', '\t']);
        words.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_owned()
    };
    let (mut depth, mut tracks, mut asks) = (0_u32, false, true);
    for part in page.split("{%") {
        match word(part).as_str() {
            "if" => depth = depth.saturating_add(1),
            "endif" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let names = ["google-analytics.com/ga.js", "google-analytics.com/analytics.js"];
        if names.iter().any(|name| part.contains(name)) {
            tracks = true;
            asks &= depth > 0;
        }
    }
    tracks && asks
}

/// Whether a page in lower case has a tag that makes a browser fetch something by itself, as lintian
/// finds them (its data file privacy-breaker-tag-attr).
fn loads_from_elsewhere(page: &str) -> bool {
    const FETCH: &[&str] = &[
        "audio", "div", "embed", "frame", "iframe", "img", "input", "link", "object", "script",
        "source", "track", "video",
    ];
    /// What `rel` says of links that are not fetched.
    const REFERENCES: &[&str] = &[
        "alternate",
        "author",
        "bookmark",
        "canonical",
        "copyright",
        "help",
        "license",
        "next",
        "prev",
        "search",
    ];
    let mut page = page.to_owned();
    while let Some(start) = page.find("<!--") {
        let end = page[start..].find("-->").map_or(page.len(), |end| start + end + 3);
        page.replace_range(start..end, "");
    }
    page.split('<').skip(1).any(|tag| {
        let tag = tag.split('>').next().unwrap_or(tag);
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if !FETCH.contains(&name) {
            return false;
        }
        let attribute = |attribute: &str| {
            let (_, value) = tag.split_once(&format!("{attribute}=\""))?;
            value.split('"').next()
        };
        let by = match name {
            "link" => &["href"][..],
            "object" => &["data", "codebase"],
            "div" => &["src", "data-href"],
            "video" => &["src", "poster"],
            _ => &["src"],
        };
        let elsewhere = |url: &str| {
            ["http://", "https://", "ftp://", "//"].iter().any(|start| url.starts_with(start))
        };
        let refers = attribute("rel").is_some_and(|rel| REFERENCES.contains(&rel));
        !refers && by.iter().any(|name| attribute(name).is_some_and(elsewhere))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_that_load_from_elsewhere_are_told_from_others() {
        for (page, loads) in [
            ("{{ a }}<img alt=\"x\"\n src=\"https://x/y.png\">", true),
            ("{{ a }}<link rel=\"stylesheet\" href=\"//x/y.css\">", true),
            ("{{ a }}<link rel=\"canonical\" href=\"https://x\">", false),
            ("{{ a }}<a href=\"https://x\"><img src=\"y.png\">", false),
            ("{{ a }}<!-- <img src=\"https://x\"> -->", false),
            ("<img src=\"https://x/y.png\">", false),
        ] {
            let mut overrides = Overrides::new("python3-x");
            overrides.template("usr/x.html", page.as_bytes());
            assert_eq!(overrides.text().contains("privacy-breach-generic"), loads, "{page}");
        }
    }

    #[test]
    fn a_tracker_that_nobody_asks_for_is_told() {
        let tracker = "'.google-analytics.com/ga.js'";
        for (page, asks) in [
            (format!("{{%- if id %}}{{% if x %}}{{% endif %}}{tracker}{{%- endif %}}"), true),
            (format!("{{% if id %}}{{% else %}}{tracker}{{% endif %}}"), true),
            (format!("{{% if id %}}{{% endif %}}{tracker}"), false),
            (format!("{{% if id %}}{tracker}{{% endif %}}{tracker}"), false),
            (format!("{{{{ id }}}}{tracker}"), false),
            ("{% if id %}{% endif %}".to_owned(), false),
        ] {
            let mut overrides = Overrides::new("python3-x");
            overrides.template("usr/x.html", page.as_bytes());
            assert_eq!(overrides.text().contains("google-adsense"), asks, "{page}");
        }
    }

    #[test]
    fn folders_with_a_dot_are_named_once() {
        let mut overrides = Overrides::new("python3-x");
        for path in ["x/.tx/config", "x/.tx/other", ".hidden.py", "x/y.py"] {
            overrides.look(&format!("usr/lib/python3/dist-packages/{path}"));
        }
        let text = overrides.text();
        assert_eq!(text.matches("dot-directory").count(), 1, "{text}");
        assert!(text.contains("[usr/lib/python3/dist-packages/x/.tx/*]"), "{text}");
    }
}
