//! An object store: one node of Ceph in memory, its gateway on loopback (Debian: radosgw ceph-mon
//! ceph-osd).

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A running store; dropped, it is ended.
pub struct Ceph {
    dir: tempfile::TempDir,
    pub port: u16,
}

/// Who asks it.
pub const ACCESS: (&str, &str) = ("AKTEST", "SKTEST");

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Ceph {
    /// Starts one; that takes half a minute.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("bkceph").tempdir_in("/tmp").unwrap();
        for name in ["mon", "osd", "run", "log", "rgw"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let (port, v1, v2) = (free_port(), free_port(), free_port());
        let ceph = Ceph { dir, port };
        let d = ceph.dir.path().display();
        let fsid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        let fsid = fsid.trim();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let conf = format!(
            "[global]\nfsid = {fsid}\nmon initial members = a\n\
             mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]\npublic addr = 127.0.0.1\n\
             auth cluster required = cephx\nauth service required = cephx\n\
             auth client required = cephx\nosd pool default size = 1\n\
             osd pool default min size = 1\nosd pool default pg num = 8\n\
             osd pool default pg autoscale mode = off\nmon allow pool size one = true\n\
             osd crush chooseleaf type = 0\nrun dir = {d}/run\nlog file = {d}/log/$name.log\n\
             admin socket = {d}/run/$name.asok\npid file = {d}/run/$name.pid\n\
             keyring = {d}/keyring\nms bind ipv6 = false\nmon max pg per osd = 1000\n\
             [mon.a]\nhost = {}\nmon data = {d}/mon\nmon data avail crit = 1\n\
             [osd]\nosd data = {d}/osd\nosd objectstore = memstore\n\
             memstore device bytes = 1073741824\nosd class load list = *\n\
             osd class default list = *\n[client.rgw]\nrgw data = {d}/rgw\n\
             rgw frontends = beast endpoint=127.0.0.1:{port}\n",
            host.trim()
        );
        bk::file::write(&ceph.path("ceph.conf"), conf).unwrap();
        ceph.begin(fsid, v1, v2);
        ceph
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        self.run_with(program, args, None)
    }

    fn run_with(&self, program: &str, args: &[&str], stdin: Option<&Path>) -> String {
        let mut command = Command::new("timeout");
        command.arg("60").arg(program).args(args).env("CEPH_CONF", self.path("ceph.conf"));
        command.stdin(stdin.map_or_else(Stdio::null, |path| fs::File::open(path).unwrap().into()));
        // Daemons keep what they are given open: a pipe would never end.
        let out = self.path("log/out");
        let (file, errors) = (fs::File::create(&out).unwrap(), self.path("log/errors"));
        command.stdout(file).stderr(fs::File::create(&errors).unwrap());
        let status = command.status().unwrap();
        let said = fs::read_to_string(&errors).unwrap_or_default();
        assert!(status.success(), "{program} {args:?}: {said}");
        fs::read_to_string(&out).unwrap()
    }

    fn begin(&self, fsid: &str, v1: u16, v2: u16) {
        let ring = self.path("keyring");
        let ring = ring.to_str().unwrap();
        let (mon, osd) = (["--cap", "mon", "allow *"], ["--cap", "osd", "allow *"]);
        let auth = |args: &[&str]| self.run("ceph-authtool", args);
        auth(&[&["--create-keyring", ring, "--gen-key", "-n", "mon."], &mon[..]].concat());
        for name in ["client.admin", "client.rgw"] {
            let caps = [&mon[..], &osd, &["--cap", "mgr", "allow *"]].concat();
            auth(&[&[ring, "--gen-key", "-n", name], &caps[..]].concat());
        }
        let map = self.path("monmap");
        let map = map.to_str().unwrap();
        let addresses = format!("[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]");
        let args = ["--create", "--addv", "a", &addresses, "--fsid", fsid, map];
        self.run("monmaptool", &args);
        self.run("ceph-mon", &["--mkfs", "-i", "a", "--monmap", map, "--keyring", ring]);
        self.run("ceph-mon", &["-i", "a"]);
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        let id = id.trim();
        let key = auth(&["--gen-print-key"]);
        let key = key.trim();
        let secret = self.path("secret");
        bk::file::write(&secret, format!("{{\"cephx_secret\":\"{key}\"}}")).unwrap();
        self.run_with("ceph", &["osd", "new", id, "-i", "-"], Some(&secret));
        let osd_ring = self.path("osd/keyring");
        let osd_ring = osd_ring.to_str().unwrap();
        auth(&["--create-keyring", osd_ring, "--name", "osd.0", "--add-key", key]);
        self.run("ceph", &["auth", "add", "client.rgw", "-i", ring]);
        self.run("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", id, "--keyring", osd_ring]);
        self.run("ceph", &["osd", "crush", "add", "osd.0", "1.0", "root=default", "host=h"]);
        self.run("ceph-osd", &["-i", "0", "--keyring", osd_ring]);
        self.run("radosgw", &["-n", "client.rgw"]);
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(120), "the gateway does not come");
            std::thread::sleep(Duration::from_millis(200));
        }
        let (access, secret) = ACCESS;
        let args = ["user", "create", "--uid=t", "--display-name=t"];
        let keys = [format!("--access-key={access}"), format!("--secret={secret}")];
        self.run("radosgw-admin", &[&args[..], &[&keys[0], &keys[1]]].concat());
    }

    /// The URL of a repository in it.
    pub fn url(&self, place: &str) -> String {
        format!("s3://{place}?endpoint=http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir(self.path("run")) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "pid")
                && let Ok(pid) = fs::read_to_string(&path)
            {
                let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
            }
        }
    }
}
