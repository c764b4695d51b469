//! Making the disk that all machines of one kind start from, and keeping it.

mod configure;
mod database;
mod image;
mod initrd;
mod settings;
mod unpack;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bk::{Cmd, Console, Context, Error, Result, display, file};
use bk_deb::fetch::Fetch;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::archive::{self, Archive, Index};
use crate::resolve;

/// How a base is made of packages: another way gets another number, and so another base.
const RECIPE: &str = "bk-vm base 6";

/// A list of packages and its hashes have some 30 kB.
const LIST_LIMIT: u64 = 16 << 20;

/// Connections to the archive at once: apt has one to each host, browsers six.
const CONNECTIONS: usize = 6;

/// Another create makes the same base: that takes seconds, and minutes over a slow line.
const WAIT: Duration = Duration::from_secs(1800);

/// Bases and packages are kept for so long after their last use: a suite's point releases are two months
/// apart, and its security updates come every few days.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a base is asked to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The suite.
    pub suite: String,
    /// Its archives.
    pub archives: Vec<Archive>,
    /// The Debian architecture.
    pub arch: String,
    /// Packages beside those every machine has.
    pub packages: Vec<String>,
    /// The disk's size in bytes.
    pub size: u64,
}

/// A package of a base.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// Where it is fetched from.
    pub url: String,
    /// Its hash.
    pub sha256: String,
    /// Whether it came because another needs it.
    pub automatic: bool,
}

/// What a base is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The Debian architecture.
    pub arch: String,
    /// The disk's size in bytes.
    pub size: u64,
    /// The packages, by name.
    pub packages: Vec<Item>,
}

impl Plan {
    /// What the base is known by: all it is made of, and how.
    pub fn key(&self) -> String {
        let mut hashes: Vec<&str> = self.packages.iter().map(|item| item.sha256.as_str()).collect();
        hashes.sort_unstable();
        let text = format!("{RECIPE}\n{}\n{}\n{}", self.arch, self.size, hashes.join("\n"));
        hash(&text)
    }
}

fn hash(text: &str) -> String {
    // 128 bits: nobody gains by two lists of packages with the same one.
    format!("{:x}", Sha256::digest(text.as_bytes())).chars().take(32).collect()
}

/// Where bases, indexes and packages are kept.
pub struct Store {
    dir: PathBuf,
    /// The program `bk-vm`, a part of whose work runs in namespaces of its own.
    program: PathBuf,
}

impl Store {
    /// The folder `vm` of a cache, for the program `bk-vm`.
    pub fn new(cache: &Path, program: &Path) -> Self {
        Store { dir: cache.join("vm"), program: program.to_owned() }
    }

