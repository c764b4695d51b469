//! `bk-docsite publish`, `alias`, `remove` and `yank`, as a browser, pip and uv see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Server, World, files};

/// A site with two versions of `lib`, of which the first lacks a page.
fn two_versions() -> World {
    let world = World::with_site();
    let index = ("index.html", "<h1>lib</h1><a href=\"guide.html#deep\">guide</a>");
    world.docs("one", &[index, ("guide.html", "<h1 id=\"deep\">Guide</h1> old words")]);
    world.docs(
        "two",
        &[index, ("guide.html", "<h1 id=\"deep\">Guide</h1> new words"), ("sub/new.html", "Größe")],
    );
    world.write("one/same.css", "p { }\n");
    world.write("two/same.css", "p { }\n");
    world.write("two/.doctrees/x", "hidden");
    assert_eq!(
        world.bk(&["publish", "site", "Lib", "1.0", "--docs", "one"]).ok(),
        "site/lib/1.0\n"
    );
    world.bk(&["publish", "site", "Lib", "1.1", "--docs", "two", "--alias", "stable"]).ok();
    world
}

/// A page that was published before there was a newer version offers it, with a server and without one.
#[test]
fn old_pages_know_of_new_versions() {
    let world = two_versions();
    let server = world.serve(&["site"]);
    let file = format!("file://{}/", world.path("site").display());
    for root in [&server.url, &file] {
        let page = world.browse(&format!("{root}lib/1.0/guide.html"));
        assert!(page.contains("This is not the latest version."), "{page}");
        // The same page of the other version.
        assert!(page.contains("href=\"../../lib/1.1/guide.html\""), "{page}");
        assert!(page.contains("old words"), "{page}");
        let page = world.browse(&format!("{root}lib/latest/sub/new.html"));
        assert!(!page.contains("not the latest"), "{page}");
        // Where the other version has no such page: its first.
        assert!(page.contains("value=\"../../../lib/1.0/index.html\""), "{page}");
        assert!(page.contains("1.1 (latest, stable)"), "{page}");
    }
    let page = world.read("site/lib/1.0/guide.html");
    let canonical =
        "<link rel=\"canonical\" href=\"https://docs.example.com/lib/latest/guide.html\">";
    assert!(page.contains(canonical), "{page}");
    // Without scripts, there is a link.
    assert!(page.contains("<noscript><p><a href=\"../../lib/index.html\">"), "{page}");
    // What a generator wrote is as it was but for that.
    let theirs = world.read("one/guide.html");
    let cut = |page: &str, from: &str, to: &str| {
        let start = page.find(from).unwrap();
        let end = start + page[start..].find(to).unwrap() + to.len();
        format!("{}{}", &page[..start], &page[end..])
    };
    let page = cut(&page, "<link rel=\"canonical\"", ">");
    let page = cut(&page, "<noscript>", "</noscript>");
    assert_eq!(cut(&page, "<script", "</script>"), theirs);
    // And what is hidden was not published.
    assert!(!world.path("site/lib/1.1/.doctrees").exists());
}

/// What is in the latest versions is found, by words and by what Sphinx documents.
#[test]
fn the_search_finds_words_and_names() {
    let world = two_versions();
    world.write("rst/conf.py", "extensions = ['sphinx.ext.autodoc']\nproject = 'calc'\n");
    world.write(
        "rst/index.rst",
        "Calc\n====\n\n.. py:function:: calc.multiply(a, b)\n\n   Takes two numbers, says the elephant.\n",
    );
    world.run("sphinx-build", &["-q", "-b", "html", "rst", "built"]).ok();
    world.bk(&["publish", "site", "calc", "2.0", "--docs", "built"]).ok();
    let file = format!("file://{}/search.html", world.path("site").display());
    let found = |words: &str| {
        let page = world.browse(&format!("{file}?q={words}"));
        let list = page.split("<ol id=\"results\">").nth(1).unwrap();
        list.split("</ol>").next().unwrap().to_owned()
    };
    let list = found("multiply");
    let first = list.split("</li>").next().unwrap();
    assert!(first.contains("calc/latest/index.html#calc.multiply"), "{list}");
    assert!(first.contains("calc.multiply (function)"), "{list}");
    assert!(found("eleph").contains("calc/latest/index.html"), "the beginning of a word");
    assert!(found("new%20words").contains("lib/latest/guide.html"));
    assert!(found("gr%C3%B6%C3%9Fe").contains("lib/latest/sub/new.html"));
    assert_eq!(found("old%20words"), "", "only the latest counts");
    assert_eq!(found("elephant%20words"), "");
    // What is no longer there is no longer found.
    world.bk(&["remove", "site", "Lib", "--all"]).ok();
    assert_eq!(found("words"), "");
    assert!(found("elephant").contains("calc"));
}

