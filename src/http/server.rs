//! Accepting connections, and ending well.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::FromRawFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::{Request, Response};
use crate::{Console, Context, Result};

/// What is in flight when a stop is asked for may take this long.
const GRACE: Duration = Duration::from_secs(30);

/// What clients may take of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Connections at once of one address; more are closed.
    pub per_client: usize,
    /// How long a client may take for the head of its request, and may be idle before one.
    pub head_time: Duration,
    /// The most bytes the head of a request may have.
    pub head_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // Each costs a descriptor or two, of which there are usually 1024.
            connections: 400,
            per_client: 400,
            head_time: Duration::from_secs(15),
            // The request line and the headers of a client have some KiB.
            head_size: 64 << 10,
        }
    }
}

/// The sockets to listen on: those systemd handed over (sd_listen_fds(3)), else `addresses`.
/// `env` looks up an environment variable.
pub fn listen(
    addresses: &[SocketAddr],
    env: impl Fn(&str) -> Option<String>,
) -> Result<Vec<TcpListener>> {
    let number = |name| env(name).and_then(|text| text.parse::<u32>().ok());
    if let (Some(pid), Some(count @ 1..)) = (number("LISTEN_PID"), number("LISTEN_FDS"))
        && pid == std::process::id()
    {
        // The first is 3 by definition.
        return Ok((3..3 + count as i32).map(inherit).collect());
    }
    let bind = |address: &SocketAddr| {
        TcpListener::bind(address)
            .context(|| format!("cannot listen on '{address}'"))
            .hint(|| "choose another address with --listen".into())
    };
    addresses.iter().map(bind).collect()
}

#[allow(unsafe_code)]
fn inherit(fd: i32) -> TcpListener {
    // SAFETY: by LISTEN_PID these descriptors are this process's own, and nobody else takes them.
    unsafe { TcpListener::from_raw_fd(fd) }
}

/// What answers a plain connection before hyper does: see [`Server::front`].
type Front<C> = dyn Fn(Arc<C>, TcpStream, watch::Receiver<()>) -> Fronted + Send + Sync;

/// A connection and what was read of it, for hyper; nothing, if it is done.
type Fronted = Pin<Box<dyn Future<Output = Option<(TcpStream, Vec<u8>)>> + Send>>;

/// A server whose limits, TLS and connections are its owner's to say. `C` is what the requests of
/// one connection share.
pub struct Server<C> {
    console: Console,
    limits: Limits,
    plain: Vec<TcpListener>,
    #[cfg(feature = "tls")]
    tls: Vec<(TcpListener, Arc<tokio_rustls::rustls::ServerConfig>)>,
    reload: Option<Box<dyn Fn() + Send>>,
    front: Option<Box<Front<C>>>,
}

