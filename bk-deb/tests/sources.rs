//! Sources that are built: what they are compiled with, and what they say they lack.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes into a folder of its own")]

mod common;

use std::fs;

use common::house::House;
use common::{output, unpacked};

/// A source with a build system of its own, that needs nothing, in the folder of wheels.
fn source(house: &House, name: &str, code: &str, backend: &str) {
    let folder = house.path(&format!("{name}-1.0"));
    fs::create_dir(&folder).unwrap();
    let write = |file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
    let settings =
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n";
    write("pyproject.toml", settings);
    write("PKG-INFO", &format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"));
    write("x.c", code);
    let head = "def build_wheel(folder, config_settings=None, metadata_directory=None):";
    write("backend.py", &format!("import os, subprocess, zipfile\n{head}\n{backend}\n"));
    let archive = house.path(&format!("wheels/{name}-1.0.tar.gz"));
    let (from, to) = (house.dir.path().to_str().unwrap(), archive.to_str().unwrap());
    output("tar", &["-C", from, "-czf", to, &format!("{name}-1.0")]);
}

/// A source that does not compile says which package this system lacks: what the suite's own package of
/// it is linked to, else the header that the compiler misses.
#[test]
fn what_a_source_needs_to_be_built_is_named() {
    let house = House::new();
    let index = "archive/dists/test/main/binary-amd64/Packages";
    let mut packages = fs::read_to_string(house.path(index)).unwrap();
    packages += "\nPackage: python3-known\nVersion: 0.1-1\nArchitecture: amd64\n\
                 Depends: libc6 (>= 2), libwidget2 (>= 2.1), python3\n\n\
                 Package: libwidget2\nVersion: 2.1-1\nArchitecture: amd64\nSource: widget\n\n\
                 Package: libwidget-dev\nVersion: 2.1-1\nArchitecture: amd64\nSource: widget\n";
    house.publish("main/binary-amd64/Packages", &packages);
    for (name, header, hint) in [
        ("known", "widget/all.h", "apt-get install libwidget-dev"),
        ("unknown", "widget/all.h", "has 'widget/all.h': apt-file search /widget/all.h"),
    ] {
        let compile = "    subprocess.run(['gcc', '-c', 'x.c'], check=True)";
        source(&house, name, &format!("#include <{header}>\n"), compile);
        let said = house.fails(&[name, "--all"], 1);
        assert!(said.contains("fatal error: ") && said.contains(hint), "{name}: {said}");
        assert!(!said.contains("libc6-dev"), "{name}: {said}");
    }
}

/// Code is compiled as Debian compiles it, and not where its flags are not known: the result does not
/// depend on what is installed.
#[test]
fn code_is_compiled_with_debians_flags() {
    let house = House::new();
    let code = "#include <string.h>
char *copy(const char *text) { static char kept[8]; char held[64]; strcpy(held, text);
  return strcpy(kept, held); }
";
    let wheel = |compile: &str| {
        format!(
            "    name = 'hard-1.0-py3-none-linux_x86_64.whl'
    {compile}
    with zipfile.ZipFile(folder + '/' + name, 'w') as z:
        z.write('x.so' if os.path.exists('x.so') else 'x.c', 'x.so')
        z.writestr('hard-1.0.dist-info/METADATA', open('PKG-INFO').read() + 'Summary: x\\n')
        z.writestr('hard-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nTag: py3-none-linux_x86_64\\n')
        z.writestr('hard-1.0.dist-info/RECORD', '')
    return name"
        )
    };
    let compile = "flags = os.environ['CFLAGS'].split() + os.environ['LDFLAGS'].split()
    subprocess.run(['gcc', '-shared', '-fPIC', '-o', 'x.so', 'x.c'] + flags, check=True)";
    source(&house, "hard", code, &wheel(compile));
    let paths = house.built(&["hard"]);
    let tree = unpacked(&house.path(&paths[0]));
    let library = tree.path().join("usr/lib/python3/dist-packages/x.so");
    let symbols = output("nm", &["-D", library.to_str().unwrap()]);
    // Of -fstack-protector-strong, and of -D_FORTIFY_SOURCE.
    for symbol in ["__stack_chk_fail", "_chk@GLIBC"] {
        assert!(symbols.contains(symbol), "{symbols}");
    }

    // Nothing but what builds wheels, if there is one.
    let house = House::new();
    source(&house, "hard", code, &wheel("pass"));
    let tools = house.path("tools");
    fs::create_dir(&tools).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let uv = std::env::split_paths(&path).map(|dir| dir.join("uv")).find(|uv| uv.is_file());
    if let Some(uv) = uv {
        std::os::unix::fs::symlink(uv, tools.join("uv")).unwrap();
    }
    let failed = house.build(&["hard"]).env("PATH", &tools).output().unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(
        said.contains("needs Debian's flags") && said.contains("apt-get install dpkg-dev"),
        "{said}"
    );
    assert!(house.debs().is_empty());
}

/// What is built of an sdist is as old as the newest file in it, whatever the day: lintian takes what is
/// newer than its changelog for changed.
#[test]
fn what_is_built_of_a_source_has_its_time() {
    let house = House::new();
    let backend = "    import time
    at = time.gmtime(int(os.environ['SOURCE_DATE_EPOCH']))[:6]
    name = 'old-1.0-py3-none-any.whl'
    with zipfile.ZipFile(folder + '/' + name, 'w') as z:
        for path, text in [('old.py', ''), ('old-1.0.dist-info/METADATA', open('PKG-INFO').read()),
                ('old-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nTag: py3-none-any\\n'),
                ('old-1.0.dist-info/RECORD', '')]:
            z.writestr(zipfile.ZipInfo(path, at), text)
    return name";
    source(&house, "old", "", backend);
    let archive = house.path("wheels/old-1.0.tar.gz");
    let (from, to) = (house.dir.path().to_str().unwrap(), archive.to_str().unwrap());
    for file in ["backend.py", "x.c", "PKG-INFO", "pyproject.toml", ""] {
        let day = if file == "x.c" { "2015-03-04 05:06:08 UTC" } else { "2014-01-01 UTC" };
        output("touch", &["-d", day, &format!("{from}/old-1.0/{file}")]);
    }
    output("tar", &["-C", from, "-czf", to, "old-1.0"]);
    let paths = house.built(&["old"]);
    let tree = unpacked(&house.path(&paths[0]));
    let changelog = tree.path().join("usr/share/doc/python3-old/changelog.Debian.gz");
    let said = output("zcat", &[changelog.to_str().unwrap()]);
    assert!(said.contains("Wed, 4 Mar 2015 05:06:08 +0000"), "{said}");
}
