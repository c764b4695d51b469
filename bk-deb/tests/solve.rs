//! Choosing versions: against an index on this machine, and against uv on real names.

// Helpers of tests are tests, which clippy.toml cannot know.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use bk::Console;
use bk_deb::distro::Distro;
use bk_deb::fetch::Fetch;
use bk_deb::graph::{Reuse, Rules};
use bk_deb::python::config;
use bk_deb::python::requirement::{Indexes, Wanted, Wish};
use bk_deb::python::solve::{Problem, Resolver};
use bk_deb::supply::Supply;
use bk_deb::target::Target;
use common::index::{Style, Wheels, serve, wheel};

/// What was chosen, and how.
struct Chosen {
    pins: BTreeMap<String, String>,
    built: Vec<String>,
}

/// What a test asks for.
struct Ask<'a> {
    wanted: &'a [&'a str],
    constraints: &'a [&'a str],
    distro: &'a [&'a str],
    names: &'a [(&'a str, &'a str)],
    indexes: Indexes,
    reuse: Reuse,
    pre: bool,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Ask {
            wanted: &[],
            constraints: &[],
            distro: &[],
            names: &[],
            indexes: Indexes::default(),
            reuse: Reuse::Never,
            pre: false,
        }
    }
}

impl Ask<'_> {
    fn choose(&self, cache: &Path) -> Result<Chosen, bk::Error> {
        let mut lines = vec!["python3\t3.11.2-1\t", "python3.11\t3.11.2-6\t", "libc6\t2.36-9\t"];
        lines.extend(self.distro);
        let distro = Distro::from_lines("bookworm", &lines).with_names(self.names);
        let target = Target::new(&distro, "amd64", None)?;
        let console = Console::silent();
        let fetch = Fetch::new(&console, false);
        let mut wish = Wish::default();
        self.wanted.iter().try_for_each(|wanted| wish.add(wanted))?;
        let requirements: Vec<_> = wish
            .wanted
            .iter()
            .map(|wanted| match wanted {
                Wanted::Requirement(requirement) => (**requirement).clone(),
                Wanted::Path(..) => panic!("a path"),
            })
            .collect();
        let constraints: Vec<_> = self.constraints.iter().map(|c| c.parse().unwrap()).collect();
        let hashes = HashMap::new();
        let supply = Supply {
            fetch: &fetch,
            target: &target,
            folder: cache,
            hashes: &hashes,
            max_size: 1 << 34,
            no_binary: &[],
            distro: &distro,
            console: &console,
        };
        let problem = Problem {
            requirements: &requirements,
            constraints: &constraints,
            preferences: &[],
            indexes: &self.indexes,
            target: &target,
            pre: self.pre,
            no_deps: false,
            scratch: cache,
            supply: &supply,
            distro: &distro,
            reuse: self.reuse,
            rules: &Rules::default(),
        };
        let solution = problem.solve(Resolver::Native, &console)?;
        let pin = |l: &bk_deb::python::lock::Locked| (l.name.to_string(), l.version.to_string());
        Ok(Chosen {
            pins: solution.locked.iter().map(pin).collect(),
            built: solution.built.unwrap().iter().map(ToString::to_string).collect(),
        })
    }
}

