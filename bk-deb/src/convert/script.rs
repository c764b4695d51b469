//! Scripts: the interpreter lines they come with, and those written for entry points.

use crate::python::entry_points::EntryPoint;

/// Debian's Python (Debian Python Policy 4.1: never `env`, never a version).
const PYTHON: &str = "#!/usr/bin/python3";

/// The interpreter line a script should start with, and how many bytes of `head`, the start of its
/// content, that replaces. `None` where it is right as it is, or is none of Python's.
pub fn shebang(head: &[u8]) -> Option<(String, usize)> {
    let line = first_line(head)?.strip_prefix(b"#!")?;
    let text = std::str::from_utf8(line).ok()?.trim();
    let mut words = text.split_ascii_whitespace();
    let mut interpreter = words.next()?;
    let taken = line.len() + 2;
    if interpreter.ends_with("/sh")
        && let Some(length) = trampoline(&head[taken..])
    {
        return Some((PYTHON.into(), taken + length));
    }
    if interpreter.ends_with("/env") {
        interpreter = words.next()?;
        while interpreter.starts_with('-') || interpreter.contains('=') {
            interpreter = words.next()?;
        }
    }
    if !is_python(interpreter) {
        return None;
    }
    let options = words.collect::<Vec<_>>().join(" ");
    let new = [PYTHON, &options].join(" ").trim_end().to_owned();
    (new.as_bytes() != &head[..taken]).then_some((new, taken))
}

/// Whether the content starts with an interpreter line.
pub fn has_shebang(head: &[u8]) -> bool {
    head.starts_with(b"#!")
}

/// Whether what runs a script is something that can: a file by its whole path, or Python.
pub fn names_interpreter(head: &[u8]) -> bool {
    let line = first_line(head).and_then(|line| line.strip_prefix(b"#!"));
    let text = line.map(String::from_utf8_lossy).unwrap_or_default();
    let interpreter = text.split_ascii_whitespace().next().unwrap_or_default();
    interpreter.starts_with('/') || is_python(interpreter)
}

fn first_line(head: &[u8]) -> Option<&[u8]> {
    // A line longer than what the caller read is no interpreter line: Linux takes 255 bytes.
    let end = memchr::memchr(b'\n', head)?;
    Some(&head[..end])
}

/// `python`, `pythonw`, `python3.11`, `pypy3`, with or without a folder; not `python2`, whose code
/// Python 3 does not run.
fn is_python(interpreter: &str) -> bool {
    let name = interpreter.rsplit('/').next().unwrap_or(interpreter);
    let Some(rest) = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy")) else {
        return false;
    };
    let version = rest.trim_end_matches('w');
    version.is_empty()
        || version
            .strip_prefix('3')
            .is_some_and(|v| v.chars().all(|c| c == '.' || c.is_ascii_digit()))
}

/// The length of what pip and distlib write behind `#!/bin/sh` where the interpreter's path is too
/// long for the kernel: `'''exec' /a/long/path/python3 "$0" "$@"` and `' '''`.
fn trampoline(rest: &[u8]) -> Option<usize> {
    let exec = rest.strip_prefix(b"\n'''exec' ")?;
    let line = first_line(exec)?;
    let text = std::str::from_utf8(line).ok()?;
    let interpreter = text.trim().strip_suffix("\"$0\" \"$@\"")?.trim().trim_matches('"');
    let end = exec[line.len()..].strip_prefix(b"\n' '''")?;
    is_python(interpreter).then(|| rest.len() - end.len())
}

/// The script of a command. Nothing but the standard library is imported before the command itself.
pub fn entry_point(entry: &EntryPoint) -> String {
    let EntryPoint { module, attribute, .. } = entry;
    // `from m import a` also finds submodules, as importlib.metadata's EntryPoint.load does not
    // need to; an attribute of an attribute is reached through its first part.
    let first = attribute.split('.').next().unwrap_or(attribute);
    format!(
        "{PYTHON}\nimport sys\n\nfrom {module} import {first}\n\n\
         if __name__ == \"__main__\":\n    sys.exit({attribute}())\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(script: &str) -> String {
        match shebang(script.as_bytes()) {
            Some((line, taken)) => line + &script[taken..],
            None => script.to_owned(),
        }
    }

    #[test]
    fn every_form_of_python_becomes_debians() {
        for line in [
            "#!python",
            "#!pythonw",
            "#! /usr/bin/env python",
            "#!/usr/bin/env -S python3",
            "#!/opt/venv/bin/python3.11",
            "#!/usr/bin/python3\r",
            "#!/usr/bin/env PYTHONPATH=. python3",
        ] {
            assert_eq!(rewritten(&format!("{line}\nx\n")), "#!/usr/bin/python3\nx\n", "{line}");
        }
        assert_eq!(rewritten("#!python -E -u\nx"), "#!/usr/bin/python3 -E -u\nx");
        let long = "#!/bin/sh\n'''exec' \"/a b/python3.11\" \"$0\" \"$@\"\n' '''\nimport x\n";
        assert_eq!(rewritten(long), "#!/usr/bin/python3\nimport x\n");
    }

    #[test]
    fn other_interpreters_stay() {
        for script in [
            "#!/bin/sh\necho\n",
            "#!/usr/bin/python3\n",
            "#!/usr/bin/env perl\n",
            "#!/usr/bin/python2\n",
            "#!/usr/bin/env\n",
            "#!",
            "x\n",
            "#!python",
        ] {
            assert_eq!(rewritten(script), script);
        }
    }

    #[test]
    fn a_command_calls_what_its_entry_point_says() {
        let all = crate::python::entry_points::parse("[console_scripts]\nx = os.path:sep.join\n")
            .unwrap();
        let text = entry_point(&all[0]);
        assert!(text.contains("from os.path import sep\n"), "{text}");
        assert!(text.contains("sys.exit(sep.join())"), "{text}");
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            shebang(&bytes);
            shebang(&[b"#!/bin/sh\n'''exec' ", &bytes[..]].concat());
        }
    }
}
