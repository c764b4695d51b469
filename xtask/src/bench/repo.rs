//! bk-repo beside reprepro, aptly and apt-ftparchive.

use std::path::{Path, PathBuf};
use std::process::Command;

use bk::Result;

use super::deb::{files, fresh};
use super::measure::Case;
use crate::{install, process};

const APT: &[&str] = &["apt-utils", "aptly", "dpkg-dev", "gnupg", "reprepro"];

/// Who signs for the peers; bk-repo has a key of its own, of the same kind.
const SIGNER: &str = "bench@example.com";

const REPREPRO: &str = r#"reprepro -b "$1" --silent includedeb stable "${@:2}""#;

/// What `aptly repo add` changes is seen once it is published.
const APTLY: &str = r#"
aptly -config="$1/conf" repo add r "${@:2}"
aptly -config="$1/conf" publish update -batch -gpg-key=bench@example.com -skip-contents stable"#;

const APTLY_FIRST: &str = r#"
aptly -config="$1/conf" repo create r
aptly -config="$1/conf" repo add r "${@:2}"
aptly -config="$1/conf" publish repo -batch -gpg-key=bench@example.com -distribution=stable \
    -component=main -architectures=amd64 -skip-contents -acquire-by-hash r"#;

/// With the cache of what is in each package that it offers.
const FTPARCHIVE: &str = r#"
cd "$1"
cp -t pool "${@:2}"
apt-ftparchive generate conf
apt-ftparchive -o APT::FTPArchive::Release::Suite=stable release dists/stable >Release
gpg --batch --yes --clearsign -o dists/stable/InRelease Release
gpg --batch --yes --armor --detach-sign -o dists/stable/Release.gpg Release
mv Release dists/stable"#;

/// A peer: its name, the script of an import, and that of an addition.
const PEERS: [(&str, &str, &str); 3] = [
    ("reprepro", REPREPRO, REPREPRO),
    ("aptly", APTLY_FIRST, APTLY),
    ("apt-ftparchive", FTPARCHIVE, FTPARCHIVE),
];

/// The cases, over `count` packages.
pub fn cases(dir: &Path, bk_repo: &Path, count: usize) -> Result<Vec<Case>> {
    install::apt(APT)?;
    let (corpus, one) = corpus(dir, count)?;
    // gpg-agent's socket has a short limit on its path, and so the folder is not below `dir`.
    let gnupg = PathBuf::from(format!("/run/bk-bench-{}", rustix::process::getuid().as_raw()));
    signer(&gnupg)?;

    let base = dir.join("repo-ours");
    let add = move |repo: &Path, program: &Path, state: &Path, files: &[PathBuf]| {
        let mut command = Command::new(program);
        command.args(["add", "--quiet"]).arg(repo).args(files).env("BK_ROOT", state);
        command
    };
    let (program, state, run) = (bk_repo.to_owned(), dir.join("state"), dir.join("repo-run"));
    fresh(&base)?;
    let init = |repo: &Path, program: &Path, state: &Path| {
        let mut command = Command::new(program);
        command.args(["init", "--quiet", "--arch", "amd64"]).arg(repo).env("BK_ROOT", state);
        process::stdout(&mut command).map(drop)
    };
    init(&base, &program, &state)?;
    process::stdout(&mut add(&base, &program, &state, &corpus))?;

    let mut cases = Vec::new();
    for (peer, import, addition) in PEERS {
        let theirs = Peer { dir: dir.join("repo-peer"), gnupg: gnupg.clone() };
        let (p, s, r, all) = (program.clone(), state.clone(), run.clone(), corpus.clone());
        let (t, files) = (theirs.clone(), corpus.clone());
        cases.push(Case {
            name: format!("repo import {count}"),
            peer: peer.into(),
            batch: 1,
            ours: Box::new(move || {
                init(fresh(&r)?, &p, &s)?;
                Ok(add(&r, &p, &s, &all))
            }),
            theirs: Box::new(move || {
                t.start(peer)?;
                Ok(t.script(import, &files))
            }),
        });
        // The peer's repository with everything in it, to begin each addition with.
        theirs.start(peer)?;
        process::stdout(&mut theirs.script(import, &corpus))?;
        let full = dir.join(format!("repo-{peer}"));
        copy(&theirs.dir, &full)?;
        let (p, s, r, new, base) =
            (program.clone(), state.clone(), run.clone(), one.clone(), base.clone());
        let one = one.clone();
        cases.push(Case {
            name: format!("repo add 1 to {count}"),
            peer: peer.into(),
            batch: 1,
            ours: Box::new(move || {
                copy(&base, &r)?;
                Ok(add(&r, &p, &s, std::slice::from_ref(&new)))
            }),
            theirs: Box::new(move || {
                copy(&full, &theirs.dir)?;
                Ok(theirs.script(addition, std::slice::from_ref(&one)))
            }),
        });
    }
    Ok(cases)
}

