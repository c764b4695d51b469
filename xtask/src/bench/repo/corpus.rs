//! The packages that the repositories of the bench hold.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use bk::{Error, Result};

use super::super::deb::{files, fresh};
use crate::process;

/// Stanzas of a suite that stand side by side belong to one source, mostly, and stay together in this number.
const TOGETHER: usize = 8;

/// What an index adds to a package's own control file, and what is only right with its description.
const NOT_CONTROL: [&str; 6] =
    ["Filename:", "Size:", "MD5sum:", "SHA256:", "Description-md5:", "SHA1:"];

/// What a small package's files take, in bytes. They do not compress.
const DATA: usize = 2048;

/// `count` packages with the control files of this system's suite, made once, and two more that sort in
/// their middle.
pub fn corpus(dir: &Path, count: usize) -> Result<(Vec<PathBuf>, [PathBuf; 2])> {
    let made = dir.join(format!("corpus-suite-{count}"));
    let two = dir.join(format!("corpus-suite-{count}-two"));
    let complete = files(&made, "deb").is_ok_and(|files| files.len() == count);
    if !complete || !two.is_dir() {
        let stanzas = stanzas(count)?;
        eprintln!("making {count} packages in {}", made.display());
        fresh(&made)?;
        // As many as one command line holds.
        stanzas.chunks(1000).try_for_each(|some| packages(dir, some, &made))?;
        let middle = &stanzas[stanzas.len() / 2];
        let like =
            |name: &str| Stanza { name: format!("{}-{name}", middle.name), ..middle.clone() };
        packages(dir, &[like("one"), like("two")], fresh(&two)?)?;
    }
    // What the kernel says of a child's memory begins with that of this program.
    bk::memory::give_back();
    let two = files(&two, "deb")?.try_into().unwrap_or_default();
    Ok((files(&made, "deb")?, two))
}

/// A package of the suite: what its control file says.
#[derive(Clone)]
struct Stanza {
    name: String,
    version: String,
    architecture: String,
    /// All fields but the name.
    rest: String,
}

impl Stanza {
    fn parse(text: &str) -> Option<Stanza> {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::to_owned)
        };
        let of_index = |line: &str| NOT_CONTROL.iter().any(|field| line.starts_with(field));
        let mut rest: String = text
            .lines()
            .filter(|line| !line.starts_with("Package:") && !of_index(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        // Lists that were fetched without translations have no descriptions but the short ones.
        if !rest.contains("\nDescription") {
            rest.push_str("Description: package of a suite\n");
        }
        let (name, version) = (field("Package")?, field("Version")?);
        let architecture = field("Architecture")?;
        Some(Stanza { name, version, architecture, rest })
    }

    /// What dpkg-deb calls it (deb(7)).
    fn file(&self) -> String {
        let version = self.version.split_once(':').map_or(&*self.version, |(_, version)| version);
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }
}

/// `count` stanzas, sorted, from all over the suite that apt knows here, once more with other names where it
/// has too few.
fn stanzas(count: usize) -> Result<Vec<Stanza>> {
    crate::install::lists()?;
    let text = process::stdout(Command::new("apt-cache").arg("dumpavail"))?;
    let mut known: BTreeMap<String, Stanza> = BTreeMap::new();
    for stanza in text.split("\n\n").filter_map(Stanza::parse) {
        known.entry(stanza.name.clone()).or_insert(stanza);
    }
    let known: Vec<Stanza> = known.into_values().collect();
    if known.is_empty() {
        return Err(Error::new("apt knows no packages here").hint("as root, run: apt-get update"));
    }
    let every = (known.len() / count).max(1);
    let spread = known.chunks(TOGETHER).step_by(every).flatten();
    let mut all: Vec<Stanza> = spread.take(count).cloned().collect();
    for round in 2.. {
        if all.len() >= count {
            break;
        }
        let again = known.iter().take(count - all.len());
        all.extend(again.map(|s| Stanza { name: format!("{}-{round}", s.name), ..s.clone() }));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Makes packages as dpkg-deb does, which takes a start of three programs for each.
fn packages(dir: &Path, stanzas: &[Stanza], to: &Path) -> Result<()> {
    let parts = dir.join("parts");
    fresh(&parts)?;
    for stanza in stanzas {
        let Stanza { name, rest, .. } = stanza;
        let control = format!("Package: {name}\n{rest}");
        put(&parts.join(format!("{name}.control.tar")), tar("./control", control.as_bytes()))?;
        let path = format!("./usr/share/{name}/data");
        // The name of a package may have a hundred characters, ustar's field has no more.
        let path = &path[..path.len().min(99)];
        put(&parts.join(format!("{name}.data.tar")), tar(path, &noise(name)))?;
    }
    // dpkg-deb's dictionary, which is what a reader has to have room for.
    let mut xz = Command::new("xz");
    process::stdout(
        xz.args(["--check=crc32", "--lzma2=preset=0,dict=8MiB"]).args(files(&parts, "tar")?),
    )?;
    for stanza in stanzas {
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
            member(part, &std::fs::read(parts.join(format!("{}.{part}", stanza.name)))?);
        }
        put(&to.join(stanza.file()), deb)?;
    }
    Ok(())
}

/// Bytes that no compression makes fewer, as most of a real package's are; the same for each name.
fn noise(name: &str) -> Vec<u8> {
    let mut number =
        name.bytes().fold(7u64, |n, byte| n.wrapping_mul(31).wrapping_add(byte.into()));
    let mut byte = || {
        // Knuth's generator of 64 bits, of which the upper ones are good.
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number.to_be_bytes()[0]
    };
    (0..DATA).map(|_| byte()).collect()
}

/// Writes a file without waiting for the disk, which would take an hour for all of them.
fn put(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    Ok(std::fs::File::create(path)?.write_all(bytes.as_ref())?)
}

/// A ustar archive of one file (tar(5)), which is root's.
fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| {
        header.iter_mut().skip(at).zip(text.bytes()).for_each(|(to, byte)| *to = byte);
    };
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", bytes.len()));
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
    archive.extend(bytes);
    // Two blocks of zeros end it.
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
