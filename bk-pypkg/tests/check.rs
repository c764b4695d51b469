//! `bk-pypkg check`, beside validate-pyproject where a file is wrong by PEP 621, 639 or 735.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{WHO, World};

/// Each thing that can be wrong: what is put in for what, the rule that it breaks, and whether the file as
/// such is against its specification, as validate-pyproject says.
const WRONG: [(&str, &str, &str, bool); 26] = [
    ("name = \"lib\"", "name = \"-lib\"", "name", true),
    ("name = \"lib\"", "", "name", true),
    ("version = \"0.1.0\"", "version = \"one\"", "version", true),
    ("version = \"0.1.0\"", "", "version", true),
    ("version = \"0.1.0\"", "version = \"1\"\ndynamic = [\"version\"]", "version", true),
    ("description = \"x\"", "", "description", false),
    ("readme = \"README.md\"", "readme = \"READ.md\"", "readme", false),
    ("readme = \"README.md\"", "readme = { file = \"README.md\", text = \"x\" }", "readme", true),
    ("license = \"MIT\"", "license = \"My own\"", "license", true),
    ("license = \"MIT\"", "license = { file = \"LICENSE\" }", "license", false),
    ("license = \"MIT\"", "license = \"MIT\"\nlicense-files = []", "license", false),
    (
        "classifiers = [",
        "classifiers = [\n\"License :: OSI Approved :: MIT License\",",
        "classifiers",
        false,
    ),
    ("requires-python = \">=3.10\"", "", "python", false),
    ("requires-python = \">=3.10\"", "requires-python = \">=three\"", "python", true),
    ("dependencies = []", "dependencies = [\"a b\"]", "dependencies", true),
    ("dependencies = []", "dependencies = \"a\"", "dependencies", true),
    ("docs = [", "more = [{ include-group = \"nothing\" }]\ndocs = [", "dependencies", true),
    ("lib.__main__:main", "lib main", "scripts", true),
    ("lib.__main__:main", "lib.other:main", "scripts", false),
    ("[project.scripts]", "[project.urls]\nx = \"nowhere\"\n[project.scripts]", "urls", false),
    (
        "[project.scripts]",
        "[project.urls]\nx23456789012345678901234567890123 = \"https://x.example\"\n[project.scripts]",
        "urls",
        false,
    ),
    ("authors = [{ name = \"Jane Doe\", email", "authors = [{ nick", "authors", true),
    ("build-backend = \"hatchling.build\"", "", "build-system", false),
    ("requires = [\"hatchling\"]", "", "build-system", true),
    ("authors = [{ name = \"Jane Doe\", email = \"jane@example.com\" }]", "", "authors", false),
    ("[project.scripts]", "[project.script]", "keys", true),
];

#[test]
fn what_is_wrong_is_found() {
    let world = World::new();
    world.bk(&[&["new", "lib", "-d", "x"], &WHO[..]].concat()).ok();
    assert_eq!(world.bk(&["check", "lib"]).ok(), "");
    let good = world.read("lib/pyproject.toml");
    let mut files = vec!["lib/pyproject.toml".to_owned()];
    for (number, (from, to, rule, _)) in WRONG.into_iter().enumerate() {
        assert!(good.contains(from), "{from}");
        let bad = good.replacen(from, to, 1);
        files.push(format!("{number}.toml"));
        world.write(&format!("{number}.toml"), &bad);
        world.write("lib/pyproject.toml", &bad);
        let ran = world.bk(&["check", "lib"]).code(3);
        let rules: Vec<&str> =
            ran.stdout.lines().filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(rules, [rule], "{to}: {}", ran.stdout);
        let ignored = world.bk(&["check", "lib", "--ignore", rule]);
        assert_eq!((ignored.code, ignored.stdout.as_str()), (0, ""), "{to}");
    }
    world.write("lib/pyproject.toml", &good);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut command = world.command("validate-pyproject", "", &files);
    // It would fetch the list of classifiers.
    command.env("VALIDATE_PYPROJECT_NO_NETWORK", "1");
    let said = world.ran(command).stdout;
    assert!(said.contains("Valid file: lib/pyproject.toml"), "{said}");
    for (number, (_, to, _, against)) in WRONG.into_iter().enumerate() {
        let refused = said.contains(&format!("Invalid file: {number}.toml"));
        assert_eq!(refused, against, "{to}: {said}");
    }
}

#[test]
fn what_is_missing_is_found() {
    for (file, rule) in [
        ("README.md", "readme"),
        ("LICENSE", "license"),
        ("src/lib/py.typed", "typed"),
        ("src/lib/__main__.py", "scripts"),
        ("tests", "tests"),
        ("docs", "docs"),
    ] {
        let world = World::new();
        world.bk(&[&["new", "lib"], &WHO[..]].concat()).ok();
        world.run("rm", "lib", &["-r", file]).ok();
        let said = world.bk(&["check", "lib", "--json"]).code(3).stdout;
        assert!(said.starts_with(&format!(r#"{{"type":"finding","rule":"{rule}""#)), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let world = World::new();
    world.bk(&["check", "."]).code(1).says("bk-pypkg new");
    world.bk(&["check", "--ignore", "nothing"]).code(2).says("there are build-system, keys, name");
    world.write("pyproject.toml", "[project\n");
    world.bk(&["check"]).code(1).says("cannot read");
    world.write("pyproject.toml", "project = 1\nbuild-system = 2\ndependency-groups = 3\n");
    world.bk(&["check"]).code(3).says("[project] is no table");
}
