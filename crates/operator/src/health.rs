//! `/livez`, `/readyz` and `/metrics`.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use rekey_controller::metrics::Metrics;
use tokio::{net::TcpListener, task::JoinHandle};

/// Whether this replica could take over: it has reached the API server.
#[derive(Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// From now on it could.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Serves health and metrics until the task is aborted.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn serve(
    health: SocketAddr,
    metrics_address: SocketAddr,
    ready: Ready,
    metrics: Arc<Metrics>,
) -> Result<Vec<JoinHandle<()>>> {
    let probes = Router::new().route("/livez", get(|| async { "ok\n" })).route(
        "/readyz",
        get(move || async move {
            if ready.0.load(Ordering::Relaxed) {
                (StatusCode::OK, "ok\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "the API server has not been reached yet\n")
            }
        }),
    );
    let numbers = Router::new().route(
        "/metrics",
        get(move || async move {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], metrics.text()).into_response()
        }),
    );
    Ok(vec![listen(health, probes, "--health-addr").await?, listen(metrics_address, numbers, "--metrics-addr").await?])
}

async fn listen(address: SocketAddr, router: Router, flag: &str) -> Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address} ({flag})"))?;
    let router = router.layer(axum::middleware::from_fn(|request, next: axum::middleware::Next| async move {
        // Whoever asks slowly, or a handler that hangs, must not hold a connection for ever.
        let answer = tokio::time::timeout(Duration::from_secs(5), next.run(request)).await;
        answer.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
    }));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the server of health or metrics ended: {error}");
        }
    }))
}
