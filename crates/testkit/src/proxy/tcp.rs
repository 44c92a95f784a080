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

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    sync::watch,
    time::sleep,
};

use super::{accept, runtime};

/// A proxy in front of one server, on a free loopback port, until it is dropped.
pub struct TcpProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

struct Shared {
    upstream: String,
    connections: AtomicU64,
    state: Mutex<State>,
    life: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    down: bool,
    delay: Duration,
}

impl TcpProxy {
    /// In front of `host:port`.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(upstream: &str) -> Result<Self> {
        let runtime = runtime()?;
        let listener = TcpListener::bind("127.0.0.1:0").context("open a port for the proxy")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            connections: AtomicU64::new(0),
            state: Mutex::default(),
            life: watch::Sender::new(0),
        });
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, runtime: Some(runtime) })
    }

    /// Where to connect in place of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were let through up to now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Delays everything that a client sends from now on by this time.
    pub fn delay(&self, time: Duration) {
        self.shared.state().delay = time;
    }

    /// Cuts all connections; accepts new ones. Bytes that come on an old one after this call go nowhere.
    pub fn cut(&self) {
        self.shared.life.send_modify(|life| *life += 1);
    }

    /// Cuts all connections and resets each new one at once.
    pub fn down(&self) {
        let mut state = self.shared.state();
        state.down = true;
        self.cut();
    }

    /// Ends [`TcpProxy::down`].
    pub fn up(&self) {
        self.shared.state().down = false;
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // the proxy may be dropped on a thread that must not wait
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> Option<watch::Receiver<u64>> {
        let state = self.state();
        (!state.down).then(|| self.life.subscribe())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    accept::connections(listener, |stream| match shared.enter() {
        Some(life) => Ok(connection(stream, Arc::clone(&shared), life)),
        None => Err(stream),
    })
    .await;
}

async fn connection(client: TcpStream, shared: Arc<Shared>, mut life: watch::Receiver<u64>) {
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
        let there = pass(from_client, to_server, &seen, || shared.state().delay);
        let back = pass(from_server, to_client, &seen, || Duration::ZERO);
        tokio::try_join!(there, back).ok(); // if one side breaks, so does the other
    };
    tokio::select! {
        biased;
        _ = life.changed() => {}
        () = passing => {}
    }
}

/// Passes on all bytes, and their end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    life: &watch::Receiver<u64>,
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
