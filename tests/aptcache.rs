//! The real apt, mmdebstrap and debootstrap behind a cache: by every way in, cold, warm, and when the
//! archive is gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;
use std::process::Command;

use bk::Console;
use common::{Server, done, said, tool};
use xtask::machine::Machine;

/// Small packages, most of which need nothing else.
const PACKAGES: [&str; 50] = [
    "bc",
    "ed",
    "less",
    "file",
    "tree",
    "time",
    "zip",
    "unzip",
    "patch",
    "make",
    "cpio",
    "rsync",
    "jq",
    "socat",
    "lsof",
    "strace",
    "m4",
    "bison",
    "flex",
    "gettext-base",
    "xxd",
    "bsdextrautils",
    "whois",
    "pv",
    "netcat-openbsd",
    "iproute2",
    "dnsutils",
    "traceroute",
    "tcpdump",
    "screen",
    "tmux",
    "nano",
    "hello",
    "figlet",
    "cowsay",
    "fortune-mod",
    "moreutils",
    "parallel",
    "psmisc",
    "procps",
    "sysstat",
    "htop",
    "dc",
    "diffstat",
    "dos2unix",
    "indent",
    "units",
    "zstd",
    "lz4",
    "pigz",
];

/// A cache in front of one archive.
fn cache(dir: &Path, upstream: &str) -> Server {
    let words = ["serve", "--listen", "127.0.0.1:0", "--cache", "cache", "--upstream", upstream];
    Server::start(tool("bk-aptcache", dir).args(words))
}

/// The archive of this system's Debian, and its suite.
fn archive() -> (String, String) {
    let release = std::fs::read_to_string("/etc/os-release").unwrap();
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap();
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]);
    let lines = done(&mut targets);
    let uri = lines.lines().find_map(|line| line.strip_suffix(&format!(" {name}"))).unwrap();
    (uri.trim_end_matches('/').to_owned(), name.to_owned())
}

/// Updates, and fetches the packages; apt says all it gets.
fn install(machine: &Machine, source: &str, proxy: Option<&str>, case: &str) {
    bk::file::write(&machine.path("etc/apt/sources.list"), source).unwrap();
    let proxy = proxy.map(|url| format!("Acquire::http::Proxy \"{url}\";\n")).unwrap_or_default();
    bk::file::write(&machine.path("etc/apt/apt.conf.d/proxy"), proxy).unwrap();
    drop(std::fs::remove_dir_all(machine.path("var/lib/apt/lists")));
    let apt = |words: &[&str]| {
        let mut command = machine.command(&["apt-get", "-q", "-o", "Debug::Acquire::http=1"]);
        let output = command.args(words).output().unwrap();
        let text = said(&output);
        assert!(output.status.success(), "{case}: {text}");
        assert!(!text.contains("Bad header"), "{case}: {text}");
        text
    };
    let text = apt(&["update"]);
    assert!(!text.contains("\nW: ") && !text.contains("\nErr:"), "{case}: {text}");
    apt(&["clean"]);
    let fetch = ["install", "-y", "--no-install-recommends", "--download-only"];
    apt(&[&fetch[..], &PACKAGES[..]].concat());
    let debs = std::fs::read_dir(machine.path("var/cache/apt/archives")).unwrap().flatten();
    let count = debs.filter(|entry| entry.path().extension().is_some_and(|e| e == "deb")).count();
    assert!(count >= PACKAGES.len() - 5, "{case}: {count}");
}

#[test]
fn apt_gets_everything_by_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let (uri, suite) = archive();
    let upstream = format!("debian={uri}");
    let server = cache(dir.path(), &upstream);
    let port = server.port;
    let mapped = format!("http://127.0.0.1:{port}/debian");

    // A whole Debian through it, cold, by mmdebstrap.
    let tarball = dir.path().join("root.tar");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--variant=apt", &suite])
        .arg(&tarball)
        .arg(format!("deb {mapped} {suite} main"));
    done(&mut mmdebstrap);
    let machine = Machine::unpack(&tarball, dir.path(), &Console::silent()).unwrap();

    let bare = uri.split_once("://").unwrap().1;
    let proxy = format!("http://127.0.0.1:{port}");
    for (case, source, proxy) in [
        ("by path", mapped.clone(), None),
        ("as a proxy", uri.clone().replace("https://", "http://"), Some(proxy.as_str())),
        ("HTTPS/// by path", format!("{proxy}/HTTPS///{bare}"), None),
        ("HTTPS/// as a proxy", format!("http://HTTPS///{bare}"), Some(proxy.as_str())),
    ] {
        install(&machine, &format!("deb {source} {suite} main\n"), proxy, case);
    }

    // debootstrap, which asks for other files in another order.
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", "--download-only", &suite]);
    done(debootstrap.arg(dir.path().join("debootstrap")).arg(&mapped));

    // bk-deb takes it for its mirror.
    let mut plan = tool("bk-deb", dir.path());
    plan.args(["build", "--dry-run", "--suite", &suite, "--mirror", &mapped, "six"]);
    assert!(done(&mut plan).starts_with("python3-six "));

    // The archive is gone: the cache goes on with what it has, also after a restart.
    drop(server);
    let server = cache(dir.path(), "debian=http://127.0.0.1:1");
    let mapped = format!("http://127.0.0.1:{}/debian", server.port);
    install(&machine, &format!("deb {mapped} {suite} main\n"), None, "without the archive");

    // Every file in the tree is what the indexes say; import finds them all again.
    let verify =
        tool("bk-aptcache", dir.path()).args(["verify", "--cache", "cache"]).output().unwrap();
    assert!(verify.status.success(), "{}", said(&verify));
    let mut import = tool("bk-aptcache", dir.path());
    import.args(["import", "--cache", "cache"]).arg(machine.path("var/cache/apt/archives"));
    assert!(done(&mut import).lines().count() >= PACKAGES.len() - 5);
}
