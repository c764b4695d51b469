//! Uploads to `bk-repo serve`: dput, curl, a watched folder; and what must be refused.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::ceph::Ceph;
use common::{Ran, Server, World, run, with_access};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A .changes file over packages, as dpkg-genchanges writes it; returns its name.
fn changes(world: &World, name: &str, suite: &str, debs: &[&str]) -> String {
    let lines = |program: &str| {
        let line = |deb: &&str| {
            let hash = run(&world.path(""), program, &[deb]);
            let size = fs::metadata(world.path(deb)).unwrap().len();
            format!(" {} {size} {deb}\n", hash.split(' ').next().unwrap())
        };
        debs.iter().map(line).collect::<String>()
    };
    let file = format!("{name}_1_amd64.changes");
    let md5 = lines("md5sum");
    let md5: String = md5
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!(" {} {} misc optional {}\n", words[0], words[1], words[2])
        })
        .collect();
    let text = format!(
        "Format: 1.8\nDate: Thu, 01 Jan 2026 00:00:00 +0000\nSource: {name}\nBinary: {name}\n\
         Architecture: amd64\nVersion: 1\nDistribution: {suite}\nUrgency: low\n\
         Maintainer: A <a@example.com>\nChanged-By: A <a@example.com>\nDescription:\n {name} - test\n\
         Changes:\n {name} (1) {suite}; urgency=low\n .\n   * x\nChecksums-Sha1:\n{}\
         Checksums-Sha256:\n{}Files:\n{md5}",
        lines("sha1sum"),
        lines("sha256sum"),
    );
    world.write(&file, text);
    file
}

/// gpg with a home of its own, and a key named so; returns its public key's file.
fn key(world: &World, name: &str) -> String {
    let home = world.path("gnupg");
    if !home.exists() {
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    let user = format!("{name} <{name}@example.com>");
    gpg(world, &["--passphrase", "", "--quick-gen-key", &user, "ed25519", "sign", "never"]);
    let file = format!("{name}.asc");
    gpg(world, &["--armor", "--output", &file, "--export", &user]);
    file
}

fn gpg(world: &World, args: &[&str]) -> String {
    let home = ["--homedir", "gnupg", "--batch", "--pinentry-mode", "loopback"];
    run(&world.path(""), "gpg", &[&home[..], args].concat())
}

fn sign(world: &World, name: &str, file: &str) {
    let user = format!("{name}@example.com");
    gpg(world, &["-u", &user, "--output", "signed", "--clearsign", file]);
    fs::rename(world.path("signed"), world.path(file)).unwrap();
}

fn done_with_gpg(world: &World) {
    run(&world.path(""), "gpgconf", &["--homedir", "gnupg", "--kill", "all"]);
}

/// A key that was good for a day in 2020, and what it signs as if that were today.
fn expired(world: &World, name: &str, file: &str) -> String {
    let user = format!("{name} <{name}@example.com>");
    let then = ["--faked-system-time", "20200101T000000!"];
    let new = ["--passphrase", "", "--quick-gen-key", &user, "ed25519", "sign", "1d"];
    gpg(world, &[&then[..], &new].concat());
    let signing = ["-u", &user, "--output", "signed", "--clearsign", file];
    gpg(world, &[&then[..], &signing].concat());
    fs::rename(world.path("signed"), world.path(file)).unwrap();
    let public = format!("{name}.asc");
    gpg(world, &["--armor", "--output", &public, "--export", &user]);
    public
}

/// The fingerprint of a primary key.
fn primary(world: &World, name: &str) -> String {
    let user = format!("{name}@example.com");
    let listing = gpg(world, &["--with-colons", "--list-keys", &user]);
    let line = listing.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap();
    line.trim_end_matches(':').to_owned()
}

/// Revokes a key with what gpg laid by for that when it was made; returns its public key's file.
fn revoked(world: &World, name: &str) -> String {
    let user = format!("{name}@example.com");
    let laid_by = format!("gnupg/openpgp-revocs.d/{}.rev", primary(world, name));
    let text = fs::read_to_string(world.path(&laid_by)).unwrap();
    // A colon guards against using it by mistake.
    world.write("revoke", text.replace(":-----BEGIN", "-----BEGIN"));
    gpg(world, &["--import", "revoke"]);
    let public = format!("{name}-revoked.asc");
    gpg(world, &["--armor", "--output", &public, "--export", &user]);
    public
}

/// What curl is answered: status and text.
fn curl(world: &World, url: &str, file: &str, token: Option<&str>) -> (u16, String) {
    let header = token.map(|token| format!("Authorization: Bearer {token}"));
    let mut args = vec!["-sS", "-w", "\n%{http_code}", "-T", file];
    header.iter().for_each(|header| args.extend(["-H", header]));
    args.push(url);
    let out = run(&world.path(""), "curl", &args);
    let (text, code) = out.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), text.to_owned())
}

