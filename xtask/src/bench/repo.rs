//! bk-repo beside reprepro, aptly and apt-ftparchive.

mod bucket;
mod corpus;
mod peers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use bk::Result;

use super::measure::{Case, Target};
use super::server::{Server, load, ports};
use crate::{install, process};
pub use bucket::publishing;
use corpus::corpus;
use peers::{APTLY, APTLY_FIRST, FTPARCHIVE, Peer, REPREPRO, USED, copy, fresh, signer};

const APT: &[&str] = &["apt-utils", "aptly", "dpkg-dev", "gnupg", "nginx-light", "reprepro", "wrk"];

/// What serving shall reach of nginx's requests a second.
const OF_NGINX: f64 = 0.8;

/// How many times larger the repository is whose addition is held against that of the other.
const LARGER: usize = 10;

/// For the forms that ours are in beside them, by-hash always among them.
const GZ: &str = "Architectures: amd64\n";
const GZ_XZ: &str = "Architectures: amd64\nDebIndices: Packages Release . .gz .xz\n";
const GZ_XZ_2: &str = "Architectures: amd64 arm64\nDebIndices: Packages Release . .gz .xz\n";

/// A peer: its name in the table and here, what reprepro is told, the compressions of ours beside it, the
/// script of an import and that of an addition, and how often faster than it each shall be.
type Beside =
    (&'static str, &'static str, &'static str, &'static str, [&'static str; 2], [Target; 2]);

/// All that a suite may have.
const ALL: &str = "gz,xz,zst";

const PEERS: [Beside; 4] = [
    (
        "reprepro, gz",
        "reprepro",
        GZ,
        "gz",
        [REPREPRO, REPREPRO],
        [Target::Faster(6.0), Target::Faster(5.0)],
    ),
    (
        "reprepro, gz xz",
        "reprepro",
        GZ_XZ,
        "gz,xz",
        [REPREPRO, REPREPRO],
        [Target::Faster(6.0), Target::Faster(3.0)],
    ),
    (
        "aptly, gz bz2",
        "aptly",
        "",
        ALL,
        [APTLY_FIRST, APTLY],
        [Target::Faster(10.0), Target::Faster(30.0)],
    ),
    (
        "ftparchive, gz xz",
        "apt-ftparchive",
        "",
        "gz,xz",
        [FTPARCHIVE, FTPARCHIVE],
        [Target::None; 2],
    ),
];

/// The cases, over `count` packages.
pub fn cases(
    dir: &Path,
    bk_repo: &Path,
    count: usize,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case>> {
    install::apt(APT)?;
    drop(std::fs::remove_dir_all(dir.join(USED)));
    let (corpus, two) = corpus(dir, count)?;
    // gpg-agent's socket has a short limit on its path, and so the folder is not below `dir`.
    let gnupg = PathBuf::from(format!("/run/bk-bench-{}", rustix::process::getuid().as_raw()));
    signer(&gnupg)?;
    let bench = Bench {
        dir: dir.to_owned(),
        program: bk_repo.to_owned(),
        gnupg,
        count,
        corpus: corpus.into(),
        two,
    };
    let base = bench.full("repo-ours", &["amd64"], ALL, &bench.corpus)?;
    let gz = bench.full("repo-ours-gz", &["amd64"], "gz", &bench.corpus)?;
    let mut cases = Vec::new();
    for (n, (title, name, settings, forms, scripts, targets)) in PEERS.into_iter().enumerate() {
        let peer = bench.peer(name, settings);
        cases.push(bench.import(title, (&peer, scripts[0]), forms, targets[0]));
        let full = peer.full(scripts[0], &bench.corpus, dir.join(format!("repo-peer-{n}")))?;
        let name = format!("repo add 1 to {count}");
        // With more forms than the peer's but where one of them is all.
        let base = if forms == "gz" { &gz } else { &base };
        cases.push(bench.addition(name, title, base, (peer, full, scripts[1]), targets[1]));
    }
    // For two architectures.
    let both = bench.full("repo-ours-2", &["amd64", "arm64"], ALL, &bench.corpus)?;
    let peer = bench.peer("reprepro", GZ_XZ_2);
    let full = peer.full(REPREPRO, &bench.corpus, dir.join("repo-peer-2-architectures"))?;
    let name = format!("repo add 1 to 2 x {count}");
    let target = Target::Faster(3.0);
    cases.push(bench.addition(name, "reprepro, gz xz", &both, (peer, full, REPREPRO), target));
    cases.extend(bench.small_ones(&base));
    let default = bench.full("repo-ours-default", &["amd64"], "gz,zst", &bench.corpus)?;
    cases.push(bench.clients(&default));

    // What the size costs: the same beside itself.
    let name = format!("repo add 1 to {}", count * LARGER);
    if !wanted(&name) {
        return Ok(cases);
    }
    let (many, _) = self::corpus(dir, count * LARGER)?;
    let large = bench.full("repo-ours-larger", &["amd64"], ALL, &many)?;
    cases.push(Case {
        name,
        peer: format!("itself, {count}"),
        batch: 1,
        target: Target::Within(2.0),
        ours: bench.add_one(large),
        theirs: bench.add_one(base),
    });
    Ok(cases)
}

/// Serves the packages of a repository beside nginx, some times in turn.
pub fn serving(dir: &Path, bk_repo: &Path, count: usize, runs: usize) -> Result<()> {
    let (corpus, two) = corpus(dir, count)?;
    let bench = Bench {
        dir: dir.to_owned(),
        program: bk_repo.to_owned(),
        gnupg: PathBuf::new(),
        count,
        corpus: corpus.into(),
        two,
    };
    bench.start(&["amd64"], ALL)?;
    process::stdout(&mut bench.add(&bench.corpus))?;
    let script = dir.join("repo.lua");
    // Ours gives the names in the pool, with the repository's before them.
    let (root, mut debs) = (bench.run(), Command::new("find"));
    debs.arg(&root).args(["-path", "*/pool/*", "-name", "*.deb", "-printf", "'/%P',\n"]);
    let text = format!(
        "local paths = {{\n{}}}\nlocal i = 0\nrequest = function()\n  i = (i * 7 + 13) % #paths\n  \
         return wrk.format('GET', paths[i + 1])\nend\n",
        process::stdout(&mut debs)?
    );
    bk::file::write(&script, text)?;
    let ports = ports(2)?;
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let d = dir.display();
    let text = format!(
        "{user} worker_processes 2; daemon off; error_log {d}/error; pid {d}/repo-nginx.pid;\n\
         events {{ worker_connections 4096; }}\nhttp {{ access_log off; sendfile on; tcp_nopush on; \
         keepalive_requests 10000000; open_file_cache max=10000; \
         server {{ listen 127.0.0.1:{}; root {}; }} }}\n",
        ports[0],
        root.display()
    );
    let conf = dir.join("repo-nginx.conf");
    bk::file::write(&conf, text)?;
    let mut serve = bench.ours("serve");
    serve.args(["--listen", &format!("127.0.0.1:{}", ports[1])]);
    let path = "/pool/main/";
    let nginx = Server::start("nginx", Command::new("nginx").arg("-c").arg(&conf), ports[0], path)?;
    let ours = Server::start("bk-repo serve", &mut serve, ports[1], path)?;
    let mut ratios = Vec::new();
    for _ in 0..runs.max(1) {
        let (theirs, mine) = (load(&script, &nginx)?.rate, load(&script, &ours)?.rate);
        println!("repo serve: nginx {theirs:.0} requests/s, bk-repo {mine:.0}");
        ratios.push(mine / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    let middle = ratios[ratios.len() / 2];
    let missed = if middle < OF_NGINX { " MISSED" } else { "" };
    println!("repo serve: {middle:.2} of nginx, target >= {OF_NGINX}{missed}");
    Ok(())
}

/// Prepares a run.
type Prepare = Box<dyn Fn() -> Result<Command>>;

/// What all cases need.
#[derive(Clone)]
struct Bench {
    dir: PathBuf,
    program: PathBuf,
    gnupg: PathBuf,
    count: usize,
    corpus: Rc<[PathBuf]>,
    /// Two packages that are not in the corpus.
    two: [PathBuf; 2],
}

impl Bench {
    /// bk-repo's command on the repository it works in.
    fn ours(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([name, "--quiet"]).arg(self.run()).env("BK_ROOT", self.dir.join("state"));
        command
    }

    fn run(&self) -> PathBuf {
        self.dir.join("repo-run")
    }

    fn add(&self, files: &[PathBuf]) -> Command {
        let mut add = self.ours("add");
        add.args(["--suite", "stable"]).args(files);
        add
    }

    /// An empty repository.
    fn start(&self, architectures: &[&str], forms: &str) -> Result<()> {
        fresh(&self.run())?;
        let mut init = self.ours("init");
        init.args(["--suite", "stable", "--suite", "testing", "--compression", forms]);
        init.args(architectures.iter().flat_map(|name| ["--arch", name]));
        process::stdout(&mut init).map(drop)
    }

    /// A repository with everything in it, to begin others with: but for the packages, which are not
    /// looked at, and take long to copy.
    fn full(
        &self,
        to: &str,
        architectures: &[&str],
        forms: &str,
        files: &[PathBuf],
    ) -> Result<PathBuf> {
        let to = self.dir.join(to);
        self.start(architectures, forms)?;
        // A command line holds some 20,000 names.
        for files in files.chunks(10_000) {
            process::stdout(&mut self.add(files))?;
        }
        std::fs::rename(self.run().join("pool"), fresh(&self.dir.join("repo-pool"))?.join("it"))?;
        copy(&self.run(), &to)?;
        Ok(to)
    }

    fn peer(&self, name: &'static str, settings: &'static str) -> Peer {
        let (dir, gnupg) = (self.dir.join("repo-peer"), self.gnupg.clone());
        Peer { name, dir, gnupg, settings }
    }

    fn import(
        &self,
        title: &str,
        (peer, script): (&Peer, &'static str),
        forms: &'static str,
        target: Target,
    ) -> Case {
        let (ours, theirs, peer) = (self.clone(), self.clone(), peer.clone());
        Case {
            name: format!("repo import {}", self.count),
            peer: title.into(),
            batch: 1,
            target,
            ours: Box::new(move || {
                ours.start(&["amd64"], forms)?;
                Ok(ours.add(&ours.corpus))
            }),
            theirs: Box::new(move || {
                peer.start()?;
                Ok(peer.script(script, &theirs.corpus))
            }),
        }
    }

    /// An addition after another one, as in a repository that is used: a copy is not yet.
    fn add_one(&self, base: PathBuf) -> Prepare {
        let ours = self.clone();
        Box::new(move || {
            copy(&base, &ours.run())?;
            let [one, two] = &ours.two;
            process::stdout(&mut ours.add(std::slice::from_ref(two)))?;
            Ok(ours.add(std::slice::from_ref(one)))
        })
    }

    /// The same to that of a peer: the peer, a full one, and the script.
    fn addition(
        &self,
        name: String,
        title: &str,
        base: &Path,
        (peer, full, script): (Peer, PathBuf, &'static str),
        target: Target,
    ) -> Case {
        let two = self.two.clone();
        Case {
            name,
            peer: title.into(),
            batch: 1,
            target,
            ours: self.add_one(base.to_owned()),
            theirs: Box::new(move || {
                copy(&full, &peer.dir)?;
                let [one, two] = &two;
                process::stdout(&mut peer.script(script, std::slice::from_ref(two)))?;
                Ok(peer.script(script, std::slice::from_ref(one)))
            }),
        }
    }

    /// What takes less than the start of a browser.
    fn small_ones(&self, base: &Path) -> Vec<Case> {
        let reprepro = |script: &str, bench: &Bench| -> Prepare {
            let (peer, bench, script) =
                (bench.peer("reprepro", GZ), bench.clone(), script.to_owned());
            Box::new(move || {
                copy(&bench.dir.join("repo-peer-0"), &peer.dir)?;
                process::stdout(&mut peer.script(REPREPRO, &bench.two[..1]))?;
                Ok(peer.script(&script, &bench.two[..1]))
            })
        };
        let ours = |words: &[&str], bench: &Bench, base: &Path| -> Prepare {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            let (bench, base) = (bench.clone(), base.to_owned());
            Box::new(move || {
                copy(&base, &bench.run())?;
                process::stdout(&mut bench.add(&bench.two[..1]))?;
                if words.is_empty() {
                    return Ok(bench.add(&bench.two[..1]));
                }
                let mut command = bench.ours(&words[0]);
                command.args(&words[1..]);
                Ok(command)
            })
        };
        let case = |name: &str, peer: &str, target, ours, theirs| Case {
            name: format!("repo {name}"),
            peer: peer.into(),
            batch: 1,
            target,
            ours,
            theirs,
        };
        let name = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.split('_').next().unwrap_or_default().to_owned()
        };
        let middle = name(&self.corpus[self.count / 2]);
        // More than half of a suite are no libraries.
        let promoted = self.corpus.iter().filter(|path| !name(path).starts_with('l')).count();
        let aptly = self.peer("aptly", "");
        let full = self.dir.join("repo-peer-2");
        let snapshot: Prepare = Box::new(move || {
            copy(&full, &aptly.dir)?;
            Ok(aptly.script(r#"aptly -config="$1/conf" snapshot create s from repo r"#, &[]))
        });
        vec![
            case(
                "add what is there",
                "reprepro",
                Target::Wall(0.02),
                ours(&[], self, base),
                reprepro(REPREPRO, self),
            ),
            case(
                "list all",
                "reprepro",
                Target::Faster(1.0),
                ours(&["list", "--suite", "stable"], self, base),
                reprepro(r#"reprepro -b "$1" list stable"#, self),
            ),
            case(
                "list one",
                "reprepro",
                Target::Faster(1.0),
                ours(&["list", "--suite", "stable", &middle], self, base),
                reprepro(&format!(r#"reprepro -b "$1" list stable {middle}"#), self),
            ),
            case(
                "snapshot",
                "aptly",
                Target::Wall(0.05),
                ours(&["snapshot", "s", "--suite", "stable"], self, base),
                snapshot,
            ),
            case(
                &format!("promote {promoted}"),
                "reprepro",
                Target::Wall(0.2),
                ours(&["copy", "stable", "testing", "[!l]*"], self, base),
                reprepro(r#"reprepro -b "$1" --silent copymatched testing stable '[!l]*'"#, self),
            ),
        ]
    }

    /// What an update costs a client.
    fn clients(&self, base: &Path) -> Case {
        let update = |name: &str, archive: PathBuf| -> Prepare {
            let dir = self.dir.join(format!("repo-apt-{name}"));
            Box::new(move || {
                let d = fresh(&dir)?.display();
                for folder in ["lists/partial", "cache/archives/partial"] {
                    bk::file::create_dir(&dir.join(folder))?;
                }
                bk::file::write(&dir.join("status"), "")?;
                let source = format!("deb [trusted=yes] file:{} stable main\n", archive.display());
                bk::file::write(&dir.join("sources.list"), source)?;
                let conf = format!(
                    "Dir::State \"{d}\";\nDir::State::status \"{d}/status\";\n\
                     Dir::State::Lists \"{d}/lists\";\nDir::Cache \"{d}/cache\";\n\
                     Dir::Etc::SourceList \"{d}/sources.list\";\nDir::Etc::SourceParts \"/dev/null\";\n\
                     Dir::Etc::Parts \"/dev/null\";\n\
                     APT::Sandbox::User \"root\";\nAPT::Architecture \"amd64\";\n\
                     APT::Architectures {{ \"amd64\"; }};\nAcquire::Languages \"none\";\n"
                );
                bk::file::write(&dir.join("apt.conf"), conf)?;
                let mut command = Command::new("apt-get");
                command.arg("update").env("APT_CONFIG", dir.join("apt.conf"));
                Ok(command)
            })
        };
        let aptly = self.dir.join("repo-peer-2/public");
        Case {
            name: "repo apt-get update".into(),
            peer: "aptly's".into(),
            batch: 1,
            target: Target::Faster(2.0),
            ours: update("ours", base.to_owned()),
            theirs: update("aptly", aptly),
        }
    }
}
