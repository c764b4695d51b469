//! A publication in a bucket beside curl, which uploads the same objects and does nothing else.

#[path = "../../../../bk-repo/tests/common/ceph.rs"]
#[allow(clippy::unwrap_used, dead_code, missing_docs, reason = "the tests use more of it")]
mod ceph;

use std::path::{Path, PathBuf};
use std::process::Command;

use bk::Result;

use super::super::measure::measure;
use super::super::server::{Server, ports};
use super::corpus::corpus;
use super::peers::fresh;
use crate::{install, process, test, workspace};
use ceph::{ACCESS, Ceph};

/// What a publication may take of the time that the uploads alone do.
const OF_UPLOADS: f64 = 1.3;

/// Into a repository that is kept there, and from one in a folder.
const WAYS: [&str; 2] = ["add", "publish"];

/// As many as bk-repo has under way.
const AT_ONCE: &str = "16";

/// Publishes packages in buckets of two engines, some times in turn with curl.
pub fn publishing(dir: &Path, program: &Path, count: usize, runs: usize) -> Result<()> {
    install::apt(&["ceph-common", "ceph-mon", "ceph-osd", "curl", "python3", "radosgw"])?;
    let (name, version, feature) = test::UNSAFE_STORE;
    let programs = workspace::target()?.join("programs");
    let store = install::program(&programs, name, version, feature)?.join(name);
    let (files, _) = corpus(dir, count)?;
    let root = dir.join("repo-bucket");
    bk::file::create_dir(&fresh(&root)?.join("bucket"))?;
    let port = ports(1)?[0];
    let (access, secret) = ACCESS;
    let mut engine = Command::new(store);
    engine.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    engine.args(["--access-key", access, "--secret-key", secret]).arg(&root);
    let engine = Server::start(name, &mut engine, port, "")?;
    let local = dir.join("repo-bucket-local");
    let mut bench = Bench { dir, program, files: &files, local: local.clone(), runs: 0 };
    process::stdout(&mut bench.add(&fresh(&local)?.display().to_string())?)?;
    // What it wrote is what curl uploads.
    let mut objects = Vec::new();
    for way in WAYS {
        measure(&mut bench.ours(way, port)?)?;
        let kept = dir.join(format!("repo-bucket-{way}"));
        std::fs::rename(root.join("bucket/0"), fresh(&kept)?.join("all"))?;
        objects.push(kept.join("all"));
        bench.runs = 0;
    }
    for (way, objects) in WAYS.into_iter().zip(&objects) {
        bench.compare(way, objects, (name, port), runs)?;
    }
    drop(engine);
    let ceph = Ceph::start();
    for (way, objects) in WAYS.into_iter().zip(&objects) {
        bench.compare(way, objects, ("Ceph's gateway", ceph.port), runs)?;
    }
    Ok(())
}

struct Bench<'a> {
    dir: &'a Path,
    program: &'a Path,
    files: &'a [PathBuf],
    /// The same packages in a repository on this machine.
    local: PathBuf,
    /// How many places in the bucket were used: each has its own.
    runs: usize,
}

impl Bench<'_> {
    fn compare(
        &mut self,
        way: &str,
        objects: &Path,
        (engine, port): (&str, u16),
        runs: usize,
    ) -> Result<()> {
        let mut ratios = Vec::new();
        // The first of each makes the bucket, and warms it.
        for run in 0..=runs.max(1) {
            let (ours, theirs) =
                (measure(&mut self.ours(way, port)?)?, measure(&mut self.curl(objects, port)?)?);
            if run == 0 {
                continue;
            }
            println!(
                "repo publish in a bucket of {engine}: bk-repo {way} {:.2} s (CPU {:.2} s, {} MiB), \
                 curl {:.2} s (CPU {:.2} s)",
                ours.wall,
                ours.cpu,
                ours.memory >> 20,
                theirs.wall,
                theirs.cpu
            );
            ratios.push(ours.wall / theirs.wall);
        }
        ratios.sort_by(f64::total_cmp);
        let middle = ratios[ratios.len() / 2];
        let missed = if middle > OF_UPLOADS { " MISSED" } else { "" };
        println!(
            "repo publish in a bucket of {engine}: {way} {middle:.2} of curl's time, target <= \
             {OF_UPLOADS}{missed}"
        );
        Ok(())
    }

    fn place(&mut self) -> String {
        let place = format!("bucket/{}", self.runs);
        self.runs += 1;
        place
    }

    fn ours(&mut self, way: &str, port: u16) -> Result<Command> {
        let url = format!("s3://{}?endpoint=http://127.0.0.1:{port}", self.place());
        match way {
            "add" => self.add(&url),
            _ => {
                let mut publish = self.command(way);
                publish.arg(&self.local).arg(url);
                Ok(publish)
            }
        }
    }

    fn command(&self, name: &str) -> Command {
        let (access, secret) = ACCESS;
        let mut command = Command::new(self.program);
        command.args([name, "--quiet"]).env("BK_ROOT", self.dir.join("state"));
        command.env("AWS_ACCESS_KEY_ID", access).env("AWS_SECRET_ACCESS_KEY", secret);
        command
    }

    fn add(&self, repo: &str) -> Result<Command> {
        let mut init = self.command("init");
        init.args([repo, "--suite", "stable", "--arch", "amd64", "--single-writer"]);
        process::stdout(&mut init)?;
        let mut add = self.command("add");
        add.args([repo, "--suite", "stable"]).args(self.files);
        Ok(add)
    }

    fn curl(&mut self, objects: &Path, port: u16) -> Result<Command> {
        let url = format!("http://127.0.0.1:{port}/{}", self.place());
        let (access, secret) = ACCESS;
        let mut python = Command::new("python3");
        python.args(["-c", include_str!("presign.py")]).arg(objects);
        let conf = process::stdout(python.args([&url, access, secret]))?;
        let path = self.dir.join("repo-bucket-curl");
        bk::file::write(&path, conf)?;
        let mut curl = Command::new("curl");
        // Without --fail: s3s-fs refuses the longest name of all from curl.
        curl.arg("--silent");
        curl.args(["--parallel", "--parallel-max", AT_ONCE, "--config"]);
        curl.arg(path);
        Ok(curl)
    }
}
