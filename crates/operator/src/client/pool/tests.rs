use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::{StreamExt as _, future::join_all, stream};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    rt::{Read, ReadBufCursor, Write},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    client::legacy::connect::{Connected, Connection as Negotiated},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::Notify,
    time::Instant,
};

use super::*;
use crate::client::{
    CONNECT, DEADLINE,
    connection::{PING, PONG},
};

/// A server in memory, and the connector to it.
#[derive(Clone)]
struct Server {
    protocol: Protocol,
    doors: Arc<Mutex<Vec<Arc<Door>>>>,
}

#[derive(Clone, Copy)]
enum Protocol {
    /// By HTTP/2, with so many streams a connection.
    Many(u32),
    One,
    /// No connection succeeds.
    None,
}

/// What the server does with one connection.
#[derive(Default)]
struct Door {
    asked: AtomicUsize,
    /// No new requests, please.
    leave: Notify,
    /// Nothing is read or written any more, and nothing closed.
    dead: Notify,
}

struct Pipe {
    io: TokioIo<DuplexStream>,
    many: bool,
}

impl Server {
    fn new(protocol: Protocol) -> Self {
        Self { protocol, doors: Arc::default() }
    }

    fn pool(&self, patience: Option<Duration>) -> Pool<Self> {
        Pool::new(self.clone(), CONNECT, patience)
    }

    fn doors(&self) -> Vec<Arc<Door>> {
        self.doors.lock().unwrap().clone()
    }

    /// How many requests came on each connection.
    fn asked(&self) -> Vec<usize> {
        self.doors().iter().map(|door| door.asked.load(Ordering::SeqCst)).collect()
    }
}

impl Service<Uri> for Server {
    type Response = Pipe;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Pipe, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (ours, theirs) = duplex(64 << 10);
        let (protocol, door) = (self.protocol, Arc::new(Door::default()));
        self.doors.lock().unwrap().push(Arc::clone(&door));
        async move {
            tokio::task::yield_now().await; // as a real one, it is not there at once
            let many = match protocol {
                Protocol::Many(streams) => {
                    tokio::spawn(serve_many(theirs, streams, door));
                    true
                }
                Protocol::One => {
                    tokio::spawn(serve_one(theirs, door));
                    false
                }
                Protocol::None => return Err(io::ErrorKind::ConnectionRefused.into()),
            };
            Ok(Pipe { io: TokioIo::new(ours), many })
        }
        .boxed()
    }
}

async fn serve_many(io: DuplexStream, streams: u32, door: Arc<Door>) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(streams);
    let handler = service_fn(|request| answer(Arc::clone(&door), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), handler));
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = door.leave.notified() => connection.as_mut().graceful_shutdown(),
            () = door.dead.notified() => std::future::pending::<()>().await,
        }
    }
}

async fn serve_one(io: DuplexStream, door: Arc<Door>) {
    let handler = service_fn(|request| answer(Arc::clone(&door), request));
    drop(http1::Builder::new().serve_connection(TokioIo::new(io), handler).await);
}

/// `/watch` starts and never ends, `/silent` gets no answer, all else gets `done`.
async fn answer(
    door: Arc<Door>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    door.asked.fetch_add(1, Ordering::SeqCst);
    let frame = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
    let body = match request.uri().path() {
        "/silent" => std::future::pending().await,
        "/watch" => BodyExt::boxed(StreamBody::new(stream::iter([frame("begun")]).chain(stream::pending()))),
        _ => BodyExt::boxed(StreamBody::new(stream::iter([frame("done")]))),
    };
    Ok(Response::new(body))
}