fn dput(world: &World, server: &Server, changes: &str) -> Ran {
    let conf = format!(
        "[test]\nfqdn = {}\nmethod = http\nincoming = upload\nallow_unsigned_uploads = 1\n\
         run_dinstall = 0\nallow_dcut = 0\n",
        server.address
    );
    world.write("dput.cf", conf);
    let mut command = std::process::Command::new("dput");
    command.args(["-U", "-c", "dput.cf", "test", changes]).current_dir(world.path(""));
    command.env("HOME", world.path("")).env_remove("http_proxy").env("no_proxy", "*");
    Ran::new(command.output().unwrap())
}

#[test]
fn expired_and_revoked_keys_upload_nothing() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    let a = world.deb("a", "1", "amd64", "");
    let file = changes(&world, "a", "stable", &[&a]);
    fs::copy(world.path(&file), world.path("keep")).unwrap();
    key(&world, "ann");
    let old = expired(&world, "old", &file);
    let upload = |ring: &str, status: u16, says: &str| {
        let server = Server::start(&world, &["repo", "--uploaders", ring]);
        let url = format!("{}/upload/", server.url());
        assert_eq!(curl(&world, &url, &a, None).0, 201);
        let (code, text) = curl(&world, &url, &file, None);
        assert_eq!(code, status, "{text}");
        assert!(text.contains(says), "{text}");
    };
    upload(&old, 403, "expired at 2020-01-02T00:00:00Z");
    fs::copy(world.path("keep"), world.path(&file)).unwrap();
    sign(&world, "ann", &file);
    // Her friends vouch for her: that must neither renew a key nor spoil it.
    key(&world, "bob");
    gpg(&world, &["--yes", "-u", "bob@example.com", "--quick-sign-key", &primary(&world, "ann")]);
    gpg(&world, &["--armor", "--output", "vouched.asc", "--export", "ann@example.com"]);
    let after = revoked(&world, "ann");
    upload(&after, 403, "was revoked");
    assert_eq!(world.bk(&["list", "repo"]).ok(), "");
    upload("vouched.asc", 201, "");
    assert_eq!(world.bk(&["list", "repo"]).ok(), "a_1_amd64\n");
    done_with_gpg(&world);
}

