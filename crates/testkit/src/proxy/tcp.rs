//! A proxy for protocols other than HTTP: databases.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::{
    accept::{self, Port},
    gate::{Gate, Life},
};

/// A proxy in front of one server, on a free loopback port, until it is dropped.
pub struct TcpProxy {
    shared: Arc<Shared>,
    port: Port,
}

struct Shared {
    upstream: String,
    connections: AtomicU64,
    gate: Gate,
    delay: Mutex<Duration>,
}

impl TcpProxy {
    /// In front of `host:port`.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(upstream: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            connections: AtomicU64::new(0),
            gate: Gate::new(),
            delay: Mutex::default(),
        });
        let port = Port::open(|listener| accept(listener, Arc::clone(&shared)))?;
        Ok(Self { shared, port })
    }

    /// Where to connect in place of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// How many connections were let through up to now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Delays everything that a client sends from now on by this time.
    pub fn delay(&self, time: Duration) {
        *self.shared.delay() = time;
    }

    /// Cuts all connections; accepts new ones. Bytes that come on an old one after this call go nowhere.
    pub fn cut(&self) {
        self.shared.gate.cut();
    }

    /// Cuts all connections and resets each new one at once.
    pub fn down(&self) {
        self.shared.gate.down();
    }

    /// Ends [`TcpProxy::down`].
    pub fn up(&self) {
        self.shared.gate.up();
    }
}

impl Shared {
    fn delay(&self) -> MutexGuard<'_, Duration> {
        self.delay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let serve = |stream, life| connection(stream, Arc::clone(&shared), life);
    accept::connections(listener, &shared.gate, serve).await;
}

async fn connection(client: TcpStream, shared: Arc<Shared>, life: Life) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let seen = life.clone();
    let passing = async {
        let Ok(server) = TcpStream::connect(&shared.upstream).await else {
            return;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let there = pass(from_client, to_server, &seen, || *shared.delay());
        let back = pass(from_server, to_client, &seen, || Duration::ZERO);
        tokio::try_join!(there, back).ok(); // if one side breaks, so does the other
    };
    shared.gate.until_cut(life, passing).await;
}

/// Passes on all bytes, and their end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    life: &Life,
    delay: impl Fn() -> Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let time = delay();
        if !time.is_zero() {
            sleep(time).await;
        }
        if life.has_changed().unwrap_or(true) {
            // This sees the cut before the connection's task wakes up.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        to.write_all(&buffer[..length]).await?;
    }
}
