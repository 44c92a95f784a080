//! `RemoteStore` and `ClusterRemoteStore`: prove that a store can be used, before any policy needs it.

use std::{marker::PhantomData, time::Duration};

use rekey_api::{RemoteStoreStatus, store::RemoteStoreSpec};
use rekey_core::{
    notice::Notice,
    store::StoreErrorKind,
    summary::{Situation, conditions},
};

use crate::{
    cluster::ObjectName,
    connections,
    context::Context,
    drive::{Next, Reconcile},
    error::Error,
    notify,
    queue::Queue,
    settle,
    store_kind::StoreObject,
};

/// A store that answered is tried again after this time.
const PROBE: Duration = Duration::from_mins(5);

/// Reconciles one kind of store.
pub struct Stores<K>(PhantomData<K>);

impl<K: StoreObject> Reconcile for Stores<K> {
    type Key = ObjectName;
    const KIND: &'static str = K::STORE.as_str();

    fn queue(ctx: &Context) -> &Queue<ObjectName> {
        K::queue(ctx)
    }

    async fn ensure(ctx: &Context, key: &ObjectName) -> Result<Next, Error> {
        let Some(row) = K::table(ctx).get(key) else {
            ctx.connections.forget(key);
            return Ok(Next::Change);
        };
        let store = row.object()?;
        let is_of_cluster = key.namespace.is_empty();
        if !is_of_cluster && !ctx.is_open(&key.namespace)? {
            return Ok(Next::Change);
        }
        store.check()?;
        let home = if is_of_cluster { &ctx.settings.operator_namespace } else { &key.namespace };
        let connection = connections::connect(ctx, store, home).await?;
        let status = if connection.logs_in_by_consumer() {
            let text = "each namespace that uses it logs in as a ServiceAccount of its own, which is not tried here";
            found(ctx, store, text.to_owned())
        } else {
            let probe = connection.probe().await?;
            let status = found(ctx, store, format!("logged in as {}", probe.identity));
            RemoteStoreStatus { identity: Some(probe.identity), capabilities: probe.capabilities, ..status }
        };
        settle::settle(ctx, store, &status, false, notify::store).await?;
        Ok(Next::After(PROBE))
    }

    async fn failed(ctx: &Context, key: &ObjectName, error: &Error) -> Result<(), Error> {
        let Some(row) = K::table(ctx).get(key) else {
            return Ok(());
        };
        let Ok(store) = &row.parsed else {
            return settle::malformed::<K>(ctx, key, row.metadata(), error).await;
        };
        if may_have_new_roots(&store.connection(), error) {
            ctx.connections.reopen(key);
        }
        let mut status = store.status().cloned().unwrap_or_default();
        let generation = store.meta().generation.unwrap_or_default();
        let situation = error.situation_of_store();
        status.observed_generation = Some(generation);
        status.capabilities.clear();
        status.conditions = conditions(&status.conditions, &situation, &[], generation, ctx.now());
        let changed = settle::settle(ctx, store, &status, false, notify::store).await?;
        if changed {
            let reason = situation.reason();
            ctx.events.tell(store, &Notice::warning(reason, "Probe", situation.message())).await;
        }
        Ok(())
    }
}

/// Whether a store may be out of reach because its client trusts the certificates that `caBundleRef` named when it was
/// made, and not those it names now.
fn may_have_new_roots(spec: &RemoteStoreSpec, error: &Error) -> bool {
    let is_named = spec.provider.vault.as_ref().is_some_and(|vault| vault.ca_bundle_ref.is_some());
    is_named && matches!(error, Error::Store { source, .. } if source.kind == StoreErrorKind::Unavailable)
}

/// The status of a store that can be used; who we are and what we may do is for a probe to say.
fn found<K: StoreObject>(ctx: &Context, store: &K, text: String) -> RemoteStoreStatus {
    let before = store.status().cloned().unwrap_or_default();
    let generation = store.meta().generation.unwrap_or_default();
    RemoteStoreStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, &Situation::Synced(text), &[], generation, ctx.now()),
        identity: None,
        capabilities: Vec::new(),
    }
}
