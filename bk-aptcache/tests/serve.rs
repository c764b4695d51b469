//! `bk-aptcache serve`: what clients ask, rightly and wrongly.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufReader, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Archive, Suite, Then, World, exists, header, noise, read_answer, run, serve};

#[test]
fn by_path_and_as_a_proxy_it_is_the_same_file() {
    let world = World::new();
    let archive = Archive::new();
    archive.put("debian/pool/a+b_1~2.deb", b"one".to_vec());
    let upstream = format!("debian={}", archive.url("debian"));
    let server = world.serve(&[&upstream], &[]);
    let address = &archive.address;
    let first = server.gives("/debian/pool/a+b_1~2.deb", b"one");
    assert_eq!(first.header("x-cache"), Some("MISS"));
    for target in [
        "/debian/pool/a%2bb_1%7e2.deb".to_owned(),
        "/debian//pool/./a+b_1~2.deb".to_owned(),
        format!("http://{address}/debian/pool/a%2Bb_1~2.deb"),
        format!("http://HTTPS///{address}/debian/pool/a+b_1~2.deb"),
        format!("/HTTPS///{address}/debian/pool/a+b_1~2.deb"),
    ] {
        let got = server.gives(&target, b"one");
        assert_eq!(got.header("x-cache"), Some("HIT"), "{target}");
        assert_eq!(got.header("last-modified"), Some(common::MODIFIED));
    }
    // Once, whatever it was called; and the tree is the archive's.
    assert_eq!(archive.asked.lock().unwrap().len(), 1);
    assert_eq!(std::fs::read(world.cache("debian/pool/a+b_1~2.deb")).unwrap(), b"one");
    assert_eq!(server.stop(), 0);
}

#[test]
fn names_of_every_kind_are_kept() {
    let world = World::new();
    let archive = Archive::new();
    let server = world.serve(&[&format!("x={}", archive.url("a%20b"))], &[]);
    let long = format!("{}.deb", "n".repeat(246));
    for name in ["a+b~c:1,2%3a_x.deb", "./Packages", long.as_str(), "ü.deb", "sub/ dir/x.deb"] {
        let plain = name.trim_start_matches("./");
        archive.put(&format!("a b/{plain}"), name.as_bytes().to_vec());
        let target = name.replace('%', "%25").replace(' ', "%20").replace('ü', "%C3%BC");
        server.gives(&format!("/x/{target}"), name.as_bytes());
        server.gives(&format!("/x/{target}"), name.as_bytes());
        assert!(exists(&world.cache(&format!("x/{plain}"))), "{plain}");
    }
    // A folder where a file is, and a file where a folder is: served all the same.
    archive.put("a b/f.deb", b"file".to_vec());
    archive.put("a b/f.deb/g.deb", b"below".to_vec());
    server.gives("/x/f.deb", b"file");
    server.gives("/x/f.deb/g.deb", b"below");
    server.gives("/x/f.deb/g.deb", b"below");
}

