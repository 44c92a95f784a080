//! Wires the reconcilers to their watches and runs them.

use std::sync::Arc;

use kube::Client;
use rekey_api::{ClusterRemoteStore, RemoteStore};
use rekey_core::{chance::Chance, digest::DigestKey, store::Connect, time::Clock};
use tokio::task::JoinHandle;

use crate::{
    cluster::{Namespaces, listings::Listings},
    connections::Connections,
    context::{Context, Known, Queues, Settings},
    digest_key,
    drive::workers,
    error::Error,
    events::Events,
    labels,
    locks::Locks,
    memory::Memory,
    metrics::Metrics,
    namespaces,
    pages::Pages,
    policy::Policies,
    pulse::Pulse,
    rotation::Schedules,
    store::Stores,
    turns::Turns,
    watch,
    workload::Workloads,
    workshop::Workshop,
};

/// What the binary brings.
pub struct Parts {
    /// For reads and writes, with a deadline each.
    pub client: Client,
    /// For watches, without a deadline.
    pub watch_client: Client,
    /// Settings.
    pub settings: Settings,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
    /// Opens stores.
    pub connect: Arc<dyn Connect>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Signs of life.
    pub pulse: Arc<Pulse>,
}

/// Runs every reconciler until one of the tasks ends, which is a fault, or the future is dropped.
///
/// # Errors
/// When the digest key is there and cannot be used.
pub async fn run(parts: Parts) -> Result<(), Error> {
    let digest_key = digest_key::wait(&parts.client, &parts.settings.operator_namespace, parts.chance.as_ref()).await?;
    let ctx = Arc::new(context(parts, digest_key));
    let mut tasks = Tasks(watch::own_kinds(&ctx));
    tasks.0.push(tokio::spawn(namespaces::run(Arc::clone(&ctx))));
    tasks.0.push(tokio::spawn(labels::run(Arc::clone(&ctx))));
    tasks.0.extend(workers::<Stores<RemoteStore>>(&ctx));
    tasks.0.extend(workers::<Stores<ClusterRemoteStore>>(&ctx));
    tasks.0.extend(workers::<Policies>(&ctx));
    tasks.0.extend(workers::<Schedules>(&ctx));
    tasks.0.extend(workers::<Workloads>(&ctx));
    let (_, _, rest) = futures::future::select_all(std::mem::take(&mut tasks.0)).await;
    tasks.0 = rest;
    tracing::error!("a task of the controller ended, which none should; stopping");
    Err(Error::Panic)
}

/// What the reconcilers work with when nothing is known yet.
pub(crate) fn context(parts: Parts, digest_key: DigestKey) -> Context {
    Context {
        events: Events::new(parts.client.clone(), &parts.settings.instance),
        queues: Queues::new(parts.settings.concurrency),
        client: parts.client,
        watch_client: parts.watch_client,
        settings: parts.settings,
        clock: parts.clock,
        chance: parts.chance,
        connect: parts.connect,
        connections: Connections::default(),
        digest_key,
        known: Known::default(),
        namespaces: Namespaces::default(),
        listings: Listings::default(),
        pages: Pages::default(),
        memory: Memory::default(),
        metrics: parts.metrics,
        workshop: Workshop::new(&parts.pulse),
        pulse: parts.pulse,
        turns: Turns::default(),
        making: Locks::default(),
    }
}

/// Tasks that end with the run.
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
