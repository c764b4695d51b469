//! What archives do wrong, and nobody may ever notice: no client gets a complete wrong file, and
//! none is kept.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Archive, MODIFIED, Server, Suite, Then, World, exists, noise, serve, sha256};

const BIG: usize = 3 << 20;
const DEB: &str = "pool/main/big_1_amd64.deb";

/// An archive with one large package that its index knows, behind a cache that has the index.
fn known(world: &World, archive: &Archive, more: &[&str]) -> (Server, Vec<u8>) {
    let bytes = noise(BIG, 7);
    let suite = Suite::new(vec![("big".into(), bytes.clone())]);
    suite.publish(archive, "");
    let server = world.serve(&[&format!("x={}", archive.url(""))], more);
    learn(&server, &suite);
    (server, bytes)
}

/// Asks for a suite and its index, as apt-get update does.
fn learn(server: &Server, suite: &Suite) {
    server.gives("/x/dists/stable/InRelease", suite.in_release().as_bytes());
    server.gives(&format!("/x/{}", Suite::INDEX), &suite.index());
}

fn head(size: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nLast-Modified: {MODIFIED}\r\nContent-Length: {size}\r\n\r\n")
}

/// Runs the script for files of the pool, once, twice, …; else serves.
fn sometimes(
    archive: &Archive,
    times: usize,
    script: impl Fn(&mut std::net::TcpStream) -> Then + Send + Sync + 'static,
) {
    let (left, files) = (AtomicUsize::new(times), archive.files.clone());
    archive.does(move |asked, stream| {
        let bad = asked.target.contains("pool/")
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if bad { script(stream) } else { serve(asked, stream, &files) }
    });
}

