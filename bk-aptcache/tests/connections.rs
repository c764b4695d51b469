//! `bk-aptcache serve`: connections, from clients and to archives; who may have them, and how many.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Archive, Then, World, exists, noise, read_answer, run};

#[test]
fn a_client_that_reads_nothing_holds_up_nobody() {
    let world = World::new();
    let archive = Archive::new();
    let bytes = noise(8 << 20, 1);
    archive.put("big.deb", bytes.clone());
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    let mut slow = server.connect();
    write!(slow, "GET /x/big.deb HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    server.gives("/x/big.deb", &bytes);
    // Half-open connections and heads that come byte by byte.
    let mut half: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    for stream in half.iter_mut().step_by(2) {
        stream.write_all(b"GET /x/big").unwrap();
    }
    let mut endless = server.connect();
    let endless = std::thread::spawn(move || {
        let start = Instant::now();
        endless.write_all(b"GET /x/").unwrap();
        while start.elapsed() < Duration::from_secs(40) && endless.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(300));
        }
        start.elapsed()
    });
    let start = Instant::now();
    server.gives("/x/big.deb", &bytes);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    // In the end it is they who are cut off.
    let mut some = [0; 1000];
    half[0].set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    drop(half[0].read(&mut some));
    let head = String::from_utf8_lossy(&some);
    assert!(head.trim_end_matches('\0').is_empty() || head.contains(" 408 "), "{head}");
    let lasted = endless.join().unwrap();
    assert!(lasted < Duration::from_secs(40), "a head without an end was heard out");
}

#[test]
fn clients_that_go_away_take_nothing_with_them() {
    let world = World::new();
    let archive = Archive::new();
    let bytes = noise(8 << 20, 2);
    archive.put("pool/big_1_all.deb", bytes.clone());
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    // The second is a hit, and goes another way than the first.
    server.gives("/x/pool/big_1_all.deb", &bytes);
    server.gives("/x/pool/big_1_all.deb", &bytes);
    for ends in [false, true] {
        for _ in 0..100 {
            let mut client = server.connect();
            write!(client, "GET /x/pool/big_1_all.deb HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            client.read_exact(&mut [0; 100]).unwrap();
            if ends {
                // What is then closed with bytes unread is a broken pipe to who writes (tcp(7)).
                client.shutdown(std::net::Shutdown::Write).unwrap();
            }
        }
    }
    server.gives("/x/pool/big_1_all.deb", &bytes);
}

#[test]
fn a_crowd_is_told_what_became_of_the_one_transfer() {
    const CLIENTS: usize = 300;
    let world = World::new();
    let archive = Archive::new();
    let bytes = noise(3 << 20, 3);
    let server = world.serve(&[&format!("x={}", archive.url(""))], &[]);
    for outcome in ["whole", "missing", "broken"] {
        let (part, asked) = (bytes.clone(), Arc::new(AtomicUsize::new(0)));
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (wait, count) = (std::sync::Mutex::new(wait), asked.clone());
        archive.does(move |_, stream| {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                wait.lock().unwrap().recv().unwrap();
            }
            let head = match outcome {
                "missing" => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", part.len()),
            };
            drop(stream.write_all(head.as_bytes()));
            match outcome {
                "missing" => return Then::Next,
                "whole" => drop(stream.write_all(&part)),
                _ => drop(stream.write_all(&part[..part.len() / 2])),
            }
            if outcome == "whole" { Then::Next } else { Then::Reset }
        });
        let path = format!("/x/pool/{outcome}_1_all.deb");
        // The first starts the transfer, the others find it under way; of these some leave.
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.write_all(request.as_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(500));
        clients.truncate(CLIENTS - 50);
        go.send(()).unwrap();
        let clients: Vec<_> = clients
            .into_iter()
            .map(|client| {
                std::thread::spawn(move || read_answer(&mut BufReader::new(client), "GET"))
            })
            .collect();
        for client in clients {
            let got = client.join().unwrap();
            match outcome {
                "whole" => assert!(got.code == 200 && got.whole && got.body == bytes),
                "missing" => assert_eq!(got.code, 404, "{}", got.head),
                _ => assert!(!got.whole && bytes.starts_with(&got.body), "{}", got.head),
            }
        }
        if outcome != "broken" {
            assert_eq!(asked.load(Ordering::SeqCst), 1, "{outcome}");
        }
    }
}