impl<C: Send + Sync + 'static> Server<C> {
    /// A server that does not listen yet.
    pub fn new(console: &Console) -> Self {
        Server {
            console: console.clone(),
            limits: Limits::default(),
            plain: Vec::new(),
            #[cfg(feature = "tls")]
            tls: Vec::new(),
            reload: None,
            front: None,
        }
    }

    /// Sets what clients may take.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Listens on these sockets, too.
    pub fn listen(mut self, listeners: Vec<TcpListener>) -> Self {
        self.plain.extend(listeners);
        self
    }

    /// Listens on a socket for TLS, too.
    #[cfg(feature = "tls")]
    pub fn listen_tls(
        mut self,
        listener: TcpListener,
        config: Arc<tokio_rustls::rustls::ServerConfig>,
    ) -> Self {
        self.tls.push((listener, config));
        self
    }

    /// What SIGHUP does.
    pub fn reload(mut self, reload: impl Fn() + Send + 'static) -> Self {
        self.reload = Some(Box::new(reload));
        self
    }

    /// Lets `front` answer plain connections first. It gives a connection up to hyper with the bytes
    /// it has read, or ends it; it is told when the server stops.
    pub fn front<R>(
        mut self,
        front: impl Fn(Arc<C>, TcpStream, watch::Receiver<()>) -> R + Send + Sync + 'static,
    ) -> Self
    where
        R: Future<Output = Option<(TcpStream, Vec<u8>)>> + Send + 'static,
    {
        let boxed = move |connection, stream, stop| -> Fronted {
            Box::pin(front(connection, stream, stop))
        };
        self.front = Some(Box::new(boxed));
        self
    }

    /// Serves in a runtime of its own until SIGTERM or SIGINT, then ends what is in flight.
    ///
    /// `connect` makes what the requests of one connection share, or refuses the client; `handle`
    /// answers one request.
    pub fn run<F, R>(
        self,
        connect: impl Fn(SocketAddr) -> Option<C> + Send + Sync + 'static,
        handle: F,
    ) -> Result<()>
    where
        F: Fn(Arc<C>, Request) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let done = runtime.block_on(self.serve(connect, handle));
        // A thread that still reads a file for a client who left must not hold the end up.
        runtime.shutdown_background();
        done
    }

    /// The same in the runtime that is there.
    pub async fn serve<F, R>(
        self,
        connect: impl Fn(SocketAddr) -> Option<C> + Send + Sync + 'static,
        handle: F,
    ) -> Result<()>
    where
        F: Fn(Arc<C>, Request) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        descriptors();
        crate::signal::leave_to_server(self.reload.is_some());
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = match self.reload {
            Some(_) => Some(signal(SignalKind::hangup())?),
            None => None,
        };
        let (stop, stopping) = watch::channel(());
        // Held by every connection: when the last one is gone, so is the channel.
        let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
        let end = End { stopping, _alive: alive };
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        let shared = Arc::new(Shared {
            console: self.console.clone(),
            limits: self.limits,
            clients: Mutex::default(),
            crowd: Crowd::default(),
            front: self.front,
            connect,
            handle,
        });
        let accept = |listener: TcpListener, wrap| -> Result<JoinHandle<()>> {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let (shared, slots) = (shared.clone(), slots.clone());
            Ok(tokio::spawn(shared.accept(listener, wrap, slots, end.clone())))
        };
        let mut accepting = Vec::new();
        for listener in self.plain {
            accepting.push(accept(listener, Wrap::Plain)?);
        }
        #[cfg(feature = "tls")]
        for (listener, config) in self.tls {
            accepting.push(accept(listener, Wrap::Tls(config.into()))?);
        }
        let came =
            |signal: &mut Signal, poller: &mut Poller<'_>| signal.poll_recv(poller).is_ready();
        std::future::poll_fn(|poller| {
            while hangup.as_mut().is_some_and(|signal| came(signal, poller)) {
                self.reload.iter().for_each(|reload| reload());
            }
            match came(&mut terminate, poller) || came(&mut interrupt, poller) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        accepting.iter().for_each(JoinHandle::abort);
        for task in accepting {
            drop(task.await);
        }
        drop(end);
        drop(stop);
        if tokio::time::timeout(GRACE, all_gone.recv()).await.is_err() {
            self.console.warn("some clients were cut off");
        }
        Ok(())
    }
}

/// Has as many descriptors as the system lets this process have, and says how many that is, if there is
/// a limit: each connection and each open file takes one.
pub fn descriptors() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, most) {
        Ok(()) => limit.maximum,
        // With what there is it serves fewer at once.
        Err(_) => limit.current,
    }
}

/// What a connection has to do with the server's end.
#[derive(Clone)]
struct End {
    /// Closed when the server stops.
    stopping: watch::Receiver<()>,
    _alive: mpsc::Sender<Infallible>,
}

/// What comes between a socket and HTTP.
#[derive(Clone)]
enum Wrap {
    Plain,
    #[cfg(feature = "tls")]
    Tls(tokio_rustls::TlsAcceptor),
}

struct Shared<C, N, F> {
    console: Console,
    limits: Limits,
    /// How many connections each address has.
    clients: Mutex<HashMap<IpAddr, usize>>,
    crowd: Crowd,
    front: Option<Box<Front<C>>>,
    connect: N,
    handle: F,
}

