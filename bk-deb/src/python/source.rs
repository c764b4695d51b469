//! Wheels from sources: an sdist or a project's folder, built by its own build system (PEP 517).

use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Context, Error, Result, display, file};

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

/// Builds the wheel of `source`, an sdist or a folder, for Python `version`, into the folder `out`.
///
/// With uv if there is one, else with pip; both in an environment of its own, with what the project
/// says it needs to be built.
pub fn build(source: &Path, version: &str, out: &Path, console: &Console) -> Result<PathBuf> {
    let failed = || format!("cannot build a wheel of '{}'", display(source));
    let python = python(version).context(failed)?;
    file::create_dir(out)?;
    let dir = file::TempDir::new_in(out)?;
    let cmd = if which::which("uv").is_ok() {
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
    // zip knows no time before 1980; the time zone and the umask are not to be seen in the result.
    cmd.env("SOURCE_DATE_EPOCH", "315532800")
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
    let path = out.join(wheel.file_name().unwrap_or_default());
    std::fs::rename(wheel, &path).context(failed)?;
    Ok(path)
}
