//! `bk-test matrix`.

#![allow(clippy::unwrap_used)]

mod common;

use common::World;
use serde_json::Value;

#[test]
fn each_interpreter_has_its_own_environment_and_its_place_in_the_output() {
    let world = World::new();
    world.write(
        "p/test_it.py",
        "import sys, unittest\n\
         class A(unittest.TestCase):\n    def test_a(self): pass\n    \
         def test_b(self): self.assertNotIn('/usr/bin', sys.executable)\n",
    );
    // Two names of an interpreter, the first of which takes its time to start, and one that is not there.
    world.executable("slow", "#!/bin/sh\nsleep 1\nexec /usr/bin/python3 \"$@\"\n");
    let slow = world.path("slow");
    let slow = slow.to_str().unwrap();
    let words =
        ["--root", "r", "matrix", "p", "--python", slow, "--python", "/usr/bin/python3", "-j", "2"];
    let version = world
        .run("/usr/bin/python3", &["-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        .ok();
    let said = world.bk(&words).ok();
    let row = "2 passed, 0 failed, 0 skipped\tunittest";
    assert_eq!(said, format!("{slow}\t{row}\n/usr/bin/python3\t{row}\n"));
    let more = [&words[..], &["--python", "./no-such-python", "--json"]].concat();
    let ran = world.bk(&more).code(1);
    let records: Vec<Value> =
        ran.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let kinds: Vec<&str> = records.iter().map(|r| r["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["test", "test", "summary", "test", "test", "summary", "summary"]);
    assert_eq!(records[2]["python"], version.trim());
    assert_eq!(
        (&records[0]["interpreter"], &records[5]["interpreter"]),
        (&slow.into(), &"/usr/bin/python3".into())
    );
    assert!(records[6]["error"].as_str().unwrap().contains("no-such-python"));
    // What one says comes whole, and after what the one before it said.
    assert_eq!(ran.stderr.matches("Ran 2 tests").count(), 2, "{}", ran.stderr);
    world.bk(&["--root", "r", "matrix", "p"]).code(2);
}
