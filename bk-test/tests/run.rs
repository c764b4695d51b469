//! `bk-test run`: beside pytest, unittest and doctest themselves.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use common::World;
use serde_json::Value;

const PYPROJECT: &str = "[build-system]\nrequires = ['flit_core']\nbuild-backend = 'flit_core.buildapi'\n\
    [project]\nname = 'demo'\nversion = '1.0'\ndescription = 'd'\n";

/// Outcomes by id, and the summary.
fn outcomes(json: &str) -> (BTreeMap<String, String>, Value) {
    let records: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let tests = records.iter().filter(|record| record["type"] == "test");
    let all: BTreeMap<_, _> = tests.map(|t| (text(&t["id"]), text(&t["outcome"]))).collect();
    let summary = records.last().unwrap().clone();
    assert_eq!(summary["type"], "summary");
    assert_eq!(records.len(), all.len() + 1, "a test is counted twice: {json}");
    (all, summary)
}

/// The cases of JUnit's XML, with how they ended, read by Python.
fn cases(world: &World, xml: &str) -> String {
    let script = "import sys, xml.etree.ElementTree as E\n\
        for c in sorted(E.parse(sys.argv[1]).iter('testcase'), key=lambda c: (c.get('classname'), c.get('name'))):\n \
        print(c.get('classname'), c.get('name'), sorted(e.tag for e in c if e.tag in ('failure', 'error', 'skipped')))";
    world.run("/usr/bin/python3", &["-c", script, xml]).ok()
}

/// The interpreter of the environment with pytest that was made.
fn environment(world: &World) -> String {
    let environments = world.path("r/var/cache/buildkit/test/environments");
    let all = environments.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut all = all.map(|dir| dir.join("bin/python").to_str().unwrap().to_owned());
    all.find(|python| {
        std::path::Path::new(python).is_file()
            && world.run(python, &["-c", "import pytest"]).code == 0
    })
    .unwrap()
}

#[test]
fn published_projects_are_tested_as_pytest_tests_them() {
    let world = World::new();
    for (name, version) in [("itsdangerous", "2.2.0"), ("markupsafe", "3.0.2")] {
        let asked = format!("{name}=={version}");
        let download = ["-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", &asked];
        world.run("/usr/bin/python3", &download).ok();
        let sdist = format!("{name}-{version}.tar.gz");
        // What itsdangerous has pinned is not for all versions of Python; pytest is enough for its tests.
        let words =
            ["--with", "freezegun", "-r", "/dev/null", "--runner", "pytest", "--junit", "ours.xml"];
        world.bk(&[&["--root", "r", "run", &sdist][..], &words].concat()).ok();
        world.run("tar", &["-xf", &sdist]).ok();
        let folder = world.path(&format!("{name}-{version}"));
        let theirs = world.path("theirs.xml");
        let xml = format!("--junit-xml={}", theirs.display());
        let python = environment(&world);
        let words = ["-C", folder.to_str().unwrap(), &python, "-m", "pytest", "-q", &xml];
        world.run("/usr/bin/env", &words).ok();
        let theirs = cases(&world, theirs.to_str().unwrap());
        assert!(theirs.lines().count() > 50, "{theirs}");
        assert!(cases(&world, "ours.xml") == theirs, "{name}: {theirs}");
        fs::remove_dir_all(world.path("r")).unwrap();
    }
}