#[test]
fn dput_publishes_what_an_uploader_signed_where_they_may() {
    let world = World::new();
    world.bk(&["init", "repo", "--suite", "stable", "--suite", "testing", "--arch", "amd64"]).ok();
    let (ann, bob) = (key(&world, "ann"), key(&world, "bob"));
    let uploaders = format!("testing={ann}");
    let server = Server::start(&world, &["repo", "--uploaders", &uploaders]);
    let a = world.deb("a", "1", "amd64", "");
    let unsigned = changes(&world, "a", "testing", &[&a]);
    fs::copy(world.path(&unsigned), world.path("keep")).unwrap();

    // Unsigned, by a stranger, and into a suite that is not theirs.
    let refused = |file: &str| {
        // The words of dput, and those of dput-ng, which goes on after an error.
        let ran = dput(&world, &server, file);
        let told = ran.stdout + &ran.stderr;
        let words = ["403 Forbidden", "Upload permissions error"];
        assert!(words.iter().any(|words| told.contains(words)), "{told}");
    };
    refused(&unsigned);
    sign(&world, "bob", &unsigned);
    refused(&unsigned);
    let wrong = changes(&world, "a", "stable", &[&a]);
    sign(&world, "ann", &wrong);
    refused(&wrong);
    assert_eq!(world.bk(&["list", "repo"]).ok(), "");

    fs::copy(world.path("keep"), world.path(&unsigned)).unwrap();
    sign(&world, "ann", &unsigned);
    dput(&world, &server, &unsigned).ok();
    assert_eq!(world.bk(&["list", "repo", "--suite", "testing"]).ok(), "a_1_amd64\n");
    let apt = world.apt(&server.url());
    apt.update(&[]);
    assert_eq!(apt.versions("a"), ["1"]);

    // Played back after the package was removed, it brings nothing back.
    world.bk(&["remove", "repo", "a"]).ok();
    let url = format!("{}/upload/", server.url());
    assert_eq!(curl(&world, &url, &a, None).0, 201);
    let (code, text) = curl(&world, &url, &unsigned, None);
    assert_eq!(code, 409, "{text}");
    assert_eq!(world.bk(&["list", "repo"]).ok(), "");
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");

    // A signed text that was changed, and one with a part missing.
    let b = world.deb("b", "1", "amd64", "");
    let missing = changes(&world, "b", "testing", &[&b]);
    sign(&world, "ann", &missing);
    let (code, text) = curl(&world, &url, &missing, None);
    assert_eq!(code, 422, "{text}");
    assert!(text.contains("b_1_amd64.deb"), "{text}");
    let changed =
        fs::read_to_string(world.path(&missing)).unwrap().replace("urgency=low", "urgency=high");
    world.write(&missing, changed);
    curl(&world, &url, &b, None);
    assert_eq!(curl(&world, &url, &missing, None).0, 403);
    assert_eq!(world.bk(&["list", "repo"]).ok(), "");
    // A package alone, without a token.
    assert_eq!(curl(&world, &format!("{url}testing/"), &b, None).0, 401);
    let metrics = String::from_utf8(server.get("/metrics", "").2).unwrap();
    assert!(metrics.contains("bk_repo_uploads_total{result=\"published\"} 1\n"), "{metrics}");
    assert!(metrics.contains("bk_repo_packages{repo=\"repo\",suite=\"testing\"} 0\n"), "{metrics}");
    assert_eq!(server.get("/healthz", "").0, 200);
    done_with_gpg(&world);
    drop(bob);
    server.stop();
}

#[test]
fn curl_publishes_with_a_token_where_it_may() {
    let world = World::new();
    world.bk(&["init", "repo", "--suite", "stable", "--suite", "testing", "--arch", "amd64"]).ok();
    world.write("tokens", format!("# of ann\n{TOKEN} testing\n"));
    let server = Server::start(&world, &["repo", "--tokens", "tokens"]);
    let a = world.deb("a", "1", "amd64", "");
    let url = |path: &str| format!("{}/upload/{path}", server.url());
    assert_eq!(curl(&world, &url("testing/"), &a, None).0, 401);
    assert_eq!(curl(&world, &url("testing/"), &a, Some("fedcba9876543210fedcba")).0, 401);
    assert_eq!(curl(&world, &url("stable/"), &a, Some(TOKEN)).0, 403);
    let (code, text) = curl(&world, &url("testing/"), &a, Some(TOKEN));
    assert_eq!((code, text.as_str()), (201, "pool/main/a/a/a_1_amd64.deb\n"));
    // Once more it is there already.
    assert_eq!(curl(&world, &url("testing/"), &a, Some(TOKEN)).0, 201);
    fs::rename(world.path(&a), world.path("first.deb")).unwrap();
    let other = world.deb("a", "1", "amd64", "Section: net\n");
    let (code, text) = curl(&world, &url("testing/"), &other, Some(TOKEN));
    assert_eq!(code, 422);
    assert!(text.contains("with other content"), "{text}");
    world.write("junk.deb", "junk");
    assert_eq!(curl(&world, &url("testing/"), "junk.deb", Some(TOKEN)).0, 422);
    assert_eq!(curl(&world, &url("none/"), "junk.deb", Some(TOKEN)).0, 403);
    assert_eq!(curl(&world, &url("..%2fx.deb"), "junk.deb", Some(TOKEN)).0, 404);
    assert_eq!(curl(&world, &url("x.sh"), "junk.deb", Some(TOKEN)).0, 422);
    let (code, head, _) = server.ask("POST", "/upload/x.deb", "Content-Length: 0\r\n");
    assert_eq!(code, 405, "{head}");
    let large = "Content-Length: 99999999999\r\n";
    let token = format!("Authorization: Bearer {TOKEN}\r\n{large}");
    assert_eq!(server.ask("PUT", "/upload/testing/x.deb", &token).0, 413);
    assert_eq!(world.bk(&["list", "repo"]).ok(), "a_1_amd64\n");
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    assert!(world.tree("repo/.buildkit/incoming").is_empty());
    server.stop();
    world.write("short", "abc\n");
    world.bk(&["serve", "repo", "--listen", "127.0.0.1:0", "--tokens", "short"]).code(2);
}

