//! One connection to the API server, and the streams on it: up to [`STREAMS`] by HTTP/2, one at a time by HTTP/1.1.

use std::{
    error::Error,
    future::poll_fn,
    mem::take,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::anyhow;
use http::{HeaderValue, Request, Response, Uri, Version, header::HOST};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    rt::{Read, Write},
};
use hyper_util::{
    client::legacy::connect::Connection as Negotiated,
    rt::{TokioExecutor, TokioTimer},
};
use kube::client::Body;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tower::BoxError;

/// The most streams of a connection, if the server allows as many. API servers allow 100 and more; load balancers in
/// front of them mostly 100 or 128.
pub const STREAMS: usize = 100;
/// After this time without data, we ping the server.
pub const PING: Duration = Duration::from_secs(20);
/// The connection is dead if no reply to the ping comes within this time. An API server replies at once, even under
/// load.
pub const PONG: Duration = Duration::from_secs(10);
/// We close a connection without a stream after this time. An API server does the same with HTTP/1.1.
const IDLE: Duration = Duration::from_secs(90);
/// A call that gave up after so long without an answer, or without more of it, may have met a dead connection: the next
/// one takes another.
const SUSPECT: Duration = Duration::from_secs(2);
/// How many bytes the server may have sent on one stream that we have not read yet.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for a connection: a few slow readers leave room for the others.
const WINDOW: u32 = 4 << 20;

/// What a connector brings: a stream of bytes that knows what was negotiated.
pub trait Io: Read + Write + Negotiated + Send + Unpin + 'static {}

impl<T: Read + Write + Negotiated + Send + Unpin + 'static> Io for T {}

/// See the [module documentation](self).
pub struct Connection {
    sender: Sender,
    usage: Mutex<Usage>,
}

enum Sender {
    /// HTTP/2, and how many streams the server allows at present, at most [`STREAMS`].
    Many(http2::SendRequest<Body>, watch::Receiver<usize>),
    /// HTTP/1.1. The lock is for the sender, which needs a `&mut`; a stream has the connection for itself.
    One(tokio::sync::Mutex<http1::SendRequest<Body>>),
}

struct Usage {
    streams: usize,
    /// When the last stream ended.
    since: Instant,
    /// No request may use it any more.
    retired: bool,
}

/// The right to one stream of a connection, until it is dropped.
pub struct Stream {
    connection: Arc<Connection>,
    since: Instant,
    answered: bool,
    ended: bool,
}

/// A request that failed.
pub struct Failure {
    pub error: BoxError,
    /// The request, if the server has not seen it: it can go over another connection, whatever it asks for.
    pub unsent: Option<Request<Body>>,
}

impl Connection {
    /// Opens a connection with the negotiated protocol. `limit` is for the server's first frame.
    ///
    /// # Errors
    /// When the server does not speak the protocol, or sends nothing within `limit`.
    pub async fn open(io: impl Io, limit: Duration) -> Result<Self, BoxError> {
        let sender = if io.connected().is_negotiated_h2() {
            timeout(limit, many(io)).await.map_err(|_| anyhow!("no HTTP/2 settings within {limit:?}"))??
        } else {
            one(io).await?
        };
        let usage = Usage { streams: 0, since: Instant::now(), retired: false };
        Ok(Self { sender, usage: Mutex::new(usage) })
    }

    /// Whether it carries several streams.
    pub fn is_shared(&self) -> bool {
        matches!(self.sender, Sender::Many(..))
    }

    /// Whether new requests have to take another one.
    pub fn is_over(&self) -> bool {
        let closed = match &self.sender {
            Sender::Many(sender, _) => sender.is_closed(),
            Sender::One(sender) => sender.try_lock().is_ok_and(|sender| sender.is_closed()),
        };
        let usage = self.usage();
        closed || usage.retired || (usage.streams == 0 && usage.since.elapsed() > IDLE)
    }

