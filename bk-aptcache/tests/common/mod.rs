//! What the tests of all commands need: an archive that does what it is told, a cache in front of
//! it, and clients that look at every byte.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed"
)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// No step of a test takes this long, on the slowest machine.
const LONG: Duration = Duration::from_secs(60);

/// A request as the archive got it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub head: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

type Script = dyn Fn(&Asked, &mut TcpStream) -> Then + Send + Sync;

/// What an archive does with a connection after an answer.
#[derive(PartialEq, Eq)]
pub enum Then {
    Next,
    Close,
    /// With a reset, as a crashed server does.
    Reset,
}

/// An archive on loopback: it serves files, or does what a script says.
pub struct Archive {
    pub address: String,
    pub files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Option<Arc<Script>>>>,
    down: Arc<Mutex<bool>>,
}

/// When its files were changed, unless a test says otherwise.
pub const MODIFIED: &str = "Wed, 01 Jan 2025 00:00:00 GMT";

impl Archive {
    pub fn new() -> Self {
        Self::on("127.0.0.1:0")
    }

    pub fn on(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let archive = Archive {
            address: listener.local_addr().unwrap().to_string(),
            files: Arc::default(),
            asked: Arc::default(),
            script: Arc::default(),
            down: Arc::default(),
        };
        let (files, asked) = (archive.files.clone(), archive.asked.clone());
        let (script, down) = (archive.script.clone(), archive.down.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, asked) = (files.clone(), asked.clone());
                let (script, down) = (script.clone(), down.clone());
                std::thread::spawn(move || {
                    if !*down.lock().unwrap() {
                        talk(stream, &files, &asked, &script, &down);
                    }
                });
            }
        });
        archive
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    /// From now on answers by a script.
    pub fn does(&self, script: impl Fn(&Asked, &mut TcpStream) -> Then + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Some(Arc::new(script));
    }

    /// Serves its files again.
    pub fn heals(&self) {
        *self.script.lock().unwrap() = None;
        *self.down.lock().unwrap() = false;
    }

    /// Closes every connection without a word.
    pub fn goes_down(&self) {
        *self.down.lock().unwrap() = true;
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        let path = format!("/{path}");
        self.asked.lock().unwrap().iter().filter(|asked| asked.target == path).count()
    }
}

fn talk(
    mut stream: TcpStream,
    files: &Mutex<HashMap<String, Vec<u8>>>,
    asked: &Mutex<Vec<Asked>>,
    script: &Mutex<Option<Arc<Script>>>,
    down: &Mutex<bool>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        if *down.lock().unwrap() {
            return;
        }
        let mut words = head.split(' ');
        let method = words.next().unwrap().to_owned();
        let target = words.next().unwrap().to_owned();
        let request = Asked { method, target, head };
        asked.lock().unwrap().push(request.clone());
        let script = script.lock().unwrap().clone();
        let then = match script {
            Some(script) => script(&request, &mut stream),
            None => serve(&request, &mut stream, files),
        };
        match then {
            Then::Next => {}
            Then::Close => return,
            Then::Reset => {
                // With data unread and no time to linger the kernel sends a reset.
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                return;
            }
        }
    }
}