#[test]
fn what_pytest_says_of_a_project_is_told() {
    let world = World::new();
    world.write("p/pyproject.toml", PYPROJECT);
    world.write("p/demo/__init__.py", "answer = 42\n");
    world.write(
        "p/tests/test_demo.py",
        "import demo, pytest, unittest\n\
         def test_passes(): assert demo.answer == 42\n\
         def test_fails(): assert demo.answer == 43, '<&\"\\x01\\n'\n\
         @pytest.mark.parametrize('x', ['a/b', 'c::d', 'e[f'])\n\
         def test_many(x): pass\n\
         @pytest.mark.skip(reason='why')\n\
         def test_skipped(): pass\n\
         @pytest.mark.xfail\n\
         def test_expected(): assert 0\n\
         @pytest.fixture\n\
         def broken(): raise ValueError('no')\n\
         def test_broken(broken): pass\n\
         class TestIt(unittest.TestCase):\n    def test_case(self): print('junk', flush=True)\n",
    );
    let ran = world.bk(&["--root", "r", "run", "p", "--junit", "ours.xml"]).code(1);
    assert_eq!(
        ran.stdout.lines().collect::<Vec<_>>(),
        ["tests/test_demo.py::test_fails", "tests/test_demo.py::test_broken"]
    );
    let python = environment(&world);
    let theirs = world.path("theirs.xml");
    let xml = format!("--junit-xml={}", theirs.display());
    let folder = world.path("p");
    let theirs_ran = world.run(
        "/usr/bin/env",
        &["-C", folder.to_str().unwrap(), &python, "-m", "pytest", "-q", &xml],
    );
    assert_eq!(theirs_ran.code, 1, "{}", theirs_ran.stdout);
    assert_eq!(cases(&world, "ours.xml"), cases(&world, theirs.to_str().unwrap()));
    // Nothing is built or installed again, and TAP has what JSON has.
    let again = world.bk(&["--root", "r", "-v", "run", "p", "--tap"]).code(1);
    assert!(!again.stderr.contains("making the environment"), "{}", again.stderr);
    let lines: Vec<&str> = again.stdout.lines().collect();
    assert_eq!((lines[0], *lines.last().unwrap()), ("TAP version 14", "1..9"));
    assert!(again.stdout.contains("# SKIP why\n"), "{}", again.stdout);
    // A dependency that is other is another environment.
    let changed = PYPROJECT.to_owned() + "dependencies = ['six']\n";
    world.write("p/pyproject.toml", changed);
    world.write("p/tests/test_demo.py", "import six\ndef test_it(): pass\n");
    let (_, summary) = outcomes(&world.bk(&["--root", "r", "run", "p", "--json"]).ok());
    assert_eq!((&summary["passed"], &summary["runner"]), (&1.into(), &"pytest".into()));
    // A runner's own status (pytest's 4: usage), and its arguments.
    world.bk(&["--root", "r", "run", "p", "--", "--no-such-option"]).code(4);
}

#[test]
fn what_does_not_ship_is_not_tested() {
    let world = World::new();
    let pyproject = PYPROJECT.replace("flit_core.buildapi", "setuptools.build_meta");
    world.write("p/pyproject.toml", pyproject.replace("flit_core", "setuptools"));
    world.write("p/demo/__init__.py", "");
    // setuptools ships no data that is not named.
    world.write("p/demo/data.txt", "x");
    world.write(
        "p/test_demo.py",
        "import os, demo\ndef test_it(): open(os.path.join(os.path.dirname(demo.__file__), 'data.txt'))\n\
         def test_leaves(): open('left', 'w')\n",
    );
    let ran = world.bk(&["--root", "r", "run", "p"]).code(1);
    assert_eq!(ran.stdout, "test_demo.py::test_it\n", "{}", ran.stderr);
    ran.says("No such file or directory");
    let names: Vec<String> = world.tree("p").into_keys().collect();
    assert_eq!(names, ["demo/__init__.py", "demo/data.txt", "pyproject.toml", "test_demo.py"]);
    assert_eq!(world.bk(&["--root", "r", "run", "--editable", "p"]).ok(), "");
}

