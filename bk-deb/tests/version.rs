//! `bk-deb version`: the command line. dpkg's order is held by the tests beside the mapping.

use snapbox::cmd::Command;
use snapbox::str;

fn version() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bk-deb")).arg("version")
}

#[test]
fn a_line_for_each_version() {
    let versions =
        ["1.0", "2!1.0", "1.0a1", "1.0rc2", "1.0.post1", "1.0.dev3", "1.0a1.dev2", "1.0+local"];
    version().args(versions).assert().success().stderr_eq("").stdout_eq(str![[r#"
1.0
2:1.0
1.0~a1
1.0~rc2
1.0+post1
1.0~~dev3
1.0~a1~dev2
1.0+0.local

"#]]);
}

#[test]
fn versions_come_from_stdin_and_go_out_as_json() {
    let version = version().args(["-", "--json", "-p", "2"]).stdin("1.0\n\n3.1rc1\n");
    version.assert().success().stdout_eq(str![[r#"
{"type":"version","pep440":"1.0","debian":"1.0-2"}
{"type":"version","pep440":"3.1rc1","debian":"3.1~rc1-2"}

"#]]);
}

#[test]
fn what_is_no_version_is_named_and_the_others_mapped() {
    version().args(["1..2", "1.0"]).assert().code(1).stdout_eq("1.0\n").stderr_eq(str![[r#"
bk-deb: '1..2' is no Python version
  caused by: [..]

"#]]);
    version().assert().code(2);
}
