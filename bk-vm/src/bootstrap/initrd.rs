//! The kernel, and an initrd that does one thing: mount the disk and start what is on it.
//!
//! Debian's kernels have their drivers for virtual hardware as modules. An initrd of initramfs-tools
//! has 15 MB and brings udev; this one has the modules that are needed, in their order, and klibc's
//! programs, from the machine's own packages.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, display, file};
use bk_deb::debian::compression;

/// A kernel module has at most some MB, a kernel some dozen.
const LIMIT: u64 = 256 << 20;

/// The drivers of the disk and its file system; crc32c is what ext4 asks the kernel for by name.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];

/// klibc's programs that the script uses.
const PROGRAMS: [&str; 5] = ["sh", "mount", "insmod", "sleep", "run-init"];

/// The disk is there when its driver is; slow emulation may take some tenths of a second.
const INIT: &str = "\
#!/bin/sh
export PATH=/bin
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module; done
n=0
until mount -t ext4 /dev/vda /root; do
  n=$((n + 1))
  if [ $n = 100 ]; then echo 'buildkit: no disk to mount'; break; fi
  sleep 0.2
done
mount -o move /dev /root/dev
exec run-init /root /sbin/init </root/dev/console >/root/dev/console 2>&1
";

/// Writes `vmlinuz` and `initrd` into the folder `to`, from the tree of a machine.
pub(super) fn make(tree: &Path, to: &Path) -> Result<()> {
    let boot = tree.join("boot");
    let names = std::fs::read_dir(&boot).context(|| format!("cannot read '{}'", display(&boot)))?;
    let mut versions: Vec<String> = names
        .filter_map(|entry| {
            Some(entry.ok()?.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned())
        })
        .collect();
    versions.sort_by(|a, b| bk_deb::debian::version::compare(a, b));
    let version = versions.pop().ok_or_else(|| {
        Error::new("the packages bring no kernel").hint("add one: -a linux-image-ARCH")
    })?;
    file::write(&to.join("vmlinuz"), file::read(&boot.join(format!("vmlinuz-{version}")), LIMIT)?)?;
    let failed = || "cannot make the initrd".to_owned();
    file::write(&to.join("initrd"), initrd(tree, &version).context(failed)?)
}

fn initrd(tree: &Path, version: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "modules", "root", "usr", "usr/lib"] {
        archive.add(dir, 0o040755, b"");
    }
    // The programs name their library by one path or the other, before and since Debian 13.
    archive.add("lib", 0o120777, b"usr/lib");
    archive.add("init", 0o100755, INIT.as_bytes());
    for name in PROGRAMS {
        let bytes = file::read(&tree.join("usr/lib/klibc/bin").join(name), LIMIT)?;
        archive.add(&format!("bin/{name}"), 0o100755, &bytes);
    }
    for entry in std::fs::read_dir(tree.join("usr/lib"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("klibc-") && name.ends_with(".so") {
            archive.add(&format!("usr/lib/{name}"), 0o100755, &file::read(&entry.path(), LIMIT)?);
        }
    }
    let folder = tree.join("usr/lib/modules").join(version);
    let text = |name: &str| -> Result<String> {
        Ok(String::from_utf8_lossy(&file::read(&folder.join(name), LIMIT)?).into_owned())
    };
    for (number, path) in
        modules(&text("modules.dep")?, &text("modules.builtin")?)?.iter().enumerate()
    {
        let failed = || format!("cannot read '{}'", display(path));
        let packed = file::read(&folder.join(path), LIMIT)?;
        let mut bytes = Vec::new();
        // Since Debian 13 modules are compressed, and klibc's insmod takes none that is.
        let mut reader = compression::decode(&packed[..]).context(failed)?;
        reader.by_ref().take(LIMIT).read_to_end(&mut bytes).context(failed)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split(".ko").next().unwrap_or_default();
        archive.add(&format!("modules/{number:02}-{name}.ko"), 0o100644, &bytes);
    }
    Ok(archive.finish())
}

/// The modules to load, each after those it needs (modules.dep(5)); what is built in needs none.
fn modules(dep: &str, builtin: &str) -> Result<Vec<PathBuf>> {
    let is = |path: &str, name: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.split(".ko").next().is_some_and(|stem| stem.replace('-', "_") == name)
    };
    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    for name in MODULES {
        let line = dep.lines().filter_map(|l| l.split_once(':')).find(|(path, _)| is(path, name));
        match line {
            // The last of a line is needed by those before it.
            Some((path, needs)) => {
                let all = needs.split_ascii_whitespace().rev().chain([path]);
                order.extend(all.filter(|path| seen.insert((*path).to_owned())).map(PathBuf::from));
            }
            None if builtin.lines().any(|path| is(path, name)) => {}
            // Kernels of some architectures compute it by another module, or have no PCI.
            None if name == "crc32c_generic" => {}
            None => return Err(Error::new(format!("the kernel has no module '{name}'"))),
        }
    }
    Ok(order)
}

/// A cpio archive in the "newc" format (Linux, buffer-format.rst).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Adds a file or folder of root's, without a time.
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        let links = if mode & 0o040000 != 0 { 2 } else { 1 };
        let fields = [
            self.inode,
            mode,
            0,
            0,
            links,
            0,
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0,
            0,
            0,
            0,
            u32::try_from(name.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.inode = 0;
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> bk::Error {
        bk::Error::new("nothing there")
    }
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn modules_come_after_what_they_need() -> bk::Result<()> {
        let dep = "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n\
                   kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n\
                   kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n";
        let builtin = "kernel/fs/ext4/ext4.ko\nkernel/crypto/crc32c_generic.ko\n";
        let order = modules(dep, builtin)?;
        let names: Vec<_> = order.iter().filter_map(|p| p.file_name()?.to_str()).collect();
        assert_eq!(names, ["virtio.ko", "virtio_ring.ko", "virtio_pci.ko", "virtio_blk.ko.xz"]);
        assert!(modules(dep, "").unwrap_err().to_string().contains("ext4"));
        Ok(())
    }

    #[test]
    fn cpio_reads_the_archive() -> bk::Result<()> {
        let mut archive = Archive::default();
        archive.add("dir", 0o040755, b"");
        archive.add("dir/odd", 0o100755, b"hello");
        let dir = tempfile::tempdir()?;
        let mut child = std::process::Command::new("cpio")
            .args(["--extract", "--quiet", "--no-absolute-filenames"])
            .current_dir(dir.path())
            .stdin(std::process::Stdio::piped())
            .spawn()?;
        std::io::Write::write_all(&mut child.stdin.take().ok_or_else(none)?, &archive.finish())?;
        assert!(child.wait()?.success());
        let odd = dir.path().join("dir/odd");
        assert_eq!(std::fs::read(&odd)?, b"hello");
        assert_eq!(odd.metadata()?.permissions().mode() & 0o777, 0o755);
        Ok(())
    }
}