#[test]
fn unittest_suites_and_examples_are_run_by_those_who_wrote_them() {
    let world = World::new();
    world.write("u/demo.py", "def f():\n    '''\n    >>> f()\n    1\n    '''\n    return 1\n");
    let cases = "import unittest\n\
        class A(unittest.TestCase):\n    def test_a(self): pass\n    def test_b(self): self.fail('no')\n    \
        @unittest.skip('why')\n    def test_c(self): pass\n    \
        @unittest.expectedFailure\n    def test_d(self): self.fail()\n    \
        def test_e(self):\n        for i in range(2):\n            with self.subTest(i=i): self.assertEqual(i, 0)\n";
    world.write("u/tests/__init__.py", "");
    world.write("u/tests/test_a.py", cases);
    let (all, summary) = outcomes(&world.bk(&["--root", "r", "run", "u", "--json"]).code(1).stdout);
    let folder = world.path("u");
    let python = |args: &[&str]| {
        let words = [&["-C", folder.to_str().unwrap(), "/usr/bin/python3"], args].concat();
        world.run("/usr/bin/env", &words)
    };
    let theirs = python(&["-m", "unittest", "-v"]);
    theirs.says("Ran 5 tests").says("failures=2, skipped=1, expected failures=1");
    let expected = ["passed", "failed", "skipped", "xfailed", "failed"];
    let ids = ["a", "b", "c", "d", "e"].map(|name| format!("tests.test_a.A.test_{name}"));
    assert_eq!(all, ids.into_iter().zip(expected.map(str::to_owned)).collect());
    assert_eq!(summary["runner"], "unittest");
    // A suite that setup.py names is run instead; setup.py itself is not, but to build.
    world.write(
        "u/setup.py",
        "from setuptools import setup\nsetup(name='demo', version='1', py_modules=['demo'], test_suite='tests.all')\n",
    );
    world.write(
        "u/tests/all.py",
        "import unittest, doctest, demo\nfrom tests.test_a import A\n\
        def suite():\n    return unittest.TestSuite([A('test_a'), doctest.DocTestSuite(demo)])\n\
        class B(unittest.TestCase):\n    def test_own(self): pass\n",
    );
    let (all, summary) = outcomes(
        &world.bk(&["--root", "r", "run", "u", "--json", "--runner", "suite"]).code(1).stdout,
    );
    assert_eq!(summary["runner"], "suite");
    assert!(all.contains_key("demo.f") && all.contains_key("tests.all.B.test_own"), "{all:?}");
    // With nothing else, examples are the tests.
    world.write(
        "d/demo.py",
        "'''\n>>> 1 + 1\n2\n'''\ndef f():\n    '''\n    >>> f()\n    1\n    '''\n    return 2\n",
    );
    world.write("d/README.md", "```pycon\n>>> print(1)\n1\n```\n");
    let (all, summary) = outcomes(&world.bk(&["--root", "r", "run", "d", "--json"]).code(1).stdout);
    world
        .run("/usr/bin/python3", &["-m", "doctest", "d/demo.py"])
        .code(1)
        .says("1 of   1 in demo.f");
    let expected = [
        ("README.md::README.md", "passed"),
        ("demo.py::demo", "passed"),
        ("demo.py::demo.f", "failed"),
    ];
    assert_eq!(all, expected.map(|(id, outcome)| (id.to_owned(), outcome.to_owned())).into());
    assert_eq!(summary["runner"], "doctest");
    // What pytest's own configuration collects is not run again; what it leaves out is.
    world.write("d/pytest.ini", "[pytest]\naddopts = --doctest-modules\n");
    let ran = world.bk(&["--root", "r", "run", "d", "--json"]).code(1);
    let (again, summary) = outcomes(&ran.stdout);
    assert_eq!(again, all);
    assert_eq!(summary["runner"], "pytest+doctest");
}

#[test]
fn options_and_names_that_a_project_smuggles_in_are_harmless() {
    let world = World::new();
    let include = |text: &str| {
        world.write("p/pyproject.toml", PYPROJECT.to_owned() + "[dependency-groups]\n" + text)
    };
    let test = |module: &str| {
        let case = "class A(unittest.TestCase):\n    def test_a(self): pass\n";
        world.write("p/test_demo.py", format!("import unittest, {module}\n{case}"));
    };
    world.write("p/demo.py", "'''d'''\n");
    test("os");
    include("test = ['--no-index']\n");
    world.bk(&["--root", "r", "run", "p"]).code(1).says("'--no-index' is no requirement");
    include("test = [{include-group = 'b'}]\nb = [{include-group = 'TEST'}]\n");
    world.bk(&["--root", "r", "run", "p"]).code(1).says("includes itself");
    // Names are compared as PEP 735 says.
    include("test = [{include-group = 'B_x'}]\nb-X = ['six']\n");
    test("six");
    let name = std::ffi::OsStr::from_bytes(b"test_\xff.py");
    fs::copy(world.path("p/test_demo.py"), world.path("p").join(name)).unwrap();
    assert_eq!(world.bk(&["--root", "r", "run", "p"]).ok(), "");
}

