//! `RemoteStore` and `ClusterRemoteStore`: prove that a store can be used, before any policy needs it.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use rekey_api::RemoteStoreStatus;
use rekey_core::{
    StoreSpec,
    notice::Notice,
    store::{StoreErrorKind, provider::Reference},
    summary::{Situation, conditions},
    time::Clock,
};

use crate::{
    cluster::{Cluster, ObjectName},
    error::Error,
    notify::Notify,
    queue::{Next, Queue, Queues, Reconcile},
    stores::{StoreObject, Stores},
    write::{Over, Writer},
};

/// A store that answered is probed again after this time.
const PROBE: Duration = Duration::from_mins(5);

/// Reconciles one kind of store.
pub struct Probes<K> {
    pub cluster: Arc<Cluster>,
    pub queues: Arc<Queues>,
    /// Queues what a change concerns.
    pub notify: Arc<Notify>,
    pub stores: Arc<Stores>,
    pub write: Arc<Writer>,
    pub clock: Arc<dyn Clock>,
    /// Where credentials of stores of the cluster are.
    pub operator_namespace: String,
    /// Which kind.
    pub kind: PhantomData<fn() -> K>,
}

impl<K: StoreObject> Reconcile for Probes<K> {
    type Key = ObjectName;
    const KIND: &'static str = K::STORE.as_str();

    fn queue(&self) -> &Queue<ObjectName> {
        K::queue(&self.queues)
    }

    async fn ensure(&self, key: &ObjectName) -> Result<Next, Error> {
        let Some(row) = K::table(&self.cluster).get(key) else {
            self.stores.forget(key);
            return Ok(Next::Change);
        };
        let store = row.object()?;
        let is_of_cluster = key.namespace.is_empty();
        if !is_of_cluster && !self.cluster.is_open(&key.namespace)? {
            return Ok(Next::Change);
        }
        let home = if is_of_cluster { &self.operator_namespace } else { &key.namespace };
        let connection = self.stores.connect(&row, home).await?;
        let status = if connection.logs_in_by_consumer() {
            let text = "each namespace that uses it logs in as its own ServiceAccount, so Rekey tries no login here";
            self.found(store, text.to_owned())
        } else {
            let probe = connection.probe().await?;
            let status = self.found(store, format!("logged in as {}", probe.identity));
            RemoteStoreStatus { identity: Some(probe.identity), capabilities: probe.capabilities, ..status }
        };
        self.write.status(store, &status, Over::Object).await?.tell(|change| self.notify.store(change));
        Ok(Next::After(PROBE))
    }

    async fn failed(&self, key: &ObjectName, error: &Error) -> Result<(), Error> {
        let Some(row) = K::table(&self.cluster).get(key) else {
            return Ok(());
        };
        let Some(store) = row.readable() else {
            return self.write.malformed::<K>(key, row.metadata(), error, self.clock.now()).await;
        };
        if row.spec().is_ok_and(|spec| may_have_new_roots(spec, error)) {
            self.stores.reopen(key);
        }
        let mut status = store.status().cloned().unwrap_or_default();
        let generation = store.meta().generation.unwrap_or_default();
        let situation = error.situation_of_store();
        status.observed_generation = Some(generation);
        status.capabilities.clear();
        status.conditions = conditions(&status.conditions, &situation, &[], generation, self.clock.now());
        let changed = self.write.status(store, &status, Over::Object).await?.tell(|change| self.notify.store(change));
        if changed {
            let reason = situation.reason();
            self.write.event(store, &Notice::new(reason, "Probe", situation.message())).await;
        }
        Ok(())
    }
}

impl<K: StoreObject> Probes<K> {
    /// The status of a store that can be used; who we are and what we may do is for a probe to say.
    fn found(&self, store: &K, text: String) -> RemoteStoreStatus {
        let before = store.status().cloned().unwrap_or_default();
        let generation = store.meta().generation.unwrap_or_default();
        RemoteStoreStatus {
            observed_generation: Some(generation),
            conditions: conditions(&before.conditions, &Situation::Synced(text), &[], generation, self.clock.now()),
            identity: None,
            capabilities: Vec::new(),
        }
    }
}

/// Whether a store may not be responding because its client trusts the certificates that `caBundleRef` named when it
/// was made, and not those it names now.
fn may_have_new_roots(spec: &StoreSpec, error: &Error) -> bool {
    let is_named = spec.references().iter().any(|at| matches!(at, Reference::Roots(_)));
    is_named && matches!(error, Error::Store { source, .. } if source.kind == StoreErrorKind::Unavailable)
}
