//! `bk-aptcache serve`

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bk::http::{self, Limits, Server, tokio};
use bk::{Cleanup, Console, Context, Error, Result, Session, Status, display};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::address::Cidr;
use crate::cache::{Cache, Config, Connection};
use crate::client::{Policy, Proxy};
use crate::gc::{self, Rules, Size};
use crate::log::Log;
use crate::setup::{Archives, Folder};
use crate::store::Store;

/// Statistics are kept this often, and the store is looked after that often.
const SAVE: Duration = Duration::from_secs(60);
const CARE: Duration = Duration::from_secs(86_400);

/// A client has this long for the head of a request; apt keeps connections open between requests
/// for less.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The most a head may have: a long path, twice, and a dozen headers.
const HEAD_SIZE: usize = 32 << 10;

/// Serve apt clients, as a proxy and by path, until SIGTERM
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
SIGHUP reads the configuration files anew: archives, keyrings, and who may do what. Sockets that
systemd hands over (LISTEN_FDS) are taken instead of --listen, so that a restart drops no connection.

Examples:
  bk-aptcache serve
      On 127.0.0.1:9999, for the archives of this system's apt sources.
  bk-aptcache serve --listen 192.168.100.254:9999 --upstream ubuntu=http://MIRROR/ubuntu
      For virtual machines: 'deb http://192.168.100.254:9999/ubuntu noble main', or as a proxy.
  bk-aptcache config > /etc/apt/apt.conf.d/01cache
      Make apt use it.

Exit status:
  0   ended by SIGTERM or SIGINT, after what was in flight
  1   it cannot listen, or the cache cannot be used
  2   the command line or the configuration is wrong
")]
pub struct Args {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:9999]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    archives: Archives,
    /// A proxy on the way to the archives: http://HOST:PORT (another cache, too) or
    /// socks5://HOST:PORT
    #[arg(long, value_name = "URL", help_heading = "Archives")]
    proxy: Option<Proxy>,
    /// Measure the mirrors at the start and every day, and ask the quickest first
    #[arg(long, help_heading = "Archives")]
    fastest: bool,

    /// Answer only clients with these addresses [default: all that are not public]
    #[arg(long, value_name = "CIDR", help_heading = "Policy")]
    allow: Vec<Cidr>,
    /// Let archives have these addresses, though they are not public
    #[arg(long, value_name = "CIDR", help_heading = "Policy")]
    allow_address: Vec<Cidr>,
    /// Let CONNECT lead to this host, too, on port 443
    #[arg(long, value_name = "HOST", help_heading = "Policy")]
    connect: Vec<String>,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 8192, help_heading = "Policy")]
    max_connections: usize,
    /// Connections at once of one client
    #[arg(long, value_name = "N", default_value_t = 2048, help_heading = "Policy")]
    max_per_client: usize,

    #[command(flatten)]
    rules: Rules,

    /// Listen for TLS, too
    #[arg(long, value_name = "ADDR", requires = "tls_cert", help_heading = "Service")]
    tls_listen: Vec<SocketAddr>,
    /// The certificate and those that vouch for it, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Service")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    tls_key: Option<PathBuf>,
    /// Announce it as _apt_proxy._tcp, for squid-deb-proxy-client and auto-apt-proxy
    #[arg(long, help_heading = "Service")]
    mdns: bool,
    /// Write a line a request to FILE
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    access_log: Option<PathBuf>,
}

impl Args {
    fn config(&self) -> Result<(Config, Policy)> {
        let upstreams = Arc::new(self.archives.upstreams()?);
        let policy = Policy {
            allowed: self.allow_address.clone(),
            upstreams: upstreams.clone(),
            connect: self.connect.clone(),
            proxy: self.proxy.clone(),
        };
        Ok((Config { upstreams, clients: self.allow.clone() }, policy))
    }