#[test]
fn tests_that_hang_end_or_fork_do_not_take_the_others_along() {
    let world = World::new();
    world.write(
        "p/test_it.py",
        "import os, signal, sys, time\n\
         def test_a(): pass\n\
         def test_ends(): os._exit(0)\n\
         def test_killed(): os.kill(os.getpid(), signal.SIGSEGV)\n\
         def test_hangs(): os.system('sleep 3217 & sleep 3217')\n\
         def test_forks():\n    if os.fork() == 0: sys.exit(0)\n    os.wait()\n\
         def test_junk(): os.write(1, b'\\xff{\"event\":\"test\"}\\n')\n\
         def test_z(): pass\n",
    );
    let ran = world.bk(&["--root", "r", "run", "p", "--json", "--timeout", "2"]).code(1);
    let (all, _) = outcomes(&ran.stdout);
    let bad = ["ends", "killed", "hangs"].map(|name| format!("test_it.py::test_{name}"));
    for (id, outcome) in &all {
        assert_eq!(outcome, if bad.contains(id) { "failed" } else { "passed" }, "{id}");
    }
    assert_eq!(all.len(), 7);
    let left = world.run("pgrep", &["-f", "sleep 3217"]);
    assert_eq!(left.stdout, "");
}

#[test]
fn what_cannot_be_tested_is_said() {
    let world = World::new();
    world.write("empty/demo.py", "");
    world.bk(&["--root", "r", "run", "empty"]).code(5).says("no test found").says("looked for");
    world.write("broken/pyproject.toml", "[project\n");
    world.write("broken/test_a.py", "def test_a(): pass\n");
    world.bk(&["--root", "r", "run", "broken"]).code(1).says("pyproject.toml");
    world.write("fails/setup.py", "raise SystemExit('the reason')\n");
    world.write("fails/test_a.py", "def test_a(): pass\n");
    world
        .bk(&["--root", "r", "run", "fails"])
        .code(1)
        .says("cannot build the wheel")
        .says("the reason");
    world.write("import/test_a.py", "import no_such_module\ndef test_a(): pass\n");
    let ran = world.bk(&["--root", "r", "run", "import"]).code(2);
    assert_eq!(ran.stdout, "test_a.py\n");
    ran.says("there is no module 'no_such_module'").says("--with");
    world.bk(&["--root", "r", "run", "missing"]).code(1).says("cannot open 'missing'");
    let tar = "import io, sys, tarfile\nt = tarfile.open(sys.argv[1], 'w:gz')\n\
        m = tarfile.TarInfo(sys.argv[2])\nm.type = tarfile.SYMTYPE if len(sys.argv) > 3 else tarfile.REGTYPE\n\
        m.linkname = '/etc/passwd'\nt.addfile(m)\nt.close()";
    for (name, words) in [("up", &["a/../../x"][..]), ("root", &["/x"]), ("link", &["a/x", "link"])]
    {
        let file = format!("{name}.tar.gz");
        world.run("/usr/bin/python3", &[&["-c", tar, &file], words].concat()).ok();
        world.bk(&["--root", "r", "run", &file]).code(1).says("leads out of it");
    }
    let bomb = "import io, sys, tarfile\nt = tarfile.open(sys.argv[1], 'w:gz')\n\
        m = tarfile.TarInfo('a/x')\nm.size = 300 << 20\nt.addfile(m, open('/dev/zero', 'rb'))\nt.close()";
    world.run("/usr/bin/python3", &["-c", bomb, "bomb.tar.gz"]).ok();
    world.bk(&["--root", "r", "run", "bomb.tar.gz"]).code(1).says("far more than");
    let left = fs::read_dir(world.path("r/var/cache/buildkit/test")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with(".bk-")), "{left:?}");
    world.write(
        "u/test_a.py",
        "import unittest\nclass A(unittest.TestCase):\n    def test_a(self): pass\n",
    );
    world
        .bk(&["--root", "r", "run", "u", "--", "-k", "a"])
        .code(2)
        .says("only pytest takes arguments");
    // pytest can be asked to run what unittest would.
    world.bk(&["--root", "r", "run", "u", "--runner", "pytest", "--", "-k", "a"]).ok();
}
