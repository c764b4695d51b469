//! What others do with the same packages, and the folders they and bk-repo work in.

use std::path::{Path, PathBuf};
use std::process::Command;

use bk::Result;

use crate::process;

/// Who signs for the peers; bk-repo has a key of its own, of the same kind.
pub const SIGNER: &str = "bench@example.com";

pub const REPREPRO: &str = r#"reprepro -b "$1" --silent includedeb stable "${@:2}""#;

/// What `aptly repo add` changes is seen once it is published.
pub const APTLY: &str = r#"
aptly -config="$1/conf" repo add r "${@:2}"
aptly -config="$1/conf" publish update -batch -gpg-key=bench@example.com -skip-contents stable"#;

pub const APTLY_FIRST: &str = r#"
aptly -config="$1/conf" repo create r
aptly -config="$1/conf" repo add r "${@:2}"
aptly -config="$1/conf" publish repo -batch -gpg-key=bench@example.com -distribution=stable \
    -component=main -architectures=amd64 -skip-contents -acquire-by-hash r"#;

/// With the cache of what is in each package that it offers.
pub const FTPARCHIVE: &str = r#"
cd "$1"
cp -t pool "${@:2}"
apt-ftparchive generate conf
apt-ftparchive -o APT::FTPArchive::Release::Suite=stable release dists/stable >Release
gpg --batch --yes --clearsign -o dists/stable/InRelease Release
gpg --batch --yes --armor --detach-sign -o dists/stable/Release.gpg Release
mv Release dists/stable"#;

/// The repository of a peer.
#[derive(Clone)]
pub struct Peer {
    /// What it is called here.
    pub name: &'static str,
    /// Where it works.
    pub dir: PathBuf,
    /// The folder with the key.
    pub gnupg: PathBuf,
    /// What else reprepro is told of its suites, which are all alike.
    pub settings: &'static str,
}

impl Peer {
    /// An empty repository.
    pub fn start(&self) -> Result<()> {
        let dir = fresh(&self.dir)?;
        let shown = dir.display();
        match self.name {
            "reprepro" => {
                bk::file::create_dir(&dir.join("conf"))?;
                let suite = |name: &str| {
                    let settings = self.settings;
                    format!("Codename: {name}\nComponents: main\n{settings}SignWith: {SIGNER}\n")
                };
                let text = ["stable", "testing"].map(suite).join("\n");
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

    /// A repository with everything in it, to begin others with.
    pub fn full(&self, import: &str, files: &[PathBuf], to: PathBuf) -> Result<PathBuf> {
        self.start()?;
        process::stdout(&mut self.script(import, files))?;
        copy(&self.dir, &to)?;
        Ok(to)
    }

    /// What a script does to it; its first argument is the folder, the others are these.
    pub fn script(&self, script: &str, files: &[PathBuf]) -> Command {
        let mut command = Command::new("bash");
        command.args(["-euc", script, "peer"]).arg(&self.dir).args(files);
        command.env("GNUPGHOME", &self.gnupg);
        command
    }
}

/// A copy that shares nothing with the original.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    put_away(to)?;
    process::stdout(Command::new("cp").args(["-a", "--"]).arg(from).arg(to)).map(drop)
}

/// An empty folder in the place of what was there.
pub fn fresh(dir: &Path) -> Result<&Path> {
    put_away(dir)?;
    bk::file::create_dir(dir)?;
    Ok(dir)
}

/// The folder, beside all others, of what was used; it goes when the bench begins again.
pub const USED: &str = "repo-used";

/// Takes a folder out of the way. To remove it would cost whoever makes files next several times what
/// making them does, for ext4 spares the inodes that were deleted a moment ago; but the room of its
/// large files is given back, which the next run's take again.
fn put_away(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let used = dir.with_file_name(USED);
    bk::file::create_dir(&used)?;
    let away = tempfile::Builder::new().prefix("run-").tempdir_in(&used)?.keep().join("it");
    std::fs::rename(dir, &away)?;
    let mut large = Command::new("find");
    large
        .arg(&away)
        .args(["-type", "f", "-size", "+64k", "-exec", "truncate", "-s", "0", "{}", "+"]);
    process::stdout(&mut large).map(drop)
}

/// The folder with the key of the peers, made once.
pub fn signer(home: &Path) -> Result<()> {
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
