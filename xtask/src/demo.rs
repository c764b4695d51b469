//! `cargo xtask demo`: from the names of Python packages to their installation by apt-get.

mod web;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use bk::{Console, Context, Error, Result, display};

use crate::machine::{self, Machine};
use crate::{install, process, workspace};

/// What the demo runs, beside our own programs.
const APT: &[&str] = &["gcc", "libc6-dev", "ca-certificates", "mmdebstrap", "python3"];

/// Arguments of `demo`.
#[derive(clap::Args)]
pub struct Args {
    /// What to package, as pip names it
    #[arg(default_value = "flask")]
    names: Vec<String>,
}

/// Arguments of `demo-install`, the part of the demo that needs root.
#[derive(clap::Args)]
pub struct InstallArgs {
    /// The tarball of a Debian root
    #[arg(long)]
    tarball: PathBuf,
    /// The .sources file of our repository
    #[arg(long)]
    sources: PathBuf,
    /// The folder with our .debs
    #[arg(long)]
    debs: PathBuf,
    /// The address of the apt cache
    #[arg(long)]
    cache: String,
    /// The Debian packages to install
    packages: Vec<String>,
}

/// The demo's folders and programs.
struct Demo {
    dir: PathBuf,
    bk: PathBuf,
    path: std::ffi::OsString,
}