    /// What the base would be made of, by what the archives say now. A choice made before of the same
    /// indexes is not made again.
    pub fn plan(&self, wanted: &Wanted, fetch: &Fetch, console: &Console) -> Result<Plan> {
        file::create_dir(&self.dir)?;
        let listed = archive::listed(&wanted.archives, &wanted.arch, &self.dir, fetch, console)?;
        let mut packages = wanted.packages.clone();
        packages.sort();
        packages.dedup();
        let sums: Vec<&str> = listed.iter().map(|listed| listed.sha256.as_str()).collect();
        let uris: Vec<&str> = wanted.archives.iter().map(|a| a.uri.as_str()).collect();
        let key = hash(&format!(
            "{RECIPE}\n{}\n{}\n{sums:?}\n{uris:?}\n{packages:?}",
            wanted.arch, wanted.size
        ));
        let kept = self.dir.join("plans").join(&key);
        if let Ok(text) = file::read(&kept, LIST_LIMIT)
            && let Ok(plan) = serde_json::from_slice(&text)
        {
            return Ok(plan);
        }
        console.info(&format!("choosing the packages of {}", wanted.suite));
        let indexes = self.dir.join("indexes");
        let texts = archive::texts(&listed, &indexes, fetch)?;
        let index = Index::new(&texts);
        let names = resolve::machine(&index, &wanted.arch, &packages);
        let item = |package: archive::Package<'_>| Item {
            name: package.name.to_owned(),
            version: package.version.to_owned(),
            architecture: package.architecture.to_owned(),
            url: format!("{}/{}", package.uri, package.filename),
            sha256: package.sha256.to_owned(),
            automatic: !names.iter().any(|name| name == package.name)
                && !package.essential
                && package.priority != "required",
        };
        let packages = resolve::resolve(&index, &names)?.into_iter().map(item).collect();
        let plan = Plan { arch: wanted.arch.clone(), size: wanted.size, packages };
        // Indexes that nothing lists any more are of no use.
        for entry in std::fs::read_dir(&indexes).into_iter().flatten().flatten() {
            if !sums.iter().any(|sum| entry.file_name() == **sum) {
                drop(std::fs::remove_file(entry.path()));
            }
        }
        file::create_dir(&self.dir.join("plans"))?;
        file::write(&kept, serde_json::to_vec(&plan)?)?;
        Ok(plan)
    }

    /// The base of a plan, if it has been made.
    pub fn base(&self, plan: &Plan) -> Option<Base> {
        let dir = self.dir.join("bases").join(plan.key());
        touch(&dir);
        dir.is_dir().then_some(Base { dir })
    }

    /// The base of a plan, made if it is not there.
    pub fn make(&self, plan: &Plan, fetch: &Fetch, console: &Console) -> Result<Base> {
        let bases = self.dir.join("bases");
        file::create_dir(&bases)?;
        if let Some(base) = self.base(plan) {
            return Ok(base);
        }
        let _lock = file::Lock::exclusive(&bases.join(".lock"), WAIT, console)?;
        if let Some(base) = self.base(plan) {
            return Ok(base);
        }
        let privilege = Privilege::find()?;
        clear(&bases, &privilege, console);
        let debs = self.fetch(plan, fetch, console)?;
        let failed = || "cannot make the base of the machine".to_owned();
        let dir = file::TempDir::new_in(&bases)?;
        build(plan, &debs, dir.path(), &self.program, &privilege, console).context(failed)?;
        let key = plan.key();
        let made = dir.path().join("base");
        std::fs::rename(&made, bases.join(&key)).context(failed)?;
        file::sync_dir(&bases)?;
        self.prune();
        Ok(Base { dir: bases.join(key) })
    }

    /// Fetches what is missing, several at once, in the order of the plan.
    fn fetch(&self, plan: &Plan, fetch: &Fetch, console: &Console) -> Result<Vec<PathBuf>> {
        let dir = self.dir.join("debs");
        file::create_dir(&dir)?;
        let path = |item: &Item| dir.join(format!("{}.deb", item.sha256));
        let missing: Vec<&Item> =
            plan.packages.iter().filter(|item| !path(item).exists()).collect();
        let progress = console.progress("fetching", missing.len() as u64);
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(item) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                if !is_hash(&item.sha256) {
                    return Err(Error::new(format!("'{}' has no SHA-256 in its index", item.name)));
                }
                fetch.file(&item.url, &path(item), Some(&item.sha256))?;
                progress.step(&item.name);
            }
            Ok(())
        };
        let done: Result<Vec<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| archive::joined(thread.join())).collect()
        });
        done?;
        let paths: Vec<PathBuf> = plan.packages.iter().map(path).collect();
        paths.iter().for_each(|path| touch(path));
        Ok(paths)
    }

    /// Removes bases and packages that nothing was made of for long. That one stays is no harm.
    fn prune(&self) {
        for folder in ["bases", "debs", "plans"] {
            for entry in std::fs::read_dir(self.dir.join(folder)).into_iter().flatten().flatten() {
                let used = entry.metadata().and_then(|about| about.modified()).ok();
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                let age = used.and_then(|time| time.elapsed().ok());
                if !hidden && age.is_some_and(|age| age > UNUSED) {
                    let path = entry.path();
                    drop(std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path)));
                }
            }
        }
    }
}

/// Says of a file or folder that it is used, if it is there.
fn touch(path: &Path) {
    let now = std::time::SystemTime::now();
    drop(std::fs::File::open(path).and_then(|file| file.set_modified(now)));
}

/// Names become paths by it.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Removes what a create left that was killed.
fn clear(bases: &Path, privilege: &Privilege, console: &Console) {
    for entry in std::fs::read_dir(bases).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(".bk-") {
            let _ = privilege.command(&[], console).args(["rm", "-rf"]).arg(entry.path()).output();
        }
    }
}

/// A disk, kernel and initrd that machines start from.
pub struct Base {
    /// The folder of all three.
    pub dir: PathBuf,
}

/// Makes a base as `DIR/base`.
fn build(
    plan: &Plan,
    debs: &[PathBuf],
    dir: &Path,
    program: &Path,
    privilege: &Privilege,
    console: &Console,
) -> Result<()> {
    let (tree, made) = (dir.join("tree"), dir.join("base"));
    let list = dir.join("plan.json");
    file::write(&list, serde_json::to_vec(&Work { plan: plan.clone(), debs: debs.to_vec() })?)?;
    console.note(&format!("unpacking and configuring {} packages", plan.packages.len()));
    let separate = ["unshare", "--mount", "--pid", "--fork", "--kill-child"];
    let inside = privilege.command(&separate, console).arg(program).arg("inside");
    inside.arg(&list).arg(&tree).output()?;
    console.note("writing the disk");
    file::create_dir(&made)?;
    image::make(&tree, &made.join(crate::machine::DISK), plan, privilege, console)?;
    initrd::make(&tree, &made)?;
    file::write(&made.join("packages.json"), serde_json::to_vec(&plan)?)?;
    privilege.command(&[], console).args(["rm", "-rf"]).arg(&tree).output().map(drop)
}

