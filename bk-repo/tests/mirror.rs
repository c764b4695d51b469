//! `bk-repo mirror`, from another repository over HTTP.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs;

use common::{Ran, Server, World, run};

fn upstream(world: &World) -> Server {
    let init = ["init", "up", "--suite", "main", "--arch", "amd64", "--arch", "arm64"];
    world.bk(&[&init[..], &["--translations", "--label", "Up"]].concat()).ok();
    let debs = [
        world.deb("app", "1+x~1", "amd64", "Depends: lib (>= 1), data\nRecommends: doc\n"),
        world.deb("lib", "1", "amd64", "Pre-Depends: base\n"),
        world.deb("lib", "2", "amd64", "Pre-Depends: base\n"),
        world.deb("base", "1", "amd64", ""),
        world.deb("data", "1", "all", ""),
        world.deb("doc", "1", "all", ""),
        world.deb("other", "1", "arm64", ""),
    ];
    let words: Vec<&str> = debs.iter().map(String::as_str).collect();
    world.bk(&[&["add", "up"], &words[..]].concat()).ok();
    world.bk(&["key", "export", "up", "-o", "up.asc"]).ok();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    Server::start(world, &["up"])
}

fn mirror(world: &World, server: &Server, more: &[&str]) -> Ran {
    let url = server.url();
    let args = ["mirror", "repo", &url, "main", "--keyring", "up.asc"];
    world.bk(&[&args[..], more].concat())
}

#[test]
fn what_is_chosen_comes_with_its_dependencies_and_what_is_gone_goes() {
    let world = World::new();
    let server = upstream(&world);
    let some = ["--arch", "amd64", "--filter", "app", "--with-deps"];
    assert_eq!(mirror(&world, &server, &[&some[..], &["-n"]].concat()).ok().lines().count(), 4);
    assert_eq!(world.bk(&["list", "repo"]).ok(), "");
    let came = mirror(&world, &server, &some).ok();
    assert_eq!(came, "app_1+x~1_amd64\nbase_1_amd64\ndata_1_all\nlib_2_amd64\n");
    assert_eq!(mirror(&world, &server, &some).ok(), "", "nothing is new");
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    let stanza = world.bk(&["list", "repo", "app", "--stanzas"]).ok();
    assert!(stanza.contains("a package for tests"), "{stanza}");
    let apt = world.apt_file();
    apt.update(&[]);
    apt.get(&["-d", "-y", "install", "app"]).ok();
    // All of it, then what is left of it.
    mirror(&world, &server, &[]).ok();
    let list = || world.bk(&["list", "repo", "--suite", "main"]).ok();
    assert_eq!(list(), world.bk(&["list", "up"]).ok());
    world.bk(&["remove", "up", "doc", "lib=1"]).ok();
    mirror(&world, &server, &["--to", "main"]).ok();
    assert_eq!(list(), world.bk(&["list", "up"]).ok());
    let release = fs::read_to_string(world.path("repo/dists/main/Release")).unwrap();
    assert!(
        release.contains("\nLabel: Up\n") && release.contains("\nArchitectures: amd64 arm64\n")
    );
    mirror(&world, &server, &["--arch", "mips"]).code(2).says("it has amd64, arm64");
    server.stop();
    // And from a folder.
    let from = format!("file:{}", world.path("up").display());
    world.bk(&["mirror", "repo", &from, "main", "--to", "third", "--keyring", "up.asc"]).ok();
    let third = world.bk(&["list", "repo", "--suite", "third"]).ok();
    assert_eq!(third, world.bk(&["list", "up"]).ok());
}

#[test]
fn what_was_interrupted_goes_on_and_what_is_damaged_is_refused() {
    let world = World::new();
    let server = upstream(&world);
    let deb = world.path("up/pool/main/d/data/data_1_all.deb");
    let whole = fs::read(&deb).unwrap();
    let hash = run(&world.path(""), "sha256sum", &[deb.to_str().unwrap()]);
    let hash = hash.split(' ').next().unwrap();
    // The first half is here; the second is all that the server has.
    let part = world.write(&format!("repo/.buildkit/mirror/{hash}"), &whole[..100]);
    let mut half = vec![0; 100];
    half.extend_from_slice(&whole[100..]);
    fs::write(&deb, &half).unwrap();
    let only = ["--filter", "data"];
    assert_eq!(mirror(&world, &server, &only).ok(), "data_1_all\n");
    assert!(!part.exists());
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    // One whose bytes are others.
    let deb = world.path("up/pool/main/d/doc/doc_1_all.deb");
    let mut bytes = fs::read(&deb).unwrap();
    bytes[200] ^= 1;
    fs::write(&deb, &bytes).unwrap();
    let refused = mirror(&world, &server, &[]).code(1);
    refused.says("doc_1_all.deb").says("not what the index says");
    assert_eq!(world.bk(&["list", "repo"]).ok(), "data_1_all\n");
    fs::remove_file(&deb).unwrap();
    mirror(&world, &server, &[]).code(75).says("announced and not there");
    // An index that is not the one that was signed.
    let index = world.path("up/dists/main/main/binary-amd64/Packages.zst");
    let index = index.canonicalize().unwrap();
    let bytes = fs::read(&index).unwrap();
    fs::write(&index, &bytes[..bytes.len() - 1]).unwrap();
    mirror(&world, &server, &only).code(75).says("not what the Release file announces");
    // Another's signature.
    let stranger = world.bk(&["key", "create"]).ok();
    world.bk(&["key", "export", stranger.trim(), "-o", "up.asc"]).ok();
    mirror(&world, &server, &only).code(1).says("no key of the keyring signed it");
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    server.stop();
    world.bk(&["mirror", "repo", "ftp://x", "main", "--keyring", "up.asc"]).code(2);
}
