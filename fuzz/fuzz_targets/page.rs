#![no_main]

use bk_docsite::html::{Parts, put, read, resolve};

libfuzzer_sys::fuzz_target!(|html: &str| {
    let page = read(html);
    let put = put(html, &page, &Parts { head: "\0[H]", start: "\0[S]", end: "\0[E]" });
    // Nothing of the page is lost or moved.
    let without = ["\0[H]", "\0[S]", "\0[E]"].iter().fold(put, |text, part| text.replacen(part, "", 1));
    assert!(without == html || html.contains('\0'));
    for link in &page.links {
        if let Some((path, _)) = resolve("a/b/c.html", link) {
            assert!(path.split('/').all(|name| name != ".."));
        }
    }
});
