//! `bk-pypkg new`: what it makes, as the programs of those who make, test and publish packages see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;

use common::{WHO, World};

/// Packages that are as different as they may be: their options.
const ALL: [&[&str]; 4] = [
    &["plain"],
    &["library", "--no-script", "--license", "LicenseRef-Proprietary", "--python", "3.11"],
    &[
        "Company.Tool-kit",
        "--import-name",
        "company.toolkit",
        "--url",
        "https://github.com/company/toolkit",
        "--license",
        "Apache-2.0 OR MIT",
        "-d",
        r#"A *tool_kit* for "all" the `<b>|folders\` of [one](x) O'Neil, in """three""" quotes"#,
        "--debian",
    ],
    &["under_scored", "--ci", "gitlab", "--debian", "--no-script", "-d", "It ends with a stop."],
];

/// Nobody who looks at packages has anything to say of it, strict as they may be.
#[test]
fn what_is_made_is_a_package_that_is_good_in_all_eyes() {
    for options in ALL {
        let world = World::new();
        let name = options[0];
        // Names that are awkward in Python, TOML, Markdown and reStructuredText.
        let who = ["--author", r#"Jane "J\D" O'Doe"#, "--email", "jane@example.com"];
        let made = world.bk(&[&["new"], options, &who].concat()).ok();
        assert!(made.lines().any(|line| line == format!("{name}/pyproject.toml")), "{made}");
        let run = |program: &str, args: &[&str]| {
            let mut command = world.command(program, name, args);
            command.env("PYTHONPATH", world.path("site")).env("NO_COLOR", "1");
            let ran = world.ran(command);
            assert_eq!(ran.code, 0, "{name}: {program} {args:?}: {}{}", ran.stdout, ran.stderr);
            ran.stdout
        };
        run("validate-pyproject", &["pyproject.toml"]);
        run("python3", &["-m", "build", "--no-isolation", "--outdir", "../dist"]);
        let dist = std::fs::read_dir(world.path("dist")).unwrap();
        let mut dist: Vec<String> =
            dist.map(|file| file.unwrap().path().to_str().unwrap().to_owned()).collect();
        dist.sort();
        let [wheel, sdist] = dist.as_slice() else { panic!("{dist:?}") };
        run("twine", &["check", "--strict", wheel, sdist]);
        run("check-wheel-contents", &[wheel]);
        run(
            "pip",
            &["install", "--quiet", "--no-deps", "--no-index", "--target", "../site", wheel],
        );
        let tested = run("pytest", &["-v", "-p", "no:cacheprovider"]);
        for test in ["::test_greeting PASSED", "greeting PASSED", "README.md PASSED"] {
            assert!(tested.contains(test), "{test}: {tested}");
        }
        run("ruff", &["check"]);
        run("ruff", &["format", "--check", "--diff"]);
        run("mypy", &["--cache-dir", "/dev/null"]);
        run("sphinx-build", &["-q", "-W", "-b", "html", "docs", "../html"]);
        let tested = run("sphinx-build", &["-W", "-b", "doctest", "docs", "../doctest"]);
        assert!(tested.contains("1 passed"), "{tested}");
        let page = world.read("html/api.html");
        assert!(page.contains("Greet somebody."), "{page}");
        if !options.contains(&"--no-script") {
            let script = name.to_lowercase().replace('.', "-");
            let said = run(&format!("../site/bin/{script}"), &["Ada"]);
            assert_eq!(said, "Hello, Ada!\n");
        }
        if options.contains(&"--url") {
            run(
                "check-jsonschema",
                &["--builtin-schema", "vendor.github-workflows", ".github/workflows/ci.yml"],
            );
            run(
                "check-jsonschema",
                &["--builtin-schema", "vendor.dependabot", ".github/dependabot.yml"],
            );
        } else if options.contains(&"gitlab") {
            run("check-jsonschema", &["--builtin-schema", "vendor.gitlab-ci", ".gitlab-ci.yml"]);
        }
        run("make", &["--dry-run", "test", "coverage", "lint", "docs", "dist", "deb", "clean"]);
        run(env!("CARGO_BIN_EXE_bk-pypkg"), &["check"]);
    }
}

/// With --debian, dpkg-buildpackage makes packages of it that lintian has nothing to say of.
#[test]
fn debian_builds_it() {
    for options in ALL.into_iter().filter(|options| options.contains(&"--debian")) {
        let world = World::new();
        world.bk(&[&["new", options[0], "work"], &options[1..], &WHO].concat()).ok();
        let debian = |program: &str, args: &[&str]| {
            let mut command = world.command(program, "work", args);
            // Debian's Python, and no other one.
            command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
            world.ran(command)
        };
        let built = debian("dpkg-buildpackage", &["--unsigned-source", "--unsigned-changes"]);
        let built = built.code(0);
        assert!(built.stdout.contains(" passed"), "its tests ran: {}", built.stdout);
        let name = options[0].to_lowercase().replace(['.', '_'], "-");
        let changes = format!("../{name}_0.1.0_amd64.changes");
        let said = debian("lintian", &["--allow-root", "--fail-on", "error,warning", &changes]);
        assert_eq!(said.code(0).stdout, "");
        // What the build leaves is nothing for git.
        world.run("git", "work", &["init", "--quiet"]).ok();
        let left = world.run("git", "work", &["status", "--short", "--untracked-files=all"]).ok();
        let made: BTreeSet<&str> =
            left.lines().map(|line| line.trim_start_matches("?? ")).collect();
        let strange = made.iter().filter(|file| {
            file.contains("pybuild") || file.contains(".debhelper") || file.contains("substvars")
        });
        assert_eq!(strange.count(), 0, "{left}");
    }
}

/// The template is one that copier fills in as we do; only the licence is not in it.
#[test]
fn copier_makes_the_same_of_the_template() {
    let world = World::new();
    world.bk(&["template", "-o", "template"]).ok();
    world.bk(&["template", "-o", "template"]).code(1).says("something is there already");
    for (number, options) in ALL.into_iter().enumerate() {
        let ours = format!("ours{number}");
        let mut command = world.command(
            env!("CARGO_BIN_EXE_bk-pypkg"),
            "",
            &[&["new", options[0], &ours], &options[1..], &WHO].concat(),
        );
        command.env("SOURCE_DATE_EPOCH", "1000000000");
        world.ran(command).ok();
        let after = |option: &str| {
            let at = options.iter().position(|o| *o == option)?;
            options.get(at + 1).map(|value| (*value).to_owned())
        };
        let name = options[0];
        let import = after("--import-name").unwrap_or(name.to_lowercase().replace(['-', '.'], "_"));
        let mut data = vec![
            format!("name={name}"),
            format!("import_name={import}"),
            "author=Jane Doe".to_owned(),
            "email=jane@example.com".to_owned(),
            format!("script={}", !options.contains(&"--no-script")),
            format!("debian={}", options.contains(&"--debian")),
            "year=2001".to_owned(),
            // date --rfc-email --utc --date @1000000000
            "date=Sun, 9 Sep 2001 01:46:40 +0000".to_owned(),
        ];
        for (question, option) in [
            ("description", "-d"),
            ("license", "--license"),
            ("url", "--url"),
            ("python", "--python"),
            ("ci", "--ci"),
        ] {
            data.extend(after(option).map(|value| format!("{question}={value}")));
        }
        let data: Vec<&str> = data.iter().flat_map(|data| ["--data", data]).collect();
        let theirs = format!("theirs{number}");
        let fixed = ["copy", "--quiet", "--defaults", "template", &theirs];
        world.run("copier", "", &[&fixed[..], &data].concat()).ok();
        let exclude = ["--exclude=LICENSE*", "--exclude=copyright"];
        let args = [&["-r", &ours, &theirs], &exclude[..]].concat();
        assert_eq!(world.run("diff", "", &args).stdout, "", "{options:?}");
    }
}

/// A repository for git-flow is as git-flow leaves one.
#[test]
fn the_repository_is_as_git_flow_makes_it() {
    let world = World::new();
    world.bk(&[&["new", "ours", "--git-flow"][..], &WHO].concat()).ok();
    world.bk(&[&["new", "theirs", "--git"][..], &WHO].concat()).ok();
    world.run("git", "theirs", &["flow", "init", "--defaults"]).ok();
    let state = |dir: &str| {
        let settings =
            world.run("git", dir, &["config", "--local", "--get-regexp", "^gitflow"]).ok();
        let mut settings: Vec<String> = settings
            .lines()
            .map(|line| line.replace(world.path(dir).to_str().unwrap(), "HERE"))
            .collect();
        settings.sort();
        let branches = world.run("git", dir, &["branch", "--format=%(HEAD)%(refname)"]).ok();
        let last = world.run("git", dir, &["log", "--format=%an %ae %s", "--all"]).ok();
        let clean = world.run("git", dir, &["status", "--porcelain"]).ok();
        (settings, branches, last, clean)
    };
    let ours = state("ours");
    assert_eq!(ours, state("theirs"));
    assert_eq!(ours.2, "Jane Doe jane@example.com Begin the package\n");
    assert_eq!(ours.3, "");
    // In a repository there is no other.
    world.bk(&[&["new", "inner", "ours/inner", "--git"][..], &WHO].concat()).code(2).says("'");
    assert!(!world.path("ours/inner").exists());
}

/// What cannot be a package, or its author, is said before anything is made.
#[test]
fn names_that_cannot_be_used_are_refused() {
    let world = World::new();
    for (args, why) in [
        (&["json"][..], "Python has a 'json' of its own"),
        (&["class"], "a word of Python's"),
        (&["tests"], "many projects have a folder 'tests'"),
        (&["a b"], "no name for a Python package"),
        (&["../x"], "no name for a Python package"),
        (&["-"], "no name for a Python package"),
        (&["2to3x"], "no name in Python"),
        (&["ok", "--import-name", "a..b"], "no name in Python"),
        (&["ok", "--import-name", "json.x"], "Python has a 'json'"),
        (&["ok", "--license", "mit"], "SPDX calls it MIT"),
        (&["ok", "--license", "MIT OR"], "is no licence"),
        (&["ok", "--license", "Mine"], "LicenseRef-Proprietary"),
        (&["ok", "--python", "2.7"], "no version of Python 3"),
        (&["ok", "--url", "javascript:alert(1)"], "no URL of a page"),
        (&["ok", "-d", "two\nlines"], "not a line of text"),
        (&["ok", "--email", "jane"], "no address"),
        (&["ok", "--email", "j@x> <y@z"], "no address"),
        (&["ok", "--ci", "jenkins"], "invalid value 'jenkins'"),
    ] {
        let who = if args.contains(&"--email") { &WHO[..2] } else { &WHO[..] };
        world.bk(&[&["new"], args, who].concat()).code(2).says(why);
    }
    world.bk(&["new", "ok"]).code(2).says("nobody knows who the author is");
    let made = std::fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    // What it keeps for itself is no package.
    assert_eq!(made.filter(|name| name != "state").count(), 0);
    // As Debian's tools are told, or git.
    let mut command = world.command(env!("CARGO_BIN_EXE_bk-pypkg"), "", &["new", "ok"]);
    command.env("DEBFULLNAME", "Eve").env("DEBEMAIL", "eve@example.com");
    world.ran(command).ok();
    assert!(world.read("ok/LICENSE").contains("Eve"));
    world.write("home/.gitconfig", "[user]\nname = Git Man\nemail = git@example.com\n");
    world.bk(&["new", "known"]).ok();
    assert!(world.read("known/pyproject.toml").contains("git@example.com"));
}

/// Nothing that is there is lost, and nothing is written for show.
#[test]
fn files_that_are_there_stay() {
    let world = World::new();
    let new = |args: &[&str]| world.bk(&[&["new", "lib"], args, &WHO[..]].concat());
    let would = new(&["--dry-run"]).ok();
    assert!(!world.path("lib").exists());
    world.write("lib/notes.txt", "mine");
    world.write("lib/README.md", "mine");
    new(&[]).code(1).says("'README.md' is there already");
    assert!(!world.path("lib/pyproject.toml").exists());
    new(&["--keep"]).ok();
    assert_eq!(world.read("lib/README.md"), "mine");
    let made = new(&["--overwrite"]).ok();
    assert_eq!(made, "lib/README.md\n");
    assert_eq!(world.read("lib/notes.txt"), "mine");
    assert_eq!(
        would,
        world.bk(&[&["new", "lib", "other"], &WHO[..]].concat()).ok().replace("other/", "lib/")
    );
    let json = world.bk(&[&["new", "lib", "third", "--json"], &WHO[..]].concat()).ok();
    assert!(
        json.lines().all(|line| line.starts_with(r#"{"type":"file","path":"third/"#)),
        "{json}"
    );
}

/// The same command on the same day makes the same bytes, wherever and whoever.
#[test]
fn the_same_is_made_everywhere() {
    let world = World::new();
    let mut hashes = BTreeSet::new();
    for (number, (umask, zone, locale)) in
        [(0o022, "UTC", "C"), (0o077, "Pacific/Kiritimati", "tr_TR.UTF-8")].into_iter().enumerate()
    {
        let dir = format!("{number}/lib");
        world.write(&format!("{number}/.keep"), "");
        let args = ["new", "lib", &dir, "--git-flow", "--debian"];
        let mut command =
            world.command(env!("CARGO_BIN_EXE_bk-pypkg"), "", &[&args[..], &WHO].concat());
        command.env("SOURCE_DATE_EPOCH", "1000000000").env("TZ", zone).env("LC_ALL", locale);
        // SAFETY: umask(2) can be called between fork and exec (signal-safety(7)), and cannot fail.
        #[allow(unsafe_code, reason = "no other way to set the umask of one child")]
        unsafe {
            command.pre_exec(move || {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
                Ok(())
            });
        }
        world.ran(command).ok();
        // The commit's hash is that of its files, modes, author and time.
        hashes.insert(world.run("git", &dir, &["rev-parse", "HEAD"]).ok());
    }
    assert_eq!(hashes.len(), 1, "{hashes:?}");
}

/// The texts of licences have the words that Debian's copies of them have.
#[test]
fn licences_have_their_own_words() {
    let world = World::new();
    for (id, file) in
        [("Apache-2.0", "Apache-2.0"), ("MPL-2.0", "MPL-2.0"), ("GPL-2.0-only", "GPL-2")]
    {
        world.bk(&[&["new", "lib", id, "--license", id], &WHO[..]].concat()).ok();
        let words = |text: String| -> BTreeSet<String> {
            let word =
                |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            text.split_whitespace().map(word).collect()
        };
        let ours = words(world.read(&format!("{id}/LICENSE")));
        let debian = std::fs::read_to_string(format!("/usr/share/common-licenses/{file}")).unwrap();
        let theirs = words(debian);
        let other: Vec<&String> = ours.symmetric_difference(&theirs).collect();
        // Addresses of their stewards, and how headings are numbered.
        assert!(other.len() < theirs.len() / 20, "{id}: {other:?}");
        assert!(
            world.read(&format!("{id}/LICENSE")).lines().all(|line| line.chars().count() <= 79)
        );
    }
    world.bk(&[&["new", "lib", "--license", "MIT"], &WHO[..]].concat()).ok();
    assert!(world.read("lib/LICENSE").contains("Jane Doe"));
}

/// What Python has itself is known, whichever it is.
#[test]
fn the_standard_library_is_known() {
    let world = World::new();
    let code = "import sys; print('\\n'.join(n for n in sys.stdlib_module_names if n[0] != '_'))";
    let names = world.run("python3", "", &["-c", code]).ok();
    let known: BTreeSet<&str> = include_str!("../src/standard.txt").lines().collect();
    let unknown: Vec<&str> = names.lines().filter(|name| !known.contains(name)).collect();
    assert!(names.lines().count() > 150 && unknown.is_empty(), "{unknown:?}");
}

/// The program brings each file of its template.
#[test]
fn the_template_is_whole() {
    let world = World::new();
    world.bk(&["template", "-o", "template"]).ok();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/template");
    assert_eq!(world.run("diff", "", &["-r", source, "template"]).stdout, "");
    // And one's own may ask for less, or more.
    world.write("mine/copier.yml", "name:\n  type: str\nteam:\n  type: str\n");
    world.write("mine/{{ name }}.txt.jinja", "{{ name }} of {{ team }}\n");
    let args = ["new", "lib", "--template", "mine", "-D", "team=us"];
    world.bk(&[&args[..], &WHO].concat()).ok();
    assert_eq!(world.read("lib/lib.txt"), "lib of us\n");
}
