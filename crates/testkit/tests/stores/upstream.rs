//! A tiny server that records what reached it, for the tests of the proxy.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

type Lines = Mutex<Option<UnboundedReceiver<String>>>;

/// The server. `GET /watch` streams the lines of [`Upstream::line`].
pub struct Upstream {
    pub address: SocketAddr,
    reached: Arc<Mutex<Vec<String>>>,
    lines: UnboundedSender<String>,
}

/// What a client of the server with TLS needs.
pub struct Identity {
    pub ca: String,
    pub certificate: String,
    pub key: String,
}

impl Upstream {
    pub async fn plain() -> Result<Self> {
        Self::start(None).await
    }

    /// A server that talks only to clients with a certificate of its own authority.
    pub async fn mutual_tls() -> Result<(Self, Identity)> {
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
        let (server_key, client_key) = (KeyPair::generate()?, KeyPair::generate()?);
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&server_key, &authority)?;
        let client = CertificateParams::new(vec!["client".to_owned()])?.signed_by(&client_key, &authority)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![server.der().clone()],
                PrivateKeyDer::from_pem_slice(server_key.serialize_pem().as_bytes())?,
            )?;
        let upstream = Self::start(Some(TlsAcceptor::from(Arc::new(config)))).await?;
        let (ca, certificate, key) = (authority.pem(), client.pem(), client_key.serialize_pem());
        Ok((upstream, Identity { ca, certificate, key }))
    }

    /// What reached the server, in order.
    pub fn reached(&self) -> Vec<String> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The list itself, for other threads.
    pub fn record(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.reached)
    }

    pub fn line(&self, line: &str) {
        self.lines.send(format!("{line}\n")).ok();
    }

    async fn start(tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (lines, receiver) = unbounded_channel();
        let reached = Arc::new(Mutex::new(Vec::new()));
        let (record, source) = (Arc::clone(&reached), Arc::new(Mutex::new(Some(receiver))));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (record, source) = (Arc::clone(&record), Arc::clone(&source));
                match tls.clone() {
                    None => drop(tokio::spawn(serve(stream, record, source))),
                    Some(tls) => drop(tokio::spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, record, source).await;
                        }
                    })),
                }
            }
        });
        Ok(Self { address, reached, lines })
    }
}

async fn serve<S>(stream: S, record: Arc<Mutex<Vec<String>>>, source: Arc<Lines>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(request, &record, &source));
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer(
    request: Request<Incoming>,
    record: &Mutex<Vec<String>>,
    source: &Lines,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let line = format!("{} {} {}", parts.method, parts.uri.path(), String::from_utf8_lossy(&body));
    record.lock().unwrap_or_else(PoisonError::into_inner).push(line.trim_end().to_owned());
    let lines = source.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| parts.uri.path() == "/watch");
    let answer = match lines {
        Some(lines) => StreamBody::new(stream(lines)).boxed(),
        None => Full::new(Bytes::from_static(b"done")).boxed(),
    };
    let mut answer = Response::new(answer);
    if parts.method == Method::POST {
        *answer.status_mut() = http::StatusCode::CREATED;
    }
    Ok(answer)
}

fn stream(lines: UnboundedReceiver<String>) -> impl futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Sync {
    futures::stream::unfold(lines, async |mut lines| {
        let line = lines.recv().await?;
        Some((Ok(Frame::data(Bytes::from(line))), lines))
    })
}
