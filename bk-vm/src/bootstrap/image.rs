//! The disk: an ext4 file system without partitions, written without a mount.

use std::path::Path;

use bk::{Console, Result};

use super::{Plan, Privilege};

/// Writes the tree as a disk of the plan's size.
pub(super) fn make(
    tree: &Path,
    disk: &Path,
    plan: &Plan,
    privilege: &Privilege,
    console: &Console,
) -> Result<()> {
    // A UUID of what the base is made of: the same base has the same one.
    let key = plan.key();
    let part = |from: usize, to: usize| key.get(from..to).unwrap_or_default();
    // RFC 9562, 5.8: version 8 is for numbers that mean something to their maker.
    let uuid = format!(
        "{}-{}-8{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    );
    privilege
        .command(&[], console)
        .args(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", &uuid, "-E"])
        .arg(format!("hash_seed={uuid},root_owner=0:0"))
        // Blocks kept for root are of no use in a disk that is thrown away.
        .args(["-m", "0", "-d"])
        .arg(tree)
        .arg(disk)
        // In KiB, which is a size that mke2fs(8) takes.
        .arg(format!("{}k", plan.size / 1024))
        .output()
        .map(drop)
}
