//! `bk-deb depends`: the command line. dpkg's verdicts are held by the tests beside the mapping.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use snapbox::cmd::Command;
use snapbox::str;

/// For the suite that the test makes.
fn depends(dir: &tempfile::TempDir) -> Command {
    let archive = dir.path().join("archive");
    common::archive(&archive);
    Command::new(env!("CARGO_BIN_EXE_bk-deb"))
        .arg("--root")
        .arg(dir.path())
        .args(["depends", "--suite", "test", "--arch", "amd64", "--mirror"])
        .arg(archive)
}

#[test]
fn a_line_for_each_requirement() {
    let dir = tempfile::tempdir().unwrap();
    let requirements = [
        "Flask_X",
        "a>=1.0,<2.0",
        "a~=2.8",
        "a==1.5",
        "a!=1.5",
        "a==1.*",
        "requests[socks]>=2.0",
        "numpy<2",
        "gone; sys_platform == 'win32'",
        "new; python_version >= '3.11'",
    ];
    depends(&dir).args(requirements).assert().success().stderr_eq("").stdout_eq(str![[r#"
python3-flask-x
python3-a (>= 1), python3-a (<< 2~)
python3-a (>= 2.8), python3-a (<< 3~)
python3-a (>= 1.5), python3-a (<< 1.5+post)
python3-a (<< 1.5) | python3-a (>= 1.5+post)
python3-a (>= 1), python3-a (<< 2~)
python3-requests (>= 2), python3-requests+socks (>= 2)
python3-numpy (<< 1:2~)

python3-new

"#]]);
}

#[test]
fn what_is_no_requirement_is_named_and_the_others_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let depends = depends(&dir).args(["not one", "a"]).assert().code(1);
    depends.stdout_eq("python3-a\n").stderr_eq(str![[r#"
bk-deb: 'not one' is no requirement: [..]
  hint: write it like 'flask>=3' or 'requests[socks]', or name a file or folder

"#]]);
}