/// What a right archive answers, with ranges and validators.
pub fn serve(
    asked: &Asked,
    stream: &mut TcpStream,
    files: &Mutex<HashMap<String, Vec<u8>>>,
) -> Then {
    let path = percent(asked.target.trim_start_matches('/'));
    let found = files.lock().unwrap().get(&path).cloned();
    let Some(bytes) = found else {
        let text = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n";
        drop(stream.write_all(text));
        return Then::Next;
    };
    let tag = format!("\"{}\"", sha256(&bytes));
    if asked.header("if-none-match") == Some(&tag)
        || asked.header("if-modified-since") == Some(MODIFIED)
            && asked.header("range").is_none()
            && !path.contains("InRelease")
            && !path.ends_with("Release")
    {
        drop(stream.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n"));
        return Then::Next;
    }
    let same = asked.header("if-range").is_none_or(|known| known == tag || known == MODIFIED);
    let start = asked
        .header("range")
        .filter(|_| same)
        .and_then(|r| r.strip_prefix("bytes=")?.trim_end_matches('-').parse::<usize>().ok());
    let common = format!("Last-Modified: {MODIFIED}\r\nETag: {tag}\r\nX-Junk: a\r\n");
    let (status, part) = match start {
        Some(start) => {
            let range =
                format!("Content-Range: bytes {start}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            (format!("206 Partial Content\r\n{range}"), &bytes[start..])
        }
        None => ("200 OK\r\n".to_owned(), &bytes[..]),
    };
    let head = format!("HTTP/1.1 {status}{common}Content-Length: {}\r\n\r\n", part.len());
    let whole = stream.write_all(head.as_bytes()).and_then(|()| match asked.method.as_str() {
        "HEAD" => Ok(()),
        _ => stream.write_all(part),
    });
    if whole.is_ok() { Then::Next } else { Then::Close }
}

fn percent(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == b'%' {
            let digits = std::str::from_utf8(&rest[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes that are the same for the same seed, and do not compress.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// An answer, complete or not.
#[derive(Clone, Debug)]
pub struct Got {
    pub code: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body is whole by its own framing.
    pub whole: bool,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// A folder, a cache in it, and its clients.
pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        World { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn cache(&self, name: &str) -> PathBuf {
        self.path("cache").join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        bk::file::write(&path, bytes).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bk-aptcache"));
        command.args(args).current_dir(self.dir.path()).env("BK_ROOT", self.path("root"));
        command
    }

    /// A command on the cache of this world.
    pub fn bk(&self, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        Ran::new(command.args(["--cache", "cache"]).output().unwrap())
    }

    /// A server in front of `upstreams`, `NAME=URL`.
    pub fn serve(&self, upstreams: &[&str], more: &[&str]) -> Server {
        let mut command = self.command(&["serve", "--cache", "cache", "--listen", "127.0.0.1:0"]);
        for upstream in upstreams {
            command.args(["--upstream", upstream]);
        }
        command.args(more);
        Server::start(&mut command)
    }
}

pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Ran {
    pub fn new(output: Output) -> Self {
        Ran {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn ok(self) -> String {
        self.code(0).stdout
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "'{text}' is not in: {}", self.stderr);
        self
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    said: Arc<Mutex<String>>,
}

impl Server {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, into) = (child.stderr.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("{line}");
                *into.lock().unwrap() += &format!("{line}\n");
            }
        });
        let Some(address) = line.trim().strip_prefix("http://") else {
            std::thread::sleep(Duration::from_millis(200));
            panic!("no server: {}", said.lock().unwrap());
        };
        let address = address.trim_end_matches('/').to_owned();
        Server { child, address, said }
    }

    /// What it said on stderr.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Sends bytes, and reads all that comes until the server closes.
    pub fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        drop(stream.write_all(request));
        let mut all = Vec::new();
        drop(stream.read_to_end(&mut all));
        all
    }

    pub fn get(&self, path: &str) -> Got {
        self.ask("GET", path, "")
    }

    pub fn ask(&self, method: &str, target: &str, headers: &str) -> Got {
        let mut stream = self.connect();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: cache\r\nConnection: close\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        read_answer(&mut BufReader::new(stream), method)
    }

    /// The answer, which must be whole and have this body.
    #[track_caller]
    pub fn gives(&self, path: &str, body: &[u8]) -> Got {
        let got = self.get(path);
        assert_eq!(got.code, 200, "{path}: {} {}", got.head, String::from_utf8_lossy(&got.body));
        assert!(got.whole, "{path} is not whole: {} of {}", got.body.len(), body.len());
        assert!(got.body == body, "{path} has other bytes");
        got
    }

    pub fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an administrator does, and returns its status.
    pub fn stop(mut self) -> i32 {
        self.signal("-TERM");
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        assert!(!self.said().contains("panicked"), "{}", self.said());
    }
}

/// Reads one answer, with whatever framing it has.
pub fn read_answer(reader: &mut impl BufRead, method: &str) -> Got {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
            let code = if head.is_empty() { 0 } else { 1 };
            return Got { code, head, body: Vec::new(), whole: false };
        }
        head += &String::from_utf8_lossy(&line);
    }
    let code: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = Vec::new();
    if method == "HEAD" || code == 304 {
        return Got { code, head, body, whole: true };
    }
    let whole = if let Some(length) = header(&head, "content-length") {
        let length: u64 = length.parse().unwrap();
        drop(reader.take(length).read_to_end(&mut body));
        body.len() as u64 == length
    } else if header(&head, "transfer-encoding") == Some("chunked") {
        chunks(reader, &mut body).is_some()
    } else {
        reader.read_to_end(&mut body).is_ok()
    };
    Got { code, head, body, whole }
}

fn chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let size = u64::from_str_radix(line.trim(), 16).ok()?;
        let before = body.len() as u64;
        drop(reader.take(size).read_to_end(body));
        (body.len() as u64 == before + size).then_some(())?;
        let mut end = [0; 2];
        reader.read_exact(&mut end).ok()?;
        if size == 0 {
            return Some(());
        }
    }
}

