//! `/livez`, `/readyz` and `/metrics`. [`rekey_core::health`] decides what the first two mean.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use http::{HeaderValue, StatusCode, header};
use rekey_controller::{metrics::Metrics, pulse::Pulse};
use rekey_core::health::Fault;

use crate::serve::{self, BOUNDS, Reply, Server};

/// Serves health and metrics, each on a port and a thread of its own, until the result is dropped.
///
/// # Errors
/// When it cannot listen on an address.
pub fn start(
    health: SocketAddr,
    metrics_address: SocketAddr,
    pulse: &Arc<Pulse>,
    metrics: Arc<Metrics>,
) -> Result<[Server; 2]> {
    let pulse = Arc::clone(pulse);
    let probes = move |path: &str| match path {
        "/livez" => answer(pulse.live()),
        "/readyz" => answer(pulse.ready()),
        _ => nothing(),
    };
    let numbers = move |path: &str| match path {
        "/metrics" => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let mut reply = serve::text(StatusCode::OK, metrics.text());
            reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            reply
        }
        _ => nothing(),
    };
    Ok([
        serve::start("health", health, BOUNDS, probes).context("--health-addr")?,
        serve::start("metrics", metrics_address, BOUNDS, numbers).context("--metrics-addr")?,
    ])
}

fn answer(state: Result<(), Fault>) -> Reply {
    match state {
        Ok(()) => serve::text(StatusCode::OK, "ok\n"),
        Err(fault) => serve::text(StatusCode::SERVICE_UNAVAILABLE, format!("{fault}\n")),
    }
}

fn nothing() -> Reply {
    serve::text(StatusCode::NOT_FOUND, "there is nothing here\n")
}
