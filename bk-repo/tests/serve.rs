//! `bk-repo serve`

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Server, World};

#[test]
fn apt_updates_and_downloads_over_http_while_the_repository_changes() {
    let world = World::new();
    let a = world.deb("a", "1", "all", "");
    world.bk(&["add", "repo", &a]).ok();
    let server = Server::start(&world, &["repo"]);
    let apt = world.apt(&server.url());
    apt.update(&[]);
    apt.get(&["download", "a"]).ok();
    assert_eq!(fs::read(apt.path("a_1_all.deb")).unwrap(), fs::read(world.path(&a)).unwrap());
    // Publications within one second: each must be seen.
    for i in 2..6 {
        let deb = world.deb("a", &i.to_string(), "all", "");
        world.bk(&["add", "repo", &deb]).ok();
        apt.update(&[]);
        assert_eq!(apt.versions("a")[0], i.to_string());
    }
    server.stop();
}

#[test]
fn ranges_validators_and_caching_are_those_of_http() {
    let world = World::new();
    let a = world.deb("a", "1", "all", "");
    world.bk(&["add", "repo", &a]).ok();
    let server = Server::start(&world, &["repo"]);
    let pool = "/pool/main/a/a/a_1_all.deb";
    let whole = fs::read(world.path(&a)).unwrap();
    let (code, head, body) = server.get(pool, "");
    assert_eq!((code, &body), (200, &whole));
    assert!(head.contains("cache-control: public, max-age=31536000, immutable"), "{head}");
    let (code, head, body) = server.get(pool, "Range: bytes=5-9\r\n");
    assert_eq!((code, &body[..]), (206, &whole[5..10]));
    assert!(head.contains(&format!("content-range: bytes 5-9/{}", whole.len())), "{head}");
    assert_eq!(server.get(pool, "Range: bytes=99999999-\r\n").0, 416);
    let (code, head, body) = server.ask("HEAD", pool, "");
    assert_eq!((code, body.len()), (200, 0));
    assert!(head.contains(&format!("content-length: {}", whole.len())));
    let (_, head, _) = server.get("/dists/stable/InRelease", "");
    assert!(head.contains("cache-control: no-cache"), "{head}");
    let header =
        |name: &str| head.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    let tag = header("etag:");
    let get = |headers: &str| server.get("/dists/stable/InRelease", headers);
    assert_eq!(get(&format!("If-None-Match: {tag}\r\n")).0, 304);
    assert_eq!(get("If-None-Match: \"x\"\r\n").0, 200);
    assert_eq!(get("Range: bytes=0-0\r\nIf-Range: \"x\"\r\n").0, 200);
    assert_eq!(server.get(&format!("{pool}/x"), "").0, 404);
    for path in [
        "/.buildkit/head",
        "/../root",
        "/%2e%2e/root",
        "/pool/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
    ] {
        assert_eq!(server.get(path, "").0, 404, "{path}");
    }
    assert_eq!(server.ask("POST", pool, "Content-Length: 0\r\n").0, 405);
    assert_eq!(server.get("/pool", "").0, 301);
    server.stop();
}

#[test]
fn a_file_is_the_same_whichever_way_it_is_asked_for_until_it_is_another() {
    let world = World::new();
    let a = world.deb("a", "1", "all", "");
    world.bk(&["add", "repo", &a]).ok();
    let server = Server::start(&world, &["repo"]);
    let pool = "pool/main/a/a/a_1_all.deb";
    // Of the two requests on one connection the first is plain, and the second is not.
    let both = || {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        write!(stream, "GET /{pool} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        write!(stream, "GET /{pool} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let mut answers = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let lines = head.lines().map(str::to_owned);
            let lines: BTreeSet<String> = lines
                .filter(|line| !line.starts_with("date:") && line != "connection: close")
                .collect();
            let size = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let next = end + 4 + size.parse::<usize>().unwrap();
            answers.push((lines.clone(), bytes[end + 4..next].to_vec()));
            bytes.drain(..next);
        }
        answers
    };
    let answers = both();
    assert_eq!((answers.len(), &answers[0]), (2, &answers[1]));
    assert_eq!(answers[0].1, fs::read(world.path(&a)).unwrap());
    // A second later another file in its place is noticed, and that there is none.
    let path = world.path("repo").join(pool);
    bk::file::write(&path, b"another").unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let answers = both();
    assert_eq!((answers.len(), &answers[0]), (2, &answers[1]));
    assert_eq!(answers[0].1, b"another");
    fs::remove_file(&path).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    assert!(both()[0].0.contains("http/1.1 404 not found"));
    server.stop();
}

#[test]
fn people_get_a_page_with_packages_search_and_instructions() {
    let world = World::new();
    let a = world.deb("aardvark", "1.5", "all", "");
    let b = world.deb("zebra", "2.5", "amd64", "");
    world.bk(&["add", "repo", &a, &b]).ok();
    let server = Server::start(&world, &["repo"]);
    let page = |path: &str| String::from_utf8(server.get(path, "").2).unwrap();
    let all = page("/");
    for text in ["aardvark", "1.5", "zebra", "amd64", "stable", "PGP PUBLIC KEY BLOCK", "Signed-By"]
    {
        assert!(all.contains(text), "{text} is not in {all}");
    }
    let some = page("/?q=zeb");
    assert!(some.contains("zebra") && !some.contains("aardvark"));
    assert!(page("/?q=%3Cscript%3E").contains("&lt;script&gt;"));
    let one = page("/?package=zebra");
    for text in ["2.5", "zebra_2.5_amd64.deb", "apt install zebra", "SHA256", "Maintainer"] {
        assert!(one.contains(text), "{text} is not in {one}");
    }
    assert!(page("/?package=none").contains("no such package"));
    assert!(all.contains("+zebra 2.5 in stable"), "{all}");
    assert!(page("/pool/main/z/zebra/").contains("zebra_2.5_amd64.deb"));
    // What the page tells to write is what works.
    let sources = page("/");
    let start = sources.find("<pre>").unwrap() + 5;
    let text = &sources[start..sources.find("</pre>").unwrap()];
    let apt = world.apt(&server.url());
    world.write("apt/test.sources", text);
    apt.update(&[]);
    assert_eq!(apt.versions("zebra"), ["2.5"]);
    server.stop();
}

#[test]
fn several_repositories_are_below_their_names() {
    let world = World::new();
    world.bk(&["init", "one"]).ok();
    world.bk(&["init", "two"]).ok();
    let server = Server::start(&world, &["one", "two"]);
    assert_eq!(server.get("/one/dists/stable/InRelease", "").0, 200);
    assert_eq!(server.get("/dists/stable/InRelease", "").0, 404);
    assert!(String::from_utf8(server.get("/", "").2).unwrap().contains("href=\"two/\""));
    server.stop();
    world.bk(&["serve", "nowhere"]).code(1).says("is no repository");
}

#[test]
fn slow_clients_are_cut_off_and_a_stop_waits_for_those_in_flight() {
    let world = World::new();
    world.bk(&["init", "repo"]).ok();
    let big = vec![7; 64 << 20];
    world.write("repo/pool/big.bin", &big);
    let server = Server::start(&world, &["repo"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(stream, "GET /pool/big.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut start = vec![0; 1000];
    stream.read_exact(&mut start).unwrap();
    let stopping = std::thread::spawn(move || server.stop());
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() + start.len() > big.len());
    stopping.join().unwrap();
}
