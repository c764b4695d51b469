//! `bk-repo sources`

#![allow(clippy::unwrap_used)]

mod common;

use common::World;

#[test]
fn the_sources_file_names_what_there_is() {
    let world = World::new();
    let suites = ["--suite", "a", "--suite", "b", "--component", "main", "--component", "extra"];
    world.bk(&[&["init", "repo"], &suites[..]].concat()).ok();
    let text = world.bk(&["sources", "repo", "--uri", "http://localhost/x"]).ok();
    let head = "Types: deb\nURIs: http://localhost/x\nSuites: a b\nComponents: main extra\nSigned-By:\n \
                -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n";
    assert!(text.starts_with(head), "{text}");
    let one = world.bk(&["sources", "repo", "--uri", "http://localhost/x", "--suite", "b"]).ok();
    assert!(one.contains("\nSuites: b\n"));
    world.bk(&["sources", "repo", "--uri", "http://localhost/x", "--suite", "c"]).code(2);
    world.bk(&["sources", "repo", "--uri", "http://a b"]).code(2);
    // A suite with other components has a paragraph of its own.
    world.bk(&["init", "repo", "--suite", "c", "--component", "main"]).ok();
    let text = world.bk(&["sources", "repo", "--uri", "http://localhost/x"]).ok();
    assert!(text.contains("Suites: a b\nComponents: main extra\n"), "{text}");
    assert!(
        text.contains("\n\nTypes: deb\nURIs: http://localhost/x\nSuites: c\nComponents: main\n")
    );
    world.apt_file().update(&[]);
}