#[test]
fn limits_and_addresses_of_clients_are_kept() {
    let world = World::new();
    let archive = Archive::new();
    archive.put("a.deb", b"a".to_vec());
    let upstream = format!("x={}", archive.url(""));
    let server = world.serve(&[&upstream], &["--max-per-client", "3"]);
    let held: Vec<_> = (0..3).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.raw(b"GET /x/a.deb HTTP/1.1\r\nHost: x\r\n\r\n").len(), 0);
    drop(held);
    std::thread::sleep(Duration::from_millis(300));
    server.gives("/x/a.deb", b"a");
    drop(server);
    let server = world.serve(&[&upstream], &["--allow", "10.0.0.0/8"]);
    assert_eq!(server.raw(b"GET /x/a.deb HTTP/1.1\r\nHost: x\r\n\r\n").len(), 0);
}

#[test]
fn both_sides_speak_ipv6() {
    let world = World::new();
    let archive = Archive::on("[::1]:0");
    archive.put("a.deb", b"a".to_vec());
    let mut command = world.command(&["serve", "--cache", "cache", "--listen", "[::1]:0"]);
    command.args(["--upstream", &format!("x={}", archive.url(""))]);
    let server = common::Server::start(&mut command);
    assert!(server.address.starts_with("[::1]:"), "{}", server.address);
    server.gives("/x/a.deb", b"a");
    server.gives(&format!("http://{}/a.deb", archive.address), b"a");
    assert_eq!(archive.asked.lock().unwrap().len(), 1);
}

#[test]
fn a_loop_is_seen() {
    let world = World::new();
    let first = world.serve(&["x=http://127.0.0.1:1"], &[]);
    // Two caches, each in front of the other.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    drop(first);
    let other = World::new();
    let one = world.serve(&[&format!("x=http://127.0.0.1:{port}/x")], &[]);
    let address = format!("127.0.0.1:{port}");
    let mut command = other.command(&["serve", "--cache", "cache", "--listen", &address]);
    let _two =
        common::Server::start(command.args(["--upstream", &format!("x=http://{}/x", one.address)]));
    let got = one.get("/x/a.deb");
    assert_eq!(got.code, 502, "{}", String::from_utf8_lossy(&got.body));
}

#[test]
fn a_restart_with_handed_over_sockets_drops_no_connection() {
    let world = World::new();
    let archive = Archive::new();
    archive.put("a.deb", b"a".to_vec());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // As systemd does (sd_listen_fds(3)): the socket is descriptor 3, whoever holds it now.
    let start = || {
        use std::os::fd::AsRawFd;
        let script = "exec 3<&$FD; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
        let mut command = std::process::Command::new("bash");
        command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_bk-aptcache")]);
        command.args([
            "serve",
            "--cache",
            "cache",
            "--upstream",
            &format!("x={}", archive.url("")),
        ]);
        command.current_dir(world.path("")).env("BK_ROOT", world.path("root"));
        let fd = rustix::io::dup(&listener).unwrap();
        command.env("FD", fd.as_raw_fd().to_string());
        let server = common::Server::start(&mut command);
        drop(fd);
        server
    };
    let first = start();
    assert_eq!(first.address, address);
    let stopped = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !stopped.load(Ordering::SeqCst) {
                        let mut stream = std::net::TcpStream::connect(&address).unwrap();
                        let request =
                            "GET /x/a.deb HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                        stream.write_all(request.as_bytes()).unwrap();
                        let got = read_answer(&mut BufReader::new(stream), "GET");
                        assert_eq!((got.code, &got.body[..]), (200, &b"a"[..]), "after {count}");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(first.stop(), 0);
        std::thread::sleep(Duration::from_millis(200));
        let second = start();
        std::thread::sleep(Duration::from_millis(500));
        stopped.store(true, Ordering::SeqCst);
        for client in clients {
            assert!(client.join().unwrap() > 10);
        }
        assert_eq!(second.stop(), 0);
    });
}

