//! Connections and calls.

use std::{
    convert::Infallible,
    fmt,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_TYPE, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use super::{
    accept,
    call::{Fault, Moment},
    gate::{Life, Ticket},
    state::Shared,
    tls::Client,
};

/// Of a call or an answer.
pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// The server behind the proxy.
pub(super) struct Upstream {
    origin: Uri,
    client: Client,
}

/// The connection to the client ends here, without an answer.
#[derive(Debug)]
struct Cut;

/// What a connection knows about its calls.
struct Connection {
    life: Life,
    kill_at_end: AtomicBool,
}

impl Upstream {
    pub(super) fn new(origin: Uri, client: Client) -> Self {
        Self { origin, client }
    }

    async fn ask(&self, mut parts: Parts, body: Body) -> Result<Response<Incoming>, Cut> {
        let mut uri = self.origin.clone().into_parts();
        uri.path_and_query = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from_parts(uri).map_err(|_| Cut)?;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        one_connection_only(&mut parts.headers);
        parts.headers.remove(HOST); // the client sets it to the server's own name
        self.client.request(Request::from_parts(parts, body)).await.map_err(|_| Cut)
    }
}

pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let serve = |stream, life| connection(stream, tls.clone(), Arc::clone(&shared), life);
    accept::connections(listener, &shared.gate, serve).await;
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>, life: Life) {
    stream.set_nodelay(true).ok();
    let connection = Arc::new(Connection { life: life.clone(), kill_at_end: AtomicBool::new(false) });
    let serving = async {
        match tls {
            None => serve(stream, &shared, &connection).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    serve(stream, &shared, &connection).await;
                }
            }
        }
    };
    shared.gate.until_cut(life, serving).await;
    if connection.kill_at_end.load(Ordering::SeqCst) {
        shared.gate.kill().await; // the answer is out: the connection ends only after that
    }
}

async fn serve<S>(stream: S, shared: &Arc<Shared>, connection: &Arc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(Arc::clone(shared), Arc::clone(connection), request));
    // A cut connection ends in an error by intent, so there is nothing to report.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.boxed();
    let Some(Ticket { number, fault }) = shared.admit(&parts, &connection.life) else {
        return std::future::pending().await;
    };
    match fault {
        None => forward(&shared, number, parts, body).await,
        Some(Fault::KillBefore | Fault::KillAfterBeforeAnswer) => {
            // The client's end takes this call with it; the kill must go through all the same.
            let kill = async move {
                if fault == Some(Fault::KillAfterBeforeAnswer) {
                    whole(&shared, number, parts, body).await.ok();
                }
                shared.gate.kill().await;
            };
            tokio::spawn(kill).await.ok();
            Err(Cut)
        }
        Some(Fault::KillAfterAnswer) => {
            connection.kill_at_end.store(true, Ordering::SeqCst);
            whole(&shared, number, parts, body).await.map(last)
        }
        Some(Fault::Drop) => Err(Cut),
        Some(Fault::DropAnswer) => whole(&shared, number, parts, body).await.and(Err(Cut)),
        Some(Fault::DropAfterAnswer) => whole(&shared, number, parts, body).await.map(last),
        Some(Fault::Delay(time)) => {
            sleep(time).await;
            forward(&shared, number, parts, body).await
        }
        Some(Fault::DelayAnswer(time)) => {
            let answer = whole(&shared, number, parts, body).await?;
            sleep(time).await;
            Ok(answer)
        }
        Some(Fault::Status(status)) => {
            body.collect().await.map_err(|_| Cut)?;
            Ok(falsified(status))
        }
        Some(Fault::StatusAnswer(status)) => {
            whole(&shared, number, parts, body).await?;
            Ok(falsified(status))
        }
        Some(Fault::WatchError(status)) => {
            body.collect().await.map_err(|_| Cut)?;
            Ok(failed_watch(status))
        }
        Some(Fault::CutOff(moment, time)) => {
            if moment == Moment::BeforeAnswer {
                whole(&shared, number, parts, body).await.ok();
            }
            shared.cut_off(time);
            Err(Cut)
        }
        // The client may give the call up meanwhile; it arrives all the same.
        Some(Fault::Hold(moment, time)) => {
            tokio::spawn(async move { held(&shared, number, parts, body, (moment, time)).await })
                .await
                .map_err(|_| Cut)?
        }
    }
}

/// The server's answer to a call at which nothing passes for a time.
async fn held(
    shared: &Shared,
    number: Option<u64>,
    parts: Parts,
    body: Body,
    (moment, time): (Moment, Duration),
) -> Result<Response<Body>, Cut> {
    // All of it, since the connection that brings it will not be read.
    let body = full(body.collect().await.map_err(|_| Cut)?.to_bytes());
    if moment == Moment::BeforeCall {
        shared.gate.hold(time).await;
    }
    let answer = whole(shared, number, parts, body).await;
    if moment == Moment::BeforeAnswer {
        shared.gate.hold(time).await;
    }
    answer
}

/// The server's answer as it comes. When the server cannot be reached the client's connection is cut too.
async fn forward(shared: &Shared, number: Option<u64>, parts: Parts, body: Body) -> Result<Response<Body>, Cut> {
    let mut answer = shared.upstream.ask(parts, body).await?;
    shared.answered(number, answer.status().as_u16());
    one_connection_only(answer.headers_mut());
    Ok(answer.map(BodyExt::boxed))
}

/// The server's answer, all of it.
async fn whole(shared: &Shared, number: Option<u64>, parts: Parts, body: Body) -> Result<Response<Body>, Cut> {
    let (head, body) = forward(shared, number, parts, body).await?.into_parts();
    let bytes = body.collect().await.map_err(|_| Cut)?.to_bytes();
    Ok(Response::from_parts(head, full(bytes)))
}

/// Makes an answer the last one of its connection.
fn last(mut answer: Response<Body>) -> Response<Body> {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// An answer that no server gave, in the form in which each kind of server reports errors.
fn falsified(status: u16) -> Response<Body> {
    let message = "falsified by the fault proxy";
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason(status),
        "code": status,
        "errors": [message],
        "__type": aws_type(status),
    });
    let mut answer = Response::new(full(Bytes::from(body.to_string())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A watch that reports an error and ends: the API server says so that it no longer has a resourceVersion.
fn failed_watch(status: u16) -> Response<Body> {
    let error = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "falsified by the fault proxy",
        "reason": reason(status),
        "code": status,
    });
    let event = json!({"type": "ERROR", "object": error});
    let mut answer = Response::new(full(Bytes::from(format!("{event}\n"))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The API server's name for this status.
fn reason(status: u16) -> &'static str {
    match status {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    }
}

/// Secrets Manager's name for this status.
fn aws_type(status: u16) -> &'static str {
    match status {
        400 => "InvalidRequestException",
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        429 => "ThrottlingException",
        _ => "InternalServiceError",
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed()
}

/// Removes headers about the connection, not about the call.
fn one_connection_only(headers: &mut HeaderMap) {
    for name in [CONNECTION, EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the proxy cuts this connection")
    }
}

impl std::error::Error for Cut {}