#[test]
fn requests_that_can_be_read_in_two_ways_are_refused() {
    let world = World::new();
    let archive = Archive::new();
    archive.put("a.deb", b"a".to_vec());
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let get = "GET /x/a.deb HTTP/1.1\r\nHost: x\r\n";
    for (request, code) in [
        (format!("{get}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("{get}Content-Length: 0\r\nContent-Length: 5\r\n\r\n"), "400"),
        (format!("{get}Content-Length: 5\r\n\r\nGET /"), "400"),
        (format!("{get}Transfer-Encoding : chunked\r\n\r\n"), "400"),
        (format!("{get}Transfer-Encoding: xchunked\r\n\r\n"), "400"),
        (format!("{get}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("{get}Host: y\r\n\r\n"), "400"),
        ("GET /x/a.deb HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("{get}X: a\r\n b\r\n\r\n"), "400"),
        (format!("{get}X: a\0b\r\n\r\n"), "400"),
        (format!("{get}X: {}\r\n\r\n", "a".repeat(100_000)), "431"),
        (format!("{get}{}\r\n", "X: y\r\n".repeat(1000)), "431"),
        (format!("GET /x/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(5000)), "414"),
        ("POST /x/a.deb HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), "405"),
        ("TRACE /x/a.deb HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "405"),
        ("GET /x/a.deb?q=1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("GET x/a.deb HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let all = server.raw(request.as_bytes());
        let text = String::from_utf8_lossy(&all);
        let got = text.split(' ').nth(1).unwrap_or("nothing");
        assert_eq!(got, code, "{:?} gave {text}", &request[..request.len().min(120)]);
        // Nothing behind it is taken for another request.
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    }
    assert_eq!(archive.asked.lock().unwrap().len(), 0);
    server.gives("/x/a.deb", b"a");
}

#[test]
fn no_path_leads_out_and_nothing_unlisted_is_asked() {
    let world = World::new();
    let archive = Archive::new();
    let other = Archive::new();
    let server = world.serve(&[&format!("x={}", archive.url("a"))], &[]);
    for target in [
        "/x/../../etc/passwd",
        "/x/%2e%2e/b",
        "/x/%2E%2e/b",
        "/x/..%2fb",
        "/x/a%2f..%2f..%2fb",
        "/x/%5c..%5cb",
        "/x/%252e%252e/b",
        "/x/%00",
        "/x/a%0d%0ab",
        "/x/%ff",
    ] {
        assert_eq!(server.get(target).code, 400, "{target}");
    }
    for target in [
        format!("http://{}/x", other.address),
        format!("http://user@{}/x", other.address),
        format!("http://{}/b/x", archive.address),
        "http://169.254.169.254/latest".into(),
        "http://2130706433/".into(),
        "http://0x7f.1/".into(),
        "http://[::1]/".into(),
        format!("http://{}:1/a/x", archive.address.split(':').next().unwrap()),
        format!("http://HTTPS///{}/x", other.address),
        format!("http://{}/", server.address),
    ] {
        let code = server.get(&target).code;
        assert!(code == 403 || code == 400, "{target}: {code}");
    }
    for (target, code) in [
        (other.address.clone(), 403),
        ("localhost:22".into(), 403),
        ("127.0.0.1:443".into(), 403),
        (archive.address.clone(), 403),
    ] {
        let all = server.raw(format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let text = String::from_utf8_lossy(&all);
        assert_eq!(text.split(' ').nth(1), Some(code.to_string().as_str()), "{target}: {text}");
    }
    assert_eq!(archive.asked.lock().unwrap().len() + other.asked.lock().unwrap().len(), 0);
    // A link in the tree leads nowhere.
    std::fs::create_dir_all(world.cache("x")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", world.cache("x/link.deb")).unwrap();
    assert_eq!(server.get("/x/link.deb").code, 404);
}

#[test]
fn ranges_and_conditions_are_those_of_rfc_9110() {
    let world = World::new();
    let archive = Archive::new();
    let bytes = noise(300_000, 1);
    archive.put("a.deb", bytes.clone());
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    for _ in ["miss", "hit"] {
        let part = server.ask("GET", "/x/a.deb", "Range: bytes=5-9\r\n");
        assert_eq!((part.code, &part.body[..]), (206, &bytes[5..10]));
        assert_eq!(part.header("content-range"), Some("bytes 5-9/300000"));
    }
    for (range, code, body) in [
        ("bytes=299990-", 206, &bytes[299_990..]),
        ("bytes=-10", 206, &bytes[299_990..]),
        ("bytes=299990-999999", 206, &bytes[299_990..]),
        ("bytes=300000-", 416, &[][..]),
        ("bytes=0-1,5-6", 200, &bytes[..]),
        ("bytes=9-5", 200, &bytes[..]),
        ("pages=1", 200, &bytes[..]),
    ] {
        let got = server.ask("GET", "/x/a.deb", &format!("Range: {range}\r\n"));
        assert_eq!((got.code, got.body == body), (code, true), "{range}");
    }
    let got = server.get("/x/a.deb");
    let (tag, date) = (got.header("etag").unwrap(), got.header("last-modified").unwrap());
    for (headers, code) in [
        (format!("If-None-Match: {tag}"), 304),
        ("If-None-Match: \"x\"".into(), 200),
        ("If-None-Match: *".into(), 304),
        (format!("If-Modified-Since: {date}"), 304),
        ("If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT".into(), 200),
        ("If-Modified-Since: nonsense".into(), 200),
        (format!("Range: bytes=0-0\r\nIf-Range: {tag}"), 206),
        (format!("Range: bytes=0-0\r\nIf-Range: {date}"), 206),
        ("Range: bytes=0-0\r\nIf-Range: \"x\"".into(), 200),
    ] {
        let got = server.ask("GET", "/x/a.deb", &format!("{headers}\r\n"));
        assert_eq!(got.code, code, "{headers}");
        assert!(code != 304 || got.header("content-length").is_none(), "{}", got.head);
    }
    let got = server.ask("HEAD", "/x/a.deb", "");
    assert_eq!((got.code, got.header("content-length")), (200, Some("300000")));
    assert_eq!(archive.count("a.deb"), 1);
    // HTTP/1.0, with and without keeping the connection.
    for (more, answers) in [("Connection: keep-alive\r\n", 2), ("", 1)] {
        let request = format!("GET /x/a.deb HTTP/1.0\r\nRange: bytes=0-1\r\n{more}\r\n");
        let last = request.replace("keep-alive", "close");
        let all = server.raw(format!("{request}{last}").as_bytes());
        let text = String::from_utf8_lossy(&all);
        assert_eq!(text.matches(" 206 ").count(), answers, "{text}");
        assert!(!text.to_lowercase().contains("chunked"), "{text}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let world = World::new();
    let archive = Archive::new();
    // Some go out with their heads, some in pieces.
    let file = |i: usize| noise(1 + i * if i.is_multiple_of(8) { 6000 } else { 100 }, i as u64);
    let files: Vec<Vec<u8>> = (0..40).map(file).collect();
    for (i, bytes) in files.iter().enumerate() {
        archive.put(&format!("f{i}.deb"), bytes.clone());
    }
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let mut state = 1_u64;
    // A thousand mixes of hits, misses, parts, refusals and HEADs, ten deep.
    for _ in 0..1000 {
        let (mut requests, mut wanted) = (String::new(), Vec::new());
        for _ in 0..10 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (i, kind) = ((state >> 33) as usize % 40, (state >> 50) % 10);
            let bytes = files[i].clone();
            let part = |headers| ("GET", format!("f{i}.deb"), headers);
            let ((method, path, headers), code, body) = match kind {
                0 => (part("Range: bytes=0-0\r\n"), 206, bytes[..1].to_vec()),
                1 => (part("Range: bytes=-1\r\n"), 206, bytes[bytes.len() - 1..].to_vec()),
                2 => (part("Range: bytes=999999-\r\n"), 416, Vec::new()),
                3 => (part("If-None-Match: *\r\n"), 304, Vec::new()),
                4 => (("HEAD", format!("f{i}.deb"), ""), 200, Vec::new()),
                5 => (("GET", format!("no{i}.deb"), ""), 404, Vec::new()),
                6 => (part("X: y\r\n"), 200, bytes),
                _ => (part(""), 200, bytes),
            };
            requests += &format!("{method} /x/{path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
            wanted.push((method, code, body));
        }
        let mut stream = server.connect();
        stream.write_all(requests.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        for (method, code, body) in wanted {
            let got = read_answer(&mut reader, method);
            assert_eq!(got.code, code, "{}", got.head);
            assert!(got.whole && (code >= 400 || got.body == body), "{}", got.head);
            assert!(got.head.lines().skip(1).all(|line| line.is_empty() || line.contains(": ")));
        }
    }
}

#[test]
fn one_fetch_for_all_and_all_see_it_while_it_arrives() {
    let world = World::new();
    let archive = Archive::new();
    let bytes = noise(4 << 20, 1);
    let suite = Suite::new(vec![("big".into(), bytes.clone())]);
    suite.publish(&archive, "");
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    server.gives("/x/dists/stable/InRelease", suite.in_release().as_bytes());
    server.gives(&format!("/x/{}", Suite::INDEX), &suite.index());
    let (part, hits) = (bytes.clone(), AtomicUsize::new(0));
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    archive.does(move |_, stream| {
        assert_eq!(hits.fetch_add(1, Ordering::SeqCst), 0, "asked twice");
        drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", part.len()));
        drop(stream.write_all(&part[..2 << 20]));
        // The rest comes when all clients have the start.
        wait.lock().unwrap().recv().unwrap();
        drop(stream.write_all(&part[2 << 20..]));
        Then::Next
    });
    let path = format!("/x/{}", Suite::path("big"));
    std::thread::scope(|scope| {
        let (started, all_started) = std::sync::mpsc::channel();
        for client in 0..100 {
            let (server, path, bytes, started) = (&server, &path, &bytes, started.clone());
            scope.spawn(move || {
                let mut stream = server.connect();
                let range = if client % 10 == 3 { "Range: bytes=1000-\r\n" } else { "" };
                write!(
                    stream,
                    "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{range}\r\n"
                )
                .unwrap();
                let mut start = vec![0; 1 << 20];
                stream.read_exact(&mut start).unwrap();
                started.send(()).unwrap();
                stream.read_to_end(&mut start).unwrap();
                let body = start.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
                let skip = if range.is_empty() { 0 } else { 1000 };
                assert!(start[body..] == bytes[skip..], "client {client}");
            });
        }
        for _ in 0..100 {
            all_started.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        go.send(()).unwrap();
    });
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("requests_total{verdict=\"coalesced\"} 99"), "{metrics}");
}

#[test]
fn what_is_held_is_served_when_the_archive_is_gone() {
    let world = World::new();
    let archive = Archive::new();
    let suite = Suite::new(vec![("a".into(), noise(5000, 1))]);
    suite.publish(&archive, "");
    archive.put("README", b"read me".to_vec());
    let upstream = format!("x={}", archive.url(""));
    let paths = [
        ("dists/stable/InRelease".to_owned(), suite.in_release().into_bytes()),
        ("dists/stable/Release".to_owned(), suite.release().into_bytes()),
        (Suite::INDEX.to_owned(), suite.index()),
        (suite.hashed(), suite.index()),
        (Suite::path("a"), noise(5000, 1)),
        ("README".to_owned(), b"read me".to_vec()),
    ];
    let server = world.serve(&[&upstream], &[]);
    for (path, bytes) in &paths {
        server.gives(&format!("/x/{path}"), bytes);
    }
    archive.goes_down();
    std::thread::sleep(Duration::from_millis(2100));
    for (path, bytes) in &paths {
        server.gives(&format!("/x/{path}"), bytes);
    }
    assert_eq!(server.get("/x/dists/stable/InRelease").header("x-cache"), Some("STALE"));
    assert_eq!(server.get("/x/nothing.deb").code, 502);
    server.kill();
    // After a crash, too, and without anything beside the tree.
    std::fs::remove_dir_all(world.cache(".bk")).unwrap();
    let server = world.serve(&[&upstream], &[]);
    for (path, bytes) in &paths {
        server.gives(&format!("/x/{path}"), bytes);
    }
}

#[test]
fn sighup_reads_the_configuration_anew() {
    let world = World::new();
    let archive = Archive::new();
    archive.put("a.deb", b"a".to_vec());
    world.write(
        "root/etc/buildkit/aptcache.yaml",
        format!("upstream: [\"x={}\"]\n", archive.url("")),
    );
    let server = world.serve(&[], &[]);
    server.gives("/x/a.deb", b"a");
    assert_eq!(server.get("/y/a.deb").code, 404);
    world.write(
        "root/etc/buildkit/aptcache.yaml",
        format!("upstream: [\"y={}\"]\n", archive.url("")),
    );
    server.signal("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    server.gives("/y/a.deb", b"a");
    assert_eq!(server.get("/x/a.deb").code, 404);
    // What cannot be read changes nothing.
    world.write("root/etc/buildkit/aptcache.yaml", "upstraem: [x]\n");
    server.signal("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    server.gives("/y/a.deb", b"a");
    assert!(server.said().contains("the old configuration stays"), "{}", server.said());
}

#[test]
fn pages_for_people_and_machines() {
    let world = World::new();
    let archive = Archive::new();
    let suite = Suite::new(vec![("a".into(), noise(5000, 1))]);
    suite.publish(&archive, "");
    let log = world.path("log");
    let server =
        world.serve(&[&format!("x={}", archive.url(""))], &["--access-log", log.to_str().unwrap()]);
    server.gives("/x/dists/stable/InRelease", suite.in_release().as_bytes());
    server.gives(&format!("/x/{}", Suite::path("a")), &noise(5000, 1));
    server.gives(&format!("/x/{}", Suite::path("a")), &noise(5000, 1));
    archive.does(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"));
        Then::Next
    });
    assert_eq!(server.get("/x/%3Cscript%3E.deb").code, 502);
    let page = String::from_utf8(server.get("/").body).unwrap();
    assert!(page.contains(&format!("<td class=n>4.9 KiB<td>x/{}", Suite::path("a"))), "{page}");
    for text in
        ["x/dists/stable", "2025-01-01 00:00:00", "Acquire::http::Proxy", "x/&lt;script&gt;.deb"]
    {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    server.gives("/healthz", b"ok\n");
    assert_eq!(server.get("/nothing").code, 404);
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("bk_aptcache_requests_total{verdict=\"hit\"} 1\n"), "{metrics}");
    assert!(metrics.contains("bk_aptcache_requests_total{verdict=\"miss\"} 2\n"), "{metrics}");
    // promtool is not in Debian 12: the format's own rule, a name, labels, a number.
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("bk_aptcache_") && value.parse::<f64>().is_ok(), "{line}");
    }
    assert_eq!(server.stop(), 0);
    let log = std::fs::read_to_string(log).unwrap();
    let words: Vec<&str> = log.lines().nth(2).unwrap().split(' ').skip(1).collect();
    let line = format!("/x/{}", Suite::path("a"));
    assert_eq!(words, ["127.0.0.1", "200", "HIT", "5000", "GET", line.as_str()]);
    // The counters outlive the server.
    assert!(world.bk(&["stats"]).ok().contains("hits\t1"));
    let json = world.bk(&["stats", "--json"]).ok();
    assert!(json.contains("\"type\":\"archive\"") && json.contains("\"hits\":1"), "{json}");
}

#[test]
fn slips_on_the_command_line_are_told() {
    let world = World::new();
    for (args, says) in [
        (&["serve", "--upstream", "debian"][..], "write NAME=URL"),
        (
            &["serve", "--upstream", "a=http://x", "--upstream", "a=http://y"],
            "two upstreams are called 'a'",
        ),
        (
            &["serve", "--upstream", "a=http://x", "--keyring", "b=/etc/passwd"],
            "no upstream is called 'b'",
        ),
        (&["serve", "--upstream", "a=http://x", "--allow", "10.0.0.0/33"], "no block of addresses"),
        (&["serve", "--upstream", "a=http://x", "--max-size", "lots"], "no size"),
        (&["serve", "--upstream", "a=http://x", "--proxy", "ftp://x"], "not http:// or https://"),
    ] {
        world.bk(args).code(2).says(says);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world
        .bk(&["serve", "--upstream", "a=http://x", "--listen", &address])
        .code(1)
        .says("cannot listen");
}

#[test]
fn headers_of_our_own_are_all_apt_gets() {
    let world = World::new();
    let archive = Archive::new();
    let files = archive.files.clone();
    archive.put("a.deb", b"a".to_vec());
    archive.does(move |asked, stream| {
        let mut answer = Vec::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut inner = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut end, _) = listener.accept().unwrap();
        serve(asked, &mut inner, &files);
        drop(inner);
        end.read_to_end(&mut answer).unwrap();
        // A date that apt cannot read, hop-by-hop headers, a cookie.
        let text =
            String::from_utf8_lossy(&answer).replace(common::MODIFIED, "2025-01-01T00:00:00Z");
        let text = text.replace(
            "X-Junk: a",
            "Connection: close\r\nKeep-Alive: x\r\nSet-Cookie: a=b\r\nTrailer: X",
        );
        drop(stream.write_all(text.as_bytes()));
        Then::Close
    });
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let got = server.gives("/x/a.deb", b"a");
    let names: Vec<&str> = got
        .head
        .lines()
        .skip(1)
        .filter_map(|l| l.split(':').next())
        .filter(|n| !n.is_empty())
        .collect();
    for name in &names {
        let known = [
            "last-modified",
            "accept-ranges",
            "x-cache",
            "content-type",
            "etag",
            "content-length",
            "connection",
            "date",
        ];
        assert!(known.contains(&name.to_lowercase().as_str()), "{name} in {}", got.head);
    }
    // RFC 1123, which apt insists on: date -R reads it back.
    let date = header(&got.head, "last-modified").unwrap();
    run("date", &["-d", date]).code(0);
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
}
