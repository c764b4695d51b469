//! The files a package installs (Policy chapters 9, 10 and 12, and the FHS).

use std::collections::{HashMap, HashSet};

use bk::sanitize;

use super::archive::{Item, Kind};
use super::{Findings, Opened};
use crate::debian::control::Paragraph;

/// Folders of the system's administrator or of a running system, with lintian's names for files in
/// them (Policy 9.1, FHS 3.0).
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("usr/local/", "file-in-usr-local", "dir-in-usr-local"),
    ("opt/", "dir-or-file-in-opt", "dir-or-file-in-opt"),
    ("tmp/", "dir-or-file-in-tmp", "dir-or-file-in-tmp"),
    ("var/tmp/", "dir-or-file-in-tmp", "dir-or-file-in-tmp"),
    ("usr/tmp/", "dir-or-file-in-tmp", "dir-or-file-in-tmp"),
    ("mnt/", "dir-or-file-in-mnt", "dir-or-file-in-mnt"),
    ("home/", "dir-or-file-in-home", "dir-or-file-in-home"),
    ("root/", "dir-or-file-in-home", "dir-or-file-in-home"),
    ("srv/", "dir-or-file-in-srv", "dir-or-file-in-srv"),
    ("run/", "dir-or-file-in-run", "dir-or-file-in-run"),
    ("var/run/", "dir-or-file-in-var-run", "dir-or-file-in-var-run"),
    ("var/lock/", "dir-or-file-in-var-lock", "dir-or-file-in-var-lock"),
    ("var/www/", "dir-or-file-in-var-www", "dir-or-file-in-var-www"),
];

/// What a package may have at the top (FHS 3), and what Debian has in /usr.
const TOP: &[&str] = &[
    "bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "srv", "usr", "var",
    "home", "mnt", "root", "run", "tmp", "media", "dev", "proc", "sys",
];
const USR: &[&str] = &[
    "bin", "games", "include", "lib", "lib32", "lib64", "libexec", "libx32", "local", "sbin",
    "share", "src",
];

/// Checks the data archive.
pub fn check(opened: &Opened, paragraph: &Paragraph, findings: &mut Findings) {
    let mut seen = HashSet::new();
    for item in &opened.files {
        let shown = format!("[{}]", sanitize(&item.path));
        let climbs = item.path.split('/').any(|part| part == "..");
        if climbs || item.raw.starts_with('/') {
            findings.error("path-leaves-root", format!("[{}]", sanitize(&item.raw)));
        }
        if !item.path.is_empty() && !seen.insert(item.path.as_str()) {
            findings.error("duplicate-path", shown.clone());
        }
        place(item, &shown, findings);
        owner_and_mode(item, &shown, findings);
        link(item, &shown, findings);
        code(item, &shown, paragraph, findings);
    }
    sums(opened, findings);
    conffiles(opened, findings);
    documents(opened, paragraph, findings);
    libraries(opened, paragraph, findings);
    installed_size(opened, paragraph, findings);
}

fn place(item: &Item, shown: &str, findings: &mut Findings) {
    let path = item.path.as_str();
    for (folder, file, dir) in FORBIDDEN {
        if path.len() > folder.len() && path.starts_with(folder) {
            findings.error(if item.is_dir() { dir } else { file }, shown);
        }
    }
    if item.is_dir() {
        return;
    }
    let parts: Vec<&str> = path.split('/').collect();
    let usual = match parts.as_slice() {
        [] | [_] => false,
        ["usr", _] => false,
        ["usr", second, ..] => USR.contains(second),
        [top, ..] => TOP.contains(top),
    };
    if !usual {
        findings.warning("file-in-unusual-dir", shown);
    }
    let versions = [".git", ".hg", ".svn", ".bzr", "CVS"];
    if parts.iter().rev().skip(1).any(|part| versions.contains(part)) {
        findings.warning("package-contains-vcs-control-dir", shown);
    }
}

