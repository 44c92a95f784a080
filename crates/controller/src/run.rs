//! Wires the reconcilers to their watches and runs them.

use std::sync::Arc;

use rekey_api::{ClusterRemoteStore, RemoteStore};
use tokio::task::JoinHandle;

use crate::{
    context::{Context, Parts},
    error::Error,
    labels, namespaces,
    queue::workers,
    watch,
    write::digest_key,
};

/// Runs every reconciler until one of the tasks ends, which is a fault, or the future is dropped.
///
/// # Errors
/// When the digest key is there and cannot be used.
pub async fn run(parts: Parts) -> Result<(), Error> {
    let digest_key = digest_key(&parts.client, &parts.settings.operator_namespace, parts.chance.as_ref()).await?;
    let context = Context::new(parts, digest_key);
    let (watches, crew) = (Arc::new(context.watches()), context.crew());
    let mut tasks = Tasks(watch::own_kinds(&watches));
    tasks.0.push(tokio::spawn(namespaces::run(Arc::clone(&watches))));
    tasks.0.push(tokio::spawn(labels::run(watches)));
    tasks.0.extend(workers(context.probes::<RemoteStore>(), &crew));
    tasks.0.extend(workers(context.probes::<ClusterRemoteStore>(), &crew));
    tasks.0.extend(workers(context.policies(), &crew));
    tasks.0.extend(workers(context.schedules(), &crew));
    tasks.0.extend(workers(context.workloads(), &crew));
    let (_, _, rest) = futures::future::select_all(std::mem::take(&mut tasks.0)).await;
    tasks.0 = rest;
    tracing::error!("a task of the controller ended, which none should; stopping");
    Err(Error::Panic)
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
