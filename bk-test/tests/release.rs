//! `bk-test release`: beside twine, tar, setuptools' bdist_egg, and imports from what was made.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::World;

const SETUP: &str = "from setuptools import setup, Extension\n\
    setup(name='demo-x', version='1.0', description='d', packages=['demo'], package_data={'demo': ['*.txt']},\n\
    long_description='Words.', long_description_content_type='text/markdown', zip_safe=None,\n\
    install_requires=['six >= 1.0', 'tomli; python_version < \"3.8\"'],\n\
    extras_require={'a': ['click'], 'b': ['idna; python_version >= \"3.8\"', 'attrs[x]>1,<90']},\n\
    entry_points={'console_scripts': ['demo=demo:main']}, ext_modules=[Extension('demo._c', ['demo/_c.c'])])\n";
const C: &str = "#include <Python.h>\n\
    static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, \"_c\", 0, -1, 0};\n\
    PyMODINIT_FUNC PyInit__c(void) { PyObject *m = PyModule_Create(&def); \
    PyModule_AddIntConstant(m, \"answer\", 42); return m; }\n";

fn demo(world: &World, dir: &str) {
    world.write(&format!("{dir}/setup.py"), SETUP);
    world.write(
        &format!("{dir}/pyproject.toml"),
        "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n",
    );
    world.write(&format!("{dir}/MANIFEST.in"), "include demo/*.txt\n");
    world.write(&format!("{dir}/demo/__init__.py"), "def main(): pass\n");
    world.write(&format!("{dir}/demo/_c.c"), C);
    world.write(&format!("{dir}/demo/data.txt"), "x");
    world.executable(&format!("{dir}/demo/run.txt"), "y");
}

/// The files in a folder with their SHA-256.
fn sums(world: &World, dir: &str) -> String {
    let script = "cd \"$1\" && sha256sum -- *";
    world.run("/bin/sh", &["-c", script, "sh", dir]).ok()
}

