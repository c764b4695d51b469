//! Built on this Debian for the next one, and installed there by its own apt, which has another
//! solver and another verifier of signatures (sqv).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use bk::Console;
use common::{Server, done, programs, said, tool};
use xtask::machine::{self, Machine};

const SUITE: &str = "trixie";

/// Builds flask and all it needs with a revision, and publishes it as binaries and source.
fn publish(dir: &Path, revision: &str) {
    let mut build = tool("bk-deb", dir);
    build.args(["build", "flask", "--all", "--source", "--suite", SUITE, "-o", revision]);
    build.args(["--packaging-version", revision]).stdout(Stdio::piped());
    build.arg("--cache").arg(programs().join("../journeys/cache"));
    let mut build = build.spawn().unwrap();
    let mut add = tool("bk-repo", dir);
    done(add.args(["add", "repo", "-"]).stdin(build.stdout.take().unwrap()));
    assert!(build.wait().unwrap().success());
}

/// Runs apt-get in the machine: it warns of nothing.
fn apt(machine: &Machine, words: &[&str]) -> String {
    let mut command = machine.command(&["apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0"]);
    let output = command.args(words).output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{words:?}: {text}");
    let warns = |line: &str| ["W:", "E:", "Err:"].iter().any(|start| line.starts_with(start));
    assert!(!text.lines().any(warns), "{words:?}: {text}");
    text
}

fn version(machine: &Machine, package: &str) -> String {
    machine.run(&["dpkg-query", "-W", "-f", "${Version}", package]).unwrap()
}

#[test]
fn the_next_debian_updates_installs_upgrades_pins_and_gets_sources() {
    let journeys = programs().join("../journeys");
    bk::file::create_dir(&journeys).unwrap();
    let tarball = machine::tarball(&journeys, Some(SUITE), None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::unpack(&tarball, dir.path(), &Console::silent()).unwrap();
    done(tool("bk-repo", dir.path()).args(["init", "repo", "--suite", SUITE]));
    publish(dir.path(), "1");
    let mut serve = tool("bk-repo", dir.path());
    let server = Server::start(serve.args(["serve", "repo", "--listen", "127.0.0.1:0"]));
    let uri = format!("http://127.0.0.1:{}/", server.port);
    let mut sources = tool("bk-repo", dir.path());
    let text = done(sources.args(["sources", "repo", "--uri", &uri]));
    assert!(text.contains("deb-src"), "{text}");
    bk::file::write(&machine.path("etc/apt/sources.list.d/buildkit.sources"), text).unwrap();

    // All from here, whatever Debian has.
    let pin = |version: &str| {
        let text = format!(
            "Package: *\nPin: origin 127.0.0.1\nPin-Priority: 990\n\n\
             Package: python3-flask\nPin: version {version}\nPin-Priority: 1001\n"
        );
        bk::file::write(&machine.path("etc/apt/preferences.d/own"), text).unwrap();
    };
    pin("*-1");
    apt(&machine, &["update"]);
    apt(&machine, &["install", "python3-flask"]);
    let first = version(&machine, "python3-flask");
    assert!(first.ends_with("-1"), "{first}");
    // It is built for the Python there, with a part in C.
    let script = "import flask, markupsafe._speedups, sys; print(sys.version_info[:2])";
    assert_eq!(machine.run(&["python3", "-c", script]).unwrap(), "(3, 13)\n");
    machine.run(&["flask", "--help"]).unwrap();

    // While it is pinned it stays, then it is upgraded, and goes back where it is pinned again.
    publish(dir.path(), "2");
    apt(&machine, &["update"]);
    apt(&machine, &["dist-upgrade"]);
    assert_eq!(version(&machine, "python3-flask"), first);
    assert!(version(&machine, "python3-werkzeug").ends_with("-2"));
    pin("*-2");
    apt(&machine, &["dist-upgrade"]);
    assert!(version(&machine, "python3-flask").ends_with("-2"));
    pin("*-1");
    apt(&machine, &["install", "--allow-downgrades", "python3-flask"]);
    assert_eq!(version(&machine, "python3-flask"), first);

    let sources = machine.path("tmp/sources");
    bk::file::create_dir(&sources).unwrap();
    let fetch =
        ["sh", "-c", "cd /tmp/sources && exec apt-get -q source --download-only python3-flask"];
    machine.run(&fetch).unwrap();
    let dsc = std::fs::read_dir(&sources).unwrap().map(|entry| entry.unwrap().path());
    let dsc = dsc.into_iter().find(|path| path.extension().is_some_and(|e| e == "dsc")).unwrap();
    let mut unpack = Command::new("dpkg-source");
    done(unpack.args(["--no-check", "-x"]).arg(&dsc).arg(dir.path().join("unpacked")));

    apt(&machine, &["purge", "python3-flask", "python3-markupsafe"]);
    assert!(!machine.path("usr/lib/python3/dist-packages/markupsafe").exists());
}
