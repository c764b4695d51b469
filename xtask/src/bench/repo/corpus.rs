//! The packages that the repositories of the bench hold.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use bk::Result;

use super::super::deb::{files, fresh};
use super::peers::SIGNER;
use crate::process;

/// `count` small packages, made once, and two more.
pub fn corpus(dir: &Path, count: usize) -> Result<(Vec<PathBuf>, [PathBuf; 2])> {
    let made = dir.join(format!("corpus-all-{count}"));
    if files(&made, "deb").map_or(0, |files| files.len()) != count {
        fresh(&made)?;
        eprintln!("making {count} packages in {}", made.display());
        let names: Vec<String> = (0..count).map(|number| format!("bench{number}")).collect();
        // As many as one command line holds.
        names.chunks(1000).try_for_each(|names| packages(dir, names, &made))?;
    }
    // In the middle of the others, by their names.
    let two = dir.join("corpus-all-two");
    packages(dir, &["bench5-one".to_owned(), "bench5-two".to_owned()], fresh(&two)?)?;
    let two = files(&two, "deb")?.try_into().unwrap_or_default();
    Ok((files(&made, "deb")?, two))
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
