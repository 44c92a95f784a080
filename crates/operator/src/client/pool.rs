//! Connections to the API server. The pool of hyper-util keeps one HTTP/2 connection and lets requests wait for a free
//! stream of it, for ever if watches have them all; this one opens another connection.

#[cfg(test)]
mod tests;

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::{Request, Response, Uri};
use kube::client::Body;
use tokio::time::timeout;
use tower::{BoxError, Service, ServiceExt as _};

use super::{
    answer::Answer,
    connection::{Connection, Io, Stream},
};

/// A request fails after so many connections ended just before it was sent on them.
const ATTEMPTS: usize = 5;

/// See the [module documentation](self).
pub struct Pool<C> {
    parts: Arc<Parts<C>>,
}

struct Parts<C> {
    connector: C,
    /// For opening a connection.
    limit: Duration,
    /// How long the server may say nothing during a request.
    patience: Option<Duration>,
    state: Mutex<State>,
}

struct State {
    connections: Vec<Arc<Connection>>,
    /// All requests that need a stream wait for the same new connection, if it has room for several.
    opening: Option<Opening>,
    /// Whether the server accepts HTTP/2; true until it says no.
    shares: bool,
}

type Opening = Shared<BoxFuture<'static, Result<Arc<Connection>, Unreachable>>>;

/// No connection could be opened: the error of every request that waited for it.
#[derive(Clone, Debug)]
struct Unreachable(Arc<BoxError>);

/// The server has said nothing for so long.
#[derive(Debug)]
pub struct Silent(pub Duration);

impl<C> Pool<C>
where
    C: Service<Uri, Response: Io, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
{
    /// An empty pool. `limit`: for opening a connection; `patience`: how long the server may say nothing before or within
    /// an answer.
    pub fn new(connector: C, limit: Duration, patience: Option<Duration>) -> Self {
        let state = State { connections: Vec::new(), opening: None, shares: true };
        Self { parts: Arc::new(Parts { connector, limit, patience, state: Mutex::new(state) }) }
    }
}

impl<C> Parts<C>
where
    C: Service<Uri, Response: Io, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
{
    async fn send(self: Arc<Self>, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let patience = self.patience;
        let (answer, stream) = match patience {
            Some(limit) => timeout(limit, self.ask(request)).await.map_err(|_| Silent(limit))??,
            None => self.ask(request).await?,
        };
        Ok(answer.map(|body| Answer::new(body, stream, patience)))
    }

    async fn ask(
        self: Arc<Self>,
        mut request: Request<Body>,
    ) -> Result<(Response<hyper::body::Incoming>, Stream), BoxError> {
        let target = request.uri().clone();
        let mut attempts = 0..ATTEMPTS;
        loop {
            attempts.next();
            let mut stream = self.stream(&target).await?;
            match stream.send(request).await {
                Ok(answer) => return Ok((answer, stream)),
                Err(failure) => match failure.unsent {
                    Some(unsent) if !attempts.is_empty() => request = unsent,
                    Some(_) | None => return Err(failure.error),
                },
            }
            *request.uri_mut() = target.clone();
        }
    }

    /// A stream of a connection that has one left, or of a new one.
    async fn stream(self: &Arc<Self>, target: &Uri) -> Result<Stream, BoxError> {
        loop {
            let opening = {
                let mut state = self.state();
                if let Some(stream) = state.stream() {
                    return Ok(stream);
                }
                if state.shares {
                    state.opening.get_or_insert_with(|| self.open(target)).clone()
                } else {
                    self.open(target)
                }
            };
            if opening.await?.is_over() {
                return Err("the API server has closed a new connection".into());
            }
        }
    }

    /// Opens a connection in a task of its own, since the request that waits for it may give up.
    fn open(self: &Arc<Self>, target: &Uri) -> Opening {
        let (parts, target) = (Arc::clone(self), target.clone());
        let task = tokio::spawn(async move {
            let opened = parts.opened(target).await.map(Arc::new);
            let mut state = parts.state();
            state.opening = None;
            if let Ok(connection) = &opened {
                state.shares = connection.is_shared();
                state.connections.push(Arc::clone(connection));
            }
            opened
        });
        let opened = task.map(|ended| ended.map_err(BoxError::from).flatten());
        opened.map(|opened| opened.map_err(|error| Unreachable(Arc::new(error)))).boxed().shared()
    }

    async fn opened(&self, target: Uri) -> Result<Connection, BoxError> {
        let io = self.connector.clone().oneshot(target).await.map_err(Into::into)?;
        Connection::open(io, self.limit).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A stream of the oldest connection that has one left, so that newer ones run empty and close.
    fn stream(&mut self) -> Option<Stream> {
        self.connections.retain(|connection| !connection.is_over());
        self.connections.iter().find_map(Connection::stream)
    }
}

impl<C> Service<Request<Body>> for Pool<C>
where
    C: Service<Uri, Response: Io, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
{
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Answer>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Arc::clone(&self.parts).send(request).boxed()
    }
}

impl<C> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { parts: Arc::clone(&self.parts) }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no connection to the API server")
    }
}

impl Error for Unreachable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source: &(dyn Error + 'static) = self.0.as_ref().as_ref();
        Some(source)
    }
}

impl fmt::Display for Silent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the API server has said nothing for {} s", self.0.as_secs())
    }
}

impl Error for Silent {}
