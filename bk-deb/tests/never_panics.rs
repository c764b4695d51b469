//! No bytes make a parser panic, hang or allocate without a bound: random ones, and good ones that
//! were cut, changed and put together. `fuzz/` looks further.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/parsers.rs"]
mod parsers;

use proptest::prelude::*;

/// Good input for each parser, to start from.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let text = |all: &[&str]| all.iter().map(|s| s.as_bytes().to_vec()).collect();
    match name {
        "metadata" => text(&[
            "Metadata-Version: 2.1\nName: x\nVersion: 1.0\nSummary: s\nRequires-Dist: a (>=1)\n\nText.\n",
            "Wheel-Version: 1.0\nTag: py2.py3-none-any\nRoot-Is-Purelib: true\n",
        ]),
        "record" => {
            text(&["a/b.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n\"c,\"\"d\",,\n"])
        }
        "wheel_name" => text(&["numpy-1.0-1x-cp39.cp310-abi3-manylinux2014_x86_64.whl"]),
        "requirement" => text(&[
            "requests[socks,x]>=2.8.1,!=3.*,~=2.9; python_version<'3.11' and sys_platform=='linux'",
            "x @ https://example.com/x-1.0.tar.gz#sha256=0",
        ]),
        "entry_points" => text(&["[console_scripts]\nx = a.b:c.d [extra]\n[gui_scripts]\ny=z:w\n"]),
        "control" => {
            text(&["Package: x\nDepends: a,\n b\nDescription: s\n long\n .\n\nPackage: y\n"])
        }
        "version" => text(&["1:2.0~rc1+dfsg-1 1.0", "1!2.0.post1.dev2+local.1"]),
        "elf" => vec![std::fs::read("/bin/true").unwrap()],
        "deb" | "compressed" => vec![small_deb()],
        _ => text(&["./usr/bin/../x"]),
    }
}

/// A package in a few hundred bytes.
fn small_deb() -> Vec<u8> {
    use bk_deb::debian::deb::{Builder, Control};
    let scratch = std::io::Cursor::new(Vec::new());
    let mut builder = Builder::new(scratch, "gzip".parse().unwrap(), 1).unwrap();
    builder.file("usr/bin/x", 0o755, 3, &mut &b"abc"[..]).unwrap();
    let mut paragraph = bk_deb::debian::control::Paragraph::new();
    paragraph.set("Package", "x");
    let mut out = Vec::new();
    builder.finish(Control { paragraph, files: Default::default() }, &mut out).unwrap();
    out
}

/// One change of good input.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = any::<usize>();
    let special = prop::sample::select(vec![
        0u8, 0xff, b'\n', b'\r', b':', b',', b'"', b'/', b'.', b'[', 0x80,
    ]);
    let byte = prop_oneof![special.clone(), any::<u8>()];
    let one = prop_oneof![
        6 => (at, byte.clone()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => at.prop_map(Change::Cut),
        2 => (at, prop::collection::vec(byte, 1..8)).prop_map(|(at, b)| Change::Insert(at, b)),
        1 => (at, 1..64usize).prop_map(|(at, n)| Change::Repeat(at, n)),
    ];
    prop::collection::vec(one, 1..6)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let n = bytes.len();
        match change {
            Change::Set(at, byte) => bytes[at % n] = *byte,
            Change::Cut(at) => bytes.truncate(at % n),
            Change::Insert(at, more) => drop(bytes.splice(at % n..at % n, more.iter().copied())),
            Change::Repeat(at, count) => {
                let from = at % n;
                let more = bytes[from..n.min(from + count)].to_vec();
                bytes.splice(from..from, more);
            }
        }
    }
    bytes
}

proptest! {
    // 11 parsers and 20,000 inputs of each kind take a few seconds without optimisation.
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        parsers::ALL.iter().for_each(|(_, parse)| parse(&bytes));
    }

    #[test]
    fn changed_good_input_is_survived(changes in changes(), which in any::<usize>()) {
        let (name, parse) = parsers::ALL[which % parsers::ALL.len()];
        for seed in seeds(name) {
            parse(&changed(seed, &changes));
        }
    }
}

#[test]
fn good_input_is_survived_too() {
    for (name, parse) in parsers::ALL {
        seeds(name).iter().for_each(|seed| parse(seed));
    }
}
