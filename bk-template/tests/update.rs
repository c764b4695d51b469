//! `bk-template update`, with git's merge of the same three states as the oracle.

#![allow(clippy::unwrap_used)]

mod common;

use common::World;

/// Lines of a file, some of them other.
fn lines(other: &[(usize, &str)]) -> String {
    let line = |i: usize| {
        let found = other.iter().find(|(at, _)| *at == i);
        found.map_or_else(
            || format!("line {i} of {{{{ name }}}}\n"),
            |(_, text)| format!("{text}\n"),
        )
    };
    (0..20).map(line).collect()
}

fn templates(world: &World) {
    let old = [
        ("both.txt.jinja", lines(&[])),
        ("theirs.txt.jinja", lines(&[])),
        ("ours.txt.jinja", lines(&[])),
        ("gone.txt", "x\n".to_owned()),
        ("deleted.txt.jinja", lines(&[])),
        ("same.txt", "s\n".to_owned()),
        ("run.sh", "#!/bin/sh\n".to_owned()),
    ];
    for (name, text) in &old {
        world.write(&format!("old/{name}"), text);
        world.write(&format!("new/{name}"), text);
    }
    world.write("old/copier.yml", "name: x\n");
    world.write("new/copier.yml", "name: x\nmore: {type: str, default: \"of {{ name }}\"}\n");
    world.write("new/both.txt.jinja", lines(&[(2, "theirs"), (3, "and {{ more }}")]));
    world.write("new/theirs.txt.jinja", lines(&[(7, "theirs")]));
    world.write("new/deleted.txt.jinja", lines(&[(7, "theirs")]));
    world.write("new/new/{{ name }}.txt", "new\n");
    world.executable("new/run.sh", "#!/bin/sh\n");
    std::fs::remove_file(world.path("new/gone.txt")).unwrap();
}

fn change(world: &World, project: &str, both: &[(usize, &str)]) {
    let text = |other: &[(usize, &str)]| lines(other).replace("{{ name }}", "foo");
    world.write(&format!("{project}/both.txt"), text(both));
    world.write(&format!("{project}/ours.txt"), text(&[(1, "mine")]));
    world.write(&format!("{project}/mine.txt"), "mine\n");
    std::fs::remove_file(world.path(&format!("{project}/deleted.txt"))).unwrap();
}

/// What git makes of the same.
fn merged_by_git(world: &World, both: &[(usize, &str)]) -> i32 {
    let git = |args: &[&str]| {
        let fixed =
            ["-C", "git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.fileMode=true"];
        world.run("git", &[&fixed[..], args].concat())
    };
    world.bk(&["new", "old", "git", "-D", "name=foo"]).ok();
    git(&["init", "-q", "-b", "before"]).ok();
    let commit = |branch: &str| {
        git(&["add", "-A"]).ok();
        git(&["commit", "-q", "-m", branch]).ok();
    };
    commit("before");
    git(&["checkout", "-q", "-b", "template"]).ok();
    for name in ["both.txt", "theirs.txt", "deleted.txt", "gone.txt", "run.sh"] {
        std::fs::remove_file(world.path(&format!("git/{name}"))).unwrap();
    }
    world.bk(&["new", "new", "git", "-D", "name=foo", "--overwrite"]).ok();
    commit("template");
    git(&["checkout", "-q", "before"]).ok();
    git(&["checkout", "-q", "-b", "project"]).ok();
    change(world, "git", both);
    commit("project");
    let ran = git(&["merge", "-q", "--no-edit", "-X", "no-renames", "template"]);
    ran.code
}

#[test]
fn what_both_changed_is_merged_as_git_merges_it() {
    let world = World::new();
    templates(&world);
    let both = [(15, "mine")];
    world.bk(&["new", "old", "project", "-D", "name=foo"]).ok();
    change(&world, "project", &both);
    let update = ["update", "project", "--from", "old", "--to", "new", "-D", "name=foo"];
    let before = world.tree("project");
    let said = world.bk(&[&update[..], &["-n"]].concat()).ok();
    assert_eq!(world.tree("project"), before);
    let expected = "project/both.txt\nproject/gone.txt\nproject/new/foo.txt\nproject/run.sh\nproject/theirs.txt\n";
    assert_eq!(said, expected);
    assert_eq!(world.bk(&update).ok(), expected);
    assert_eq!(
        world
            .bk(&[&["update", "project", "--from", "new", "--to", "new"][..], &["-D", "name=foo"]]
                .concat())
            .ok(),
        ""
    );
    merged_by_git(&world, &both);
    let mut theirs = world.tree("git");
    theirs.retain(|name, _| !name.starts_with(".git/"));
    // git asks what becomes of what one removed and the other changed; here it stays away.
    theirs.remove("deleted.txt");
    assert_eq!(world.tree("project"), theirs);
    assert!(world.tree("project")["run.sh"].1);
}

#[test]
fn what_both_changed_otherwise_is_for_people_to_decide() {
    let world = World::new();
    templates(&world);
    let both = [(2, "mine")];
    world.bk(&["new", "old", "project", "-D", "name=foo"]).ok();
    change(&world, "project", &both);
    world.write("project/gone.txt", "changed\n");
    world.write("project/.copier-answers.yml", "name: foo\n_commit: x\n");
    let update = ["update", "project", "--from", "old", "--to", "new", "--json"];
    let ran = world.bk(&update).code(1).says("changed in the same lines").says("changed otherwise");
    assert!(
        ran.stdout.contains(r#""path":"project/both.txt","action":"conflict""#),
        "{}",
        ran.stdout
    );
    let text = String::from_utf8(world.tree("project")["both.txt"].0.clone()).unwrap();
    assert_eq!(merged_by_git(&world, &both), 1);
    let git = String::from_utf8(world.tree("git")["both.txt"].0.clone()).unwrap();
    assert_eq!(text.replace("<<<<<<< project", "<<<<<<< HEAD"), git);
    assert_eq!(world.tree("project")["gone.txt"].0, b"changed\n");
    world.bk(&["update", "nothing", "--from", "old", "--to", "new"]).code(1).says("is no folder");
    world
        .bk(&["update", "project", "--from", "none", "--to", "new"])
        .code(1)
        .says("no such folder");
}
