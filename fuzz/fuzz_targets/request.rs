#![no_main]

use bk_aptcache::request::{Target, target};
use bk_aptcache::upstream::Upstreams;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let upstreams = Upstreams {
        all: vec![
            "x=http://mirror/debian".parse::<bk_aptcache::upstream::Upstream>().unwrap().into(),
        ],
    };
    if let Ok(uri) = text.parse()
        && let Ok(Target::File(_, path)) = target(&uri, &upstreams)
    {
        assert!(path.split('/').all(|name| name != ".." && name != "."));
    }
});