/// What uv chooses.
fn uv(wanted: &[&str], index: &str, more: &[&str]) -> Result<BTreeMap<String, String>, String> {
    let mut child = Command::new("uv")
        .args(["pip", "compile", "-", "--no-header", "--no-annotate", "--quiet", "--no-config"])
        .args(["--python-version", "3.11.2", "--python-platform", "x86_64-manylinux_2_36"])
        .args(["--index-url", index])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(wanted.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let pin = |line: &str| line.split_once("==").map(|(a, b)| (a.to_owned(), b.to_owned()));
    Ok(text
        .lines()
        .filter_map(pin)
        .map(|(name, version)| (name.split('[').next().unwrap().to_owned(), version))
        .collect())
}

/// The index that pip uses.
fn index(cache: &Path) -> String {
    let configured = config::indexes(|name| std::env::var(name).ok()).index;
    configured.unwrap_or_else(|| config::default_index(cache, &Console::silent()).unwrap())
}

/// Small and large, with extras, with native wheels only, with much to go back on.
const TREES: &[&str] = &[
    "flask",
    "requests[socks]",
    "cryptography",
    "sphinx",
    "pandas",
    "notebook",
    "django",
    "pydantic",
    "jupyterlab",
    "scikit-learn",
    "matplotlib",
    "PyYAML+Paste+simplejson",
    "grpcio",
    "sqlalchemy[asyncio]",
    "celery",
    "boto3",
    "fastapi[standard]",
    "poetry",
    "httpx[http2,socks]",
    "dask[complete]",
];

#[test]
fn real_trees_are_pinned_as_uv_pins_them() {
    let dir = tempfile::tempdir().unwrap();
    let index = index(dir.path());
    let named = std::env::var("BK_TEST_TREES").ok();
    let trees: Vec<&str> = match &named {
        Some(named) => named.split(' ').collect(),
        None => TREES.to_vec(),
    };
    let mut differ = Vec::new();
    for tree in trees {
        let indexes = Indexes { index: Some(index.clone()), ..Indexes::default() };
        let wanted = tree.split('+').collect::<Vec<_>>();
        let started = std::time::Instant::now();
        let ours = Ask { wanted: &wanted, indexes, ..Ask::default() }.choose(dir.path());
        let took = started.elapsed();
        println!("{tree}: {took:?}");
        let theirs = uv(&wanted, &index, &[]);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours.pins == theirs => {}
            (Ok(ours), Ok(theirs)) => {
                let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
                    let lone = a.iter().filter(|(k, v)| b.get(*k) != Some(*v));
                    lone.map(|(k, v)| format!("{k} {v}")).collect::<Vec<_>>().join(", ")
                };
                let (a, b) = (only(&ours.pins, &theirs), only(&theirs, &ours.pins));
                differ.push(format!("{tree}: ours {a}; uv's {b}"));
            }
            (Ok(_), Err(error)) => differ.push(format!("{tree}: only uv fails: {error}")),
            (Err(error), _) => differ.push(format!("{tree}: {error}")),
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn wheelhouse(dir: &Path, wheels: Wheels<'_>) {
    for (name, version, requires) in wheels {
        let (file, bytes) = wheel(name, version, requires);
        bk::file::write(&dir.join(file), bytes).unwrap();
    }
}

fn pins(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

const TREE: Wheels<'_> = &[
    ("app", "1.0", &["lib>=1,<3", "extra[x]", "gone; sys_platform == 'win32'"]),
    ("app", "2.0rc1", &["lib>=3"]),
    ("lib", "1.0", &[]),
    ("lib", "2.0", &["base<2"]),
    ("lib", "3.0", &["base>=2"]),
    ("extra", "1.0", &["base", "lib<2; extra == 'x'", "other; extra == 'y'"]),
    ("base", "1.5", &[]),
    ("base", "2.0", &[]),
    ("other", "1.0", &[]),
];

#[test]
fn every_kind_of_index_gives_the_same_as_uv() {
    let expected = pins(&[("app", "1.0"), ("lib", "1.0"), ("extra", "1.0"), ("base", "2.0")]);
    for style in [Style::Sidecar, Style::Range, Style::Plain] {
        let dir = tempfile::tempdir().unwrap();
        let (index, log) = serve(style, TREE);
        let indexes = Indexes { index: Some(index.clone()), ..Indexes::default() };
        let ask = Ask { wanted: &["app"], indexes, ..Ask::default() };
        assert_eq!(ask.choose(dir.path()).unwrap().pins, expected);
        let cache = dir.path().join("uv").display().to_string();
        assert_eq!(uv(&["app"], &index, &["--cache-dir", &cache]).unwrap(), expected);
        let asked = std::mem::take(&mut *log.lock().unwrap());
        let ours: Vec<&String> = asked.iter().filter(|l| l.contains("/f/app-1.0")).collect();
        match style {
            Style::Sidecar => assert!(ours.iter().all(|l| l.contains(".metadata")), "{ours:?}"),
            _ => assert!(ours[0].ends_with(" bytes=-65536"), "{ours:?}"),
        }
        // What files need is kept; pages that are old are only asked whether they are the same.
        assert_eq!(ask.choose(dir.path()).unwrap().pins, expected);
        let asked = log.lock().unwrap();
        assert!(asked.iter().all(|line| line.starts_with("/simple/")), "{asked:?}");
    }
}

#[test]
fn a_wheelhouse_needs_no_network() {
    let dir = tempfile::tempdir().unwrap();
    wheelhouse(dir.path(), TREE);
    let links = dir.path().display().to_string();
    let indexes = Indexes { find_links: vec![links.clone()], no_index: true, ..Indexes::default() };
    let cache = dir.path().join("cache");
    let choose = |wanted: &[&str], constraints: &[&str], pre: bool| {
        let indexes = indexes.clone();
        Ask { wanted, constraints, pre, indexes, ..Ask::default() }.choose(&cache).map(|c| c.pins)
    };
    let more = ["--no-index", "--find-links", links.as_str()];
    for wanted in [&["app"][..], &["app", "lib>=1"], &["lib"], &["extra[x,y]"], &["app==2.0rc1"]] {
        assert_eq!(
            choose(wanted, &[], false).unwrap(),
            uv(wanted, "http://127.0.0.1:1", &more).unwrap()
        );
    }
    assert_eq!(choose(&["app>=1"], &[], true).unwrap()["app"], "2.0rc1");
    assert_eq!(
        choose(&["lib"], &["base<2"], false).unwrap(),
        pins(&[("lib", "2.0"), ("base", "1.5")])
    );
    let said = |wanted: &[&str]| format!("{}", choose(wanted, &[], false).unwrap_err());
    let conflict = said(&["lib>=3", "base<2"]);
    assert!(conflict.contains("base") && conflict.contains("lib"), "{conflict}");
    let missing = said(&["nosuchthing"]);
    assert!(missing.contains("no index and no folder has 'nosuchthing'"), "{missing}");
}

/// Chooses among the wheels of a folder alone, as uv does, and returns what is chosen.
#[track_caller]
fn chosen_as_by_uv(wanted: &[&str], wheels: Wheels<'_>) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    wheelhouse(dir.path(), wheels);
    let links = dir.path().display().to_string();
    let indexes = Indexes { find_links: vec![links.clone()], no_index: true, ..Indexes::default() };
    let ours = Ask { wanted, indexes, ..Ask::default() };
    let ours = ours.choose(&dir.path().join("cache")).unwrap().pins;
    let alone = ["--no-index", "--find-links", &links];
    assert_eq!(ours, uv(wanted, "http://127.0.0.1:1", &alone).unwrap());
    ours
}

/// Wheels that require each other at random, most of them with something to go back on.
struct Forest(u64);

impl Forest {
    /// A number below `end`, of a linear congruential generator (Knuth's MMIX).
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }

    fn requirement(&mut self, name: u64, versions: u64) -> String {
        let (extra, v) = (["", "[e]"][usize::from(self.below(4) == 0)], self.below(versions) + 1);
        match self.below(6) {
            0 => format!("p{name}{extra}"),
            1 => format!("p{name}{extra}<={v}"),
            2 => format!("p{name}!={v}"),
            3 => format!("p{name}=={v}.0"),
            4 => format!("p{name}>={},<={}", v.saturating_sub(1), v + 1),
            _ => format!("p{name}{extra}>={v}"),
        }
    }

    fn plant(&mut self, dir: &Path) {
        let (names, versions) = (self.below(9) + 8, self.below(8) + 4);
        for name in 0..names {
            for version in 1..=versions {
                let mut requires = Vec::new();
                for _ in 0..self.below(5) {
                    let other = self.below(names);
                    // Mostly of what comes after it, so that not everything is a circle.
                    if other > name || other < name && self.below(5) == 0 {
                        requires.push(self.requirement(other, versions));
                    }
                }
                let other = self.below(names);
                if other != name && self.below(2) == 0 {
                    requires.push(format!("{}; extra == 'e'", self.requirement(other, versions)));
                }
                let version = match self.below(8) {
                    0 => format!("{version}.0rc1"),
                    _ => format!("{version}.0"),
                };
                let requires: Vec<&str> = requires.iter().map(String::as_str).collect();
                wheelhouse(dir, &[(&format!("p{name}"), &version, &requires)]);
            }
        }
    }
}

#[test]
fn forests_of_wheels_are_pinned_as_uv_pins_them() {
    let mut solved = 0;
    for seed in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        Forest(seed).plant(dir.path());
        let links = dir.path().display().to_string();
        let find_links = vec![links.clone()];
        let indexes = Indexes { find_links, no_index: true, ..Indexes::default() };
        let wanted = &["p0", "p1>=2", "p2<=2", "p3[e]"];
        let ours = Ask { wanted, indexes, ..Ask::default() }.choose(&dir.path().join("cache"));
        let theirs = uv(wanted, "http://127.0.0.1:1", &["--no-index", "--find-links", &links]);
        solved += usize::from(theirs.is_ok());
        assert_eq!(ours.map(|chosen| chosen.pins).ok(), theirs.ok(), "{seed}");
    }
    assert!((1..12).contains(&solved), "{solved} can be had");
}