fn owner_and_mode(item: &Item, shown: &str, findings: &mut Findings) {
    // Debian's own numbers (Policy 9.2.2); others differ from machine to machine.
    let fixed = |id: u64| id < 100 || (60000..65000).contains(&id) || id == 65534;
    if !fixed(item.uid) || !fixed(item.gid) {
        let (owner, uid, gid) = (sanitize(&item.owner), item.uid, item.gid);
        findings.error("wrong-file-owner-uid-or-gid", format!("{uid}/{gid} ({owner}) {shown}"));
    }
    let mode = item.mode;
    match item.kind {
        Kind::Dir if item.path.is_empty() => {}
        Kind::Dir if mode != 0o755 && mode & 0o7000 == 0 => {
            findings.warning("non-standard-dir-perm", format!("{mode:04o} != 0755 {shown}"));
        }
        Kind::File => {
            let library = item.elf.as_ref().is_some_and(|elf| !elf.program)
                && (item.path.ends_with(".so") || item.path.contains(".so."));
            if mode & 0o6000 != 0 {
                let owner = sanitize(&item.owner);
                findings.warning("elevated-privileges", format!("{mode:04o} {owner} {shown}"));
            } else if library && mode & 0o111 != 0 {
                findings.error("shared-library-is-executable", format!("{mode:04o} {shown}"));
            } else if mode & 0o111 != 0 && mode != 0o755 {
                let text = format!("{mode:04o} != 0755 {shown}");
                findings.warning("non-standard-executable-perm", text);
            } else if mode & 0o111 == 0 && mode != 0o644 {
                findings.warning("non-standard-file-perm", format!("{mode:04o} != 0644 {shown}"));
            }
        }
        Kind::Other => findings.error("special-file", format!("{mode:04o} {shown}")),
        _ => {}
    }
    let named = item.path.starts_with("usr/share/doc/") || item.path.ends_with(".so");
    if item.is_file() && mode & 0o111 != 0 && !item.is_elf() && !item.head.starts_with(b"#!") {
        if item.path.starts_with("usr/bin/") || item.path.starts_with("usr/sbin/") {
            findings.error("script-without-interpreter", shown);
        } else if !named {
            findings.warning("executable-not-elf-or-script", shown);
        }
    }
}

/// Policy 10.5.
fn link(item: &Item, shown: &str, findings: &mut Findings) {
    match &item.kind {
        Kind::Symlink(target) => {
            let text = format!("{} {shown}", sanitize(target));
            if target.contains("//") {
                findings.warning("symlink-has-double-slash", text.clone());
            }
            if target.len() > 1 && target.ends_with('/') {
                findings.warning("symlink-ends-with-slash", text.clone());
            }
            let dir = item.path.rsplit_once('/').map_or("", |(dir, _)| dir);
            let depth = dir.split('/').filter(|part| !part.is_empty()).count();
            let up = target.split('/').take_while(|part| *part == "..").count();
            if up > depth {
                findings.error("symlink-has-too-many-up-segments", text.clone());
            }
            let top =
                |path: &str| path.trim_start_matches('/').split('/').next().map(str::to_owned);
            if target.starts_with('/') && top(target) == top(&item.path) {
                findings.warning("absolute-symlink-in-top-level-folder", text);
            } else if target == "/" || target.split('/').all(|part| part == "..") {
                findings.warning("symlink-is-self-recursive", text);
            }
        }
        Kind::Hardlink(target) => {
            // Across folders it may be across file systems; in /etc an editor breaks it.
            let target = target.trim_start_matches("./");
            let dir = |path: &str| path.rsplit_once('/').map(|(dir, _)| dir.to_owned());
            if item.path.starts_with("etc/") || dir(target) != dir(&item.path) {
                let text = format!("{} {shown}", sanitize(target));
                findings.warning("package-contains-hardlink", text);
            }
        }
        _ => {}
    }
}

