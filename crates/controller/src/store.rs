//! `RemoteStore`: proves that the store can be used, before any policy needs it.

use std::time::Duration;

use kube::{Api, ResourceExt as _};
use rekey_api::{ClusterRemoteStore, RemoteStore, RemoteStoreStatus, condition::Reason};
use rekey_core::{
    SpecError,
    store::Probe,
    summary::{Situation, conditions},
};

use crate::{
    connections,
    context::Context,
    drive::{Next, Reconcile},
    error::Error,
    notify,
    queue::Queue,
    rows::Object,
    settle::{self, Kind},
    table::{ObjectName, Table},
};

/// A store that answered is tried again after this time.
const PROBE: Duration = Duration::from_mins(5);

impl Kind for RemoteStore {
    fn api(ctx: &Context, namespace: &str) -> Api<Self> {
        Api::namespaced(ctx.client.clone(), namespace)
    }

    fn table(ctx: &Context) -> &Table<Object<Self>> {
        &ctx.known.stores
    }
}

impl Kind for ClusterRemoteStore {
    fn api(ctx: &Context, _namespace: &str) -> Api<Self> {
        Api::all(ctx.client.clone())
    }

    fn table(ctx: &Context) -> &Table<Object<Self>> {
        &ctx.known.cluster_stores
    }
}

/// Reconciles `RemoteStore`.
pub struct Stores;

impl Reconcile for Stores {
    type Key = ObjectName;
    const KIND: &'static str = "RemoteStore";

    fn queue(ctx: &Context) -> &Queue<ObjectName> {
        &ctx.queues.stores
    }

    async fn ensure(ctx: &Context, key: &ObjectName) -> Result<Next, Error> {
        let Some(row) = ctx.known.stores.get(key) else {
            ctx.connections.forget(key);
            return Ok(Next::Change);
        };
        let store = row.object()?;
        if !ctx.is_open(&key.namespace)? {
            return Ok(Next::Change);
        }
        let probe = connections::connect(ctx, store).await?.probe(ctx).await?;
        let status = ready(ctx, store, &probe);
        settle::settle(ctx, store, &status, false, notify::store).await?;
        Ok(Next::After(PROBE))
    }

    async fn failed(ctx: &Context, key: &ObjectName, error: &Error) -> Result<(), Error> {
        let Some(row) = ctx.known.stores.get(key) else {
            return Ok(());
        };
        let Ok(store) = &row.parsed else {
            return settle::malformed::<RemoteStore>(ctx, key, &row.metadata, error).await;
        };
        let mut status = store.status.clone().unwrap_or_default();
        let generation = store.metadata.generation.unwrap_or_default();
        let situation = error.situation(false);
        status.observed_generation = Some(generation);
        status.capabilities.clear();
        status.conditions = conditions(&status.conditions, &situation, &[], generation, ctx.now());
        let changed = settle::settle(ctx, store, &status, false, notify::store).await?;
        if changed {
            ctx.events.warning(store, error.reason(), "Probe", &error.to_string()).await;
        }
        Ok(())
    }
}

fn ready(ctx: &Context, store: &RemoteStore, probe: &Probe) -> RemoteStoreStatus {
    let before = store.status.clone().unwrap_or_default();
    let generation = store.metadata.generation.unwrap_or_default();
    let situation = Situation::Synced(format!("logged in as {}", probe.identity));
    RemoteStoreStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, &situation, &[], generation, ctx.now()),
        identity: Some(probe.identity.clone()),
        capabilities: probe.capabilities.clone(),
    }
}

/// Reconciles `ClusterRemoteStore`: says that it is not built yet.
pub struct ClusterStores;

impl Reconcile for ClusterStores {
    type Key = ObjectName;
    const KIND: &'static str = "ClusterRemoteStore";

    fn queue(ctx: &Context) -> &Queue<ObjectName> {
        &ctx.queues.cluster_stores
    }

    async fn ensure(ctx: &Context, key: &ObjectName) -> Result<Next, Error> {
        if ctx.known.cluster_stores.get(key).is_none() {
            return Ok(Next::Change);
        }
        Err(SpecError::not_yet("ClusterRemoteStore", "use a RemoteStore in each namespace").into())
    }

    async fn failed(ctx: &Context, key: &ObjectName, error: &Error) -> Result<(), Error> {
        let Some(row) = ctx.known.cluster_stores.get(key) else {
            return Ok(());
        };
        let Ok(store) = &row.parsed else {
            return settle::malformed::<ClusterRemoteStore>(ctx, key, &row.metadata, error).await;
        };
        let mut status = store.status.clone().unwrap_or_default();
        let generation = store.metadata.generation.unwrap_or_default();
        let situation = Situation::Stalled(Reason::NotSupportedYet, error.to_string());
        status.observed_generation = Some(generation);
        status.conditions = conditions(&status.conditions, &situation, &[], generation, ctx.now());
        if settle::settle(ctx, store, &status, false, notify::cluster_store).await? {
            ctx.events.warning(store, error.reason(), "Check", &error.to_string()).await;
        }
        tracing::debug!(store = store.name_any(), "not supported yet");
        Ok(())
    }
}