#[test]
fn parts_that_wait_are_bounded_for_each_sender() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    let ann = key(&world, "ann");
    let other = TOKEN.replace('0', "f");
    world.write("tokens", format!("{TOKEN}\n{other}\n"));
    let server = Server::start(&world, &["repo", "--tokens", "tokens", "--uploaders", &ann]);
    let put = |name: &str, token: Option<&str>| {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let headers = format!("Content-Length: 0\r\n{}", token.unwrap_or_default());
        server.ask("PUT", &format!("/upload/{name}"), &headers).0
    };
    // More parts than any upload has, of somebody who may not even publish.
    for i in 0..256 {
        assert_eq!(put(&format!("x{i}.deb"), None), 201, "{i}");
    }
    assert_eq!(put("y.deb", None), 507);
    assert_eq!(put("y.deb", Some(TOKEN)), 201, "that is another's room");
    // As much as one may have.
    let folders = fs::read_dir(world.path("repo/.buildkit/incoming")).unwrap();
    let mine = folders.map(|entry| entry.unwrap().path().join("y.deb")).find(|path| path.exists());
    fs::File::options().write(true).open(mine.unwrap()).unwrap().set_len(4 << 30).unwrap();
    assert_eq!(put("z.deb", Some(TOKEN)), 507);
    // Nobody publishes what another has sent.
    let a = world.deb("a", "1", "amd64", "");
    let file = changes(&world, "a", "stable", &[&a]);
    let url = format!("{}/upload/", server.url());
    assert_eq!(curl(&world, &url, &a, Some(&other)).0, 201);
    sign(&world, "ann", &file);
    assert_eq!(curl(&world, &url, &file, None).0, 507, "that is full still");
    fs::remove_dir_all(world.path("repo/.buildkit/incoming/open")).unwrap();
    let (code, text) = curl(&world, &url, &file, None);
    assert!(code == 422 && text.contains("a_1_amd64.deb"), "{code} {text}");
    let (code, text) = curl(&world, &url, &file, Some(&other));
    assert_eq!((code, text.as_str()), (201, "pool/main/a/a/a_1_amd64.deb\n"));
    done_with_gpg(&world);
    server.stop();
}

#[test]
fn notes_on_a_build_lie_beside_its_packages() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    world.write("tokens", TOKEN);
    let server = Server::start(&world, &["repo", "--tokens", "tokens"]);
    let a = world.deb("a", "1", "amd64", "");
    let notes = "a_1_amd64.buildinfo";
    let text = "Format: 1.0\nSource: a\nBinary: a\nArchitecture: amd64\nVersion: 1\n\
                Build-Origin: Debian\nEnvironment:\n DEB_BUILD_OPTIONS=\"parallel=2\"\n";
    world.write(notes, text);
    let file = changes(&world, "a", "stable", &[&a, notes]);
    let url = format!("{}/upload/", server.url());
    for part in [&*a, notes, &*file] {
        let (code, text) = curl(&world, &url, part, Some(TOKEN));
        assert_eq!(code, 201, "{part}: {text}");
    }
    let (code, _, body) = server.get("/pool/main/a/a/a_1_amd64.buildinfo", "");
    assert_eq!((code, &body[..]), (200, text.as_bytes()));
    // It is no package, is found whole, and stays as long as what was built.
    assert_eq!(world.bk(&["list", "repo"]).ok(), "a_1_amd64\n");
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    run(
        &world.path(""),
        "find",
        &["repo", "-type", "f", "-exec", "touch", "-d", "3 days ago", "{}", "+"],
    );
    world.bk(&["gc", "repo"]).ok();
    assert!(world.path("repo/pool/main/a/a").join(notes).exists());
    // One that was changed after it was listed.
    let b = world.deb("b", "1", "amd64", "");
    world.write("b_1_amd64.buildinfo", text.replace("Source: a", "Source: b"));
    let file = changes(&world, "b", "stable", &[&b, "b_1_amd64.buildinfo"]);
    world.write("b_1_amd64.buildinfo", text);
    world.bk(&["add", "repo", &file]).code(1).says("b_1_amd64.buildinfo");
    assert_eq!(world.bk(&["list", "repo"]).ok(), "a_1_amd64\n");
    server.stop();
}