/// What requires a pre-release is not given up for an older version of itself, since others of the tree
/// could not take it.
#[test]
fn a_pre_release_that_is_required_is_taken_by_all() {
    let wheels: [(&str, &str, &[&str]); 5] = [
        ("app", "2.0", &["lib", "part==1.0b1"]),
        ("app", "1.0", &["lib", "part"]),
        ("lib", "1.0", &["part>=0.5"]),
        ("part", "0.9", &[]),
        ("part", "1.0b1", &[]),
    ];
    let expected = pins(&[("app", "2.0"), ("lib", "1.0"), ("part", "1.0b1")]);
    assert_eq!(chosen_as_by_uv(&["app"], &wheels), expected);
}

/// Nobody gets a pre-release because some version of something would take one.
#[test]
fn a_pre_release_that_would_do_is_left_where_another_does() {
    let wheels: [(&str, &str, &[&str]); 4] = [
        ("app", "1.0", &["part>=0.5a1", "lib"]),
        ("lib", "1.0", &["part"]),
        ("part", "0.9", &[]),
        ("part", "1.0b1", &[]),
    ];
    let expected = pins(&[("app", "1.0"), ("lib", "1.0"), ("part", "0.9")]);
    assert_eq!(chosen_as_by_uv(&["lib", "app"], &wheels), expected);
}

