//! Saying in a .qcow2 that its blocks are those of a raw disk (qemu's qcow2.txt, "external data file").

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bk::{Cmd, Console, Context, Error, Result, display};

/// The first cluster, of qemu's usual size, has the header and its extensions.
const CLUSTER: usize = 64 << 10;

/// Where the header's length stands in it.
const LENGTH: usize = 100;

/// The extension with the name of the raw disk.
const DATA_FILE: u32 = 0x4441_5441;

/// Makes `path`, of `size` bytes, beside a raw disk `data` that it makes, too, and that will be known as
/// `name`: qemu takes a name without a folder to be one of its own folder, not of the disk's.
pub fn make(path: &Path, data: &Path, name: &Path, size: u64, console: &Console) -> Result<()> {
    let text = |path: &Path| {
        let text = path.to_str().map(|text| text.replace(',', ",,"));
        text.ok_or_else(|| Error::new(format!("'{}' is not UTF-8", display(path))))
    };
    Cmd::new("qemu-img", console)
        .args(["create", "-q", "-f", "qcow2", "-o"])
        .arg(format!("data_file={},data_file_raw=on", text(data)?))
        .arg(path)
        .arg(size.to_string())
        .output()?;
    let failed = || format!("cannot write '{}'", display(path));
    let file = File::options().read(true).write(true).open(path).context(failed)?;
    let mut cluster = vec![0; CLUSTER];
    file.read_exact_at(&mut cluster, 0).context(failed)?;
    let renamed = rename(&cluster, name.as_os_str().as_encoded_bytes());
    let renamed = renamed.ok_or_else(|| Error::new("its header is not as expected"));
    file.write_all_at(&renamed.context(failed)?, 0).context(failed)
}

/// The first cluster with another name of the raw disk.
fn rename(cluster: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let number = |at: usize| {
        let bytes = cluster.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let mut at = number(LENGTH)? as usize;
    let mut new = cluster.get(..at)?.to_vec();
    // Each: its kind, its length, its bytes, filled up to a multiple of 8. Kind 0 is the end.
    loop {
        let (kind, length) = (number(at)?, number(at + 4)? as usize);
        let bytes = cluster.get(at + 8..(at + 8).checked_add(length)?)?;
        let bytes = if kind == DATA_FILE { name } else { bytes };
        new.extend(kind.to_be_bytes());
        new.extend(u32::try_from(bytes.len()).ok()?.to_be_bytes());
        new.extend(bytes);
        new.resize(new.len().next_multiple_of(8), 0);
        if kind == 0 {
            break;
        }
        at += 8 + length.next_multiple_of(8);
    }
    (new.len() <= cluster.len()).then(|| {
        new.resize(cluster.len(), 0);
        new
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> bk::Error {
        bk::Error::new("nothing there")
    }

    #[test]
    fn the_raw_disk_has_the_other_name() -> bk::Result<()> {
        let dir = tempfile::tempdir()?;
        let place = |name: &str| dir.path().join(name);
        let (disk, old, new) =
            (place("x.qcow2"), place("old.raw"), place("a,longer name, by far.raw"));
        make(&disk, &old, &new, 1 << 20, &Console::silent())?;
        bk::file::write(&new, vec![7; 1 << 20])?;
        std::fs::remove_file(old)?;
        let img = |words: &[&str]| -> bk::Result<()> {
            let output = std::process::Command::new("qemu-img").args(words).arg(&disk).output()?;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        };
        img(&["check", "-q"])?;
        img(&["compare", "-q", "-f", "raw", new.to_str().ok_or_else(none)?])?;
        Ok(())
    }

    #[test]
    fn what_is_no_header_is_no_panic() {
        for bytes in [&b""[..], b"QFI\xfb", &[0xff; 4096], &[0; 4096]] {
            assert!(rename(bytes, b"x").is_none() || bytes.len() == 4096);
        }
    }
}