/// A suite of one component and architecture, with packages that are noise, signed by nobody.
pub struct Suite {
    pub packages: Vec<(String, Vec<u8>)>,
    /// Seconds since 2025, for its date.
    pub age: u32,
    pub by_hash: bool,
}

impl Suite {
    pub fn new(packages: Vec<(String, Vec<u8>)>) -> Self {
        Suite { packages, age: 0, by_hash: true }
    }

    pub fn index(&self) -> Vec<u8> {
        let mut text = String::new();
        for (name, bytes) in &self.packages {
            text += &format!(
                "Package: {name}\nVersion: 1\nArchitecture: amd64\nFilename: {}\nSize: {}\nSHA256: {}\n\n",
                Self::path(name),
                bytes.len(),
                sha256(bytes)
            );
        }
        text.into_bytes()
    }

    pub fn path(name: &str) -> String {
        format!("pool/main/{name}_1_amd64.deb")
    }

    pub fn release(&self) -> String {
        let index = self.index();
        let by_hash = if self.by_hash { "Acquire-By-Hash: yes\n" } else { "" };
        let (hours, minutes, seconds) = (self.age / 3600, self.age / 60 % 60, self.age % 60);
        format!(
            "Suite: stable\nCodename: stable\nArchitectures: amd64\nComponents: main\nDate: Wed, 01 Jan 2025 {hours:02}:{minutes:02}:{seconds:02} UTC\n{by_hash}SHA256:\n {} {} main/binary-amd64/Packages\n",
            sha256(&index),
            index.len()
        )
    }

    /// A frame around it: nobody checks it without a keyring.
    pub fn in_release(&self) -> String {
        format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}-----BEGIN PGP SIGNATURE-----\n\nxxxx\n-----END PGP SIGNATURE-----\n",
            self.release()
        )
    }

    pub const INDEX: &str = "dists/stable/main/binary-amd64/Packages";

    pub fn hashed(&self) -> String {
        format!("dists/stable/main/binary-amd64/by-hash/SHA256/{}", sha256(&self.index()))
    }

    /// Publishes it below a folder of an archive.
    pub fn publish(&self, archive: &Archive, folder: &str) {
        for (name, bytes) in &self.packages {
            archive.put(&format!("{folder}{}", Self::path(name)), bytes.clone());
        }
        if self.by_hash {
            archive.put(&format!("{folder}{}", self.hashed()), self.index());
        }
        archive.put(&format!("{folder}{}", Self::INDEX), self.index());
        archive.put(&format!("{folder}dists/stable/Release"), self.release());
        archive.put(&format!("{folder}dists/stable/InRelease"), self.in_release());
    }
}

pub fn run(program: &str, args: &[&str]) -> Ran {
    Ran::new(Command::new(program).args(args).output().unwrap())
}

pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