/// What the part that runs inside is given.
#[derive(Serialize, Deserialize)]
struct Work {
    plan: Plan,
    debs: Vec<PathBuf>,
}

/// How files get the owners that they have in a machine.
pub struct Privilege {
    /// For those who are not root: the ranges of /etc/subuid and /etc/subgid.
    mapped: Option<(String, String)>,
}

impl Privilege {
    /// root's, or a user namespace (user_namespaces(7)) with the numbers that this user was given
    /// (subuid(5)).
    pub fn find() -> Result<Self> {
        if rustix::process::geteuid().is_root() {
            return Ok(Privilege { mapped: None });
        }
        let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|text| {
            let own = rustix::process::getuid().as_raw().to_string();
            let line = text.lines().find(|line| line.split(':').nth(2) == Some(&own))?;
            Some(line.split(':').next()?.to_owned())
        });
        let range = |file: &str| {
            let text = std::fs::read_to_string(file).ok()?;
            subordinate(&text, name.as_deref()?)
        };
        match (range("/etc/subuid"), range("/etc/subgid")) {
            (Some(users), Some(groups)) => Ok(Privilege { mapped: Some((users, groups)) }),
            _ => Err(Error::new("making a machine needs files of many owners, and this user has one")
                .hint("as root, run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, and install uidmap; or run it as root")),
        }
    }

    /// A command that starts with `words`, in a clean environment, and ends when we do.
    fn command(&self, words: &[&str], console: &Console) -> Cmd {
        let cmd = Cmd::new("setpriv", console).args(["--pdeathsig", "KILL"]);
        let cmd = match &self.mapped {
            None => cmd,
            Some((users, groups)) => cmd
                .args(["unshare", "--user", "--map-root-user"])
                .arg(format!("--map-users={users}"))
                .arg(format!("--map-groups={groups}")),
        };
        // Of the environment nothing goes on: maintainer scripts would read it.
        cmd.args(words)
            .args(["env", "-i", "LC_ALL=C.UTF-8"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    }
}

/// A user's range of numbers as unshare(1) takes it, `OUTER,INNER,COUNT`: this user is root in there, and
/// these are the others.
fn subordinate(text: &str, user: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split(':');
        let (name, first, count) = (words.next()?, words.next()?, words.next()?);
        let enough = count.trim().parse::<u64>().ok()? >= 65535;
        (name == user && enough).then(|| format!("{first},1,65535"))
    })
}

/// The part that runs as root of a tree, in namespaces of its own: what `bk-vm inside` does.
pub fn inside(list: &Path, tree: &Path, console: &Console) -> Result<()> {
    let work: Work = serde_json::from_slice(&file::read(list, LIST_LIMIT)?)?;
    let open = |path: &PathBuf| {
        std::fs::File::open(path).context(|| format!("cannot open '{}'", display(path)))
    };
    // Opened while their paths mean something: from then on the tree is all there is, so that no path
    // and no link in a package leads out of it.
    let debs = work.debs.iter().map(open).collect::<Result<Vec<_>>>()?;
    unpack::lay_out(tree)?;
    configure::enter(tree)?;
    let unpacked = unpack::all(&work.plan.packages, debs, console)?;
    database::write(&work.plan, &unpacked)?;
    configure::run(&work.plan, console)?;
    settings::write(console)?;
    configure::leave()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_numbers_is_found() {
        let text = "other:100000:65536\nme:165536:1000\nme:200000:65536\n";
        assert_eq!(subordinate(text, "me").as_deref(), Some("200000,1,65535"));
        assert_eq!(subordinate(text, "nobody"), None);
    }

    #[test]
    fn a_base_is_known_by_what_it_is_made_of() {
        let item = |name: &str, sha256: &str| Item {
            name: name.into(),
            version: "1".into(),
            architecture: "all".into(),
            url: format!("http://MIRROR/{name}"),
            sha256: sha256.into(),
            automatic: false,
        };
        let plan = |packages: Vec<Item>| Plan { arch: "amd64".into(), size: 1 << 30, packages };
        let key = plan(vec![item("a", "1"), item("b", "2")]).key();
        assert_eq!(key, plan(vec![item("b", "2"), item("a", "1")]).key());
        assert_ne!(key, plan(vec![item("a", "1")]).key());
        assert_ne!(key, plan(vec![item("a", "1"), item("b", "3")]).key());
    }
}
