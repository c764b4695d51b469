//! `bk-aptcache mirrors`

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bk::http::hyper::header::{HeaderMap, HeaderValue};
use bk::http::{hyper::Method, tokio};
use bk::record::Record;
use bk::{Console, Result, Session, Status};
use serde::Serialize;

use crate::client::{Client, Policy, Proxy};
use crate::setup::Archives;
use crate::upstream::{Mirror, Upstream};

/// The quickest of so many answers counts: the first also makes the connection.
const TRIES: usize = 3;

/// Measure how quickly the mirrors of the archives answer
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Prints archive, address and milliseconds, the quickest mirror of each archive first; '-' is one that
does not answer. 'serve --fastest' asks them in this order.

Examples:
  bk-aptcache mirrors --upstream debian=http://MIRROR/debian,http://OTHER/debian

Exit status:
  0   every archive has a mirror that answers
  3   some archive has none
")]
pub struct Args {
    #[command(flatten)]
    archives: Archives,
    /// A proxy on the way to the archives
    #[arg(long, value_name = "URL")]
    proxy: Option<Proxy>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "mirror")]
struct Measured {
    upstream: String,
    url: String,
    milliseconds: Option<u64>,
}

impl Record for Measured {
    fn line(&self) -> Cow<'_, [u8]> {
        let time = self.milliseconds.map_or("-".into(), |time| time.to_string());
        format!("{}\t{}\t{time}", self.upstream, self.url).into_bytes().into()
    }
}

/// Runs the command.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    let upstreams = Arc::new(args.archives.upstreams()?);
    let policy =
        Policy { upstreams: upstreams.clone(), proxy: args.proxy.clone(), ..Policy::default() };
    let client = Client::new(Arc::new(policy), HeaderValue::from_static("1.1 bk-aptcache"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut dead = false;
    for upstream in &upstreams.all {
        let mut rows = Vec::new();
        for mirror in &upstream.mirrors {
            let time = runtime.block_on(measure(&client, mirror, &session.console));
            rows.push((time, mirror));
        }
        rows.sort_by_key(|(time, _)| time.unwrap_or(Duration::MAX));
        dead |= rows.iter().all(|(time, _)| time.is_none());
        for (time, mirror) in rows {
            session.out.record(&Measured {
                upstream: upstream.name.clone(),
                url: mirror.base.to_string(),
                milliseconds: time.map(|time| time.as_millis() as u64),
            })?;
        }
    }
    Ok(if dead { Status::No } else { Status::Done })
}

/// Measures all mirrors of an archive that has several, and has the quickest asked first.
pub async fn rank(client: &Client, upstream: &Upstream, console: &Console) {
    if upstream.mirrors.len() < 2 {
        return;
    }
    for mirror in &upstream.mirrors {
        match measure(client, mirror, console).await {
            Some(time) => mirror.measured(time),
            None => mirror.failed(),
        }
    }
}

/// How long a mirror takes to answer, if it does.
async fn measure(client: &Client, mirror: &Mirror, console: &Console) -> Option<Duration> {
    let mut best = None;
    for _ in 0..TRIES {
        let start = Instant::now();
        match client.ask(&Method::HEAD, mirror, "", &HeaderMap::new()).await {
            // Whatever it says of its root, it has said it.
            Ok(_) => best = best.into_iter().chain([start.elapsed()]).min(),
            Err(fault) => {
                console.info(&format!("'{}': {}", mirror.base, fault.message()));
                return None;
            }
        }
    }
    best
}
