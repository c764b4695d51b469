#![no_main]

use std::io::Write;

use bk_aptcache::table::entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let mut each = |path: &str, _| assert!(path.split('/').all(|name| name != ".."));
    drop(entries(&file, &mut each));
});
