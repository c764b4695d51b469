//! The stream contract (bk-stream.7), held against every tool.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{done, said, tool};

const TOOLS: [&str; 2] = ["bk-deb", "bk-repo"];

#[test]
fn help_and_version_go_to_stdout() {
    let dir = tempfile::tempdir().unwrap();
    for name in TOOLS {
        let help = done(tool(name, dir.path()).arg("--help"));
        assert!(help.contains("Usage: "), "{help}");
        let version = done(tool(name, dir.path()).arg("--version"));
        assert_eq!(version, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_wrong_command_line_is_2_and_names_the_tool_and_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    for (name, word, near) in [("bk-deb", "biuld", "build"), ("bk-repo", "lits", "list")] {
        let output = tool(name, dir.path()).arg(word).output().unwrap();
        let says = said(&output);
        assert_eq!(output.status.code(), Some(2), "{says}");
        assert!(output.stdout.is_empty());
        assert!(says.contains(&format!("{name}: ")) && says.contains(near), "{says}");
        assert!(says.contains("  hint: "), "{says}");
    }
}

#[test]
fn an_error_is_the_failure_its_causes_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    bk::file::write(&dir.path().join("x.deb"), "no package").unwrap();
    let output = tool("bk-deb", dir.path()).args(["info", "x.deb"]).output().unwrap();
    let says = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{says}");
    assert!(says.starts_with("bk-deb: cannot open 'x.deb'"), "{says}");
    let output = tool("bk-repo", dir.path()).args(["add", "repo", "x.deb"]).output().unwrap();
    let says = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{says}");
    assert!(says.contains("'x.deb'"), "{says}");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!says.contains(control), "colour or worse without a terminal: {says:?}");
}

#[test]
fn colour_is_for_terminals_or_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let coloured = |words: &[&str], variable: Option<(&str, &str)>| {
        let mut command = tool("bk-deb", dir.path());
        command.args(["info", "nowhere.deb"]).args(words).envs(variable);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").envs(variable);
        command.output().unwrap().stderr.contains(&0x1b)
    };
    assert!(!coloured(&[], None));
    assert!(coloured(&["--color", "always"], None));
    assert!(coloured(&[], Some(("CLICOLOR_FORCE", "1"))));
    assert!(!coloured(&["--color", "never"], Some(("CLICOLOR_FORCE", "1"))));
    assert!(coloured(&["--color", "always"], Some(("NO_COLOR", "1"))));
}

#[test]
fn configuration_has_an_order_and_says_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let print = |words: &[&str], variable: Option<(&str, &str)>| {
        let mut command = tool("bk-deb", dir.path());
        command.args(["build", "--print-config"]).args(words).envs(variable);
        let text = done(&mut command);
        text.lines().find(|line| line.starts_with("suite\t")).unwrap().to_owned()
    };
    assert_eq!(print(&[], None), "suite\t-\tbuilt in");
    let etc = dir.path().join("state/etc/buildkit");
    std::fs::create_dir_all(&etc).unwrap();
    let file = etc.join("deb.yaml");
    bk::file::write(&file, "suite: one\n").unwrap();
    assert_eq!(print(&[], None), format!("suite\tone\t{}", file.display()));
    bk::file::write(&dir.path().join("bk.yaml"), "deb: {suite: two}\n").unwrap();
    assert_eq!(print(&[], None), "suite\ttwo\tbk.yaml");
    let variable = Some(("BK_DEB_SUITE", "three"));
    assert_eq!(print(&[], variable), "suite\tthree\tBK_DEB_SUITE");
    assert_eq!(print(&["--suite", "four"], variable), "suite\tfour\t--suite");
    bk::file::write(&dir.path().join("bk.yaml"), "deb: {siute: two}\n").unwrap();
    let output = tool("bk-deb", dir.path()).args(["version", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("did you mean 'suite'?"));
}

#[test]
fn quiet_says_errors_only_and_verbose_what_is_done() {
    let dir = tempfile::tempdir().unwrap();
    common::project(dir.path(), "one");
    let stderr = |words: &[&str]| {
        let mut command = tool("bk-deb", dir.path());
        let output =
            command.args(["build", "./one", "--no-deps", "-o", "debs"]).args(words).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(stderr(&["-q"]), "");
    let says = stderr(&["-v"]);
    assert!(says.lines().any(|line| line.starts_with("bk-deb: + ")), "no command shown: {says}");
}

#[test]
fn names_that_are_not_utf_8_work() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    common::project(dir.path(), "one");
    done(tool("bk-deb", dir.path()).args(["build", "./one", "--no-deps", "-o", "."]));
    let odd = std::ffi::OsStr::from_bytes(b"od\xffd.deb");
    std::fs::rename(dir.path().join("python3-one_1.0-1_all.deb"), dir.path().join(odd)).unwrap();
    let info = done(tool("bk-deb", dir.path()).arg("info").arg(odd));
    assert!(info.contains("Package: python3-one"));
    done(tool("bk-repo", dir.path()).args(["add", "repo"]).arg(odd));
}
