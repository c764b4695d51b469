//! `bk-template new`, beside copier and cookiecutter on their own templates.

#![allow(clippy::unwrap_used)]

mod common;

use common::World;

/// A template as those of cookiecutter are.
fn cookiecutter(world: &World) {
    world.write(
        "cc/cookiecutter.json",
        r#"{"name": "My Project", "slug": "{{ cookiecutter.name.lower().replace(' ', '-') }}",
            "license": ["MIT", "GPL-3"], "docs": true, "port": 80, "_hidden": "{{ as it is }}",
            "__module": "{{ cookiecutter.slug|replace('-', '_') }}",
            "_copy_without_render": ["*.raw", "static/*"], "__prompts__": {"name": "What is it?"}}"#,
    );
    let root = "cc/{{ cookiecutter.slug }}";
    let files = [
        ("{{ cookiecutter.__module }}/main.py", "NAME = '{{ cookiecutter.name }}'\n"),
        ("x.raw", "{{ not.filled in }}\n"),
        ("static/x", "{% nor this %}\n"),
        (
            "docs.txt",
            "{% if cookiecutter.docs %}{% for i in range(2) %}{{ i }}{{ loop.last }}{% endfor %}{% endif %}\n",
        ),
        ("LICENSE", "{%- if cookiecutter.license == 'MIT' %}MIT{% else %}other{% endif -%}\n\n"),
        (
            "macro",
            "{% macro m(x, y=2) %}{{ x }}/{{ y }}{% endmacro %}{{ m(1) }}\n{{ cookiecutter._hidden }}\n",
        ),
        (
            "filters",
            "{{ 'a b c'|title }} {{ [3, 1]|sort|join(',') }} {{ 'x'|default('y') }} {{ 'é'|upper }}\n",
        ),
        ("port", "{{ cookiecutter.port + '1' }}\n"),
        ("year", "{% now 'utc', '%Y' %}\n"),
    ];
    for (name, text) in files {
        world.write(&format!("{root}/{name}"), text);
    }
    world.write(&format!("{root}/image"), b"\0\x01\xff{{");
    world.executable(&format!("{root}/run"), "#!/bin/sh\n");
}

#[test]
fn a_template_of_cookiecutter_makes_what_cookiecutter_makes() {
    let world = World::new();
    cookiecutter(&world);
    for (number, answers) in [&[][..], &["name=An Other", "license=GPL-3"]].into_iter().enumerate()
    {
        let (ours, theirs) = (format!("ours{number}"), format!("theirs{number}"));
        let define: Vec<&str> = answers.iter().flat_map(|answer| ["-D", answer]).collect();
        world.bk(&[&["new", "cc", &ours], &define[..]].concat()).ok();
        let fixed = ["--no-input", "-o", &theirs, "cc"];
        world.run("cookiecutter", &[&fixed[..], answers].concat()).ok();
        let slug = if number == 0 { "my-project" } else { "an-other" };
        assert_eq!(world.tree(&ours), world.tree(&format!("{theirs}/{slug}")), "{answers:?}");
    }
    world.executable("cc/hooks/post_gen_project.sh", "#!/bin/sh\ntouch ran\n");
    world.bk(&["new", "cc", "ours"]).code(0).says("not run: hooks/post_gen_project");
    assert!(!world.path("ours/ran").exists());
}

/// A template as those of copier are.
fn copier(world: &World) {
    world.write(
        "cp/copier.yml",
        "name: {type: str, help: \"What is it called?\", default: x}\n\
         count: 3\nratio: {type: float, default: 0.5}\nflag: true\n\
         kind: {choices: {A library: lib, A program: app}, default: lib}\n\
         extra: {type: str, default: \"of {{ name }}\", when: \"{{ kind == 'app' }}\"}\n\
         upper: {type: str, default: \"{{ name|upper }}\", when: false}\n\
         code: {type: str, default: ab, validator: \"{% if code|length > 3 %}too long{% endif %}\"}\n\
         list: {type: yaml, default: [a, b]}\n\
         _subdirectory: \"{{ kind }}\"\n_exclude: [copier.yml, '*.skip', '/only-{{ kind }}']\n_skip_if_exists: [config]\n",
    );
    let files = [
        (
            "{{ name }}.txt.jinja",
            "{{ name }} {{ count + 1 }} {{ ratio }} {{ flag }} {{ upper }} {{ extra }}\n",
        ),
        ("plain", "{{ not filled in }}\n"),
        ("{% if kind == 'app' %}app.txt{% endif %}.jinja", "an app\n"),
        ("{% if kind == 'app' %}dir{% endif %}/inner", "x\n"),
        ("a.skip", "x\n"),
        ("only-lib", "x\n"),
        ("only-app", "x\n"),
        ("list.jinja", "{% for x in list %}{{ loop.index }}: {{ x }}\n{% endfor %}"),
        ("config.jinja", "code = {{ code }}\n"),
    ];
    for (name, text) in files {
        for kind in ["lib", "app"] {
            world.write(&format!("cp/{kind}/{name}"), text);
        }
    }
}

