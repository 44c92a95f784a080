//! Accepting connections.

use std::{net::TcpListener, time::Duration};

use tokio::{net::TcpStream, time::sleep};

/// Accepts connections one after the other: `serve` says what to do with each, in the background; `None` refuses it.
pub(super) async fn connections<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> Result<F, TcpStream>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        match listener.accept().await.map(|(stream, _)| serve(stream)) {
            Ok(Ok(served)) => drop(tokio::spawn(served)),
            Ok(Err(stream)) => refuse(stream),
            Err(_) => sleep(Duration::from_millis(10)).await, // out of file descriptors: some will be closed
        }
    }
}

/// Resets a connection, which is as close to a refusal as possible without giving up the port.
fn refuse(stream: TcpStream) {
    stream.set_zero_linger().ok();
    drop(stream);
}
