//! `bk-template check` and `vars`.

#![allow(clippy::unwrap_used)]

mod common;

use common::World;

#[test]
fn what_is_wrong_is_told_and_what_is_asked_is_listed() {
    let world = World::new();
    world.write(
        "t/copier.yml",
        "name: {type: str, default: x, help: What?}\nn: 3\nc: {choices: [a, b]}\n",
    );
    world.write("t/good.jinja", "{{ name }}{% set y = 1 %}{{ y }}\n");
    assert_eq!(world.bk(&["vars", "t"]).ok(), "name\tstr\tx\tWhat?\nn\tint\t3\t\nc\tyaml\t\t\n");
    let json = world.bk(&["vars", "--json", "t"]).ok();
    assert!(json.lines().last().unwrap().contains(r#""choices":["a","b"]"#), "{json}");
    world.bk(&["check", "t"]).code(3).says("cannot answer 'c'");
    assert_eq!(world.bk(&["check", "t", "-D", "c=a"]).ok(), "");
    world.write("t/sub/bad.jinja", "\n{{ nmae }}\n");
    let ran = world.bk(&["check", "t", "-D", "c=a"]).code(3);
    assert_eq!(ran.stdout.lines().count(), 2);
    ran.says("'sub/bad.jinja' asks for 'nmae'").says("in 'sub/bad.jinja', line 2");
    world.write("t/sub/bad.jinja", "{% if %}");
    world.bk(&["check", "t", "-D", "c=a"]).code(3).says("syntax error").says("sub/bad.jinja");
    world.bk(&["check", "missing"]).code(1).says("no such folder");
}
