//! bk-test beside tox, uv and pytest alone, on the same tests.

use std::path::Path;
use std::process::Command;

use bk::Result;

use super::deb::fresh;
use super::measure::{Case, Target};
use crate::install;

/// As many tests as itsdangerous has.
const TESTS: usize = 300;

/// The cases.
pub fn cases(dir: &Path, bk_test: &Path) -> Result<Vec<Case>> {
    let programs = install::python(&dir.join("testers"), &["tox", "uv", "pytest", "build"])?;
    let project = dir.join("test-project");
    fresh(&project)?;
    bk::file::write(
        &project.join("pyproject.toml"),
        "[build-system]\nrequires = ['flit_core']\nbuild-backend = 'flit_core.buildapi'\n\
         [project]\nname = 'demo'\nversion = '1.0'\ndescription = 'd'\nrequires-python = '>=3.9'\n\
         [dependency-groups]\ntest = ['pytest']\n",
    )?;
    bk::file::write(
        &project.join("tox.ini"),
        "[testenv]\npackage = wheel\ndependency_groups = test\ncommands = pytest -q -p no:cacheprovider\n",
    )?;
    for package in ["demo", "tests"] {
        bk::file::create_dir(&project.join(package))?;
    }
    bk::file::write(&project.join("demo/__init__.py"), "def double(x):\n    return 2 * x\n")?;
    let text = format!(
        "import pytest, demo\n@pytest.mark.parametrize('x', range({TESTS}))\n\
         def test_double(x):\n    assert demo.double(x) == x + x\n"
    );
    bk::file::write(&project.join("tests/test_demo.py"), text)?;
    // uv stands before pip for both of us.
    let path = install::path_with(&[&programs])?;
    let state = dir.join("test-state");
    let ours = |words: &[&str], clear: &[&str]| {
        let (program, project, path) = (bk_test.to_owned(), project.clone(), path.clone());
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let clear: Vec<_> = clear.iter().map(|name| state.join(name)).collect();
        let state = state.clone();
        move || {
            for dir in &clear {
                fresh(dir)?;
            }
            let mut command = Command::new(&program);
            command.args(&words).current_dir(&project).env("PATH", &path).env("BK_ROOT", &state);
            Ok(command)
        }
    };
    let theirs = |program: &Path, words: &[&str], clear: Option<&str>| {
        let (program, project, path) = (program.to_owned(), project.clone(), path.clone());
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let clear = clear.map(|name| project.join(name));
        move || {
            if let Some(dir) = &clear {
                fresh(dir)?;
            }
            let mut command = Command::new(&program);
            command.args(&words).current_dir(&project).env("PATH", &path);
            Ok(command)
        }
    };
    let cache = ["var/cache/buildkit/test"];
    let run: &[&str] = &["run", "-q"];
    let pytest: &[&str] =
        &["run", "-q", "--group", "test", "pytest", "-q", "-p", "no:cacheprovider"];
    let alone: &[&str] = &["-m", "pytest", "-q", "-p", "no:cacheprovider"];
    let (tox, uv) = (programs.join("tox"), programs.join("uv"));
    let case = |name: &str, peer: &str, target, ours, theirs| Case {
        name: name.into(),
        peer: peer.into(),
        batch: 1,
        target,
        ours,
        theirs,
    };
    Ok(vec![
        case(
            "test run, warm",
            "pytest alone",
            Target::Within(1.25),
            Box::new(ours(run, &[])),
            Box::new(theirs(&programs.join("python3"), alone, None)),
        ),
        case(
            "test run, warm",
            "uv run pytest",
            Target::Within(1.0),
            Box::new(ours(run, &[])),
            Box::new(theirs(&uv, pytest, None)),
        ),
        case(
            "test run, warm",
            "tox",
            Target::Faster(1.2),
            Box::new(ours(run, &[])),
            Box::new(theirs(&tox, &["-q", "-e", "py"], None)),
        ),
        case(
            "test run, cold",
            "uv run pytest",
            Target::None,
            Box::new(ours(run, &cache)),
            Box::new(theirs(&uv, pytest, Some(".venv"))),
        ),
        case(
            "test run, cold",
            "tox",
            Target::Faster(2.0),
            Box::new(ours(run, &cache)),
            Box::new(theirs(&tox, &["-q", "-e", "py"], Some(".tox"))),
        ),
        case(
            "test release --sdist --wheel",
            "python -m build",
            Target::Faster(5.0),
            Box::new(ours(&["release", "-q", "--force", "--sdist", "--wheel"], &[])),
            Box::new(theirs(&programs.join("python3"), &["-m", "build"], None)),
        ),
    ])
}