impl<C, N, F> Shared<C, N, F>
where
    C: Send + Sync + 'static,
    N: Fn(SocketAddr) -> Option<C> + Send + Sync + 'static,
{
    async fn accept<R>(
        self: Arc<Self>,
        listener: tokio::net::TcpListener,
        wrap: Wrap,
        slots: Arc<Semaphore>,
        end: End,
    ) where
        F: Fn(Arc<C>, Request) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: some will be closed soon.
                    self.console.warn(&format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (shared, wrap, end) = (self.clone(), wrap.clone(), end.clone());
            let slots = slots.clone();
            shared.crowd.came(shared.open(&slots));
            tokio::spawn(async move {
                if let Some(_client) = Client::enter(&shared, address.ip())
                    && let Some(connection) = (shared.connect)(address)
                {
                    shared.talk(stream, wrap, connection, &end).await;
                }
                drop(slot);
                if shared.crowd.left(shared.open(&slots)) {
                    // It looks at all that is free: some ms after a thousand clients.
                    tokio::task::spawn_blocking(crate::memory::give_back);
                }
            });
        }
    }

    /// How many connections there are.
    fn open(&self, slots: &Semaphore) -> usize {
        self.limits.connections.saturating_sub(slots.available_permits())
    }

    async fn talk<R>(self: &Arc<Self>, stream: TcpStream, wrap: Wrap, connection: C, end: &End)
    where
        F: Fn(Arc<C>, Request) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        // Else the last part of a response waits for the acknowledgement of the one before.
        drop(stream.set_nodelay(true));
        match wrap {
            Wrap::Plain => {
                let (connection, mut front) = (Arc::new(connection), (stream, Vec::new()));
                if let Some(answer) = &self.front {
                    let rest = answer(connection.clone(), front.0, end.stopping.clone()).await;
                    let Some(rest) = rest else { return };
                    front = rest;
                }
                let stream = Read { first: front.1, at: 0, stream: front.0 };
                self.http(TokioIo::new(stream), connection, end).await;
            }
            #[cfg(feature = "tls")]
            Wrap::Tls(acceptor) => {
                let hands = tokio::time::timeout(self.limits.head_time, acceptor.accept(stream));
                match hands.await {
                    Ok(Ok(stream)) => {
                        self.http(TokioIo::new(stream), Arc::new(connection), end).await;
                    }
                    _ => self.console.debug("a client did not speak TLS"),
                }
            }
        }
    }

    async fn http<R, S>(self: &Arc<Self>, io: S, connection: Arc<C>, end: &End)
    where
        F: Fn(Arc<C>, Request) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let shared = self.clone();
        let asked = Arc::new(AtomicBool::new(false));
        let first = asked.clone();
        let service = service_fn(move |request: Request| {
            first.store(true, Ordering::Relaxed);
            let answer = (shared.handle)(connection.clone(), request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_time)
            .max_buf_size(self.limits.head_size)
            .serve_connection(io, service)
            .with_upgrades();
        let mut served = pin!(served);
        let mut stopping = end.stopping.clone();
        let mut stopped = pin!(stopping.changed());
        let (mut stops, mut told) = (false, false);
        let ended = std::future::poll_fn(|poller| {
            let ended = served.as_mut().poll(poller);
            stops = stops || stopped.as_mut().poll(poller).is_ready();
            // A client that has just been let in is owed an answer: its request is on its way.
            if ended.is_ready() || told || !stops || !asked.load(Ordering::Relaxed) {
                return ended;
            }
            told = true;
            served.as_mut().graceful_shutdown();
            served.as_mut().poll(poller)
        });
        if let Err(error) = ended.await {
            self.console.debug(&format!("a client went away: {error}"));
        }
    }
}

/// How many connections there were at most, since most of them last ended.
#[derive(Default)]
struct Crowd(AtomicUsize);

impl Crowd {
    /// So many are a crowd: each has some ten KiB of memory.
    const MANY: usize = 64;

    fn came(&self, open: usize) {
        self.0.fetch_max(open, Ordering::Relaxed);
    }

    /// Whether a crowd has gone, now that so many are open.
    fn left(&self, open: usize) -> bool {
        let most = self.0.load(Ordering::Relaxed);
        most >= Self::MANY
            && open <= most / 8
            && self.0.compare_exchange(most, open, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A connection of which something was read already.
struct Read {
    first: Vec<u8>,
    at: usize,
    stream: TcpStream,
}

impl AsyncRead for Read {
    fn poll_read(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.at < self.first.len() {
            let size = buffer.remaining().min(self.first.len() - self.at);
            buffer.put_slice(&self.first[self.at..self.at + size]);
            self.at += size;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(poller, buffer)
    }
}

impl AsyncWrite for Read {
    fn poll_write(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(poller, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(poller)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(poller)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(poller, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// A connection of an address, counted while it lives.
struct Client<'a> {
    clients: &'a Mutex<HashMap<IpAddr, usize>>,
    address: IpAddr,
}

impl<'a> Client<'a> {
    fn enter<C, N, F>(shared: &'a Shared<C, N, F>, address: IpAddr) -> Option<Self> {
        let mut clients = shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(address).or_default();
        if *count >= shared.limits.per_client {
            shared.console.debug(&format!("'{address}' has too many connections"));
            return None;
        }
        *count += 1;
        Some(Client { clients: &shared.clients, address })
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_has_left_once_and_a_few_are_none() {
        let crowd = Crowd::default();
        (1..=63).for_each(|open| crowd.came(open));
        assert!(!crowd.left(0));
        crowd.came(100);
        assert!(!crowd.left(99) && !crowd.left(13));
        assert!(crowd.left(12));
        assert!(!crowd.left(11) && !crowd.left(0));
        crowd.came(64);
        assert!(crowd.left(8));
    }
}
