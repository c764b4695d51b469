//! The manual's machine: made through the cache, started on a tap device, logged in to, and gone again.
//! Its networks are namespaces of their own; this system's is not touched.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Server, done, programs, said};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Two networks: a host with the interface `eth1`, and the world behind it.
struct Networks {
    host: String,
    world: String,
}

/// The addresses of RFC 5737 belong to nobody.
const WORLD: &str = "203.0.113.1";
const HOST: &str = "203.0.113.2";

impl Networks {
    fn new() -> Self {
        let name = |what: &str| format!("bk-{what}-{}", std::process::id());
        let networks = Networks { host: name("host"), world: name("world") };
        let (host, world) = (networks.host.as_str(), networks.world.as_str());
        for line in [
            format!("netns add {host}"),
            format!("netns add {world}"),
            format!("link add eth1 netns {host} type veth peer name up0 netns {world}"),
            format!("-n {world} address add {WORLD}/24 dev up0"),
            format!("-n {world} link set up0 up"),
            format!("-n {host} link set lo up"),
            format!("-n {host} address add {HOST}/24 dev eth1"),
            format!("-n {host} link set eth1 up"),
        ] {
            done(Command::new("ip").args(line.split(' ')));
        }
        networks
    }

    /// A program on the host.
    fn on_host(&self, words: &[&str], dir: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host]).args(words);
        command.env("BK_ROOT", dir.join("state")).current_dir(dir);
        command
    }

    /// One of ours on the host.
    fn tool(&self, name: &str, words: &[&str], dir: &Path) -> Command {
        let program = programs().join(name);
        self.on_host(&[&[program.to_str().unwrap()], words].concat(), dir)
    }

    /// A socket of one of the networks, which belongs there whoever uses it.
    fn listen(&self, network: &str, address: &str) -> TcpListener {
        let namespace = std::fs::File::open(Path::new("/run/netns").join(network)).unwrap();
        let bind = || {
            // Of this thread alone, which ends.
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).unwrap();
            TcpListener::bind(address).unwrap()
        };
        std::thread::scope(|scope| scope.spawn(bind).join().unwrap())
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for network in [&self.host, &self.world] {
            // What was left running by a test that failed.
            let pids = Command::new("ip").args(["netns", "pids", network]).output().unwrap();
            for pid in String::from_utf8_lossy(&pids.stdout).lines() {
                drop(Command::new("kill").args(["-KILL", pid]).status());
            }
            drop(Command::new("ip").args(["netns", "delete", network]).status());
        }
    }
}

/// A cache that is reached on the host, and reaches the archive, which the host does not.
fn cache(listener: &TcpListener, dir: &Path) -> Server {
    let script = "exec 3<&$FD; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(programs().join("bk-aptcache"));
    command.args(["serve", "--cache", "cache", "--access-log", "access.log"]);
    command.current_dir(dir).env("BK_ROOT", dir.join("state"));
    let descriptor = rustix::io::dup(listener).unwrap();
    Server::start(command.env("FD", descriptor.as_raw_fd().to_string()))
}

/// A machine being kept in the foreground; the first line it prints is its address.
struct Machine(Child, String);