/// Programs and scripts.
fn code(item: &Item, shown: &str, paragraph: &Paragraph, findings: &mut Findings) {
    let architecture = paragraph.get("Architecture").unwrap_or_default();
    if let Some(elf) = &item.elf {
        if architecture == "all" {
            findings.error("arch-independent-package-contains-binary-or-object", shown);
        } else if let Some(own) = elf.architecture.filter(|own| *own != architecture) {
            findings.warning("binary-from-other-architecture", format!("{own} {shown}"));
        }
        if elf.unstripped && !item.path.starts_with("usr/lib/debug/") {
            findings.error("unstripped-binary-or-object", shown);
        }
        if item.path.starts_with("usr/share/") {
            findings.error("arch-dependent-file-in-usr-share", shown);
        }
        for path in elf.search.iter().flat_map(|path| path.split(':')) {
            let ours = ["/lib", "/usr/lib"].iter().any(|own| path.starts_with(own));
            if path.starts_with('/') && !ours {
                let path = sanitize(path);
                findings.error("custom-library-search-path", format!("{path} {shown}"));
            }
        }
        return;
    }
    let runs = item.is_file() && item.mode & 0o111 != 0;
    let Some(rest) = item.head.strip_prefix(b"#!").filter(|_| runs) else { return };
    let line = String::from_utf8_lossy(rest.split(|b| *b == b'\n').next().unwrap_or_default())
        .into_owned();
    let mut words = line.split_whitespace();
    let Some(interpreter) = words.next() else {
        return findings.error("script-without-interpreter", shown);
    };
    let name = interpreter.rsplit('/').next().unwrap_or(interpreter);
    let text = format!("{} {shown}", sanitize(interpreter));
    let doc = item.path.starts_with("usr/share/doc/");
    if doc {
        return;
    }
    match name {
        "python" | "python3" | "perl" if interpreter != format!("/usr/bin/{name}") => {
            findings.error("wrong-path-for-interpreter", text);
        }
        "python" => findings.error("script-uses-unversioned-python-in-shebang", shown),
        "sh" | "bash" if !["/bin/", "/usr/bin/"].contains(&interpreter.trim_end_matches(name)) => {
            findings.error("wrong-path-for-interpreter", text);
        }
        _ if interpreter.starts_with("/usr/local/") => {
            findings.error("interpreter-in-usr-local", text);
        }
        _ if !interpreter.starts_with('/') => findings.warning("interpreter-not-absolute", text),
        _ => {}
    }
}

/// `md5sums` against what is there (deb-md5sums(5)).
fn sums(opened: &Opened, findings: &mut Findings) {
    let conffiles = opened.text("conffiles").unwrap_or_default();
    let conffiles: HashSet<&str> =
        conffiles.lines().map(|line| line.trim().trim_start_matches('/')).collect();
    let files = || opened.files.iter().filter(|item| item.is_file());
    let Some(text) = opened.text("md5sums") else {
        if files().any(|item| !conffiles.contains(item.path.as_str())) {
            findings.info("no-md5sums-control-file", "");
        }
        return;
    };
    let mut listed: HashMap<&str, &str> = HashMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.split_once("  ") {
            Some((sum, path)) if sum.len() == 32 && sum.bytes().all(|b| b.is_ascii_hexdigit()) => {
                listed.insert(path.trim_start_matches("./"), sum);
            }
            _ => findings.error("malformed-md5sums-control-file", sanitize(line)),
        }
    }
    for item in files() {
        match listed.remove(item.path.as_str()) {
            Some(sum) if !sum.eq_ignore_ascii_case(&item.md5) => {
                findings.error("md5sum-mismatch", format!("[{}]", sanitize(&item.path)));
            }
            Some(_) => {}
            None if conffiles.contains(item.path.as_str()) => {}
            None => {
                let path = sanitize(&item.path);
                findings.warning("file-missing-in-md5sums", format!("[{path}]"));
            }
        }
    }
    let mut missing: Vec<&str> = listed.into_keys().collect();
    missing.sort_unstable();
    for path in missing {
        findings.error("md5sums-lists-nonexistent-file", format!("[{}]", sanitize(path)));
    }
}

