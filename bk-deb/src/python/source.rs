//! Wheels from sources: an sdist or a project's folder, built by its own build system (PEP 517).

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Context, Error, Result, display, file};

use super::wheel;
use crate::debian::compression;

/// What a zip archive, and so a wheel, can say: from 1980 to 2107, in seconds since 1970.
const TIMES: [u64; 2] = [315_532_800, 4_354_819_198];

/// The interpreter of a version, `3.11`.
pub(super) fn python(version: &str) -> Result<PathBuf> {
    let name = format!("python{version}");
    let system = Path::new("/usr/bin").join(&name);
    if system.is_file() {
        return Ok(system);
    }
    which::which(&name).map_err(|_| {
        Error::new(format!("'{name}' is not on this system"))
            .hint(format!("install it (apt-get install {name}), or give wheels instead of sources"))
    })
}

/// What Debian compiles with, as dpkg-buildflags(1) says: variables and values; none where dpkg-dev is not
/// installed.
fn flags(console: &Console) -> Result<Option<Vec<(String, String)>>> {
    if which::which("dpkg-buildflags").is_err() {
        return Ok(None);
    }
    // The folder it is called in is not the one that is built in.
    let place = "reproducible=-fixfilepath,-fixdebugpath";
    let said =
        Cmd::new("dpkg-buildflags", console).env("DEB_BUILD_MAINT_OPTIONS", place).output()?;
    let said = String::from_utf8_lossy(&said);
    let all = said.lines().filter_map(|line| line.split_once('='));
    let preprocessor = all.clone().find(|(name, _)| *name == "CPPFLAGS").map_or("", |(_, v)| v);
    let of = |(name, value): (&str, &str)| match name {
        // Not all build systems know of CPPFLAGS; debhelper gives them to cmake in this way.
        "CFLAGS" | "CXXFLAGS" => (name.to_owned(), format!("{value} {preprocessor}")),
        _ => (name.to_owned(), value.to_owned()),
    };
    Ok(Some(all.map(of).collect()))
}

/// The newest time in an sdist, in seconds since 1970: what is made of it is as old.
fn newest(sdist: &Path) -> Result<u64> {
    let (file, mut newest) = (BufReader::new(File::open(sdist)?), 0);
    if sdist.extension().is_some_and(|e| e == "zip") {
        let archive = zip::ZipArchive::new(file)?;
        for index in 0..archive.len() {
            let time = archive.by_index_data(index)?.last_modified();
            newest = newest.max(time.map_or(0, wheel::seconds));
        }
        return Ok(newest);
    }
    for entry in tar::Archive::new(compression::decode(file)?).entries()? {
        newest = newest.max(entry?.header().mtime().unwrap_or(0));
    }
    Ok(newest)
}

/// Builds the wheel of `source`, an sdist or a folder, for Python `version`, into the folder `out`.
///
/// With uv if there is one, else with pip; both in an environment of its own, with what the project
/// says it needs to be built. Code for a machine is compiled with Debian's flags (its hardening), or not at
/// all: whether dpkg-dev is installed is not to be seen in the result.
pub fn build(source: &Path, version: &str, out: &Path, console: &Console) -> Result<PathBuf> {
    let failed = || format!("cannot build a wheel of '{}'", display(source));
    let python = python(version).context(failed)?;
    file::create_dir(out)?;
    let dir = file::TempDir::new_in(out)?;
    let mut cmd = if which::which("uv").is_ok() {
        Cmd::new("uv", console)
            .args(["build", "--wheel", "--no-python-downloads", "--out-dir"])
            .arg(dir.path())
            .arg("--python")
            .arg(&python)
            .arg(source)
    } else {
        Cmd::new(&python, console)
            .args(["-m", "pip", "wheel", "--no-deps", "--wheel-dir"])
            .arg(dir.path())
            .arg(source)
    };
    // A folder's times are those of its checkout.
    let time = if source.is_file() { newest(source).context(failed)? } else { 0 };
    let flags = flags(console).context(failed)?;
    for (name, value) in flags.iter().flatten() {
        cmd = cmd.env(name, value);
    }
    // The time zone is not to be seen in the result.
    cmd.env("SOURCE_DATE_EPOCH", time.clamp(TIMES[0], TIMES[1]).to_string())
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .env("PYTHONHASHSEED", "0")
        .output()
        .context(failed)
        .hint(|| {
            format!(
                "its build system says why above; headers and libraries it needs come from apt \
                 (python{version}-dev, lib*-dev)"
            )
        })?;
    let wheels: Vec<PathBuf> = std::fs::read_dir(dir.path())
        .context(failed)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "whl"))
        .collect();
    let [wheel] = wheels.as_slice() else {
        return Err(Error::new(format!("it made {} wheels", wheels.len())).context(failed()));
    };
    // PEP 427: what is for any machine has nothing compiled in it.
    let for_any = wheel.to_string_lossy().ends_with("-any.whl");
    if flags.is_none() && !for_any {
        return Err(Error::new(
            "what it compiles needs Debian's flags, as dpkg-buildflags says them",
        )
        .context(failed())
        .hint("install dpkg-dev (apt-get install dpkg-dev)"));
    }
    let path = out.join(wheel.file_name().unwrap_or_default());
    std::fs::rename(wheel, &path).context(failed)?;
    Ok(path)
}
