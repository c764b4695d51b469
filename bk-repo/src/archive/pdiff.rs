//! `Packages.diff`: patches from earlier states of an index to the current one, in the language of
//! ed(1), so that a client who is a little behind fetches little.
//!
//! What differs is known from the chunks: those that two states share are not read.

use std::collections::HashSet;

use bk::Result;
use bk_deb::debian::control::paragraphs;

use super::commit::{Index, Patch};
use super::manifest::{Key, Load, Manifest, lines};

/// The folder of an index's patches.
pub fn folder(index: &str) -> String {
    format!("{index}.diff")
}

/// Whether a path is that of a patch, which `Index` names and `Release` does not.
pub fn is_patch(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(dir, name)| dir.ends_with(".diff") && name != "Index")
}

/// The index that a path in a `.diff` folder belongs to.
pub fn of(path: &str) -> Option<&str> {
    path.rsplit_once('/')?.0.strip_suffix(".diff")
}

/// One place where a text changes: the line before which it begins, from 0, how many lines go, and
/// what comes.
struct Hunk {
    line: u64,
    less: u64,
    more: Vec<u8>,
}

#[derive(Default)]
struct Hunks(Vec<Hunk>);

impl Hunks {
    fn push(&mut self, line: u64, less: u64, more: &[u8]) {
        match self.0.last_mut() {
            Some(last) if last.line + last.less == line => {
                last.less += less;
                last.more.extend_from_slice(more);
            }
            _ => self.0.push(Hunk { line, less, more: more.to_vec() }),
        }
    }
}

/// The patch from `old` to `new`, for ed(1): from the end to the beginning, so that no line changes
/// its number before its turn.
pub fn patch(old: &Manifest, new: &Manifest, load: Load<'_>) -> Result<Vec<u8>> {
    let ids = |manifest: &Manifest| -> HashSet<String> {
        manifest.chunks.iter().map(|chunk| chunk.id.clone()).collect()
    };
    let (old_ids, new_ids) = (ids(old), ids(new));
    let mut hunks = Hunks::default();
    let (mut olds, mut news) = (old.chunks.iter().peekable(), new.chunks.iter().peekable());
    let mut line = 0;
    loop {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        while let Some(chunk) = olds.next_if(|chunk| !new_ids.contains(&chunk.id)) {
            before.extend(load(&chunk.id)?);
        }
        while let Some(chunk) = news.next_if(|chunk| !old_ids.contains(&chunk.id)) {
            after.extend(load(&chunk.id)?);
        }
        compare(&before, &after, &mut line, &mut hunks)?;
        // Both are sorted: chunks they share come in the same order.
        match (olds.next(), news.next()) {
            (Some(chunk), Some(_)) => line += chunk.lines,
            _ => break,
        }
    }
    let mut script = Vec::new();
    for Hunk { line, less, more } in hunks.0.iter().rev() {
        let first = line + 1;
        let range = match less {
            0 => format!("{line}"),
            1 => format!("{first}"),
            _ => format!("{first},{}", line + less),
        };
        let verb = match (less, more.is_empty()) {
            (0, _) => 'a',
            (_, true) => 'd',
            (_, false) => 'c',
        };
        script.extend(format!("{range}{verb}\n").into_bytes());
        if !more.is_empty() {
            // No line of an index is a dot: those of values start with a space.
            script.extend_from_slice(more);
            script.extend_from_slice(b".\n");
        }
    }
    Ok(script)
}

fn compare(before: &[u8], after: &[u8], line: &mut u64, hunks: &mut Hunks) -> Result<()> {
    let keyed = |text: &'_ [u8]| -> Result<Vec<(Key, Vec<u8>)>> {
        paragraphs(text)
            .map(|stanza| Ok((Key::of(stanza)?, [stanza.trim_ascii_end(), b"\n\n"].concat())))
            .collect()
    };
    let mut after = keyed(after)?.into_iter().peekable();
    for (key, stanza) in keyed(before)? {
        while let Some((_, added)) = after.next_if(|(added, _)| *added < key) {
            hunks.push(*line, 0, &added);
        }
        let size = lines(&stanza);
        match after.next_if(|(new, _)| *new == key) {
            Some((_, new)) if new == stanza => {}
            Some((_, new)) => hunks.push(*line, size, &new),
            None => hunks.push(*line, size, b""),
        }
        *line += size;
    }
    after.for_each(|(_, added)| hunks.push(*line, 0, &added));
    Ok(())
}

/// The file `Packages.diff/Index`: the current state, the earlier ones, and the patches, each of
/// which starts at one of those and leads to the next. `downloads` are the compressed patches.
pub fn index(current: &Index, patches: &[Patch], downloads: &[(&str, u64)]) -> Vec<u8> {
    let plain = current.files.iter().find(|file| file.suffix.is_empty());
    let (sha256, size) = plain.map_or(("", 0), |file| (&file.sha256, file.size));
    let mut text = format!("SHA256-Current: {sha256} {size}\nSHA256-History:\n");
    for Patch { name, from, from_size, .. } in patches {
        text += &format!(" {from} {from_size} {name}\n");
    }
    text += "SHA256-Patches:\n";
    for Patch { name, sha256, size, .. } in patches {
        text += &format!(" {sha256} {size} {name}\n");
    }
    text += "SHA256-Download:\n";
    for (Patch { name, .. }, (sha256, size)) in patches.iter().zip(downloads) {
        text += &format!(" {sha256} {size} {name}.gz\n");
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::Changes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::process::Command;

    proptest! {
        // Each case runs ed once.
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn ed_makes_the_new_index_of_the_old_one(
            start in proptest::collection::btree_map(0u32..900, 0u32..3, 0..700),
            edits in proptest::collection::btree_map(0u32..900, proptest::option::of(3u32..5), 0..60),
        ) {
            let stanza = |i: u32, salt: u32| {
                let key = Key { name: format!("p{i:04}"), version: "1".into(), architecture: "all".into() };
                let text = format!(
                    "Package: p{i:04}\nVersion: 1\nArchitecture: all\nX: {salt}\n {}\n",
                    "y".repeat(300)
                );
                (key, text.into_bytes())
            };
            let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            let some = |(i, salt): (&u32, &u32)| { let (k, s) = stanza(*i, *salt); (k, Some(s.into())) };
            let first: Changes = start.iter().map(some).collect();
            let (old, added) = Manifest::default().apply(&first, &|_| Ok(Vec::new())).unwrap();
            texts.extend(added);
            let changes: Changes = edits
                .iter()
                .map(|(i, salt)| { let (k, s) = stanza(*i, salt.unwrap_or(0)); (k, salt.map(|_| s.into())) })
                .collect();
            let known = texts.clone();
            let (new, added) = old.apply(&changes, &|id| Ok(known[id].clone())).unwrap();
            texts.extend(added);
            let whole = |m: &Manifest| m.chunks.iter().flat_map(|c| texts[&c.id].clone()).collect::<Vec<u8>>();
            let script = patch(&old, &new, &|id| Ok(texts[id].clone())).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("Packages");
            bk::file::write(&file, whole(&old)).unwrap();
            bk::file::write(&dir.path().join("script"), [&script[..], b"w\nq\n"].concat()).unwrap();
            let out = Command::new("ed")
                .arg("-s")
                .arg(&file)
                .stdin(std::fs::File::open(dir.path().join("script")).unwrap())
                .output()
                .unwrap();
            prop_assert!(out.status.success(), "{:?}", out);
            prop_assert_eq!(std::fs::read(&file).unwrap(), whole(&new));
        }
    }
}
