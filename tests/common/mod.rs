//! What the journeys share: the programs, and a project to package.
#![allow(dead_code, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The folder with all programs; `cargo xtask test` builds them.
pub fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_bk")).parent().unwrap().to_owned()
}

/// One of the programs, keeping everything it keeps below `root`.
pub fn tool(name: &str, root: &Path) -> Command {
    let mut command = Command::new(programs().join(name));
    command.env("BK_ROOT", root.join("state")).current_dir(root);
    command
}

/// Runs a command that does what it should.
pub fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// One of our servers, on loopback; killed when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    /// Starts it; the first line it prints ends with its port.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
        Server { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// All a program said.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// A project's folder, `name` 1.0, with a build system of its own: no index is asked for anything.
pub fn project(dir: &Path, name: &str) {
    source(dir, (name, "1.0"), &[&format!("{name}.py")], &format!("Summary: {name}\\n"), name);
}

/// The same with a version, modules, the rest of its METADATA as Python writes a string, and a command.
pub fn source(
    dir: &Path,
    (name, version): (&str, &str),
    modules: &[&str],
    metadata: &str,
    command: &str,
) {
    let folder = dir.join(name);
    std::fs::create_dir(&folder).unwrap();
    let settings =
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n";
    bk::file::write(&folder.join("pyproject.toml"), settings).unwrap();
    let backend = format!(
        "import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    info = '{name}-{version}.dist-info/'
    with zipfile.ZipFile(folder + '/{name}-{version}-py3-none-any.whl', 'w') as z:
        for module in {modules:?}:
            z.writestr(module, 'def main(): print(\"{name} runs\")\\n')
        z.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{metadata}')
        z.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        z.writestr(info + 'entry_points.txt', '[console_scripts]\\n{command} = {name}:main\\n')
        z.writestr(info + 'RECORD', '')
    return '{name}-{version}-py3-none-any.whl'
"
    );
    bk::file::write(&folder.join("backend.py"), backend).unwrap();
}