#[test]
fn a_transfer_that_breaks_goes_on_within_the_same_answer() {
    let world = World::new();
    let archive = Archive::new();
    let (server, bytes) = known(&world, &archive, &[]);
    let part = bytes.clone();
    // Reset after 1, then closed after 2 MiB, each from where the last one ended.
    sometimes(&archive, 1, move |stream| {
        stream.write_all(head(part.len()).as_bytes()).unwrap();
        stream.write_all(&part[..1 << 20]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        Then::Reset
    });
    server.gives(&format!("/x/{DEB}"), &bytes);
    let asked = archive.asked.lock().unwrap();
    let range = asked.iter().filter(|a| a.target.contains("pool/")).find_map(|a| a.header("range"));
    let from: usize =
        range.unwrap().strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
    assert!(from > 0 && from <= 1 << 20, "{from}");
}

#[test]
fn a_transfer_that_stalls_goes_on_and_none_waits_for_ever() {
    let world = World::new();
    let archive = Archive::new();
    let (server, bytes) = known(&world, &archive, &[]);
    // One stops after a third, another before its head.
    let part = bytes.clone();
    let stalls = AtomicUsize::new(0);
    sometimes(&archive, 2, move |stream| {
        if stalls.fetch_add(1, Ordering::SeqCst) == 0 {
            stream.write_all(head(part.len()).as_bytes()).unwrap();
            stream.write_all(&part[..1 << 20]).unwrap();
        }
        std::thread::sleep(Duration::from_secs(90));
        Then::Close
    });
    server.gives(&format!("/x/{DEB}"), &bytes);
    assert_eq!(archive.count(DEB), 3);
}

#[test]
fn what_is_cut_and_never_heals_is_an_error_and_is_not_kept() {
    for known_hash in [true, false] {
        for how in ["length", "chunked", "close"] {
            let world = World::new();
            let archive = Archive::new();
            let bytes = noise(BIG, 7);
            let server = if known_hash {
                known(&world, &archive, &[]).0
            } else {
                archive.put(DEB, bytes.clone());
                world.serve(&[&format!("x={}", archive.url(""))], &[])
            };
            let cut = bytes[..BIG / 2].to_vec();
            archive.does(move |_, stream| {
                let head = match how {
                    "length" => head(BIG),
                    "chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
                    _ => "HTTP/1.1 200 OK\r\n\r\n".into(),
                };
                drop(stream.write_all(head.as_bytes()));
                if how == "chunked" {
                    drop(write!(stream, "{:x}\r\n", cut.len()));
                }
                drop(stream.write_all(&cut));
                drop(stream.write_all(if how == "chunked" { b"\r\n" } else { b"" }));
                Then::Close
            });
            let got = server.get(&format!("/x/{DEB}"));
            let case = format!("{how}, hash known: {known_hash}");
            // Without a hash nobody can see that what ends with the connection was cut: it is passed
            // on as it came, framed the same way, and not kept.
            let unseen = how == "close" && !known_hash;
            assert!(unseen || got.code != 200 || !got.whole, "{case}: {}", got.head);
            assert!(!exists(&world.cache(&format!("x/{DEB}"))), "{case} was kept");
            archive.heals();
            server.gives(&format!("/x/{DEB}"), &bytes);
        }
    }
}

#[test]
fn wrong_bytes_never_make_a_complete_file() {
    let world = World::new();
    let archive = Archive::new();
    let (server, bytes) = known(&world, &archive, &[]);
    let mut wrong = bytes.clone();
    wrong[BIG / 3] ^= 1;
    let path = format!("/x/{DEB}");
    let forged = wrong.clone();
    archive.does(move |_, stream| {
        stream.write_all(head(BIG).as_bytes()).unwrap();
        stream.write_all(&forged).unwrap();
        Then::Next
    });
    let got = server.get(&path);
    assert!(got.code != 200 || !got.whole);
    // What it has lacks at least the tail that was held back.
    assert!(got.body.len() <= BIG - (64 << 10), "{} bytes", got.body.len());
    assert!(!exists(&world.cache(&format!("x/{DEB}"))));
    archive.heals();
    // A client that would go on from the wrong part gets the whole of the right file.
    let range = format!("Range: bytes={}-\r\nIf-Range: {MODIFIED}\r\n", got.body.len());
    let again = server.ask("GET", &path, &range);
    assert_eq!((again.code, again.body == bytes), (200, true));
    // Of another size: not a byte is passed on.
    let world = World::new();
    let (server, _) = known(&world, &archive, &[]);
    archive.does(move |_, stream| {
        stream.write_all(head(7).as_bytes()).unwrap();
        stream.write_all(b"1234567").unwrap();
        Then::Close
    });
    let got = server.get(&path);
    assert_eq!(got.code, 502);
    assert!(String::from_utf8_lossy(&got.body).contains("3145728"), "{:?}", got.body);
}

#[test]
fn answers_that_contradict_themselves_are_none() {
    let world = World::new();
    let archive = Archive::new();
    let bytes = noise(1000, 1);
    archive.put("a.deb", bytes.clone());
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Length: 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000, 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n folded: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-999/1000\r\nContent-Length: 1000\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/9.9 what\r\n\r\n",
        "SSH-2.0-OpenSSH_9\r\n",
        "garbage without a line",
        "",
    ] {
        let body = bytes.clone();
        archive.does(move |_, stream| {
            drop(stream.write_all(answer.as_bytes()));
            drop(stream.write_all(&body));
            Then::Close
        });
        let got = server.get("/x/a.deb");
        assert!(got.code >= 400 || !got.whole, "{answer:?} gave {}", got.head);
        assert!(!exists(&world.cache("x/a.deb")), "{answer:?} was kept");
    }
    // Headers without end, and a header of its own that must not reach apt.
    let body = bytes.clone();
    archive.does(move |_, stream| {
        let junk = "X-A: ".to_owned() + &"a".repeat(200_000);
        drop(write!(stream, "HTTP/1.1 200 OK\r\n{junk}\r\nContent-Length: 1000\r\n\r\n"));
        drop(stream.write_all(&body));
        Then::Close
    });
    assert_eq!(server.get("/x/a.deb").code, 502);
    archive.heals();
    let got = server.gives("/x/a.deb", &bytes);
    assert!(got.header("x-junk").is_none(), "{}", got.head);
}

