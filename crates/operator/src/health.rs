//! `/livez`, `/readyz` and `/metrics`. What the first two mean is decided in [`rekey_core::health`].

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use rekey_controller::{metrics::Metrics, pulse::Pulse};
use rekey_core::health::Fault;
use tokio::{net::TcpListener, task::JoinHandle};

/// Serves health and metrics until the task is aborted.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn serve(
    health: SocketAddr,
    metrics_address: SocketAddr,
    pulse: &Arc<Pulse>,
    metrics: Arc<Metrics>,
) -> Result<Vec<JoinHandle<()>>> {
    let (live, ready) = (Arc::clone(pulse), Arc::clone(pulse));
    let probes = Router::new()
        .route("/livez", get(move || async move { answer(live.live()) }))
        .route("/readyz", get(move || async move { answer(ready.ready()) }));
    let numbers = Router::new().route(
        "/metrics",
        get(move || async move {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], metrics.text()).into_response()
        }),
    );
    Ok(vec![listen(health, probes, "--health-addr").await?, listen(metrics_address, numbers, "--metrics-addr").await?])
}

fn answer(state: Result<(), Fault>) -> (StatusCode, String) {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("{fault}\n")),
    }
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
