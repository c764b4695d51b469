#![no_main]

#[path = "../../bk-deb/tests/common/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::requirement(bytes));
