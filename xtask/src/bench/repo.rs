//! bk-repo beside reprepro, aptly and apt-ftparchive.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use bk::Result;

use super::deb::{files, fresh};
use super::measure::Case;
use crate::{install, process};

const APT: &[&str] = &["apt-utils", "aptly", "dpkg-dev", "gnupg", "reprepro"];

/// Who signs for the peers; bk-repo has a key of its own, of the same kind.
const SIGNER: &str = "bench@example.com";

/// How many times larger the repository is whose addition is held against that of the other.
const LARGER: usize = 10;

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
    let ours =
        Ours { program: bk_repo.to_owned(), state: dir.join("state"), run: dir.join("repo-run") };
    let base = ours.full(dir.join("repo-ours"), &["amd64"], &corpus)?;

    let mut cases = Vec::new();
    for (peer, import, addition) in PEERS {
        let theirs = Peer {
            dir: dir.join("repo-peer"),
            gnupg: gnupg.clone(),
            settings: "Architectures: amd64\n",
        };
        let (o, t, all, files) = (ours.clone(), theirs.clone(), corpus.clone(), corpus.clone());
        cases.push(Case {
            name: format!("repo import {count}"),
            peer: peer.into(),
            batch: 1,
            ours: Box::new(move || {
                o.start(&["amd64"])?;
                Ok(o.add(&all))
            }),
            theirs: Box::new(move || {
                t.start(peer)?;
                Ok(t.script(import, &files))
            }),
        });
        let full = theirs.full(peer, import, &corpus, dir.join(format!("repo-{peer}")))?;
        let name = format!("repo add 1 to {count}");
        cases.push(addition_case(name, (&ours, &base), (peer, theirs, full, addition), &one));
    }
    // For two architectures; reprepro in as many forms as it knows, which are neither .zst nor by-hash.
    let base = ours.full(dir.join("repo-ours-2"), &["amd64", "arm64"], &corpus)?;
    let settings = "Architectures: amd64 arm64\nDebIndices: Packages Release . .gz .xz\n";
    let theirs = Peer { dir: dir.join("repo-peer"), gnupg, settings };
    let full = theirs.full("reprepro", REPREPRO, &corpus, dir.join("repo-reprepro-2"))?;
    let name = format!("repo add 1 to 2 x {count}");
    let peer = ("reprepro, gz xz", theirs, full, REPREPRO);
    cases.push(addition_case(name, (&ours, &base), peer, &one));

    // What the size costs: the same beside itself.
    let (many, _) = self::corpus(dir, count * LARGER)?;
    let (small, large) = (dir.join("repo-ours"), dir.join("repo-ours-larger"));
    let large = ours.full(large, &["amd64"], &many)?;
    let addition = |base: PathBuf| -> Box<dyn Fn() -> Result<Command>> {
        let (ours, one) = (ours.clone(), one.clone());
        Box::new(move || {
            copy(&base, &ours.run)?;
            Ok(ours.add(std::slice::from_ref(&one)))
        })
    };
    cases.push(Case {
        name: format!("repo add 1 to {}", many.len()),
        peer: format!("itself, {count}"),
        batch: 1,
        ours: addition(large),
        theirs: addition(small),
    });
    Ok(cases)
}

/// An addition to a full repository of ours and to one of a peer: its name, where it works, the full
/// one, and the script.
fn addition_case(
    name: String,
    (ours, base): (&Ours, &Path),
    (peer, theirs, full, script): (&str, Peer, PathBuf, &'static str),
    one: &Path,
) -> Case {
    let (ours, base) = (ours.clone(), base.to_owned());
    let (mine, one) = ([one.to_owned()], [one.to_owned()]);
    Case {
        name,
        peer: peer.into(),
        batch: 1,
        ours: Box::new(move || {
            copy(&base, &ours.run)?;
            Ok(ours.add(&mine))
        }),
        theirs: Box::new(move || {
            copy(&full, &theirs.dir)?;
            Ok(theirs.script(script, &one))
        }),
    }
}

/// bk-repo, and where it works.
#[derive(Clone)]
struct Ours {
    program: PathBuf,
    state: PathBuf,
    run: PathBuf,
}

impl Ours {
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([name, "--quiet"]).env("BK_ROOT", &self.state);
        command
    }

    /// An empty repository.
    fn start(&self, architectures: &[&str]) -> Result<()> {
        let mut init = self.command("init");
        init.args(architectures.iter().flat_map(|name| ["--arch", name]));
        init.arg(fresh(&self.run)?);
        process::stdout(&mut init).map(drop)
    }

    fn add(&self, files: &[PathBuf]) -> Command {
        let mut add = self.command("add");
        add.arg(&self.run).args(files);
        add
    }

    /// A repository with everything in it, to begin each addition with: but for the packages, which
    /// are not looked at, and take long to copy.
    fn full(&self, to: PathBuf, architectures: &[&str], files: &[PathBuf]) -> Result<PathBuf> {
        self.start(architectures)?;
        // A command line holds some 20,000 names.
        for files in files.chunks(10_000) {
            process::stdout(&mut self.add(files))?;
        }
        std::fs::remove_dir_all(self.run.join("pool"))?;
        copy(&self.run, &to)?;
        Ok(to)
    }
}

