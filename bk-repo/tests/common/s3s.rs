//! `s3s-fs`: an engine for one writer at a time, whose objects are files in a folder.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::World;
use super::ceph::ACCESS;

/// A running engine; dropped, it is ended.
pub struct Engine {
    child: Child,
    port: u16,
    /// The folder with the buckets.
    pub dir: PathBuf,
}

impl Engine {
    /// Starts one with the bucket `bucket`.
    pub fn start(world: &World) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = world.path("engine");
        std::fs::create_dir_all(dir.join("bucket")).unwrap();
        let (access, secret) = ACCESS;
        let mut command = Command::new("s3s-fs");
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--access-key", access, "--secret-key", secret]).arg(&dir);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let engine = Engine { child: command.spawn().unwrap(), port, dir };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(50));
        }
        engine
    }

    /// The URL of a place in it.
    pub fn url(&self, place: &str) -> String {
        format!("s3://{place}?endpoint=http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
