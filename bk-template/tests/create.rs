//! `bk-template create`, with copier as the oracle of what is made.

#![allow(clippy::unwrap_used)]

mod common;

use common::World;

/// A project with everything that is hard to give back.
fn example(world: &World) {
    world.write("example/my_tool/__init__.py", "class MyToolError(Exception):\n    'of my-tool'\n");
    world.write("example/my_tool/data/{{ x }}.txt", "braces in a name\n");
    world.write(
        "example/README.md",
        "# My Tool\n\nmy-tool, MY_TOOL, myTool by Jane Doe <jane@example.com>\n",
    );
    world.write("example/ci.yml", "run: ${{ matrix.x }} {% raw %} {# c #} for my-tool {");
    world.write("example/plain.yml", "run: ${{ matrix.x }} {% raw\n");
    world.write("example/copier.yml", "a: b\n");
    world.write("example/~my-tool.pyc", b"\0\xff\xfe");
    world.write("example/odd.jinja", "{{ nothing }}\n");
    world.write("example/no-end-of-line", "my_tool");
    world.write("example/lines", "a\n\n\n");
    world.write("example/é/ü.txt", "ä my-tool ß\n");
    world.write("example/.hidden/x", "");
    world.write("example/.gitignore", "build/\n");
    world.write("example/build/my-tool", "what is built");
    world.write("example/.git/HEAD", "ref");
    world.executable("example/bin/my-tool", "#!/bin/sh\nexec mytools-of-others\n");
    world.link("example/link", "bin/my-tool");
}

const REPLACE: [&str; 6] =
    ["-r", "my-tool=name", "-r", "Jane Doe=author", "-r", "jane@example.com=email"];

fn create(world: &World) -> common::Ran {
    world.bk(&[&["create", "example", "-o", "template"], &REPLACE[..]].concat())
}

#[test]
fn the_example_comes_back_and_another_one_is_like_it() {
    let world = World::new();
    example(&world);
    assert_eq!(create(&world).ok(), "template\n");
    let mut expected = world.tree("example");
    expected.retain(|name, _| !name.starts_with(".git/") && !name.starts_with("build/"));

    let printed = world.bk(&["new", "template", "again", "--defaults"]).ok();
    assert_eq!(printed.lines().count(), expected.len());
    assert_eq!(world.tree("again"), expected);
    assert_eq!(world.run("diff", &["-r", "again/my_tool", "example/my_tool"]).ok(), "");

    let answers = ["-D", "name=other-thing", "-D", "author=Eve", "-D", "email=e@example.com"];
    world.bk(&[&["new", "template", "other"], &answers[..]].concat()).ok();
    let other = world.tree("other");
    let text = |name: &str| String::from_utf8(other[name].0.clone()).unwrap();
    assert_eq!(
        text("other_thing/__init__.py"),
        "class OtherThingError(Exception):\n    'of other-thing'\n"
    );
    assert_eq!(
        text("README.md"),
        "# Other Thing\n\nother-thing, OTHER_THING, otherThing by Eve <e@example.com>\n"
    );
    assert_eq!(text("bin/other-thing"), "#!/bin/sh\nexec mytools-of-others\n");
    assert!(other["bin/other-thing"].1);

    // And by whoever else reads such templates.
    for (to, answers) in [("copier-again", &[][..]), ("copier-other", &answers[..])] {
        let answers: Vec<&str> =
            answers.iter().map(|word| if *word == "-D" { "-d" } else { word }).collect();
        let fixed = ["copy", "--quiet", "--defaults", "template", to];
        world.run("copier", &[&fixed[..], &answers].concat()).ok();
    }
    let without_links = |name: &str| {
        let mut tree = world.tree(name);
        tree.remove("link");
        tree
    };
    assert_eq!(without_links("copier-again"), without_links("again"));
    assert_eq!(without_links("copier-other"), without_links("other"));
    assert_eq!(world.bk(&["check", "template", "--example", "example"]).ok(), "");
    world.bk(&["check", "template", "--example", "other"]).code(3).says("is made otherwise");
}

#[test]
fn what_cannot_be_done_leaves_nothing() {
    let world = World::new();
    example(&world);
    let create = |words: &[&str]| world.bk(&[&["create", "example", "-o", "t"], words].concat());
    create(&["-r", "nowhere=x"]).code(1).says("'nowhere' is nowhere in the example");
    create(&["-r", "mytool=x", "-r", "mytool=y"]).code(2).says("both 'x' and 'y'");
    create(&["-r", "my-tool"]).code(2).says("VALUE=NAME");
    create(&["-r", "my-tool=1x"]).code(2).says("is no name for a variable");
    create(&[]).code(2);
    world.link("example/out", "../../etc");
    create(&["-r", "my-tool=name"]).code(1).says("--exclude '/out'");
    assert!(!world.path("t").exists());
    create(&["-r", "my-tool=name", "--exclude", "/out", "-n"]).code(0);
    assert!(!world.path("t").exists());
    create(&["-r", "my-tool=name", "--exclude", "/out"]).ok();
    create(&["-r", "my-tool=name", "--exclude", "/out"]).code(1).says("is there already");
    world.bk(&["create", "missing", "-o", "u", "-r", "x=y"]).code(1).says("no such folder");
    let left: Vec<_> = std::fs::read_dir(world.path("")).unwrap().collect();
    assert_eq!(left.len(), 2);
}

#[test]
fn a_value_that_would_run_together_with_another_is_refused_or_comes_back() {
    let world = World::new();
    // One is a part of the other; one begins where the other ends.
    world.write("example/a", "alpha-beta alpha, beta alphabeta gamma.alpha-beta {{alpha}}{beta}\n");
    let words =
        ["create", "example", "-o", "t", "-r", "alpha-beta=x", "-r", "alpha=y", "-r", "beta=z"];
    world.bk(&words).ok();
    world.bk(&["new", "t", "again", "--defaults"]).ok();
    assert_eq!(world.tree("again"), world.tree("example"));
    let new = ["new", "t", "other", "-D", "x=one-two", "-D", "y=three", "-D", "z=four"];
    world.bk(&new).ok();
    let expected = "one-two three, four onetwo gamma.one-two {{three}}{four}\n";
    assert_eq!(world.tree("other")["a"].0, expected.as_bytes());
}
