//! The short way of [`bk::http::front`]: which requests are for a file that is open and beyond doubt.

use std::fs::File;
use std::sync::Arc;

use bk::http::Plain;
use bk::http::hyper::Uri;
use bk::http::is_canonical;

use crate::cache::{Cache, Connection};
use crate::entry::Entry;
use crate::path::is_immutable;
use crate::statistics::Verdict;

impl Plain for Entry {
    fn file(&self) -> &File {
        &self.file
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn head(&self) -> &[u8] {
        &self.plain
    }
}

/// The file that a request's target names, to be sent.
pub fn hit(cache: &Cache, connection: &Connection, target: &str) -> Option<Arc<Entry>> {
    let entry = find(cache, target)?;
    cache.statistics.answered(Verdict::Hit, entry.size);
    if cache.logs() {
        let line = format!("GET {target}");
        cache.log(connection.client, 200, Verdict::Hit, entry.size, &line);
    }
    Some(entry)
}

fn find(cache: &Cache, target: &str) -> Option<Arc<Entry>> {
    let config = cache.config();
    let key;
    let key = match target.strip_prefix('/') {
        Some(path) => path,
        None => {
            let uri: Uri = target.parse().ok()?;
            let (host, port) = crate::upstream::host_port(&uri)?;
            if uri.authority()?.as_str().contains('@') || uri.query().is_some() {
                return None;
            }
            let path = uri.path().strip_prefix('/')?;
            let (upstream, rest) = config.upstreams.at(&host, port, path)?;
            key = format!("{}/{rest}", upstream.name);
            &key
        }
    };
    if !is_canonical(key) {
        return None;
    }
    let (name, path) = key.split_once('/')?;
    config.upstreams.named(name)?;
    if !is_immutable(path) {
        return None;
    }
    let entry = cache.entries.get(key)?;
    let sure = entry.is_sure(cache.suites.epoch(), cache.entries.now());
    (sure && entry.size > 0).then_some(entry)
}
