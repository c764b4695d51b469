//! What the tests share: a folder, the programs in it, and a server.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

#[path = "../../../tests/common/ran.rs"]
mod ran;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub use ran::Ran;

/// A folder that is gone after the test.
pub struct World(tempfile::TempDir);

impl World {
    pub fn new() -> Self {
        World(tempfile::tempdir().unwrap())
    }

    /// One with a site in `site`.
    pub fn with_site() -> Self {
        let world = World::new();
        world
            .bk(&["init", "site", "--title", "Our <things>", "--url", "https://docs.example.com"])
            .ok();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        bk::file::create_dir(path.parent().unwrap()).unwrap();
        bk::file::write(&path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.0.path()).env("HOME", self.path("home"));
        command.env("SOURCE_DATE_EPOCH", "1000000000");
        command
    }

    pub fn run(&self, program: &str, args: &[&str]) -> Ran {
        Ran::new(self.command(program, args).output().unwrap())
    }

    pub fn bk(&self, args: &[&str]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_bk-docsite"), args)
    }

    /// Documentation with these pages: names and what is in their bodies.
    pub fn docs(&self, dir: &str, pages: &[(&str, &str)]) {
        for (name, body) in pages {
            let title = name.trim_end_matches(".html");
            let page = format!(
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
                 <title>{title} — x</title></head><body><main>{body}</main></body></html>\n"
            );
            self.write(&format!("{dir}/{name}"), page);
        }
    }

    /// A wheel of a package, as small as it can be, in `dist`; its path.
    pub fn wheel(&self, name: &str, version: &str) -> String {
        let path = format!("dist/{name}-{version}-py3-none-any.whl");
        let code = format!(
            "import zipfile
z = zipfile.ZipFile({path:?}, 'w')
i = '{name}-{version}.dist-info/'
z.writestr('{name}.py', 'version = {version:?}')
z.writestr(i + 'METADATA', 'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\nRequires-Python: >=3.8\\n')
z.writestr(i + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
z.writestr(i + 'RECORD', '')
"
        );
        bk::file::create_dir(&self.path("dist")).unwrap();
        self.run("python3", &["-c", &code]).ok();
        path
    }

    /// What a browser has of a page once its scripts have run.
    pub fn browse(&self, url: &str) -> String {
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--allow-file-access-from-files",
            "--virtual-time-budget=10000",
            "--dump-dom",
            url,
        ];
        let profile = format!("--user-data-dir={}", self.path("profile").display());
        let args: Vec<&str> = args.into_iter().chain([profile.as_str()]).collect();
        self.run("chromium", &args).ok()
    }

    pub fn serve(&self, sites: &[&str]) -> Server {
        let args = [&["serve", "--listen", "127.0.0.1:0"], sites].concat();
        Server::start(self.command(env!("CARGO_BIN_EXE_bk-docsite"), &args))
    }
}

/// A server, killed when dropped; its URL ends with a slash.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { child, url: line.trim().to_owned() }
    }

    /// What it answers: status, head and body.
    pub fn get(&self, path: &str, headers: &str) -> (u16, String, String) {
        use std::io::Read;
        let host = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// All files below a folder, but what is hidden.
pub fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            if path.file_name().unwrap().to_str().unwrap().starts_with('.') {
                continue;
            }
            match path.symlink_metadata().unwrap() {
                meta if meta.is_symlink() => {
                    let to = fs::read_link(&path).unwrap();
                    all.push((name, to.to_str().unwrap().as_bytes().to_vec()));
                }
                meta if meta.is_dir() => folders.push(path),
                _ => all.push((name, fs::read(&path).unwrap())),
            }
        }
    }
    all.sort();
    all
}