    /// Serves until SIGTERM or SIGINT. Prints where, a line each.
    fn serve(self, session: &mut Session) -> Result<Status> {
        let console = session.console.clone();
        let default = [SocketAddr::from(([127, 0, 0, 1], 9999))];
        let addresses = if self.listen.is_empty() { &default[..] } else { &self.listen };
        let listeners = http::listen(addresses, |name| std::env::var(name).ok())?;
        let secure = self.tls_listen.iter().map(|address| {
            TcpListener::bind(address).context(|| format!("cannot listen on '{address}'"))
        });
        let secure = secure.collect::<Result<Vec<_>>>()?;

        let root = self.folder.path(session);
        bk::file::create_dir(&root)?;
        let (config, policy) = self.config()?;
        let log = Log::new(self.access_log.as_deref(), &console)?;
        let rules = self.rules.clone();
        let room = (Store::open(&root)?, console.clone());
        let make_room = move |bytes: u64| gc::make_room(&room.0, bytes.max(Size::STEP), &room.1);
        let cache = Arc::new(Cache::open(&root, config, policy, (log, &console), make_room)?);

        for listener in &listeners {
            session.out.raw(format!("http://{}/\n", listener.local_addr()?))?;
        }
        for listener in &secure {
            session.out.raw(format!("https://{}/\n", listener.local_addr()?))?;
        }
        session.out.flush()?;
        let port = listeners.first().and_then(|l| l.local_addr().ok()).map_or(0, |a| a.port());
        let _announced = self.mdns.then(|| announce(port, &console)).transpose()?;

        let mut server = Server::new(&console).listen(listeners).limits(Limits {
            connections: self.max_connections,
            per_client: self.max_per_client,
            head_time: HEAD_TIME,
            head_size: HEAD_SIZE,
        });
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let config = Arc::new(tls(cert, key)?);
            for listener in secure {
                server = server.listen_tls(listener, config.clone());
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (reloaded, told) = (cache.clone(), console.clone());
        let server = server.reload(move || match reload() {
            Ok((config, policy)) => {
                reloaded.reconfigure(config, policy);
                told.info("the configuration was read anew");
            }
            Err(error) => told.error(&error.context("the old configuration stays")),
        });
        let (care, fastest) = (cache.clone(), self.fastest);
        let (admit, answer, front) = (cache.clone(), cache.clone(), cache.clone());
        let server = server.front(move |client: Arc<Connection>, stream, stopping| {
            let cache = front.clone();
            http::front(stream, stopping, move |target| crate::front::find(&cache, &client, target))
        });
        let served = runtime.block_on(async move {
            tokio::spawn(look_after(care, rules, fastest, console));
            let connect =
                move |client| admit.config().admits(client).then(|| Connection::new(client));
            server
                .serve(connect, move |client, request| answer.clone().answer(client, request))
                .await
        });
        // A thread that still reads a file for a client who left must not hold the end up.
        runtime.shutdown_background();
        cache.statistics.save(&cache.store.inside("statistics"))?;
        served.map(|()| Status::Done)
    }
}

/// Runs the command.
pub fn run(args: Args, session: &mut Session) -> Result<Status> {
    args.serve(session)
}

/// The command line again, with the configuration files as they are now.
fn reload() -> Result<(Config, Policy)> {
    match bk::parse_again::<crate::cli::Cli>()?.into_serve() {
        Some(args) => args.config(),
        None => Err(Error::new("this is no server any more")),
    }
}

/// Keeps statistics, collects what nothing needs, measures mirrors.
async fn look_after(cache: Arc<Cache>, rules: Rules, fastest: bool, console: Console) {
    let mut ticks = tokio::time::interval(SAVE);
    let mut cared: Option<std::time::Instant> = None;
    loop {
        ticks.tick().await;
        let due = cared.is_none_or(|when| when.elapsed() >= CARE);
        if due {
            cared = Some(std::time::Instant::now());
        }
        if due && fastest {
            cache.measure(&console).await;
        }
        let (cache, rules, console) = (cache.clone(), rules.clone(), console.clone());
        let work = move || {
            if let Err(error) = cache.statistics.save(&cache.store.inside("statistics")) {
                console.debug(&error.to_string());
            }
            // Not right at a start, when clients wait.
            if due && cache.started.elapsed() >= SAVE {
                let report = gc::collect(&cache.store, &rules, false, &console, &mut |_| Ok(()));
                report.err().iter().for_each(|error| console.error(error));
            }
        };
        drop(tokio::task::spawn_blocking(work).await);
    }
}

fn tls(cert: &Path, key: &Path) -> Result<rustls::ServerConfig> {
    let failed = |path: &Path| {
        let path = display(path);
        move || format!("cannot use '{path}' for TLS")
    };
    let certs = CertificateDer::pem_file_iter(cert).context(failed(cert))?;
    let certs = certs.collect::<std::result::Result<Vec<_>, _>>().context(failed(cert))?;
    let secret = PrivateKeyDer::from_pem_file(key).context(failed(key))?;
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    config.with_single_cert(certs, secret).context(failed(cert))
}

/// Announces the service with avahi's daemon, which answers for the whole machine, until it ends.
fn announce(port: u16, console: &Console) -> Result<Announced> {
    let mut command = std::process::Command::new("avahi-publish");
    command.args(["-s", "BuildKit apt cache", "_apt_proxy._tcp"]).arg(port.to_string());
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    console.info(&format!("+ avahi-publish -s 'BuildKit apt cache' _apt_proxy._tcp {port}"));
    let child = command
        .spawn()
        .context(|| "cannot announce the cache".into())
        .hint(|| "install avahi-utils, or leave --mdns out".into())?;
    let number = child.id();
    let cleanup = Cleanup::new(move || {
        if let Some(pid) = rustix::process::Pid::from_raw(number.cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    });
    Ok(Announced { child, _cleanup: cleanup })
}

struct Announced {
    child: std::process::Child,
    _cleanup: Cleanup,
}

impl Drop for Announced {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