impl Negotiated for Pipe {
    fn connected(&self) -> Connected {
        if self.many { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

fn request(path: &str) -> Request<Body> {
    Request::get(format!("http://server{path}")).body(Body::empty()).unwrap()
}

/// A watch whose first frame has come.
async fn watch(pool: &Pool<Server>) -> Answer {
    let mut body = pool.clone().oneshot(request("/watch")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "begun");
    body
}

async fn call(pool: &Pool<Server>) {
    let answer = pool.clone().oneshot(request("/call")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "done");
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_used_up_open_another_connection_and_no_more() {
    let server = Server::new(Protocol::Many(250));
    let pool = server.pool(None);
    let mut watches = join_all((0..250).map(|_| watch(&pool))).await;
    assert_eq!(server.asked(), [100, 100, 50], "all at once, and yet one connection after the other");
    watches.drain(..10);
    join_all((0..10).map(|_| call(&pool))).await;
    assert_eq!(server.asked(), [110, 100, 50], "a stream that is free again is used again");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_allows_fewer_streams_gets_fewer_even_at_first() {
    let server = Server::new(Protocol::Many(10));
    let pool = server.pool(None);
    let _watches = join_all((0..25).map(|_| watch(&pool))).await;
    assert_eq!(server.asked(), [10, 10, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_noticed_by_its_pings_and_left() {
    let server = Server::new(Protocol::Many(250));
    let pool = server.pool(None);
    let mut body = watch(&pool).await;
    let quiet = tokio::time::timeout(Duration::from_hours(1), body.frame()).await;
    assert!(quiet.is_err(), "a watch may be silent for as long as the connection lives");
    let begin = Instant::now();
    server.doors()[0].dead.notify_one();
    assert!(body.frame().await.unwrap().is_err());
    assert!(begin.elapsed() <= PING + PONG + Duration::from_secs(1), "after {:?}", begin.elapsed());
    watch(&pool).await;
    assert_eq!(server.asked(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_answered_ends_and_the_next_takes_another_connection() {
    let server = Server::new(Protocol::Many(250));
    let pool = server.pool(Some(DEADLINE));
    call(&pool).await;
    let begin = Instant::now();
    let error = pool.clone().oneshot(request("/silent")).await.err().unwrap();
    assert_eq!(error.to_string(), "the API server has said nothing for 15 s");
    assert_eq!(begin.elapsed(), DEADLINE);
    call(&pool).await;
    let mut body = watch(&pool).await;
    assert!(body.frame().await.unwrap().is_err(), "an answer that stops in its middle ends, too");
    assert_eq!(server.asked(), [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn after_an_answer_that_stops_in_its_middle_calls_take_another_connection() {
    let server = Server::new(Protocol::Many(250));
    let pool = server.pool(Some(DEADLINE));
    let mut body = watch(&pool).await;
    assert!(body.frame().await.unwrap().is_err());
    drop(body);
    call(&pool).await;
    assert_eq!(server.asked(), [1, 1], "the server has stopped on the first connection");
    // So it is when whoever asked gives up first, but not when that was soon.
    let mut body = watch(&pool).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), body.frame()).await.is_err());
    drop(body);
    call(&pool).await;
    assert_eq!(server.asked(), [1, 3]);
    let mut body = watch(&pool).await;
    assert!(tokio::time::timeout(Duration::from_secs(5), body.frame()).await.is_err());
    drop(body);
    call(&pool).await;
    assert_eq!(server.asked(), [1, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_given_up_leaves_its_connection_to_the_others() {
    let server = Server::new(Protocol::Many(250));
    let pool = server.pool(None);
    let mut body = watch(&pool).await;
    assert!(tokio::time::timeout(Duration::from_hours(1), body.frame()).await.is_err());
    drop(body);
    watch(&pool).await;
    assert_eq!(server.asked(), [2], "a watch says nothing while nothing changes");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_no_more_requests_keeps_its_watches_and_gets_no_calls() {
    let server = Server::new(Protocol::Many(250));
    let pool = server.pool(None);
    let mut body = watch(&pool).await;
    server.doors()[0].leave.notify_one();
    for _ in 0..20 {
        call(&pool).await;
    }
    assert_eq!(server.asked().len(), 2);
    let quiet = tokio::time::timeout(Duration::from_secs(5), body.frame()).await;
    assert!(quiet.is_err(), "the watch goes on");
}

#[tokio::test(start_paused = true)]
async fn by_http_1_each_watch_has_its_connection_and_calls_share_those_that_are_free() {
    let server = Server::new(Protocol::One);
    let pool = server.pool(None);
    let watches = join_all((0..3).map(|_| watch(&pool))).await;
    assert_eq!(server.asked().iter().sum::<usize>(), 3);
    let open = server.asked().len();
    for _ in 0..5 {
        call(&pool).await;
    }
    assert_eq!(server.asked().len(), open + 1, "one call after the other: {:?}", server.asked());
    drop(watches);
    call(&pool).await;
    assert_eq!(server.asked().len(), open + 1, "an abandoned watch leaves no connection to use");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_is_not_used_again_after_a_while() {
    let server = Server::new(Protocol::One);
    let pool = server.pool(None);
    call(&pool).await;
    tokio::time::advance(Duration::from_mins(1)).await;
    call(&pool).await;
    assert_eq!(server.asked(), [2]);
    tokio::time::advance(Duration::from_secs(100)).await;
    call(&pool).await;
    assert_eq!(server.asked(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_same_connection_fails_with_it_and_the_next_tries_again() {
    let server = Server::new(Protocol::None);
    let pool = server.pool(None);
    let answers = join_all((0..50).map(|_| pool.clone().oneshot(request("/call")))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(server.doors().len(), 1);
    assert!(pool.clone().oneshot(request("/call")).await.is_err());
    assert_eq!(server.doors().len(), 2);
}
