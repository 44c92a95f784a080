//! Clients of the API server: one whose calls end, and one for watches, which do not.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use http::{HeaderValue, header::USER_AGENT};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, Config, api::PostParams, client::Body, config::Kubeconfig};
use rekey_controller::pulse::Pulse;
use tower::service_fn;

use crate::version::AGENT;

/// No call outlives this.
const DEADLINE: Duration = Duration::from_secs(15);

/// See the [module documentation](self).
pub struct Clients {
    /// Every call has a deadline.
    pub calls: Client,
    /// For watches. What is answered is noted as a sign of life.
    pub watches: Client,
    /// `host:port` of the API server; stores may not point there.
    pub server: String,
}

/// Connects as `KUBECONFIG` or the pod's files say.
///
/// # Errors
/// When neither is there, or it cannot be used.
pub async fn connect(pulse: &Arc<Pulse>) -> Result<Clients> {
    // Its text holds its causes already.
    let fix = "no access to a cluster: set KUBECONFIG to a kubeconfig file, or run in a pod with a ServiceAccount";
    let mut config = Config::infer().await.map_err(|error| anyhow!("{fix}: {error}"))?;
    // The library would retry every verb, up to 15 times, for as long as a Retry-After says.
    config.default_retry = false;
    if !kubeconfig_names_proxy() {
        config.proxy_url = None; // of the environment, which is for other programs
    }
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    config.connect_timeout = Some(Duration::from_secs(5));
    config.write_timeout = Some(DEADLINE);
    let watches = Client::try_from(config.clone()).context("build the client for watches")?;
    let watches = noted(watches, pulse);
    let server = address(&config.cluster_url);
    config.read_timeout = Some(DEADLINE);
    config.reset_reader_on_write = true;
    let calls = Client::try_from(config).context("build the client")?;
    Ok(Clients { calls, watches, server })
}

/// Whether a proxy stands in the kubeconfig: it is not supported, and refused when the client is built.
fn kubeconfig_names_proxy() -> bool {
    let clusters = Kubeconfig::read().map(|kubeconfig| kubeconfig.clusters).unwrap_or_default();
    clusters.into_iter().filter_map(|named| named.cluster).any(|cluster| cluster.proxy_url.is_some())
}

/// A client that asks for the newest, and notes each answer by its path.
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

/// Where a watch whose first objects come with it is to start instead: the library asks for any version that the API
/// server has at hand (`resourceVersion=0`), which may be older than what an operator before us has seen. Without a
/// version it is the newest
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
/// When the API server does not answer.
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

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn first_objects_are_the_newest_and_other_requests_stay_as_they_are() {
        let watch = "/api/v1/secrets?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        let asked = format!("{watch}&resourceVersion=0").parse().unwrap();
        assert_eq!(newest(&asked).unwrap().to_string(), watch);
        let later = "/api/v1/secrets?watch=true&resourceVersion=0".parse().unwrap();
        assert_eq!(newest(&later), None);
    }
}