#[test]
fn what_is_no_keyring_is_refused() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    let ann = key(&world, "ann");
    let whole = fs::read_to_string(world.path(&ann)).unwrap();
    let junk = [
        Vec::new(),
        b"junk\n".to_vec(),
        vec![0xff; 4096],
        whole.as_bytes()[..whole.len() / 2].to_vec(),
        whole.replace("PUBLIC KEY", "SIGNATURE").into_bytes(),
    ];
    for junk in junk {
        world.write("junk.asc", &junk);
        let ran =
            world.bk(&["serve", "repo", "--listen", "127.0.0.1:0", "--uploaders", "junk.asc"]);
        ran.code(2).says("cannot use the keyring 'junk.asc'").says("gpg --armor --export");
    }
    done_with_gpg(&world);
}

#[test]
fn a_folder_is_watched() {
    let world = World::new();
    world.bk(&["init", "repo", "--arch", "amd64"]).ok();
    fs::create_dir(world.path("incoming")).unwrap();
    let server = Server::start(&world, &["repo", "--incoming", "incoming"]);
    let a = world.deb("a", "1", "amd64", "");
    let file = changes(&world, "a", "stable", &[&a]);
    fs::copy(world.path(&a), world.path("incoming").join(&a)).unwrap();
    fs::rename(world.path(&file), world.path("incoming").join(&file)).unwrap();
    let start = Instant::now();
    while world.bk(&["list", "repo"]).ok().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(100));
    }
    while fs::read_dir(world.path("incoming")).unwrap().count() > 0 {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    server.stop();
}

