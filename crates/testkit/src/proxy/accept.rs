//! A port, and accepting its connections.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{net::TcpStream, runtime::Runtime, time::sleep};

use super::gate::{Gate, Life};

/// A free loopback port, served until it is dropped.
///
/// It has threads of its own, so a proxy can be made and used with or without a runtime.
pub(super) struct Port {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Port {
    pub(super) fn open<S>(serve: impl FnOnce(TcpListener) -> S) -> Result<Self>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).thread_name("rekey-proxy").enable_all();
        let runtime = builder.build().context("start the proxy's threads")?;
        let listener = TcpListener::bind("127.0.0.1:0").context("open a port for the proxy")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        runtime.spawn(serve(listener));
        Ok(Self { address, runtime: Some(runtime) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // the proxy may be dropped on a thread that must not wait
        }
    }
}

/// Accepts connections one after the other, and serves each in the background; refuses them while the proxy is down.
pub(super) async fn connections<F>(listener: TcpListener, gate: &Gate, serve: impl Fn(TcpStream, Life) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match gate.enter() {
                Some(life) => drop(tokio::spawn(serve(stream, life))),
                None => refuse(stream),
            },
            Err(_) => sleep(Duration::from_millis(10)).await, // out of file descriptors: some will be closed
        }
    }
}

/// Resets a connection, which is as close to a refusal as possible without giving up the port.
fn refuse(stream: TcpStream) {
    stream.set_zero_linger().ok();
    drop(stream);
}