#[test]
fn a_template_of_copier_makes_what_copier_makes() {
    let world = World::new();
    copier(&world);
    let cases: [&[&str]; 3] =
        [&[], &["name=other", "kind=app", "count=7"], &["flag=no", "ratio=2.25", "list=[c]"]];
    for (number, answers) in cases.into_iter().enumerate() {
        let (ours, theirs) = (format!("ours{number}"), format!("theirs{number}"));
        let with = |option: &'static str| {
            answers.iter().flat_map(move |answer| [option, answer]).collect::<Vec<_>>()
        };
        world.bk(&[&["new", "cp", &ours], &with("-D")[..]].concat()).ok();
        let fixed = ["copy", "--quiet", "--defaults", "cp", &theirs];
        world.run("copier", &[&fixed[..], &with("-d")].concat()).ok();
        assert_eq!(world.tree(&ours), world.tree(&theirs), "{answers:?}");
    }
    // A choice may be called by its label too.
    world.bk(&["new", "cp", "labelled", "-D", "kind=A program"]).ok();
    assert!(world.path("labelled/app.txt").exists());
}

#[test]
fn wrong_answers_and_files_that_are_there_write_nothing() {
    let world = World::new();
    copier(&world);
    let new = |words: &[&str]| world.bk(&[&["new", "cp", "to"], words].concat());
    new(&["-D", "kind=other"]).code(1).says("none of the choices").says("A library, A program");
    new(&["-D", "code=abcd"]).code(1).says("the template says: too long");
    new(&["-D", "count=x"]).code(1).says("'x' is no int");
    new(&["-D", "nmae=x"]).code(2).says("asks for no 'nmae'").says("name");
    new(&["-D", "name=../x"]).code(1).says("no path below the project");
    new(&["-D", "name=a/../../x"]).code(1).says("no path below the project");
    new(&["-D", "x"]).code(2).says("NAME=VALUE");
    assert!(!world.path("to").exists());
    let listed = new(&["-n"]).ok();
    assert!(listed.contains("to/x.txt\n") && !world.path("to").exists());

    world.write("to/x.txt", "mine\n");
    world.write("to/config", "mine\n");
    new(&[]).code(1).says("'x.txt' is there already").says("--overwrite");
    assert_eq!(world.tree("to").len(), 2);
    new(&["--keep"]).ok();
    assert_eq!(world.tree("to")["x.txt"].0, b"mine\n");
    let printed = new(&["--overwrite"]).ok();
    // What is there as it should be is not written again, and the template keeps some.
    assert_eq!(printed, "to/x.txt\n");
    assert_eq!(world.tree("to")["config"].0, b"mine\n");
    // Nothing is written by way of a link.
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    world.bk(&["new", "cp", "linked"]).ok();
    world.write("cp/lib/sub/file", "x\n");
    world.link("linked/sub", "../elsewhere");
    world.bk(&["new", "cp", "linked"]).code(1).says("is no folder");
    assert!(world.tree("elsewhere").is_empty());
}

#[test]
fn templates_that_are_none_are_told_why() {
    let world = World::new();
    let wrong = [
        ("copier.yml", "- a\n", "not a mapping"),
        ("copier.yml", "a: {type: other}\n", "'other' is no type"),
        ("copier.yml", "1a: x\n", "no name for a variable"),
        ("copier.yml", "_subdirectory: ../..\n", "no path below"),
        ("copier.yml", "a: x\n_subdirectory: \"../{{ a }}\"\n", "no path below"),
        ("copier.yml", "a: \"{{ b }}\"\n", "cannot answer 'a'"),
        ("copier.yml", "a: {type: str}\n", "-D a=VALUE"),
        ("copier.yml", "_jinja_extensions: [x.y.Z]\n", "is Python, which is not run"),
        ("copier.yml", "_exclude: ['[']\na: 1\n", ""),
        ("cookiecutter.json", "{}", "0 folders"),
        ("cookiecutter.json", "[", "cookiecutter.json"),
        ("other", "", "neither copier.yml nor cookiecutter.json"),
    ];
    for (number, (name, text, says)) in wrong.into_iter().enumerate() {
        let template = format!("t{number}");
        world.write(&format!("{template}/{name}"), text);
        let ran = world.bk(&["new", &template, "to"]);
        assert!(
            [0, 1, 2].contains(&ran.code) && !ran.stderr.contains("panicked"),
            "{}",
            ran.stderr
        );
        ran.says(says);
    }
    world.write("loop/copier.yml", "");
    world.write(
        "loop/x.jinja",
        "{% for i in range(100000) %}{% for j in range(100000) %}{{ j }}{% endfor %}{% endfor %}",
    );
    world.bk(&["new", "loop", "endless"]).code(1).says("x.jinja");
    world.write("out/copier.yml", "");
    world.link("out/x", "/etc/passwd");
    world.bk(&["new", "out", "stolen"]).code(1).says("leads to '/etc/passwd'");
    world.write("twice/copier.yml", "a: x\n");
    world.write("twice/{{ a }}", "1");
    world.write("twice/x", "2");
    world.bk(&["new", "twice", "two"]).code(1).says("two files of it become 'x'");
    for name in ["endless", "stolen", "two"] {
        assert!(!world.path(name).exists());
    }
}