#[test]
fn the_same_sources_give_the_same_bytes_that_pip_and_twine_take() {
    let world = World::new();
    demo(&world, "one");
    demo(&world, "two/other");
    let env = |args: &[&str]| world.run("/usr/bin/env", args).ok();
    let bk = env!("CARGO_BIN_EXE_bk-test");
    let first =
        env(&["SOURCE_DATE_EPOCH=1700000001", bk, "--root", "r", "release", "one", "-o", "d1"]);
    // Another place, another umask, times, locale, and another cache.
    let script = "umask 077; touch -d 2001-01-01 two/other/demo/*; chmod 700 two/other/demo/run.txt; chmod 600 two/other/setup.py; exec \"$@\"";
    world
        .run(
            "/bin/sh",
            &[
                "-c",
                script,
                "sh",
                "/usr/bin/env",
                "SOURCE_DATE_EPOCH=1700000001",
                "LC_ALL=C",
                "TZ=Asia/Tokyo",
                bk,
                "--root",
                "r2",
                "release",
                "two/other",
                "-o",
                "d2",
            ],
        )
        .ok();
    assert_eq!(sums(&world, "d1"), sums(&world, "d2"));
    let made: Vec<&str> = first.lines().collect();
    let [sdist, wheel, egg] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(*sdist, "d1/demo_x-1.0.tar.gz");
    // Nothing is left in the project.
    assert!(!world.path("one/build").exists() && !world.path("one/demo_x.egg-info").exists());
    world.run("twine", &["check", "--strict", sdist, wheel]).ok();
    let listed = world.run("tar", &["--numeric-owner", "--utc", "-tvzf", sdist]).ok();
    let lines: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in &lines {
        assert_eq!((line[1], line[3], line[4]), ("0/0", "2023-11-14", "22:13"), "{listed}");
        let mode = if line[5].ends_with("run.txt") { "-rwxr-xr-x" } else { "-rw-r--r--" };
        assert_eq!(line[0], mode, "{listed}");
    }
    // pip holds the files against the RECORD's names, and `wheel` against its hashes.
    let check = "import sys, zipfile, csv, hashlib, base64\n\
        z = zipfile.ZipFile(sys.argv[1]); names = set(z.namelist())\n\
        rows = list(csv.reader(z.read('demo_x-1.0.dist-info/RECORD').decode().splitlines()))\n\
        assert {r[0] for r in rows} == names, names\n\
        for path, digest, size in rows:\n    \
        d = base64.urlsafe_b64encode(hashlib.sha256(z.read(path)).digest()).decode().rstrip('=')\n    \
        assert digest in ('', 'sha256=' + d) and size in ('', str(len(z.read(path)))), path";
    world.run("python3", &["-c", check, wheel]).ok();
    // What is there stays, unless it is the same or it is said.
    world
        .bk(&["--root", "r", "release", "one", "-o", "d1"])
        .code(1)
        .says("another file has that name");
    env(&["SOURCE_DATE_EPOCH=1700000001", bk, "--root", "r", "release", "one", "-o", "d1"]);
    world.bk(&["--root", "r", "release", "one", "-o", "d1", "--force"]).ok();
    let dry = world.bk(&["--root", "r", "release", "one", "-o", "d3", "--wheel", "--dry-run"]).ok();
    assert_eq!(dry, wheel.replace("d1", "d3") + "\n");
    assert!(!world.path("d3").exists());

    // The egg is what setuptools makes of it, but for what cannot be the same: compiled modules, and a
    // stub that works. It imports from the zip.
    world.run("/usr/bin/env", &["-C", "one", "python3", "setup.py", "-q", "bdist_egg"]).ok();
    let theirs = fs::read_dir(world.path("one/dist")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(theirs.file_name().unwrap().to_str().unwrap(), egg.strip_prefix("d1/").unwrap());
    let compare = "import sys, zipfile\na, b = (zipfile.ZipFile(p) for p in sys.argv[1:])\n\
        skip = lambda n: n.endswith(('.pyc', '/')) or n in ('EGG-INFO/SOURCES.txt', 'EGG-INFO/PKG-INFO')\n\
        na, nb = ({n for n in z.namelist() if not skip(n)} for z in (a, b))\n\
        assert na == nb, na ^ nb\n\
        for n in na:\n    if n not in ('demo/_c.py',) and not n.endswith('.so'):\n        \
        x, y = (sorted(z.read(n).decode().replace('\"', \"'\").split()) for z in (a, b))\n        assert x == y, (n, x, y)";
    world.run("python3", &["-c", compare, egg, theirs.to_str().unwrap()]).ok();
    let import = "import sys; sys.path.insert(0, sys.argv[1])\nimport demo._c, importlib.metadata as m\n\
        d = m.distribution('demo-x')\nprint(demo._c.answer, d.version, d.entry_points[0].value, sorted(d.requires), demo.__file__)";
    let cache = format!("PYTHON_EGG_CACHE={}", world.path("eggs").display());
    let said = env(&[&cache, "python3", "-c", import, egg]);
    assert!(said.starts_with("42 1.0 demo:main ['attrs[x]"), "{said}");
    assert!(said.contains(".egg/demo/__init__.py"), "{said}");
}

#[test]
fn an_egg_is_unzipped_where_its_modules_need_files() {
    let world = World::new();
    let pyproject = "[build-system]\nrequires = ['flit_core']\nbuild-backend = 'flit_core.buildapi'\n\
        [project]\nname = 'plain'\nversion = '2.0'\ndescription = 'd'\n";
    world.write("p/pyproject.toml", pyproject);
    world.write("p/plain.py", "'''d'''\nimport os\nhere = os.path.dirname(__file__)\n");
    let ran = world.bk(&["--root", "r", "release", "p", "-o", "d", "--strict"]).code(3);
    // twine is of the same opinion.
    let made: Vec<&str> = ran.stdout.lines().collect();
    world.run("twine", &["check", "--strict", made[0]]).code(1).says("long_description");
    let list = world.run("python3", &["-m", "zipfile", "-l", made[2]]).ok();
    assert!(list.contains("EGG-INFO/not-zip-safe"), "{list}");
    assert!(!list.contains("EGG-INFO/requires.txt"), "{list}");
    ran.says("no description");
    // reStructuredText that cannot be shown, by twine's own renderer.
    world.write("p/README.rst", "Title\n=====\n\n.. nonsense::\n\n`x <y`_\n");
    world.write("p/pyproject.toml", pyproject.to_owned() + "readme = 'README.rst'\n");
    let ran = world
        .bk(&["--root", "r", "release", "p", "-o", "d", "--wheel", "--strict", "--force"])
        .code(3);
    let made = ran.stdout.trim().to_owned();
    ran.says("cannot be shown");
    world.run("twine", &["check", "--strict", &made]).code(1).says("syntax errors");
    // From a wheel there is only an egg to be made.
    world
        .bk(&["--root", "r", "release", &made, "-o", "e", "--sdist"])
        .code(1)
        .says("is a wheel already");
    assert!(world.bk(&["--root", "r", "release", &made, "-o", "e"]).ok().ends_with(".egg\n"));
    world.write("bad/pyproject.toml", "[build-system]\nrequires = []\nbuild-backend = 'no_such'\n");
    world
        .bk(&["--root", "r", "release", "bad"])
        .code(1)
        .says("cannot build the sdist")
        .says("no_such");
}

#[test]
fn what_git_knows_of_a_project_reaches_its_sdist_and_its_wheel() {
    let world = World::new();
    world.write(
        "p/pyproject.toml",
        "[build-system]\nrequires = ['setuptools', 'setuptools_scm']\nbuild-backend = 'setuptools.build_meta'\n\
         [project]\nname = 'demo'\ndynamic = ['version']\n[tool.setuptools]\npackages = ['demo']\n[tool.setuptools_scm]\n",
    );
    world.write("p/demo/__init__.py", "");
    world.write("p/demo/data.txt", "x");
    let git = |args: &[&str]| {
        let words = [
            &[
                "GIT_COMMITTER_DATE=@1600000000 +0000",
                "git",
                "-C",
                "p",
                "-c",
                "user.name=n",
                "-c",
                "user.email=e",
            ],
            args,
        ];
        world.run("/usr/bin/env", &words.concat()).ok()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "m"]);
    git(&["tag", "v3.4"]);
    let before = fs::read(world.path("p/.git/index")).unwrap();
    let said = world.bk(&["--root", "r", "release", "p", "-o", "d", "--sdist", "--wheel"]).ok();
    assert_eq!(said, "d/demo-3.4.tar.gz\nd/demo-3.4-py3-none-any.whl\n");
    // What git tracks is data of the package, also where there is no git any more: in the sdist.
    let list = world.run("python3", &["-m", "zipfile", "-l", "d/demo-3.4-py3-none-any.whl"]).ok();
    assert!(list.contains("demo/data.txt") && list.contains("2020-09-13 12:26:40"), "{list}");
    assert!(fs::read(world.path("p/.git/index")).unwrap() == before, "the index is another");
    assert_eq!(git(&["status", "--porcelain"]), "");
}
