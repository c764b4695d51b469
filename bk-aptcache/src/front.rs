//! The short way of [`bk::http::front`]: which requests are for a file that is open and beyond doubt,
//! or for one that arrives.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bk::http::hyper::Uri;
use bk::http::{Piece, Plain, is_canonical, tokio};

use crate::answer::plain_head;
use crate::cache::{Cache, Connection};
use crate::entry::Entry;
use crate::path::{by_hash, is_immutable};
use crate::statistics::Verdict;
use crate::transfer::{Phase, Transfer};

/// So many clients of one transfer are a crowd. In a crowd each has its first bytes before any has
/// more: a client takes what is there now for a sign that there will be more.
const CROWD: usize = 16;

/// The first bytes of a client in a crowd.
const FIRST: u64 = 16 << 10;

/// What each has of the rest before it is another's turn: a thousand of them take some ten milliseconds.
const SHARE: u64 = 64 << 10;

/// Who has them waits for so long for each client of the crowd, and as long where there is nothing new:
/// so long takes a client's request with its first bytes, here and where it comes from, and to wake a
/// thousand for each step of the transfer would take all of it.
const TURN: Duration = Duration::from_micros(200);

/// But no longer than this.
const LONGEST: Duration = Duration::from_millis(500);

/// What takes the short way.
pub enum Found {
    /// A file that is held.
    Held(Arc<Entry>),
    /// A file that arrives.
    Arriving(Arriving),
}

/// A file that arrives, and how an answer with it begins.
pub struct Arriving {
    transfer: Arc<Transfer>,
    size: u64,
    head: Vec<u8>,
}

impl Plain for Found {
    fn size(&self) -> u64 {
        match self {
            Found::Held(entry) => entry.size,
            Found::Arriving(arriving) => arriving.size,
        }
    }

    fn head(&self) -> &[u8] {
        match self {
            Found::Held(entry) => &entry.plain,
            Found::Arriving(arriving) => &arriving.head,
        }
    }

    async fn piece(&self, at: u64) -> io::Result<Piece<'_>> {
        match self {
            Found::Held(entry) => Ok(Piece { file: &entry.file, at, size: entry.size - at }),
            Found::Arriving(arriving) => arriving.piece(at).await,
        }
    }
}

impl Arriving {
    async fn piece(&self, at: u64) -> io::Result<Piece<'_>> {
        let mut state = self.transfer.follow();
        let clients = Arc::strong_count(&self.transfer);
        let crowd = clients > CROWD;
        if crowd && at > 0 && (at <= FIRST || state.borrow().readable <= at) {
            let turn = TURN * u32::try_from(clients).unwrap_or(u32::MAX).min(10_000);
            tokio::time::sleep(turn.min(LONGEST)).await;
        } else if crowd && at > 0 {
            tokio::task::yield_now().await;
        }
        let readable = {
            let more = state.wait_for(|p| p.readable > at || !matches!(p.phase, Phase::Running));
            let progress = more.await.map_err(io::Error::other)?;
            match &progress.phase {
                // The connection ends here, in the middle: what the client has is not the file.
                Phase::Failed(failure) if progress.readable <= at => {
                    return Err(io::Error::other(failure.message.clone()));
                }
                _ => progress.readable.min(self.size),
            }
        };
        let most = readable.saturating_sub(at);
        let most = match at {
            0 if crowd => most.min(FIRST),
            _ if crowd => most.min(SHARE),
            _ => most,
        };
        match self.transfer.piece(at)? {
            _ if most == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            piece => Ok(Piece { size: piece.size.min(most), ..piece }),
        }
    }
}

/// The file that a request's target names, to be sent.
pub fn find(
    cache: &Arc<Cache>,
    connection: &Arc<Connection>,
    target: &str,
) -> impl Future<Output = Option<Arc<Found>>> + Send + use<> {
    let seen = look(cache, target);
    let arriving = seen.as_ref().is_some_and(|seen| matches!(seen, Seen::Arriving(..)));
    let line = (cache.logs() || arriving).then(|| format!("GET {target}"));
    let (cache, connection) = (cache.clone(), connection.clone());
    async move {
        let (found, verdict) = match seen? {
            Seen::Held(entry) => (Found::Held(entry), Verdict::Hit),
            Seen::Arriving(key, transfer) => {
                let head = plain(&transfer, &key).await;
                let Some((size, head)) = head else {
                    // It is answered with what became of this transfer, not with another.
                    connection.follows(key, transfer);
                    return None;
                };
                (Found::Arriving(Arriving { transfer, size, head }), Verdict::Coalesced)
            }
        };
        cache.statistics.answered(verdict, found.size());
        if let Some(line) = line.filter(|_| cache.logs()) {
            cache.log(connection.client, 200, verdict, found.size(), &line);
        }
        Some(Arc::new(found))
    }
}

/// The size and the head of a file that arrives, if it can be had in the short way.
async fn plain(transfer: &Transfer, key: &str) -> Option<(u64, Vec<u8>)> {
    let mut state = transfer.follow();
    let ready = state.wait_for(|p| p.head.is_some() || !matches!(p.phase, Phase::Running));
    let head = ready.await.ok()?.head?;
    let size = head.size.filter(|&size| size > 0)?;
    transfer.piece(0).ok()?;
    Some((size, plain_head(Verdict::Coalesced, key, head.modified, size, None)))
}

/// What is there of a file.
enum Seen {
    Held(Arc<Entry>),
    Arriving(String, Arc<Transfer>),
}

fn look(cache: &Cache, target: &str) -> Option<Seen> {
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
    let upstream = config.upstreams.named(name)?;
    if !is_immutable(path) {
        return None;
    }
    // An index is asked for by one of its names, and stored by another.
    if cache.is_under_way(key) && by_hash(path).is_none() {
        let transfer = cache.under_way(upstream, path, key)?;
        return Some(Seen::Arriving(key.to_owned(), transfer));
    }
    let entry = cache.entries.get(key)?;
    let sure = entry.is_sure(cache.suites.epoch(), cache.entries.now());
    (sure && entry.size > 0).then_some(Seen::Held(entry))
}
