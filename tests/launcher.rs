//! The launcher: which program it becomes, and what that program gets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

const BK: &str = env!("CARGO_BIN_EXE_bk");

/// Held while a program is written and while one is started: a child that is forked in between has
/// the file open for writing until it execs, and a file that is open for writing cannot be run.
static FORK: Mutex<()> = Mutex::new(());

/// Runs it to its end.
fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let lock = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn().unwrap();
    drop(lock);
    child.wait_with_output().unwrap()
}

/// A folder of made-up tools.
struct Tools(tempfile::TempDir);

impl Tools {
    fn new() -> Self {
        Tools(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A tool that is this shell script.
    fn script(self, name: &str, script: &str) -> Self {
        self.file(name, &format!("#!/bin/sh\n{script}\n"), 0o755)
    }

    /// A tool that says its name and, a line each, its arguments.
    fn echo(self, name: &str) -> Self {
        self.script(name, &format!("printf '%s\\n' {name} \"$@\""))
    }

    fn file(self, name: &str, text: &str, mode: u32) -> Self {
        let _lock = FORK.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        bk::file::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// The launcher, that finds these tools and no others.
    fn bk(&self) -> Command {
        let _lock = FORK.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = self.path().join("launcher");
        std::fs::create_dir_all(&alone).unwrap();
        let program = alone.join("bk");
        if !program.exists() {
            std::fs::copy(BK, &program).unwrap();
        }
        let mut command = Command::new(program);
        command.env("BK_EXEC_PATH", self.path()).env("PATH", "/usr/bin:/bin");
        command
    }

    fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Output {
        output(self.bk().args(words))
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_longest_name_wins() {
    let tools = Tools::new().echo("bk-vm").echo("bk-vm-start").echo("bk-vm-start-now-please");
    assert_eq!(stdout(&tools.run(&["vm", "stop"])), "bk-vm\nstop\n");
    assert_eq!(stdout(&tools.run(&["vm", "start", "now"])), "bk-vm-start\nnow\n");
    // Three words at most name a command.
    let output = tools.run(&["vm", "start", "now", "please"]);
    assert_eq!(stdout(&output), "bk-vm-start\nnow\nplease\n");
}

#[test]
fn only_leading_words_name_a_command() {
    let tools = Tools::new().echo("bk-vm").echo("bk-vm-start");
    assert_eq!(stdout(&tools.run(&["vm", "-v", "start"])), "bk-vm\n-v\nstart\n");
    assert_eq!(stdout(&tools.run(&["vm", "Start"])), "bk-vm\nStart\n");
    assert_eq!(stdout(&tools.run(&["vm", "", "start"])), "bk-vm\n\nstart\n");
    // A word never leads out of the folders.
    let tools = tools.echo("outside");
    assert_eq!(tools.run(&["vm/../outside"]).status.code(), Some(127));
}

#[test]
fn arguments_arrive_untouched() {
    let tools = Tools::new().echo("bk-deb");
    let odd: Vec<OsString> = vec![
        "deb".into(),
        "a b".into(),
        "--".into(),
        "$(x) 'y' \"z\"".into(),
        "".into(),
        OsString::from_vec(vec![0xff, 0xfe]),
    ];
    let expected = b"bk-deb\na b\n--\n$(x) 'y' \"z\"\n\n\xff\xfe\n";
    assert_eq!(tools.run(&odd).stdout, expected);
}

#[test]
fn the_program_is_told_its_own_name_and_keeps_the_process() {
    let tools = Tools::new().script("bk-show", "tr '\\0' '\\n' </proc/$$/cmdline; echo $$");
    let mut bk = tools.bk();
    let lock = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    let child = bk.arg("show").stdout(Stdio::piped()).spawn().unwrap();
    drop(lock);
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output).lines().last(), Some(pid.to_string().as_str()), "exec, not fork");
}

#[test]
fn the_first_folder_wins_and_each_place_is_searched() {
    let first = Tools::new().script("bk-a", "echo first");
    let second = Tools::new().script("bk-a", "echo second").script("bk-b", "echo second");
    let path = std::env::join_paths([first.path(), second.path()]).unwrap();
    let run = |word: &str| stdout(&output(first.bk().env("BK_EXEC_PATH", &path).arg(word)));
    assert_eq!(run("a"), "first\n");
    assert_eq!(run("b"), "second\n");
    // The launcher's own folder, then PATH.
    let own = Tools::new().script("launcher/bk-a", "echo own");
    let mut bk = own.bk();
    bk.env_remove("BK_EXEC_PATH").env("PATH", second.path());
    assert_eq!(stdout(&output(bk.arg("a"))), "own\n");
    let mut bk = own.bk();
    bk.env_remove("BK_EXEC_PATH").env("PATH", second.path());
    assert_eq!(stdout(&output(bk.arg("b"))), "second\n");
    let folders = stdout(&own.run(&["--exec-path"]));
    let folders: Vec<&Path> = folders.lines().map(Path::new).collect();
    let launcher = own.path().join("launcher").canonicalize().unwrap();
    assert_eq!(folders[..2], [own.path(), &launcher]);
    assert_eq!(folders[2], Path::new("/usr/libexec/buildkit"));
}

#[test]
fn a_file_that_cannot_be_run_is_passed_over_for_one_that_can() {
    let tools = Tools::new().file("bk-vm-start", "text", 0o644).echo("bk-vm");
    assert_eq!(stdout(&tools.run(&["vm", "start"])), "bk-vm\nstart\n");
}

#[test]
fn what_cannot_be_run_is_126_and_what_is_not_there_is_127() {
    let tools = Tools::new().file("bk-text", "text", 0o644).echo("bk-repo").echo("bk-report");
    let tools = tools.file("bk-lost", "#!/no/such/interpreter\n", 0o755);
    for word in ["text", "lost"] {
        let output = tools.run(&[word]);
        assert_eq!(output.status.code(), Some(126), "{word}");
        assert!(stderr(&output).starts_with("bk: cannot run '"), "{}", stderr(&output));
    }
    let output = tools.run(&["rpeo", "add"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(output.stdout.is_empty());
    let said = stderr(&output);
    assert!(said.starts_with("bk: 'rpeo' is not a command\n  hint: "), "{said}");
    assert!(said.contains("'bk repo'"), "{said}");
    let output = tools.run(&["\x1b[2J"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(!stderr(&output).contains('\x1b'), "a name never steers the terminal");
}

#[test]
fn the_childs_status_is_ours() {
    let tools = Tools::new().script("bk-no", "exit 3").script("bk-die", "kill -TERM $$");
    assert_eq!(tools.run(&["no"]).status.code(), Some(3));
    assert_eq!(tools.run(&["die"]).status.signal(), Some(libc::SIGTERM));
}

#[test]
fn a_closed_pipe_ends_what_writes_into_it() {
    // Rust ignores SIGPIPE; a child that inherited that would write for ever, or complain.
    let tools = Tools::new().script("bk-mask", "grep SigIgn /proc/self/status");
    let ignored = stdout(&tools.run(&["mask"]));
    let mask = u64::from_str_radix(ignored.split_whitespace().nth(1).unwrap(), 16).unwrap();
    // Signal 13 is bit 12 (signal(7), proc(5)).
    assert_eq!(mask & (1 << 12), 0, "SIGPIPE is ignored in the child");
}

#[test]
fn the_list_names_what_there_is_and_nothing_else() {
    let tools = Tools::new()
        .echo("bk-deb")
        .echo("bk-mine")
        .file("bk-text", "text", 0o644)
        .file("bk-deb.d", "", 0o755)
        .echo("other");
    let list = stdout(&tools.run(&["--list"]));
    let names: Vec<&str> = list.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["deb", "mine"]);
    assert!(list.lines().all(|line| line.contains('\t')), "{list}");
}

/// The folder with the programs of the workspace, which `cargo xtask test` builds first.
fn built() -> PathBuf {
    PathBuf::from(BK).parent().unwrap().to_owned()
}

/// The names of the tools that have a package.
fn packages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = root.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries
        .filter_map(|name| name.to_str()?.strip_prefix("bk-").map(str::to_owned))
        .filter(|name| root.join(format!("bk-{name}/Cargo.toml")).is_file())
        .collect();
    names.sort();
    names
}

#[test]
fn the_summaries_are_those_of_the_tools() {
    let list = stdout(&output(Command::new(BK).arg("--list")));
    let all = packages();
    assert!(!all.is_empty());
    for name in all {
        let program = built().join(format!("bk-{name}"));
        assert!(program.is_file(), "run 'cargo build --workspace --bins' first");
        let help = stdout(&output(Command::new(program).arg("--help")));
        let about = help.lines().next().unwrap();
        assert!(list.lines().any(|line| line == format!("{name}\t{about}")), "{name}: {list}");
    }
}

#[test]
fn help_opens_the_manual_or_the_commands_own_help() {
    let man = r#"[ "$1" = -w ] && { [ "$2" = bk-deb-build ]; exit; }; echo manual "$@""#;
    let tools = Tools::new().echo("bk-deb").echo("bk-mine").script("path/man", man);
    let help = |words: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", tools.path().join("path").display());
        stdout(&output(tools.bk().env("PATH", path).arg("help").args(words)))
    };
    assert_eq!(help(&["deb", "build"]), "manual bk-deb-build\n");
    assert_eq!(help(&["mine", "x"]), "bk-mine\nx\n--help\n");
    assert!(help(&[]).contains("Usage: bk COMMAND"));
    assert_eq!(tools.run(&["help", "nothing"]).status.code(), Some(127));
}

#[test]
fn the_doctor_names_what_is_missing_and_answers_3() {
    let needs = |program: &str| format!("printf '{program}\\tsome-package\\tthe reason\\n'");
    let tools = Tools::new().script("bk-deb", &needs("no-such-program"));
    let output = tools.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stdout(&output), "bk-deb\tno-such-program\tsome-package\tthe reason\n");
    let tools = Tools::new().script("bk-deb", &needs("sh"));
    let output = tools.run(&["doctor"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
    // One broken tool hides nothing of the others.
    let tools = Tools::new().script("bk-deb", "exit 1").script("bk-repo", &needs("no-such"));
    let output = tools.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("bk-repo\tno-such"), "{}", stdout(&output));
    assert!(stderr(&output).contains("bk-deb"), "{}", stderr(&output));
}

#[test]
fn version_help_and_a_reader_that_goes_away() {
    let tools = Tools::new();
    let version = concat!("bk ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(stdout(&tools.run(&["--version"])), version);
    for words in [&["--help"][..], &["-h"], &["help"], &[]] {
        let output = tools.run(words);
        assert!(stdout(&output).starts_with("Usage: bk COMMAND"), "{words:?}");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
    }
    let mut bk = tools.bk();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let lock = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    let child = bk.arg("--list").stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(lock);
    assert_eq!(stderr(&child.wait_with_output().unwrap()), "");
    let output = tools.run(&["--bogus"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("bk: unknown option '--bogus'\n  hint: "));
}

#[test]
fn names_are_bytes() {
    let tools = Tools::new().echo("bk-deb");
    let output = tools.run(&[OsStr::from_bytes(b"\xff")]);
    assert_eq!(output.status.code(), Some(127));
}