#[test]
fn who_requires_what_nobody_has_is_told() {
    let dir = tempfile::tempdir().unwrap();
    wheelhouse(dir.path(), &[("app", "1.0", &["gone>=1"])]);
    let find_links = vec![dir.path().display().to_string()];
    let indexes = Indexes { find_links, no_index: true, ..Indexes::default() };
    let error = Ask { wanted: &["app"], indexes, ..Ask::default() }
        .choose(&dir.path().join("cache"))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("'gone', which 'app 1.0' requires"), "{error}");
}

#[test]
fn the_distributions_packages_are_candidates() {
    let dir = tempfile::tempdir().unwrap();
    wheelhouse(
        dir.path(),
        &[
            ("app", "1.0", &["lib", "base"]),
            ("strict", "1.0", &["lib>=2"]),
            ("both", "1.0", &["lib", "base>=2"]),
            ("both", "0.9", &["lib"]),
            ("asks", "1.0", &["lib[x]"]),
            ("lib", "1.0", &["base", "other; extra == 'x'"]),
            ("lib", "2.0", &["base"]),
            ("base", "1.0", &[]),
            ("base", "2.0", &[]),
            ("other", "1.0", &[]),
        ],
    );
    let find_links = vec![dir.path().display().to_string()];
    let choose = |wanted: &[&str], reuse: Reuse| {
        let indexes =
            Indexes { find_links: find_links.clone(), no_index: true, ..Indexes::default() };
        let distro = ["python3-lib\t1.0-1\t\tpython3-base (<< 2)", "python3-base\t1.0-1\t\t"];
        let names = [("lib", "python3-lib"), ("base", "python3-base")];
        Ask { wanted, indexes, reuse, distro: &distro, names: &names, ..Ask::default() }
            .choose(&dir.path().join("cache"))
            .map(|chosen| chosen.built)
    };
    assert_eq!(choose(&["app"], Reuse::Prefer).unwrap(), ["app"]);
    assert_eq!(choose(&["app"], Reuse::Never).unwrap(), ["app", "base", "lib"]);
    assert_eq!(choose(&["strict"], Reuse::Prefer).unwrap(), ["lib", "strict"]);
    // Debian's lib would not be installed beside base 2.0, so lib is built as well.
    assert_eq!(choose(&["both"], Reuse::Prefer).unwrap(), ["base", "both", "lib"]);
    // The distribution's lib has no extras: what they need is built.
    assert_eq!(choose(&["asks"], Reuse::Prefer).unwrap(), ["asks", "other"]);
    assert_eq!(choose(&["app"], Reuse::Require).unwrap(), ["app"]);
    assert!(choose(&["strict"], Reuse::Require).is_err());
}
