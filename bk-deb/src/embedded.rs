//! Libraries that wheels have inside and the suite has: whoever mends the suite's does not mend those
//! (Policy 4.13).

use std::collections::BTreeSet;
use std::path::Path;

use bk::{Console, Error, Result, display};
use pep508_rs::PackageName;

use crate::debian::sources::own_suite;
use crate::distro::Distro;
use crate::graph::Graph;
use crate::target::{Target, own_arch};

/// What `--no-binary` calls the distributions whose wheels have such libraries inside.
pub const OPTION: &str = ":embedded:";

/// What a manylinux wheel may expect of a system (PEP 599), so it need not have it inside. Where a name
/// goes on, as in `libglib2.0-0t64`, it is another version's.
const EXPECTED: &[&str] = &[
    "libc6",
    "libexpat1",
    "libgcc-s1",
    "libgl1",
    "libglib2.0-0",
    "libice6",
    "libsm6",
    "libstdc++6",
    "libx11-6",
    "libxext6",
    "libxrender1",
];

/// The libraries of the suite that the wheel `file` of a distribution has inside.
///
/// The suite's own package of it is linked to them, and a wheel for many systems may expect none of them
/// to be there. So it is known before a wheel is fetched, and whatever is installed.
pub fn libraries<'a>(distro: &'a Distro, name: &PackageName, file: &str) -> Vec<&'a str> {
    // PEP 600 and 656; any other is made for one system.
    if !["manylinux", "musllinux"].iter().any(|platform| file.contains(platform)) {
        return Vec::new();
    }
    let expected = |library: &str| {
        EXPECTED.iter().any(|known| library.strip_suffix("t64").unwrap_or(library) == *known)
            || library.starts_with("libpython3")
            || library.starts_with("libjs-")
    };
    distro.linked(name).into_iter().filter(|library| !expected(library)).collect()
}

/// Makes sure that a source can be built against `libraries` of the suite, and says with which versions.
pub fn ready(distro: &Distro, target: &Target, libraries: &[&str]) -> Result<String> {
    if own_suite().as_deref() != Some(&distro.suite) || target.arch != own_arch() {
        return Err(Error::new(format!(
            "the libraries of this system are not those of {} on {}",
            distro.suite, target.arch
        ))
        .hint(format!("build on such a system (bk-vm makes one), or without {OPTION}")));
    }
    let missing = missing(distro, target, libraries);
    if missing.is_empty() {
        let headers = libraries.iter().filter_map(|library| distro.headers(library));
        let version = |headers: &String| distro.version(headers).unwrap_or_default().to_owned();
        return Ok(headers.map(|headers| format!(" {headers}={}", version(&headers))).collect());
    }
    Err(Error::new(format!("not installed: {}", missing.join(", "))).hint(format!(
        "install these (apt-get install {}), or use the wheel as it is: name the others with --no-binary, in \
         place of {OPTION}",
        missing.join(" ")
    )))
}

/// The packages with what it takes to build against `libraries` of the suite that are not installed.
fn missing(distro: &Distro, target: &Target, libraries: &[&str]) -> Vec<String> {
    let installed = |headers: &String| {
        let names = [format!("{headers}.list"), format!("{headers}:{}.list", target.arch)];
        names.iter().any(|name| Path::new("/var/lib/dpkg/info").join(name).exists())
    };
    let headers = libraries.iter().filter_map(|library| distro.headers(library));
    let missing: BTreeSet<String> = headers.filter(|headers| !installed(headers)).collect();
    missing.into_iter().collect()
}

/// An error of building the source `file` (`python_ldap-3.4.tar.gz`), with what this system may lack for
/// that, where it can be known: what the suite's own package of it is built with, else the header that a
/// compiler did not find.
pub fn explained(distro: &Distro, target: &Target, file: &str, error: Error) -> Error {
    let name = file.rsplit_once('-').and_then(|(name, _)| name.parse::<PackageName>().ok());
    let linked: Vec<&str> = name.iter().flat_map(|name| distro.linked(name)).collect();
    let missing = missing(distro, target, &linked);
    if !missing.is_empty() {
        return error.hint(format!(
            "{}'s own package of it is linked to libraries whose headers are not installed: apt-get install {}",
            distro.suite,
            missing.join(" ")
        ));
    }
    // As gcc and clang say it: `x.c:3:10: fatal error: lber.h: No such file or directory`.
    let header = error.causes().iter().flat_map(|cause| cause.lines()).find_map(|line| {
        let (_, said) = line.split_once("fatal error: ")?;
        let said = said.trim_start_matches('\'');
        let header = said.split([':', '\'']).next()?;
        (said.contains("No such file") || said.contains("file not found")).then_some(header)
    });
    match header {
        None => error,
        Some("Python.h") => {
            let headers = format!("apt-get install python{}-dev", target.python_version());
            error.hint(format!("install Python's headers: {headers}"))
        }
        Some(header) => {
            let header = header.to_owned();
            error
                .hint(format!("install the package that has '{header}': apt-file search /{header}"))
        }
    }
}

/// Makes sure that a source, whose published wheel has code for a machine, was not built without: some
/// leave their modules of C out where they do not compile.
pub fn check(wheel: &Path, target: &Target) -> Result<()> {
    let name = wheel.file_name().map(display).unwrap_or_default();
    if !name.ends_with("-any.whl") {
        return Ok(());
    }
    // The next time it is to be built, not found.
    let _ = std::fs::remove_file(wheel);
    Err(Error::new(format!("its source made '{name}', without the code that its wheel has")).hint(
        format!(
            "install a compiler and Python's headers (apt-get install gcc python{}-dev)",
            target.python_version()
        ),
    ))
}

/// Tells which packages have libraries inside that the suite has.
pub fn tell(graph: &Graph, distro: &Distro, console: &Console) {
    let of = |node: &crate::graph::Node| {
        let inside = libraries(distro, &node.name, &node.wheel.name);
        (!inside.is_empty()).then(|| format!("{} ({})", node.package, inside.join(", ")))
    };
    let all: Vec<String> = graph.nodes.iter().filter_map(of).collect();
    if !all.is_empty() {
        console.warn(&format!(
            "wheels with libraries inside, which {}'s updates do not mend: {}; --no-binary {OPTION} builds \
             against the suite's",
            distro.suite,
            all.join(", ")
        ));
    }
}