/// Two servers of one bucket, with the real clients.
#[test]
fn a_bucket_is_served_and_uploaded_to() {
    let ceph = Ceph::start();
    let world = World::new();
    let repo = ceph.url("bucket/apt");
    let ask = |args: &[&str]| with_access(&mut world.command(args));
    ask(&["init", &repo, "--arch", "amd64"]).ok();
    world.write("tokens", format!("{TOKEN}\n"));
    let uploader = key(&world, "up");
    let options = ["--tokens", "tokens", "--uploaders", &uploader];
    let one = Server::start(&world, &[&[&*repo], &options[..]].concat());
    fs::create_dir(world.path("in")).unwrap();
    let two = Server::start(&world, &[&*repo, "--tokens", "tokens", "--incoming", "in"]);

    // A single file, a signed upload by dput, and what is put into a folder; each through one of both.
    let a = world.deb("a", "1", "amd64", "");
    let (code, text) = curl(&world, &format!("{}/upload/stable/", one.url()), &a, Some(TOKEN));
    assert_eq!((code, &*text), (201, "pool/main/a/a/a_1_amd64.deb\n"));
    let b = world.deb("b", "1", "amd64", "");
    let file = changes(&world, "b", "stable", &[&b]);
    sign(&world, "up", &file);
    dput(&world, &one, &file).ok();
    assert_eq!(curl(&world, &format!("{}/upload/{b}", two.url()), &b, None).0, 401);
    let c = world.deb("c", "1", "amd64", "");
    let file = changes(&world, "c", "stable", &[&c]);
    for name in [&c, &file] {
        fs::copy(world.path(name), world.path("in").join(name)).unwrap();
    }
    let start = Instant::now();
    while world.path("in").join(&file).exists() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    // Both at once: what is acknowledged is there.
    std::thread::scope(|scope| {
        for (server, n) in [(&one, 1), (&two, 2)] {
            let world = &world;
            scope.spawn(move || {
                for i in 0..4 {
                    let deb = world.deb(&format!("x{n}-{i}"), "1", "amd64", "");
                    let url = format!("{}/upload/stable/", server.url());
                    let (code, text) = curl(world, &url, &deb, Some(TOKEN));
                    assert_eq!(code, 201, "{text}");
                }
            });
        }
    });
    let listed = ask(&["list", &repo]).ok();
    for name in
        ["a_1", "b_1", "c_1", "x1-0", "x1-1", "x1-2", "x1-3", "x2-0", "x2-1", "x2-2", "x2-3"]
    {
        assert!(listed.contains(name), "{name} is not in: {listed}");
    }
    assert_eq!(ask(&["check", &repo]).ok(), "");

    // What HTTP says of a file, and its parts.
    let pool = "/pool/main/a/a/a_1_amd64.deb";
    let whole = fs::read(world.path(&a)).unwrap();
    let (code, head, body) = two.get(pool, "");
    assert_eq!((code, &body), (200, &whole));
    assert!(head.contains("cache-control: public, max-age=31536000, immutable"), "{head}");
    assert!(head.contains(&format!("content-length: {}", whole.len())), "{head}");
    let (code, head, body) = two.get(pool, "Range: bytes=5-9\r\n");
    assert_eq!((code, &body[..]), (206, &whole[5..10]));
    assert!(head.contains(&format!("content-range: bytes 5-9/{}", whole.len())), "{head}");
    assert_eq!(two.get(pool, "Range: bytes=99999999-\r\n").0, 416);
    let (_, head, _) = two.ask("HEAD", "/dists/stable/InRelease", "");
    assert!(head.contains("cache-control: no-cache"), "{head}");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let known = format!("If-None-Match: {tag}\r\n");
    assert_eq!(two.get("/dists/stable/InRelease", &known).0, 304);
    for path in ["/.buildkit/head", "/pool/../.buildkit/head", "/pool/none"] {
        assert_eq!(two.get(path, "").0, 404, "{path}");
    }
    let (code, head, _) = two.get("/dists", "");
    assert!(code == 301 && head.contains("location: /dists/"), "{code} {head}");
    assert_eq!(two.ask("POST", pool, "Content-Length: 0\r\n").0, 405);
    assert_eq!(two.get("/healthz", "").0, 200);
    let (_, _, text) = two.get("/metrics", "");
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("bk_repo_packages{repo=\"apt\",suite=\"stable\"} 11\n"), "{text}");
    let page = String::from_utf8(two.get("/", "").2).unwrap();
    assert!(page.contains("x2-3") && page.contains("URIs: http://"), "{page}");
    let page = String::from_utf8(two.get("/pool/main/a/a/", "").2).unwrap();
    assert!(page.contains("a_1_amd64.deb"), "{page}");

    // apt, which checks the signature.
    let sources = ask(&["sources", &repo, "--uri", &two.url()]).ok();
    world.bk(&["init", "repo"]).ok();
    let apt = world.apt(&two.url());
    world.write("apt/test.sources", sources);
    apt.update(&[]);
    assert_eq!(apt.versions("b"), ["1"]);
    apt.get(&["download", "x1-3"]).ok();
    assert_eq!(
        fs::read(apt.path("x1-3_1_amd64.deb")).unwrap(),
        fs::read(world.path("x1-3_1_amd64.deb")).unwrap()
    );
    one.stop();
    two.stop();
    done_with_gpg(&world);

    // A writer that has uploaded and not committed yet: one that finds no key is as far. gc takes nothing
    // from it, however little is to be kept, and nobody replaces what it uploaded.
    let slow = world.deb("slow", "1", "amd64", "");
    let mut late = world.command(&["add", &repo, &slow]);
    let ran = with_access(late.env("BK_ROOT", world.path("elsewhere")));
    ran.code(1).says("cannot sign");
    // Ten minutes later, which the engine takes for another's clock.
    let mut gc = std::process::Command::new("faketime");
    gc.args(["-f", "+10m", env!("CARGO_BIN_EXE_bk-repo"), "gc", &repo, "--keep", "1m"]);
    let gone = with_access(gc.env("BK_ROOT", world.path("root"))).ok();
    assert!(!gone.contains("pool/"), "{gone}");
    fs::rename(world.path(&slow), world.path("kept")).unwrap();
    let other = world.deb("slow", "1", "amd64", "Section: net\n");
    ask(&["add", &repo, &other]).code(1).says("taken by a file with other content");
    fs::rename(world.path("kept"), world.path(&slow)).unwrap();
    ask(&["add", &repo, &slow]).ok();
    assert_eq!(ask(&["check", &repo]).ok(), "");
}
