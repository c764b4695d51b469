//! `bk`: finds the longest installed `bk-a-b` for `bk a b c`, and becomes it.
//!
//! No argument parser and no configuration here: it should cost what starting a program costs.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// BuildKit's own tools; a test holds these summaries equal to theirs.
const TOOLS: [(&str, &str); 9] = [
    ("aptcache", "A cache in front of apt archives"),
    ("deb", "Python packages, and everything they need, as Debian packages"),
    ("docsite", "A static site of packages' documentation, their downloads and an index for pip"),
    ("flow", "The git-flow branching model, with git-flow AVH's commands, settings and hooks"),
    ("pypkg", "Python packages set up for pip, Sphinx, the index and Debian"),
    ("repo", "A signed apt repository in a folder"),
    ("template", "Templates made from examples, and what is like them made from templates"),
    ("test", "Tests of Python projects run as they ship, and their sdists, wheels and eggs"),
    ("vm", "Virtual machines to test packages in"),
];

/// At most this many leading words can name a command.
const WORDS: usize = 3;

const HELP: &str = "\
Usage: bk COMMAND [ARGUMENT]…      run bk-COMMAND
       bk help COMMAND             open its manual
       bk doctor                   what the tools would need on this machine and have not
       bk --list                   the commands there are, with a summary
       bk --exec-path              the folders they are looked for in
       bk --version
";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let first = arguments.first().and_then(|word| word.to_str());
    match first {
        Some("--help" | "-h") => show(HELP),
        None if arguments.is_empty() => show(HELP),
        Some("--version" | "-V") => show(&format!("bk {}\n", env!("CARGO_PKG_VERSION"))),
        Some("--list") => show(&list()),
        Some("--exec-path") => {
            show(&folders().iter().map(|f| format!("{}\n", f.display())).collect::<String>())
        }
        Some("doctor") if find(&folders(), "bk-doctor").is_none() => doctor(),
        Some("help") => help(&arguments[1..]),
        Some(word) if word.starts_with('-') => fail(
            2,
            &format!("unknown option '{}'", bk::sanitize(word)),
            "options of a command follow its name; 'bk --help' names those of bk",
        ),
        _ => launch(&arguments),
    }
}

/// A reader that went away is no failure of ours.
fn show(text: &str) -> ExitCode {
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn fail(code: u8, message: &str, hint: &str) -> ExitCode {
    let hint = if hint.is_empty() { String::new() } else { format!("  hint: {hint}\n") };
    drop(std::io::stderr().write_all(format!("bk: {message}\n{hint}").as_bytes()));
    ExitCode::from(code)
}

/// Where commands are looked for, the first first.
fn folders() -> Vec<PathBuf> {
    let paths = |name| std::env::var_os(name).unwrap_or_default();
    let own = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    std::env::split_paths(&paths("BK_EXEC_PATH"))
        .chain(own)
        .chain([PathBuf::from("/usr/libexec/buildkit")])
        .chain(std::env::split_paths(&paths("PATH")))
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect()
}

/// The first program of that name.
fn find(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|path| executable(path))
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Whether a word can be part of a command's name.
fn names(word: &OsStr) -> Option<&str> {
    let word = word.to_str()?;
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rest = |c: char| first(c) || "+.-".contains(c);
    (word.starts_with(first) && word.chars().all(rest)).then_some(word)
}

/// The longest command that the leading words name, and how many words that took. A file that may
/// not be run counts only where there is no program, as in a shell.
fn longest(arguments: &[OsString]) -> Option<(PathBuf, usize)> {
    let words: Vec<&str> = arguments.iter().take(WORDS).map_while(|word| names(word)).collect();
    let folders = folders();
    let search = |found: fn(&Path) -> bool| {
        (1..=words.len()).rev().find_map(|n| {
            let name = format!("bk-{}", words[..n].join("-"));
            let path = folders.iter().map(|folder| folder.join(&name)).find(|path| found(path))?;
            Some((path, n))
        })
    };
    search(executable).or_else(|| search(Path::is_file))
}

fn launch(arguments: &[OsString]) -> ExitCode {
    let Some((path, used)) = longest(arguments) else { return unknown(&arguments[0]) };
    let error = Command::new(&path)
        .arg0(path.file_name().unwrap_or_default())
        .args(&arguments[used..])
        .exec();
    fail(126, &format!("cannot run '{}': {error}", bk::display(&path)), "")
}

fn unknown(word: &OsStr) -> ExitCode {
    let word = bk::display(word);
    let installed = installed();
    let near = bk::nearest(&word, installed.iter().map(String::as_str));
    let hint = match near.is_empty() {
        true => "'bk --list' names the commands there are".to_owned(),
        false => format!(
            "the nearest is {}",
            near.iter().map(|n| format!("'bk {n}'")).collect::<Vec<_>>().join(", ")
        ),
    };
    fail(127, &format!("'{word}' is not a command"), &hint)
}

/// The names of all `bk-*` there are, without `bk-`.
fn installed() -> std::collections::BTreeSet<String> {
    folders()
        .iter()
        .filter_map(|folder| folder.read_dir().ok())
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.strip_prefix("bk-")?.to_owned();
            (names(name.as_ref()).is_some() && !name.contains('.') && executable(&entry.path()))
                .then_some(name)
        })
        .collect()
}

fn list() -> String {
    let summary = |name: &str| TOOLS.iter().find(|(n, _)| *n == name).map_or("", |(_, s)| s);
    installed().iter().map(|name| format!("{name}\t{}\n", summary(name))).collect()
}

/// Opens the manual; where there is none, the command's own help.
fn help(words: &[OsString]) -> ExitCode {
    if words.is_empty() {
        return show(HELP);
    }
    let Some((path, used)) = longest(words) else { return unknown(&words[0]) };
    // `bk help deb build` is the page bk-deb-build(1), though the program is bk-deb.
    let named: Vec<&str> = words.iter().map_while(|word| names(word)).collect();
    let page = format!("bk-{}", named.join("-"));
    let (none, mut man) = (Stdio::null, Command::new("man"));
    let known = man.args(["-w", &page]).stdout(none()).stderr(none()).status();
    let mut command = Command::new("man");
    if known.is_ok_and(|status| status.success()) {
        command.arg(page);
    } else {
        command = Command::new(&path);
        command.args(&words[used..]).arg("--help");
    }
    let error = command.exec();
    fail(126, &format!("cannot show the manual: {error}"), "")
}

/// Asks each of our tools which programs it may run, and says which are not there: 3 if any is
/// missing, 1 if a tool does not answer.
fn doctor() -> ExitCode {
    let folders = folders();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut status = ExitCode::SUCCESS;
    for (name, _) in TOOLS {
        let Some(tool) = find(&folders, &format!("bk-{name}")) else { continue };
        let needs = match Command::new(&tool).arg("--needs").output() {
            Ok(output) if output.status.success() => output.stdout,
            _ => {
                let reinstall = "install BuildKit again";
                status = fail(1, &format!("cannot run '{}'", bk::display(&tool)), reinstall);
                continue;
            }
        };
        for line in String::from_utf8_lossy(&needs).lines() {
            let program = line.split('\t').next().unwrap_or_default();
            if find(&path, program).is_none() {
                show(&format!("bk-{name}\t{line}\n"));
                if status == ExitCode::SUCCESS {
                    status = ExitCode::from(3);
                }
            }
        }
    }
    status
}