/// pip and uv install from it: from our server, which speaks JSON, and from one that knows nothing.
#[test]
fn pip_and_uv_install_from_it() {
    let world = World::with_site();
    for version in ["1.0", "1.1", "2.0rc1"] {
        let wheel = world.wheel("lib_x", version);
        world.bk(&["publish", "site", "lib-x", version, &wheel]).ok();
    }
    let ours = world.serve(&["site"]);
    let mut plain =
        world.command("python3", &["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]);
    plain.current_dir(world.path("site"));
    let plain = Server::start(plain);
    // "Serving HTTP on 127.0.0.1 port 1 (http://127.0.0.1:1/) ..."
    let plain_url = plain.url.split(['(', ')']).nth(1).unwrap().to_owned();
    for (number, root) in [&ours.url, &plain_url].into_iter().enumerate() {
        let index = format!("{root}simple/");
        for (what, version) in [("lib-x", "1.1"), ("lib.x<1.1", "1.0"), ("lib_x==2.0rc1", "2.0rc1")]
        {
            let target = format!("t{number}{version}");
            let args = [
                "install",
                "-q",
                "--no-cache-dir",
                "--index-url",
                &index,
                "--target",
                &target,
                what,
            ];
            world.run("pip", &args).ok();
            assert!(world.read(&format!("{target}/lib_x.py")).contains(version), "{what}");
            let target = format!("u{number}{version}");
            let args = [
                "pip",
                "install",
                "-q",
                "--no-cache",
                "--index-url",
                &index,
                "--target",
                &target,
                what,
            ];
            world.run("uv", &args).ok();
            assert!(world.read(&format!("{target}/lib_x.py")).contains(version), "{what}");
        }
    }
    // PEP 592: withdrawn, but for who asks for it.
    world.bk(&["yank", "site", "lib-x", "1.1", "--reason", "it's \"bad\""]).ok();
    let index = format!("{}simple/", ours.url);
    for (number, (what, version)) in
        [("lib-x", "1.0"), ("lib-x==1.1", "1.1")].into_iter().enumerate()
    {
        let target = format!("y{number}");
        let args = ["install", "--no-cache-dir", "--index-url", &index, "--target", &target, what];
        let said = world.run("pip", &args).code(0);
        assert!(world.read(&format!("{target}/lib_x.py")).contains(version), "{what}");
        assert_eq!(said.stderr.contains("it's \"bad\""), version == "1.1", "{}", said.stderr);
    }
    // PEP 691: who wants JSON has it, who says nothing has HTML; the metadata are beside (PEP 658).
    let json = "application/vnd.pypi.simple.v1+json";
    for (accept, kind) in [
        ("", "text/html"),
        ("Accept: */*\r\n", "text/html"),
        ("Accept: text/html, application/vnd.pypi.simple.v1+json;q=0.2\r\n", "text/html"),
        ("Accept: application/vnd.pypi.simple.v1+json, text/html;q=0.1\r\n", json),
    ] {
        let (status, head, body) = ours.get("/simple/lib-x/", accept);
        assert_eq!(status, 200);
        let head = head.to_lowercase();
        assert!(
            head.contains(&format!("content-type: {kind}")) && head.contains("vary: accept"),
            "{head}"
        );
        assert_eq!(body.starts_with('{'), kind == json);
    }
    let (_, _, metadata) = ours.get("/files/lib-x/lib_x-1.0-py3-none-any.whl.metadata", "");
    assert!(metadata.contains("\nName: lib_x\n"), "{metadata}");
    assert_eq!(ours.get("/simple/lib-x", "").0, 301);
}

/// What we write is HTML without a fault, and text from outside is text in it.
#[test]
fn the_site_s_own_pages_are_good() {
    let world = two_versions();
    let wheel = world.wheel("lib", "1.1");
    world.write("dist/python3-lib_1.1-1_all.deb", "!<arch>\n");
    world.bk(&["publish", "site", "Lib", "1.1", &wheel, "dist/python3-lib_1.1-1_all.deb"]).ok();
    world
        .bk(&["yank", "site", "Lib", "1.1", "--reason", "</strong><script>alert(1)</script>"])
        .ok();
    let code = "import html5lib, sys
for page in sys.argv[1:]:
    html5lib.HTMLParser(strict=True).parse(open(page, encoding='utf-8'))";
    let pages = [
        "site/index.html",
        "site/search.html",
        "site/lib/index.html",
        "site/simple/index.html",
        "site/simple/lib/index.html",
        "site/lib/1.1/guide.html",
    ];
    world.run("python3", &[&["-c", code], &pages[..]].concat()).ok();
    let page = world.read("site/lib/index.html");
    assert!(page.contains("Our &lt;things&gt;") && !page.contains("<script>alert"), "{page}");
    assert!(page.contains("href=\"../files/lib/lib-1.1-py3-none-any.whl\""), "{page}");
    assert!(page.contains("python3-lib_1.1-1_all.deb"), "{page}");
    assert_eq!(world.bk(&["check", "site"]).ok(), "");
}

/// Whoever reads sees a version as it was or as it is, and always something.
#[test]
fn readers_see_one_or_the_other() {
    let world = World::with_site();
    let long = "word ".repeat(20_000);
    world.docs("a", &[("index.html", &format!("{long} AAA"))]);
    world.docs("b", &[("index.html", &format!("{long} BBB"))]);
    world.bk(&["publish", "site", "lib", "1.0", "--docs", "a"]).ok();
    let page = world.path("site/lib/latest/index.html");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&page).unwrap();
                assert!(text.ends_with("</html>\n"), "half a page");
                seen.insert(text.contains("BBB"));
            }
            seen.len()
        });
        for number in 0..20 {
            let docs = if number % 2 == 0 { "b" } else { "a" };
            world.bk(&["publish", "site", "lib", "1.0", "--docs", docs]).ok();
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(reader.join().unwrap(), 2);
    });
    let left = fs::read_dir(world.path("site/.docsite")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the lock and the search: {left:?}");
}

