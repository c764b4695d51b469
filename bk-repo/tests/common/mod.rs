//! What the tests of all commands need: packages from dpkg-deb, a repository, an apt of its own.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

pub mod ceph;
pub mod google;
pub mod s3s;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A generator of numbers (xorshift64*): the same ones in each run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// A folder for one test.
pub struct World {
    dir: tempfile::TempDir,
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
            // 128 + n: killed by signal n, as the shell says it.
            code: output.status.code().unwrap_or_else(|| {
                128 + std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap()
            }),
        }
    }

    #[track_caller]
    pub fn ok(self) -> String {
        self.code(0).stdout
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "'{text}' is not in: {}", self.stderr);
        self
    }
}

impl World {
    pub fn new() -> Self {
        World { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        bk::file::write(&path, text).unwrap();
        path
    }

    /// bk-repo, its folders in this world.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bk-repo"));
        command.args(args).current_dir(self.dir.path());
        command.env("BK_ROOT", self.path("root")).env_remove("SOURCE_DATE_EPOCH");
        command
    }

    pub fn bk(&self, args: &[&str]) -> Ran {
        Ran::new(self.command(args).output().unwrap())
    }

    pub fn bk_with(&self, args: &[&str], stdin: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        Ran::new(child.wait_with_output().unwrap())
    }

    /// Builds a package with dpkg-deb; `fields` are more lines of its control file. Its name in this
    /// world is `NAME_VERSION_ARCH.deb`.
    pub fn deb(&self, name: &str, version: &str, arch: &str, fields: &str) -> String {
        self.deb_with(name, version, arch, fields, &["-Zgzip"])
    }

    pub fn deb_with(
        &self,
        name: &str,
        version: &str,
        arch: &str,
        fields: &str,
        options: &[&str],
    ) -> String {
        let tree = tempfile::tempdir_in(self.dir.path()).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {arch}\n\
             Maintainer: A <a@example.com>\n{fields}Description: test\n a package for tests\n"
        );
        fs::create_dir_all(tree.path().join("DEBIAN")).unwrap();
        bk::file::write(&tree.path().join("DEBIAN/control"), control).unwrap();
        let doc = tree.path().join(format!("usr/share/doc/{name}"));
        fs::create_dir_all(&doc).unwrap();
        bk::file::write(&doc.join("README"), format!("{name} {version}\n")).unwrap();
        fs::set_permissions(tree.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let file = format!("{name}_{version}_{arch}.deb").replace(':', "%");
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", "--nocheck"]).args(options).arg("-b");
        let out = command.arg(tree.path()).arg(self.path(&file)).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        file
    }

    /// An apt that uses what `bk-repo sources` prints for `uri`, and nothing of this machine.
    pub fn apt(&self, uri: &str) -> Apt {
        self.apt_with(&self.bk(&["sources", "repo", "--uri", uri]).ok())
    }

    /// The same with these sources.
    pub fn apt_with(&self, sources: &str) -> Apt {
        let dir = self.path("apt");
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        self.write("apt/test.sources", sources);
        self.write("apt/status", "");
        let d = dir.to_str().unwrap();
        self.write(
            "apt/apt.conf",
            format!(
                "Dir::State \"{d}\";\nDir::State::status \"{d}/status\";\n\
                 Dir::State::Lists \"{d}/lists\";\nDir::Cache \"{d}/cache\";\n\
                 Dir::Etc::SourceList \"{d}/test.sources\";\nDir::Etc::SourceParts \"/dev/null\";\n\
                 Dir::Etc::Trusted \"/dev/null\";\nDir::Etc::TrustedParts \"/dev/null\";\n\
                 Dir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
                 APT::Sandbox::User \"root\";\nAPT::Architecture \"amd64\";\n\
                 APT::Architectures {{ \"amd64\"; }};\nAPT::Update::Error-Mode \"any\";\n\
                 Acquire::Retries \"0\";\nAcquire::http::Proxy \"DIRECT\";\n"
            ),
        );
        Apt { dir }
    }

    pub fn apt_file(&self) -> Apt {
        self.apt(&format!("file:{}", self.repo().display()))
    }

