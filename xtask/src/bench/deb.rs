//! bk-deb beside wheel2deb, and beside what reading a wheel and writing an archive cost at least.

use std::path::{Path, PathBuf};
use std::process::Command;

use bk::{Context, Result, display};

use super::measure::{Case, Target};
use crate::{install, process};

/// What wheel2deb runs.
const APT: &[&str] =
    &["apt-file", "debhelper", "dh-python", "dpkg-dev", "fakeroot", "python3", "unzip", "zstd"];

/// wheel2deb, and the last versions of what it needs that it works with; uv, which chooses versions.
const PEER: &[&str] = &["wheel2deb==0.9.5", "click<8.2", "typer<0.13", "uv"];

/// The trees, from small to large, and the processor time each may take.
const TREES: [(&str, f64); 3] = [("flask", 0.3), ("sphinx", 2.0), ("pandas", 3.0)];

/// How many times the floor a tree may take, whatever its size.
const OF_FLOOR: f64 = 1.6;

/// The floor: every file is read, and written into one compressed archive per wheel, as level 3 of
/// zstd does it, with nothing decided about any of them.
const FLOOR: &str = r#"
for wheel in "$1"/*.whl; do
    mkdir "$2/x"
    unzip -q "$wheel" -d "$2/x"
    tar -C "$2/x" -c . | zstd -q -3 -T1 >"$2/$(basename "$wheel").tar.zst"
    rm -r "$2/x"
done"#;

/// The cases: the same folder of wheels for each side.
pub fn cases(dir: &Path, bk_deb: &Path) -> Result<Vec<Case>> {
    install::apt(APT)?;
    let peer = install::python(&dir.join("wheel2deb"), PEER)?;
    let mut cases = Vec::new();
    for (tree, most) in TREES {
        let wheels = wheels(dir, &peer, tree)?;
        let state = dir.join("state");
        let ours = |out: PathBuf, compression: &'static [&'static str]| {
            let (bk_deb, wheels, state) = (bk_deb.to_owned(), wheels.clone(), state.clone());
            Box::new(move || {
                let out = fresh(&out)?;
                let mut command = Command::new(&bk_deb);
                command.args(["build", "--quiet", "--no-deps", "-o"]).arg(out);
                command.env("BK_ROOT", &state).args(compression).args(files(&wheels, "whl")?);
                Ok(command)
            })
        };
        let (from, to, program) = (wheels.clone(), dir.join("wheel2deb-out"), peer.clone());
        cases.push(Case {
            name: format!("deb {tree}"),
            peer: "wheel2deb".into(),
            batch: 1,
            target: Target::Cpu(most),
            ours: ours(dir.join("bk-deb-out"), &[]),
            theirs: Box::new(move || {
                let mut command = Command::new(program.join("wheel2deb"));
                command.arg("default").arg("-x").arg(&from).arg("-o").arg(fresh(&to)?);
                Ok(command)
            }),
        });
        let (from, to) = (wheels.clone(), dir.join("floor-out"));
        cases.push(Case {
            name: format!("deb {tree}"),
            peer: "unzip + tar | zstd".into(),
            batch: 1,
            target: Target::Within(OF_FLOOR),
            ours: ours(dir.join("bk-deb-out"), &["--compression", "zstd"]),
            theirs: Box::new(move || {
                let mut command = Command::new("bash");
                command.args(["-euc", FLOOR, "floor"]).arg(&from).arg(fresh(&to)?);
                Ok(command)
            }),
        });
    }
    cases.extend(warm(dir, bk_deb, &peer)?);
    Ok(cases)
}

/// What is done with everything at hand: versions are chosen, nothing is built since nothing has
/// changed; beside uv, which only chooses. And the same choice with nothing at hand but the index.
fn warm(dir: &Path, bk_deb: &Path, peer: &Path) -> Result<Vec<Case>> {
    let requirements = dir.join("sphinx.txt");
    bk::file::write(&requirements, "sphinx\n")?;
    let case = |name: &str, word: &'static str, target, cold| {
        let (bk_deb, state, out) = (bk_deb.to_owned(), dir.join("state"), dir.join("warm-out"));
        let (uv, requirements, cache) =
            (peer.join("uv"), requirements.clone(), dir.join("uv-cache"));
        Case {
            name: name.into(),
            peer: "uv pip compile".into(),
            batch: 1,
            target,
            ours: Box::new(move || {
                let mut command = Command::new(&bk_deb);
                command.args(["build", "--quiet", "--all", "sphinx", "-o"]).arg(&out);
                command.env("BK_ROOT", &state).args((!word.is_empty()).then_some(word));
                if cold {
                    command.arg("--cache").arg(fresh(&out.with_file_name("cold-cache"))?);
                }
                Ok(command)
            }),
            theirs: Box::new(move || {
                let mut command = Command::new(&uv);
                command.args(["pip", "compile", "--quiet"]).arg(&requirements);
                command.env("UV_CACHE_DIR", &cache).args(cold.then_some("--no-cache"));
                Ok(command)
            }),
        }
    };
    Ok(vec![
        case("deb unchanged", "", Target::Wall(0.1), false),
        case("deb resolve", "--dry-run", Target::Wall(0.05), false),
        case("deb resolve, nothing known", "--dry-run", Target::WallWithin(1.3), true),
    ])
}

/// The wheels of a tree, fetched once.
fn wheels(dir: &Path, venv: &Path, tree: &str) -> Result<PathBuf> {
    let wheels = dir.join("wheels").join(tree);
    if files(&wheels, "whl").is_ok_and(|files| !files.is_empty()) {
        return Ok(wheels);
    }
    bk::file::create_dir(&wheels)?;
    process::run(Command::new(venv.join("pip")).args(["-q", "wheel", tree, "-w"]).arg(&wheels))?;
    Ok(wheels)
}

/// An empty folder.
pub fn fresh(dir: &Path) -> Result<&Path> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    bk::file::create_dir(dir)?;
    Ok(dir)
}

/// The files with that ending, sorted.
pub fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = dir.read_dir().context(|| format!("cannot read '{}'", display(dir)))?;
    let mut files: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == ending));
    files.sort();
    Ok(files)
}