/// Whenever somebody is killed, the same again makes what it would have made.
#[test]
fn a_killed_publish_can_be_said_again() {
    let world = World::with_site();
    let body: String = (0..3_000).map(|n| format!("w{n} x{n} ")).collect();
    for (docs, more) in [("a", "old"), ("b", "new")] {
        world.docs(
            docs,
            &[("index.html", &format!("{body} {more}")), (&format!("{more}.html"), more)],
        );
    }
    world.run("cp", &["-r", "site", "fresh"]).ok();
    let publish = |site: &str, version: &str, docs: &str| {
        world.command(
            env!("CARGO_BIN_EXE_bk-docsite"),
            &["publish", site, "lib", version, "--docs", docs],
        )
    };
    for site in ["site", "fresh"] {
        assert!(publish(site, "1.0", "a").output().unwrap().status.success());
    }
    let begun = std::time::Instant::now();
    assert!(publish("fresh", "1.1", "b").output().unwrap().status.success());
    let takes = begun.elapsed();
    let mut killed = 0;
    // As many moments as there are, spread over what it takes.
    for part in 0..24_u32 {
        let mut child = publish("site", "1.1", "b").spawn().unwrap();
        std::thread::sleep(takes * part / 20);
        drop(child.kill());
        killed += u32::from(!child.wait().unwrap().success());
        // Readers have a whole page at any time.
        assert!(world.read("site/lib/latest/index.html").ends_with("</html>\n"));
    }
    assert!(killed > 0);
    assert!(publish("site", "1.1", "b").output().unwrap().status.success());
    assert_eq!(world.bk(&["check", "site"]).ok(), "");
    let (ours, theirs) = (files(&world.path("site")), files(&world.path("fresh")));
    let names =
        |all: &[(String, Vec<u8>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    assert!(ours == theirs);
}

/// What cannot be published is said, and nothing changes.
#[test]
fn bad_input_changes_nothing() {
    let world = two_versions();
    let wheel = world.wheel("lib", "1.2");
    world.bk(&["publish", "site", "lib", "1.2", &wheel]).ok();
    world.write("dist/lib-1.2.tar.gz", "x");
    world.write(
        "other/lib-1.2-py3-none-any.whl",
        fs::read(world.path(&world.wheel("lib", "9"))).unwrap(),
    );
    world.write("broken/lib-1.3-py3-none-any.whl", "no zip");
    world.docs("linked", &[("index.html", "x")]);
    std::os::unix::fs::symlink("/etc/passwd", world.path("linked/secret")).unwrap();
    world.write("bare/page.html", "x");
    let before = files(&world.path("site"));
    for (args, code, why) in [
        (&["publish", "site", "..", "1.0", "--docs", "one"][..], 2, "no name for a package"),
        (&["publish", "site", "a/b", "1.0", "--docs", "one"], 2, "no name for a package"),
        (&["publish", "site", "simple", "1.0", "--docs", "one"], 2, "something else"),
        (&["publish", "site", "lib", "../x", "--docs", "one"], 2, "no name for a version"),
        (&["publish", "site", "lib", "1.0", "--docs", "one", "--alias", "latest"], 2, "by itself"),
        (&["publish", "site", "lib", "1.0", "--docs", "one", "--alias", "1.1"], 2, "is a version"),
        (&["publish", "site", "lib", "1.0"], 2, "nothing to publish"),
        (&["publish", "site", "lib", "3", "--docs", "bare"], 1, "no index.html"),
        (&["publish", "site", "lib", "3", "--docs", "nowhere"], 1, "no index.html"),
        (&["publish", "site", "lib", "3", "--docs", "linked"], 1, "is a link"),
        (&["publish", "site", "other", "1.2", &wheel], 1, "it is of 'lib', not of 'other'"),
        (&["publish", "site", "lib", "1.3", &wheel], 1, "it is of version '1.2'"),
        (&["publish", "site", "lib", "1.2", "other/lib-1.2-py3-none-any.whl"], 1, "--force"),
        (
            &["publish", "site", "lib", "1.3", "broken/lib-1.3-py3-none-any.whl"],
            1,
            "cannot read the wheel",
        ),
        (&["publish", "site", "lib", "1.3", "dist/none.whl"], 1, "none.whl"),
        (&["publish", "two", "lib", "1.0", "--docs", "one"], 1, "bk-docsite init"),
        (&["publish", "nowhere", "lib", "1.0", "--docs", "one", "--dry-run"], 1, "bk-docsite init"),
        (&["publish", "site", "new", "1.0", "--docs", "one", "--dry-run"], 0, "site/new/1.0"),
        (&["alias", "site", "lib", "stable", "7"], 1, "there are 1.1, 1.0"),
        (&["alias", "site", "lib", "1.0", "1.1"], 1, "is a version"),
        (&["alias", "site", "lib", "none", "--remove"], 1, "no alias"),
        (&["remove", "site", "lib", "7"], 1, "there is no version '7'"),
        (&["remove", "site", "libb", "--all"], 1, "it has lib"),
        (&["yank", "site", "lib", "1.0"], 1, "has no files"),
        (&["diff", "site", "lib", "1.0", "7"], 1, "there are 1.1, 1.0"),
        (&["init", "site"], 1, "there is one already"),
    ] {
        world.bk(args).code(code).says(why);
        assert!(files(&world.path("site")) == before, "{args:?}");
    }
}

/// A site begins with what is published first.
#[test]
fn a_site_begins_by_itself() {
    let world = World::new();
    let wheel = world.wheel("lib", "1.0");
    world.bk(&["publish", "sites/new", "lib", "1.0", &wheel]).code(0).says("made the site");
    assert_eq!(world.bk(&["list", "sites/new"]).ok(), "lib\t1.0\t\t1\n");
}

#[test]
fn versions_come_and_go() {
    let world = two_versions();
    let list = || world.bk(&["list", "site"]).ok();
    assert_eq!(list(), "Lib\t1.1\tlatest,stable\t0\nLib\t1.0\t\t0\n");
    // A pre-release is not the latest.
    world.bk(&["publish", "site", "lib", "2.0rc1", "--docs", "two"]).ok();
    assert_eq!(fs::read_link(world.path("site/lib/latest")).unwrap().to_str(), Some("1.1"));
    // What did not change is on the disk once.
    let inode =
        |path: &str| std::os::unix::fs::MetadataExt::ino(&world.path(path).metadata().unwrap());
    assert_eq!(inode("site/lib/1.1/same.css"), inode("site/lib/1.0/same.css"));
    world.bk(&["alias", "site", "lib", "stable", "1.0"]).ok();
    assert!(world.read("site/lib/stable/guide.html").contains("old words"));
    let said = world.bk(&["diff", "site", "lib", "stable", "1.1", "--json"]).code(3).stdout;
    let changed = "{\"type\":\"page\",\"change\":\"changed\",\"page\":\"guide.html\",\"added\":[\"new\"],\"removed\":[\"old\"]}\n";
    assert_eq!(
        said,
        format!("{changed}{{\"type\":\"page\",\"change\":\"added\",\"page\":\"sub/new.html\"}}\n")
    );
    assert_eq!(world.bk(&["diff", "site", "lib", "1.1", "2.0rc1"]).ok(), "");
    // Those with an alias stay.
    assert_eq!(world.bk(&["remove", "site", "lib", "--keep", "1"]).ok(), "");
    world.bk(&["alias", "site", "lib", "stable", "--remove"]).ok();
    assert_eq!(world.bk(&["remove", "site", "lib", "--keep", "2"]).ok(), "site/lib/1.0\n");
    assert!(!world.path("site/lib/1.0").exists() && !world.path("site/lib/stable").exists());
    world.bk(&["remove", "site", "lib", "1.1"]).ok();
    assert_eq!(list(), "lib\t2.0rc1\tlatest\t0\n");
    world.bk(&["remove", "site", "lib", "--all"]).ok();
    assert_eq!(list(), "");
    assert!(!world.path("site/lib").exists());
    assert!(world.read("site/index.html").contains("Nothing is published yet"));
}

/// A link that leads nowhere is found before a reader finds it.
#[test]
fn broken_links_are_found() {
    let world = two_versions();
    world.docs(
        "bad",
        &[
            ("index.html", "<a href=\"gone.html\">a</a><a href=\"other.html#gone\">b</a><img src=\"x.png\">\
              <a href=\"other.html#there\">c</a><a href=\"https://example.com/gone\">d</a><a href=\"#top\">e</a>"),
            ("other.html", "<p id=\"there\">x</p><a href=\"../1.0/guide.html#deep\">f</a>"),
        ],
    );
    world.bk(&["publish", "site", "lib", "3", "--docs", "bad"]).ok();
    let said = world.bk(&["check", "site", "lib"]).code(3).stdout;
    let expected = [
        "lib/3/index.html: 'gone.html' leads nowhere",
        "lib/3/index.html: 'other.html#gone' is no place in that page",
        "lib/3/index.html: 'x.png' leads nowhere",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    world.bk(&["remove", "site", "lib", "1.0"]).ok();
    world.bk(&["check", "site", "lib"]).code(3).says("'../1.0/guide.html#deep' leads nowhere");
    let wheel = world.wheel("lib", "3");
    world.bk(&["publish", "site", "lib", "3", &wheel]).ok();
    world.write("site/files/lib/lib-3-py3-none-any.whl", "changed");
    world.bk(&["check", "site", "lib"]).code(3).says("it is not the file that was published");
}

/// The server gives what is published, and nothing else.
#[test]
fn only_what_is_published_is_served() {
    let world = two_versions();
    std::os::unix::fs::symlink("/etc", world.path("site/lib/1.0/out")).unwrap();
    world.bk(&["init", "second"]).ok();
    let server = world.serve(&["site"]);
    for (path, status) in [
        ("/", 200),
        ("/lib/latest/guide.html", 200),
        ("/lib/latest", 301),
        ("/lib/1.1/sub/new.html", 200),
        ("/docsite.yaml", 404),
        ("/.docsite/lock", 404),
        ("/lib/1.0/out/passwd", 404),
        ("/lib/../../etc/passwd", 404),
        ("/lib/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/lib//guide.html", 404),
        ("/nothing", 404),
        ("/healthz", 200),
    ] {
        assert_eq!(server.get(path, "").0, status, "{path}");
    }
    let both = world.serve(&["site", "second"]);
    assert!(both.get("/", "").2.contains("href=\"second/\""));
    assert_eq!(both.get("/site/lib/1.1/guide.html", "").0, 200);
    assert_eq!(both.get("/lib/1.1/guide.html", "").0, 404);
}
