//! Extension modules that were compiled against NumPy's C interface, which changes with its major
//! versions: those for NumPy 1 do not load with 2, those for 2 load with both (NumPy 2.0 migration
//! guide, "NumPy 2.0-specific advice").

use crate::elf::Source;

/// What `import_array()` says when versions do not fit; the compiler puts it into every module that
/// uses the interface. lintian(1) goes by it, too.
const USES: &[u8] = b"module compiled against ABI version 0x";
/// Where the headers of NumPy 2 look first.
const TWO: &[u8] = b"numpy._core._multiarray_umath";
/// Read at once, less than a processor's cache holds.
const BLOCK: usize = 1 << 18;

/// The major version of NumPy whose interface a module was compiled for.
pub fn compiled_for(source: &(impl Source + ?Sized)) -> Option<u32> {
    let (mut uses, mut two) = (false, false);
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < source.len() {
        // Blocks overlap, so that none of the words falls between two.
        let size = (source.len() - at).min(BLOCK as u64);
        buffer.resize(size as usize, 0);
        source.read(at, &mut buffer).ok()?;
        uses |= memchr::memmem::find(&buffer, USES).is_some();
        two |= memchr::memmem::find(&buffer, TWO).is_some();
        if size < BLOCK as u64 {
            break;
        }
        at += (BLOCK - USES.len().max(TWO.len())) as u64;
    }
    uses.then_some(if two { 2 } else { 1 })
}

/// The relation that keeps NumPy below the next interface, with the epoch of the relation that is
/// there already.
pub fn bound(major: u32, depends: &[String]) -> Option<String> {
    let relation = depends.iter().find_map(|d| d.strip_prefix("python3-numpy (>= "))?;
    let epoch = relation.split_once(':').map_or(String::new(), |(epoch, _)| format!("{epoch}:"));
    Some(format!("python3-numpy (<< {epoch}{}~)", major + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_found_wherever_they_stand() {
        for at in [0, BLOCK - 20, BLOCK + 5, 3 * BLOCK - 60] {
            let mut bytes = vec![0; 3 * BLOCK];
            bytes.splice(at..at, USES.iter().copied());
            assert_eq!(compiled_for(&bytes[..]), Some(1), "{at}");
            bytes.splice(at..at, TWO.iter().copied());
            assert_eq!(compiled_for(&bytes[..]), Some(2), "{at}");
        }
        assert_eq!(compiled_for(&b"numpy._core._multiarray_umath"[..]), None);
    }

    #[test]
    fn the_bound_has_the_epoch_of_the_distribution() {
        let depends = |d: &str| vec![d.to_owned()];
        let known = bound(2, &depends("python3-numpy (>= 1:1.26)"));
        assert_eq!(known.as_deref(), Some("python3-numpy (<< 1:3~)"));
        let plain = bound(1, &depends("python3-numpy (>= 1.20)"));
        assert_eq!(plain.as_deref(), Some("python3-numpy (<< 2~)"));
        assert_eq!(bound(1, &depends("python3-numpydoc (>= 1)")), None);
    }
}
