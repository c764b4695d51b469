//! Accepting connections, and ending well.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::FromRawFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
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

/// Answers requests with `handle` until SIGTERM or SIGINT, then ends what is in flight.
pub fn serve<F, R>(listeners: Vec<TcpListener>, console: &Console, handle: F) -> Result<()>
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    let logger = console.clone();
    let handle = Arc::new(handle);
    Server::new(console).listen(listeners).run(
        |_| Some(()),
        move |_, request| {
            let (handle, logger) = (handle.clone(), logger.clone());
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let response = handle(request).await;
                logger.info(&format!("{line} {}", response.status().as_u16()));
                response
            }
        },
    )
}

/// A server whose limits, TLS and connections are its owner's to say.
pub struct Server {
    console: Console,
    limits: Limits,
    plain: Vec<TcpListener>,
    #[cfg(feature = "tls")]
    tls: Vec<(TcpListener, Arc<tokio_rustls::rustls::ServerConfig>)>,
    reload: Option<Box<dyn Fn() + Send>>,
}

impl Server {
    /// A server that does not listen yet.
    pub fn new(console: &Console) -> Self {
        Server {
            console: console.clone(),
            limits: Limits::default(),
            plain: Vec::new(),
            #[cfg(feature = "tls")]
            tls: Vec::new(),
            reload: None,
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

    /// Serves in a runtime of its own until SIGTERM or SIGINT, then ends what is in flight.
    ///
    /// `connect` makes what the requests of one connection share, or refuses the client; `handle`
    /// answers one request.
    pub fn run<C, F, R>(
        self,
        connect: impl Fn(SocketAddr) -> Option<C> + Send + Sync + 'static,
        handle: F,
    ) -> Result<()>
    where
        C: Send + Sync + 'static,
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
    pub async fn serve<C, F, R>(
        self,
        connect: impl Fn(SocketAddr) -> Option<C> + Send + Sync + 'static,
        handle: F,
    ) -> Result<()>
    where
        C: Send + Sync + 'static,
        F: Fn(Arc<C>, Request) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        crate::signal::keep_running();
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
        let came = |signal: &mut Signal, poller: &mut std::task::Context<'_>| {
            signal.poll_recv(poller).is_ready()
        };
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

struct Shared<N, F> {
    console: Console,
    limits: Limits,
    /// How many connections each address has.
    clients: Mutex<HashMap<IpAddr, usize>>,
    connect: N,
    handle: F,
}

impl<N, F> Shared<N, F> {
    async fn accept<C, R>(
        self: Arc<Self>,
        listener: tokio::net::TcpListener,
        wrap: Wrap,
        slots: Arc<Semaphore>,
        end: End,
    ) where
        C: Send + Sync + 'static,
        N: Fn(SocketAddr) -> Option<C> + Send + Sync + 'static,
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
            tokio::spawn(async move {
                if let Some(_client) = Client::enter(&shared, address.ip())
                    && let Some(connection) = (shared.connect)(address)
                {
                    shared.talk(stream, wrap, connection, &end).await;
                }
                drop(slot);
            });
        }
    }

    async fn talk<C, R>(self: &Arc<Self>, stream: TcpStream, wrap: Wrap, connection: C, end: &End)
    where
        C: Send + Sync + 'static,
        N: Fn(SocketAddr) -> Option<C> + Send + Sync + 'static,
        F: Fn(Arc<C>, Request) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        // Else the last part of a response waits for the acknowledgement of the one before.
        drop(stream.set_nodelay(true));
        match wrap {
            Wrap::Plain => self.http(TokioIo::new(stream), connection, end).await,
            #[cfg(feature = "tls")]
            Wrap::Tls(acceptor) => {
                let hands = tokio::time::timeout(self.limits.head_time, acceptor.accept(stream));
                match hands.await {
                    Ok(Ok(stream)) => self.http(TokioIo::new(stream), connection, end).await,
                    _ => self.console.debug("a client did not speak TLS"),
                }
            }
        }
    }

    async fn http<C, R, S>(self: &Arc<Self>, io: S, connection: C, end: &End)
    where
        C: Send + Sync + 'static,
        N: Fn(SocketAddr) -> Option<C> + Send + Sync + 'static,
        F: Fn(Arc<C>, Request) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
        S: Read + Write + Unpin + Send + 'static,
    {
        let connection = Arc::new(connection);
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

/// A connection of an address, counted while it lives.
struct Client<'a> {
    clients: &'a Mutex<HashMap<IpAddr, usize>>,
    address: IpAddr,
}

impl<'a> Client<'a> {
    fn enter<N, F>(shared: &'a Shared<N, F>, address: IpAddr) -> Option<Self> {
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