/// Policy 10.7.
fn conffiles(opened: &Opened, findings: &mut Findings) {
    let text = opened.text("conffiles").unwrap_or_default();
    let mut seen = HashSet::new();
    for line in text.lines() {
        // deb-conffiles(5): `remove-on-upgrade` may stand before the name of a file not shipped.
        let (path, removed) = match line.strip_prefix("remove-on-upgrade ") {
            Some(path) => (path.trim(), true),
            None => (line.trim_end(), false),
        };
        let shown = sanitize(path);
        if path.is_empty() {
            continue;
        }
        if !seen.insert(path.to_owned()) {
            findings.error("duplicate-conffile", shown.clone());
        }
        let Some(inside) = path.strip_prefix('/') else {
            findings.error("relative-conffile", shown);
            continue;
        };
        if path.starts_with("/usr/") {
            findings.error("file-in-usr-marked-as-conffile", shown.clone());
        } else if !path.starts_with("/etc/") {
            findings.error("non-etc-file-marked-as-conffile", shown.clone());
        }
        match opened.files.iter().find(|item| item.path == inside) {
            Some(item) if !item.is_file() => findings.error("conffile-has-bad-file-type", shown),
            Some(_) if removed => findings.error("unexpected-conffile", shown),
            None if !removed => findings.error("missing-conffile", shown),
            _ => {}
        }
    }
    for item in opened.files.iter().filter(|item| item.is_file()) {
        if item.path.starts_with("etc/") && !seen.contains(&format!("/{}", item.path)) {
            let path = sanitize(&item.path);
            findings.error("file-in-etc-not-marked-as-conffile", format!("[{path}]"));
        }
    }
}

/// Policy 12.5 and 12.7.
fn documents(opened: &Opened, paragraph: &Paragraph, findings: &mut Findings) {
    let Some(package) = paragraph.get("Package") else { return };
    let doc = format!("usr/share/doc/{package}");
    let find = |path: &str| opened.files.iter().find(|item| item.path == path);
    // A link to the folder of a package of the same source has them there.
    if find(&doc).is_some_and(|item| matches!(item.kind, Kind::Symlink(_))) {
        return;
    }
    if find(&format!("{doc}/copyright")).is_none() {
        match find(&format!("{doc}/copyright.gz")) {
            Some(_) => findings.error("copyright-file-compressed", ""),
            None => findings.error("no-copyright-file", ""),
        }
    }
    let names = ["changelog.Debian.gz", "changelog.gz"];
    if names.iter().all(|name| find(&format!("{doc}/{name}")).is_none()) {
        let plain = ["changelog.Debian", "changelog"];
        match plain.iter().find(|name| find(&format!("{doc}/{name}")).is_some()) {
            Some(name) => findings.error("changelog-file-not-compressed", *name),
            None => findings.error("no-changelog", ""),
        }
    }
}

/// Policy 8.6: what is linked to must be depended on.
fn libraries(opened: &Opened, paragraph: &Paragraph, findings: &mut Findings) {
    let depends: Vec<&str> = [paragraph.get("Depends"), paragraph.get("Pre-Depends")]
        .into_iter()
        .flatten()
        .flat_map(super::control::names)
        .collect();
    let mut needs = opened.files.iter().filter_map(|item| item.elf.as_ref());
    let own = paragraph.get("Package").is_some_and(|name| name.starts_with("libc6"));
    let libc = needs.any(|elf| elf.needed.iter().any(|soname| soname == "libc.so.6"));
    if libc && !own && !depends.iter().any(|name| name.starts_with("libc6")) {
        findings.error("missing-dependency-on-libc", "");
    }
}

/// Policy 5.6.20: an estimate; half or twice as much misleads who has little space.
fn installed_size(opened: &Opened, paragraph: &Paragraph, findings: &mut Findings) {
    let each = opened.files.iter().filter(|item| !item.path.is_empty());
    let size: u64 = each.map(|i| if i.is_file() { i.size.div_ceil(1024) } else { 1 }).sum();
    match paragraph.get("Installed-Size").map(str::parse::<u64>) {
        None => findings.info("no-installed-size", format!("{size} KiB")),
        Some(Err(_)) => findings.error("bad-installed-size", ""),
        // Below a MiB blocks and folders are most of it.
        Some(Ok(said)) if said.abs_diff(size) > 1024.max(size / 2) => {
            findings.warning("installed-size-differs", format!("{said} != {size} KiB"));
        }
        _ => {}
    }
}
