#![no_main]

use bk_aptcache::release::Release;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for signed in [false, true] {
        if let Ok(release) = Release::parse(bytes.to_vec(), signed) {
            for path in release.paths() {
                release.expected(path);
            }
        }
    }
});