#[test]
fn a_proxy_on_the_way_is_used() {
    let world = World::new();
    let archive = Archive::new();
    archive.put("debian/a.deb", b"a".to_vec());
    // Another cache as the parent.
    let other = World::new();
    let upstream = format!("debian={}", archive.url("debian"));
    let parent = other.serve(&[&upstream], &[]);
    let server = world.serve(&[&upstream], &["--proxy", &format!("http://{}", parent.address)]);
    server.gives("/debian/a.deb", b"a");
    assert!(exists(&other.cache("debian/a.deb")));
    // SOCKS 5, which looks the name up itself.
    let socks = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socks.local_addr().unwrap();
    let to = archive.address.clone();
    std::thread::spawn(move || {
        let (mut client, _) = socks.accept().unwrap();
        let mut hello = [0; 3];
        client.read_exact(&mut hello).unwrap();
        assert_eq!(hello, [5, 1, 0]);
        client.write_all(&[5, 0]).unwrap();
        let mut request = [0; 5];
        client.read_exact(&mut request).unwrap();
        assert_eq!(request[..4], [5, 1, 0, 3]);
        let mut name = vec![0; usize::from(request[4]) + 2];
        client.read_exact(&mut name).unwrap();
        assert_eq!(&name[..name.len() - 2], b"archive.example");
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut archive = std::net::TcpStream::connect(to).unwrap();
        let mut back = (archive.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut back.0, &mut back.1));
        drop(std::io::copy(&mut client, &mut archive));
    });
    let third = World::new();
    let proxy = format!("socks5://{address}");
    let server = third.serve(&["debian=http://archive.example/debian"], &["--proxy", &proxy]);
    server.gives("/debian/a.deb", b"a");
}

#[test]
fn tls_is_spoken_on_both_sides() {
    let world = World::new();
    let (cert, key) = (world.path("cert.pem"), world.path("key.pem"));
    let openssl = run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            key.to_str().unwrap(),
            "-out",
            cert.to_str().unwrap(),
        ],
    );
    openssl.code(0);
    // An archive behind TLS: one cache serves as that of the other.
    let archive = Archive::new();
    archive.put("a.deb", noise(200_000, 1));
    let behind = World::new();
    let mut command = behind.command(&["serve", "--cache", "cache", "--listen", "127.0.0.1:0"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    command.args(["--upstream", &format!("x={}", archive.url(""))]);
    command.args(["--tls-listen", &format!("127.0.0.1:{port}")]);
    command.arg("--tls-cert").arg(&cert).arg("--tls-key").arg(&key);
    let behind = common::Server::start(&mut command);
    let url = format!("https://localhost:{port}/x/a.deb");
    let curl = run(
        "curl",
        &["-sS", "--cacert", cert.to_str().unwrap(), "-o", world.path("a").to_str().unwrap(), &url],
    );
    curl.code(0);
    assert_eq!(std::fs::read(world.path("a")).unwrap(), noise(200_000, 1));
    let upstream = format!("x=https://localhost:{port}/x");
    let start = |trusted: bool| {
        let mut command = world.command(&["serve", "--cache", "cache", "--listen", "127.0.0.1:0"]);
        command.args(["--upstream", &upstream]);
        if trusted {
            command.env("SSL_CERT_FILE", &cert);
        }
        common::Server::start(&mut command)
    };
    let got = start(false).get("/x/a.deb");
    assert_eq!(got.code, 502);
    assert!(String::from_utf8_lossy(&got.body).contains("cannot speak TLS"), "{:?}", got.body);
    let server = start(true);
    server.gives(&format!("http://HTTPS///localhost:{port}/x/a.deb"), &noise(200_000, 1));
    drop(behind);
}
