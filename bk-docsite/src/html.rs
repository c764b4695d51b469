//! Pages as generators write them: what can be read in one, where it leads, and putting something into it.

use std::collections::BTreeSet;

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its title, without what is the same in all titles of a generator (`Title — Project 1.0`).
    pub title: String,
    /// What a person reads, in the order of the page; navigation is left out where a page says what its main
    /// part is.
    pub text: String,
    /// What headings say.
    pub headings: String,
    /// What links can point to in it.
    pub ids: BTreeSet<String>,
    /// Where it leads: links, images, styles and scripts.
    pub links: Vec<String>,
    /// Whether it says which page it stands for.
    pub canonical: bool,
    /// Where the head and the body end, and the body begins, in bytes.
    head_end: Option<usize>,
    body_start: Option<usize>,
    body_end: Option<usize>,
}

/// Elements whose text nobody reads.
const SILENT: [&str; 6] = ["script", "style", "template", "noscript", "svg", "head"];

/// Reads a page.
pub fn read(html: &str) -> Page {
    let mut page = Page::default();
    let mut silent: Option<Vec<u8>> = None;
    let (mut in_title, mut in_heading) = (false, false);
    let (mut main, mut all) = (String::new(), String::new());
    // How many elements deep the main part is.
    let mut depth = 0_usize;
    let mut main_name = Vec::new();
    let mut emitter = DefaultEmitter::new_with_span();
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let name: &[u8] = &tag.name;
                let attribute = |key: &str| {
                    let value = tag.attributes.get(key.as_bytes())?;
                    Some(String::from_utf8_lossy(value).into_owned())
                };
                for key in ["id", "name"] {
                    if let Some(id) = attribute(key).filter(|_| key == "id" || name == b"a") {
                        page.ids.insert(id);
                    }
                }
                let key = match name {
                    b"a" | b"link" | b"area" => Some("href"),
                    b"img" | b"script" | b"iframe" | b"source" | b"video" | b"audio" => Some("src"),
                    _ => None,
                };
                let relation = attribute("rel").unwrap_or_default();
                if name == b"link" && relation == "canonical" {
                    page.canonical = true;
                } else if let Some(to) = key.and_then(attribute) {
                    page.links.push(to);
                }
                match name {
                    b"body" => page.body_start = page.body_start.or(Some(tag.span.end)),
                    b"title" => in_title = page.title.is_empty(),
                    b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => in_heading = true,
                    _ => {}
                }
                let is_main = name == b"main" || attribute("role").as_deref() == Some("main");
                if depth == 0 && is_main {
                    depth = 1;
                    main_name = name.to_vec();
                } else if depth > 0 && name == main_name.as_slice() {
                    depth += 1;
                }
                let hushed = std::str::from_utf8(name).is_ok_and(|name| SILENT.contains(&name));
                if silent.is_none() && hushed && !tag.self_closing {
                    silent = Some(name.to_vec());
                }
                space(&mut all);
                space(&mut main);
            }
            Token::EndTag(tag) => {
                let name: &[u8] = &tag.name;
                match name {
                    b"head" => page.head_end = page.head_end.or(Some(tag.span.start)),
                    b"body" => page.body_end = Some(tag.span.start),
                    b"title" => in_title = false,
                    b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => in_heading = false,
                    _ => {}
                }
                if depth > 0 && name == main_name.as_slice() {
                    depth -= 1;
                }
                if silent.as_deref() == Some(name) {
                    silent = None;
                }
                space(&mut all);
                space(&mut main);
                space(&mut page.headings);
            }
            Token::String(text) => {
                let text = String::from_utf8_lossy(&text);
                if in_title {
                    page.title += &text;
                }
                if silent.is_some() {
                    continue;
                }
                // What marks a heading as a place to link to is no word.
                let text = text.replace(['¶', '\u{f0c1}'], "");
                all += &text;
                if depth > 0 {
                    main += &text;
                }
                if in_heading {
                    page.headings += &text;
                }
            }
            _ => {}
        }
    }
    let whole = if main.trim().is_empty() { all } else { main };
    page.text = words(&whole);
    page.headings = words(&page.headings);
    let title = words(&page.title);
    let short =
        [" — ", " – ", " - ", " | "].iter().filter_map(|cut| Some(title.split_once(cut)?.0));
    page.title = short.min_by_key(|title| title.len()).unwrap_or(&title).to_owned();
    page
}

/// Begins a new word.
fn space(text: &mut String) {
    if !text.is_empty() && !text.ends_with(' ') {
        text.push(' ');
    }
}

/// A text with one space between two words.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is put into a page.
pub struct Parts<'a> {
    /// At the end of its head.
    pub head: &'a str,
    /// At the beginning of its body.
    pub start: &'a str,
    /// At the end of its body.
    pub end: &'a str,
}

/// Puts parts into a page, which stays as it is otherwise. One without head or body has them at its start
/// and end, as browsers read it.
pub fn put(html: &str, page: &Page, parts: &Parts<'_>) -> String {
    let end = page.body_end.unwrap_or(html.len());
    let head = page.head_end.or(page.body_start).unwrap_or(end).min(end);
    let start = page.body_start.unwrap_or(head).clamp(head, end);
    let cut = |range: std::ops::Range<usize>| html.get(range).unwrap_or_default();
    [
        cut(0..head),
        parts.head,
        cut(head..start),
        parts.start,
        cut(start..end),
        parts.end,
        cut(end..html.len()),
    ]
    .concat()
}