/// The repository of a peer.
#[derive(Clone)]
struct Peer {
    dir: PathBuf,
    gnupg: PathBuf,
}

impl Peer {
    /// An empty repository of the peer `name`.
    fn start(&self, name: &str) -> Result<()> {
        let dir = fresh(&self.dir)?;
        let shown = dir.display();
        match name {
            "reprepro" => {
                bk::file::create_dir(&dir.join("conf"))?;
                let text = format!(
                    "Codename: stable\nComponents: main\nArchitectures: amd64\nSignWith: {SIGNER}\n"
                );
                bk::file::write(&dir.join("conf/distributions"), text)
            }
            "aptly" => {
                let text = format!("{{\"rootDir\": \"{shown}\", \"gpgProvider\": \"gpg\"}}\n");
                bk::file::write(&dir.join("conf"), text)
            }
            _ => {
                bk::file::create_dir(&dir.join("pool"))?;
                bk::file::create_dir(&dir.join("dists/stable/main/binary-amd64"))?;
                let text = format!(
                    "Dir {{ ArchiveDir \"{shown}\"; CacheDir \"{shown}\"; }};\n\
                     Default {{ Packages::Compress \". gzip xz\"; Contents::Compress \"gzip\"; }};\n\
                     BinDirectory \"pool\" {{ Packages \"dists/stable/main/binary-amd64/Packages\"; \
                     BinCacheDB \"cache.db\"; Contents \"\"; }};\n"
                );
                bk::file::write(&dir.join("conf"), text)
            }
        }
    }

    fn script(&self, script: &str, files: &[PathBuf]) -> Command {
        let mut command = Command::new("bash");
        command.args(["-euc", script, "peer"]).arg(&self.dir).args(files);
        command.env("GNUPGHOME", &self.gnupg);
        command
    }
}

/// A copy that shares nothing with the original.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    process::stdout(Command::new("cp").args(["-a", "--"]).arg(from).arg(to)).map(drop)
}

fn signer(home: &Path) -> Result<()> {
    bk::file::create_dir(home)?;
    let gpg = || {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", home).args(["--batch", "--quiet"]);
        command
    };
    process::stdout(Command::new("chmod").arg("0700").arg(home))?;
    if process::succeeds(gpg().args(["--list-secret-keys", SIGNER])) {
        return Ok(());
    }
    let mut generate = gpg();
    generate.args(["--passphrase", "", "--quick-gen-key", SIGNER, "ed25519", "sign", "never"]);
    process::stdout(&mut generate).map(drop)
}

/// `count` small packages, made once by dpkg-deb, and one more.
fn corpus(dir: &Path, count: usize) -> Result<(Vec<PathBuf>, PathBuf)> {
    let made = dir.join(format!("corpus-{count}"));
    let one = dir.join("corpus-one");
    if files(&made, "deb").map_or(0, |files| files.len()) != count {
        fresh(&made)?;
        eprintln!("making {count} packages in {}", made.display());
        for number in 0..count {
            package(dir, &format!("bench{number}"), &made)?;
        }
    }
    package(dir, "bench-one", fresh(&one)?)?;
    let one = files(&one, "deb")?.pop().unwrap_or_default();
    Ok((files(&made, "deb")?, one))
}

fn package(dir: &Path, name: &str, to: &Path) -> Result<()> {
    let tree = dir.join("tree");
    fresh(&tree)?;
    for folder in ["DEBIAN", "usr/share/bench"] {
        bk::file::create_dir(&tree.join(folder))?;
    }
    let control = format!(
        "Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\nSection: misc\nPriority: optional\n\
         Maintainer: Bench <{SIGNER}>\nDepends: libc6 (>= 2.36)\n\
         Description: package of a benchmark\n It has one file of two kilobytes.\n"
    );
    bk::file::write(&tree.join("DEBIAN/control"), control)?;
    // The names make the files differ; two kilobytes are a small package's size.
    bk::file::write(&tree.join("usr/share/bench").join(name), name.repeat(2048 / name.len()))?;
    let mut dpkg_deb = Command::new("dpkg-deb");
    dpkg_deb.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree).arg(to);
    process::stdout(&mut dpkg_deb).map(drop)
}
