//! Clients of the API server: one whose calls end, and one for watches, which do not. Each has connections of its own,
//! so that no call waits behind the events of a watch.

mod answer;
mod connection;
mod pool;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use http::{HeaderValue, header::USER_AGENT};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Config,
    api::PostParams,
    client::{Body, ConfigExt as _},
    config::Kubeconfig,
};
use rekey_controller::pulse::Pulse;
use rustls::pki_types::ServerName;
use tower::{ServiceBuilder, service_fn};

use self::pool::Pool;
use crate::version::AGENT;

/// How long a call waits for an answer, or for more of it.
const DEADLINE: Duration = Duration::from_secs(15);
/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// See the [module documentation](self).
pub struct Clients {
    /// Every call has a deadline.
    pub calls: Client,
    /// For watches. Each answer counts as a sign of life.
    pub watches: Client,
    /// `host:port` of the API server; stores may not point there.
    pub server: String,
}

/// Connects as `KUBECONFIG` or the pod's files say.
///
/// # Errors
/// When neither is there, or it cannot be used.
pub async fn connect(pulse: &Arc<Pulse>) -> Result<Clients> {
    // Its text includes its causes already.
    let fix = "no access to a cluster: set KUBECONFIG to a kubeconfig file, or run in a pod with a ServiceAccount";
    let mut config = Config::infer().await.map_err(|error| anyhow!("{fix}: {error}"))?;
    if !kubeconfig_names_proxy() {
        config.proxy_url = None; // of the environment, which is for other programs
    }
    clients(config, pulse)
}

fn clients(mut config: Config, pulse: &Arc<Pulse>) -> Result<Clients> {
    // The URL may hold a password.
    ensure!(config.proxy_url.is_none(), "the kubeconfig names a proxy (proxy-url), which is not supported: remove it");
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let watches = client(&config, None).context("build the client for watches")?;
    let calls = client(&config, Some(DEADLINE)).context("build the client")?;
    Ok(Clients { calls, watches: noted(watches, pulse), server: address(&config.cluster_url) })
}

/// A client with connections of its own. It has all layers of the library but its retries, which would repeat every
/// verb up to 15 times, for as long as a Retry-After says. `patience`: how long the server may say nothing to a
/// request.
fn client(config: &Config, patience: Option<Duration>) -> Result<Client> {
    let mut connector = TimeoutConnector::new(tls(config)?);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_write_timeout(Some(DEADLINE));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .service(Pool::new(connector, CONNECT, patience));
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// TLS as the library sets it up from the configuration, and HTTP/2 offered beside HTTP/1.1.
fn tls(config: &Config) -> Result<HttpsConnector<HttpConnector>> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(connection::PING)); // with HTTP/1.1 there is no other sign of life
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = ServerName::try_from(name.clone()).context("tls-server-name of the kubeconfig")?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_all_versions().wrap_connector(connector))
}

/// Whether the kubeconfig names a proxy: we do not support one, and refuse it when we build the client.
fn kubeconfig_names_proxy() -> bool {
    let clusters = Kubeconfig::read().map(|kubeconfig| kubeconfig.clusters).unwrap_or_default();
    clusters.into_iter().filter_map(|named| named.cluster).any(|cluster| cluster.proxy_url.is_some())
}

/// A client that asks for the newest version, and records each answer by its path.
fn noted(client: Client, pulse: &Arc<Pulse>) -> Client {
    let (namespace, pulse) = (client.default_namespace().to_owned(), Arc::clone(pulse));
    let service = service_fn(move |mut request: http::Request<Body>| {
        let (client, pulse) = (client.clone(), Arc::clone(&pulse));
        async move {
            if let Some(newest) = newest(request.uri()) {
                *request.uri_mut() = newest;
            }
            let path = request.uri().path().to_owned();
            let answer = client.send(request).await?;
            if answer.status().is_success() {
                pulse.answered(&path);
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    Client::new(service, namespace)
}

/// The request of a streaming list, changed to start at the newest version: the library asks for any version that the
/// API server has cached (`resourceVersion=0`), which may be older than what an earlier operator has seen. Without a
/// version it starts at the newest
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch>).
fn newest(uri: &http::Uri) -> Option<http::Uri> {
    const ANY: &str = "resourceVersion=0";
    let query = uri.query().filter(|query| query.contains("sendInitialEvents=true"))?;
    let kept: Vec<&str> = query.split('&').filter(|part| *part != ANY).collect();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{}?{}", uri.path(), kept.join("&")).parse().ok()?);
    http::Uri::from_parts(parts).ok()
}

fn address(url: &http::Uri) -> String {
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    format!("{}:{port}", url.host().unwrap_or_default())
}

/// The flag of `kubectl create rolebinding` that names us
/// (<https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/self-subject-review-v1/>).
///
/// # Errors
/// When the API server is not responding.
pub async fn account(client: &Client) -> Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .context("ask the API server who we are")?;
    let user = review.status.and_then(|status| status.user_info).and_then(|info| info.username).unwrap_or_default();
    Ok(match user.strip_prefix("system:serviceaccount:") {
        Some(account) => format!("--serviceaccount={account}"),
        None => format!("--user={user}"),
    })
}
