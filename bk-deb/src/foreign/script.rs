//! Maintainer scripts that are called as on the system they were written for.

use bk::{Error, Result, sanitize};

/// rpm's four scripts (its manual, "Scriptlets"), and dpkg's (Policy 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    BeforeInstall,
    AfterInstall,
    BeforeRemove,
    AfterRemove,
}

impl Phase {
    pub const ALL: [Phase; 4] =
        [Phase::BeforeInstall, Phase::AfterInstall, Phase::BeforeRemove, Phase::AfterRemove];

    /// dpkg's name of it.
    pub fn debian(self) -> &'static str {
        match self {
            Phase::BeforeInstall => "preinst",
            Phase::AfterInstall => "postinst",
            Phase::BeforeRemove => "prerm",
            Phase::AfterRemove => "postrm",
        }
    }

    /// rpm's name of it.
    pub fn rpm(self) -> &'static str {
        match self {
            Phase::BeforeInstall => "%pre",
            Phase::AfterInstall => "%post",
            Phase::BeforeRemove => "%preun",
            Phase::AfterRemove => "%postun",
        }
    }
}

/// A script for dpkg that runs one of rpm's. rpm gives it the number of the package's versions that
/// will be there: 1 or 2 when one comes, 0 or 1 when one goes.
pub fn for_dpkg(phase: Phase, interpreter: &[String], body: &str) -> Result<String> {
    let cases = match phase {
        Phase::BeforeInstall => "install) set -- 1 ;;\nupgrade) set -- 2 ;;\n",
        Phase::AfterInstall => "configure) if [ -z \"$2\" ]; then set -- 1; else set -- 2; fi ;;\n",
        Phase::BeforeRemove | Phase::AfterRemove => "remove) set -- 0 ;;\nupgrade) set -- 1 ;;\n",
    };
    let case = format!("case \"$1\" in\n{cases}*) exit 0 ;;\nesac\n");
    let program = interpreter.first().map_or("/bin/sh", String::as_str);
    if is_shell(program) && interpreter.len() < 2 {
        return Ok(format!("#!{program}\n{case}{}\n", body.trim_end()));
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    let reads_stdin = ["perl", "python", "ruby"].iter().any(|known| name.starts_with(known));
    let end = "END-OF-SCRIPT";
    if !reads_stdin || interpreter.len() > 1 || body.lines().any(|line| line == end) {
        let name = sanitize(&interpreter.join(" "));
        return Err(refused(phase.rpm(), &format!("it is run by '{name}'")));
    }
    Ok(format!("#!/bin/sh\n{case}exec {program} - \"$1\" <<'{end}'\n{}\n{end}\n", body.trim_end()))
}

/// A script for rpm that runs one of dpkg's, with the words of Policy 6.5: the interpreter, and the
/// text. The version before an upgrade is not known to it: it is told as the package's own.
pub fn for_rpm(phase: Phase, text: &str, version: &str) -> Result<(String, String)> {
    let (shebang, body) = text.split_once('\n').unwrap_or((text, ""));
    let words: Vec<&str> =
        shebang.strip_prefix("#!").unwrap_or_default().split_ascii_whitespace().collect();
    let (program, options) = match words.as_slice() {
        [program, options @ ..] if is_shell(program) => (*program, options),
        _ => return Err(refused(phase.debian(), "it is no shell script")),
    };
    let (install, upgrade) = match phase {
        Phase::BeforeInstall => ("install".to_owned(), format!("upgrade '{version}'")),
        Phase::AfterInstall => ("configure ''".to_owned(), format!("configure '{version}'")),
        Phase::BeforeRemove | Phase::AfterRemove => {
            ("remove".to_owned(), format!("upgrade '{version}'"))
        }
    };
    // Installs are counted from 1, removals from 0.
    let first = match phase {
        Phase::BeforeInstall | Phase::AfterInstall => 1,
        Phase::BeforeRemove | Phase::AfterRemove => 0,
    };
    let set = options.iter().map(|option| format!("set {option}\n")).collect::<String>();
    let text = format!(
        "{set}if [ \"${{1:-{first}}}\" = {first} ]; then set -- {install}; else set -- {upgrade}; fi\n{}\n",
        body.trim_end()
    );
    Ok((program.to_owned(), text))
}

fn is_shell(program: &str) -> bool {
    ["sh", "bash", "dash"].contains(&program.rsplit('/').next().unwrap_or(program))
}

/// The error for what has no counterpart on the other system.
pub fn refused(what: &str, why: &str) -> Error {
    Error::new(format!("its script '{what}' cannot be carried over: {why}"))
        .hint("leave all scripts out with --drop-scripts, and do by hand what they did")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn runs(script: &str, words: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        bk::file::write(&path, script).unwrap();
        let first = script.lines().next().unwrap().trim_start_matches("#!");
        let output = Command::new(first).arg(&path).args(words).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn rpms_scripts_are_called_as_rpm_calls_them() {
        for (phase, words, number) in [
            (Phase::BeforeInstall, &["install"][..], "1"),
            (Phase::BeforeInstall, &["upgrade", "1.0"], "2"),
            (Phase::AfterInstall, &["configure", ""], "1"),
            (Phase::AfterInstall, &["configure", "1.0"], "2"),
            (Phase::AfterInstall, &["abort-remove"], ""),
            (Phase::BeforeRemove, &["remove"], "0"),
            (Phase::AfterRemove, &["upgrade", "2.0"], "1"),
            (Phase::AfterRemove, &["purge"], ""),
        ] {
            let shell = for_dpkg(phase, &[], "echo $1").unwrap();
            assert_eq!(runs(&shell, words), number, "{phase:?} {words:?}");
            let python = ["/usr/bin/python3".to_owned()];
            let python = for_dpkg(phase, &python, "import sys\nprint(sys.argv[1])").unwrap();
            assert_eq!(runs(&python, words), number, "{phase:?} {words:?}");
        }
        assert!(for_dpkg(Phase::AfterInstall, &["<lua>".into()], "x").is_err());
    }

    #[test]
    fn dpkgs_scripts_are_called_as_dpkg_calls_them() {
        for (phase, number, words) in [
            (Phase::BeforeInstall, "1", "install"),
            (Phase::BeforeInstall, "2", "upgrade 1-1"),
            (Phase::AfterInstall, "1", "configure"),
            (Phase::AfterInstall, "2", "configure 1-1"),
            (Phase::BeforeRemove, "0", "remove"),
            (Phase::AfterRemove, "1", "upgrade 1-1"),
        ] {
            let (program, text) = for_rpm(phase, "#!/bin/sh -e\necho $*\n", "1-1").unwrap();
            assert_eq!(runs(&format!("#!{program}\n{text}"), &[number]), words, "{phase:?}");
        }
        assert!(for_rpm(Phase::AfterInstall, "#!/usr/bin/perl\n", "1").is_err());
    }
}