/// What a damaged head may have in it.
const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    "\r\n ",
    "\r\n\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 206 Partial Content\r\n",
    "Content-Length: 7\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Content-Length: +300\r\n",
    "content-length:\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    "Content-Encoding: gzip\r\n",
    "Content-Range: bytes 0-299/300\r\n",
    "Location: /x\r\n",
    "Content-Range: bytes 5-1/0\r\n",
    "ETag: W/\"\r\n",
    "Last-Modified: now\r\n",
    "X: \u{e9}\u{0}\r\n",
    "Upgrade: h2c\r\nConnection: upgrade\r\n",
    "204",
    "301",
    "304",
    "416",
    "503",
    "1e3",
    "-1",
];

#[test]
fn a_damaged_head_never_makes_a_complete_wrong_file() {
    // Each is fetched once, with a head that is damaged in its own way; half of them are so large
    // that they are passed on while they arrive.
    const COUNT: u64 = 400;
    let size = |seed: u64| if seed.is_multiple_of(2) { 300 } else { 300_000 + seed as usize };
    let packages = (0..COUNT).map(|seed| (format!("p{seed}"), noise(size(seed), seed + 1)));
    let (world, archive) = (World::new(), Archive::new());
    let suite = Suite::new(packages.collect());
    suite.publish(&archive, "");
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    learn(&server, &suite);
    let files = archive.files.clone();
    archive.does(move |asked, stream| {
        let Some(body) = files.lock().unwrap().get(asked.target.trim_start_matches('/')).cloned()
        else {
            return Then::Close;
        };
        let mut head = head(body.len()).into_bytes();
        let luck =
            noise(64, body.iter().take(4).fold(1, |seed, byte| seed << 8 | u64::from(*byte)));
        for three in luck.chunks_exact(3).take(1 + usize::from(luck[63] % 3)) {
            let at = usize::from(three[0]) % head.len();
            match three[1] % 4 {
                0 => head[at] = three[2],
                1 => drop(head.drain(at..(at + usize::from(three[2] % 9)).min(head.len()))),
                2 => head.truncate(at.max(1)),
                _ => {
                    let word = WORDS[usize::from(three[2]) % WORDS.len()];
                    // Most are of use only where a line begins.
                    let line = head[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
                    drop(head.splice(line..line, word.bytes()));
                }
            }
        }
        drop(stream.write_all(&head));
        drop(stream.write_all(&body));
        Then::Close
    });
    let own = [
        "last-modified",
        "accept-ranges",
        "x-cache",
        "content-type",
        "content-length",
        "etag",
        "date",
        "connection",
        "transfer-encoding",
        "retry-after",
        "x-content-type-options",
        "cache-control",
        "content-security-policy",
    ];
    let mut whole = 0;
    for (name, right) in &suite.packages {
        let path = Suite::path(name);
        let got = server.get(&format!("/x/{path}"));
        let good = got.code == 200 && got.whole;
        assert!(!good || got.body == *right, "{name}: {}", got.head);
        assert!(good || got.code != 200 || !got.whole, "{name}: {}", got.head);
        for line in got.head.lines().skip(1).filter(|line| !line.is_empty()) {
            let header = line.split(':').next().unwrap().to_lowercase();
            assert!(own.contains(&&*header), "{name} was given the archive's '{line}'");
        }
        if let Ok(kept) = std::fs::read(world.cache(&format!("x/{path}"))) {
            assert!(kept == *right, "{name}");
        }
        whole += usize::from(good);
    }
    // Some damage is harmless, some is not: else nothing was tried.
    assert!((20..380).contains(&whole), "{whole} of {COUNT}");
    archive.heals();
    let (name, right) = &suite.packages[0];
    server.gives(&format!("/x/{}", Suite::path(name)), right);
}

#[test]
fn valid_answers_of_every_framing_are_taken() {
    let world = World::new();
    let archive = Archive::new();
    let (server, bytes) = known(&world, &archive, &[]);
    for how in ["chunked", "close", "http/1.0", "encoded"] {
        let body = bytes.clone();
        archive.does(move |_, stream| {
            match how {
                "chunked" => {
                    drop(
                        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                    );
                    for chunk in body.chunks(100_000) {
                        drop(write!(stream, "{:x};x=y\r\n", chunk.len()));
                        drop(stream.write_all(chunk));
                        drop(stream.write_all(b"\r\n"));
                    }
                    drop(stream.write_all(b"0\r\nTrailer: x\r\n\r\n"));
                }
                "close" => {
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
                    drop(stream.write_all(&body));
                }
                "http/1.0" => {
                    drop(write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {BIG}\r\n\r\n"));
                    drop(stream.write_all(&body));
                }
                // It says that it is packed, and is not: the hash tells.
                _ => {
                    let head = head(BIG).replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n");
                    drop(stream.write_all(head.as_bytes()));
                    drop(stream.write_all(&body));
                }
            }
            Then::Close
        });
        server.gives(&format!("/x/{DEB}"), &bytes);
        assert!(exists(&world.cache(&format!("x/{DEB}"))), "{how} was not kept");
        std::fs::remove_file(world.cache(&format!("x/{DEB}"))).unwrap();
        let hash = sha256(&bytes);
        std::fs::remove_file(world.cache(&format!(".bk/sha256/{}/{}", &hash[..2], &hash[2..])))
            .unwrap();
        std::thread::sleep(Duration::from_millis(1100));
    }
}

#[test]
fn what_nothing_vouches_for_is_passed_on_and_not_kept() {
    let world = World::new();
    let archive = Archive::new();
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    for how in ["close", "encoded"] {
        archive.does(move |_, stream| {
            let head = match how {
                "close" => "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
                _ => "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"
                    .to_owned(),
            };
            drop(stream.write_all(head.as_bytes()));
            drop(stream.write_all(b"12345"));
            Then::Close
        });
        let got = server.gives("/x/file.deb", b"12345");
        assert!(got.header("content-encoding").is_none());
        assert!(!exists(&world.cache("x/file.deb")), "{how} was kept");
    }
}

#[test]
fn a_file_that_changes_while_it_is_resumed_is_never_spliced() {
    let world = World::new();
    let archive = Archive::new();
    let (old, new) = (noise(BIG, 1), noise(BIG, 2));
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    for honours_if_range in [true, false] {
        let (old, new, right) = (old.clone(), new.clone(), new.clone());
        let first = AtomicUsize::new(0);
        archive.does(move |asked, stream| {
            if first.fetch_add(1, Ordering::SeqCst) == 0 {
                let head = head(BIG).replace("\r\n\r\n", "\r\nETag: \"old\"\r\n\r\n");
                drop(stream.write_all(head.as_bytes()));
                drop(stream.write_all(&old[..BIG / 2]));
                std::thread::sleep(Duration::from_millis(50));
                return Then::Reset;
            }
            let range = asked.header("range").map(|r| r[6..].trim_end_matches('-').parse::<usize>().unwrap());
            match range.filter(|_| !honours_if_range) {
                // As a server without validators does: the rest of another file.
                Some(from) => {
                    let head = format!(
                        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
                        BIG + 9, BIG + 10, BIG + 10 - from
                    );
                    drop(stream.write_all(head.as_bytes()));
                    drop(stream.write_all(&new[from..]));
                    drop(stream.write_all(b"0123456789"));
                }
                None => {
                    let head = head(BIG).replace("\r\n\r\n", "\r\nETag: \"new\"\r\n\r\n");
                    drop(stream.write_all(head.as_bytes()));
                    drop(stream.write_all(&new));
                }
            }
            Then::Close
        });
        let path = format!("/x/{}.deb", honours_if_range);
        let got = server.get(&path);
        assert!(!got.whole || got.body == right, "{}", got.head);
        assert!(!got.whole || honours_if_range || got.body.len() == BIG);
    }
}

#[test]
fn a_size_that_came_without_a_byte_binds_no_other_mirror() {
    let world = World::new();
    let (archive, other) = (Archive::new(), Archive::new());
    let longer = noise(BIG + 5, 3);
    other.put("pool/big_1_all.deb", longer.clone());
    archive.does(|_, stream| {
        drop(stream.write_all(head(BIG).as_bytes()));
        // Long enough for the cache to pass it on.
        std::thread::sleep(Duration::from_millis(300));
        Then::Reset
    });
    let mirrors = format!("x={},{}", archive.url(""), other.url(""));
    let server = world.serve(&[&mirrors], &[]);
    server.gives("/x/pool/big_1_all.deb", &longer);
}

#[test]
fn a_connection_that_was_closed_between_two_requests_is_no_fault() {
    let world = World::new();
    let archive = Archive::new();
    for name in ["a", "b"] {
        archive.put(&format!("pool/{name}_1_all.deb"), name.repeat(9));
    }
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let files = archive.files.clone();
    archive.does(move |asked, stream| match asked.target.contains("/b_") {
        false => serve(asked, stream, &files),
        // As one does whose time for idle connections was over when the request came.
        true => Then::Close,
    });
    server.gives("/x/pool/a_1_all.deb", "a".repeat(9).as_bytes());
    assert_eq!(server.get("/x/pool/b_1_all.deb").code, 502);
    let (files, first) = (archive.files.clone(), AtomicUsize::new(0));
    archive.does(move |asked, stream| match first.fetch_add(1, Ordering::SeqCst) {
        1 => Then::Close,
        _ => serve(asked, stream, &files),
    });
    archive.put("pool/c_1_all.deb", "c");
    server.gives("/x/pool/c_1_all.deb", b"c");
    server.gives("/x/pool/b_1_all.deb", "b".repeat(9).as_bytes());
}

#[test]
fn mirrors_stand_in_for_each_other() {
    let world = World::new();
    let (one, two) = (Archive::new(), Archive::new());
    let bytes = noise(BIG, 7);
    let suite = Suite::new(vec![("big".into(), bytes.clone())]);
    suite.publish(&one, "a/");
    suite.publish(&two, "b/c/");
    let upstream = format!("x={},{}", one.url("a"), two.url("b/c"));
    let server = world.serve(&[&upstream], &[]);
    learn(&server, &suite);
    assert_eq!(two.asked.lock().unwrap().len(), 0);
    // One has a wrong file: nobody hears of it, since nothing of it was let go.
    let small = noise(5000, 3);
    for (at, how) in ["wrong", "500", "gone", "404", "redirect loop"].into_iter().enumerate() {
        let suite = Suite {
            age: 60 * (at as u32 + 1),
            ..Suite::new(vec![("small".into(), [&small[..], how.as_bytes()].concat())])
        };
        let body = suite.packages[0].1.clone();
        one.heals();
        suite.publish(&one, "a/");
        suite.publish(&two, "b/c/");
        std::thread::sleep(Duration::from_millis(2100));
        learn(&server, &suite);
        let hit = AtomicUsize::new(0);
        let size = body.len();
        one.does(move |_, stream| {
            hit.fetch_add(1, Ordering::SeqCst);
            match how {
                "wrong" => {
                    drop(stream.write_all(head(size).as_bytes()));
                    drop(stream.write_all(&noise(size, 99)));
                }
                "500" => drop(stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")),
                "404" => drop(stream.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")),
                "redirect loop" => drop(stream.write_all(
                    b"HTTP/1.1 302 Found\r\nLocation: /a/loop\r\nContent-Length: 0\r\n\r\n",
                )),
                _ => return Then::Reset,
            }
            Then::Next
        });
        server.gives(&format!("/x/{}", Suite::path("small")), &body);
        drop(std::fs::remove_file(world.cache(&format!("x/{}", Suite::path("small")))));
    }
    // Broken in the middle here, gone on there.
    one.heals();
    two.heals();
    Suite { age: 600, ..Suite::new(vec![("big".into(), bytes.clone())]) }.publish(&one, "a/");
    Suite { age: 600, ..Suite::new(vec![("big".into(), bytes.clone())]) }.publish(&two, "b/c/");
    std::thread::sleep(Duration::from_millis(2100));
    learn(&server, &Suite { age: 600, ..Suite::new(vec![("big".into(), bytes.clone())]) });
    let part = bytes.clone();
    one.does(move |_, stream| {
        drop(stream.write_all(head(BIG).as_bytes()));
        drop(stream.write_all(&part[..BIG / 2]));
        Then::Reset
    });
    server.gives(&format!("/x/{DEB}"), &bytes);
}

#[test]
fn redirections_lead_on_but_never_inward_nor_round_in_circles() {
    let world = World::new();
    let archive = Archive::new();
    let inward = Archive::new();
    archive.put("there.deb", b"there".to_vec());
    inward.put("secret.deb", b"secret".to_vec());
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let (secret, files) = (inward.url("secret.deb"), archive.files.clone());
    let by_name = secret.replace("127.0.0.1", "localhost");
    let hops = Arc::new(AtomicUsize::new(0));
    let count = hops.clone();
    archive.does(move |asked, stream| {
        let to = match asked.target.as_str() {
            "/here.deb" => "/there.deb".to_owned(),
            "/inward.deb" => secret.clone(),
            "/name.deb" => by_name.clone(),
            "/metadata.deb" => "http://169.254.169.254/latest.deb".to_owned(),
            "/loop.deb" => {
                count.fetch_add(1, Ordering::SeqCst);
                "/loop.deb".to_owned()
            }
            "/odd.deb" => "file:///etc/passwd".to_owned(),
            _ => return serve(asked, stream, &files),
        };
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        drop(stream.write_all(answer.as_bytes()));
        Then::Next
    });
    server.gives("/x/here.deb", b"there");
    for path in ["inward", "name", "metadata"] {
        assert_eq!(server.get(&format!("/x/{path}.deb")).code, 403, "{path}");
    }
    assert_eq!(inward.asked.lock().unwrap().len(), 0);
    assert_eq!(server.get("/x/loop.deb").code, 502);
    assert_eq!(hops.load(Ordering::SeqCst), 6);
    assert_eq!(server.get("/x/odd.deb").code, 502);
}

#[test]
fn refusals_of_an_archive_are_told_and_not_remembered() {
    let world = World::new();
    let archive = Archive::new();
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    for (status, told) in [(404, 404), (403, 403), (429, 429), (503, 503), (500, 502), (426, 502)] {
        archive.does(move |_, stream| {
            let head =
                format!("HTTP/1.1 {status} X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
            drop(stream.write_all(head.as_bytes()));
            Then::Next
        });
        let got = server.get("/x/a.deb");
        assert_eq!(got.code, told, "{}", got.head);
        if matches!(status, 429 | 503) {
            assert_eq!(got.header("retry-after"), Some("7"));
        }
    }
    archive.heals();
    archive.put("a.deb", b"here".to_vec());
    server.gives("/x/a.deb", b"here");
}

#[test]
fn a_crash_loses_no_more_than_what_was_on_its_way() {
    let world = World::new();
    let archive = Archive::new();
    let (server, bytes) = known(&world, &archive, &[]);
    let body = bytes.clone();
    archive.does(move |_, stream| {
        drop(stream.write_all(head(BIG).as_bytes()));
        drop(stream.write_all(&body[..2 << 20]));
        // Nothing comes any more, until the cache is gone.
        std::thread::sleep(Duration::from_secs(20));
        Then::Close
    });
    let mut client = server.connect();
    write!(client, "GET /x/{DEB} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut some = vec![0; 1 << 20];
    std::io::Read::read_exact(&mut client, &mut some).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    server.kill();
    archive.heals();
    archive.asked.lock().unwrap().clear();
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    server.gives(&format!("/x/{DEB}"), &bytes);
    let asked = archive.asked.lock().unwrap();
    let range =
        asked.iter().find_map(|a| a.header("range")).expect("it was fetched from its start");
    let from: usize = range[6..].trim_end_matches('-').parse().unwrap();
    assert!(from >= 1 << 20, "resumed from {from}");
}