    /// Every file below a folder with its bytes, but not the notes on this machine's own files.
    pub fn tree(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let (root, mut all, mut left) = (self.path(name), Vec::new(), vec![self.path(name)]);
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with(".buildkit/layouts") {
                    continue;
                } else if path.is_dir() {
                    left.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    all.push((name, fs::read(&path).unwrap()));
                }
            }
        }
        all.sort();
        all
    }
}

pub struct Apt {
    dir: PathBuf,
}

impl Apt {
    pub fn get(&self, args: &[&str]) -> Ran {
        self.run("apt-get", args)
    }

    pub fn run(&self, program: &str, args: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C").args(args);
        Ran::new(command.current_dir(&self.dir).output().unwrap())
    }

    #[track_caller]
    pub fn update(&self, options: &[&str]) {
        let ran = self.get(&[options, &["update"]].concat()).code(0);
        assert!(!ran.stderr.contains("W:") && !ran.stderr.contains("E:"), "{}", ran.stderr);
    }

    /// The versions of a package that apt sees, the latest first.
    pub fn versions(&self, package: &str) -> Vec<String> {
        let table = self.run("apt-cache", &["madison", package]).ok();
        let version = |line: &str| line.split('|').nth(1).unwrap().trim().to_owned();
        table.lines().filter(|line| !line.contains("Sources")).map(version).collect()
    }

    /// Forgets what was fetched.
    pub fn forget(&self) {
        fs::remove_dir_all(self.dir.join("lists")).unwrap();
        fs::create_dir_all(self.dir.join("lists/partial")).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// A running `bk-repo serve`.
pub struct Server {
    pub child: Child,
    pub address: String,
}

impl Server {
    pub fn start(world: &World, args: &[&str]) -> Self {
        let mut command = world.command(&["serve", "--listen", "127.0.0.1:0"]);
        let (access, secret) = ceph::ACCESS;
        command.env("AWS_ACCESS_KEY_ID", access).env("AWS_SECRET_ACCESS_KEY", secret);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        Server { child, address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn get(&self, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
        self.ask("GET", path, headers)
    }

    pub fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
        let mut stream = std::net::TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, head, answer[end + 4..].to_vec())
    }

    pub fn stop(mut self) {
        run("/".as_ref(), "kill", &["-TERM", &self.child.id().to_string()]);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// A test that failed leaves no server behind.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that may use the object store of the tests.
pub fn with_access(command: &mut Command) -> Ran {
    let (access, secret) = ceph::ACCESS;
    command.env("AWS_ACCESS_KEY_ID", access).env("AWS_SECRET_ACCESS_KEY", secret);
    Ran::new(command.output().unwrap())
}

/// Runs a program that must succeed.
#[track_caller]
pub fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env("LC_ALL", "C");
    Ran::new(command.output().unwrap()).ok()
}

/// Stops a command at the call of the number `when` of some system calls, of those on one path where more of
/// strace's options say so, and lets it go on after `beside`. Says whether it came so far. Each
/// thread counts its own calls; `beside` is given the process.
pub fn stop(
    command: &Command,
    (calls, more): (&str, &[&str]),
    when: u32,
    mut beside: impl FnMut(&str),
) -> (bool, Ran) {
    let mut strace = Command::new("strace");
    let inject = format!("inject={calls}:signal=SIGSTOP:when={when}");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject]);
    strace.args(more).arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(command.get_current_dir().unwrap());
    let mut strace = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut came = false;
    while let Some(writer) = stopped(&mut strace) {
        came = true;
        beside(&writer);
        let _ = Command::new("kill").args(["-CONT", &writer]).stderr(Stdio::null()).status();
    }
    (came, Ran::new(strace.wait_with_output().unwrap()))
}

/// The process that strace runs, when it stays stopped: between calls it stops for moments. None once it
/// has ended.
fn stopped(strace: &mut Child) -> Option<String> {
    let id = strace.id();
    let mut seen = 0;
    loop {
        if strace.try_wait().unwrap().is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let Some(child) = children.ok().and_then(|text| Some(text.split(' ').next()?.to_owned()))
        else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        seen = if state.starts_with(['T', 't']) { seen + 1 } else { 0 };
        if seen == 20 {
            return Some(child);
        }
    }
}
