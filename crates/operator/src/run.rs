//! `rekey run`: wires everything, leads, stops in order.

use std::{collections::BTreeSet, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use rekey_controller::{Parts, Settings, metrics::Metrics, pulse::Pulse};
use rekey_core::{
    health::Duty,
    rollout::Limits,
    rotator::database::Databases,
    store::{Addresses, Network},
};
use rekey_providers::{
    Stores,
    rotators::{Proofs, postgres::PostgresServers},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{
    api_server,
    args::RunOptions,
    client::{self, Clients},
    health,
    lease::Candidate,
    system::{self, SystemChance, WallClock},
    telemetry,
    version::{AGENT, VERSION},
};

/// Runs until a signal or a failure.
pub fn main(options: RunOptions) -> ExitCode {
    telemetry::start(options.log_format, options.log_level);
    system::seal();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return system::complain(&anyhow::Error::from(error)),
    };
    match runtime.block_on(run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => system::complain(&error),
    }
}

async fn run(options: RunOptions) -> Result<()> {
    let metrics = Arc::new(Metrics::default());
    let pulse = Arc::new(Pulse::default());
    let _servers = health::start(options.health_addr, options.metrics_addr, &pulse, Arc::clone(&metrics))?;
    let mut stop = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut leader = None;
    let result = tokio::select! {
        result = work(options, &pulse, &metrics, &mut leader) => result,
        _ = stop.recv() => { tracing::info!("stopped by SIGTERM"); Ok(()) }
        _ = interrupt.recv() => { tracing::info!("stopped by SIGINT"); Ok(()) }
    };
    // All our work has stopped by now, so the Lease can go to another replica, however this ended.
    if let Some(mut candidate) = leader {
        metrics.leads(false);
        candidate.release().await;
    }
    result
}

/// Works until a failure. `leader` becomes the candidate that holds the Lease.
async fn work(
    options: RunOptions,
    pulse: &Arc<Pulse>,
    metrics: &Arc<Metrics>,
    leader: &mut Option<Candidate>,
) -> Result<()> {
    let clients = client::connect(pulse).await?;
    let account = reached(&clients).await?;
    let instance = system::instance();
    let namespace =
        options.operator_namespace.clone().or_else(system::pod_namespace).unwrap_or_else(|| "rekey-system".to_owned());
    tracing::info!(instance, namespace, version = VERSION, "started");
    let network = network(&options);
    let _follower = api_server::follow(clients.watches.clone(), clients.server.clone(), network.refuse.clone()).await;
    let databases: Arc<dyn Databases> = Arc::new(PostgresServers::new(network.clone()));
    let mut parts = Parts {
        client: clients.calls.clone(),
        watch_client: clients.watches.clone(),
        settings: settings(&options, account, &instance, &namespace),
        clock: Arc::new(WallClock),
        chance: Arc::new(SystemChance),
        connect: Arc::new(Stores::new(network.clone())),
        prove: Arc::new(Proofs::new(network, Arc::clone(&databases))),
        databases,
        metrics: Arc::clone(metrics),
        pulse: Arc::clone(pulse),
    };
    if !options.leader_elect {
        metrics.leads(true);
        pulse.duty(Duty::Leading);
        return rekey_controller::run(parts).await.context("the controller");
    }
    let mut candidate = Candidate::new(clients.calls.clone(), &namespace, &instance, Arc::clone(pulse));
    pulse.duty(Duty::Waiting);
    candidate.acquire().await.with_context(|| format!("take the Lease in namespace {namespace}"))?;
    parts.settings.predecessor = candidate.predecessor();
    tracing::info!("leading");
    metrics.leads(true);
    pulse.duty(Duty::Leading);
    let candidate = leader.insert(candidate);
    tokio::select! {
        result = rekey_controller::run(parts) => result.context("the controller"),
        () = candidate.hold() => bail!("the Lease was lost; another replica leads"),
    }
}

/// Waits for the API server, and asks it who we are.
async fn reached(clients: &Clients) -> Result<String> {
    loop {
        match client::account(&clients.calls).await {
            Ok(account) => return Ok(account),
            Err(error) => tracing::warn!("the API server at {} cannot be reached yet: {error:#}", clients.server),
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// The named namespaces, each once.
fn namespaces(options: &RunOptions) -> Vec<String> {
    let names = options.namespaces.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    names.collect::<BTreeSet<String>>().into_iter().collect()
}

fn settings(options: &RunOptions, account: String, instance: &str, namespace: &str) -> Settings {
    Settings {
        namespaces: namespaces(options),
        operator_namespace: namespace.to_owned(),
        account,
        concurrency: usize::from(options.concurrency),
        rollouts: Limits {
            namespace: usize::from(options.rollouts_per_namespace),
            cluster: usize::from(options.rollouts),
        },
        require_consent: options.require_consent,
        allow_ambient_credentials: options.allow_ambient_credentials,
        allow_alpha: options.allow_alpha,
        api_audiences: system::api_audiences(),
        instance: instance.to_owned(),
        predecessor: None,
    }
}

/// Which stores the operator may reach: none at the addresses of the API server (unknown yet), unless they are listed.
fn network(options: &RunOptions) -> Network {
    Network {
        allow: options.allow_addresses.clone(),
        refuse: Addresses::default(),
        insecure: options.allow_insecure_stores,
        proxy: options.store_proxy.clone(),
        agent: AGENT.to_owned(),
    }
}
