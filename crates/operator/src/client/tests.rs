//! The clients against a small API server of their own, over TLS.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering},
};

use futures::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt as _, watcher};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Watches that are open: connection and path.
type Open = BTreeSet<(usize, String)>;

/// What the server has seen.
struct Seen {
    open: watch::Sender<Open>,
    /// Connections with a request other than a watch.
    called: Mutex<BTreeSet<usize>>,
    connections: AtomicUsize,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// An open watch, counted until it is dropped.
struct Watched {
    seen: Arc<Seen>,
    of: (usize, String),
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.seen.open.send_if_modified(|open| open.remove(&self.of));
    }
}

/// Starts it. `protocols`: by ALPN.
async fn server(protocols: &[&str]) -> (Config, Arc<Seen>) {
    // Another test may have installed the same already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["api.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut tls =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let mut config = Config::new(format!("https://{}", listener.local_addr().unwrap()).parse().unwrap());
    config.root_cert = Some(vec![made.cert.der().to_vec()]);
    config.tls_server_name = Some("api.example".to_owned());
    let seen = Arc::new(Seen {
        open: watch::Sender::default(),
        called: Mutex::default(),
        connections: AtomicUsize::new(0),
        tasks: Mutex::default(),
    });
    let (acceptor, noted) = (TlsAcceptor::from(Arc::new(tls)), Arc::clone(&seen));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let number = noted.connections.fetch_add(1, Ordering::SeqCst);
            let task = tokio::spawn(serve(acceptor.clone(), tcp, number, Arc::clone(&noted)));
            noted.tasks.lock().unwrap().push(task.abort_handle());
        }
    });
    (config, seen)
}

async fn serve(acceptor: TlsAcceptor, tcp: TcpStream, number: usize, seen: Arc<Seen>) {
    let io = acceptor.accept(tcp).await.unwrap();
    let many = io.get_ref().1.alpn_protocol() == Some(b"h2");
    let handler = service_fn(|request: Request<Incoming>| {
        let body = answer(&request, number, &seen);
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    if many {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        drop(builder.max_concurrent_streams(250).serve_connection(TokioIo::new(io), handler).await);
    } else {
        drop(http1::Builder::new().serve_connection(TokioIo::new(io), handler).await);
    }
}

fn answer(request: &Request<Incoming>, number: usize, seen: &Arc<Seen>) -> BoxBody<Bytes, Infallible> {
    if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
        let of = (number, request.uri().path().to_owned());
        seen.open.send_if_modified(|open| open.insert(of.clone()));
        let watched = Watched { seen: Arc::clone(seen), of };
        let nothing = stream::pending::<Result<Frame<Bytes>, Infallible>>();
        let body = nothing.map(move |frame| {
            let _ = &watched;
            frame
        });
        return BodyExt::boxed(StreamBody::new(body));
    }
    seen.called.lock().unwrap().insert(number);
    let list = r#"{"apiVersion":"v1","kind":"ConfigMapList","metadata":{"resourceVersion":"7"},"items":[]}"#;
    BodyExt::boxed(Full::new(Bytes::from_static(list.as_bytes())))
}

/// Watches the `ConfigMaps` of so many namespaces.
fn follow(client: &Client, namespaces: usize) {
    for number in 0..namespaces {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &format!("n{number}"));
        let events = watcher(api, watcher::Config::default()).default_backoff();
        tokio::spawn(events.for_each(|_| async {}));
    }
}

/// Waits until each namespace is watched, and returns on which connections.
async fn followed(seen: &Seen, namespaces: usize) -> Open {
    let all = |open: &Open| open.iter().map(|(_, path)| path).collect::<BTreeSet<_>>().len() == namespaces;
    let mut open = seen.open.subscribe();
    let open = tokio::time::timeout(Duration::from_secs(30), open.wait_for(all)).await;
    open.expect("not every watch came").unwrap().clone()
}

fn on(open: &Open) -> BTreeSet<usize> {
    open.iter().map(|(number, _)| *number).collect()
}

#[tokio::test]
async fn every_watch_comes_back_after_a_connection_is_cut_and_calls_have_their_own() {
    let (config, seen) = server(&["h2", "http/1.1"]).await;
    let clients = clients(config, &Arc::default()).unwrap();
    follow(&clients.watches, 150);
    let before = followed(&seen, 150).await;
    assert_eq!(on(&before).len(), 2, "100 streams a connection");
    let lists = on(&before).len();

    seen.called.lock().unwrap().clear();
    for _ in 0..3 {
        let api: Api<ConfigMap> = Api::namespaced(clients.calls.clone(), "shop");
        api.list(&kube::api::ListParams::default()).await.unwrap();
    }
    let called = seen.called.lock().unwrap().clone();
    assert_eq!((called.len(), called.is_disjoint(&on(&before))), (1, true), "calls on {called:?}");
    assert_eq!(seen.connections.load(Ordering::SeqCst), lists + 1);

    let cut = *on(&before).first().unwrap();
    seen.tasks.lock().unwrap()[cut].abort();
    let mut open = seen.open.subscribe();
    open.wait_for(|open| !on(open).contains(&cut)).await.unwrap();
    let after = followed(&seen, 150).await;
    assert!(!on(&after).contains(&cut) && on(&after).len() == 2, "on {:?}", on(&after));
}

#[tokio::test]
async fn a_server_without_http_2_is_spoken_to_as_it_wishes() {
    for protocols in [&["http/1.1"][..], &[]] {
        let (config, seen) = server(protocols).await;
        let clients = clients(config, &Arc::default()).unwrap();
        follow(&clients.watches, 5);
        let open = followed(&seen, 5).await;
        assert_eq!(on(&open).len(), 5, "each watch has a connection");
        let api: Api<ConfigMap> = Api::namespaced(clients.calls.clone(), "shop");
        api.list(&kube::api::ListParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn whose_certificate_is_not_that_of_the_api_server_is_not_spoken_to() {
    let (mut config, seen) = server(&["h2"]).await;
    config.tls_server_name = None;
    let clients = clients(config, &Arc::default()).unwrap();
    let api: Api<ConfigMap> = Api::namespaced(clients.calls.clone(), "shop");
    assert!(api.list(&kube::api::ListParams::default()).await.is_err());
    assert!(seen.called.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_proxy_of_the_kubeconfig_is_refused_without_its_password() {
    let mut config = Config::new("https://api.example".parse().unwrap());
    config.proxy_url = Some("http://me:hunter2@proxy.example".parse().unwrap());
    let error = format!("{:#}", clients(config, &Arc::default()).err().unwrap());
    assert!(error.contains("proxy-url") && !error.contains("hunter2"), "{error}");
}

#[test]
fn first_objects_are_the_newest_and_other_requests_stay_as_they_are() {
    let watch = "/api/v1/secrets?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let asked = format!("{watch}&resourceVersion=0").parse().unwrap();
    assert_eq!(newest(&asked).unwrap().to_string(), watch);
    let later = "/api/v1/secrets?watch=true&resourceVersion=0".parse().unwrap();
    assert_eq!(newest(&later), None);
}
