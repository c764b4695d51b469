//! `bk-deb plan`, and what `bk-deb build --plan`, make and GNU parallel do with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::Wheel;
use common::house::{House, names};
use common::index::{Style, serve};

/// Three packages, one of which is for this machine alone.
fn house() -> House {
    let house = House::new();
    house.wheel("app", "1.0", &["lib>=1.0", "native==2.0"]);
    house.wheel("lib", "1.5", &["native"]);
    let wheel = Wheel::new("native", "2.0", "cp311-cp311-manylinux_2_17_x86_64");
    house.add(wheel.file("native.py", "x = 1\n"), &[]);
    house
}

fn plan(house: &House, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bk-deb"));
    command
        .current_dir(house.dir.path())
        .args(["--root", "root", "plan", "--no-index", "-f", "wheels", "--suite", "test"])
        .args(["--arch", "amd64", "--mirror"])
        .arg(house.path("archive"))
        .args(words);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn bytes(dir: &Path) -> Vec<(String, Vec<u8>)> {
    names(dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

#[test]
fn what_is_built_of_a_plan_is_the_same_to_the_byte() {
    let house = house();
    house.built(&["app"]);
    let text = plan(&house, &["app"]).stdout;
    let lines: Vec<serde_json::Value> = String::from_utf8(text.clone())
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    let of = |name: &str| lines.iter().find(|line| line["name"] == name).unwrap();
    assert_eq!(of("app")["type"], "package");
    assert_eq!(of("app")["requires"], serde_json::json!(["python3-lib", "python3-native"]));
    assert_eq!(of("native")["file"], "python3-native_2.0-1_amd64.deb");
    let sum = common::output(
        "sha256sum",
        &[house.path("wheels/lib-1.5-py3-none-any.whl").to_str().unwrap()],
    );
    assert_eq!(of("lib")["wheel"]["sha256"], sum.split(' ').next().unwrap());

    fs::write(house.path("plan"), text).unwrap();
    let build = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_bk-deb"))
            .current_dir(house.dir.path())
            .args(["--root", "other", "build", "--plan", "plan", "-o", "planned"])
            .args(words)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(build(&[]).0, 0);
    assert_eq!(bytes(&house.path("planned")), bytes(&house.path("debs")));
    assert_eq!(build(&["--only", "python3-lib"]).0, 0);
    assert!(build(&["--only", "python3-gone"]).1.contains("has no package 'python3-gone'"));

    // A wheel that is another one now is refused, and the others are built.
    house.wheel("lib", "1.5", &["other"]);
    fs::remove_dir_all(house.path("planned")).unwrap();
    let (status, said) = build(&[]);
    assert_eq!(status, 1);
    assert!(said.contains("cannot build 'lib'") && said.contains("is not the file"), "{said}");
    assert_eq!(names(&house.path("planned")).len(), 2);
    fs::write(house.path("plan"), "{\"type\":\"package\"}\n").unwrap();
    assert!(build(&[]).1.contains("is no instruction"));
}

#[test]
fn of_an_index_only_builds_fetch_wheels() {
    for style in [Style::Sidecar, Style::Range] {
        let house = House::new();
        let (index, log) = serve(style, &[("app", "1.0", &["large>=1"]), ("large", "1.5", &[])]);
        // A wheel that is asked for without a range is fetched whole.
        let whole = |words: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_bk-deb"))
                .current_dir(house.dir.path())
                .args(["--root", "root"])
                .args(words)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let asked = std::mem::take(&mut *log.lock().unwrap());
            (asked.iter().filter(|line| line.ends_with(".whl ")).count(), output.stdout)
        };
        let archive = house.path("archive");
        let archive = archive.to_str().unwrap();
        let suite = ["--suite", "test", "--arch", "amd64", "--mirror", archive];
        let tree = [&["-i", index.as_str(), "app"], &suite[..]].concat();
        let (fetched, text) = whole(&[&["plan"], &tree[..]].concat());
        assert_eq!(fetched, 0);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2);
        fs::write(house.path("plan"), text).unwrap();
        let (fetched, said) = whole(&[&["build", "--dry-run"], &tree[..]].concat());
        assert_eq!(fetched, 0);
        assert_eq!(said, b"python3-app 1.0-1\npython3-large 1.5-1\n");
        assert_eq!(whole(&["build", "--plan", "plan", "-o", "debs"]).0, 2);
        assert_eq!(house.debs().len(), 2);
    }
}

#[test]
fn make_builds_what_is_missing_and_nothing_twice() {
    let house = house();
    house.built(&["app"]);
    fs::write(house.path("Makefile"), plan(&house, &["app", "--make", "-o", "made"]).stdout)
        .unwrap();
    let make = |words: &[&str]| {
        let output = Command::new("make")
            .current_dir(house.dir.path())
            .env("BK_ROOT", house.path("root"))
            .arg(format!("BK_DEB={}", env!("CARGO_BIN_EXE_bk-deb")))
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(make(&["-j4"]).lines().filter(|line| line.ends_with(".deb")).count(), 3);
    assert_eq!(bytes(&house.path("made")), bytes(&house.path("debs")));
    assert!(make(&["-j4"]).contains("Nothing to be done"));
    fs::remove_file(house.path("made/python3-lib_1.5-1_all.deb")).unwrap();
    assert_eq!(make(&["-j4"]).trim(), "made/python3-lib_1.5-1_all.deb");
}

#[test]
fn gnu_parallel_spreads_a_plan_over_machines() {
    let house = house();
    house.built(&["app"]);
    fs::write(house.path("plan"), plan(&house, &["app"]).stdout).unwrap();
    let machines = Machines::start(house.dir.path());
    let spread = house.path("spread");
    let output = Command::new("parallel")
        .args(["--will-cite", "--pipe", "-N1", "-j1", "-S", "10.77.0.1,10.77.0.2"])
        .arg("--ssh")
        .arg(machines.ssh())
        .arg(format!(
            "{} build --root {} --plan - -o {}",
            env!("CARGO_BIN_EXE_bk-deb"),
            house.path("far").display(),
            spread.display()
        ))
        .env("HOME", house.dir.path())
        .stdin(fs::File::open(house.path("plan")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    assert_eq!(bytes(&spread), bytes(&house.path("debs")));
    let served = machines.served();
    assert!(served.iter().all(|n| *n > 0), "one machine did nothing: {served:?}");
}

/// Two machines of this test's own: network namespaces with an ssh server each, on a bridge that
/// nothing else is on. All of it is gone with the process that holds it.
struct Machines {
    dir: PathBuf,
    holder: std::process::Child,
}

impl Machines {
    fn start(dir: &Path) -> Self {
        let dir = dir.join("machines");
        fs::create_dir(&dir).unwrap();
        let text = |name: &str| dir.join(name).display().to_string();
        for key in ["host", "user"] {
            common::output("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &text(key)]);
        }
        fs::copy(dir.join("user.pub"), dir.join("authorized")).unwrap();
        // A namespace of networks and mounts, in which two more are made: nothing of it is seen
        // outside, and the kernel removes it when its last process ends.
        let script = r#"
mount -t tmpfs tmpfs /run && mkdir -p /run/sshd /run/netns
ip link set lo up
ip link add br0 type bridge && ip link set br0 up && ip addr add 10.77.0.254/24 dev br0
for n in 1 2; do
    ip netns add m$n
    ip link add v$n type veth peer name eth0 netns m$n
    ip link set v$n master br0 up
    ip -n m$n addr add 10.77.0.$n/24 dev eth0
    ip -n m$n link set eth0 up && ip -n m$n link set lo up
    ip netns exec m$n /usr/sbin/sshd -D -h "$1/host" -f /dev/null -E "$1/log$n" \
        -o AuthorizedKeysFile="$1/authorized" -o StrictModes=no -o PermitRootLogin=yes -o UsePAM=no \
        -o PidFile=none &
done
touch "$1/ready"
read -r _"#;
        let holder = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "bash",
                "-euc",
                script,
                "x",
            ])
            .arg(&dir)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let machines = Machines { dir, holder };
        // Asked for until they answer: a machine takes its time to start.
        for host in ["10.77.0.1", "10.77.0.2"] {
            let answers = || {
                let words = format!("{} {host} true", machines.ssh());
                let words: Vec<&str> = words.split(' ').collect();
                Command::new(words[0]).args(&words[1..]).output().unwrap().status.success()
            };
            assert!(
                (0..100).any(|_| {
                    let up = answers();
                    if !up {
                        std::thread::sleep(std::time::Duration::from_millis(100));
                    }
                    up
                }),
                "{host} does not answer"
            );
        }
        machines
    }

    /// The command that reaches them: ssh, from where they are.
    fn ssh(&self) -> String {
        let child =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.holder.id())).unwrap();
        let key = self.dir.join("user");
        format!(
            "nsenter --net --target {} ssh -q -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes",
            child.trim(),
            key.display()
        )
    }

    /// How often each was logged into for work.
    fn served(&self) -> Vec<usize> {
        let count = |n: usize| {
            let log = fs::read_to_string(self.dir.join(format!("log{n}"))).unwrap();
            // One of them was the question whether it is there.
            log.matches("Accepted publickey").count().saturating_sub(1)
        };
        vec![count(1), count(2)]
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