/// The repository of a peer.
#[derive(Clone)]
struct Peer {
    dir: PathBuf,
    gnupg: PathBuf,
    /// What else reprepro is told.
    settings: &'static str,
}

impl Peer {
    /// An empty repository of the peer `name`.
    fn start(&self, name: &str) -> Result<()> {
        let dir = fresh(&self.dir)?;
        let shown = dir.display();
        match name {
            "reprepro" => {
                bk::file::create_dir(&dir.join("conf"))?;
                let settings = self.settings;
                let text =
                    format!("Codename: stable\nComponents: main\n{settings}SignWith: {SIGNER}\n");
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

    /// A repository with everything in it, to begin each addition with.
    fn full(&self, name: &str, import: &str, files: &[PathBuf], to: PathBuf) -> Result<PathBuf> {
        self.start(name)?;
        process::stdout(&mut self.script(import, files))?;
        copy(&self.dir, &to)?;
        Ok(to)
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

/// `count` small packages, made once, and one more.
fn corpus(dir: &Path, count: usize) -> Result<(Vec<PathBuf>, PathBuf)> {
    let made = dir.join(format!("corpus-all-{count}"));
    if files(&made, "deb").map_or(0, |files| files.len()) != count {
        fresh(&made)?;
        eprintln!("making {count} packages in {}", made.display());
        let names: Vec<String> = (0..count).map(|number| format!("bench{number}")).collect();
        // As many as one command line holds.
        names.chunks(1000).try_for_each(|names| packages(dir, names, &made))?;
    }
    // In the middle of the others, by its name.
    let one = dir.join("corpus-all-one");
    packages(dir, &["bench5-one".to_owned()], fresh(&one)?)?;
    let one = files(&one, "deb")?.pop().unwrap_or_default();
    Ok((files(&made, "deb")?, one))
}

/// Makes packages as dpkg-deb does, which takes a start of three programs for each.
fn packages(dir: &Path, names: &[String], to: &Path) -> Result<()> {
    let parts = dir.join("parts");
    fresh(&parts)?;
    for name in names {
        let control = control(name);
        put(&parts.join(format!("{name}.control.tar")), tar("./control", &control))?;
        // Two kilobytes are a small package's size.
        let data = name.repeat(2048 / name.len());
        let path = format!("./usr/share/bench/{name}");
        put(&parts.join(format!("{name}.data.tar")), tar(&path, &data))?;
    }
    // dpkg-deb's dictionary, which is what a reader has to have room for.
    let mut xz = Command::new("xz");
    process::stdout(
        xz.args(["--check=crc32", "--lzma2=preset=0,dict=8MiB"]).args(files(&parts, "tar")?),
    )?;
    for name in names {
        let mut deb = b"!<arch>\n".to_vec();
        let mut member = |name: &str, bytes: &[u8]| {
            deb.extend(
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len())
                    .bytes(),
            );
            deb.extend(bytes);
            deb.resize(deb.len().next_multiple_of(2), b'\n');
        };
        member("debian-binary", b"2.0\n");
        for part in ["control.tar.xz", "data.tar.xz"] {
            member(part, &std::fs::read(parts.join(format!("{name}.{part}")))?);
        }
        put(&to.join(format!("{name}_1.0-1_all.deb")), deb)?;
    }
    Ok(())
}

/// Writes a file without waiting for the disk, which would take an hour for all of them.
fn put(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    Ok(std::fs::File::create(path)?.write_all(bytes.as_ref())?)
}

/// What differs from package to package differs by their names.
fn control(name: &str) -> String {
    // Numbers that do not compress, as versions and hashes do not.
    let mut number =
        name.bytes().fold(7u64, |n, byte| n.wrapping_mul(31).wrapping_add(byte.into()));
    let depends: Vec<String> = (0..8)
        .map(|i| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            format!("lib{:05x} (>= {i}.{})", number >> 44, number >> 32 & 0xff)
        })
        .collect();
    format!(
        "Package: {name}\nVersion: 1.0-1\nArchitecture: all\nSection: misc\nPriority: optional\n\
         Maintainer: Bench <{SIGNER}>\nDepends: libc6 (>= 2.36), {}\n\
         Description: package of a benchmark\n It has one file of two kilobytes.\n",
        depends.join(", ")
    )
}

/// A ustar archive of one file (tar(5)), which is root's.
fn tar(name: &str, text: &str) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| {
        header.iter_mut().skip(at).zip(text.bytes()).for_each(|(to, byte)| *to = byte);
    };
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", text.len()));
    put(136, "00000000000");
    // The sum is of the header with blanks in its own place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    header.iter_mut().skip(148).zip(sum.bytes()).for_each(|(to, byte)| *to = byte);
    let mut archive = header.to_vec();
    archive.extend(text.bytes());
    // Two blocks of zeros end it.
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