/// Where a link of a page leads on the site: a path relative to the same place as `from`, and what in it is
/// meant. `None` for what is elsewhere (`https:`, `mailto:`), or out of the site.
pub fn resolve(from: &str, link: &str) -> Option<(String, String)> {
    let link = link.trim();
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let path = path.split('?').next().unwrap_or_default();
    let scheme = path.split(['/', '.']).next().unwrap_or_default();
    if scheme.contains(':') || path.starts_with('/') {
        return None;
    }
    let fragment = bk::http::decode(fragment).unwrap_or_else(|| fragment.to_owned());
    if path.is_empty() {
        return Some((from.to_owned(), fragment));
    }
    let mut names: Vec<&str> = from.split('/').collect();
    names.pop();
    let path = bk::http::decode(path)?;
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    let mut target = names.join("/");
    if path.ends_with('/') || path == "." || path == ".." || path.ends_with("/..") {
        target =
            if target.is_empty() { "index.html".into() } else { format!("{target}/index.html") };
    }
    Some((target, fragment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_a_person_reads_it() {
        let html = "<!doctype html><html><head><title>A &amp; B — X 1.0</title>\
            <style>p{}</style><link rel=canonical href=x></head><body class=\"a>b\"><nav>Menu</nav>\
            <div role=main><div>one<h1 id=top>Head<a href=\"#top\">¶</a></h1><p>two</p></div>\
            <script>no</script></div><a name=old href='y.html#z'>foot</a></body></html>";
        let page = read(html);
        assert_eq!(page.title, "A & B");
        assert_eq!(page.text, "one Head two");
        assert_eq!(page.headings, "Head");
        assert_eq!(page.links, ["#top", "y.html#z"]);
        assert_eq!(page.ids.iter().collect::<Vec<_>>(), ["old", "top"]);
        assert!(page.canonical);
        let put = put(html, &page, &Parts { head: "[H]", start: "[S]", end: "[E]" });
        assert!(
            put.contains("[H]</head>")
                && put.contains("a>b\">[S]<nav>")
                && put.ends_with("[E]</body></html>")
        );
        assert_eq!(put.replace("[H]", "").replace("[S]", "").replace("[E]", ""), html);
    }

    #[test]
    fn pages_without_the_usual_parts_have_theirs() {
        let parts = Parts { head: "[H]", start: "[S]", end: "[E]" };
        for html in
            ["", "text", "<p>a", "</body>", "<body>x", "<head></head>x", "\u{fe0f}é</body></html>"]
        {
            let put = put(html, &read(html), &parts);
            for part in ["[H]", "[S]", "[E]"] {
                assert_eq!(put.matches(part).count(), 1, "{html}: {put}");
            }
            assert_eq!(put.replace("[H]", "").replace("[S]", "").replace("[E]", ""), html);
        }
    }

    proptest::proptest! {
        /// Whatever a page is, nothing of it is lost, and no link leads out of the site.
        #[test]
        fn any_page_stays_itself(pieces in proptest::collection::vec(0usize..24, 0..40)) {
            let all = [
                "<html>", "</html>", "<head>", "</head>", "<body>", "</body>", "<body a='>'", "<!--", "-->",
                "<script>", "</script>", "<title>", "</title>", "<main>", "</main>", "<textarea>", "text é",
                "<a href='../../../../x#%41'>", "<a href=\"..%2f..\">", "<", ">", "&amp;", "<![CDATA[", "\u{0}",
            ];
            let html: String = pieces.iter().filter_map(|piece| all.get(*piece)).copied().collect();
            let page = read(&html);
            let put = put(&html, &page, &Parts { head: "[H]", start: "[S]", end: "[E]" });
            assert_eq!(put.replace("[H]", "").replace("[S]", "").replace("[E]", ""), html);
            for link in &page.links {
                if let Some((path, _)) = resolve("a/b/c.html", link) {
                    assert!(path.split('/').all(|name| name != ".."), "{link}: {path}");
                }
            }
        }
    }

    #[test]
    fn links_lead_where_a_browser_would_go() {
        // As in RFC 3986, 5.4, without what is elsewhere.
        for (from, link, target) in [
            ("b/c/d", "g", Some(("b/c/g", ""))),
            ("b/c/d", "./g", Some(("b/c/g", ""))),
            ("b/c/d", "g/", Some(("b/c/g/index.html", ""))),
            ("b/c/d", "#s", Some(("b/c/d", "s"))),
            ("b/c/d", "g?y#s", Some(("b/c/g", "s"))),
            ("b/c/d", "", Some(("b/c/d", ""))),
            ("b/c/d", ".", Some(("b/c/index.html", ""))),
            ("b/c/d", "..", Some(("b/index.html", ""))),
            ("b/c/d", "../g", Some(("b/g", ""))),
            ("b/c/d", "../../g", Some(("g", ""))),
            ("b/c/d", "../../../g", None),
            ("b/c/d", "g%20h", Some(("b/c/g h", ""))),
            ("b", "https://x/y", None),
            ("b", "mailto:x", None),
            ("b", "//x/y", None),
            ("b", "a:b", None),
        ] {
            let expected = target.map(|(path, id)| (path.to_owned(), id.to_owned()));
            assert_eq!(resolve(from, link), expected, "{from} {link}");
        }
    }
}