    /// A stream, if there is one left.
    pub fn stream(self: &Arc<Self>) -> Option<Stream> {
        let most = match &self.sender {
            Sender::Many(_, most) => *most.borrow(),
            Sender::One(_) => 1,
        };
        let mut usage = self.usage();
        if usage.retired || usage.streams >= most {
            return None;
        }
        usage.streams += 1;
        Some(Stream { connection: Arc::clone(self), since: Instant::now(), answered: false, ended: false })
    }

    async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        match &self.sender {
            Sender::Many(sender, _) => {
                *request.version_mut() = Version::HTTP_2;
                let copy = copy(&request);
                let answer = sender.clone().try_send_request(request).await.map_err(Failure::from);
                answer.map_err(|failure| failure.or_unprocessed(copy))
            }
            Sender::One(sender) => {
                let mut sender = sender.lock().await;
                if let Err(error) = sender.ready().await {
                    return Err(Failure { error: error.into(), unsent: Some(request) });
                }
                let answer = sender.try_send_request(by_path(request));
                drop(sender);
                answer.await.map_err(Failure::from)
            }
        }
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Sends the request, with an absolute address, and waits for the head of the answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        let answer = self.connection.send(request).await;
        self.answered = answer.is_ok();
        if answer.as_ref().is_err_and(|failure| failure.unsent.is_some()) {
            self.connection.usage().retired = true;
        }
        answer
    }

    /// The answer has been read to its end.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The answer is not waited for any more, of which nothing has come for so long.
    pub fn given_up(&self, quiet: Duration) {
        if quiet >= SUSPECT {
            self.connection.usage().retired = true;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let torn = !self.ended && !self.connection.is_shared();
        let suspect = !self.answered && self.since.elapsed() >= SUSPECT;
        let mut usage = self.connection.usage();
        usage.streams -= 1;
        usage.since = Instant::now();
        usage.retired |= torn || suspect;
    }
}

impl From<TrySendError<Request<Body>>> for Failure {
    fn from(mut error: TrySendError<Request<Body>>) -> Self {
        Self { unsent: error.take_message(), error: error.into_error().into() }
    }
}

impl Failure {
    /// A server that closes a connection, or a stream before it has read it, says which requests it has not processed
    /// and never will (<https://www.rfc-editor.org/rfc/rfc9113#section-8.7>).
    fn or_unprocessed(mut self, request: Option<Request<Body>>) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self.error.as_ref());
        while let Some(error) = cause {
            if error.downcast_ref().is_some_and(is_unprocessed) {
                self.unsent = self.unsent.or(request);
                break;
            }
            cause = error.source();
        }
        self
    }
}

fn is_unprocessed(error: &h2::Error) -> bool {
    let left = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (left || refused)
}

/// The same request, if its body can be read again.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

async fn many(io: impl Io) -> Result<Sender, BoxError> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(0)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_reset_streams(STREAMS) // callers may give up all of them at once
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true);
    let (sender, mut driver) = builder.handshake(io).await?;
    // Before the server has said how many streams it allows, requests beyond that would wait on this connection. It says
    // so at once, but hyper reports it only when polled.
    while driver.current_max_send_streams() == 0 {
        if sender.is_closed() {
            return Err("the connection was closed at once".into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    let (told, most) = watch::channel(driver.current_max_send_streams().min(STREAMS));
    tokio::spawn(poll_fn(move |context| {
        let end = Pin::new(&mut driver).poll(context);
        let now = driver.current_max_send_streams().min(STREAMS);
        told.send_if_modified(|before| std::mem::replace(before, now) != now);
        end.map(drop)
    }));
    Ok(Sender::Many(sender, most))
}

async fn one(io: impl Io) -> Result<Sender, BoxError> {
    let (sender, driver) = http1::handshake(io).await?;
    // Whoever has a stream on it learns how it ends.
    tokio::spawn(async move { drop(driver.await) });
    Ok(Sender::One(tokio::sync::Mutex::new(sender)))
}

/// The request as HTTP/1.1 has it: the host in a header, the path alone on the first line.
fn by_path(mut request: Request<Body>) -> Request<Body> {
    *request.version_mut() = Version::HTTP_11;
    let parts = take(request.uri_mut()).into_parts();
    let host = parts.authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = parts.path_and_query.map_or_else(Uri::default, Uri::from);
    request
}