impl Demo {
    fn bk(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.bk);
        // Keys and caches stay in the demo's folder, and make the second run quick.
        command.args(words).env("BK_ROOT", self.dir.join("state")).env("PATH", &self.path);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// A server that ends with the demo, however the demo ends.
struct Server(Child);

impl Server {
    fn start(command: &Command) -> Result<Self> {
        // The kernel sends the signal when we die, so that not even a SIGKILL leaves it behind.
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "TERM"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            value.map(|value| tied.env(name, value));
        }
        tied.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        Ok(Server(tied.spawn().context(|| format!("cannot run '{}'", process::line(&tied)))?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Packages, publishes, serves and installs.
pub fn run(args: &Args, console: &Console) -> Result<()> {
    let start = Instant::now();
    let step = |number: u8, what: &str| eprintln!("[{number}/5] {what}");

    step(1, "programs");
    install::apt(APT)?;
    install::lists()?;
    let target = workspace::target()?;
    let python = install::python(&target.join("venv"), crate::test::PYTHON)?;
    let mut cargo = process::cargo();
    cargo.current_dir(workspace::root()).args(["build", "--release", "--bins", "--locked"]);
    process::run(cargo.args(["--workspace", "--exclude=xtask"]))?;
    let demo = Demo {
        dir: target.join("demo"),
        bk: target.join("release/bk"),
        path: install::path_with(&[&python])?,
    };
    bk::file::create_dir(&demo.dir)?;
    for name in ["debs", "repo"] {
        if demo.path(name).exists() {
            std::fs::remove_dir_all(demo.path(name))?;
        }
    }

    step(2, "packages, and all they need, as .debs in a signed repository");
    let built = Instant::now();
    let (debs, repo) = (demo.path("debs"), demo.path("repo"));
    process::run(demo.bk(&["repo", "init"]).arg(&repo).stdout(Stdio::null()))?;
    build_and_add(&demo, &args.names)?;
    let built = built.elapsed();
    let packages = named(&debs, &args.names)?;

    step(3, "a Debian root to install in, fetched through our cache");
    let address = format!("127.0.0.1:{}", web::free_port()?);
    let cache = format!("http://{address}");
    let _cache = Server::start(demo.bk(&["aptcache", "serve"]).args(["--listen", &address]))?;
    web::wait(&address)?;
    let tarball = machine::tarball(&demo.dir, None, Some(&cache))?;

    step(4, "the repository, served");
    let address = format!("127.0.0.1:{}", web::free_port()?);
    let uri = format!("http://{address}/");
    let sources = demo.path("buildkit.sources");
    let text = process::stdout(demo.bk(&["repo", "sources"]).arg(&repo).args(["--uri", &uri]))?;
    bk::file::write(&sources, text + "\n")?;
    let _server =
        Server::start(demo.bk(&["repo", "serve"]).arg(&repo).args(["--listen", &address]))?;
    web::wait(&address)?;

    step(5, &format!("apt-get install {}", packages.join(" ")));
    let installing = Instant::now();
    let args = InstallArgs {
        tarball,
        sources: sources.clone(),
        debs: debs.clone(),
        cache,
        packages: packages.clone(),
    };
    let result = match rustix::process::geteuid().is_root() {
        true => install_text(&args, console)?,
        false => as_root(&args)?,
    };
    let installing = installing.elapsed();

    println!("\nBuilt in {:.1} s, in {}:", built.as_secs_f64(), debs.display());
    for name in deb_names(&debs)? {
        println!("  {name}");
    }
    println!("Published in a repository that apt trusts by the key in {}", sources.display());
    println!(
        "Installed in {:.1} s, in a throw-away Debian, by: apt-get install {}",
        installing.as_secs_f64(),
        packages.join(" ")
    );
    print!("{result}");
    println!("All of it took {:.1} s. Try next:", start.elapsed().as_secs_f64());
    println!("  cargo xtask demo sphinx");
    println!("  {} deb build DIR -o debs      # a project of yours", demo.bk.display());
    println!("  {} repo serve {} --listen {address}", demo.bk.display(), repo.display());
    println!("  cp {} /etc/apt/sources.list.d/ && apt-get update", sources.display());
    Ok(())
}

/// `bk deb build NAME… -o debs | bk repo add repo -`.
fn build_and_add(demo: &Demo, names: &[String]) -> Result<()> {
    let mut build = demo.bk(&["deb", "build"]);
    build.args(names).arg("-o").arg(demo.path("debs")).stdout(Stdio::piped());
    let mut add = demo.bk(&["repo", "add"]);
    add.arg(demo.path("repo")).arg("-").stdout(Stdio::null());
    eprintln!("+ {} | {}", process::line(&build), process::line(&add));
    let mut build = build.spawn().context(|| "cannot run bk".into())?;
    if let Some(paths) = build.stdout.take() {
        add.stdin(paths);
    }
    let added = add.status().context(|| "cannot run bk".into());
    let built = build.wait()?;
    match built.success() && added?.success() {
        true => Ok(()),
        false => Err(Error::new("the packages were not all built and published")),
    }
}

/// The Debian packages of the names given: `python3-NAME`, the name as PEP 503 writes it.
fn named(debs: &Path, names: &[String]) -> Result<Vec<String>> {
    let built = deb_names(debs)?;
    let package = |deb: &String| deb.split('_').next().unwrap_or_default().to_owned();
    let all: Vec<String> = built.iter().map(package).collect();
    let find = |name: &String| {
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
        let plain = name[..end.unwrap_or(name.len())].to_lowercase().replace(['_', '.'], "-");
        let plain = plain.trim_start_matches("python-").to_owned();
        all.iter()
            .find(|package| **package == format!("python3-{plain}"))
            .cloned()
            .ok_or_else(|| Error::new(format!("no package of '{name}' among {}", all.join(", "))))
    };
    names.iter().map(find).collect()
}

fn deb_names(dir: &Path) -> Result<Vec<String>> {
    let entries = dir.read_dir().context(|| format!("cannot read '{}'", display(dir)))?;
    let name = |entry: std::io::Result<std::fs::DirEntry>| -> Result<String> {
        Ok(entry?.file_name().to_string_lossy().into_owned())
    };
    let mut names: Vec<String> = entries.map(name).collect::<Result<_>>()?;
    names.retain(|name| name.ends_with(".deb"));
    names.sort();
    Ok(names)
}

/// The same as [`install_text`], by sudo.
fn as_root(args: &InstallArgs) -> Result<String> {
    let mut command = process::as_root(std::env::current_exe()?);
    command.arg("demo-install").arg("--tarball").arg(&args.tarball);
    command.arg("--sources").arg(&args.sources).arg("--debs").arg(&args.debs);
    command.arg("--cache").arg(&args.cache);
    process::stdout(command.args(&args.packages))
        .map(|text| text + "\n")
        .hint(|| "run it as root, or let sudo ask for no password".into())
}

/// `demo-install`.
pub fn install(args: &InstallArgs, console: &Console) -> Result<()> {
    install_text(args, console).map(|text| print!("{text}"))
}

/// Installs the packages in a throw-away root, uses them there, and tells what happened.
fn install_text(args: &InstallArgs, console: &Console) -> Result<String> {
    let work = args.sources.parent().unwrap_or(Path::new("."));
    let machine = Machine::unpack(&args.tarball, work, console)?;
    let before = machine.installed()?;
    machine.copy(&args.sources, "etc/apt/sources.list.d/buildkit.sources")?;
    machine.fetch_through(&args.cache)?;
    machine.run(&["apt-get", "-q", "update"])?;
    let mut install = vec!["apt-get", "-q", "-y", "install"];
    install.extend(args.packages.iter().map(String::as_str));
    machine.run(&install)?;

    let built = deb_names(&args.debs)?;
    let new: Vec<(String, String)> =
        machine.installed()?.into_iter().filter(|package| !before.contains(package)).collect();
    // An epoch is in no file name.
    let file = |(name, version): &(String, String)| {
        let version = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
        format!("{name}_{version}_")
    };
    let (ours, debian): (Vec<_>, Vec<_>) =
        new.iter().partition(|package| built.iter().any(|deb| deb.starts_with(&file(package))));
    let list = |packages: &[&(String, String)]| {
        let words: Vec<String> = packages.iter().map(|(n, v)| format!("{n} {v}")).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    };
    let mut text =
        format!("  from our repository: {}\n  from Debian: {}\n", list(&ours), list(&debian));
    for package in &args.packages {
        if !ours.iter().any(|(name, _)| name == package) {
            return Err(Error::new(format!("apt-get took '{package}' from elsewhere")));
        }
        text += &match package.as_str() {
            "python3-flask" => web::flask(&machine)?,
            _ => machine.import(package)?,
        };
    }
    Ok(text)
}