impl Machine {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Machine(child, line.trim_end().to_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // qemu ends with it.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_manuals_machine() {
    let dir = tempfile::tempdir().unwrap();
    let networks = Networks::new();
    let listener = networks.listen(&networks.host, "0.0.0.0:9999");
    let _cache = cache(&listener, dir.path());
    let requests = |counts: &dyn Fn(&str) -> bool| {
        let log = std::fs::read_to_string(dir.path().join("access.log")).unwrap_or_default();
        log.lines().filter(|line| counts(line)).count()
    };
    let packages = || requests(&|line| line.ends_with(".deb"));
    let of_the_machine = || requests(&|line| line.contains(" 192.168.100.10 "));

    // Made: everything comes through the cache, since there is no other way.
    let key = dir.path().join("key");
    done(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    let create = |number: &str| {
        let words = ["--proxy", "127.0.0.1", "-o", "vms", "--key", "key.pub", number];
        done(&mut networks.tool("bk-vm-create", &words, dir.path()))
    };
    assert_eq!(create("10"), "vms/buildkit10/disk.raw\n");
    let words = ["create", "--dry-run", "--proxy", "127.0.0.1", "9"];
    let planned = done(&mut networks.tool("bk-vm", &words, dir.path())).lines().count();
    assert!(planned > 100);
    assert_eq!(packages(), planned);
    assert_eq!(create("11"), "vms/buildkit11/disk.raw\n");
    assert_eq!(packages(), planned, "the second is a copy");

    // Started, both at once: each has a tap device of its own.
    let start = |number: u8| {
        let (tap, disk) = (format!("qtap{number}"), format!("vms/buildkit1{number}/disk.raw"));
        Machine::start(&mut networks.tool(
            "bk-vm-start",
            &["eth1", &tap, "512M", "1", &disk],
            dir.path(),
        ))
    };
    let machines = std::thread::scope(|scope| {
        let threads = [0, 1].map(|number| scope.spawn(move || start(number)));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(
        machines.each_ref().map(|machine| machine.1.as_str()),
        ["192.168.100.10", "192.168.100.11"]
    );

    // Logged in to, as the manual says, by password and by key.
    let known = dir.path().join("vms/buildkit10/known_hosts");
    let ssh = |before: &[&str], options: &[&str], line: &str| {
        let known = format!("UserKnownHostsFile={}", known.display());
        let ssh = ["ssh", "-F", "none", "-o", &known, "-o", "StrictHostKeyChecking=yes"];
        let words = [before, &ssh, options, &["ubuntu@192.168.100.10", line]].concat();
        networks.on_host(&words, dir.path())
    };
    let password = ["-o", "PubkeyAuthentication=no"];
    let by_password = |line: &str| done(&mut ssh(&["sshpass", "-p", "ubuntu"], &password, line));
    assert_eq!(by_password("hostname; id -un; sudo -n id -u"), "buildkit10\nubuntu\n0\n");
    let by_key = ["-i", "key", "-o", "BatchMode=yes"];
    let run = |line: &str| done(&mut ssh(&[], &by_key, line));
    assert_eq!(run("systemctl --failed --quiet --no-legend"), "");
    assert_eq!(
        run("getent hosts host.buildkit").split_whitespace().next(),
        Some("192.168.100.254")
    );

    // apt in it goes through the cache, and installs.
    let before = of_the_machine();
    run("sudo apt-get -q update && sudo apt-get -q -y install hello");
    assert!(of_the_machine() > before);
    assert_eq!(run("LC_ALL=C hello"), "Hello, world!\n");
    assert_eq!(run("sudo dpkg --audit"), "");

    // It sees the world, which sees the host; and its neighbour.
    let world = networks.listen(&networks.world, &format!("{WORLD}:8099"));
    let peer = std::thread::spawn(move || {
        let (mut stream, peer) = world.accept().unwrap();
        stream.write_all(b"from the world\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        peer.ip().to_string()
    });
    let get = |host: &str, port: u16| run(&format!("bash -c 'head -1 </dev/tcp/{host}/{port}'"));
    assert_eq!(get(WORLD, 8099), "from the world\n");
    assert_eq!(peer.join().unwrap(), HOST);
    assert!(get("192.168.100.11", 22).starts_with("SSH-2.0-"));

    // By our own commands.
    let vm = |words: &[&str]| networks.tool("bk-vm", words, dir.path());
    let list = done(&mut vm(&["list"]));
    assert_eq!(list.lines().filter(|line| line.contains("\trunning\t")).count(), 2, "{list}");
    let status = vm(&["exec", "10", "sh", "-c", "test \"$1\" = \"a b\" && exit 7", "sh", "a b"]);
    assert_eq!({ status }.status().unwrap().code(), Some(7));
    let again = vm(&["start", "eth1", "qtap0", "512M", "1", "10"]).output().unwrap();
    assert!(said(&again).contains("running already"), "{}", said(&again));

    // Stopped, and nothing is left.
    let rules = || done(&mut networks.on_host(&["nft", "list", "tables"], dir.path()));
    let devices = || done(&mut networks.on_host(&["ip", "-o", "link"], dir.path()));
    let forwarding = ["cat", "/proc/sys/net/ipv4/ip_forward"];
    let forwarding = || done(&mut networks.on_host(&forwarding, dir.path()));
    let mut machines = machines;
    done(&mut vm(&["exec", "11", "sudo", "systemctl", "--no-block", "poweroff"]));
    assert!(machines[1].0.wait().unwrap().success(), "it has shut down by itself");
    assert!(rules().contains("bkvm_qtap0") && !rules().contains("bkvm_qtap1"), "{}", rules());
    assert_eq!(forwarding(), "1\n", "the other needs it still");
    done(&mut vm(&["stop", "10"]));
    assert_eq!((rules().as_str(), forwarding().as_str()), ("", "0\n"));
    assert!(!devices().contains("qtap"), "{}", devices());
    let list = done(&mut vm(&["list"]));
    assert_eq!(list.lines().filter(|line| line.contains("\tstopped\t")).count(), 2, "{list}");
    done(Command::new("e2fsck").args(["-fn"]).arg(dir.path().join("vms/buildkit10/disk.raw")));
    drop(machines);
    let left = Command::new("ip").args(["netns", "pids", &networks.host]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}
